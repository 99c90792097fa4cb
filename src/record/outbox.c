#include "record/outbox.h"

#include "base/buf.h"
#include "service/rpc.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_TIMEOUT = 60000 }; /* ms for the sender to take a message */

struct outbox_call {
    void (*on_done)(void *arg, const char *queue_id, const char *reason);
    void *arg;
    struct task task; /* where it failed before the sender was asked */
    char reason[256];
};

/* --- The file ------------------------------------------------------------- */

static int
open_folder(const char *state_dir, struct err *err)
{
    struct buf path = {0};
    int dir;

    buf_printf(&path, "%s/outbox", state_dir);
    if (mkdir(buf_cstr(&path), 0700) == -1 && errno != EEXIST)
        err_sys(err, "make %s", buf_cstr(&path));
    dir = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir == -1)
        err_sys(err, "open %s", buf_cstr(&path));
    buf_fini(&path);
    return dir;
}

static bool
write_all(int fd, struct sv bytes, struct err *err)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1) {
            err_sys(err, "write");
            return false;
        }
        bytes = sv_from(bytes, (size_t)n);
    }
    if (fsync(fd) == 0)
        return true;
    err_sys(err, "sync");
    return false;
}

/* It appears whole or not at all. */
static bool
write_file(int dir, const struct outbox_mail *mail, struct err *err)
{
    char hidden[160];
    int fd;
    bool ok;

    snprintf(hidden, sizeof hidden, ".%s.new", mail->name);
    fd = openat(dir, hidden, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd == -1) {
        err_sys(err, "make it");
        return false;
    }
    ok = write_all(fd, mail->message, err);
    close(fd);
    if (ok &&
        (renameat(dir, hidden, dir, mail->name) == -1 || fsync(dir) == -1)) {
        err_sys(err, "rename it");
        ok = false;
    }
    if (!ok)
        unlinkat(dir, hidden, 0);
    return ok;
}

static bool
put_file(const char *state_dir, const struct outbox_mail *mail, struct err *err)
{
    int dir = open_folder(state_dir, err);
    bool ok;

    if (dir == -1)
        return false;
    /* There from an earlier try: the sender may have taken it as it is. */
    ok = faccessat(dir, mail->name, F_OK, 0) == 0 || write_file(dir, mail, err);
    close(dir);
    if (!ok)
        err_wrap(err, "outbox file %s", mail->name);
    return ok;
}

void
outbox_remove(const char *state_dir, const char *name)
{
    struct buf path = {0};

    buf_printf(&path, "%s/outbox/%s", state_dir, name);
    unlink(buf_cstr(&path));
    buf_fini(&path);
}

static void
remove_if_old(int dir, const char *name, int64_t before)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode) && st.st_mtime < before)
        unlinkat(dir, name, 0);
}

void
outbox_clean(const char *state_dir, int64_t before)
{
    int dir = open_folder(state_dir, NULL);
    DIR *list = dir == -1 ? NULL : fdopendir(dir);
    struct dirent *entry;

    if (list == NULL) {
        if (dir != -1)
            close(dir);
        return;
    }
    while ((entry = readdir(list)) != NULL)
        remove_if_old(dirfd(list), entry->d_name, before);
    closedir(list);
}

/* --- The call ------------------------------------------------------------- */

static void
on_answer(void *arg, const json_t *result, const char *error)
{
    struct outbox_call *call = arg;
    const char *queue_id =
        json_string_value(json_object_get(result, "queue_id"));

    if (queue_id == NULL && error == NULL)
        error = "the sender gave no queue id";
    call->on_done(call->arg, queue_id, error);
    mem_free(call);
}

static void
on_early_failure(struct task *task)
{
    struct outbox_call *call = CONTAINER_OF(task, struct outbox_call, task);

    call->on_done(call->arg, NULL, call->reason);
    mem_free(call);
}

static json_t *
params_of(const struct outbox_mail *mail)
{
    json_t *recipients = json_array(), *demands = json_array();

    for (size_t i = 0; i < mail->recipient_count; i++)
        json_array_append_new(recipients, json_string(mail->recipients[i]));
    json_array_append_new(demands, json_string("tls-report"));
    if (mail->tls_optional)
        json_array_append_new(demands, json_string("tls-optional"));
    return json_pack("{s:s, s:s, s:o, s:o}", "file", mail->name, "sender", "",
                     "recipients", recipients, "demands", demands);
}

void
outbox_send(struct loop *loop, const char *state_dir,
            const struct outbox_mail *mail,
            void (*on_done)(void *arg, const char *queue_id,
                            const char *reason),
            void *arg)
{
    struct outbox_call *call = mem_alloc(sizeof *call);
    struct buf path = {0};
    struct err err;

    call->on_done = on_done;
    call->arg = arg;
    if (!put_file(state_dir, mail, &err)) {
        snprintf(call->reason, sizeof call->reason, "%.250s", err.text);
        call->task.run = on_early_failure;
        loop_defer(loop, &call->task);
        return;
    }
    buf_printf(&path, "%s/run/sender.sock", state_dir);
    rpc_ask(loop, buf_cstr(&path), "queue.submit", params_of(mail),
            ANSWER_TIMEOUT, on_answer, call);
    buf_fini(&path);
}
