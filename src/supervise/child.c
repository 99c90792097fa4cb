/* The main of a service process: confines itself, follows the supervisor's
 * channel, and ends when told, when asked by SIGTERM, or when the supervisor is
 * gone: then it finishes its work and leaves the rest to a new start. */
#include "supervise/child_internal.h"
#include "supervise/supervise.h"

#include "base/log.h"
#include "service/asyncos_log.h"
#include "supervise/privilege.h"
#include "tls/context.h"
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

static void
call_service(void *arg, struct rpc_call *call)
{
    struct child_process *child = arg;

    if (child->self == NULL)
        rpc_error(call, "the %s is ending", child->service->name);
    else
        child->service->request(child->self, call);
}

void
child_serve(struct child_process *child)
{
    if (child->calls_fd != -1)
        child->server = rpc_server_new(child->host.loops[0], child->calls_fd,
                                       call_service, child);
}

static void
on_finish(struct task *task)
{
    struct child_process *child =
        CONTAINER_OF(task, struct child_process, finish);

    child_on_reloaded(child, &(const struct channel_message){
                                 .text = "waxgate is being stopped"});
    if (child->self != NULL)
        child->service->stop(child->self);
    child->self = NULL;
    rpc_server_free(child->server);
    child->server = NULL;
    child_loops_stop(child);
}

/* Not from inside a callback of what is being stopped. */
void
child_finish(struct child_process *child, int status)
{
    if (child->finish.run != NULL)
        return;
    child->status = status;
    child->finish.run = on_finish;
    loop_post(child->host.loops[0], &child->finish);
}

static void
on_drained(void *arg)
{
    child_finish(arg, 0);
}

static void
on_drain_limit(struct timer *timer)
{
    struct child_process *child =
        CONTAINER_OF(timer, struct child_process, drain_limit);

    log_event(NULL, LOG_WARNING, "service.drain_timeout",
              LOG_STR("service", child->service->name));
    child_finish(child, 0);
}

static void
drain(struct child_process *child)
{
    if (child->draining)
        return;
    child->draining = true;
    if (child->self == NULL) {
        child_finish(child, 0);
        return;
    }
    if (child->prepared)
        child_on_abandon(child);
    child->service->drain(child->self, on_drained, child);
    timer_arm(&child->drain_limit, child->current.settings->drain_timeout);
}

/* Peers that connect from now on shall be refused, not wait for nobody. */
static void
drain_for_good(struct child_process *child)
{
    drain(child);
    child_sockets_shutdown(child);
}

static void
on_orphaned(struct child_process *child)
{
    watch_set(child->channel, 0);
    log_event(NULL, LOG_ERROR, "service.orphaned",
              LOG_STR("service", child->service->name));
    drain_for_good(child);
}

/* From an administrator, for this process alone: the supervisor will start it
 * again with the same sockets. */
static void
on_terminate(void *arg, int signum UNUSED)
{
    drain(arg);
}

static void
on_message(struct child_process *child, const struct channel_message *message,
           const int *fds, size_t fd_count)
{
    switch ((enum channel_type)message->type) {
    case CHANNEL_REVISION:
        assert(fd_count == 1);
        child_on_revision(child, message, fds[0]);
        break;
    case CHANNEL_SOCKETS:
        child_on_sockets(child, message->name, fds, fd_count);
        break;
    case CHANNEL_PREPARE:
        child_on_prepare(child);
        break;
    case CHANNEL_COMMIT:
        child_on_commit(child);
        break;
    case CHANNEL_ABANDON:
        child_on_abandon(child);
        break;
    case CHANNEL_LOG_REOPEN:
        log_reopen();
        asyncos_log_reopen();
        break;
    case CHANNEL_PING:
        child_loops_ping(child);
        break;
    case CHANNEL_DRAIN:
        drain_for_good(child);
        break;
    case CHANNEL_STOP:
        child_finish(child, 0);
        break;
    case CHANNEL_PROCESS:
        child_on_process(child, message);
        break;
    case CHANNEL_RELOADED:
        child_on_reloaded(child, message);
        break;
    case CHANNEL_ALERT:
        child_on_alert(child, message);
        break;
    case CHANNEL_READY:
    case CHANNEL_REFUSED:
    case CHANNEL_COMMITTED:
    case CHANNEL_RELOAD:
    case CHANNEL_TYPES:
        break; /* ours to send */
    }
}

static void
on_channel(void *arg, int events UNUSED)
{
    struct child_process *child = arg;
    struct channel_message message;
    int fds[CHANNEL_FDS_MAX];
    size_t fd_count = 0;
    struct err err;

    while (child->finish.run == NULL) {
        switch (channel_receive(CHANNEL_FD, &message, fds, &fd_count, &err)) {
        case CHANNEL_OK:
            on_message(child, &message, fds, fd_count);
            break;
        case CHANNEL_AGAIN:
            return;
        case CHANNEL_EOF:
        case CHANNEL_ERROR:
            on_orphaned(child);
            return;
        }
    }
}

static const struct service *
find_service(const char *name)
{
    static const struct service *const services[] = {
        &receiver_service, &sender_service, &controller_service};

    for (size_t i = 0; i < COUNT_OF(services); i++)
        if (strcmp(services[i]->name, name) == 0)
            return services[i];
    return NULL;
}

/* A terminal's Ctrl-C goes to all processes; the order in which they end is the
 * supervisor's business. */
static void
ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};

    for (size_t i = 0; i < COUNT_OF(ignored); i++)
        signal(ignored[i], SIG_IGN);
}

static bool
enter(struct child_process *child, const char *user, struct err *err)
{
    char name[16]; /* what the kernel keeps */

    close_range(CHANNEL_LOCK_FD + 1, ~0U, 0);
    fcntl(CHANNEL_FD, F_SETFD, FD_CLOEXEC);
    fcntl(CHANNEL_LOCK_FD, F_SETFD, FD_CLOEXEC);
    ignore_signals();
    snprintf(name, sizeof name, "wg-%s", child->service->name);
    prctl(PR_SET_NAME, name);
    child->parent = getppid();
    if (user != NULL && !privilege_drop(user, err))
        return false;
    return privilege_confine(err) && tls_init(err);
}

static bool
follow_channel(struct child_process *child, struct err *err)
{
    struct service_host *host = &child->host;

    host->loops = mem_alloc_array(1, sizeof(struct loop *));
    host->loops[0] = loop_new(err);
    if (host->loops[0] == NULL)
        return false;
    host->loop_count = 1;
    if (!child_loops_open(child, 1, err) ||
        !loop_on_signal(host->loops[0], SIGTERM, on_terminate, child, err))
        return false;
    timer_init(&child->drain_limit, host->loops[0], on_drain_limit);
    child_link_init(child);
    child->channel = watch_new(host->loops[0], CHANNEL_FD, on_channel, child);
    watch_set(child->channel, WATCH_READ);
    return true;
}

static void
tell_refused(const struct err *err)
{
    struct channel_message message = {.type = CHANNEL_REFUSED};
    struct err ignored;

    CHANNEL_TEXT(message.text, err->text);
    if (!channel_send(CHANNEL_FD, &message, NULL, 0, &ignored))
        fprintf(stderr, "waxgate: %s\n", err->text);
}

int
supervise_service(int argc, char **argv)
{
    /* Static: reachable for the leak checker when the process ends with loops
     * that still hold something. */
    static struct child_process child = {
        .calls_fd = -1,
        .current.text_fd = -1,
        .candidate.text_fd = -1,
    };
    const char *user =
        argc > 4 && strcmp(argv[3], "--user") == 0 ? argv[4] : NULL;
    struct err err;

    child.service = argc > 2 ? find_service(argv[2]) : NULL;
    if (child.service == NULL || fcntl(CHANNEL_LOCK_FD, F_GETFD) == -1) {
        fprintf(stderr, "waxgate: %s is for the supervisor's use\n",
                SUPERVISE_SERVICE_OPTION);
        return 2;
    }
    if (!enter(&child, user, &err) || !follow_channel(&child, &err)) {
        tell_refused(&err);
        return 1;
    }
    loop_run(child.host.loops[0]);
    child_link_fini(&child);
    log_close();
    return child.status;
}
