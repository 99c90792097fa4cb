#include "net/output.h"

#define POOL_MAX 64 /* 1 MiB for each loop; more goes back to the heap */

static struct output_block *
block_new(struct output_pool *pool)
{
    struct output_block *block = pool->free;

    if (block == NULL) {
        block = mem_alloc_raw(sizeof *block);
    } else {
        pool->free = block->next;
        pool->count--;
    }
    block->next = NULL;
    block->start = block->end = 0;
    return block;
}

static void
block_free(struct output_block *block, struct output_pool *pool)
{
    if (pool->count >= POOL_MAX) {
        mem_free(block);
        return;
    }
    block->next = pool->free;
    pool->free = block;
    pool->count++;
}

void
output_pool_fini(struct output_pool *pool)
{
    while (pool->free != NULL) {
        struct output_block *block = pool->free;

        pool->free = block->next;
        mem_free(block);
    }
    pool->count = 0;
}

void
output_add(struct output *output, struct output_pool *pool, struct sv bytes)
{
    while (bytes.n > 0) {
        struct output_block *last = output->last;
        size_t n;

        if (last == NULL || last->end == OUTPUT_BLOCK) {
            last = block_new(pool);
            if (output->last == NULL)
                output->first = last;
            else
                output->last->next = last;
            output->last = last;
        }
        n = OUTPUT_BLOCK - last->end;
        if (n > bytes.n)
            n = bytes.n;
        memcpy(last->data + last->end, bytes.p, n);
        last->end += (uint32_t)n;
        output->length += n;
        bytes = sv_from(bytes, n);
    }
}

struct sv
output_first(const struct output *output)
{
    const struct output_block *block = output->first;

    if (block == NULL)
        return (struct sv){0};
    return (struct sv){block->data + block->start, block->end - block->start};
}

int
output_iov(const struct output *output, struct iovec *iov, int max)
{
    int n = 0;

    for (struct output_block *b = output->first; b != NULL && n < max;
         b = b->next)
        iov[n++] = (struct iovec){b->data + b->start, b->end - b->start};
    return n;
}

void
output_consume(struct output *output, struct output_pool *pool, size_t n)
{
    assert(n <= output->length);
    output->length -= n;
    while (output->first != NULL) {
        struct output_block *block = output->first;
        size_t held = block->end - block->start;

        if (n < held) {
            block->start += (uint32_t)n;
            return;
        }
        n -= held;
        output->first = block->next;
        if (output->first == NULL)
            output->last = NULL;
        block_free(block, pool);
    }
}

void
output_clear(struct output *output, struct output_pool *pool)
{
    output_consume(output, pool, output->length);
}
