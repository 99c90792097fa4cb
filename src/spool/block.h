/* spool/block.h - content in memory: chains of blocks from a free list.
 *
 * The first block of a chain is small, as most messages are; the following
 * ones are large.  Any thread. */
#ifndef SPOOL_BLOCK_H
#define SPOOL_BLOCK_H
#include "base/sv.h"
#include <pthread.h>
#include <stdatomic.h>

enum { BLOCK_SMALL = 8 << 10, BLOCK_LARGE = 64 << 10 };

struct block {
    struct block *next;
    uint32_t size; /* bytes of data[] */
    uint32_t used;
    char data[];
};

struct block_chain {
    struct block *first, *last; /* owned */
    size_t size;                /* bytes of memory in its blocks */
};

struct block_pool {
    pthread_mutex_t lock;
    struct block *spare[2]; /* small, large */
    size_t spare_bytes;
    _Atomic uint64_t used; /* bytes of memory in chains */
};

void block_pool_init(struct block_pool *pool);
void block_pool_fini(struct block_pool *pool);

/* Appends a copy of the bytes. */
void block_chain_add(struct block_pool *pool, struct block_chain *chain,
                     struct sv bytes);
/* Gives all blocks back; the chain is empty. */
void block_chain_release(struct block_pool *pool, struct block_chain *chain);
void block_chain_join(struct block_chain *to, struct block_chain *from);
#endif
