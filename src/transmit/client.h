/* transmit/client.h - one connection to one server: the SMTP client.
 *
 * A client connects, greets, secures the connection as the decision says, and
 * then sends one parcel after the other.  It never guesses: every parcel comes
 * back with an outcome for each recipient that was decided, and facts that say
 * at which stage it ended; a connection on which the server broke the protocol
 * is never used again.
 *
 * The owner and the client live on one loop.  Calls to the owner may come from
 * inside client_send() only as far as its comment says; the owner may free the
 * client from inside any of them. */
#ifndef TRANSMIT_CLIENT_H
#define TRANSMIT_CLIENT_H
#include "net/conn.h"
#include "transmit/decide.h"
#include "transmit/queue.h"
#include "transmit/tls_sentence.h"

struct client;

/* Why a connection is over, or could not be made. */
struct client_loss {
    struct tls_failure failure; /* stage NONE: in order (idle, 421 between
                                 * messages, closed between messages) */
    unsigned code;              /* of the reply that says so; 0: none */
    struct mail_status status;  /* enhanced code of it; class 0: none */
    bool tls;        /* TLS was needed or begun, and this is how it failed */
    bool clear_next; /* … and the fallback allows clear text to this server on
                      * the next connection */
    bool idle;       /* nothing came within client_keep(): still open */
    bool local;      /* something ran out here: no fault of the server */
    bool reused;     /* it had carried messages, or was kept, before */
    /* What reports call it (RFC 8460 section 4.3); OK where TLS did not fail.
     */
    enum ledger_tls_result result;
    /* What happened and who demanded more, with `tls`; else "". */
    char sentence[TLS_SENTENCE_TEXT];
    struct parcel *unsent; /* was given to client_send(), but the server had
                            * not answered a word about it; NULL: none */
};

struct client_calls {
    /* Greeted and secured: client_send() may be called, also from inside. */
    void (*on_ready)(void *owner);
    /* The parcel is the owner's again.  The next may be sent from inside if
     * client_usable(). */
    void (*on_sent)(void *owner, struct parcel *parcel);
    /* The last call.  The owner then frees the client, or quits it where it is
     * still open (idle). */
    void (*on_lost)(void *owner, const struct client_loss *loss);
};

/* For who only watches; each may be NULL, none may free the client. */
struct client_watch {
    /* A state is entered, named as in the log; also from inside client_new().
     */
    void (*on_state)(void *owner, const char *state);
    /* A line of the answer to EHLO; the first has index 0. */
    void (*on_ehlo)(void *owner, unsigned index, struct sv line);
    /* The handshake is over; what client_tls() says is about to be judged. */
    void (*on_tls)(void *owner);
};

/* Everything that is settled before the connection; copied, context
 * referenced. */
struct client_plan {
    struct net_address address; /* with port */
    const char *host;           /* name or literal, for log and facts */
    const char *helo;           /* our host name */
    const char *delivery;       /* id of this connection in the log */
    const char *destination;    /* key, for the log */
    const char *domain;         /* of the mail, for sentences; borrowed, NULL */
    struct tls_decision decision;
    struct dane_evidence *dane;     /* that decision.dane points into, or NULL;
                                     * referenced */
    const struct sts_evidence *sts; /* as decided by; borrowed, or NULL */
    struct tls_context *context;    /* NULL: TLS is not tried */
    struct tls_session_key session; /* for resumption */
    bool clear; /* TLS failed here lately and the fallback allows this */
    struct deliver_timeouts timeouts;
    const struct client_watch *watch; /* borrowed; NULL: nobody watches */
};

/* Connects; on_ready or on_lost follows, never from inside. */
struct client *client_new(struct loop *loop, const struct client_plan *plan,
                          const struct client_calls *calls, void *owner);
/* Drops the connection.  A parcel in it stays the owner's; false: the client
 * is still reading it from the disk and frees itself later, so the parcel must
 * not be given back. */
bool client_free(struct client *client);

/* What keeps a message from going to this server. */
enum client_lack {
    CLIENT_LACKS_NOTHING,
    CLIENT_LACKS_8BITMIME,   /* RFC 6152 */
    CLIENT_LACKS_SMTPUTF8,   /* RFC 6531 */
    CLIENT_LACKS_SIZE,       /* RFC 1870: larger than the server takes */
    CLIENT_LACKS_REQUIRETLS, /* RFC 8689 */
    CLIENT_LACKS_TLS,        /* it was decided without the message's demands */
};
enum client_lack client_lacks(const struct client *client,
                              const struct parcel *parcel);
/* Decides every recipient of a parcel that no server takes for this reason. */
void client_refuse(struct parcel *parcel, enum client_lack lack);

/* Decides recipients whose address cannot be said in SMTP; returns how many are
 * left. */
size_t client_screen(struct parcel *parcel);

/* Sends a parcel; on_sent or on_lost follows, never from inside. Only after
 * on_ready, with none running, and when nothing is lacking. */
void client_send(struct client *client, struct parcel *parcel);

bool client_usable(const struct client *client); /* for one more parcel */
/* Waits for the next parcel for at most so long, then on_lost (idle). */
void client_keep(struct client *client, uint64_t ms);
/* Says QUIT and frees itself when that is answered or took too long; until
 * then it is on the list `closing`, from which client_free() may take it. No
 * more calls come. */
void client_quit(struct client *client, struct list *closing);

const char *client_delivery(const struct client *client); /* id */
const char *client_host(const struct client *client);
const char *client_ip(const struct client *client);
uint32_t client_messages(const struct client *client); /* sent or refused */
/* It carried messages or was kept: that the server ends it says nothing about
 * the message that comes next. */
bool client_is_old(const struct client *client);
const char *client_state_name(const struct client *client);
/* TLS that failed and was done without: stage NONE where it did not fail, or
 * was not offered. */
const struct tls_failure *client_tls_failure(const struct client *client);
/* Why this connection is in clear text. */
const struct tls_failure *client_clear(const struct client *client);
/* What reports call a failure before certificates were looked at, or of them.
 */
enum ledger_tls_result client_result_of(enum tls_stage stage);
/* What an MTA-STS policy that is being tested would have failed for; stage
 * NONE: nothing.  And as reports call it. */
const struct tls_failure *client_noted(const struct client *client);
enum ledger_tls_result client_noted_result(const struct client *client);
const struct tls_decision *client_decision(const struct client *client);
/* The name by which the server introduced itself, our end of the connection,
 * and what was negotiated: also when the connection is over.  "" unknown. */
const char *client_server_helo(const struct client *client);
const char *client_local_ip(const struct client *client);
const char *client_tls_version(const struct client *client);
const char *client_tls_cipher(const struct client *client);
/* What an attempt records, texts in the arena; also from inside on_lost. */
void client_facts(const struct client *client, struct arena *arena,
                  struct ledger_tls *tls);
/* NULL in clear text. */
const struct tls_facts *client_tls(const struct client *client);
enum tls_verify client_verify(const struct client *client); /* chain and name */
/* The certificates that the server sent, leaf first, each the caller's, at most
 * max; 0 in clear text. */
size_t client_chain(const struct client *client,
                    struct tls_certificate_facts **chain, size_t max);
/* See conn_tls_dane_try(); from inside on_tls. */
bool client_dane_try(const struct client *client, const struct tls_dane *dane,
                     struct tls_dane_facts *facts);
const struct tls_session_key *client_key(const struct client *client);
/* Of list `closing`: the client that holds this link. */
struct client *client_of_link(struct link *link);
#endif
