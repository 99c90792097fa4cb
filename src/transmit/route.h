/* transmit/route.h - the servers of a destination, in the order to try.
 *
 * Static routes first (weights within a priority), else MX with everything that
 * RFC 5321 section 5.1 and RFC 7505 say: A/AAAA without MX, null MX, CNAME,
 * ourselves and worse removed, loopback and unspecified targets refused unless
 * allowed, a bound on hosts and addresses, each look-up's DNSSEC state kept.
 * Lookups are asynchronous; results come on the caller's loop. */
#ifndef TRANSMIT_ROUTE_H
#define TRANSMIT_ROUTE_H
#include "dns/dns.h"
#include "settings/settings.h"
#include "tls/facts.h"
#include "transmit/destination.h"
#include <jansson.h>

enum { ROUTE_HOSTS_MAX = 32, ROUTE_ADDRESSES_MAX = 64 };

struct route_target {
    char host[256]; /* name, canonical; text of a literal */
    bool literal;
    bool by_mx; /* it is a server of a domain by MX records, or for want of
                 * them; not: the configuration names it */
    uint16_t preference;        /* MX preference or route priority */
    struct net_address address; /* with port */
    /* mx_state: of the MX records that name the host, or of the proof that
     * there are none and the domain is its own server; SECURE for a host that
     * the configuration names, ABSENT for literals. */
    enum dns_state mx_state, address_state;
};

enum route_result {
    ROUTE_OK,
    ROUTE_TEMPORARY, /* DNS trouble: defer */
    ROUTE_NONE,      /* no such domain, no address: 5.1.2 */
    ROUTE_NULL_MX,   /* RFC 7505: 5.1.10 */
    ROUTE_LOOP,      /* it comes back to ourselves: 5.4.6 */
};

struct route {
    enum route_result result;
    char reason[256];
    /* With OK: a look-up failed, there may be more servers; reason says which.
     * What those that are known refuse is not refused by all. */
    bool incomplete;
    struct route_target *targets; /* in order of trying */
    size_t target_count;
    json_t *trace; /* owned; NULL unless route_keep_trace() was called */
};

/* Finds the targets; on_route comes on the loop, never from inside; the route
 * is the callback's to free.  The returned query may be cancelled. */
struct route_query;
struct route_query *route_find(struct dns_resolver *resolver, struct loop *loop,
                               struct settings *settings,
                               const struct destination *destination,
                               void (*on_route)(void *arg, struct route *route),
                               void *arg);
/* For views; at once after route_find().  The route then comes with
 *   {"lookups": [{"name", "type", "state", "canonical", "ttl", "reason",
 *                 "nxdomain", "secure_denial", "records",
 *                 "aliases": [{"name", "target", "state"}]}],
 *    "servers": [{"host", "preference", "port", "literal", "mx_state",
 *                 "address_state", "canonical", "removed",
 *                 "addresses": [{"ip", "removed"}]}],
 *    "left_out": [names of servers too many]}
 * in the order of asking and of preference; what has nothing to say is left
 * out. */
void route_keep_trace(struct route_query *query);
void route_cancel(struct route_query *query); /* no call comes any more */
void route_free(struct route *route);
#endif
