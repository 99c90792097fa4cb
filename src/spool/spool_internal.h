/* spool/spool_internal.h - the spool as its own files see it. */
#ifndef SPOOL_SPOOL_INTERNAL_H
#define SPOOL_SPOOL_INTERNAL_H
#include "spool/block.h"
#include "spool/shared.h"
#include "spool/spool.h"
#include <pthread.h>
#include <stdatomic.h>

/* The limits, readable by every thread without a lock. */
struct spool_limits {
    _Atomic uint64_t segment_size, inline_limit, memory_limit;
    _Atomic uint64_t min_free, max_messages, max_bytes;
    _Atomic uint32_t spare_segments;
};

struct spool {
    char *path;                      /* state_dir/spool, owned */
    int dir;                         /* of path */
    int journal_dir[2], body_dir[2]; /* by enum spool_journal */
    int keep_dir;                    /* registered readers */
    int aside_dir;                   /* spool_set_aside() */
    int lock;                        /* held by the writer; -1 */
    enum spool_journal writes;
    struct shared shared;
    struct spool_limits limits;
    struct block_pool blocks;
    struct segment_table *segments; /* open segment files */
    /* Only in the process that writes: */
    struct journal *journal; /* NULL in a reader */
    struct keeper *keeper;
    struct body_pool *bodies;
    struct port_list *ports;
    atomic_bool readers_passed; /* told, for want of room */
};

bool spool_has_writer(const struct spool *spool, enum spool_journal journal);
#endif
