#include "spool/block.h"

/* Blocks kept for reuse; beyond, memory goes back to the system. */
enum { SPARE_MAX = 8 << 20 };

void
block_pool_init(struct block_pool *pool)
{
    *pool = (struct block_pool){0};
    pthread_mutex_init(&pool->lock, NULL);
}

void
block_pool_fini(struct block_pool *pool)
{
    for (size_t i = 0; i < COUNT_OF(pool->spare); i++) {
        struct block *block = pool->spare[i];

        while (block != NULL) {
            struct block *next = block->next;

            mem_free(block);
            block = next;
        }
    }
    pthread_mutex_destroy(&pool->lock);
}

static struct block **
spares_of(struct block_pool *pool, uint32_t size)
{
    return &pool->spare[size == BLOCK_SMALL ? 0 : 1];
}

static struct block *
block_new(struct block_pool *pool, uint32_t size)
{
    struct block **spares = spares_of(pool, size);
    struct block *block;

    pthread_mutex_lock(&pool->lock);
    block = *spares;
    if (block != NULL) {
        *spares = block->next;
        pool->spare_bytes -= size;
    }
    pthread_mutex_unlock(&pool->lock);
    if (block == NULL) {
        block = mem_alloc_raw(sizeof *block + size);
        block->size = size;
    }
    block->next = NULL;
    block->used = 0;
    return block;
}

static void
chain_grow(struct block_pool *pool, struct block_chain *chain)
{
    uint32_t size = chain->first == NULL ? BLOCK_SMALL : BLOCK_LARGE;
    struct block *block = block_new(pool, size);

    if (chain->last == NULL)
        chain->first = block;
    else
        chain->last->next = block;
    chain->last = block;
    chain->size += size;
    atomic_fetch_add(&pool->used, size);
}

void
block_chain_add(struct block_pool *pool, struct block_chain *chain,
                struct sv bytes)
{
    while (bytes.n > 0) {
        struct block *last = chain->last;
        size_t room = last == NULL ? 0 : last->size - last->used;

        if (room == 0) {
            chain_grow(pool, chain);
            continue;
        }
        size_t n = bytes.n < room ? bytes.n : room;
        memcpy(last->data + last->used, bytes.p, n);
        last->used += (uint32_t)n;
        bytes = sv_from(bytes, n);
    }
}

void
block_chain_release(struct block_pool *pool, struct block_chain *chain)
{
    struct block *block = chain->first;
    struct block *surplus = NULL;

    if (block == NULL)
        return;
    atomic_fetch_sub(&pool->used, chain->size);
    *chain = (struct block_chain){0};
    pthread_mutex_lock(&pool->lock);
    while (block != NULL) {
        struct block *next = block->next;
        struct block **to = &surplus;

        if (pool->spare_bytes < SPARE_MAX) {
            to = spares_of(pool, block->size);
            pool->spare_bytes += block->size;
        }
        block->next = *to;
        *to = block;
        block = next;
    }
    pthread_mutex_unlock(&pool->lock);
    while (surplus != NULL) {
        block = surplus->next;
        mem_free(surplus);
        surplus = block;
    }
}

void
block_chain_join(struct block_chain *to, struct block_chain *from)
{
    if (from->first == NULL)
        return;
    if (to->last == NULL)
        to->first = from->first;
    else
        to->last->next = from->first;
    to->last = from->last;
    to->size += from->size;
    *from = (struct block_chain){0};
}
