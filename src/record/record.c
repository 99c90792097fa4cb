#include "record/record_internal.h"

#include "base/log.h"
#include "record/counts.h"
#include "record/database.h"
#include "record/troubles.h"

enum { LOOK = 10000 }; /* ms between two looks at the database */
#define DATABASE_ALERT "record.database"
#define FILES_ALERT "tls_reports.files"

static int64_t
today(const struct record *record)
{
    return day_of(loop_wall_us(record->loop) / 1000000);
}

static void
alert(struct record *record, bool raised, const char *text)
{
    record->host->alert(record->host, DATABASE_ALERT, raised, text);
}

static void
tell_of_files(struct record *record)
{
    const char *trouble = record->world->trouble;
    bool raised = trouble[0] != '\0';

    record->host->alert(record->host, FILES_ALERT, raised,
                        raised ? trouble : "all can be used");
}

/* --- What comes from the ledger ------------------------------------------- */

static bool
on_session(void *owner, const struct ledger_session *session, struct err *err)
{
    struct record *record = owner;
    const struct tls_report_settings *settings =
        &record->world->settings->tls_reports;
    int64_t day = day_of(session->ended_us / 1000000);

    if (day < record->first_day) /* was counted, and told of */
        return true;
    if (settings->enabled && !counts_add(record->store, session, err))
        return false;
    record->late = record->late || day < today(record);
    return settings->failure_recipient_count == 0 ||
           !troubles_concern(session) ||
           troubles_add(record->store, session, err);
}

static void
on_committed(void *owner, bool caught_up)
{
    struct record *record = owner;

    if (record->late)
        dispatch_look_back(record->dispatch);
    record->late = false;
    if (caught_up)
        notices_kick(record->notices);
}

static bool
on_other_ledger(void *owner, struct err *err)
{
    struct record *record = owner;

    if (!database_begin_again(record->store, today(record), err))
        return false;
    record->first_day = today(record);
    return true;
}

static void
give_way(const struct record *record)
{
    const struct settings *settings = record->world->settings;

    tail_give_way(settings->state_dir, settings->spool.min_free);
}

static void
on_trouble(void *owner, const char *reason)
{
    alert(owner, reason != NULL, reason != NULL ? reason : "works again");
    if (reason != NULL)
        give_way(owner);
}

/* --- What dispatch asks ----------------------------------------------------
 */

static bool
is_counted(void *owner)
{
    struct record *record = owner;

    return tail_has_passed(record->tail, day_start(today(record)));
}

static void
on_step(void *owner, int64_t day, const char *domain)
{
    calls_step(owner, day, domain);
}

/* --- The database ----------------------------------------------------------
 */

static void
start_parts(struct record *record)
{
    const char *state_dir = record->world->settings->state_dir;
    const struct tail_calls tail_calls = {on_session, on_committed,
                                          on_other_ledger, on_trouble, record};
    const struct dispatch_owner owner = {is_counted, on_step, record};

    record->tail =
        tail_new(record->loop, state_dir, record->store, &tail_calls);
    record->dispatch =
        dispatch_new(record->loop, record->store, record->world, &owner);
    record->notices = notices_new(record->loop, record->store, record->world);
}

static void
stop_parts(struct record *record)
{
    notices_free(record->notices);
    dispatch_free(record->dispatch);
    tail_free(record->tail);
    store_close(record->store);
    record->notices = NULL;
    record->dispatch = NULL;
    record->tail = NULL;
    record->store = NULL;
}

static void
log_reset(void)
{
    log_event(NULL, LOG_ERROR, "record.reset",
              LOG_STR("reason", "record.db was damaged; it is kept as "
                                "record.db.damaged, and a new one begun"));
}

static bool
open_database(struct record *record, struct err *err)
{
    bool damaged;

    record->store = database_open(record->world->settings->state_dir,
                                  today(record), &damaged, err);
    if (record->store == NULL)
        return false;
    if (damaged)
        log_reset();
    if (database_first_day(record->store, &record->first_day, err))
        return true;
    store_close(record->store);
    record->store = NULL;
    return false;
}

static void
database_failed(struct record *record, const char *reason)
{
    log_event(NULL, LOG_ERROR, "record.database", LOG_STR("reason", reason));
    alert(record, true, reason);
    give_way(record);
}

static void
try_open(struct record *record)
{
    struct err err = {0};

    if (!open_database(record, &err)) {
        database_failed(record, err.text);
        return;
    }
    alert(record, false, "works again");
    start_parts(record);
}

/* What went wrong with it while it was open does not mend itself. */
static void
let_go(struct record *record, enum store_health health)
{
    const char *state_dir = record->world->settings->state_dir;
    struct err err = {0};

    calls_give_up(record, "the database is opened anew");
    stop_parts(record);
    if (health != STORE_DAMAGED)
        log_event(NULL, LOG_ERROR, "record.database",
                  LOG_STR("reason", "record.db was removed or fails again and "
                                    "again; it is opened anew"));
    else if (database_set_aside(state_dir, &err))
        log_reset();
    else
        database_failed(record, err.text);
}

static void
on_look(struct timer *timer)
{
    struct record *record = CONTAINER_OF(timer, struct record, timer);
    enum store_health health = STORE_SOUND;

    timer_arm(timer, LOOK);
    if (record->store != NULL)
        health = store_health(record->store);
    if (health != STORE_SOUND)
        let_go(record, health);
    if (record->store == NULL)
        try_open(record);
}

/* --- The service's steps ---------------------------------------------------
 */

struct record *
record_new(struct service_host *host, struct settings *settings,
           struct err *err)
{
    struct record *record = mem_alloc(sizeof *record);

    record->host = host;
    record->loop = host->loops[0];
    list_init(&record->waiters);
    timer_init(&record->timer, record->loop, on_look);
    record->world = world_new(record->loop, settings, err);
    if (record->world == NULL) {
        record_free(record);
        return NULL;
    }
    tell_of_files(record);
    timer_arm(&record->timer, 0);
    return record;
}

void
record_free(struct record *record)
{
    if (record == NULL)
        return;
    timer_fini(&record->timer);
    calls_give_up(record, "the controller ends");
    stop_parts(record);
    world_free(record->world);
    world_free(record->candidate);
    mem_free(record);
}

bool
record_prepare(struct record *record, struct settings *candidate,
               struct err *err)
{
    record->candidate = world_new(record->loop, candidate, err);
    return record->candidate != NULL;
}

void
record_commit(struct record *record)
{
    struct record_world *old = record->world;

    record->world = record->candidate;
    record->candidate = NULL;
    if (record->dispatch != NULL) {
        dispatch_set_world(record->dispatch, record->world);
        notices_set_world(record->notices, record->world);
    }
    tell_of_files(record);
    world_free(old);
}

void
record_abandon(struct record *record)
{
    world_free(record->candidate);
    record->candidate = NULL;
}
