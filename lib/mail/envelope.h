/* mail/envelope.h - the envelope of a message, as accept/ builds it, spool/
 * keeps it and transmit/ reads it.
 *
 * In the spool it is a sequence of items {uint8 tag, uint8 0, uint16 length,
 * bytes}, little-endian; unknown tags are skipped, so fields can be added.  A
 * recipient begins with its TO item; the ORCPT and NOTIFY that follow belong
 * to it.  Views point into the caller's memory. */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum envelope_body { BODY_7BIT, BODY_8BITMIME };
enum envelope_ret { RET_UNSET, RET_FULL, RET_HDRS };
enum envelope_notify { /* bits; 0: not given */
                       NOTIFY_NEVER = 1,
                       NOTIFY_SUCCESS = 2,
                       NOTIFY_FAILURE = 4,
                       NOTIFY_DELAY = 8,
};

/* What the message itself demands of the TLS of every further hop, beside what
 * the destination's settings say. */
enum envelope_tls {                            /* bits */
                    ENVELOPE_REQUIRETLS = 1,   /* RFC 8689: MAIL parameter */
                    ENVELOPE_TLS_OPTIONAL = 2, /* "TLS-Required: No" in its
                                                * header; without effect
                                                * beside REQUIRETLS */
                    ENVELOPE_TLS_REQUIRED = 4, /* our policy: TLS or nothing */
                    ENVELOPE_TLS_VERIFIED = 8, /* … by a verified server */
                    ENVELOPE_IGNORE_DANE = 16, /* our policy */
                    ENVELOPE_TLS_REPORT = 32,  /* a report of our own: not
                                                * counted in reports */
};

/* The names of the bits, as they stand in the log and in calls: "requiretls",
 * "tls-optional", "tls-required", "tls-verified", "ignore-dane", "tls-report".
 * Writes those of demands with a comma between; "" for none. */
#define ENVELOPE_TLS_TEXT 80
const char *envelope_tls_text(unsigned demands, char out[ENVELOPE_TLS_TEXT]);
/* Adds the bit of this name; false where there is none. */
MUST_USE bool envelope_tls_add(struct sv name, unsigned *demands);

struct envelope_recipient {
    struct sv address; /* mailbox without <> */
    struct sv domain;  /* canonical (mail_domain_canonical) or [literal] */
    struct sv orcpt;   /* "rfc822;…", xtext as received; empty: none */
    unsigned notify;   /* enum envelope_notify */
};

struct envelope {
    struct sv queue_id; /* "B4d3dcb910000" */
    struct sv sender;   /* mailbox without <>; empty: null reverse-path */
    struct sv envid;    /* xtext as received; empty: none */
    enum envelope_ret ret;
    enum envelope_body body;
    bool smtputf8;
    bool eight_bit;           /* the content holds bytes above 0x7f */
    bool header_utf8;         /* the header section does */
    struct sv client_address; /* text form of the peer's IP */
    struct sv client_name;    /* HELO name */
    struct sv session;        /* session id in the log */
    struct sv listener;
    struct sv tls_version, tls_cipher; /* inbound facts; empty: clear text */
    unsigned tls_demands;              /* enum envelope_tls */
    uint32_t header_bytes; /* length of the header section of the body */
    struct envelope_recipient *recipients;
    size_t recipient_count;
};

void envelope_encode(const struct envelope *envelope, struct buf *out);
/* Views point into bytes; the array of recipients comes from the arena. */
MUST_USE bool envelope_decode(struct sv bytes, struct arena *arena,
                              struct envelope *envelope, struct err *err);
#endif
