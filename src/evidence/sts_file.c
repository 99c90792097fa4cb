#include "evidence/sts_file.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char magic[8] = {'W', 'X', 'S', 'T', 'S', '0', '0', '1'};
static const char mark[4] = {'S', 'T', 'S', 'R'};
enum {
    HEAD = 12, /* mark, length, checksum */
    SLACK = 4 << 20,
    RETRY_S = 30,
};

struct sts_file {
    struct sts_file_owner owner;
    int folder; /* descriptors; owned */
    int fd;
    pthread_t thread;
    bool running;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work, done;
    struct buf pending;         /* framed records */
    uint64_t appended, durable; /* counts of appends */
    bool closing, failing, rewrite;
    bool writing; /* the thread is, without the lock */

    /* the thread's own */
    uint64_t size, base; /* bytes now; with nothing outdated */
    uint64_t records;    /* read at the start */
    size_t spoilt;       /* bytes skipped then */
    size_t senseless;    /* records refused then */
};

/* --- Records ------------------------------------------------------------ */

static void
put_u32(char *to, size_t value)
{
    for (size_t i = 0; i < 4; i++)
        to[i] = (char)(value >> (8 * i) & 255u);
}

static uint32_t
get_u32(const char *from)
{
    uint32_t value = 0;

    for (size_t i = 0; i < 4; i++)
        value |= (uint32_t)(unsigned char)from[i] << (8 * i);
    return value;
}

static uint32_t
checksum(const char *length, struct sv record)
{
    return crc32c(crc32c(0, length, 4), record.p, record.n);
}

void
sts_file_frame(struct buf *out, struct sv record)
{
    char *head = buf_reserve(out, HEAD + record.n);

    assert(record.n > 0 && record.n <= STS_FILE_RECORD_MAX);
    memcpy(head, mark, sizeof mark);
    put_u32(head + 4, record.n);
    put_u32(head + 8, checksum(head + 4, record));
    memcpy(head + HEAD, record.p, record.n);
    buf_grew(out, HEAD + record.n);
}

static bool
take_here(struct sv *in, struct sv *record)
{
    uint32_t length;

    if (in->n < HEAD || memcmp(in->p, mark, sizeof mark) != 0)
        return false;
    length = get_u32(in->p + 4);
    if (length == 0 || length > STS_FILE_RECORD_MAX || length > in->n - HEAD)
        return false;
    *record = sv_slice(*in, HEAD, length);
    if (get_u32(in->p + 8) != checksum(in->p + 4, *record))
        return false;
    *in = sv_from(*in, HEAD + length);
    return true;
}

/* Bytes up to the next mark, at least one. */
static size_t
to_next_mark(struct sv in)
{
    const char *next =
        in.n > 1 ? memmem(in.p + 1, in.n - 1, mark, sizeof mark) : NULL;

    return next != NULL ? (size_t)(next - in.p) : in.n;
}

bool
sts_file_take(struct sv *in, struct sv *record, size_t *skipped)
{
    while (in->n > 0) {
        size_t step;

        if (take_here(in, record))
            return true;
        step = to_next_mark(*in);
        *skipped += step;
        *in = sv_from(*in, step);
    }
    return false;
}

/* --- Reading ------------------------------------------------------------ */

static void
read_records(struct sts_file *file, struct sv in)
{
    struct sv record;

    if (!sv_take_prefix(&in, (struct sv){magic, sizeof magic}))
        file->spoilt++;
    while (sts_file_take(&in, &record, &file->spoilt)) {
        file->records++;
        if (!file->owner.on_record(file->owner.arg, record))
            file->senseless++;
    }
}

static bool
read_all(struct sts_file *file, struct err *err)
{
    struct stat st;
    void *map;

    if (fstat(file->fd, &st) == -1) {
        err_sys(err, "size of sts/policies");
        return false;
    }
    file->size = (uint64_t)st.st_size;
    if (st.st_size == 0)
        return true;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, file->fd, 0);
    if (map == MAP_FAILED) {
        err_sys(err, "read sts/policies");
        return false;
    }
    read_records(file, (struct sv){map, (size_t)st.st_size});
    munmap(map, (size_t)st.st_size);
    return true;
}

static bool
open_files(struct sts_file *file, const char *folder, struct err *err)
{
    if (mkdir(folder, 0700) == -1 && errno != EEXIST) {
        err_sys(err, "make folder %s", folder);
        return false;
    }
    file->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->folder == -1) {
        err_sys(err, "open folder %s", folder);
        return false;
    }
    file->fd = openat(file->folder, "policies",
                      O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file->fd == -1) {
        err_sys(err, "open %s/policies", folder);
        return false;
    }
    return true;
}

struct sts_file *
sts_file_open(const char *folder, const struct sts_file_owner *owner,
              struct err *err)
{
    struct sts_file *file = mem_alloc(sizeof *file);

    file->owner = *owner;
    file->folder = file->fd = -1;
    pthread_mutex_init(&file->lock, NULL);
    pthread_cond_init(&file->work, NULL);
    pthread_cond_init(&file->done, NULL);
    if (open_files(file, folder, err) && read_all(file, err)) {
        if (file->spoilt > 0 || file->senseless > 0)
            log_event(NULL, LOG_WARNING, "sts.damaged",
                      LOG_U64("bytes", file->spoilt),
                      LOG_U64("records", file->senseless));
        return file;
    }
    sts_file_close(file);
    return NULL;
}

/* --- Writing, on the thread --------------------------------------------- */

static bool
write_all(int fd, struct sv bytes, struct err *err)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            err_sys(err, "write sts/policies");
            return false;
        }
        bytes = sv_from(bytes, (size_t)n);
    }
    return true;
}

static bool
sync_file(int fd, struct err *err)
{
    if (fdatasync(fd) == 0)
        return true;
    err_sys(err, "sync sts/policies");
    return false;
}

static bool
write_pending(struct sts_file *file, struct sv bytes, struct err *err)
{
    if (!write_all(file->fd, bytes, err) || !sync_file(file->fd, err))
        return false;
    file->size += bytes.n;
    return true;
}

static bool
write_snapshot(struct sts_file *file, int fd, uint64_t *size, struct err *err)
{
    struct buf out = {0};
    size_t cursor = 0;
    bool more = true, ok = true;

    buf_add(&out, (struct sv){magic, sizeof magic});
    while (ok && more) {
        more = file->owner.on_snapshot(file->owner.arg, &cursor, &out);
        ok = write_all(fd, buf_view(&out), err);
        *size += buf_length(&out);
        buf_reset(&out);
    }
    buf_fini(&out);
    return ok && sync_file(fd, err);
}

static bool
put_in_place(struct sts_file *file, struct err *err)
{
    if (renameat(file->folder, "policies.new", file->folder, "policies") ==
        -1) {
        err_sys(err, "rename sts/policies.new");
        return false;
    }
    if (fsync(file->folder) == -1) {
        err_sys(err, "sync the folder of sts/policies");
        return false;
    }
    return true;
}

/* Changes made meanwhile are in pending and follow behind the snapshot: they
 * are newer than what it holds, or the same. */
static bool
rewrite(struct sts_file *file, struct err *err)
{
    uint64_t size = 0;
    int fd = openat(file->folder, "policies.new",
                    O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

    if (fd == -1) {
        err_sys(err, "make sts/policies.new");
        return false;
    }
    if (!write_snapshot(file, fd, &size, err) || !put_in_place(file, err)) {
        close(fd);
        unlinkat(file->folder, "policies.new", 0);
        return false;
    }
    close(file->fd);
    file->fd = fd;
    file->size = file->base = size;
    return true;
}

static bool
is_outdated(const struct sts_file *file)
{
    return file->size > 2 * file->base + SLACK;
}

static void
report(struct sts_file *file, bool ok, const struct err *err)
{
    if (!ok && !file->failing)
        log_event(NULL, LOG_ERROR, "sts.store_failed",
                  LOG_STR("error", err->text));
    else if (ok && file->failing)
        log_event(NULL, LOG_INFO, "sts.store_works",
                  LOG_U64("bytes", file->size));
    file->failing = !ok;
}

/* Lock held; lets go of it while it works. */
static void
write_turn(struct sts_file *file)
{
    struct buf bytes = file->pending;
    uint64_t upto = file->appended;
    bool anew = file->rewrite, ok;
    struct err err = {0};

    file->pending = (struct buf){0};
    file->writing = true;
    pthread_mutex_unlock(&file->lock);
    /* A snapshot holds what the bytes say. */
    ok = anew ? rewrite(file, &err)
              : write_pending(file, buf_view(&bytes), &err);
    if (ok && !anew && is_outdated(file))
        ok = rewrite(file, &err);
    buf_fini(&bytes);
    pthread_mutex_lock(&file->lock);
    file->writing = false;
    report(file, ok, &err);
    file->rewrite = !ok;
    if (ok)
        file->durable = upto;
    pthread_cond_broadcast(&file->done);
}

static void
pause_after_failure(struct sts_file *file)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RETRY_S;
    while (!file->closing && pthread_cond_timedwait(&file->work, &file->lock,
                                                    &until) != ETIMEDOUT)
        continue;
}

static void *
run_thread(void *arg)
{
    struct sts_file *file = arg;

    pthread_mutex_lock(&file->lock);
    for (;;) {
        if (buf_length(&file->pending) > 0 || file->rewrite)
            write_turn(file);
        if (file->closing && (file->failing || buf_length(&file->pending) == 0))
            break;
        if (file->failing)
            pause_after_failure(file);
        else if (buf_length(&file->pending) == 0 && !file->rewrite)
            pthread_cond_wait(&file->work, &file->lock);
    }
    pthread_mutex_unlock(&file->lock);
    return NULL;
}

/* --- The owner's side --------------------------------------------------- */

void
sts_file_start(struct sts_file *file, size_t live)
{
    file->base = file->records == 0
                     ? 0
                     : (uint64_t)((double)file->size * (double)live /
                                  (double)file->records);
    /* A file without its magic is empty, or spoilt from the first byte. */
    file->rewrite = file->size == 0 || file->spoilt > 0 ||
                    file->senseless > 0 || is_outdated(file);
    file->running = pthread_create(&file->thread, NULL, run_thread, file) == 0;
    assert(file->running);
}

void
sts_file_append(struct sts_file *file, struct sv record)
{
    pthread_mutex_lock(&file->lock);
    /* While nothing can be written nothing is gathered: all that is known will
     * be written anew.  What comes while that happens may come too late for it.
     */
    if (!file->failing || file->writing)
        sts_file_frame(&file->pending, record);
    file->appended++;
    pthread_cond_signal(&file->work);
    pthread_mutex_unlock(&file->lock);
}

bool
sts_file_sync(struct sts_file *file)
{
    uint64_t wanted;
    bool ok;

    pthread_mutex_lock(&file->lock);
    wanted = file->appended;
    while (file->durable < wanted && !file->failing)
        pthread_cond_wait(&file->done, &file->lock);
    ok = file->durable >= wanted;
    pthread_mutex_unlock(&file->lock);
    return ok;
}

bool
sts_file_failing(struct sts_file *file)
{
    bool failing;

    pthread_mutex_lock(&file->lock);
    failing = file->failing;
    pthread_mutex_unlock(&file->lock);
    return failing;
}

void
sts_file_close(struct sts_file *file)
{
    if (file == NULL)
        return;
    if (file->running) {
        pthread_mutex_lock(&file->lock);
        file->closing = true;
        pthread_cond_signal(&file->work);
        pthread_mutex_unlock(&file->lock);
        pthread_join(file->thread, NULL);
    }
    if (file->fd != -1)
        close(file->fd);
    if (file->folder != -1)
        close(file->folder);
    buf_fini(&file->pending);
    pthread_cond_destroy(&file->work);
    pthread_cond_destroy(&file->done);
    pthread_mutex_destroy(&file->lock);
    mem_free(file);
}
