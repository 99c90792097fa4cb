/* The supervisor's life: what is made at the start, the loop, the signals. */
#include "supervise/supervise.h"
#include "supervise/supervisor_internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "supervise/privilege.h"
#include "supervise/state_dir.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int handled_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1,
                                      SIGCHLD};

/* Started with closed standard descriptors, a socket would take their number
 * and get what is printed. */
static void
fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd != -1 && fd <= STDERR_FILENO);
    if (fd != -1)
        close(fd);
}

/* Before any thread exists: all of them must leave the signals to us. */
static bool
take_signals(struct supervisor *s, struct err *err)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < COUNT_OF(handled_signals); i++)
        sigaddset(&set, handled_signals[i]);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0) {
        s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (s->signal_fd != -1)
            return true;
    }
    err_sys(err, "signals");
    return false;
}

static bool
absolute_path(const char *path, char **absolute, struct err *err)
{
    struct buf text = {0};
    char *here;

    if (path[0] == '/') {
        *absolute = mem_strdup(path);
    } else {
        here = getcwd(NULL, 0);
        if (here == NULL) {
            err_sys(err, "current directory");
            return false;
        }
        buf_printf(&text, "%s/%s", here, path);
        *absolute = mem_strdup(buf_cstr(&text));
        buf_fini(&text);
        free(here);
    }
    if (strlen(*absolute) < sizeof((struct channel_message *)NULL)->text)
        return true;
    err_set(err, "the path of the configuration is too long");
    return false;
}

/* Root starts services as the configured user; nobody else can. */
static bool
choose_user(struct supervisor *s, struct err *err)
{
    const struct settings *settings = s->revision.settings;
    struct privilege_user user;

    s->uid = (uid_t)-1;
    s->gid = (gid_t)-1;
    if (settings->user[0] == '\0')
        return true;
    if (!privilege_find(settings->user, &user, err)) {
        err_wrap(err, "%s: user", s->config_path);
        return false;
    }
    if (geteuid() == 0) {
        s->user = mem_strdup(settings->user);
        s->uid = user.uid;
        s->gid = user.gid;
    } else if (geteuid() != user.uid) {
        err_set(err, "%s: user: only root can start services as %s",
                s->config_path, settings->user);
        return false;
    }
    return true;
}

static void
warn_of_root(const struct supervisor *s)
{
    if (geteuid() == 0 && (s->user == NULL || s->uid == 0))
        log_event(NULL, LOG_WARNING, "supervisor.root",
                  LOG_STR("text", "all processes run as root; set user"));
}

static size_t
loop_count(const struct settings *settings)
{
    long cores;

    if (settings->loops != 0)
        return settings->loops;
    cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (size_t)cores : 1;
}

/* Out of the way of the low numbers that a service process gets. */
static bool
lift_lock(struct supervisor *s, struct err *err)
{
    int fd = fcntl(s->lock_fd, F_DUPFD_CLOEXEC, 10);

    if (fd == -1) {
        err_sys(err, "keep the lock");
        return false;
    }
    close(s->lock_fd);
    s->lock_fd = fd;
    return true;
}

/* Processes of a supervisor that was killed finish what they were at. */
static bool
lock_state(struct supervisor *s, struct err *err)
{
    const char *path = s->revision.settings->state_dir;
    struct pollfd wait = {.fd = s->signal_fd, .events = POLLIN};
    bool told = false;

    for (;;) {
        switch (state_dir_lock(path, &s->lock_fd, err)) {
        case STATE_DIR_LOCKED:
            return lift_lock(s, err);
        case STATE_DIR_FAILED:
            return false;
        case STATE_DIR_ENDING:
            break;
        }
        if (!told)
            fprintf(stderr, "waxgate: waiting for the processes of a former "
                            "supervisor to end\n");
        told = true;
        if (poll(&wait, 1, 100) != 0)
            return false;
    }
}

static bool
open_calls(struct supervisor *s, struct err *err)
{
    for (size_t i = 0; i < CHILDREN; i++) {
        struct buf path = {0};

        buf_printf(&path, "%s/run/%s.sock", s->revision.settings->state_dir,
                   s->children[i].controls ? "control" : s->children[i].name);
        s->children[i].calls_fd = listen_unix(buf_cstr(&path), err);
        buf_fini(&path);
        if (s->children[i].calls_fd == -1)
            return false;
    }
    return true;
}

static bool
supervisor_prepare(struct supervisor *s, const char *config_path,
                   struct err *err)
{
    static struct listen_set none;

    children_init(s);
    return take_signals(s, err) &&
           absolute_path(config_path, &s->config_path, err) &&
           revision_load(s, &s->revision, err) && choose_user(s, err) &&
           state_dir_make(s->revision.settings->state_dir, s->uid, s->gid,
                          err) &&
           (s->user == NULL || privilege_borrow(s->user, err)) &&
           lock_state(s, err) && revision_open_log(s->revision.settings, err) &&
           listen_set_open(&s->revision.listeners, s->revision.settings, &none,
                           s->loops = loop_count(s->revision.settings), err) &&
           open_calls(s, err);
}

static void
reopen_logs(struct supervisor *s)
{
    log_reopen();
    for (size_t i = 0; i < CHILDREN; i++)
        child_send_type(s, &s->children[i], CHANNEL_LOG_REOPEN, 0);
    log_event(NULL, LOG_INFO, "supervisor.log_reopen",
              LOG_STR("path", s->revision.settings->log.path));
}

static void
on_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch ((int)info.ssi_signo) {
        case SIGCHLD:
            children_reap(s);
            break;
        case SIGHUP:
            reload_request(s, RELOAD_BY_SIGNAL);
            break;
        case SIGUSR1:
            reopen_logs(s);
            break;
        default:
            drain_begin(s);
            break;
        }
    }
}

static void
wait_for_events(struct supervisor *s, int timeout)
{
    struct pollfd polls[1 + CHILDREN] = {
        {.fd = s->signal_fd, .events = POLLIN}};

    for (size_t i = 0; i < CHILDREN; i++)
        polls[1 + i] =
            (struct pollfd){.fd = s->children[i].channel, .events = POLLIN};
    if (poll(polls, COUNT_OF(polls), timeout) <= 0)
        return;
    for (size_t i = 0; i < CHILDREN; i++)
        if (polls[1 + i].revents != 0)
            child_channel_ready(s, &s->children[i]);
    if (polls[0].revents != 0)
        on_signals(s);
}

/* Everything that is due now; ms until the next, for poll(). */
static int
run_ticks(struct supervisor *s)
{
    uint64_t (*const ticks[])(struct supervisor *, uint64_t) = {
        children_tick, reload_tick, drain_tick, notify_tick};
    uint64_t now = clock_mono_ms(), next = NEVER;

    for (size_t i = 0; i < COUNT_OF(ticks); i++) {
        uint64_t due = ticks[i](s, now);

        if (due < next)
            next = due;
    }
    if (next == NEVER)
        return -1;
    now = clock_mono_ms();
    if (next <= now)
        return 0;
    return next - now > 60000 ? 60000 : (int)(next - now);
}

static void
supervisor_run(struct supervisor *s)
{
    notify_init(s);
    warn_of_root(s);
    log_event(NULL, LOG_INFO, "supervisor.start",
              LOG_STR("version", WAXGATE_VERSION),
              LOG_STR("config", s->config_path), LOG_I64("pid", getpid()),
              LOG_U64("loops", s->loops));
    children_start(s);
    while (!s->ended) {
        int timeout = run_ticks(s);

        if (!s->ended)
            wait_for_events(s, timeout);
    }
    log_event(NULL, LOG_INFO, "supervisor.stop", LOG_I64("status", s->status));
}

static void
supervisor_close(struct supervisor *s)
{
    revision_close(&s->revision);
    for (size_t i = 0; i < CHILDREN; i++)
        if (s->children[i].calls_fd != -1)
            close(s->children[i].calls_fd);
    if (s->lock_fd != -1)
        close(s->lock_fd);
    if (s->signal_fd != -1)
        close(s->signal_fd);
    mem_free(s->config_path);
    mem_free(s->user);
    log_close();
}

int
supervise_run(const char *config_path)
{
    struct supervisor s = {
        .revision.text_fd = -1,
        .reload.candidate.text_fd = -1,
        .lock_fd = -1,
        .signal_fd = -1,
        .watchdog_at = NEVER,
        .started = clock_wall_s(),
    };
    struct err err = {0};

    fill_standard_descriptors();
    if (supervisor_prepare(&s, config_path, &err)) {
        supervisor_run(&s);
    } else {
        if (err.text[0] != '\0')
            fprintf(stderr, "waxgate: %s\n", err.text);
        s.status = 1;
    }
    supervisor_close(&s);
    return s.status;
}
