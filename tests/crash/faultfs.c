/* Both names of each call are defined below; the headers must not turn one
 * into the other.  (off_t has 64 bits all the same where we test.) */
#undef _FILE_OFFSET_BITS
#include "crash/faultfs.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RULES_MAX = 16, TEXT_MAX = 1024, ACT_SHORT = -1, ACT_DELAY = -2 };

struct rule {
    char call[16];
    int action; /* errno, SIGKILL as -SIGKILL - 100, or ACT_ */
    unsigned long after, count;
    char path[128];
};
enum { ACT_KILL = -100 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX];
static size_t rule_count;
static unsigned long hits;
static bool loaded;
static struct timespec file_time;

/* --- Rules -------------------------------------------------------------- */

static int
action_of(const char *name)
{
    static const struct {
        const char *name;
        int action;
    } actions[] = {
        {"EIO", EIO},       {"ENOSPC", ENOSPC},   {"EDQUOT", EDQUOT},
        {"EMFILE", EMFILE}, {"EROFS", EROFS},     {"short", ACT_SHORT},
        {"kill", ACT_KILL}, {"delay", ACT_DELAY},
    };

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(name, actions[i].name) == 0)
            return actions[i].action;
    }
    return EIO;
}

static void
parse_rule(char *text)
{
    struct rule *rule = &rules[rule_count];
    char *save = NULL;
    char *word = strtok_r(text, ":\n", &save);

    if (word == NULL || rule_count == RULES_MAX)
        return;
    *rule = (struct rule){.action = EIO, .count = (unsigned long)-1};
    snprintf(rule->call, sizeof rule->call, "%s", word);
    word = strtok_r(NULL, ":\n", &save);
    if (word != NULL)
        rule->action = action_of(word);
    while ((word = strtok_r(NULL, ":\n", &save)) != NULL) {
        if (strncmp(word, "after=", 6) == 0)
            rule->after = strtoul(word + 6, NULL, 10);
        else if (strncmp(word, "count=", 6) == 0)
            rule->count = strtoul(word + 6, NULL, 10);
        else if (strncmp(word, "path=", 5) == 0)
            snprintf(rule->path, sizeof rule->path, "%s", word + 5);
    }
    rule_count++;
}

static void
parse_rules(const char *text)
{
    char copy[TEXT_MAX];
    char *save = NULL;

    rule_count = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *rule = strtok_r(copy, ";\n", &save); rule != NULL;
         rule = strtok_r(NULL, ";\n", &save))
        parse_rule(rule);
}

static void
load_file(const char *path)
{
    char text[TEXT_MAX] = "";
    struct stat st;
    long fd;
    long got;

    if (stat(path, &st) == -1 || (st.st_mtim.tv_sec == file_time.tv_sec &&
                                  st.st_mtim.tv_nsec == file_time.tv_nsec))
        return;
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return;
    got = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    file_time = st.st_mtim;
    text[got > 0 ? got : 0] = '\0';
    parse_rules(text);
}

static void
load(void)
{
    const char *path = getenv("WAXGATE_FAULTS_FILE");
    const char *text = getenv("WAXGATE_FAULTS");

    if (path != NULL)
        load_file(path);
    else if (!loaded && text != NULL)
        parse_rules(text);
    loaded = true;
}

void
faultfs_set(const char *text)
{
    pthread_mutex_lock(&lock);
    loaded = true;
    hits = 0;
    parse_rules(text == NULL ? "" : text);
    pthread_mutex_unlock(&lock);
}

unsigned long
faultfs_hits(void)
{
    pthread_mutex_lock(&lock);
    unsigned long n = hits;
    pthread_mutex_unlock(&lock);
    return n;
}

/* --- Judging a call ----------------------------------------------------- */

static void
path_of(int fd, const char *name, char *path, size_t size)
{
    char link[64];
    ssize_t n = 0;

    if (fd >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, path, size - 1);
    }
    n = n < 0 ? 0 : n;
    path[n] = '\0';
    if (name != NULL)
        snprintf(path + n, size - (size_t)n, "/%s", name);
}

static int
judge(const char *call, const char *path)
{
    int action = 0;

    pthread_mutex_lock(&lock);
    load();
    for (size_t i = 0; i < rule_count && action == 0; i++) {
        struct rule *rule = &rules[i];

        if ((strcmp(rule->call, call) != 0 && strcmp(rule->call, "any") != 0) ||
            strstr(path, rule->path) == NULL || rule->count == 0)
            continue;
        if (rule->after > 0) {
            rule->after--;
            continue;
        }
        if (rule->count != (unsigned long)-1)
            rule->count--;
        action = rule->action;
        hits++;
    }
    pthread_mutex_unlock(&lock);
    return action;
}

/* What to do with this call: 0 go on, ACT_SHORT, or an errno.  Keeps errno. */
static int
fault(const char *call, int fd, const char *name)
{
    char path[512];
    int saved = errno;
    int action;

    path_of(fd, name, path, sizeof path);
    action = judge(call, path);
    if (action == ACT_KILL)
        kill(getpid(), SIGKILL);
    if (action == ACT_DELAY) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        action = 0;
    }
    errno = saved;
    return action;
}

static bool
fails(const char *call, int fd, const char *name)
{
    int action = fault(call, fd, name);

    if (action > 0)
        errno = action;
    return action > 0;
}

/* --- The calls ---------------------------------------------------------- */

/* Both names of each: with and without 64-bit offsets they are one on the
 * systems that we test on, but the compiler may emit either. */
#define ALIAS(name, of) __attribute__((alias(#of)))

ssize_t
write(int fd, const void *bytes, size_t n)
{
    int action = fault("write", fd, NULL);

    if (action > 0) {
        errno = action;
        return -1;
    }
    return syscall(SYS_write, fd, bytes,
                   action == ACT_SHORT && n > 1 ? n / 2 : n);
}

ssize_t
pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    int action = fault("write", fd, NULL);

    if (action > 0) {
        errno = action;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes,
                   action == ACT_SHORT && n > 1 ? n / 2 : n, at);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    int action = fault("write", fd, NULL);

    if (action > 0) {
        errno = action;
        return -1;
    }
    if (action == ACT_SHORT) /* a part of the first piece */
        return syscall(SYS_pwrite64, fd, iov->iov_base, (iov->iov_len + 1) / 2,
                       at);
    return syscall(SYS_pwritev, fd, iov, count, at, 0L);
}

int
fsync(int fd)
{
    return fails("sync", fd, NULL) ? -1 : (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
    return fails("sync", fd, NULL) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    if (fails("rename", to_dir, to))
        return -1;
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int
rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int
linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    if (fails("link", to_dir, to))
        return -1;
    return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

int
unlinkat(int dir, const char *name, int flags)
{
    if (fails("unlink", dir, name))
        return -1;
    return (int)syscall(SYS_unlinkat, dir, name, flags);
}

int
openat(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if ((flags & O_CREAT) && fails("create", dir, name))
        return -1;
    return (int)syscall(SYS_openat, dir, name, flags, mode);
}

int
open(const char *name, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    return openat(AT_FDCWD, name, flags, mode);
}

int
posix_fallocate(int fd, off_t at, off_t n)
{
    int action = fault("allocate", fd, NULL);

    if (action > 0)
        return action;
    return syscall(SYS_fallocate, fd, 0, at, n) == -1 ? errno : 0;
}

#if defined(__LP64__)
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at)
    ALIAS(pwrite64, pwrite);
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t at)
    ALIAS(pwritev64, pwritev);
int openat64(int dir, const char *name, int flags, ...) ALIAS(openat64, openat);
int open64(const char *name, int flags, ...) ALIAS(open64, open);
int posix_fallocate64(int fd, off_t at, off_t n)
    ALIAS(posix_fallocate64, posix_fallocate);
#endif
