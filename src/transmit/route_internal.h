/* transmit/route_internal.h - the parts behind transmit/route.h: route.c asks
 * the DNS, route_order.c makes the list out of what came. */
#ifndef TRANSMIT_ROUTE_INTERNAL_H
#define TRANSMIT_ROUTE_INTERNAL_H
#include "transmit/route.h"

enum { ROUTE_SMTP_PORT = 25, ROUTE_HOST_ADDRESSES_MAX = 16 };

/* One server before its addresses are spread into targets. */
struct route_host {
    struct route_query *query;
    char name[256];
    bool literal;
    bool by_mx; /* see struct route_target */
    bool lost;  /* an address look-up failed: it may have more addresses */
    uint16_t port;
    uint32_t rank;       /* of its hop; 0 for a domain's own MX */
    uint16_t preference; /* MX preference, or the hop's priority */
    uint32_t shuffle;    /* random order among equals */
    enum dns_state mx_state, address_state;
    char canonical[256]; /* where its aliases lead; "" unless it has any */
    struct net_address addresses[ROUTE_HOST_ADDRESSES_MAX];
    /* Why an address, and why the host, is not tried; NULL: it is.  Texts are
     * static. */
    const char *refused[ROUTE_HOST_ADDRESSES_MAX];
    const char *removed;
    size_t address_count;
    struct dns_query *a, *aaaa; /* NULL: none is running */
};

/* Hops in the order to try: by priority, and in random order by weight within
 * one.  order gets count indices. */
void route_order_hops(const struct route_hop *hops, size_t count,
                      size_t *order);

void route_sort_hosts(struct route_host *hosts, size_t count);

/* Removes ourselves and every server that is not better than we are (RFC 5321
 * section 5.1): otherwise two backup servers could pass mail to and fro. Hosts
 * are sorted.  Returns how many stay. */
size_t route_remove_ourselves(const struct settings *settings,
                              struct route_host *hosts, size_t count);
/* For static routes, where any server may be meant: refuses only addresses that
 * are our own listeners, address and port. */
size_t route_remove_listeners(const struct settings *settings,
                              struct route_host *hosts, size_t count);

/* Spreads addresses of those that stay into at most ROUTE_ADDRESSES_MAX
 * targets. */
void route_make_targets(const struct route_host *hosts, size_t count,
                        enum ip_preference preference, struct route *route);

/* route_trace.c: writes down what was asked and found.  trace: NULL for most
 * queries, then nothing is done. */
void route_trace_answer(json_t *trace, const char *name, enum dns_type type,
                        const struct dns_answer *answer);
void route_trace_left_out(json_t *trace, const char *name);
void route_trace_hosts(json_t *trace, const struct route_host *hosts,
                       size_t count);
#endif
