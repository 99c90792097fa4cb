/* One buffer is filled while the other is written; they change places under the
 * lock.  Only the thread writes. */
#include "base/line_file.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { HALF = 256 * 1024 };

struct line_file {
    pthread_mutex_t lock;
    pthread_cond_t wake, settled;
    pthread_t thread;
    char *path; /* owned */
    char *fill, *drain;
    size_t length; /* of fill */
    uint64_t dropped;
    int fd, next_fd; /* -1: none */
    bool busy, stop;
    bool cut; /* the writer's: the file ends within a line */
};

static int
open_path(const char *path, struct err *err)
{
    /* Non-blocking, so that a FIFO that nobody reads is an error. */
    int fd = open(
        path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        0640);

    if (fd == -1)
        err_sys(err, "open %s", path);
    return fd;
}

/* What could not be written. */
static struct sv
write_all(int fd, struct sv text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        text = sv_from(text, (size_t)n);
    }
    return text;
}

static uint64_t
count_lines(struct sv text)
{
    uint64_t lines = 0;

    for (; text.n > 0; lines++)
        sv_take_until(&text, '\n');
    return lines;
}

/* Returns how many lines are lost; the one that was cut is among them. */
static uint64_t
write_lines(struct line_file *file, struct sv batch)
{
    struct sv rest;

    if (file->cut && write_all(file->fd, SV("\n")).n > 0)
        return count_lines(batch);
    file->cut = false;
    rest = write_all(file->fd, batch);
    file->cut = rest.n > 0 && rest.n < batch.n && rest.p[-1] != '\n';
    return count_lines(rest);
}

/* Called and returns with the lock held. */
static void
write_batch(struct line_file *file)
{
    char *full = file->fill;
    struct sv batch = {full, file->length};
    uint64_t dropped = file->dropped;

    file->fill = file->drain;
    file->drain = full;
    file->length = 0;
    file->dropped = 0;
    file->busy = true;
    if (file->next_fd != -1) {
        close(file->fd);
        file->fd = file->next_fd;
        file->next_fd = -1;
        file->cut = false;
    }
    pthread_mutex_unlock(&file->lock);
    dropped += write_lines(file, batch);
    if (dropped > 0)
        log_event(NULL, LOG_ERROR, "log.dropped", LOG_U64("count", dropped),
                  LOG_STR("path", file->path));
    pthread_mutex_lock(&file->lock);
    file->busy = false;
    pthread_cond_broadcast(&file->settled);
}

static void *
run(void *arg)
{
    struct line_file *file = arg;

    pthread_mutex_lock(&file->lock);
    while (!file->stop || file->length > 0) {
        if (file->length == 0 && file->next_fd == -1)
            pthread_cond_wait(&file->wake, &file->lock);
        else
            write_batch(file);
    }
    pthread_mutex_unlock(&file->lock);
    return NULL;
}

static bool
start_thread(struct line_file *file, struct err *err)
{
    sigset_t all, before;
    int code;

    sigfillset(&all); /* signals belong to the event loop's thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&file->thread, NULL, run, file);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0)
        err_code(err, code, "start the writer of %s", file->path);
    return code == 0;
}

static void
release(struct line_file *file)
{
    close(file->fd);
    if (file->next_fd != -1)
        close(file->next_fd);
    pthread_mutex_destroy(&file->lock);
    pthread_cond_destroy(&file->wake);
    pthread_cond_destroy(&file->settled);
    mem_free(file->fill);
    mem_free(file->drain);
    mem_free(file->path);
    mem_free(file);
}

struct line_file *
line_file_open(const char *path, struct err *err)
{
    int fd = open_path(path, err);
    struct line_file *file;

    if (fd == -1)
        return NULL;
    file = mem_alloc(sizeof *file);
    file->path = mem_strdup(path);
    file->fill = mem_alloc_raw(HALF);
    file->drain = mem_alloc_raw(HALF);
    file->fd = fd;
    file->next_fd = -1;
    pthread_mutex_init(&file->lock, NULL);
    pthread_cond_init(&file->wake, NULL);
    pthread_cond_init(&file->settled, NULL);
    if (start_thread(file, err))
        return file;
    release(file);
    return NULL;
}

bool
line_file_try(const char *path, struct err *err)
{
    int fd = open_path(path, err);

    if (fd != -1)
        close(fd);
    return fd != -1;
}

const char *
line_file_path(const struct line_file *file)
{
    return file->path;
}

void
line_file_add(struct line_file *file, struct sv line)
{
    pthread_mutex_lock(&file->lock);
    if (line.n > HALF - file->length) {
        file->dropped++;
    } else {
        memcpy(file->fill + file->length, line.p, line.n);
        file->length += line.n;
        pthread_cond_signal(&file->wake);
    }
    pthread_mutex_unlock(&file->lock);
}

bool
line_file_reopen(struct line_file *file, struct err *err)
{
    int fd = open_path(file->path, err);

    if (fd == -1)
        return false;
    pthread_mutex_lock(&file->lock);
    if (file->next_fd != -1)
        close(file->next_fd);
    file->next_fd = fd;
    pthread_cond_signal(&file->wake);
    pthread_mutex_unlock(&file->lock);
    return true;
}

void
line_file_flush(struct line_file *file)
{
    pthread_mutex_lock(&file->lock);
    while (file->busy || file->length > 0 || file->next_fd != -1)
        pthread_cond_wait(&file->settled, &file->lock);
    pthread_mutex_unlock(&file->lock);
}

void
line_file_close(struct line_file *file)
{
    if (file == NULL)
        return;
    pthread_mutex_lock(&file->lock);
    file->stop = true;
    pthread_cond_signal(&file->wake);
    pthread_mutex_unlock(&file->lock);
    pthread_join(file->thread, NULL);
    release(file);
}
