/* The server side: a call is read, handed to the service, and lives until the
 * service has ended it and its output is gone, or the client is.
 *
 *   reading ──request──▶ handed ──result, error──▶ ended ──flushed──▶ freed
 *      └──────────────────▶ client gone: fd is -1 ◀──────┘
 *
 * A call whose client is gone stays until the service ends it. */
#include "service/rpc_internal.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

struct rpc_server {
    struct loop *loop;
    int fd;
    struct watch *watch;
    struct timer retry; /* accept again after the kernel had no room */
    struct list calls;  /* with a connection */
    void (*on_call)(void *arg, struct rpc_call *call);
    void *arg;
};

struct rpc_call {
    struct link link;          /* on server->calls while connected */
    struct rpc_server *server; /* NULL once the server is freed */
    struct loop *loop;
    int fd; /* -1: the client is gone */
    struct watch *watch;
    struct timer timer;
    struct task reap;
    struct task low; /* on_low after the client went away */
    struct buf in, out;
    json_t *request; /* owned; params points into it */
    const char *method;
    json_t *params; /* owned */
    bool handed;    /* the service has it */
    bool ended;     /* and has given it back */
    bool reaping;
    bool writing; /* watching for room */
    void (*on_low)(void *arg);
    void *low_arg;
    void (*on_gone)(void *arg);
    void *gone_arg;
};

static void
call_free(struct rpc_call *call)
{
    timer_fini(&call->timer);
    buf_fini(&call->in);
    buf_fini(&call->out);
    json_decref(call->params);
    json_decref(call->request);
    mem_free(call);
}

static void
on_reap(struct task *task)
{
    call_free(CONTAINER_OF(task, struct rpc_call, reap));
}

/* Nobody needs the call any more; callers up the stack may still look. */
static void
call_reap(struct rpc_call *call)
{
    if (call->reaping)
        return;
    call->reaping = true;
    call->reap.run = on_reap;
    loop_defer(call->loop, &call->reap);
}

static void
accept_again(struct rpc_server *server)
{
    if (server->calls.length < RPC_CALLS_MAX && !timer_armed(&server->retry))
        watch_set(server->watch, WATCH_READ);
}

static void
call_disconnect(struct rpc_call *call)
{
    watch_free(call->watch);
    call->watch = NULL;
    close(call->fd);
    call->fd = -1;
    timer_disarm(&call->timer);
    buf_fini(&call->in);
    buf_fini(&call->out);
    if (call->server == NULL)
        return;
    list_remove(&call->server->calls, &call->link);
    accept_again(call->server);
}

static void
tell_low(struct rpc_call *call)
{
    void (*on_low)(void *arg) = call->on_low;

    call->on_low = NULL;
    if (on_low != NULL && !call->ended)
        on_low(call->low_arg);
}

static void
on_low_task(struct task *task)
{
    task->run = NULL; /* may be posted again */
    tell_low(CONTAINER_OF(task, struct rpc_call, low));
}

static void
low_later(struct rpc_call *call)
{
    if (call->low.run != NULL)
        return;
    call->low.run = on_low_task;
    loop_defer(call->loop, &call->low);
}

/* The client is gone, or shall be. */
static void
call_drop(struct rpc_call *call)
{
    void (*on_gone)(void *arg) = call->on_gone;

    if (call->fd == -1)
        return;
    call_disconnect(call);
    call->on_gone = NULL;
    if (!call->handed || call->ended) {
        call_reap(call);
        return;
    }
    if (call->on_low != NULL)
        low_later(call);
    if (on_gone != NULL)
        on_gone(call->gone_arg);
}

static void
watch_update(struct rpc_call *call)
{
    bool writing = buf_length(&call->out) > 0 || call->on_low != NULL;

    if (writing == call->writing)
        return;
    call->writing = writing;
    watch_set(call->watch, WATCH_READ | (writing ? WATCH_WRITE : 0));
    if (writing)
        timer_arm(&call->timer, RPC_STALL_TIMEOUT);
    else
        timer_disarm(&call->timer);
}

static void
call_flush(struct rpc_call *call)
{
    while (buf_length(&call->out) > 0) {
        struct sv view = buf_view(&call->out);
        ssize_t sent = send(call->fd, view.p, view.n, MSG_NOSIGNAL);

        if (sent == -1 && errno == EINTR)
            continue;
        if (sent == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (sent == -1) {
            call_drop(call);
            return;
        }
        buf_consume(&call->out, (size_t)sent);
        timer_arm(&call->timer, RPC_STALL_TIMEOUT);
    }
    if (buf_length(&call->out) <= RPC_LOW)
        tell_low(call);
    if (call->ended && buf_length(&call->out) == 0)
        call_drop(call);
    else
        watch_update(call);
}

static void
call_line(struct rpc_call *call, const char *key, json_t *value)
{
    json_t *line;
    char *text;

    if (value == NULL)
        value = json_null();
    if (call->fd == -1) {
        json_decref(value);
        return;
    }
    line = json_object();
    if (line == NULL || json_object_set_new_nocheck(line, key, value) == -1)
        abort(); /* out of memory */
    text = json_dumps(line, JSON_COMPACT);
    assert(text != NULL); /* a tree without cycles always prints */
    buf_add_str(&call->out, text);
    buf_add_char(&call->out, '\n');
    free(text);
    json_decref(line);
    watch_update(call);
}

static void
call_end(struct rpc_call *call)
{
    assert(call->handed && !call->ended);
    call->ended = true;
    call->on_low = NULL;
    call->on_gone = NULL;
    if (call->fd == -1)
        call_reap(call);
}

void
rpc_item(struct rpc_call *call, json_t *item)
{
    call_line(call, "item", item);
}

void
rpc_result(struct rpc_call *call, json_t *result)
{
    call_line(call, "result", result);
    call_end(call);
}

void
rpc_error(struct rpc_call *call, const char *fmt, ...)
{
    struct buf text = {0};
    struct sv view;
    json_t *value;
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    view = buf_view(&text);
    value = json_stringn(view.p, view.n);
    if (value == NULL) /* not UTF-8 */
        value = json_string("error text is not UTF-8");
    call_line(call, "error", value);
    buf_fini(&text);
    call_end(call);
}

void
rpc_relay(struct rpc_call *call, struct sv line, bool last)
{
    if (call->fd != -1) {
        buf_add(&call->out, line);
        buf_add_char(&call->out, '\n');
        watch_update(call);
    }
    if (last)
        call_end(call);
}

const char *
rpc_method(const struct rpc_call *call)
{
    return call->method;
}

const json_t *
rpc_params(const struct rpc_call *call)
{
    return call->params;
}

size_t
rpc_pending(const struct rpc_call *call)
{
    return buf_length(&call->out);
}

bool
rpc_gone(const struct rpc_call *call)
{
    return call->fd == -1;
}

void
rpc_on_low(struct rpc_call *call, void (*on_low)(void *arg), void *arg)
{
    call->on_low = on_low;
    call->low_arg = arg;
    if (call->fd == -1)
        low_later(call);
    else
        watch_update(call);
}

void
rpc_on_gone(struct rpc_call *call, void (*on_gone)(void *arg), void *arg)
{
    call->on_gone = on_gone;
    call->gone_arg = arg;
}

/* The request was wrong: answers for the service, which never sees it. */
static void
call_refuse(struct rpc_call *call, const char *text)
{
    call->handed = true;
    rpc_error(call, "%s", text);
}

static const char *
parse_request(struct rpc_call *call, struct sv line)
{
    json_t *params;

    call->request = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(call->request))
        return "the request is not a JSON object";
    call->method = json_string_value(json_object_get(call->request, "method"));
    if (call->method == NULL)
        return "the request has no method";
    params = json_object_get(call->request, "params");
    if (params != NULL && !json_is_object(params))
        return "params is not an object";
    call->params = params != NULL ? json_incref(params) : json_object();
    return NULL;
}

static void
take_request(struct rpc_call *call)
{
    struct sv input = buf_view(&call->in);
    size_t end = sv_index(input, '\n');
    const char *wrong;

    if (end == SV_NONE && input.n < RPC_REQUEST_MAX)
        return;
    timer_disarm(&call->timer);
    if (end == SV_NONE) {
        call_refuse(call, "the request is too long");
        return;
    }
    wrong = parse_request(call, sv_slice(input, 0, end));
    buf_fini(&call->in);
    if (wrong != NULL) {
        call_refuse(call, wrong);
        return;
    }
    call->handed = true;
    call->server->on_call(call->server->arg, call);
}

/* Behind the request nothing may come: it is read only to see the end, and
 * thrown away. */
static void
call_read(struct rpc_call *call)
{
    size_t room = 4096;
    char *dst = buf_reserve(&call->in, room);
    ssize_t got = recv(call->fd, dst, room, 0);

    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        call_drop(call);
        return;
    }
    if (call->handed)
        return;
    buf_grew(&call->in, (size_t)got);
    take_request(call);
}

static void
on_call_ready(void *arg, int events)
{
    struct rpc_call *call = arg;

    if (call->fd != -1 && events & WATCH_READ)
        call_read(call);
    if (call->fd != -1 && events & WATCH_WRITE)
        call_flush(call);
}

static void
on_call_timer(struct timer *timer)
{
    call_drop(CONTAINER_OF(timer, struct rpc_call, timer));
}

static void
call_new(struct rpc_server *server, int fd)
{
    struct rpc_call *call = mem_alloc(sizeof *call);

    call->server = server;
    call->loop = server->loop;
    call->fd = fd;
    timer_init(&call->timer, server->loop, on_call_timer);
    timer_arm(&call->timer, RPC_REQUEST_TIMEOUT);
    call->watch = watch_new(server->loop, fd, on_call_ready, call);
    watch_set(call->watch, WATCH_READ);
    list_push_back(&server->calls, &call->link);
}

static bool
accept_one(struct rpc_server *server)
{
    int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        call_new(server, fd);
        return true;
    }
    if (errno == EINTR || errno == ECONNABORTED)
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        /* No descriptors or no memory: waiting readable would spin. */
        watch_set(server->watch, 0);
        timer_arm(&server->retry, 100);
    }
    return false;
}

static void
on_acceptable(void *arg, int events UNUSED)
{
    struct rpc_server *server = arg;

    while (server->calls.length < RPC_CALLS_MAX)
        if (!accept_one(server))
            return;
    watch_set(server->watch, 0); /* the others wait in the kernel */
}

static void
on_retry(struct timer *timer)
{
    accept_again(CONTAINER_OF(timer, struct rpc_server, retry));
}

struct rpc_server *
rpc_server_new(struct loop *loop, int listen_fd,
               void (*on_call)(void *arg, struct rpc_call *call), void *arg)
{
    struct rpc_server *server = mem_alloc(sizeof *server);
    int flags = fcntl(listen_fd, F_GETFL);

    fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK);
    server->loop = loop;
    server->fd = listen_fd;
    server->on_call = on_call;
    server->arg = arg;
    list_init(&server->calls);
    timer_init(&server->retry, loop, on_retry);
    server->watch = watch_new(loop, listen_fd, on_acceptable, server);
    watch_set(server->watch, WATCH_READ);
    return server;
}

void
rpc_server_free(struct rpc_server *server)
{
    if (server == NULL)
        return;
    LIST_FOREACH_SAFE (link, next, &server->calls) {
        struct rpc_call *call = CONTAINER_OF(link, struct rpc_call, link);

        list_remove(&server->calls, link);
        call->server = NULL;
        call_drop(call);
    }
    watch_free(server->watch);
    timer_fini(&server->retry);
    mem_free(server);
}
