#include "net/loop_internal.h"

struct watch {
    uv_poll_t poll;
    void (*on_ready)(void *arg, int events);
    void *arg;
    int events; /* wanted now */
};

static void
on_poll(uv_poll_t *poll, int status, int uv_events)
{
    struct watch *watch = poll->data;
    int events = 0;

    if (uv_events & UV_READABLE)
        events |= WATCH_READ;
    if (uv_events & UV_WRITABLE)
        events |= WATCH_WRITE;
    /* libuv stops a descriptor that reports an error; the owner learns of it
     * from the call that the readiness invites, and watching goes on. */
    if (status < 0) {
        events = watch->events;
        watch->events = 0;
        watch_set(watch, events);
    }
    if (events != 0)
        watch->on_ready(watch->arg, events);
}

struct watch *
watch_new(struct loop *loop, int fd, void (*on_ready)(void *arg, int events),
          void *arg)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    int rc;

    assert(!loop->manual);
    rc = uv_poll_init(&loop->uv, &watch->poll, fd);
    assert(rc == 0); /* a descriptor that epoll takes, watched once */
    (void)rc;
    watch->poll.data = watch;
    watch->on_ready = on_ready;
    watch->arg = arg;
    return watch;
}

void
watch_set(struct watch *watch, int events)
{
    int uv_events = (events & WATCH_READ ? UV_READABLE : 0) |
                    (events & WATCH_WRITE ? UV_WRITABLE : 0);

    if (events == watch->events)
        return;
    watch->events = events;
    if (events == 0)
        uv_poll_stop(&watch->poll);
    else
        uv_poll_start(&watch->poll, uv_events, on_poll);
}

static void
on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void
watch_free(struct watch *watch)
{
    if (watch != NULL)
        uv_close((uv_handle_t *)&watch->poll, on_closed);
}
