/* transmit/tls_advice.h - the least change that would let mail go: pure.
 *
 * A change is tried on a copy of the destination's settings, decide() is asked
 * again, and what was seen of the server is held against the new decision; the
 * first that would do is given, from the smallest loss of security to the
 * largest. */
#ifndef TRANSMIT_TLS_ADVICE_H
#define TRANSMIT_TLS_ADVICE_H
#include "transmit/tls_consequence.h"
#include <jansson.h>

/* What was seen of a server. */
struct tls_observation {
    struct tls_failure failure; /* before or in the handshake; NONE: it was
                                 * finished, and the rest counts */
    enum tls_verdict verdict;   /* of the chain, without the name */
    const struct tls_certificate_facts *peer; /* NULL: none */
    bool dane_asked, dane_matched;
};

/* The stage at which the certificate fails under this decision; NONE: it does
 * not. */
enum tls_stage tls_observed_stage(const struct tls_decision *decision,
                                  const struct tls_observation *observation);
/* Would mail go to this server, now or with the next attempt? */
bool tls_observed_good(const struct tls_decision *decision,
                       const struct tls_observation *observation);
/* One of the certificate's DNS names is equal to this canonical name or has a
 * wildcard for its first label. */
bool tls_names_include(const struct tls_certificate_facts *peer,
                       const char *name);

/* [{"where": "server" or "here", "change", "text"}]; the change here is a line
 * of the configuration.  A new reference. */
json_t *tls_advice(const struct tls_evidence *evidence,
                   const struct tls_decision *decision,
                   const struct tls_observation *observation);
#endif
