#include "spool/body.h"
#include "base/random.h"
#include "spool/segment.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
    POOL_THREADS = 2,
    FLUSH_BYTES = 1 << 20, /* start writing back, so the sync finds less */
};

struct body_pool {
    struct spool *spool;
    enum spool_journal journal;
    pthread_t threads[POOL_THREADS];
    size_t thread_count;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list queue;
    bool stop;
};

uint64_t
body_number_new(void)
{
    return random_u64() | 1; /* 0 means that there is no file */
}

int
body_create(struct spool *spool, enum spool_journal journal, uint64_t number,
            struct err *err)
{
    char name[BODY_NAME];
    int fd = openat(spool->body_dir[journal], body_name(0, number, name),
                    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd == -1)
        err_sys(err, "create body file %s", name);
    return fd;
}

/* --- A body in the hands of a pool thread ------------------------------- */

static void
body_fail(struct body_file *body, const char *what)
{
    body->failed = true;
    err_sys(&body->error, "%s body file", what);
}

static void
write_back(struct body_file *body)
{
    uint64_t n = body->written - body->flushed;

    if (n < FLUSH_BYTES)
        return;
    (void)sync_file_range(body->fd, (off_t)body->flushed, (off_t)n,
                          SYNC_FILE_RANGE_WRITE);
    body->flushed = body->written;
}

static void
write_chain(struct body_pool *pool, struct body_file *body,
            const struct block_chain *chain)
{
    if (body->fd == -1 && !body->failed) {
        body->fd =
            body_create(pool->spool, pool->journal, body->number, &body->error);
        body->failed = body->fd == -1;
    }
    for (struct block *b = chain->first; b != NULL && !body->failed;
         b = b->next) {
        if (!write_fully(body->fd, b->data, b->used, body->written)) {
            body_fail(body, "write");
            return;
        }
        body->written += b->used;
        write_back(body);
    }
}

static void
remove_file(struct body_pool *pool, struct body_file *body)
{
    char name[BODY_NAME];

    if (body->fd == -1)
        return;
    close(body->fd);
    body->fd = -1;
    unlinkat(pool->spool->body_dir[pool->journal],
             body_name(0, body->number, name), 0);
}

static void
finish_file(struct body_pool *pool, struct body_file *body)
{
    if (!body->failed && body->fd != -1 && fdatasync(body->fd) == -1)
        body_fail(body, "sync");
    if (body->failed) {
        remove_file(pool, body);
    } else if (body->fd != -1) {
        close(body->fd);
        body->fd = -1;
    }
    body->on_finished(body, body->failed ? &body->error : NULL);
}

/* --- The threads -------------------------------------------------------- */

static void
enqueue(struct body_pool *pool, struct body_file *body)
{
    if (body->queued || body->busy)
        return;
    body->queued = true;
    list_push_back(&pool->queue, &body->link);
    pthread_cond_signal(&pool->more);
}

static struct body_file *
take_body(struct body_pool *pool)
{
    struct link *link;

    while (list_empty(&pool->queue) && !pool->stop)
        pthread_cond_wait(&pool->more, &pool->lock);
    link = list_pop_front(&pool->queue);
    return link == NULL ? NULL : CONTAINER_OF(link, struct body_file, link);
}

/* With the pool's lock, which it gives up while it writes. */
static void
serve(struct body_pool *pool, struct body_file *body)
{
    struct block_chain chain = body->pending;

    body->pending = (struct block_chain){0};
    body->queued = false;
    body->busy = true;
    bool last = body->finish;
    bool drop = body->drop;
    pthread_mutex_unlock(&pool->lock);
    if (!drop)
        write_chain(pool, body, &chain);
    block_chain_release(&pool->spool->blocks, &chain);
    if (drop) {
        remove_file(pool, body);
        body->on_dropped(body);
    } else if (last) {
        finish_file(pool, body);
    }
    pthread_mutex_lock(&pool->lock);
    if (drop || last)
        return; /* it may be gone */
    body->busy = false;
    if (body->pending.first != NULL || body->finish || body->drop) {
        enqueue(pool, body);
    } else if (body->waiting) {
        body->waiting = false;
        body->on_room(body);
    }
}

static void *
pool_run(void *arg)
{
    struct body_pool *pool = arg;
    struct body_file *body;

    pthread_mutex_lock(&pool->lock);
    while ((body = take_body(pool)) != NULL)
        serve(pool, body);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct body_pool *
body_pool_start(struct spool *spool, enum spool_journal journal,
                struct err *err)
{
    struct body_pool *pool = mem_alloc(sizeof *pool);

    pool->spool = spool;
    pool->journal = journal;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->more, NULL);
    list_init(&pool->queue);
    for (; pool->thread_count < POOL_THREADS; pool->thread_count++) {
        int code = pthread_create(&pool->threads[pool->thread_count], NULL,
                                  pool_run, pool);

        if (code == 0)
            continue;
        err_code(err, code, "start a thread for body files");
        body_pool_stop(pool);
        return NULL;
    }
    return pool;
}

void
body_pool_stop(struct body_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->more);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->more);
    mem_free(pool);
}

/* --- From the sender of the body ---------------------------------------- */

void
body_begin(struct body_file *body)
{
    body->fd = -1;
    body->number = body_number_new();
}

bool
body_add(struct body_pool *pool, struct body_file *body,
         struct block_chain *chain)
{
    bool wait;

    pthread_mutex_lock(&pool->lock);
    block_chain_join(&body->pending, chain);
    if (body->pending.first != NULL)
        enqueue(pool, body);
    wait = body->waiting = body->pending.size > BODY_PENDING_MAX;
    pthread_mutex_unlock(&pool->lock);
    return wait;
}

void
body_finish(struct body_pool *pool, struct body_file *body)
{
    pthread_mutex_lock(&pool->lock);
    body->finish = true;
    body->waiting = false;
    enqueue(pool, body);
    pthread_mutex_unlock(&pool->lock);
}

void
body_quiet(struct body_pool *pool, struct body_file *body)
{
    pthread_mutex_lock(&pool->lock);
    body->waiting = false;
    pthread_mutex_unlock(&pool->lock);
}

void
body_drop(struct body_pool *pool, struct body_file *body)
{
    pthread_mutex_lock(&pool->lock);
    body->drop = true;
    enqueue(pool, body);
    pthread_mutex_unlock(&pool->lock);
}
