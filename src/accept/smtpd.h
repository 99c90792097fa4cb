/* accept/smtpd.h - one SMTP server session: RFC 5321 with the extensions that
 * EHLO lists (smtpd_commands.c).  Private to accept/.
 *
 *   NEW -> PROXY -> LOOKUP -> HANDSHAKE -> HELO -> READY -> MAIL -> RCPT ->
 * DATA ^          |       |                  \-> CHUNK <-> BDAT
 *                       \-STARTTLS-+-------/                          \
 *                                          ^--------- COMMIT <---------+
 *
 * PROXY      the header of the PROXY protocol is awaited
 * LOOKUP     DNS is asked for the client's name and lists
 * HANDSHAKE  TLS, at once or after STARTTLS
 * HELO       greeted; the client has not said who it is
 * READY      between transactions
 * MAIL RCPT  a sender; a sender and at least one recipient
 * DATA       content up to CRLF.CRLF
 * CHUNK      the octets of one BDAT command, wanted or not; from here the
 *            session may go back to where it came from
 * BDAT       between two chunks of a message
 * COMMIT     the message is on its way to the disk; nothing is read
 * CLOSING    freed when the event that is being handled is over
 *
 * Invariants: tx != NULL exactly in MAIL, RCPT, DATA, BDAT, COMMIT, and in a
 * CHUNK that came from one of them.  Input is consumed only by the function in
 * the state's row.  The 250 for a message is sent by on_done() of the spool and
 * by nothing else. */
#ifndef ACCEPT_SMTPD_H
#define ACCEPT_SMTPD_H
#include "accept/client_lookup.h"
#include "accept/listener.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "mail/content.h"
#include "mail/envelope.h"
#include "mail/header.h"
#include "net/conn.h"
#include "spool/spool.h"

struct smtpd;

/* What the sessions of one loop share.  Belongs to the loop's thread. */
struct smtpd_home {
    struct loop *loop;
    struct spool *spool;
    struct list sessions;
    struct buf scratch; /* for text made and used within one call */
    bool draining;
    /* The last session of a draining loop has ended. */
    void (*on_empty)(void *arg);
    void *arg;
};

/* state, name in logs, its limit in struct receive_timeouts, who takes the
 * input (NULL: nobody, none is read), successors */
#define SMTPD_STATES(X)                                                        \
    X(SMTPD_NEW, "new", proxy, NULL,                                           \
      BIT(SMTPD_PROXY) | BIT(SMTPD_LOOKUP) | BIT(SMTPD_HANDSHAKE) |            \
          BIT(SMTPD_HELO))                                                     \
    X(SMTPD_PROXY, "proxy", proxy, smtpd_take_proxy,                           \
      BIT(SMTPD_LOOKUP) | BIT(SMTPD_HANDSHAKE) | BIT(SMTPD_HELO))              \
    X(SMTPD_LOOKUP, "lookup", lookup, NULL,                                    \
      BIT(SMTPD_HANDSHAKE) | BIT(SMTPD_HELO))                                  \
    X(SMTPD_HANDSHAKE, "handshake", handshake, NULL, BIT(SMTPD_HELO))          \
    X(SMTPD_HELO, "helo", command, smtpd_take_line,                            \
      BIT(SMTPD_READY) | BIT(SMTPD_HANDSHAKE) | BIT(SMTPD_CHUNK))              \
    X(SMTPD_READY, "ready", command, smtpd_take_line,                          \
      BIT(SMTPD_MAIL) | BIT(SMTPD_HANDSHAKE) | BIT(SMTPD_CHUNK))               \
    X(SMTPD_MAIL, "mail", command, smtpd_take_line,                            \
      BIT(SMTPD_READY) | BIT(SMTPD_RCPT) | BIT(SMTPD_CHUNK))                   \
    X(SMTPD_RCPT, "rcpt", command, smtpd_take_line,                            \
      BIT(SMTPD_READY) | BIT(SMTPD_DATA) | BIT(SMTPD_CHUNK))                   \
    X(SMTPD_DATA, "data", data_block, smtpd_take_data,                         \
      BIT(SMTPD_READY) | BIT(SMTPD_COMMIT))                                    \
    X(SMTPD_CHUNK, "chunk", data_block, smtpd_take_chunk,                      \
      BIT(SMTPD_HELO) | BIT(SMTPD_READY) | BIT(SMTPD_MAIL) | BIT(SMTPD_RCPT) | \
          BIT(SMTPD_BDAT) | BIT(SMTPD_COMMIT))                                 \
    X(SMTPD_BDAT, "bdat", command, smtpd_take_line,                            \
      BIT(SMTPD_READY) | BIT(SMTPD_CHUNK))                                     \
    X(SMTPD_COMMIT, "commit", data_block, NULL, BIT(SMTPD_READY))              \
    X(SMTPD_CLOSING, "closing", write, NULL, 0)

#define AS_STATE_ENUM(state, name, limit, take, next) state,
enum smtpd_state { SMTPD_STATES(AS_STATE_ENUM) SMTPD_STATE_COUNT };
#undef AS_STATE_ENUM

/* Why input is not read for now. */
enum smtpd_wait {
    WAIT_COMMIT = 1, /* for on_done() of the spool */
    WAIT_ROOM = 2,   /* for on_room() of the spool */
    WAIT_OUTPUT = 4, /* for the peer to read what it was sent */
    WAIT_LOOKUP = 8, /* for DNS */
};

/* A refusal whose text is known in advance. */
struct refusal {
    unsigned code;
    const char *status; /* RFC 3463 */
    const char *text;
};

/* A reply of one line.  code 0 is REPLY_LATER: the handler has written it, or
 * something else will. */
#define REPLY_TEXT 400
struct reply {
    unsigned code;
    const char *status; /* enhanced code, or NULL where none belongs */
    char text[REPLY_TEXT];
};
#define REPLY_LATER ((struct reply){0})

/* Everything of one message; freed as a whole. */
struct transaction {
    struct arena arena;
    struct sv sender, envid;
    enum envelope_ret ret;
    enum envelope_body body;
    bool smtputf8;
    bool requiretls;
    struct envelope_recipient *recipients; /* in the arena */
    uint64_t *hashes;                      /* of them, to find doubles */
    size_t count, capacity;
    size_t envelope_bytes; /* of all recipients, about */

    char queue_id[SPOOL_ID_TEXT]; /* from the first byte of content on */
    struct spool_draft *draft;    /* owned; NULL: none, or given up */
    struct content_decoder decoder;
    struct mail_counter counter;
    uint64_t size;      /* bytes of content, ours not counted */
    uint64_t swallowed; /* bytes read after it was refused */
    size_t own_bytes;   /* length of our Received field */
    uint32_t chunks;    /* BDAT commands */
    int64_t started;    /* wall clock, us: first byte of content */
};

struct smtpd {
    struct link link; /* in home->sessions */
    struct smtpd_home *home;
    struct listener_revision *listener; /* referenced */
    struct conn *conn;
    struct client_lookup *lookup;          /* owned; NULL but in LOOKUP */
    char *client_name;                     /* owned; confirmed; NULL: none */
    struct hat_match match;                /* row of the host access table */
    const struct mail_flow_policy *policy; /* in the revision; NULL: not known
                                            * yet */
    struct transaction *tx;                /* owned */
    char *helo;                            /* owned; NULL before EHLO or HELO */
    enum smtpd_state state;
    unsigned waits; /* enum smtpd_wait */
    bool esmtp;     /* EHLO, not HELO */
    bool proxied;
    bool rejected;     /* the greeting was a refusal */
    bool counted;      /* listener_admit_client() was asked and said yes */
    bool leaving;      /* 421 between transactions */
    bool mail_refused; /* what follows in the pipeline fails without blame */

    bool skipping, skip_cr; /* the rest of a line that is too long */
    uint32_t skipped;

    uint64_t chunk_left; /* CHUNK: octets still to come */
    bool chunk_last;
    enum smtpd_state chunk_back;         /* where a refused chunk leads */
    const struct refusal *chunk_refusal; /* NULL: it is wanted */

    uint32_t bad;      /* commands unknown or out of place */
    uint32_t junk;     /* commands that bring no message forward */
    uint32_t messages; /* accepted */
    uint32_t ended;    /* accepted or refused at their end */
    uint64_t bytes_in, bytes_out;

    const char *reason;         /* CLOSING: for the log */
    enum smtpd_state closed_in; /* CLOSING: the state before */
    uint64_t started;           /* ms */
    struct timer lifetime;      /* of the whole session */
    char id[20];
    struct log_context log;
};

/* smtpd.c ----------------------------------------------------------------- */

/* The session before its connection: give it to conn_accept() (or conn_fake())
 * as owner with smtpd_on_event, then smtpd_start().  The listener's reference
 * is taken over, and what listener_admit() counted. */
struct smtpd *smtpd_new(struct smtpd_home *home,
                        struct listener_revision *listener);
/* The session ends by itself and is freed then.  proxied: a PROXY header comes
 * first. */
struct smtpd_admission {
    bool proxied;
};
void smtpd_start(struct smtpd *s, struct conn *conn,
                 const struct smtpd_admission *admission);
void smtpd_on_event(void *owner, struct conn *conn, enum conn_event event);

/* Tells all sessions of the loop to end between transactions. */
void smtpd_home_drain(struct smtpd_home *home);
/* Drops them at once. */
void smtpd_home_drop(struct smtpd_home *home);

/* The rest is between the smtpd_*.c files. */

void smtpd_enter(struct smtpd *s, enum smtpd_state to);
const char *smtpd_state_name(enum smtpd_state state);
/* Ends the session; reason is for the log.  It is freed by smtpd_settle(). */
void smtpd_end(struct smtpd *s, const char *reason);
/* Every entry from outside ends with this; s may be gone afterwards. */
void smtpd_settle(struct smtpd *s);

void smtpd_wait(struct smtpd *s, enum smtpd_wait what);
void smtpd_go_on(struct smtpd *s, enum smtpd_wait what);
void smtpd_consume(struct smtpd *s, size_t n);
/* The policy is known: TLS or the greeting. */
void smtpd_greet(struct smtpd *s);
void smtpd_start_tls(struct smtpd *s);
/* Forgets who the client said it is, and the transaction. */
void smtpd_forget(struct smtpd *s);
/* 421 and end, where a session that shall leave may do so. */
void smtpd_leave_if_due(struct smtpd *s);

static inline const struct listener_settings *
smtpd_options(const struct smtpd *s)
{
    return s->listener->options;
}

/* By which the gateway introduces itself to this client. */
static inline const char *
smtpd_hostname(const struct smtpd *s)
{
    return s->policy->hostname;
}

/* smtpd_access.c ---------------------------------------------------------- */

/* Behind the PROXY header, or at once: finds out who the client is to us, and
 * then greets it, or not. */
void smtpd_identify(struct smtpd *s);
/* The time for look-ups is over. */
void smtpd_identify_now(struct smtpd *s);
/* NULL: the policy offers no TLS. */
struct tls_context *smtpd_tls_context(const struct smtpd *s);
/* False: the client begins too many handshakes, and the session has ended;
 * asked before anything is said or done about TLS. */
MUST_USE bool smtpd_may_handshake(struct smtpd *s);
/* The policy wants TLS, and there is none yet. */
bool smtpd_lacks_tls(const struct smtpd *s);
/* NULL, or why this envelope sender is refused because of TLS; text is room
 * for the reason. */
#define SMTPD_REASON 256
const struct refusal *smtpd_check_sender(struct smtpd *s, struct sv address,
                                         struct refusal *room, char *text);

/* smtpd_reply.c ----------------------------------------------------------- */

struct reply reply_make(unsigned code, const char *status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
struct reply reply_refuse(const struct refusal *refusal);
/* Queues it; refusals are logged. Nothing happens for REPLY_LATER. */
void smtpd_say(struct smtpd *s, const struct reply *reply);
void smtpd_refuse(struct smtpd *s, const struct refusal *refusal);
void smtpd_write(struct smtpd *s, struct sv bytes);
/* 421 with this text, and end. */
void smtpd_dismiss(struct smtpd *s, const struct refusal *refusal,
                   const char *reason);

/* smtpd_input.c ----------------------------------------------------------- */

bool smtpd_take_line(struct smtpd *s);
bool smtpd_take_proxy(struct smtpd *s);

/* smtpd_commands.c -------------------------------------------------------- */

void smtpd_command(struct smtpd *s, struct sv line);
/* EHLO says this keyword at this point of the session. */
bool smtpd_offers(const struct smtpd *s, const char *keyword);
/* Counts a command that is unknown or out of place; at the limit the session
 * ends with 421, and false is returned. */
bool smtpd_count_bad(struct smtpd *s);

/* smtpd_mail.c ------------------------------------------------------------ */

struct reply smtpd_mail(struct smtpd *s, struct sv args);
struct reply smtpd_rcpt(struct smtpd *s, struct sv args);
void smtpd_reset(struct smtpd *s); /* ends the transaction, if there is one */

/* smtpd_data.c ------------------------------------------------------------ */

struct reply smtpd_data(struct smtpd *s, struct sv args);
struct reply smtpd_bdat(struct smtpd *s, struct sv args);
bool smtpd_take_data(struct smtpd *s);
bool smtpd_take_chunk(struct smtpd *s);

/* smtpd_commit.c ---------------------------------------------------------- */

/* Begins the draft with our Received field. */
void smtpd_draft_begin(struct smtpd *s, bool dots);
/* What the message demands of TLS, as far as it has come: enum envelope_tls. */
unsigned smtpd_demands(const struct smtpd *s);
/* The content is complete and in order: makes it durable and answers then. */
void smtpd_commit(struct smtpd *s);

/* smtpd_log.c ------------------------------------------------------------- */

void smtpd_make_id(char *id, size_t size);
void smtpd_log_connect(const struct smtpd *s, const struct hat_client *client);
void smtpd_log_tls(const struct smtpd *s);
/* The client's certificate ends soon: said once 30 days before, then daily. */
void smtpd_log_ending(const struct smtpd *s);
void smtpd_log_tls_failed(const struct smtpd *s, const char *stage,
                          const char *why);
void smtpd_log_refuse(const struct smtpd *s, const struct reply *reply);
void smtpd_log_recipients(const struct smtpd *s);
void smtpd_log_message(const struct smtpd *s);
void smtpd_log_close(const struct smtpd *s);
#endif
