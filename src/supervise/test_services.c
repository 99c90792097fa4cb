/* Stand-ins for receiver and sender, for the tests of the supervisor: a
 * listener that greets and answers every line with 250, and a sender that does
 * nothing.  The host name of the configuration makes them misbehave:
 *
 *   refuse-NAME.test   NAME refuses to start or to load it
 *   crash-NAME.test    NAME dies while it prepares
 *   slow-NAME.test     NAME takes a second to prepare
 *   stuck-NAME.test    NAME never finishes to drain
 *
 * and the calls NAME.crash, NAME.hang, NAME.hang_second (loop) and NAME.alert
 * do what they say. */
#include "base/log.h"
#include "net/conn.h"
#include "service/service.h"
#include <signal.h>
#include <unistd.h>

struct standin {
    struct service_host *host;
    const char *name;
    struct settings *settings, *candidate;
    struct acceptor **acceptors, **next;
    size_t acceptor_count, next_count;
    const struct service_socket *sockets;
    size_t socket_count;
    size_t index; /* of the loop that acceptors are made on */
    size_t at;
};

static bool
told_to(const struct standin *s, const struct settings *settings,
        const char *what)
{
    char name[64];

    snprintf(name, sizeof name, "%s-%s.test", what, s->name);
    return strcmp(settings->hostname, name) == 0;
}

static void
on_event(void *owner, struct conn *conn, enum conn_event event)
{
    size_t end;

    (void)owner;
    if (event != CONN_DATA) {
        conn_close(conn, 0);
        return;
    }
    while ((end = sv_index(conn_input(conn), '\n')) != SV_NONE) {
        conn_consume(conn, end + 1);
        conn_write(conn, SV("250 2.0.0 OK\r\n"));
    }
}

static void
on_accept(void *arg, int fd, const struct net_address *peer)
{
    struct loop *loop = arg;
    struct conn *conn = conn_accept(loop, fd, peer, on_event, NULL);

    conn_write(conn, SV("220 stand-in\r\n"));
}

static void
listen_here(void *arg)
{
    struct standin *s = arg;
    struct loop *loop = s->host->loops[s->index];

    for (size_t i = 0; i < s->socket_count; i++)
        s->next[s->at++] =
            acceptor_new(loop, s->sockets[i].fds[s->index], on_accept, loop);
}

static void
close_here(void *arg)
{
    struct standin *s = arg;
    size_t each = s->acceptor_count / s->host->loop_count;

    for (size_t i = 0; i < each; i++)
        acceptor_free(s->acceptors[s->index * each + i]);
}

static void
everywhere(struct standin *s, void (*run)(void *arg))
{
    for (s->index = 0; s->index < s->host->loop_count; s->index++)
        s->host->on_loop(s->host, s->index, run, s);
}

static void
stop_listening(struct standin *s)
{
    everywhere(s, close_here);
    mem_free(s->acceptors);
    s->acceptors = NULL;
    s->acceptor_count = 0;
}

static void
swap_listeners(struct standin *s)
{
    s->at = 0;
    s->next_count = s->socket_count * s->host->loop_count;
    s->next = mem_alloc_array(s->next_count, sizeof(struct acceptor *));
    stop_listening(s);
    everywhere(s, listen_here);
    s->acceptors = s->next;
    s->acceptor_count = s->next_count;
}

static bool
consider(struct standin *s, struct settings *settings, struct err *err)
{
    if (told_to(s, settings, "crash"))
        raise(SIGKILL);
    if (told_to(s, settings, "slow"))
        sleep(1);
    if (!told_to(s, settings, "refuse"))
        return true;
    err_set(err, "told to refuse");
    return false;
}

static void *
standin_start(const char *name, struct service_host *host,
              struct settings *settings, const struct service_socket *sockets,
              size_t socket_count, struct err *err)
{
    struct standin *s = mem_alloc(sizeof *s);

    s->host = host;
    s->name = name;
    s->sockets = sockets;
    s->socket_count = socket_count;
    if (!consider(s, settings, err)) {
        mem_free(s);
        return NULL;
    }
    s->settings = settings_ref(settings);
    swap_listeners(s);
    return s;
}

static void *
receiver_start(struct service_host *host, struct settings *settings,
               const struct service_socket *sockets, size_t socket_count,
               struct err *err)
{
    return standin_start("receiver", host, settings, sockets, socket_count,
                         err);
}

static void *
sender_start(struct service_host *host, struct settings *settings,
             const struct service_socket *sockets, size_t socket_count,
             struct err *err)
{
    assert(socket_count == 0);
    return standin_start("sender", host, settings, sockets, socket_count, err);
}

static bool
standin_prepare(void *self, struct settings *candidate,
                const struct service_socket *sockets, size_t socket_count,
                struct err *err)
{
    struct standin *s = self;

    if (!consider(s, candidate, err))
        return false;
    s->candidate = settings_ref(candidate);
    s->sockets = sockets;
    s->socket_count = socket_count;
    return true;
}

static void
standin_commit(void *self)
{
    struct standin *s = self;

    swap_listeners(s);
    settings_unref(s->settings);
    s->settings = s->candidate;
    s->candidate = NULL;
}

static void
standin_abandon(void *self)
{
    struct standin *s = self;

    settings_unref(s->candidate);
    s->candidate = NULL;
}

static void
standin_drain(void *self, void (*drained)(void *arg), void *arg)
{
    struct standin *s = self;

    stop_listening(s);
    if (!told_to(s, s->settings, "stuck"))
        drained(arg);
}

static void
standin_stop(void *self)
{
    struct standin *s = self;

    stop_listening(s);
    settings_unref(s->settings);
    settings_unref(s->candidate);
    mem_free(s);
}

static void
hang(struct task *task UNUSED)
{
    pause();
}

static struct task hanging = {.run = hang};

static void
standin_request(void *self, struct rpc_call *call)
{
    struct standin *s = self;
    struct sv method = sv_of(rpc_method(call));

    sv_take_until(&method, '.');
    if (sv_is(method, "crash"))
        abort();
    if (sv_is(method, "hang"))
        pause();
    if (sv_is(method, "hang_second"))
        loop_post(s->host->loops[1], &hanging);
    if (sv_is(method, "alert"))
        s->host->alert(s->host, "test.alert", true, "told to complain");
    rpc_result(call,
               json_pack("{s:s, s:i}", "name", s->name, "pid", (int)getpid()));
}

#define STANDIN(service_name, start_function)                                  \
    {                                                                          \
        .name = (service_name), .loops_per_core = 1,                           \
        .start = (start_function), .prepare = standin_prepare,                 \
        .commit = standin_commit, .abandon = standin_abandon,                  \
        .drain = standin_drain, .stop = standin_stop,                          \
        .request = standin_request                                             \
    }
const struct service receiver_service = STANDIN("receiver", receiver_start);
const struct service sender_service = STANDIN("sender", sender_start);
