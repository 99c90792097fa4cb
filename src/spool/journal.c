/* The writer thread's life, and the functions behind the arrows:
 *
 *   WRITING --write or sync fails (segment_lost)--> FAILING
 *   FAILING --segment_begin() succeeds--> WRITING
 *
 * Invariant 1: in WRITING fd is open, every byte before `end` is durable and
 * published, and nothing behind `end` was ever reported as durable.
 * Invariant 2: in FAILING fd is -1, and `last`/`end` say where the journal
 * ends; the next segment's header repeats that.
 * Invariant 3: sequence numbers are never used twice. */
#include "spool/journal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "spool/recover.h"
#include "spool/spare.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH_ENTRIES = 4096,
    BATCH_BYTES = 16 << 20,
    IOV_ENTRIES = 1024, /* IOV_MAX on Linux */
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
};

struct journal {
    struct spool *spool;
    struct journal_options options;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t more; /* entries, or stop */
    pthread_cond_t done; /* completed moved, or the journal began to fail */
    struct list queue;
    uint64_t appended, completed, last_failed; /* tickets */
    bool stop;
    struct err failure; /* why it fails, or failed last */

    _Atomic bool failing;
    _Atomic uint64_t commits, batches;
    _Atomic uint32_t segment; /* number being written */

    /* The writer thread's own: */
    int fd;
    struct segment_header header; /* of the segment being written, or last */
    uint64_t size, end;
    uint32_t last, next_number;
    uint64_t next_sequence, durable_sequence;
    unsigned retry_ms;
    uint64_t retry_at; /* FAILING: when to try again, monotonic ms */
    int64_t recovered_us;
    size_t iov_count;
    struct iovec iov[IOV_ENTRIES];
};

/* Real time also where tests have frozen the clocks. */
static uint64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- Segments ----------------------------------------------------------- */

static bool
segment_begin(struct journal *j, uint64_t need, struct err *err)
{
    struct segment_header header = {
        .journal = j->options.journal,
        .number = j->next_number++,
        .salt = random_u64() | 1, /* never 0 */
        .first_sequence = j->next_sequence,
        .previous = j->last,
        .previous_end = j->end,
        .created_us = clock_wall_us(),
    };
    uint64_t size = j->spool->limits.segment_size;
    uint64_t got;
    int fd;

    if (size < SEGMENT_START + need)
        size = SEGMENT_START + need;
    fd = segment_create(j->spool, &header, size, &got, err);
    if (fd == -1)
        return false;
    if (j->fd != -1)
        close(j->fd);
    j->fd = fd;
    j->header = header;
    j->size = got;
    j->last = header.number;
    j->end = SEGMENT_START;
    j->segment = header.number;
    shared_publish(&j->spool->shared, header.journal,
                   place_make(header.journal, header.number, SEGMENT_START),
                   j->durable_sequence);
    return true;
}

/* Nothing behind j->end in this segment is believed any more. */
static void
segment_lost(struct journal *j, const struct err *cause)
{
    close(j->fd);
    j->fd = -1;
    j->retry_ms = 0;
    j->retry_at = now_ms();
    pthread_mutex_lock(&j->lock);
    j->failure = *cause;
    j->failing = true;
    pthread_cond_broadcast(&j->done);
    pthread_mutex_unlock(&j->lock);
    log_event(NULL, LOG_ERROR, "spool.failing",
              LOG_STR("journal", journal_name(j->options.journal)),
              LOG_U64("segment", j->last), LOG_U64("offset", j->end),
              LOG_STR("reason", cause->text));
}

/* FAILING: tries to get on; the pause before the next try grows. */
static void
try_again(struct journal *j)
{
    struct err err = {0};

    if (segment_begin(j, 0, &err)) {
        j->failing = false;
        log_event(NULL, LOG_INFO, "spool.recovered",
                  LOG_STR("journal", journal_name(j->options.journal)),
                  LOG_U64("segment", j->last));
        return;
    }
    pthread_mutex_lock(&j->lock);
    j->failure = err;
    pthread_mutex_unlock(&j->lock);
    j->retry_ms = j->retry_ms == 0 ? RETRY_FIRST_MS : j->retry_ms * 2;
    if (j->retry_ms > RETRY_MAX_MS)
        j->retry_ms = RETRY_MAX_MS;
    j->retry_at = now_ms() + j->retry_ms;
}

/* --- Writing a batch ---------------------------------------------------- */

static bool
flush_iov(struct journal *j, uint64_t *at, struct err *err)
{
    struct iovec *iov = j->iov;
    size_t left = j->iov_count;

    j->iov_count = 0;
    while (left > 0) {
        ssize_t put = pwritev(j->fd, iov, (int)left, (off_t)*at);

        if (put == -1 && errno == EINTR)
            continue;
        if (put == -1) {
            err_sys(err, "write segment %" PRIu32, j->last);
            return false;
        }
        *at += (uint64_t)put;
        while (left > 0 && (size_t)put >= iov->iov_len) {
            put -= (ssize_t)iov->iov_len;
            iov++;
            left--;
        }
        if (left > 0) {
            iov->iov_base = (char *)iov->iov_base + put;
            iov->iov_len -= (size_t)put;
        }
    }
    return true;
}

static bool
add_iov(struct journal *j, const void *bytes, size_t n, uint64_t *at,
        struct err *err)
{
    if (n == 0)
        return true;
    if (j->iov_count == IOV_ENTRIES && !flush_iov(j, at, err))
        return false;
    j->iov[j->iov_count++] =
        (struct iovec){(void *)(uintptr_t)bytes, n}; /* only read */
    return true;
}

static bool
add_entry(struct journal *j, struct journal_entry *entry, uint64_t *at,
          struct err *err)
{
    static const char zeros[RECORD_ALIGN];
    const struct record *record = &entry->record;
    uint64_t bytes =
        RECORD_HEADER + record->head_length + record_inline_length(record);
    bool ok = add_iov(j, entry->raw, RECORD_HEADER, at, err) &&
              add_iov(j, entry->head.p, entry->head.n, at, err) &&
              add_iov(j, entry->text.p, entry->text.n, at, err);

    for (struct block *b = entry->content.first; ok && b != NULL; b = b->next)
        ok = add_iov(j, b->data, b->used, at, err);
    return ok &&
           add_iov(j, zeros, (size_t)(record_span(record) - bytes), at, err);
}

/* Gives a body file the name that belongs to the segment of its record. */
static bool
place_body(struct journal *j, struct journal_entry *entry, bool *renamed,
           struct err *err)
{
    int dir = j->spool->body_dir[j->options.journal];
    char from[BODY_NAME];
    char to[BODY_NAME];

    if (entry->record.body == 0 || entry->body_segment == j->last)
        return true;
    body_name(entry->body_segment, entry->record.body, from);
    body_name(j->last, entry->record.body, to);
    if (renameat(dir, from, dir, to) == -1) {
        err_sys(err, "rename body file %s", from);
        return false;
    }
    entry->body_segment = j->last;
    *renamed = true;
    return true;
}

static void
stamp_entry(struct journal *j, struct journal_entry *entry, uint64_t at,
            int64_t now)
{
    struct record *record = &entry->record;

    record->salt = j->header.salt;
    record->sequence = j->next_sequence++;
    record->wall_us = now;
    if (record->type == SPOOL_MESSAGE && record->id == 0)
        record->id = record->sequence |
                     (uint64_t)(j->options.journal == SPOOL_LEDGER) << 63;
    entry->place = place_make(j->options.journal, j->last, at);
    record_encode(record, entry->head, entry->raw);
}

static bool
write_batch(struct journal *j, struct list *batch, uint64_t *at,
            struct err *err)
{
    int64_t now = clock_wall_us();
    uint64_t next = *at;
    bool renamed = false;

    LIST_FOREACH (link, batch) {
        struct journal_entry *entry =
            CONTAINER_OF(link, struct journal_entry, link);

        stamp_entry(j, entry, next, now);
        next += record_span(&entry->record);
        if (!place_body(j, entry, &renamed, err) ||
            !add_entry(j, entry, at, err))
            return false;
    }
    if (renamed && fsync(j->spool->body_dir[j->options.journal]) == -1) {
        err_sys(err, "sync body directory");
        return false;
    }
    return flush_iov(j, at, err);
}

static uint64_t
batch_bytes(const struct list *batch)
{
    uint64_t bytes = 0;

    LIST_FOREACH (link, batch) {
        const struct journal_entry *entry =
            CONTAINER_OF(link, struct journal_entry, link);

        bytes += record_span(&entry->record);
    }
    return bytes;
}

/* Writes and syncs; on success the end has moved and is published. */
static bool
commit_batch(struct journal *j, struct list *batch, struct err *err)
{
    uint64_t need = batch_bytes(batch);
    uint64_t at;

    j->iov_count = 0;
    if (need > j->size - j->end && !segment_begin(j, need, err))
        return false;
    at = j->end;
    if (!write_batch(j, batch, &at, err))
        return false;
    if (fdatasync(j->fd) == -1) {
        err_sys(err, "sync segment %" PRIu32, j->last);
        return false;
    }
    j->end = at;
    j->durable_sequence = j->next_sequence - 1;
    atomic_fetch_add(&j->commits, batch->length);
    atomic_fetch_add(&j->batches, 1);
    shared_publish(&j->spool->shared, j->options.journal,
                   place_make(j->options.journal, j->last, at),
                   j->durable_sequence);
    return true;
}

/* --- The thread --------------------------------------------------------- */

static void
remove_body(struct journal *j, const struct journal_entry *entry)
{
    char name[BODY_NAME];

    if (entry->record.body != 0)
        unlinkat(j->spool->body_dir[j->options.journal],
                 body_name(entry->body_segment, entry->record.body, name), 0);
}

static void
tell(struct journal *j, struct list *batch, const struct err *error)
{
    size_t count = batch->length;
    struct link *link;

    while ((link = list_pop_front(batch)) != NULL) {
        struct journal_entry *entry =
            CONTAINER_OF(link, struct journal_entry, link);

        if (error != NULL)
            remove_body(j, entry);
        entry->on_written(entry, error);
    }
    if (j->options.on_batch != NULL)
        j->options.on_batch(j->options.arg);
    pthread_mutex_lock(&j->lock);
    j->completed += count;
    if (error != NULL)
        j->last_failed = j->completed;
    pthread_cond_broadcast(&j->done);
    pthread_mutex_unlock(&j->lock);
}

/* Waits for entries; in FAILING no longer than until the next try. */
static void
wait_more(struct journal *j)
{
    struct timespec until = {
        .tv_sec = (time_t)(j->retry_at / 1000),
        .tv_nsec = (long)(j->retry_at % 1000) * 1000000,
    };

    if (j->fd != -1)
        pthread_cond_wait(&j->more, &j->lock);
    else
        pthread_cond_timedwait(&j->more, &j->lock, &until);
}

/* Moves to batch what fits the segment (one entry at least), and to dropped
 * what nobody wants any more. */
static void
take_entries(struct journal *j, struct list *batch, struct list *dropped)
{
    uint64_t room = j->fd == -1 ? BATCH_BYTES : j->size - j->end;
    uint64_t bytes = 0;

    while (!list_empty(&j->queue) && batch->length < BATCH_ENTRIES) {
        struct journal_entry *entry =
            CONTAINER_OF(list_first(&j->queue), struct journal_entry, link);
        uint64_t span = record_span(&entry->record);

        if (bytes > 0 && (bytes + span > room || bytes + span > BATCH_BYTES))
            break;
        list_remove(&j->queue, &entry->link);
        list_push_back(entry->dropped ? dropped : batch, &entry->link);
        bytes += entry->dropped ? 0 : span;
    }
}

/* False: stopped, and nothing is left to do. */
static bool
gather(struct journal *j, struct list *batch, struct list *dropped)
{
    bool hold = j->fd == -1 && j->options.hold;
    bool more;

    pthread_mutex_lock(&j->lock);
    if ((list_empty(&j->queue) || hold) && !j->stop)
        wait_more(j);
    /* What is held stays in the queue until there is a segment. */
    if (!hold || j->stop)
        take_entries(j, batch, dropped);
    more = !j->stop || !list_empty(batch) || !list_empty(dropped);
    pthread_mutex_unlock(&j->lock);
    return more;
}

static void
hold_batch(struct journal *j, struct list *batch)
{
    pthread_mutex_lock(&j->lock);
    list_join(batch, &j->queue);
    list_join(&j->queue, batch);
    pthread_mutex_unlock(&j->lock);
}

static bool
stopping(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    bool stop = j->stop;
    pthread_mutex_unlock(&j->lock);
    return stop;
}

static void
refuse(struct journal *j, struct list *batch)
{
    struct err err;

    pthread_mutex_lock(&j->lock);
    err = j->failure;
    pthread_mutex_unlock(&j->lock);
    tell(j, batch, &err);
}

static void
commit_or_fail(struct journal *j, struct list *batch)
{
    struct err err = {0};

    if (commit_batch(j, batch, &err)) {
        tell(j, batch, NULL);
        return;
    }
    segment_lost(j, &err);
    if (j->options.hold && !stopping(j))
        hold_batch(j, batch);
    else
        tell(j, batch, &err);
}

static void *
journal_run(void *arg)
{
    struct journal *j = arg;
    struct list batch;
    struct list dropped;

    list_init(&batch);
    list_init(&dropped);
    while (gather(j, &batch, &dropped)) {
        struct err gone;

        if (!list_empty(&dropped)) {
            err_set(&gone, "the message was dropped");
            tell(j, &dropped, &gone);
        }
        if (j->fd == -1 && now_ms() >= j->retry_at)
            try_again(j);
        if (list_empty(&batch))
            continue;
        if (j->fd == -1)
            refuse(j, &batch);
        else
            commit_or_fail(j, &batch);
    }
    return NULL;
}

/* --- From other threads ------------------------------------------------- */

void
journal_append(struct journal *j, struct journal_entry *entry)
{
    bool first;

    entry->record.head_length = (uint32_t)entry->head.n;
    pthread_mutex_lock(&j->lock);
    first = list_empty(&j->queue);
    list_push_back(&j->queue, &entry->link);
    j->appended++;
    if (first)
        pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
}

bool
journal_wait(struct journal *j, struct err *err)
{
    bool ok;

    pthread_mutex_lock(&j->lock);
    uint64_t until = j->appended;
    uint64_t from = j->completed;
    while (j->completed < until && !j->failing)
        pthread_cond_wait(&j->done, &j->lock);
    ok = j->completed >= until && j->last_failed <= from;
    if (!ok)
        err_set(err, "%s", j->failure.text);
    pthread_mutex_unlock(&j->lock);
    return ok;
}

bool
journal_failing(const struct journal *j)
{
    return j->failing;
}

void
journal_count(struct journal *j, struct journal_counters *counters)
{
    counters->commits = j->commits;
    counters->batches = j->batches;
    pthread_mutex_lock(&j->lock);
    snprintf(counters->failure, sizeof counters->failure, "%.*s",
             (int)sizeof counters->failure - 1,
             j->failing ? j->failure.text : "");
    pthread_mutex_unlock(&j->lock);
}

uint32_t
journal_segment(const struct journal *j)
{
    return j->segment;
}

int64_t
journal_recovered_us(const struct journal *j)
{
    return j->recovered_us;
}

/* --- Start and stop ----------------------------------------------------- */

static void
journal_free(struct journal *j)
{
    if (j->fd != -1)
        close(j->fd);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->more);
    pthread_cond_destroy(&j->done);
    mem_free(j);
}

static struct journal *
journal_new(struct spool *spool, const struct journal_options *options)
{
    struct journal *j = mem_alloc(sizeof *j);
    pthread_condattr_t monotonic;

    j->spool = spool;
    j->options = *options;
    j->fd = -1;
    list_init(&j->queue);
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&j->more, &monotonic);
    pthread_cond_init(&j->done, NULL);
    pthread_condattr_destroy(&monotonic);
    return j;
}

static bool
begin(struct journal *j, struct err *err)
{
    struct recovered found;

    if (!recover_journal(j->spool, j->options.journal, &found, err))
        return false;
    j->last = found.last;
    j->end = found.end;
    j->next_number = found.highest + 1;
    j->next_sequence = found.next_sequence;
    j->durable_sequence = found.next_sequence - 1;
    j->recovered_us = found.wall_us;
    if (!segment_begin(j, 0, err))
        return false;
    /* A start that nothing was written after leaves no segment behind. */
    if (found.empty != 0 &&
        !spare_recycle(j->spool, j->options.journal, found.empty, NULL))
        log_event(NULL, LOG_WARNING, "spool.recycle",
                  LOG_U64("segment", found.empty));
    return true;
}

struct journal *
journal_start(struct spool *spool, const struct journal_options *options,
              struct err *err)
{
    struct journal *j = journal_new(spool, options);
    int code;

    if (!begin(j, err)) {
        err_wrap(err, "%s journal", journal_name(options->journal));
        journal_free(j);
        return NULL;
    }
    code = pthread_create(&j->thread, NULL, journal_run, j);
    if (code != 0) {
        err_code(err, code, "start the journal's thread");
        journal_free(j);
        return NULL;
    }
    return j;
}

void
journal_stop(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    journal_free(j);
}
