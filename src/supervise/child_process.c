/* The service processes: how they start, what they say, how they end.
 *
 *   DOWN ──start_at──▶ STARTING ──READY──▶ READY ──▶ DRAINING
 *     ▲                    │                 │           │
 *     └──────── ended ─────┴─────────────────┘           └─▶ DOWN for good
 */
#include "supervise/supervise.h"
#include "supervise/supervisor_internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "supervise/privilege.h"
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void
children_init(struct supervisor *s)
{
    static const struct child rows[CHILDREN] = {
        {.name = "receiver", .listens = true},
        {.name = "sender"},
        {.name = "controller", .controls = true},
    };

    for (size_t i = 0; i < CHILDREN; i++) {
        struct child *child = &s->children[i];

        *child = rows[i];
        child->channel = child->calls_fd = -1;
        child->state = LINK_DOWN;
        child->start_at = child->kill_at = NEVER;
    }
}

struct child *
children_controller(struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN; i++)
        if (s->children[i].controls)
            return &s->children[i];
    abort(); /* children_init() made one */
}

static void
send_process(struct supervisor *s, const struct child *child)
{
    struct channel_message message = {
        .type = CHANNEL_PROCESS,
        .number = (uint64_t)(child - s->children),
        .values = {child->state, child->pid, child->restarts, child->since},
    };
    struct child *controller = children_controller(s);

    CHANNEL_TEXT(message.name, child->name);
    if (controller->channel != -1)
        child_send(s, controller, &message, NULL, 0);
}

void
child_set_state(struct supervisor *s, struct child *child,
                enum link_state state)
{
    child->state = state;
    send_process(s, child);
}

/* A process that leaves a hundred messages unread is hung. */
void
child_send(struct supervisor *s UNUSED, struct child *child,
           const struct channel_message *message, const int *fds,
           size_t fd_count)
{
    struct err err;

    if (child->channel == -1 ||
        channel_send(child->channel, message, fds, fd_count, &err))
        return;
    if (err.code != EAGAIN || child->pid == 0)
        return; /* it is dead, and children_reap() comes */
    log_event(NULL, LOG_ERROR, "supervisor.child_stuck",
              LOG_STR("child", child->name), LOG_I64("pid", child->pid));
    kill(child->pid, SIGKILL);
}

void
child_send_type(struct supervisor *s, struct child *child,
                enum channel_type type, uint64_t number)
{
    const struct channel_message message = {.type = type, .number = number};

    child_send(s, child, &message, NULL, 0);
}

static void
send_sockets(struct supervisor *s, struct child *child, const char *listener,
             const int *fds, size_t count)
{
    struct channel_message message = {.type = CHANNEL_SOCKETS};

    CHANNEL_TEXT(message.name, listener);
    while (count > 0) {
        size_t n = count < CHANNEL_FDS_MAX ? count : CHANNEL_FDS_MAX;

        child_send(s, child, &message, fds, n);
        fds += n;
        count -= n;
    }
}

void
child_send_revision(struct supervisor *s, struct child *child,
                    const struct revision *revision)
{
    struct channel_message message = {
        .type = CHANNEL_REVISION,
        .flag = revision->of_files,
        .number = revision->number,
        .values = {(int64_t)s->loops, s->started},
    };

    CHANNEL_TEXT(message.text, s->config_path);
    child_send(s, child, &message, &revision->text_fd, 1);
    for (size_t i = 0; child->listens && i < revision->listeners.count; i++) {
        const struct listen_row *row = &revision->listeners.rows[i];

        send_sockets(s, child, row->name, row->fds, row->count);
    }
    child_send_type(s, child, CHANNEL_PREPARE, revision->number);
}

/* The service manager listens to the supervisor alone. */
static char **
child_environment(void)
{
    static const char *const ours[] = {"NOTIFY_SOCKET=", "WATCHDOG_",
                                       "LISTEN_"};
    size_t count = 0, kept = 0;
    char **copy;

    while (environ[count] != NULL)
        count++;
    copy = mem_alloc_array(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        bool keep = true;

        for (size_t j = 0; j < COUNT_OF(ours); j++)
            keep = keep && strncmp(environ[i], ours[j], strlen(ours[j])) != 0;
        if (keep)
            copy[kept++] = environ[i];
    }
    return copy;
}

/* posix_spawn() instead of fork(): the log has a thread, and nothing of this
 * process runs in the child before its own main begins. */
static int
spawn(struct supervisor *s, struct child *child, int channel)
{
    char title[64], user_option[] = "--user",
                    option[] = SUPERVISE_SERVICE_OPTION;
    char *name = mem_strdup(child->name);
    char *user = mem_strdup(s->user != NULL ? s->user : "");
    char *argv[] = {title, option, name, s->user != NULL ? user_option : NULL,
                    user,  NULL};
    char **environment = child_environment();
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int rc;

    snprintf(title, sizeof title, "waxgated: %s", child->name);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
    posix_spawn_file_actions_adddup2(&actions, channel, CHANNEL_FD);
    posix_spawn_file_actions_adddup2(&actions, s->lock_fd, CHANNEL_LOCK_FD);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    privilege_raise(); /* the child drops all rights by itself */
    rc = posix_spawn(&child->pid, "/proc/self/exe", &actions, &attributes, argv,
                     environment);
    privilege_lower();
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    mem_free(environment);
    mem_free(user);
    mem_free(name);
    return rc;
}

/* After a death: the longer it goes on, the longer we wait. */
static void
plan_restart(struct child *child, uint64_t now)
{
    if (child->backoff == 0)
        child->backoff = BACKOFF_FIRST;
    child->start_at = now + child->backoff;
    child->backoff *= 2;
    if (child->backoff > BACKOFF_LAST)
        child->backoff = BACKOFF_LAST;
}

static bool
child_launch(struct supervisor *s, struct child *child, struct err *err)
{
    int fds[2], rc;

    if (!channel_pair(fds, err))
        return false;
    rc = spawn(s, child, fds[1]);
    close(fds[1]);
    if (rc != 0) {
        err_code(err, rc, "start a process");
        child->pid = 0;
        close(fds[0]);
        return false;
    }
    child->channel = fds[0];
    return true;
}

static void
child_start(struct supervisor *s, struct child *child, uint64_t now)
{
    struct err err;

    child->start_at = NEVER;
    child->refusal[0] = '\0';
    if (!child_launch(s, child, &err)) {
        log_event(NULL, LOG_ERROR, "supervisor.start_failed",
                  LOG_STR("child", child->name), LOG_STR("reason", err.text));
        plan_restart(child, now);
        return;
    }
    child->since = clock_wall_s();
    child->started_at = now;
    child->kill_at = now + START_TIMEOUT;
    log_event(NULL, LOG_INFO, "supervisor.child_started",
              LOG_STR("child", child->name), LOG_I64("pid", child->pid),
              LOG_U64("revision", s->revision.number));
    send_sockets(s, child, "", &child->calls_fd, 1);
    child_send_revision(s, child, &s->revision);
    child_set_state(s, child, LINK_STARTING);
}

void
children_start(struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN; i++)
        child_start(s, &s->children[i], clock_mono_ms());
}

static void
child_key(const struct child *child, char *key, size_t size)
{
    snprintf(key, size, "process.%s", child->name);
}

/* It has lived long enough: the next death is a first one again. */
static uint64_t
child_settle(struct supervisor *s, struct child *child, uint64_t now)
{
    char key[64];

    if (child->state != LINK_READY || child->backoff == 0)
        return NEVER;
    if (child->started_at + SETTLED > now)
        return child->started_at + SETTLED;
    child->backoff = 0;
    child_key(child, key, sizeof key);
    alert_own(s, key, false, "it has been running for a minute");
    return NEVER;
}

static void
child_hung(struct child *child)
{
    log_event(NULL, LOG_ERROR, "supervisor.child_hung",
              LOG_STR("child", child->name), LOG_I64("pid", child->pid));
    kill(child->pid, SIGKILL);
}

/* A service of which one loop does not turn within the time is as bad as a dead
 * one. */
static uint64_t
child_watch(struct supervisor *s, struct child *child, uint64_t now)
{
    uint64_t limit = s->revision.settings->watchdog;

    if (limit == 0 || child->state != LINK_READY)
        return NEVER;
    if (child->ping_at > now)
        return child->ping_at;
    child->ping_at = now + limit;
    if (s->reload.active)
        return child->ping_at; /* it may take its time to prepare */
    if (child->pinged) {
        child_hung(child);
        return NEVER;
    }
    child->pinged = true;
    child_send_type(s, child, CHANNEL_PING, 0);
    return child->ping_at;
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
child_tick(struct supervisor *s, struct child *child, uint64_t now)
{
    uint64_t next =
        earlier(child_settle(s, child, now), child_watch(s, child, now));

    if (child->pid != 0 && child->kill_at <= now) {
        log_event(NULL, LOG_ERROR, "supervisor.kill",
                  LOG_STR("child", child->name), LOG_I64("pid", child->pid));
        kill(child->pid, SIGKILL);
        child->kill_at = NEVER;
    }
    /* Not in the middle of a reload: it would start with the old revision and
     * miss the commit. */
    if (child->pid == 0 && child->start_at <= now && !s->reload.active &&
        !s->drain.active)
        child_start(s, child, now);
    if (child->pid == 0)
        return s->reload.active || s->drain.active ? NEVER : child->start_at;
    return earlier(child->kill_at, next);
}

uint64_t
children_tick(struct supervisor *s, uint64_t now)
{
    uint64_t next = NEVER;

    for (size_t i = 0; i < CHILDREN; i++)
        next = earlier(next, child_tick(s, &s->children[i], now));
    return next;
}

static void
all_ready(struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN; i++)
        if (s->children[i].state != LINK_READY)
            return;
    if (s->announced)
        return;
    s->announced = true;
    log_event(NULL, LOG_INFO, "supervisor.ready",
              LOG_U64("revision", s->revision.number),
              LOG_STR("config", s->config_path));
    notify_ready(s);
}

static void
on_ready(struct supervisor *s, struct child *child, uint64_t number)
{
    if (child->state == LINK_READY) {
        reload_answer(s, child, number, NULL);
        return;
    }
    if (child->state != LINK_STARTING)
        return;
    child->kill_at = NEVER;
    child->pinged = false;
    child->ping_at = clock_mono_ms();
    child_set_state(s, child, LINK_READY);
    if (child->controls) {
        for (size_t i = 0; i < CHILDREN; i++)
            send_process(s, &s->children[i]);
        alerts_replay(s);
    }
    all_ready(s);
}

static void
on_refused(struct supervisor *s, struct child *child,
           const struct channel_message *message)
{
    if (child->state == LINK_READY) {
        reload_answer(s, child, message->number, message->text);
        return;
    }
    CHANNEL_TEXT(child->refusal, message->text); /* its end follows */
}

static void
on_message(struct supervisor *s, struct child *child,
           const struct channel_message *message)
{
    switch ((enum channel_type)message->type) {
    case CHANNEL_READY:
        on_ready(s, child, message->number);
        break;
    case CHANNEL_REFUSED:
        on_refused(s, child, message);
        break;
    case CHANNEL_COMMITTED:
        reload_committed(s, child, message->number);
        break;
    case CHANNEL_PING:
        child->pinged = false;
        break;
    case CHANNEL_RELOAD:
        if (child->controls)
            reload_request(s, message->flag != 0 ? RELOAD_OF_FILES
                                                 : RELOAD_BY_CONTROLLER);
        break;
    case CHANNEL_ALERT:
        alert_set(s, child->name, message->name, message->flag != 0,
                  message->text);
        break;
    case CHANNEL_REVISION:
    case CHANNEL_SOCKETS:
    case CHANNEL_PREPARE:
    case CHANNEL_COMMIT:
    case CHANNEL_ABANDON:
    case CHANNEL_LOG_REOPEN:
    case CHANNEL_DRAIN:
    case CHANNEL_STOP:
    case CHANNEL_PROCESS:
    case CHANNEL_RELOADED:
    case CHANNEL_TYPES:
        break; /* not for us: a process that says so gains nothing */
    }
}

static void
channel_close(struct child *child)
{
    if (child->channel != -1)
        close(child->channel);
    child->channel = -1;
}

void
child_channel_ready(struct supervisor *s, struct child *child)
{
    struct channel_message message;
    struct err err;

    while (child->channel != -1) {
        switch (channel_receive(child->channel, &message, NULL, NULL, &err)) {
        case CHANNEL_OK:
            on_message(s, child, &message);
            break;
        case CHANNEL_AGAIN:
            return;
        case CHANNEL_EOF:
        case CHANNEL_ERROR:
            /* It is ending, or no longer itself. */
            channel_close(child);
            if (child->kill_at > clock_mono_ms() + STOP_GRACE)
                child->kill_at = clock_mono_ms() + STOP_GRACE;
            return;
        }
    }
}

static void
describe_end(const struct child *child, int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "the %s died of signal %d (%s)", child->name,
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (child->refusal[0] != '\0')
        snprintf(text, size, "%s: %s", child->name, child->refusal);
    else
        snprintf(text, size, "the %s ended with status %d", child->name,
                 WEXITSTATUS(status));
}

static void
log_end(const struct child *child, pid_t pid, int status, bool expected)
{
    log_event(
        NULL, expected ? LOG_INFO : LOG_ERROR,
        expected ? "supervisor.child_ended" : "supervisor.child_died",
        LOG_STR("child", child->name), LOG_I64("pid", pid),
        LOG_IF(WIFEXITED(status), LOG_I64("status", WEXITSTATUS(status))),
        LOG_IF(WIFSIGNALED(status), LOG_I64("signal", WTERMSIG(status))),
        LOG_IF(child->refusal[0] != '\0', LOG_STR("reason", child->refusal)));
}

/* Before all were ready once, an end is the end of the start as a whole: the
 * administrator is there to see it. */
static void
start_failed(struct supervisor *s, const char *text)
{
    fprintf(stderr, "waxgate: %s\n", text);
    s->status = 1;
    drain_begin(s);
    drain_hurry(s);
}

static void
child_ended(struct supervisor *s, struct child *child, int status)
{
    pid_t pid = child->pid;
    char key[64], text[CHANNEL_REFUSAL_MAX];

    child_channel_ready(s, child); /* its last words */
    channel_close(child);
    child->pid = 0;
    child->kill_at = NEVER;
    log_end(child, pid, status, s->drain.active);
    child_set_state(s, child, LINK_DOWN);
    alerts_forget(s, child->name);
    reload_child_died(s, child);
    if (s->drain.active)
        return;
    describe_end(child, status, text, sizeof text);
    if (!s->announced) {
        start_failed(s, text);
        return;
    }
    child->restarts++;
    plan_restart(child, clock_mono_ms());
    child_set_state(s, child, LINK_DOWN);
    child_key(child, key, sizeof key);
    alert_own(s, key, true, text);
}

void
children_reap(struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN; i++) {
        struct child *child = &s->children[i];
        int status;

        if (child->pid != 0 && waitpid(child->pid, &status, WNOHANG) > 0)
            child_ended(s, child, status);
    }
}
