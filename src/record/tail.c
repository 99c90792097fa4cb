#include "record/tail.h"

#include "base/log.h"
#include "record/database.h"
#include "spool/spool.h"

enum {
    PACE = 200,     /* ms between two transactions where work is at hand */
    RETRY = 1000,   /* ms until the spool is looked for again */
    RECOVER = 5000, /* ms until a database that failed is tried again */
    BATCH = 2000,   /* records of a transaction */
};
#define KEEPER_NAME "record"

struct tail {
    struct loop *loop;
    char *state_dir; /* owned */
    struct store *store;
    struct tail_calls calls;
    struct spool *spool;           /* NULL: not there yet */
    struct spool_watcher *watcher; /* with the spool */
    struct spool_reader *reader;   /* NULL: to be opened at the position */
    struct timer timer;
    uint64_t next;  /* sequence that is read next; of the open transaction */
    int64_t read_s; /* when the last record that was read had been written */
    bool caught_up, troubled;
};

/* --- The spool ------------------------------------------------------------ */

static void
on_more(void *arg)
{
    struct tail *tail = arg;

    tail->caught_up = false;
    if (!timer_armed(&tail->timer))
        timer_arm(&tail->timer, PACE);
}

static bool
open_spool(struct tail *tail, struct err *err)
{
    if (tail->spool != NULL)
        return true;
    tail->spool = spool_open_reader(tail->state_dir, err);
    if (tail->spool == NULL)
        return false;
    tail->watcher = spool_watch(tail->spool, tail->loop, on_more, tail, err);
    if (tail->watcher != NULL)
        return true;
    spool_close(tail->spool);
    tail->spool = NULL;
    return false;
}

/* What we still need begins at `next`; of the intake journal nothing. */
static bool
keep_from(struct tail *tail, uint64_t next, struct err *err)
{
    return spool_reader_keep(tail->spool, KEEPER_NAME, UINT64_MAX, next, err);
}

static uint64_t
newest(const struct tail *tail)
{
    struct spool_status status;

    spool_status_get(tail->spool, &status);
    return status.ledger_durable;
}

/* An empty ledger does not tell whether it is the one that was read before:
 * perhaps its writer is not done with looking it over. */
static bool
is_known(struct tail *tail)
{
    uint64_t next;

    return tail->reader != NULL ||
           !database_position(tail->store, &next, NULL) || next <= 1 ||
           newest(tail) > 0;
}

/* The spool was made anew, or restored from a copy: what comes now would be
 * passed over until the old number is reached. */
static bool
check_position(struct tail *tail, struct err *err)
{
    uint64_t last = newest(tail);

    if (tail->next <= last + 1)
        return true;
    log_event(NULL, LOG_WARNING, "record.other_ledger",
              LOG_U64("position", tail->next), LOG_U64("newest", last));
    return tail->calls.on_other_ledger(tail->calls.owner, err) &&
           database_position(tail->store, &tail->next, err);
}

/* Registered before anything is read, so nothing goes meanwhile. */
static bool
open_reader(struct tail *tail, struct err *err)
{
    if (tail->reader != NULL)
        return true;
    if (!database_position(tail->store, &tail->next, err) ||
        !check_position(tail, err) || !keep_from(tail, tail->next, err))
        return false;
    tail->reader = spool_reader_new(tail->spool, SPOOL_LEDGER, tail->next, err);
    return tail->reader != NULL;
}

static void
close_reader(struct tail *tail)
{
    spool_reader_free(tail->reader);
    tail->reader = NULL;
}

/* --- Reading -------------------------------------------------------------- */

/* A session that cannot be understood is told and passed over: it would be no
 * better at the next start. */
static bool
take_record(struct tail *tail, const struct spool_record *record,
            struct err *err)
{
    struct ledger_session session;
    struct err why = {0};

    tail->next = record->sequence + 1;
    tail->read_s = record->wall_us / 1000000;
    if (record->type != SPOOL_SESSION)
        return true;
    if (ledger_session_decode(record->head, &session, &why))
        return tail->calls.on_session(tail->calls.owner, &session, err);
    log_event(NULL, LOG_ERROR, "record.damaged",
              LOG_U64("sequence", record->sequence),
              LOG_STR("reason", why.text));
    return true;
}

/* Up to a batch of records; *more: it was cut off by its size. */
static bool
read_batch(struct tail *tail, bool *more, struct err *err)
{
    struct spool_record record;
    struct err why = {0};

    for (int i = 0; i < BATCH; i++) {
        switch (spool_reader_next(tail->reader, &record, &why)) {
        case SPOOL_RECORD:
            if (!take_record(tail, &record, err))
                return false;
            break;
        case SPOOL_DAMAGED:
            log_event(NULL, LOG_ERROR, "record.damaged",
                      LOG_STR("reason", why.text));
            break;
        case SPOOL_FAILED:
            *err = why;
            return false;
        case SPOOL_END:
            *more = false;
            return true;
        }
    }
    *more = true;
    return true;
}

static bool
commit_batch(struct tail *tail, bool *more, struct err *err)
{
    uint64_t before = tail->next;

    if (!store_begin(tail->store, err))
        return false;
    if (!read_batch(tail, more, err)) {
        store_rollback(tail->store);
        return false;
    }
    if (tail->next == before) {
        store_rollback(tail->store);
        return true;
    }
    if (!database_set_position(tail->store, tail->next, err)) {
        store_rollback(tail->store);
        return false;
    }
    return store_commit(tail->store, err);
}

/* --- Pace ----------------------------------------------------------------- */

/* The reader stands behind what was rolled back: it is opened anew. */
static void
give_up_batch(struct tail *tail, const struct err *err)
{
    close_reader(tail);
    tail->caught_up = false;
    tail->read_s = 0;
    tail->troubled = true;
    tail->calls.on_trouble(tail->calls.owner, err->text);
    timer_arm(&tail->timer, RECOVER);
}

static void
finish_batch(struct tail *tail, bool more)
{
    struct err err = {0};

    if (tail->troubled)
        tail->calls.on_trouble(tail->calls.owner, NULL);
    tail->troubled = false;
    /* An older number there only keeps more. */
    if (!keep_from(tail, tail->next, &err))
        log_event(NULL, LOG_WARNING, "record.keep",
                  LOG_STR("reason", err.text));
    tail->caught_up = !more;
    if (more)
        timer_arm(&tail->timer, PACE);
    tail->calls.on_committed(tail->calls.owner, !more);
}

static void
on_timer(struct timer *timer)
{
    struct tail *tail = CONTAINER_OF(timer, struct tail, timer);
    struct err err = {0};
    bool more = false;

    if (!open_spool(tail, &err) || !is_known(tail)) /* the sender comes yet */
        timer_arm(timer, RETRY);
    else if (!open_reader(tail, &err) || !commit_batch(tail, &more, &err))
        give_up_batch(tail, &err);
    else
        finish_batch(tail, more);
}

void
tail_give_way(const char *state_dir, uint64_t min_free)
{
    struct err err;
    struct spool *spool = spool_open_reader(state_dir, &err);
    struct spool_status status;

    if (spool == NULL)
        return;
    spool_status_get(spool, &status);
    if (status.free_bytes < 2 * min_free &&
        spool_reader_keep(spool, KEEPER_NAME, UINT64_MAX, UINT64_MAX, &err))
        log_event(NULL, LOG_WARNING, "record.give_way",
                  LOG_U64("free", status.free_bytes));
    spool_close(spool);
}

struct tail *
tail_new(struct loop *loop, const char *state_dir, struct store *store,
         const struct tail_calls *calls)
{
    struct tail *tail = mem_alloc(sizeof *tail);

    tail->loop = loop;
    tail->state_dir = mem_strdup(state_dir);
    tail->store = store;
    tail->calls = *calls;
    timer_init(&tail->timer, loop, on_timer);
    timer_arm(&tail->timer, 0);
    return tail;
}

void
tail_free(struct tail *tail)
{
    if (tail == NULL)
        return;
    timer_fini(&tail->timer);
    close_reader(tail);
    spool_watch_free(tail->watcher);
    if (tail->spool != NULL)
        spool_close(tail->spool);
    mem_free(tail->state_dir);
    mem_free(tail);
}

/* Under load something is always left, so that alone is not waited for. */
bool
tail_has_passed(const struct tail *tail, int64_t moment)
{
    return tail->caught_up || tail->read_s >= moment;
}
