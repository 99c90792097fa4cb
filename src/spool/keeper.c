#include "spool/keeper.h"
#include "base/log.h"
#include "spool/body.h"
#include "spool/segments.h"
#include "spool/spare.h"
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_S = 1 };

struct keeper {
    struct spool *spool;
    enum spool_journal journal;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Atomic bool stop;
    bool nudged;
    bool spare_failed; /* logged once, until one succeeds */
    struct buf drops;  /* places (8 bytes each) whose bodies may go */
    _Atomic uint64_t free_bytes;
    _Atomic size_t spares;
};

uint64_t
disk_free_bytes(int dir)
{
    struct statvfs disk;

    if (fstatvfs(dir, &disk) == -1)
        return 0;
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* An empty file takes the body's place until the segment goes: it tells that
 * the body was given back and not lost. */
static void
empty_body(struct spool *spool, enum spool_journal journal, const char *name)
{
    int dir = spool->body_dir[journal];
    char empty[BODY_NAME];
    uint64_t number = body_number_new();
    int fd;

    if (faccessat(dir, name, F_OK, 0) == -1)
        return;
    fd = body_create(spool, journal, number, NULL);
    if (fd == -1)
        return; /* nothing is lost but room, until the segment goes */
    close(fd);
    body_name(0, number, empty);
    if (renameat(dir, empty, dir, name) == -1)
        unlinkat(dir, empty, 0);
}

static void
drop_body(struct spool *spool, struct spool_place place)
{
    enum spool_journal journal = spool_place_journal(place);
    unsigned char raw[RECORD_HEADER];
    char name[BODY_NAME];
    struct record record;
    struct segment_ref *ref =
        segment_get(spool->segments, journal, spool_place_segment(place), NULL);

    if (ref == NULL)
        return; /* reclaimed meanwhile, and its bodies with it */
    if (read_fully(ref->fd, raw, sizeof raw, spool_place_offset(place)) ==
            RECORD_HEADER &&
        record_decode(raw, ref->header.salt, &record) && record.body != 0)
        empty_body(spool, journal,
                   body_name(ref->header.number, record.body, name));
    segment_put(spool->segments, ref);
}

static void
drop_bodies(struct keeper *keeper)
{
    struct buf drops;

    pthread_mutex_lock(&keeper->lock);
    drops = keeper->drops;
    keeper->drops = (struct buf){0};
    pthread_mutex_unlock(&keeper->lock);

    struct sv left = buf_view(&drops);
    while (left.n > 0) {
        struct spool_place place;

        memcpy(&place, left.p, sizeof place);
        left = sv_from(left, sizeof place);
        drop_body(keeper->spool, place);
    }
    buf_fini(&drops);
}

static size_t
count_spares(struct keeper *keeper)
{
    keeper->spares = spare_count(keeper->spool, keeper->journal);
    return keeper->spares;
}

static void
prepare_spares(struct keeper *keeper)
{
    struct spool *spool = keeper->spool;
    struct err err = {0};

    while (!keeper->stop &&
           count_spares(keeper) < spool->limits.spare_segments) {
        keeper->free_bytes = disk_free_bytes(spool->dir);
        if (keeper->free_bytes <
            spool->limits.min_free + spool->limits.segment_size)
            return;
        if (!spare_prepare(spool, keeper->journal, &keeper->stop, &err)) {
            if (!keeper->spare_failed && !keeper->stop)
                log_event(NULL, LOG_WARNING, "spool.spare",
                          LOG_STR("journal", journal_name(keeper->journal)),
                          LOG_STR("reason", err.text));
            keeper->spare_failed = true;
            return;
        }
        keeper->spare_failed = false;
    }
}

static void
sleep_a_period(struct keeper *keeper)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PERIOD_S;
    pthread_mutex_lock(&keeper->lock);
    if (!keeper->stop && !keeper->nudged && buf_length(&keeper->drops) == 0)
        pthread_cond_timedwait(&keeper->wake, &keeper->lock, &until);
    keeper->nudged = false;
    pthread_mutex_unlock(&keeper->lock);
}

static void *
keeper_run(void *arg)
{
    struct keeper *keeper = arg;

    while (!keeper->stop) {
        keeper->free_bytes = disk_free_bytes(keeper->spool->dir);
        drop_bodies(keeper);
        prepare_spares(keeper);
        sleep_a_period(keeper);
    }
    drop_bodies(keeper);
    return NULL;
}

static void
keeper_free(struct keeper *keeper)
{
    pthread_mutex_destroy(&keeper->lock);
    pthread_cond_destroy(&keeper->wake);
    buf_fini(&keeper->drops);
    mem_free(keeper);
}

struct keeper *
keeper_start(struct spool *spool, enum spool_journal journal, struct err *err)
{
    struct keeper *keeper = mem_alloc(sizeof *keeper);
    pthread_condattr_t monotonic;
    int code;

    keeper->spool = spool;
    keeper->journal = journal;
    keeper->free_bytes = disk_free_bytes(spool->dir);
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    code = pthread_create(&keeper->thread, NULL, keeper_run, keeper);
    if (code == 0)
        return keeper;
    err_code(err, code, "start the spool's keeper thread");
    keeper_free(keeper);
    return NULL;
}

void
keeper_stop(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->stop = true;
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    keeper_free(keeper);
}

void
keeper_nudge(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->nudged = true;
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->lock);
}

void
keeper_drop_body(struct keeper *keeper, struct spool_place place)
{
    pthread_mutex_lock(&keeper->lock);
    buf_add(&keeper->drops, (struct sv){(const char *)&place, sizeof place});
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->lock);
}

uint64_t
keeper_free_bytes(const struct keeper *keeper)
{
    return keeper->free_bytes;
}

void
keeper_switched(struct keeper *keeper)
{
    if (keeper == NULL)
        return;
    keeper->spares = 0;
    keeper_nudge(keeper);
}

size_t
keeper_spares(const struct keeper *keeper)
{
    return keeper == NULL ? 0 : keeper->spares;
}
