/* The client side on a loop: one connection that sends a request and takes
 * lines until the last. */
#include "service/rpc_internal.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct rpc_client {
    struct loop *loop;
    int fd; /* -1: finished, or could not connect */
    struct watch *watch;
    struct timer timer;
    uint64_t timeout; /* ms without progress */
    struct task start;
    struct task reap;
    bool reaping;
    struct buf out, in;
    struct err err; /* of the connect */
    /* A line without its LF; last when it is the result or the error. */
    void (*on_line)(struct rpc_client *client, struct sv line, bool last);
    /* No last line came. Nothing follows. */
    void (*on_failure)(struct rpc_client *client, const char *text);
    struct rpc_call *call; /* rpc_forward() */
    void (*on_answer)(void *arg, const json_t *result, const char *error);
    void *arg;
};

bool
rpc_socket_address(const char *path, struct sockaddr_un *address,
                   struct err *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (sv_to_cstr(sv_of(path), address->sun_path, sizeof address->sun_path))
        return true;
    err_set(err, "%s: too long for a socket (at most %zu bytes)", path,
            sizeof address->sun_path - 1);
    return false;
}

void
rpc_encode_request(const char *method, json_t *params, struct buf *out)
{
    json_t *request = json_object();
    char *text;

    if (request == NULL ||
        json_object_set_new(request, "method", json_string(method)) == -1)
        abort(); /* out of memory, or a method name that is not UTF-8 */
    if (params != NULL && json_object_set(request, "params", params) == -1)
        abort();
    text = json_dumps(request, JSON_COMPACT);
    assert(text != NULL);
    buf_add_str(out, text);
    buf_add_char(out, '\n');
    free(text);
    json_decref(request);
}

bool
rpc_line_is_item(struct sv line)
{
    return sv_take_prefix(&line, SV("{\"item\":"));
}

static void
on_client_reap(struct task *task)
{
    struct rpc_client *client = CONTAINER_OF(task, struct rpc_client, reap);

    timer_fini(&client->timer);
    buf_fini(&client->out);
    buf_fini(&client->in);
    mem_free(client);
}

static void
client_end(struct rpc_client *client)
{
    if (client->reaping)
        return;
    client->reaping = true;
    if (client->fd != -1) {
        watch_free(client->watch);
        close(client->fd);
        client->fd = -1;
    }
    timer_disarm(&client->timer);
    client->reap.run = on_client_reap;
    loop_defer(client->loop, &client->reap);
}

static void
client_fail(struct rpc_client *client, const char *text)
{
    client_end(client);
    client->on_failure(client, text);
}

static void
client_write(struct rpc_client *client)
{
    struct sv view = buf_view(&client->out);
    ssize_t sent = send(client->fd, view.p, view.n, MSG_NOSIGNAL);

    if (sent == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (sent == -1) {
        client_fail(client, strerror(errno));
        return;
    }
    buf_consume(&client->out, (size_t)sent);
    if (buf_length(&client->out) == 0)
        watch_set(client->watch, WATCH_READ);
}

static void
client_lines(struct rpc_client *client)
{
    size_t end;

    while (client->fd != -1 &&
           (end = sv_index(buf_view(&client->in), '\n')) != SV_NONE) {
        struct sv line = sv_slice(buf_view(&client->in), 0, end);
        bool last = !rpc_line_is_item(line);

        if (last)
            client_end(client);
        client->on_line(client, line, last);
        buf_consume(&client->in, end + 1);
    }
    if (client->fd != -1 && buf_length(&client->in) > RPC_LINE_MAX)
        client_fail(client, "a line of the answer is too long");
}

static void
client_read(struct rpc_client *client)
{
    size_t room = 32768;
    char *dst = buf_reserve(&client->in, room);
    ssize_t got = recv(client->fd, dst, room, 0);

    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        client_fail(client, got == 0 ? "the process ended the connection"
                                     : strerror(errno));
        return;
    }
    timer_arm(&client->timer, client->timeout);
    buf_grew(&client->in, (size_t)got);
    client_lines(client);
}

static void
on_client_ready(void *arg, int events)
{
    struct rpc_client *client = arg;

    if (client->fd != -1 && events & WATCH_WRITE &&
        buf_length(&client->out) > 0)
        client_write(client);
    if (client->fd != -1 && events & WATCH_READ)
        client_read(client);
}

static void
on_client_timer(struct timer *timer)
{
    client_fail(CONTAINER_OF(timer, struct rpc_client, timer),
                "the process does not answer");
}

static void
on_client_start(struct task *task)
{
    struct rpc_client *client = CONTAINER_OF(task, struct rpc_client, start);

    if (client->fd == -1 && !client->reaping)
        client_fail(client, client->err.text);
}

/* A Unix socket connects at once or not at all (EAGAIN: its queue is full). */
static int
client_connect(const char *path, struct err *err)
{
    struct sockaddr_un address;
    int fd;

    if (!rpc_socket_address(path, &address, err))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        err_sys(err, "socket");
        return -1;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == -1) {
        err_sys(err, "%s", path);
        close(fd);
        return -1;
    }
    return fd;
}

static struct rpc_client *
client_new(struct loop *loop, const char *path, uint64_t timeout)
{
    struct rpc_client *client = mem_alloc(sizeof *client);

    client->loop = loop;
    client->timeout = timeout;
    timer_init(&client->timer, loop, on_client_timer);
    client->fd = client_connect(path, &client->err);
    if (client->fd == -1) {
        client->start.run = on_client_start;
        loop_defer(loop, &client->start);
        return client;
    }
    client->watch = watch_new(loop, client->fd, on_client_ready, client);
    watch_set(client->watch, WATCH_READ | WATCH_WRITE);
    timer_arm(&client->timer, timeout);
    return client;
}

static void
on_forward_low(void *arg)
{
    struct rpc_client *client = arg;

    if (client->fd == -1)
        return;
    watch_set(client->watch, WATCH_READ);
    timer_arm(&client->timer, client->timeout);
}

static void
on_forward_line(struct rpc_client *client, struct sv line, bool last)
{
    rpc_relay(client->call, line, last);
    if (last || rpc_pending(client->call) <= RPC_HIGH)
        return;
    watch_set(client->watch, 0);
    timer_disarm(&client->timer);
    rpc_on_low(client->call, on_forward_low, client);
}

static void
on_forward_failure(struct rpc_client *client, const char *text)
{
    rpc_error(client->call, "%s", text);
}

static void
on_forward_gone(void *arg)
{
    struct rpc_client *client = arg;

    client_end(client);
    rpc_error(client->call, "gone");
}

void
rpc_forward(struct loop *loop, const char *socket_path, struct rpc_call *call)
{
    struct rpc_client *client =
        client_new(loop, socket_path, RPC_STALL_TIMEOUT);
    json_t *params = json_deep_copy(rpc_params(call));

    client->on_line = on_forward_line;
    client->on_failure = on_forward_failure;
    client->call = call;
    rpc_encode_request(rpc_method(call), params, &client->out);
    json_decref(params);
    rpc_on_gone(call, on_forward_gone, client);
}

static void
on_ask_line(struct rpc_client *client, struct sv line, bool last)
{
    json_t *answer;
    json_t *result;
    const char *error;

    if (!last)
        return;
    answer = json_loadb(line.p, line.n, 0, NULL);
    result = json_object_get(answer, "result");
    error = json_string_value(json_object_get(answer, "error"));
    if (result == NULL && error == NULL)
        error = "the answer is not understood";
    client->on_answer(client->arg, result, error);
    json_decref(answer);
}

static void
on_ask_failure(struct rpc_client *client, const char *text)
{
    client->on_answer(client->arg, NULL, text);
}

void
rpc_ask(struct loop *loop, const char *socket_path, const char *method,
        json_t *params, uint64_t timeout_ms,
        void (*on_answer)(void *arg, const json_t *result, const char *error),
        void *arg)
{
    struct rpc_client *client = client_new(loop, socket_path, timeout_ms);

    client->on_line = on_ask_line;
    client->on_failure = on_ask_failure;
    client->on_answer = on_answer;
    client->arg = arg;
    rpc_encode_request(method, params, &client->out);
    json_decref(params);
}
