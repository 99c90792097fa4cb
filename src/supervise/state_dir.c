#include "supervise/state_dir.h"

#include "base/buf.h"
#include "base/sv.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Through a descriptor, so that root never follows a link that the service's
 * user may have put there. */
static bool
directory_make(const char *path, mode_t mode, uid_t uid, gid_t gid,
               struct err *err)
{
    bool made = mkdir(path, mode) == 0;
    int fd;
    bool ok;

    if (!made && errno != EEXIST) {
        err_sys(err, "make directory %s", path);
        return false;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        err_sys(err, "open directory %s", path);
        return false;
    }
    ok = (!made || fchmod(fd, mode) == 0) &&
         (uid == (uid_t)-1 || fchown(fd, uid, gid) == 0);
    if (!ok)
        err_sys(err, "set mode and owner of %s", path);
    close(fd);
    return ok;
}

bool
state_dir_make(const char *path, uid_t uid, gid_t gid, struct err *err)
{
    struct buf run = {0};
    bool ok;

    buf_printf(&run, "%s/run", path);
    ok = directory_make(path, 0750, uid, gid, err) &&
         directory_make(buf_cstr(&run), 0700, uid, gid, err);
    if (ok && access(buf_cstr(&run), W_OK | X_OK) == -1) {
        err_sys(err, "%s", buf_cstr(&run));
        ok = false;
    }
    buf_fini(&run);
    return ok;
}

/* The process id in the file; 0 where there is none. */
static pid_t
lock_holder(int fd)
{
    char text[32];
    ssize_t got = pread(fd, text, sizeof text, 0);
    struct sv digits = {text, got > 0 ? (size_t)got : 0};
    uint32_t pid;

    digits = sv_take_until(&digits, '\n');
    return sv_to_u32(digits, &pid) ? (pid_t)pid : 0;
}

static void
write_holder(int fd)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    /* The number is a help for the reader; the lock is the flock. */
    if (ftruncate(fd, 0) == -1 || pwrite(fd, text, (size_t)length, 0) == -1)
        return;
}

enum state_dir_lock
state_dir_lock(const char *path, int *lock_fd, struct err *err)
{
    enum state_dir_lock result = STATE_DIR_FAILED;
    struct buf name = {0};
    pid_t holder;
    int fd;

    buf_printf(&name, "%s/run/lock", path);
    fd = open(buf_cstr(&name), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        err_sys(err, "%s", buf_cstr(&name));
    } else if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        write_holder(fd);
        *lock_fd = fd;
        fd = -1;
        result = STATE_DIR_LOCKED;
    } else if (errno != EWOULDBLOCK) {
        err_sys(err, "lock %s", buf_cstr(&name));
    } else {
        holder = lock_holder(fd);
        err_set(err, "another waxgate (process %ld) uses %s", (long)holder,
                path);
        if (holder != 0 && kill(holder, 0) == -1 && errno == ESRCH)
            result = STATE_DIR_ENDING;
    }
    if (fd != -1)
        close(fd);
    buf_fini(&name);
    return result;
}
