/* net/output.h - queues of bytes to be sent, for the files of lib/net.
 * Blocks come from a free list of the loop, so a burst costs no allocations and
 * an idle connection holds no memory. */
#ifndef NET_OUTPUT_H
#define NET_OUTPUT_H
#include "base/sv.h"
#include <sys/uio.h>

#define OUTPUT_BLOCK 16384 /* clear bytes of one TLS record */

struct output_block {
    struct output_block *next;
    uint32_t start, end;
    char data[OUTPUT_BLOCK];
};

struct output_pool {
    struct output_block *free; /* owned */
    size_t count;
};

struct output {
    struct output_block *first, *last; /* owned */
    size_t length;
};

void output_pool_fini(struct output_pool *pool);
void output_add(struct output *output, struct output_pool *pool,
                struct sv bytes);
/* The unsent part of the first block; empty when there is none. */
struct sv output_first(const struct output *output);
int output_iov(const struct output *output, struct iovec *iov, int max);
/* n <= output->length */
void output_consume(struct output *output, struct output_pool *pool, size_t n);
void output_clear(struct output *output, struct output_pool *pool);
#endif
