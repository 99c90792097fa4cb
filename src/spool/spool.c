/* Opening and closing, limits, and the questions that cost no system call. */
#include "spool/spool.h"
#include "base/clock.h"
#include "spool/body.h"
#include "spool/journal.h"
#include "spool/keeper.h"
#include "spool/port.h"
#include "spool/segments.h"
#include "spool/spare.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ID_COUNTER_BITS = 16, LOCK_TRIES = 20 };

/* --- Directories -------------------------------------------------------- */

static int
open_dir(int parent, const char *name, struct err *err)
{
    int fd;

    if (mkdirat(parent, name, 0700) == -1 && errno != EEXIST) {
        err_sys(err, "create directory %s", name);
        return -1;
    }
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        err_sys(err, "open directory %s", name);
    return fd;
}

static bool
open_journal_dir(struct spool *spool, enum spool_journal journal,
                 struct err *err)
{
    int dir = open_dir(spool->dir, journal_name(journal), err);

    spool->journal_dir[journal] = dir;
    if (dir == -1)
        return false;
    spool->body_dir[journal] = open_dir(dir, "body", err);
    return spool->body_dir[journal] != -1;
}

/* The directories' own entries must survive a power failure like what is in
 * them. */
static bool
sync_dirs(const struct spool *spool, struct err *err)
{
    int parent = openat(spool->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = parent != -1 && fsync(parent) == 0 && fsync(spool->dir) == 0 &&
              fsync(spool->journal_dir[0]) == 0 &&
              fsync(spool->journal_dir[1]) == 0;

    if (!ok)
        err_sys(err, "sync directories");
    if (parent != -1)
        close(parent);
    return ok;
}

static bool
open_dirs(struct spool *spool, struct err *err)
{
    spool->dir = open_dir(AT_FDCWD, spool->path, err);
    if (spool->dir == -1 || !open_journal_dir(spool, SPOOL_INTAKE, err) ||
        !open_journal_dir(spool, SPOOL_LEDGER, err))
        return false;
    spool->keep_dir = open_dir(spool->dir, "keep", err);
    if (spool->keep_dir == -1)
        return false;
    spool->aside_dir = open_dir(spool->dir, "aside", err);
    return spool->aside_dir != -1 && sync_dirs(spool, err);
}

static void
close_fd(int fd)
{
    if (fd != -1)
        close(fd);
}

/* --- Open and close ----------------------------------------------------- */

static struct spool *
spool_new(const char *state_dir)
{
    struct spool *spool = mem_alloc(sizeof *spool);
    size_t n = strlen(state_dir) + sizeof "/spool";

    spool->path = mem_alloc(n);
    snprintf(spool->path, n, "%s/spool", state_dir);
    spool->dir = spool->keep_dir = spool->aside_dir = spool->lock = -1;
    for (size_t i = 0; i < 2; i++)
        spool->journal_dir[i] = spool->body_dir[i] = -1;
    block_pool_init(&spool->blocks);
    spool->segments = segment_table_new(spool);
    return spool;
}

void
spool_close(struct spool *spool)
{
    /* In the order in which a message passes through. */
    if (spool->bodies != NULL)
        body_pool_stop(spool->bodies);
    if (spool->journal != NULL)
        journal_stop(spool->journal);
    if (spool->keeper != NULL)
        keeper_stop(spool->keeper);
    if (spool->ports != NULL)
        port_list_free(spool->ports);
    segment_table_free(spool->segments);
    block_pool_fini(&spool->blocks);
    shared_close(&spool->shared);
    for (size_t i = 0; i < 2; i++) {
        close_fd(spool->body_dir[i]);
        close_fd(spool->journal_dir[i]);
    }
    close_fd(spool->keep_dir);
    close_fd(spool->aside_dir);
    if (spool->lock != -1) /* also where a child has inherited it */
        flock(spool->lock, LOCK_UN);
    close_fd(spool->lock);
    close_fd(spool->dir);
    mem_free(spool->path);
    mem_free(spool);
}

static struct spool *
open_common(const char *state_dir, struct err *err)
{
    struct spool *spool = spool_new(state_dir);

    if (open_dirs(spool, err) &&
        shared_open(&spool->shared, spool->dir,
                    &(struct shared_options){.create = true}, err))
        return spool;
    err_wrap(err, "spool %s", spool->path);
    spool_close(spool);
    return NULL;
}

struct spool *
spool_open_reader(const char *state_dir, struct err *err)
{
    return open_common(state_dir, err);
}

/* For a second: the process before may be about to end, and verify and dump
 * try the lock for a moment to see whether there is a writer. */
static bool
try_lock(int fd)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000000 / LOCK_TRIES}, NULL);
    }
    errno = EWOULDBLOCK;
    return false;
}

static bool
lock_journal(struct spool *spool, enum spool_journal journal, struct err *err)
{
    spool->lock = openat(spool->journal_dir[journal], "lock",
                         O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (spool->lock == -1) {
        err_sys(err, "open %s/lock", journal_name(journal));
        return false;
    }
    if (try_lock(spool->lock))
        return true;
    if (errno == EWOULDBLOCK)
        err_set(err, "another process writes the %s journal",
                journal_name(journal));
    else
        err_sys(err, "lock %s/lock", journal_name(journal));
    return false;
}

static void
flush_ports(void *arg)
{
    port_flush_all(arg);
}

/* Shared memory remembers where ids go on; should it be lost or old, the time
 * of the last record is a second that may have been used. */
static void
start_ids(struct spool *spool)
{
    int64_t written = journal_recovered_us(spool->journal) / 1000000;
    uint64_t floor = ((uint64_t)written + 1) << ID_COUNTER_BITS;
    _Atomic uint64_t *next = &spool->shared.file->next_id;
    uint64_t before = atomic_load(next);

    while (before < floor &&
           !atomic_compare_exchange_weak(next, &before, floor))
        ;
}

static bool
start_writing(struct spool *spool, enum spool_journal journal, struct err *err)
{
    struct journal_options options = {
        .journal = journal,
        .hold = journal == SPOOL_LEDGER,
        .on_batch = flush_ports,
    };

    if (!lock_journal(spool, journal, err))
        return false;
    spare_clean(spool, journal); /* nobody makes new ones yet */
    options.arg = spool->ports = port_list_new();
    spool->journal = journal_start(spool, &options, err);
    if (spool->journal == NULL)
        return false;
    start_ids(spool);
    spool->keeper = keeper_start(spool, journal, err);
    if (spool->keeper == NULL)
        return false;
    spool->bodies = body_pool_start(spool, journal, err);
    return spool->bodies != NULL;
}

static struct spool *
open_writer(const char *state_dir, enum spool_journal journal,
            const struct spool_settings *limits, struct err *err)
{
    struct spool *spool = open_common(state_dir, err);

    if (spool == NULL)
        return NULL;
    spool->writes = journal;
    spool_set_limits(spool, limits);
    if (start_writing(spool, journal, err))
        return spool;
    err_wrap(err, "spool %s", spool->path);
    spool_close(spool);
    return NULL;
}

struct spool *
spool_open_intake(const char *state_dir, const struct spool_settings *limits,
                  struct err *err)
{
    return open_writer(state_dir, SPOOL_INTAKE, limits, err);
}

struct spool *
spool_open_ledger(const char *state_dir, const struct spool_settings *limits,
                  struct err *err)
{
    return open_writer(state_dir, SPOOL_LEDGER, limits, err);
}

bool
spool_has_writer(const struct spool *spool, enum spool_journal journal)
{
    return spool->journal != NULL && spool->writes == journal;
}

/* --- Limits ------------------------------------------------------------- */

static uint64_t
bounded(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

void
spool_set_limits(struct spool *spool, const struct spool_settings *limits)
{
    struct spool_limits *own = &spool->limits;
    uint64_t segment =
        bounded(limits->segment_size, 16 * SEGMENT_START, SEGMENT_SIZE_MAX / 2);

    own->segment_size = segment & ~(uint64_t)(SEGMENT_BLOCK - 1);
    /* Several messages to a segment, or most of it would stay empty. */
    own->inline_limit = bounded(limits->inline_limit, 0, segment / 4);
    own->memory_limit = limits->memory_limit;
    own->min_free = limits->min_free;
    own->max_messages = limits->max_messages;
    own->max_bytes = limits->max_bytes;
    own->spare_segments = limits->spare_segments;
    if (spool->keeper != NULL)
        keeper_nudge(spool->keeper);
}

static const char *
why_not(const struct spool *spool, uint64_t bytes)
{
    const struct spool_limits *limits = &spool->limits;
    struct shared_file *file = spool->shared.file;
    uint64_t disk = keeper_free_bytes(spool->keeper);
    uint64_t max_bytes = limits->max_bytes;
    uint64_t queued = atomic_load(&file->queue_bytes);

    if (journal_failing(spool->journal))
        return "the spool cannot be written";
    if (disk < limits->min_free || disk - limits->min_free < bytes)
        return "disk space is low";
    if (limits->max_messages != 0 &&
        atomic_load(&file->queue_messages) >= limits->max_messages)
        return "the queue holds too many messages";
    if (max_bytes != 0 && (queued >= max_bytes || max_bytes - queued < bytes))
        return "the queue holds too many bytes";
    return NULL;
}

bool
spool_accepts(struct spool *spool, uint64_t bytes, const char **reason)
{
    *reason = why_not(spool, bytes);
    return *reason == NULL;
}

void
spool_publish_queue(struct spool *spool, uint64_t messages, uint64_t bytes)
{
    atomic_store(&spool->shared.file->queue_messages, messages);
    atomic_store(&spool->shared.file->queue_bytes, bytes);
}

/* --- Queue ids ---------------------------------------------------------- */

/* The number only grows: when the counter is full it runs over into the next
 * second, when the clock goes back it stays. */
static uint64_t
draw_id(struct spool *spool)
{
    uint64_t now = (uint64_t)clock_wall_s() << ID_COUNTER_BITS;
    _Atomic uint64_t *next = &spool->shared.file->next_id;
    uint64_t before = atomic_load(next);
    uint64_t id;

    do
        id = before > now ? before : now;
    while (!atomic_compare_exchange_weak(next, &before, id + 1));
    return id;
}

const char *
spool_make_id(struct spool *spool, char *out)
{
    uint64_t id = draw_id(spool);

    snprintf(out, SPOOL_ID_TEXT, "B%08" PRIx32 "%04x",
             (uint32_t)(id >> ID_COUNTER_BITS), (unsigned)(id & UINT16_MAX));
    return out;
}

/* --- Status ------------------------------------------------------------- */

static uint32_t
count_segments(const struct spool *spool, enum spool_journal journal)
{
    struct segment_list list;
    uint32_t count;

    if (!segment_list_read(spool->journal_dir[journal], &list, NULL))
        return 0;
    count = (uint32_t)list.count;
    segment_list_fini(&list);
    return count;
}

void
spool_status_get(struct spool *spool, struct spool_status *status)
{
    struct journal_counters counters = {0};

    if (spool->journal != NULL)
        journal_count(spool->journal, &counters);
    *status = (struct spool_status){
        .intake_durable = shared_sequence(&spool->shared, SPOOL_INTAKE),
        .ledger_durable = shared_sequence(&spool->shared, SPOOL_LEDGER),
        .intake_segments = count_segments(spool, SPOOL_INTAKE),
        .ledger_segments = count_segments(spool, SPOOL_LEDGER),
        .spare_segments = (uint32_t)(spare_count(spool, SPOOL_INTAKE) +
                                     spare_count(spool, SPOOL_LEDGER)),
        .free_bytes = disk_free_bytes(spool->dir),
        .queue_messages = atomic_load(&spool->shared.file->queue_messages),
        .queue_bytes = atomic_load(&spool->shared.file->queue_bytes),
        .commits = counters.commits,
        .batches = counters.batches,
        .failing = spool->journal != NULL && journal_failing(spool->journal),
    };
    memcpy(status->failure, counters.failure, sizeof status->failure);
}
