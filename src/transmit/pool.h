/* transmit/pool.h - connections that wait for more mail, by destination.
 * Knows nothing about connections: it keeps members by key.  Not thread-safe;
 * the holder locks. */
#ifndef TRANSMIT_POOL_H
#define TRANSMIT_POOL_H
#include "base/list.h"
#include "base/map.h"

struct pool_key;

struct pool_member { /* in the member's own struct; zeroed: in no pool */
    struct link link;
    struct pool_key *key; /* NULL: not kept */
};

struct pool {
    struct map keys;   /* struct pool_key */
    uint32_t each_max; /* members of one key */
    size_t count;      /* members */
};

void pool_init(struct pool *pool, uint32_t each_max);
void pool_fini(struct pool *pool); /* must be empty */
/* False: enough are kept for this key. */
bool pool_put(struct pool *pool, struct sv key, struct pool_member *member);
/* The one kept last (its peer is the least likely to have closed it); NULL:
 * none. */
struct pool_member *pool_take(struct pool *pool, struct sv key);
struct pool_member *pool_take_any(struct pool *pool);
void pool_remove(struct pool *pool, struct pool_member *member);
bool pool_holds(const struct pool_member *member);
#endif
