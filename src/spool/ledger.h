/* spool/ledger.h - what the sender writes down: attempts and actions, as bytes.
 *
 * An ATTEMPT tells of one try to deliver one message to some of its recipients,
 * with the TLS that was used or the stage at which it failed; everything that
 * log, queue view, DSN, tracking and reports say about a delivery comes from
 * it.  An ACTION is what the administrator or the queue did to a message
 * without a delivery.  Encoding: as mail/envelope.h, {tag, 0, length, bytes}
 * items, unknown tags skipped. */
#ifndef SPOOL_LEDGER_H
#define SPOOL_LEDGER_H
#include "mail/reply.h"
#include "spool/spool.h"
#include "tls/facts.h"

enum ledger_outcome {
    OUTCOME_DEFERRED,  /* will be tried again */
    OUTCOME_DELIVERED, /* the next hop took it */
    OUTCOME_RELAYED,   /* … and does not do DSN: "relayed" (RFC 3461 6.2.2) */
    OUTCOME_FAILED,    /* refused for good */
    OUTCOME_EXPIRED,   /* too long in the queue */
    OUTCOME_DELETED,   /* by the administrator */
};
const char *ledger_outcome_name(enum ledger_outcome outcome);
bool ledger_outcome_final(enum ledger_outcome outcome); /* all but DEFERRED */

struct ledger_result {
    uint32_t recipient; /* index in the envelope */
    enum ledger_outcome outcome;
    uint16_t code;             /* SMTP reply code, 0: none came */
    struct mail_status status; /* enhanced; never class 0 */
    struct sv text;            /* reply text or reason, one line */
};

/* What was decided about TLS and what the server showed.  Texts are "" where
 * nothing is known, and short: they go with every attempt. */
struct ledger_tls {
    struct sv authority; /* who decided: "dane", "mta-sts", "destination" … */
    struct sv floor;     /* "verified" */
    struct sv reasons;   /* names of enum tls_why, with blanks between */
    struct sv dane;      /* state of the TLSA records; empty: not asked for */
    struct sv sts;       /* "enforce 20260101"; empty: not asked for */
    struct sv noted;     /* what a policy being tested would have failed for */
    struct sv group, server_name; /* of the key exchange; SNI */
    /* Of the server's certificate. */
    struct sv subject, issuer, serial, sha256, spki_sha256;
    struct sv names;   /* the first alternative names, commas between */
    int64_t not_after; /* seconds since 1970 */
};

struct ledger_attempt {
    spool_message_id id;
    struct sv queue_id;
    uint32_t attempt; /* 1.. */
    int64_t started_us, ended_us;
    int64_t next_retry_us; /* 0: none */
    struct sv destination; /* key of the destination: domain or route */
    struct sv host, ip;    /* of the last server tried; may be empty */
    uint16_t port;
    struct sv delivery;   /* id of the delivery session in the log */
    enum tls_stage stage; /* STAGE_NONE, or where it failed */
    struct sv reason;     /* of that failure */
    struct sv tls_version, tls_cipher; /* empty: clear text */
    uint16_t tls_bits;
    bool tls_resumed;
    struct sv tls_verify; /* none, ok, failed */
    struct ledger_tls tls;
    bool message_final; /* no recipient is left */
    struct ledger_result *results;
    size_t result_count;
};

/* Copies every text into the arena. */
void ledger_tls_copy(struct arena *arena, const struct ledger_tls *from,
                     struct ledger_tls *to);

enum ledger_action_kind {
    ACTION_HOLD,
    ACTION_RELEASE,
    ACTION_RETRY,
    ACTION_DELETE,
    ACTION_WARNED, /* a delay DSN was sent */
    ACTION_MOVED,  /* copied forward; the new place is the MESSAGE record */
};
const char *ledger_action_name(enum ledger_action_kind kind);

struct ledger_action {
    spool_message_id id;
    enum ledger_action_kind kind;
    struct sv by; /* "admin", "queue" */
};

/* How TLS went on one connection to one server: what reports count (RFC 8460).
 * Written once for every connection that came as far as its greeting, and for
 * every server that could not be used for want of TLS, DANE or MTA-STS.
 * Connections that carried nothing but mail that does not count (TLS-Required:
 * No, reports of our own) leave none. */
enum ledger_policy {
    LEDGER_POLICY_NONE, /* "no-policy-found" */
    LEDGER_POLICY_TLSA,
    LEDGER_POLICY_STS,
};
/* RFC 8460 section 4.3, in its order and spelling. */
#define LEDGER_TLS_RESULTS(X)                                                  \
    X(TLS_RESULT_OK, "ok")                                                     \
    X(TLS_RESULT_NOT_SUPPORTED, "starttls-not-supported")                      \
    X(TLS_RESULT_HOST_MISMATCH, "certificate-host-mismatch")                   \
    X(TLS_RESULT_EXPIRED, "certificate-expired")                               \
    X(TLS_RESULT_NOT_TRUSTED, "certificate-not-trusted")                       \
    X(TLS_RESULT_VALIDATION, "validation-failure")                             \
    X(TLS_RESULT_TLSA_INVALID, "tlsa-invalid")                                 \
    X(TLS_RESULT_DNSSEC_INVALID, "dnssec-invalid")                             \
    X(TLS_RESULT_DANE_REQUIRED, "dane-required")                               \
    X(TLS_RESULT_STS_FETCH, "sts-policy-fetch-error")                          \
    X(TLS_RESULT_STS_INVALID, "sts-policy-invalid")                            \
    X(TLS_RESULT_STS_WEBPKI, "sts-webpki-invalid")
#define AS_TLS_RESULT_ENUM(name, text) name,
enum ledger_tls_result {
    LEDGER_TLS_RESULTS(AS_TLS_RESULT_ENUM) TLS_RESULT_COUNT
};
#undef AS_TLS_RESULT_ENUM
const char *ledger_tls_result_name(enum ledger_tls_result result);

struct ledger_session {
    int64_t ended_us;
    struct sv domain; /* policy domain: of the recipients, canonical */
    enum ledger_policy policy;
    /* STS: its id; TLSA: what tells these records from others; else empty. */
    struct sv policy_id;
    /* STS: the lines of sts_policy_print(); TLSA: a record a line; empty where
     * the same stood in an earlier session of this domain and id on this day.
     */
    struct sv policy_text;
    enum ledger_tls_result result;
    bool enforced; /* the result decided; not: it was only noted (testing) */
    enum tls_stage stage; /* of a failure */
    struct sv reason;     /* of a failure */
    struct sv host, ip;   /* of the server */
    struct sv helo;       /* name by which it introduced itself */
    struct sv local_ip;   /* our end */
    struct sv tls_version, tls_cipher;
    struct sv delivery; /* id of the connection in the log */
};
void ledger_session_encode(const struct ledger_session *session,
                           struct buf *out);
MUST_USE bool ledger_session_decode(struct sv bytes,
                                    struct ledger_session *session,
                                    struct err *err);

void ledger_attempt_encode(const struct ledger_attempt *attempt,
                           struct buf *out);
MUST_USE bool ledger_attempt_decode(struct sv bytes, struct arena *arena,
                                    struct ledger_attempt *attempt,
                                    struct err *err);
void ledger_action_encode(const struct ledger_action *action, struct buf *out);
MUST_USE bool ledger_action_decode(struct sv bytes,
                                   struct ledger_action *action,
                                   struct err *err);
#endif
