/* tls/dane.h - TLSA records and the check of a chain against them (RFC 6698,
 * 7671, 7672).  OpenSSL verifies; what it is asked is settled here. */
#ifndef TLS_DANE_H
#define TLS_DANE_H
#include "base/err.h"
#include "base/sv.h"
#include "tls/facts.h"

struct tls_tlsa {
    uint8_t usage, selector, matching;
    uint16_t length;
    const uint8_t *data;
};
enum { TLS_TLSA_MAX = 100, TLS_DANE_NAMES_MAX = 4 };

/* The rdata of one record; false when it is shorter than its fixed part or
 * holds no data.  data points into rdata. */
MUST_USE bool tls_tlsa_parse(const uint8_t *rdata, size_t length,
                             struct tls_tlsa *tlsa);
/* "3 1 1 0123…", hex in any case, blanks between the digits allowed; data goes
 * to room. */
MUST_USE bool tls_tlsa_from_text(struct sv text, struct tls_tlsa *tlsa,
                                 uint8_t *room, size_t size);
/* "3 1 1 0123…"; cut with "…" when it does not fit. */
void tls_tlsa_print(const struct tls_tlsa *tlsa, char *out, size_t size);
/* NULL: usable with SMTP (RFC 7672 section 3.1.3); else why not. */
const char *tls_tlsa_problem(const struct tls_tlsa *tlsa);

/* What a server has to match.  Views stay the caller's and must live until the
 * stream is made, which copies. */
struct tls_dane {
    const struct tls_tlsa *tlsa; /* usable ones; others are passed over */
    size_t tlsa_count;
    const char *base; /* TLSA base domain: SNI, and the first name */
    const char *names[TLS_DANE_NAMES_MAX]; /* further ones that a certificate
                                            * under DANE-TA may carry */
    size_t name_count;
};

/* The check of a chain by itself, as a stream would do it: for test vectors and
 * `waxgate dane verify`.  chain: PEM, leaf first.  now: seconds since 1970. */
MUST_USE bool tls_dane_verify(struct sv chain_pem, const struct tls_dane *dane,
                              int64_t now, struct tls_dane_facts *facts);
#endif
