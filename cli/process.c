/* run, reload, stop. */
#include "cli.h"

#include "base/buf.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "supervise/supervise.h"

int
run_gateway(struct cli *cli)
{
    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    return supervise_run(cli->config);
}

int
run_reload(struct cli *cli)
{
    json_t *result;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (!cli_call(cli, "reload", NULL, NULL, NULL, &result))
        return CLI_FAILED;
    printf("revision %" JSON_INTEGER_FORMAT " is in force\n",
           json_integer_value(json_object_get(result, "revision")));
    json_decref(result);
    return CLI_OK;
}

/* The lock is held by the supervisor and all that it started. */
static bool
find_supervisor(const char *state_dir, int *lock_fd, pid_t *pid,
                struct err *err)
{
    struct buf path = {0};
    char text[32];
    ssize_t got;
    struct sv digits;
    uint32_t number = 0;
    bool found = false;

    buf_printf(&path, "%s/run/lock", state_dir);
    *lock_fd = open(buf_cstr(&path), O_RDONLY | O_CLOEXEC);
    if (*lock_fd == -1 && errno != ENOENT) {
        err_sys(err, "%s", buf_cstr(&path));
    } else if (*lock_fd == -1 || flock(*lock_fd, LOCK_SH | LOCK_NB) == 0) {
        err_set(err, "the gateway is not running (%s is not locked)",
                buf_cstr(&path));
    } else {
        got = pread(*lock_fd, text, sizeof text, 0);
        digits = (struct sv){text, got > 0 ? (size_t)got : 0};
        digits = sv_take_until(&digits, '\n');
        found = sv_to_u32(digits, &number) && number > 1;
        if (!found)
            err_set(err, "%s holds no process id", buf_cstr(&path));
    }
    *pid = (pid_t)number;
    buf_fini(&path);
    return found;
}

static bool
stop_and_wait(const char *state_dir, bool now, struct err *err)
{
    int lock_fd;
    pid_t pid;

    if (!find_supervisor(state_dir, &lock_fd, &pid, err))
        return false;
    if (kill(pid, SIGTERM) == -1 || (now && kill(pid, SIGINT) == -1)) {
        err_sys(err, "signal process %ld", (long)pid);
        return false;
    }
    while (flock(lock_fd, LOCK_SH) == -1) {
        if (errno != EINTR) {
            err_sys(err, "wait for the end");
            return false;
        }
    }
    close(lock_fd);
    return true;
}

int
run_stop(struct cli *cli)
{
    bool now = cli_flag(cli, "--now");
    struct err err;
    char *state_dir;
    bool ok;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (!cli_state_dir(cli, &state_dir))
        return CLI_FAILED;
    ok = stop_and_wait(state_dir, now, &err);
    mem_free(state_dir);
    return ok ? CLI_OK : cli_fail(&err);
}
