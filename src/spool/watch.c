/* Waking a reader: it sleeps by saying so in shared memory; the first growth
 * after that writes one byte into its FIFO. */
#include "spool/spool_internal.h"
#include <errno.h>
#include <unistd.h>

struct spool_watcher {
    struct spool *spool;
    struct watch *watch;
    int fd; /* the FIFO; its lock makes the slot ours */
    unsigned slot;
    void (*on_more)(void *arg);
    void *arg;
};

static void
drain(int fd)
{
    char bytes[64];

    while (read(fd, bytes, sizeof bytes) > 0)
        ;
}

/* First say that we sleep, then look: what grows before is seen by on_more(),
 * what grows after wakes us again. */
static void
on_ready(void *arg, int events)
{
    struct spool_watcher *watcher = arg;

    (void)events;
    drain(watcher->fd);
    shared_sleep(&watcher->spool->shared, watcher->slot);
    watcher->on_more(watcher->arg);
}

struct spool_watcher *
spool_watch(struct spool *spool, struct loop *loop, void (*on_more)(void *arg),
            void *arg, struct err *err)
{
    struct spool_watcher *watcher = mem_alloc(sizeof *watcher);

    watcher->spool = spool;
    watcher->on_more = on_more;
    watcher->arg = arg;
    watcher->fd = shared_sleeper_open(&spool->shared, &watcher->slot, err);
    if (watcher->fd == -1) {
        mem_free(watcher);
        return NULL;
    }
    drain(watcher->fd);
    watcher->watch = watch_new(loop, watcher->fd, on_ready, watcher);
    watch_set(watcher->watch, WATCH_READ);
    (void)!write(watcher->fd, "", 1); /* look at what is there already */
    return watcher;
}

void
spool_watch_free(struct spool_watcher *watcher)
{
    if (watcher == NULL)
        return;
    shared_awake(&watcher->spool->shared, watcher->slot);
    watch_free(watcher->watch);
    close(watcher->fd);
    mem_free(watcher);
}
