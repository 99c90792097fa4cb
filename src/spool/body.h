/* spool/body.h - large bodies go to files of their own while they arrive.
 *
 * A body file is written by a thread of the pool under a temporary name; what
 * waits to be written is bounded because the sender is told to wait.  When it
 * is finished it is synced; the writer of the journal gives it its name. */
#ifndef SPOOL_BODY_H
#define SPOOL_BODY_H
#include "spool/spool_internal.h"

/* Above this many bytes of memory in front of the pool the sender waits. */
enum { BODY_PENDING_MAX = 256 << 10 };

struct body_file {
    uint64_t number; /* of its name; never 0 */
    /* There is room again after body_add() said wait.  Pool thread, under the
     * pool's lock: it may only pass the news on. */
    void (*on_room)(struct body_file *body);
    /* All of it is on disk, or error.  Pool thread; may free the body. */
    void (*on_finished)(struct body_file *body, const struct err *error);
    /* The file is gone.  Pool thread; may free the body. */
    void (*on_dropped)(struct body_file *body);
    /* private: */
    struct link link;
    struct block_chain pending;
    bool queued, busy, finish, drop, waiting, failed;
    int fd;
    uint64_t written, flushed;
    struct err error;
};

MUST_USE struct body_pool *body_pool_start(struct spool *spool,
                                           enum spool_journal journal,
                                           struct err *err);
void body_pool_stop(struct body_pool *pool); /* writes what is queued */

/* The on_ members are set by the caller. */
void body_begin(struct body_file *body);
/* Takes the chain; true: send no more before on_room. */
MUST_USE bool body_add(struct body_pool *pool, struct body_file *body,
                       struct block_chain *chain);
void body_finish(struct body_pool *pool, struct body_file *body);
/* on_room does not come any more (a call of it may have passed). */
void body_quiet(struct body_pool *pool, struct body_file *body);
void body_drop(struct body_pool *pool, struct body_file *body);

uint64_t body_number_new(void);
/* Creates the file of a body under its temporary name; -1 on failure. */
MUST_USE int body_create(struct spool *spool, enum spool_journal journal,
                         uint64_t number, struct err *err);
#endif
