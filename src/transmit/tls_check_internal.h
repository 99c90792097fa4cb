/* transmit/tls_check_internal.h - one server of a check: tls_check.c connects,
 * tls_check_json.c writes down what came of it. */
#ifndef TRANSMIT_TLS_CHECK_INTERNAL_H
#define TRANSMIT_TLS_CHECK_INTERNAL_H
#include "transmit/explain_internal.h"
#include "transmit/tls_advice.h"

enum { CHAIN_MAX = 10 /* certificates that are shown */ };

/* What became of one server. */
enum probe_result {
    PROBE_WAITING,
    PROBE_VERIFIED,  /* TLS, and the server proved who it is */
    PROBE_ENCRYPTED, /* TLS, and nobody asked, or it did not matter */
    PROBE_CLEAR,     /* mail would go in clear text */
    PROBE_NOT_HERE,  /* mail would not go to this server */
    PROBE_UNREACHED, /* it could not be asked */
    PROBE_RESULT_COUNT,
};
const char *probe_result_name(enum probe_result result);

struct probe {
    struct tls_check *check;
    const struct question_host *host;
    const struct route_target *target;
    size_t number;         /* in the order of trying, from 1 */
    struct client *client; /* NULL: not running */
    enum probe_result result;
    uint64_t begun;    /* ms on the loop's clock */
    const char *state; /* static; being waited for */
    uint64_t state_begun;
    json_t *steps, *ehlo, *tls; /* owned */
    bool offers_requiretls;
    struct tls_trial *trial; /* owned; NULL: none runs */
    json_t *helps;           /* owned; what the trial found; NULL: nothing */
    struct tls_certificate_facts *chain[CHAIN_MAX]; /* owned */
    size_t chain_count;
    struct tls_observation seen; /* peer points into chain */
};

/* All that is known of it.  A new reference. */
json_t *probe_json(const struct probe *probe);
#endif
