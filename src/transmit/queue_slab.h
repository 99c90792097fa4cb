/* transmit/queue_slab.h - compact tables for very many small objects.
 *
 * A slab hands out objects of one size by number, so that links between them
 * cost four bytes; number 0 is nobody.  A table numbers objects that live
 * elsewhere. An index finds a number by a hash of what it stands for.  A heap
 * keeps numbers in order of a time.  None of them allocates per object. */
#ifndef TRANSMIT_QUEUE_SLAB_H
#define TRANSMIT_QUEUE_SLAB_H
#include "base/base.h"

struct slab {
    char **chunks; /* owned */
    size_t chunk_count;
    size_t size;   /* of an object; a multiple of 8, at least 4 */
    uint32_t end;  /* numbers below were handed out at some time */
    uint32_t free; /* first of the returned ones, linked by their first word */
    uint32_t count;
};
void slab_init(struct slab *slab, size_t size);
void slab_fini(struct slab *slab);
uint32_t slab_take(struct slab *slab); /* zeroed object */
/* The object is zeroed but for its first four bytes. */
void slab_give(struct slab *slab, uint32_t number);
void *slab_at(const struct slab *slab, uint32_t number);
size_t slab_memory(const struct slab *slab); /* bytes */

struct index {
    uint32_t *slots; /* owned; 0: empty */
    size_t cap;      /* a power of two, or 0 */
    size_t count;
    uint64_t (*hash)(const void *owner, uint32_t number);
    const void *owner;
};
void index_init(struct index *index,
                uint64_t (*hash)(const void *owner, uint32_t number),
                const void *owner);
void index_fini(struct index *index);
void index_add(struct index *index, uint32_t number);
void index_remove(struct index *index, uint32_t number);
/* Walks the numbers that may have this hash: *cursor starts at 0; 0: no more.
 * The caller compares the keys. */
uint32_t index_next(const struct index *index, uint64_t hash, size_t *cursor);

/* Pointers by number; numbers of removed ones are used again. */
struct table {
    void **items; /* owned; [0] and holes are NULL */
    uint32_t end; /* numbers below may be in use */
    uint32_t cap, count, cursor;
};
uint32_t table_add(struct table *table, void *item);
void table_remove(struct table *table, uint32_t number);
void table_fini(struct table *table);

struct heap_entry {
    uint64_t when;
    uint32_t number;
};
struct heap {
    struct heap_entry *entries; /* owned */
    uint32_t count, cap;
    /* Where an object keeps its place in the heap. */
    uint32_t *(*place)(void *owner, uint32_t number);
    void *owner;
};
void heap_init(struct heap *heap,
               uint32_t *(*place)(void *owner, uint32_t number), void *owner);
void heap_fini(struct heap *heap);
void heap_put(struct heap *heap, uint32_t number, uint64_t when);
void heap_remove(struct heap *heap, uint32_t number);
/* False when empty. */
bool heap_first(const struct heap *heap, uint32_t *number, uint64_t *when);
#endif
