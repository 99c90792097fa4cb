/* tlsrpt/record.h - the TXT record _smtp._tls.DOMAIN of RFC 8460 section 3:
 * where the owner of a domain wants reports to go. */
#ifndef TLSRPT_RECORD_H
#define TLSRPT_RECORD_H
#include "base/arena.h"
#include "base/err.h"

enum { TLSRPT_TARGETS_MAX = 10 }; /* more are not served */

struct tlsrpt_target {
    enum { TLSRPT_MAIL, TLSRPT_HTTPS } scheme;
    const char *uri;     /* as in the record */
    const char *address; /* MAIL: percent-decoded mailbox; HTTPS: the URI */
};

struct tlsrpt_record {
    struct tlsrpt_target *targets; /* in the record's order */
    size_t target_count;
    size_t ignored; /* URIs of other schemes, or beyond the limit */
};

/* The record looks like one of TLS reporting: others are not counted. */
bool tlsrpt_record_is(struct sv text);
/* Strict as the ABNF; fields that are unknown are ignored, so are URIs of other
 * schemes.  Results are in arena.  False: err says where it is wrong. */
MUST_USE bool tlsrpt_record_parse(struct sv text, struct arena *arena,
                                  struct tlsrpt_record *record,
                                  struct err *err);
/* The same of all TXT records of the name, each with its strings joined: there
 * must be exactly one of TLS reporting. */
MUST_USE bool tlsrpt_record_choose(const struct sv *texts, size_t count,
                                   struct arena *arena,
                                   struct tlsrpt_record *record,
                                   struct err *err);
#endif
