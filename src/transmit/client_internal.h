/* transmit/client_internal.h - the parts behind transmit/client.h: client.c
 * makes and ends the connection, client_hello.c greets and secures it,
 * client_send.c carries transactions, client_outcome.c says what they came to.
 *
 *   connecting ─▶ greeting ─▶ ehlo ─▶ ready ◀──────────────────────┐
 *                    helo ◀──┤  ▲       │                          │
 *                starttls ◀──┘  │       ▼                          │
 *                    │          │    (rset) ─▶ mail ─▶ rcpt ─▶ data │
 *                    └▶ handshake                        │       │  │
 *                                                        ▼       ▼  │
 *                                                      done ◀─ content
 *
 * The state names the reply that is awaited; what has been sent ahead of it
 * (PIPELINING) does not change the order in which replies come. */
#ifndef TRANSMIT_CLIENT_INTERNAL_H
#define TRANSMIT_CLIENT_INTERNAL_H
#include "base/buf.h"
#include "mail/content.h"
#include "mail/reply.h"
#include "transmit/client.h"

enum client_extension { /* bits: what EHLO offered */
                        EXT_PIPELINING = 1,
                        EXT_CHUNKING = 2,
                        EXT_SIZE = 4,
                        EXT_8BITMIME = 8,
                        EXT_SMTPUTF8 = 16,
                        EXT_DSN = 32,
                        EXT_STARTTLS = 64,
                        EXT_REQUIRETLS = 128,
};

/* state, name in logs, its time limit, whether a reply is awaited */
#define CLIENT_STATES(X)                                                       \
    X(CLIENT_CONNECTING, "connecting", connect, false)                         \
    X(CLIENT_GREETING, "greeting", greeting, true)                             \
    X(CLIENT_EHLO, "ehlo", ehlo, true)                                         \
    X(CLIENT_HELO, "helo", ehlo, true)                                         \
    X(CLIENT_STARTTLS, "starttls", handshake, true)                            \
    X(CLIENT_HANDSHAKE, "handshake", handshake, false)                         \
    X(CLIENT_READY, "ready", mail, false)                                      \
    X(CLIENT_RSET, "rset", mail, true)                                         \
    X(CLIENT_MAIL, "mail", mail, true)                                         \
    X(CLIENT_RCPT, "rcpt", rcpt, true)                                         \
    X(CLIENT_DATA, "data", data_init, true)                                    \
    X(CLIENT_CONTENT, "content", data_block, false)                            \
    X(CLIENT_DONE, "done", data_done, true)                                    \
    X(CLIENT_QUIT, "quit", quit, true)                                         \
    X(CLIENT_CLOSED, "closed", quit, false)

#define AS_CLIENT_ENUM(state, name, limit, reply) state,
enum client_state { CLIENT_STATES(AS_CLIENT_ENUM) CLIENT_STATE_COUNT };
#undef AS_CLIENT_ENUM

/* One transaction. */
struct client_transaction {
    struct parcel *parcel;
    struct parcel_recipient **recipients; /* those named by RCPT, in order */
    size_t count;
    size_t told;     /* RCPT commands written */
    size_t answered; /* … and answered */
    size_t accepted;
    bool any_reply; /* the server has said something about it */
    bool refused;   /* MAIL was: what follows only drains the pipeline */
    bool chunked;   /* BDAT */
    bool data_told; /* DATA, or BDAT with all content, is written */
    bool empty;     /* DATA only got its end: nobody wants the message */
    bool over;      /* refused before its end: back when the fetch is over */
    uint64_t length, offset; /* of the content */
    struct sv refusal;       /* the last one's text, in the parcel's arena */
    struct content_encoder encoder;
};

struct client {
    struct loop *loop;
    struct conn *conn; /* NULL once closed */
    struct client_calls calls;
    void *owner;
    struct client_plan plan; /* strings below */
    char host[256], helo[256], delivery[24], destination[300];
    char ip[NET_ADDRESS_TEXT];
    struct log_context log;
    enum client_state state;
    unsigned extensions; /* enum client_extension */
    uint64_t size_limit; /* SIZE of the server; 0: not said */
    enum tls_verify verify;
    struct tls_failure tls_failure; /* see client_tls_failure() */
    struct tls_failure clear;       /* see client_clear() */
    struct tls_failure noted;       /* see client_noted() */
    enum ledger_tls_result noted_result;
    char server_helo[256], local_ip[NET_ADDRESS_TEXT];
    struct arena arena;      /* of facts */
    struct ledger_tls facts; /* once TLS is settled, or done without */
    const char *tls_version, *tls_cipher; /* the library's; NULL before TLS */
    /* ms on the loop's clock.  No message begins after deadline; one that began
     * before, or the preparation, may take until limit. */
    uint64_t started, deadline, limit;
    uint32_t messages;
    bool broken;     /* to be closed once the parcel is back */
    bool needs_rset; /* a transaction of the server may still be open */
    bool kept;       /* it was: the server may have tired of it */
    bool lost;       /* on_lost was called */
    bool local;      /* it could not be begun for want of something here */
    int busy;        /* depth of callbacks into the client */
    bool doomed;     /* free when the last of them returns */
    bool fetching;   /* spool_content_fetch() is running */
    bool loss_waits; /* … and the loss is told when it is over */
    struct client_loss loss;
    char *fetched; /* owned; destination of a fetch */
    struct mail_reply reply;
    struct buf out; /* commands being gathered */
    struct client_transaction tx;
    unsigned due;         /* replies that will come for what is written */
    struct list *closing; /* of client_quit(), NULL before */
    struct link link;     /* on it */
};

/* client.c */
void client_on_event(void *owner, struct conn *conn, enum conn_event event);
struct client *client_make(struct loop *loop, const struct client_plan *plan,
                           const struct client_calls *calls, void *owner);
void client_on_fetched(void *arg, ssize_t got, const struct err *err);
/* Continues with a connection that is there (tests: a fake one). */
void client_attach(struct client *client, struct conn *conn, bool connected);
void client_enter(struct client *client, enum client_state state);
/* Writes one line and its CRLF into client->out; client_flush() sends it. */
void client_line(struct client *client, const char *fmt, ...) PRINTF_LIKE(2, 3);
void client_flush(struct client *client);
/* Ends the connection: a running parcel goes back with this as its reason, or
 * as unsent; then on_lost. */
void client_lose(struct client *client, enum tls_stage stage, const char *fmt,
                 ...) PRINTF_LIKE(3, 4);
void client_lose_by_reply(struct client *client, enum tls_stage stage);
void client_lose_with(struct client *client, const struct client_loss *loss);
struct client_loss client_loss_of(const struct client *client,
                                  enum tls_stage stage, const char *reason);

/* client_verify.c: what the server proved, against what the decision wants. */

/* Fills failure where it does not hold, and *result with what reports call
 * that.  The decision's floor decides whether it matters. */
enum tls_verify client_verify_peer(const struct client *client,
                                   struct tls_failure *failure,
                                   enum ledger_tls_result *result);
/* Notes what a policy that is being tested would have failed for. */
void client_note_testing(struct client *client);
/* The same where there is no TLS at all. */
void client_note_clear(struct client *client, enum tls_stage stage,
                       const char *why);

/* client_hello.c: replies while the connection is prepared. */
void client_on_hello_reply(struct client *client);
void client_on_ehlo_line(void *arg, unsigned index, struct sv text);
void client_on_tls_ready(struct client *client);
bool client_in_tls_phase(const struct client *client);

/* client_send.c: replies of a transaction. */
void client_on_transaction_reply(struct client *client);
void client_pump(struct client *client); /* more of the content */
void client_take_fetched(struct client *client, ssize_t got,
                         const struct err *err);

/* client_outcome.c */
struct client_verdict { /* for some recipients at once */
    enum ledger_outcome outcome;
    unsigned code;
    struct mail_status status;
    struct sv text; /* in the parcel's arena */
};
/* Out of the reply just read; 2xx: delivered. */
struct client_verdict client_verdict_of_reply(struct client *client);
void client_decide(struct parcel_recipient *recipient,
                   const struct client_verdict *verdict);
/* All that were not decided before. */
void client_decide_rest(struct client_transaction *tx,
                        const struct client_verdict *verdict);
/* The failure as a sentence; before the connection is closed. */
void client_explain(const struct client *client,
                    const struct tls_failure *failure, char *out, size_t size);
/* What client_facts() tells is known now. */
void client_keep_facts(struct client *client);
/* Writes down how it went: host, TLS, times; stage and reason as given. */
void client_write_facts(struct client *client, struct parcel *parcel,
                        enum tls_stage stage, struct sv reason);
#endif
