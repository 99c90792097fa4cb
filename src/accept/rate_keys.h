/* accept/rate_keys.h - the table under the counters: keys to two numbers.
 * Striped: a key belongs to one stripe, which has its own lock, entries, hash
 * chains and order of age.  Private to rate.c. */
#ifndef ACCEPT_RATE_KEYS_H
#define ACCEPT_RATE_KEYS_H
#include "accept/rate.h"
#include <pthread.h>

struct rate_entry {
    struct rate_key key;
    uint64_t a, b;         /* the counter's own */
    uint32_t slot;         /* of its chain */
    uint32_t chain;        /* next of the same hash: index + 1, or 0 */
    uint32_t older, newer; /* by the last touch: index, or UINT32_MAX */
};

struct rate_stripe;

struct rate_keys {
    struct rate_stripe *stripes; /* owned */
};

void rate_keys_init(struct rate_keys *keys, uint32_t max_keys);
void rate_keys_fini(struct rate_keys *keys);

/* Locks the stripe of the key, for which the other functions then speak;
 * every call is followed by one of rate_keys_unlock(). */
struct rate_stripe *rate_keys_lock(struct rate_keys *keys, struct rate_key key);
void rate_keys_unlock(struct rate_stripe *stripe);

/* Within a lock: the entry of the key, or NULL. */
struct rate_entry *rate_stripe_find(struct rate_stripe *stripe);
/* A new entry with a and b 0, where the key has none; NULL when the stripe is
 * full. */
struct rate_entry *rate_stripe_add(struct rate_stripe *stripe);
/* The entry, new where there was none: in a full stripe it replaces the one
 * touched longest ago.  It is the newest now. */
struct rate_entry *rate_stripe_touch(struct rate_stripe *stripe);
void rate_stripe_remove(struct rate_stripe *stripe, struct rate_entry *entry);
#endif
