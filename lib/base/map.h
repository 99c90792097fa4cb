/* base/map.h - hash table from byte strings to pointers.
 * Keys may be chosen by an attacker: the hash is SipHash-1-3 with a key drawn
 * at process start.  The map copies keys and owns the copies; values belong to
 * the caller. */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "base/sv.h"

struct map_slot;

struct map {
    struct map_slot *slots; /* owned */
    size_t count;           /* entries */
    size_t cap;             /* slots: a power of two, or 0 */
    size_t filled; /* slots with an entry or the mark of a removed one */
};

/* A zeroed struct map is an empty map. */
void map_fini(struct map *map);
void *map_get(const struct map *map, struct sv key); /* NULL: not there */
/* Replaces; returns the former value or NULL.  value must not be NULL. */
void *map_put(struct map *map, struct sv key, void *value);
void *map_remove(struct map *map, struct sv key); /* the value, or NULL */
/* Walks in no order.  *cursor starts at 0; false at the end.  The map may not
 * change meanwhile, except that the current key may be removed by
 * map_remove_at(). */
bool map_next(const struct map *map, size_t *cursor, struct sv *key,
              void **value);
/* Removes what map_next() has just returned, *cursor being as it left it;
 * gives the value.  The key that it returned is gone too. */
void *map_remove_at(struct map *map, size_t cursor);

uint64_t hash_bytes(struct sv bytes); /* the same keyed hash */
#endif
