#include "service/asyncos_log.h"
#include "base/clock.h"
#include "base/line_file.h"
#include <pthread.h>
#include <time.h>

static struct {
    pthread_rwlock_t lock; /* writing: another file, or none */
    struct line_file *file;
} sink = {.lock = PTHREAD_RWLOCK_INITIALIZER};

/* "Sun Nov 22 05:00:00 2026 Info: ", UTC as in the log. */
static size_t
write_head(char *out, size_t size)
{
    time_t now = (time_t)clock_wall_s();
    struct tm parts;

    gmtime_r(&now, &parts);
    return strftime(out, size, "%a %b %e %H:%M:%S %Y Info: ", &parts);
}

static void
on_line(void *arg, struct sv line)
{
    struct line_file *file = arg;
    char text[2048];
    size_t head = write_head(text, sizeof text);

    if (line.n > sizeof text - head - 1)
        line.n = sizeof text - head - 1;
    memcpy(text + head, line.p, line.n);
    text[head + line.n] = '\n';
    line_file_add(file, (struct sv){text, head + line.n + 1});
}

static void
on_event(const struct log_record *record)
{
    pthread_rwlock_rdlock(&sink.lock);
    if (sink.file != NULL)
        asyncos_log_lines(record, on_line, sink.file);
    pthread_rwlock_unlock(&sink.lock);
}

/* The old file is closed without the lock: its thread may have something to
 * tell the log, which comes back here. */
static void
replace(struct line_file *file)
{
    struct line_file *old;

    pthread_rwlock_wrlock(&sink.lock);
    old = sink.file;
    sink.file = file;
    pthread_rwlock_unlock(&sink.lock);
    log_observe(file != NULL ? on_event : NULL);
    line_file_close(old);
}

static void
install_once(void)
{
    atexit(asyncos_log_close);
}

bool
asyncos_log_open(const char *path, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct line_file *file = NULL;

    if (sink.file != NULL && strcmp(line_file_path(sink.file), path) == 0)
        return true;
    if (path[0] != '\0') {
        file = line_file_open(path, err);
        if (file == NULL)
            return false;
        pthread_once(&once, install_once);
    }
    replace(file);
    return true;
}

bool
asyncos_log_try(const char *path, struct err *err)
{
    return path[0] == '\0' || line_file_try(path, err);
}

void
asyncos_log_reopen(void)
{
    struct err err;

    if (sink.file != NULL && !line_file_reopen(sink.file, &err))
        log_event(NULL, LOG_ERROR, "log.reopen", LOG_STR("error", err.text));
}

void
asyncos_log_close(void)
{
    replace(NULL);
}
