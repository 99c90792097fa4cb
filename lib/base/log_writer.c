/* Two halves of the buffer: threads fill one while the writer thread writes the
 * other, then they change places under the lock.  The writer sleeps when there
 * is nothing to do, and only then does a line cost a signal; once awake it lets
 * lines gather for GATHER_MS, so that a busy process makes 200 writes a second
 * however many lines it has.
 *
 * Invariants, under the lock:
 *   - accepted - written == bytes in fill + bytes being written;
 *   - `writing` is set exactly while the thread is writing the drain half
 *     without the lock; nobody else writes to fd meanwhile.
 *
 * The reader of a pipe may stand still for ever. Then lines are lost, and that
 * is all: nothing that a thread does here waits for that reader longer than
 * PIPE_PATIENCE_MS, a reload or the end of the process least of all. */
#include "base/log_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HALF (LOG_BUFFER / 2)
#define GATHER_MS 5
#define PIPE_PATIENCE_MS 100 /* a full pipe is asked again after this */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* to the writer: lines, a flush, the end */
    pthread_cond_t settled; /* from the writer: a batch is out */
    pthread_t thread;
    bool running;
    bool sleeping; /* the writer waits without a time limit */
    bool stop;
    bool hurry;    /* do not gather */
    bool mid_line; /* the last write ended within a line */
    char *fill, *drain;
    atomic_size_t fill_length; /* atomic for on_abort() */
    atomic_bool writing;
    atomic_bool leave; /* somebody waits: no patience with a full pipe */
    atomic_int fd;
    uint64_t accepted, written; /* bytes since the start */
    uint64_t dropped;           /* lines not yet reported */
    char *path;                 /* owned; NULL: standard output */
    struct log_head dropped_head;
    enum log_format format;
} w = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .settled = PTHREAD_COND_INITIALIZER,
    .fd = STDERR_FILENO,
};

static uint64_t
count_lines(struct sv text)
{
    uint64_t lines = 0;

    while (text.n > 0) {
        sv_take_until(&text, '\n');
        lines++;
    }
    return lines;
}

/* A descriptor that polls writable takes this much without blocking. */
static size_t
chunk_of(int fd, struct sv text)
{
    struct stat status;

    if (text.n <= PIPE_BUF ||
        (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)))
        return text.n;
    return PIPE_BUF;
}

/* False: it takes nothing, and somebody waits for us. */
static bool
wait_for_room(int fd)
{
    struct pollfd pipe = {.fd = fd, .events = POLLOUT};

    while (poll(&pipe, 1, PIPE_PATIENCE_MS) == 0)
        if (w.leave)
            return false;
    return true; /* or an error, which write() tells */
}

/* What could not be written; empty when all went well. */
static struct sv
write_all(int fd, struct sv text)
{
    while (text.n > 0 && wait_for_room(fd)) {
        ssize_t n = write(fd, text.p, chunk_of(fd, text));

        if (n >= 0)
            text = sv_from(text, (size_t)n);
        else if (errno != EAGAIN && errno != EINTR)
            break;
    }
    return text;
}

/* Lines that the disk refuses are counted as dropped; the next line that gets
 * through begins on a line of its own.  Only one thread is here at a time. */
static uint64_t
write_lines(struct sv lines)
{
    struct sv rest;

    if (lines.n == 0)
        return 0;
    if (w.mid_line && write_all(w.fd, SV("\n")).n > 0)
        return count_lines(lines);
    rest = write_all(w.fd, lines);
    w.mid_line = rest.n > 0 && rest.n < lines.n && rest.p[-1] != '\n';
    return count_lines(rest);
}

static uint64_t
write_dropped(uint64_t dropped)
{
    static struct log_line line;

    if (dropped == 0)
        return 0;
    log_line_make(&line, w.format, &w.dropped_head, NULL,
                  &LOG_U64("count", dropped), 1);
    return write_lines((struct sv){line.text, line.length}) > 0 ? dropped : 0;
}

/* Called and returns with the lock held. */
static void
write_batch(void)
{
    char *batch = w.fill;
    size_t length = w.fill_length;
    uint64_t dropped = w.dropped;
    uint64_t lost;

    w.writing = true;
    w.fill = w.drain;
    w.drain = batch;
    w.fill_length = 0;
    w.dropped = 0;
    w.hurry = false;
    pthread_mutex_unlock(&w.lock);
    lost = write_lines((struct sv){batch, length});
    lost += write_dropped(dropped);
    pthread_mutex_lock(&w.lock);
    w.writing = false;
    w.dropped += lost;
    w.written += length;
    pthread_cond_broadcast(&w.settled);
}

static void
gather(void)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GATHER_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    while (!w.stop && !w.hurry) {
        if (pthread_cond_timedwait(&w.wake, &w.lock, &until) == ETIMEDOUT)
            return;
    }
}

static void *
writer_main(void *arg UNUSED)
{
    pthread_mutex_lock(&w.lock);
    for (;;) {
        while (w.fill_length == 0 && !w.stop) {
            w.sleeping = true;
            pthread_cond_wait(&w.wake, &w.lock);
            w.sleeping = false;
        }
        if (w.fill_length == 0 && w.dropped == 0)
            break;
        gather();
        write_batch();
        if (w.stop && w.fill_length == 0)
            break;
    }
    pthread_mutex_unlock(&w.lock);
    return NULL;
}

/* Gives up where the reader of a pipe stands still: a process that aborts must
 * end.  A pipe that polls writable takes PIPE_BUF bytes without blocking. */
static void
write_last(int fd, struct sv text)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};

    while (text.n > 0 && poll(&ready, 1, PIPE_PATIENCE_MS) == 1) {
        size_t chunk = text.n < PIPE_BUF ? text.n : PIPE_BUF;
        ssize_t n = write(fd, text.p, chunk);

        if (n <= 0)
            return;
        text = sv_from(text, (size_t)n);
    }
}

/* An assertion that fails is the moment when the last lines matter most.  No
 * lock is taken, since the thread that aborts may hold it: the batch on its way
 * gets a moment, then the waiting lines go out as they are. */
static void
on_abort(int signum)
{
    struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < 200 && w.writing; i++)
        nanosleep(&moment, NULL);
    if (w.fill != NULL)
        write_last(w.fd, (struct sv){w.fill, w.fill_length});
    w.fill_length = 0;
    raise(signum); /* the default action, as SA_RESETHAND left it */
}

static void
before_fork(void)
{
    pthread_mutex_lock(&w.lock);
}

static void
after_fork_in_parent(void)
{
    pthread_mutex_unlock(&w.lock);
}

/* The writer thread and the waiting lines are the parent's: the child writes
 * its lines at once until it opens the log itself. */
static void
after_fork_in_child(void)
{
    pthread_mutex_unlock(&w.lock);
    w.running = w.sleeping = false;
    w.writing = false;
    w.fill_length = 0;
    w.accepted = w.written = w.dropped = 0;
    pthread_cond_init(&w.settled, NULL);
}

static void
install_once(void)
{
    struct sigaction action = {.sa_handler = on_abort,
                               .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGABRT, &action, NULL);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    atexit(log_writer_close);
}

static bool
start_thread(struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_condattr_t attributes;
    sigset_t all, before;
    int code;

    pthread_once(&once, install_once);
    if (w.fill == NULL) {
        w.fill = mem_alloc_raw(HALF);
        w.drain = mem_alloc_raw(HALF);
    }
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w.wake, &attributes);
    pthread_condattr_destroy(&attributes);
    w.stop = false;
    sigfillset(&all); /* signals belong to the event loop's thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&w.thread, NULL, writer_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        err_code(err, code, "start the log writer");
        return false;
    }
    w.running = true;
    return true;
}

static int
open_path(const char *path, struct err *err)
{
    int fd;

    if (path == NULL)
        return STDOUT_FILENO;
    /* Non-blocking, so that a FIFO that nobody reads is an error. */
    fd = open(path,
              O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
              0640);
    if (fd == -1)
        err_sys(err, "open log file %s", path);
    return fd;
}

/* The lines of before still go to the old destination.  With the lock held. */
static void
change_fd(int fd)
{
    w.leave = true;
    while (w.writing)
        pthread_cond_wait(&w.settled, &w.lock);
    if (w.fill_length > 0) {
        w.dropped += write_lines((struct sv){w.fill, w.fill_length});
        w.written += w.fill_length;
        w.fill_length = 0;
        pthread_cond_broadcast(&w.settled);
    }
    if (w.fd > STDERR_FILENO)
        close(w.fd);
    w.fd = fd;
    w.mid_line = false;
    w.leave = false;
}

/* NULL stands for standard output. */
static const char *
file_of(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0 ? NULL : path;
}

bool
log_writer_try(const char *path, struct err *err)
{
    int fd = open_path(file_of(path), err);

    if (fd > STDERR_FILENO)
        close(fd);
    return fd != -1;
}

bool
log_writer_open(const struct log_options *options, struct err *err)
{
    const char *path = file_of(options->path);
    bool ok;
    int fd;

    fd = open_path(path, err);
    if (fd == -1)
        return false;
    pthread_mutex_lock(&w.lock);
    if (path != NULL || w.path != NULL || w.fd != fd)
        change_fd(fd);
    mem_free(w.path);
    w.path = path != NULL ? mem_strdup(path) : NULL;
    w.format = options->format;
    w.dropped_head = (struct log_head){
        .process = options->process,
        .level = LOG_ERROR,
        .event = "log.dropped",
    };
    ok = w.running || start_thread(err);
    pthread_mutex_unlock(&w.lock);
    return ok;
}

/* A file that cannot be opened again: the old one stays in use, which keeps the
 * lines, and says so itself. */
void
log_writer_reopen(void)
{
    struct err err = {0};
    int fd = -1;

    pthread_mutex_lock(&w.lock);
    if (w.path != NULL) {
        fd = open_path(w.path, &err);
        if (fd != -1)
            change_fd(fd);
    }
    pthread_mutex_unlock(&w.lock);
    if (err.text[0] != '\0')
        log_event(NULL, LOG_ERROR, "log.reopen", LOG_STR("error", err.text));
}

void
log_writer_flush(void)
{
    uint64_t until;

    pthread_mutex_lock(&w.lock);
    until = w.accepted;
    while (w.running && w.written < until) {
        w.hurry = true;
        pthread_cond_signal(&w.wake);
        pthread_cond_wait(&w.settled, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
}

void
log_writer_close(void)
{
    bool running;

    pthread_mutex_lock(&w.lock);
    running = w.running;
    w.running = false; /* from here lines are written at once */
    w.stop = true;
    w.leave = true;
    if (running)
        pthread_cond_signal(&w.wake);
    pthread_mutex_unlock(&w.lock);
    if (!running)
        return;
    pthread_join(w.thread, NULL);

    pthread_mutex_lock(&w.lock);
    change_fd(STDERR_FILENO);
    mem_free(w.path);
    w.path = NULL;
    pthread_mutex_unlock(&w.lock);
}

/* With the lock held. */
static void
enqueue(struct sv line)
{
    size_t before = w.fill_length;

    if (line.n > HALF - before) {
        w.dropped++;
        return;
    }
    memcpy(w.fill + before, line.p, line.n);
    w.fill_length = before + line.n;
    w.accepted += line.n;
    /* Half full: gathering on would lose lines. */
    if (before <= HALF / 2 && w.fill_length > HALF / 2)
        w.hurry = true;
    if (w.sleeping || (w.hurry && before <= HALF / 2)) {
        w.sleeping = false;
        pthread_cond_signal(&w.wake);
    }
}

void
log_writer_add(struct sv line)
{
    pthread_mutex_lock(&w.lock);
    if (w.running)
        enqueue(line);
    else
        write_all(w.fd, line);
    pthread_mutex_unlock(&w.lock);
}
