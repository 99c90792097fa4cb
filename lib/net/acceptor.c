#include "base/log.h"
#include "net/conn.h"
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#define ACCEPT_ROUND 16 /* connections taken before others get a turn */
#define ACCEPT_BACKOFF                                                         \
    250 /* ms without trying when the system is out of                         \
           descriptors; the backlog of the kernel waits */
#define RESERVE_MAX                                                            \
    64                     /* descriptors that peers cannot take: the process  \
                              opens files and calls, too */
#define COMPLAINT_MS 60000 /* between two words about it in the log */

struct acceptor {
    struct watch *watch; /* owned */
    struct timer timer;
    struct task release;
    int fd;
    bool paused, backing_off, freed, busy;
    uint64_t quiet_until; /* ms */
    void (*on_accept)(void *arg, int fd, const struct net_address *peer);
    void *arg;
};

static void
update(struct acceptor *acceptor)
{
    watch_set(acceptor->watch,
              acceptor->paused || acceptor->backing_off ? 0 : WATCH_READ);
}

static void
on_backoff_over(struct timer *timer)
{
    struct acceptor *acceptor = CONTAINER_OF(timer, struct acceptor, timer);

    acceptor->backing_off = false;
    update(acceptor);
}

static bool
is_exhaustion(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOBUFS ||
           code == ENOMEM;
}

static void
back_off(struct acceptor *acceptor, const char *why)
{
    uint64_t now = loop_now(acceptor->timer.loop);

    acceptor->backing_off = true;
    timer_arm(&acceptor->timer, ACCEPT_BACKOFF);
    update(acceptor);
    if (now < acceptor->quiet_until)
        return;
    acceptor->quiet_until = now + COMPLAINT_MS;
    log_event(NULL, LOG_ERROR, "accept.exhausted", LOG_STR("reason", why));
}

/* The kernel gives the lowest free number, so a high one says how many are
 * open. Of a low limit a quarter is kept. */
static bool
is_reserved(int fd)
{
    struct rlimit limit;
    rlim_t reserve;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return false;
    reserve =
        limit.rlim_cur / 4 < RESERVE_MAX ? limit.rlim_cur / 4 : RESERVE_MAX;
    return (rlim_t)fd >= limit.rlim_cur - reserve;
}

/* False: there is no more to accept now. */
static bool
accept_one(struct acceptor *acceptor)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    struct net_address peer;
    int fd = accept4(acceptor->fd, (struct sockaddr *)&from, &length,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0 && is_reserved(fd)) {
        close(fd);
        back_off(acceptor, "nearly all descriptors of the process are open");
        return false;
    }
    if (fd >= 0) {
        net_address_from_sockaddr((struct sockaddr *)&from, &peer);
        acceptor->on_accept(acceptor->arg, fd, &peer);
        return true;
    }
    if (is_exhaustion(errno)) {
        back_off(acceptor, strerror(errno));
        return false;
    }
    /* Errors of the connection that was to be accepted show here too
     * (accept(2)); the next one may be fine. */
    return errno != EAGAIN && errno != EBADF && errno != EINVAL &&
           errno != ENOTSOCK;
}

static void
on_released(struct task *task)
{
    struct acceptor *acceptor = CONTAINER_OF(task, struct acceptor, release);

    mem_free(acceptor);
}

static void
release(struct acceptor *acceptor)
{
    struct loop *loop = acceptor->timer.loop;

    timer_fini(&acceptor->timer);
    watch_free(acceptor->watch);
    acceptor->release.run = on_released;
    loop_defer(loop, &acceptor->release);
}

static void
on_ready(void *arg, int events)
{
    struct acceptor *acceptor = arg;
    int left = ACCEPT_ROUND;

    (void)events;
    acceptor->busy = true;
    while (left-- > 0 && !acceptor->freed && !acceptor->paused &&
           accept_one(acceptor))
        ;
    acceptor->busy = false;
    if (acceptor->freed)
        release(acceptor);
}

struct acceptor *
acceptor_new(struct loop *loop, int listen_fd,
             void (*on_accept)(void *arg, int fd,
                               const struct net_address *peer),
             void *arg)
{
    struct acceptor *acceptor = mem_alloc(sizeof *acceptor);

    acceptor->fd = listen_fd;
    acceptor->on_accept = on_accept;
    acceptor->arg = arg;
    timer_init(&acceptor->timer, loop, on_backoff_over);
    acceptor->watch = watch_new(loop, listen_fd, on_ready, acceptor);
    update(acceptor);
    return acceptor;
}

void
acceptor_pause(struct acceptor *acceptor, bool paused)
{
    acceptor->paused = paused;
    update(acceptor);
}

void
acceptor_free(struct acceptor *acceptor)
{
    if (acceptor == NULL || acceptor->freed)
        return;
    acceptor->freed = true;
    watch_set(acceptor->watch, 0);
    if (!acceptor->busy)
        release(acceptor);
}
