/* dns/dns_internal.h - the two halves behind dns/dns.h: resolver.c owns the
 * libunbound context, query.c carries one look-up through it. */
#ifndef DNS_DNS_INTERNAL_H
#define DNS_DNS_INTERNAL_H
#include "dns/dns.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unbound.h>

struct dns_resolver {
    struct ub_ctx *ub; /* owned */
    struct loop *loop; /* reads the answers */
    pthread_t thread;  /* that made it: the loop's own */
    struct watch *watch;
    uint64_t timeout_ms;
    atomic_size_t references;
    bool processing;    /* inside ub_process(); the loop's thread only */
    struct task remove; /* posted when the last reference goes elsewhere */
};

/* Fills ub with what the options say. */
MUST_USE bool dns_configure(struct ub_ctx *ub,
                            const struct dns_options *options, struct err *err);

/* packet.c: the aliases of the answer section that lead on from name
 * (canonical), in order, into list of DNS_ALIASES_MAX.  False: malformed, too
 * many of them, or a circle. */
MUST_USE bool dns_packet_aliases(const uint8_t *data, size_t length,
                                 const char *name, struct dns_alias *list,
                                 size_t *count);

/* count.c */
void dns_count(enum dns_type type, enum dns_state state, bool timed_out,
               uint64_t us);
#endif
