/* The writer thread's life, and the functions behind the arrows:
 *
 *   WRITING --write or sync fails (segment_lost)--> FAILING
 *   FAILING --journal_begin_segment() succeeds--> WRITING
 *
 * Invariant 1: in WRITING fd is open, every byte before `end` is durable and
 * published, and nothing behind `end` was ever reported as durable.
 * Invariant 2: in FAILING fd is -1, and `last`/`end` say where the journal
 * ends; the next segment's header repeats that.
 * Invariant 3: sequence numbers are never used twice. */
#include "spool/journal.h"
#include "base/log.h"
#include "spool/journal_internal.h"
#include "spool/recover.h"
#include "spool/spare.h"
#include <time.h>
#include <unistd.h>

enum {
    BATCH_ENTRIES = 4096,
    BATCH_BYTES = 16 << 20,
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
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

    if (journal_begin_segment(j, 0, &err)) {
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

/* --- The thread --------------------------------------------------------- */

static void
tell(struct journal *j, struct list *batch, const struct err *error)
{
    size_t count = batch->length;
    struct link *link;

    while ((link = list_pop_front(batch)) != NULL) {
        struct journal_entry *entry =
            CONTAINER_OF(link, struct journal_entry, link);

        if (error != NULL)
            journal_remove_body(j, entry);
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

    if (journal_write_batch(j, batch, &err)) {
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
    if (!journal_begin_segment(j, 0, err))
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
