#include "record/report_table.h"

#include "base/buf.h"
#include "base/random.h"
#include "record/database.h"
#include <inttypes.h>

enum {
    SETTLE = 60,        /* s after midnight until all sessions are counted */
    SOON = 300,         /* s within which a late report goes */
    BACK_OFF = 300,     /* s after the first failure */
    BACK_OFF_MAX = 7200 /* s */
};

/* --- Planning ------------------------------------------------------------- */

static int64_t
choose_due(const struct report_plan *plan, int64_t day)
{
    uint32_t soon = plan->spread_s < SOON ? plan->spread_s : SOON;
    int64_t due = day_start(day + 1) + random_below(plan->spread_s + 1) +
                  (plan->spread_s > SETTLE ? SETTLE : 0);

    return due >= plan->now ? due : plan->now + random_below(soon + 1);
}

static bool
plan_one(struct store *store, const struct report_plan *plan, int64_t day,
         const char *domain, struct err *err)
{
    char id[320];

    snprintf(id, sizeof id, "%" PRId64 ".%016" PRIx64 "@%s", day_start(day),
             random_u64(), plan->submitter);
    return STORE_RUN(store, err,
                     "insert into tls_reports (day, domain, state, report_id,"
                     " due, first_try, tries, error, content, ended)"
                     " values ($1, $2, $3, $4, $5, 0, 0, '', '', 0)",
                     STORE_I64(day), STORE_TEXT(domain),
                     STORE_TEXT(REPORT_PLANNED), STORE_TEXT(id),
                     STORE_I64(choose_due(plan, day)));
}

struct unplanned {
    int64_t day;
    const char *domain;
};

/* Read whole before anything is inserted. */
static size_t
find_unplanned(struct store *store, int64_t today, struct arena *arena,
               struct unplanned *rows, size_t room)
{
    struct store_query *query = STORE_QUERY(
        store,
        "select distinct p.day, p.domain from tls_policies p"
        " where p.day < $1 and not exists (select 1 from tls_reports r"
        "  where r.day = p.day and r.domain = p.domain)"
        " order by p.day, p.domain limit $2",
        STORE_I64(today), STORE_I64(room));
    size_t count = 0;

    while (count < room && store_next(query))
        rows[count++] = (struct unplanned){
            store_i64(query, 0), arena_cstr(arena, store_text(query, 1))};
    return store_end(query, NULL) ? count : 0;
}

static bool
plan_rows(struct store *store, const struct report_plan *plan,
          const struct unplanned *rows, size_t count, struct err *err)
{
    if (!store_begin(store, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!plan_one(store, plan, rows[i].day, rows[i].domain, err)) {
            store_rollback(store);
            return false;
        }
    return store_commit(store, err);
}

bool
report_table_plan(struct store *store, const struct report_plan *plan,
                  struct err *err)
{
    enum { AT_ONCE = 500 };
    struct unplanned rows[AT_ONCE];
    struct arena arena;
    size_t count;
    bool ok = true;

    arena_init(&arena, 16384);
    do {
        arena_reset(&arena);
        count = find_unplanned(store, plan->today, &arena, rows, AT_ONCE);
        if (count > 0)
            ok = plan_rows(store, plan, rows, count, err);
    } while (ok && count == AT_ONCE);
    arena_fini(&arena);
    return ok;
}

uint32_t
report_back_off(int64_t tries, uint64_t retry_s)
{
    uint64_t wait = retry_s / 12 < BACK_OFF ? retry_s / 12 + 1 : BACK_OFF;

    while (--tries > 0 && wait < BACK_OFF_MAX)
        wait *= 2;
    if (wait > BACK_OFF_MAX)
        wait = BACK_OFF_MAX;
    return (uint32_t)wait + random_below((uint32_t)wait / 4 + 1);
}

/* --- Reading -------------------------------------------------------------- */

#define REPORT_COLUMNS                                                         \
    "r.day, r.domain, r.state, r.report_id, r.content, r.error, r.due,"        \
    " r.first_try, r.tries"
enum { REPORT_COLUMN_COUNT = 9 };

static struct report_row
take_report(struct store_query *query, struct arena *arena)
{
    return (struct report_row){
        .day = store_i64(query, 0),
        .domain = arena_cstr(arena, store_text(query, 1)),
        .state = arena_cstr(arena, store_text(query, 2)),
        .report_id = arena_cstr(arena, store_text(query, 3)),
        .content = arena_cstr(arena, store_text(query, 4)),
        .error = arena_cstr(arena, store_text(query, 5)),
        .due = store_i64(query, 6),
        .first_try = store_i64(query, 7),
        .tries = store_i64(query, 8),
    };
}

static struct target_row
take_target(struct store_query *query, struct arena *arena)
{
    const int at = REPORT_COLUMN_COUNT;

    return (struct target_row){
        .report = take_report(query, arena),
        .uri = arena_cstr(arena, store_text(query, at)),
        .state = arena_cstr(arena, store_text(query, at + 1)),
        .answer = arena_cstr(arena, store_text(query, at + 2)),
        .due = store_i64(query, at + 3),
        .tries = store_i64(query, at + 4),
    };
}

size_t
report_table_due(struct store *store, int64_t now, struct arena *arena,
                 struct report_row *rows, size_t room)
{
    struct store_query *query = STORE_QUERY(
        store,
        "select " REPORT_COLUMNS " from tls_reports r"
        " where r.state = $1 and r.due <= $2 order by r.due limit $3",
        STORE_TEXT(REPORT_PLANNED), STORE_I64(now), STORE_I64(room));
    size_t count = 0;

    while (count < room && store_next(query))
        rows[count++] = take_report(query, arena);
    return store_end(query, NULL) ? count : 0;
}

#define TARGET_SELECT                                                          \
    "select " REPORT_COLUMNS ", t.uri, t.state, t.answer, t.due, t.tries"      \
    " from tls_report_targets t join tls_reports r"                            \
    " on r.day = t.day and r.domain = t.domain "

static size_t
take_targets(struct store_query *query, struct arena *arena,
             struct target_row *rows, size_t room)
{
    size_t count = 0;

    while (count < room && store_next(query))
        rows[count++] = take_target(query, arena);
    return store_end(query, NULL) ? count : 0;
}

size_t
report_table_due_targets(struct store *store, int64_t now, struct arena *arena,
                         struct target_row *rows, size_t room)
{
    return take_targets(
        STORE_QUERY(store,
                    TARGET_SELECT "where r.state = $1 and t.state = $2"
                                  " and t.due <= $3 order by t.due limit $4",
                    STORE_TEXT(REPORT_SENDING), STORE_TEXT(TARGET_WAITING),
                    STORE_I64(now), STORE_I64(room)),
        arena, rows, room);
}

size_t
report_table_targets(struct store *store, int64_t day, const char *domain,
                     struct arena *arena, struct target_row *rows, size_t room)
{
    return take_targets(STORE_QUERY(store,
                                    TARGET_SELECT
                                    "where t.day = $1 and t.domain = $2"
                                    " order by t.uri",
                                    STORE_I64(day), STORE_TEXT(domain)),
                        arena, rows, room);
}

bool
report_table_get(struct store *store, int64_t day, const char *domain,
                 struct arena *arena, struct report_row *row)
{
    struct store_query *query =
        STORE_QUERY(store,
                    "select " REPORT_COLUMNS " from tls_reports r"
                    " where r.day = $1 and r.domain = $2",
                    STORE_I64(day), STORE_TEXT(domain));
    bool found = store_next(query);

    if (found)
        *row = take_report(query, arena);
    return store_end(query, NULL) && found;
}

/* --- Steps ---------------------------------------------------------------- */

/* What the caller begins, one of these ends. */
static bool
finish(struct store *store, bool ok, struct err *err)
{
    if (ok)
        return store_commit(store, err);
    store_rollback(store);
    return false;
}

static bool
add_targets(struct store *store, const struct report_row *row, int64_t now,
            const struct tlsrpt_record *record, struct err *err)
{
    for (size_t i = 0; i < record->target_count; i++)
        if (!STORE_RUN(store, err,
                       "insert into tls_report_targets (day, domain, uri,"
                       " state, due, tries, answer, ended)"
                       " values ($1, $2, $3, $4, $5, 0, '', 0)"
                       " on conflict (day, domain, uri) do nothing",
                       STORE_I64(row->day), STORE_TEXT(row->domain),
                       STORE_TEXT(record->targets[i].uri),
                       STORE_TEXT(TARGET_WAITING), STORE_I64(now)))
            return false;
    return true;
}

static bool
start_sending(struct store *store, const struct report_row *row, int64_t now,
              const char *content, struct err *err)
{
    return STORE_RUN(store, err,
                     "update tls_reports set state = $3, content = $4,"
                     " error = '', tries = tries + 1, first_try ="
                     " case first_try when 0 then $5 else first_try end"
                     " where day = $1 and domain = $2",
                     STORE_I64(row->day), STORE_TEXT(row->domain),
                     STORE_TEXT(REPORT_SENDING), STORE_TEXT(content),
                     STORE_I64(now));
}

bool
report_table_start(struct store *store, const struct report_row *row,
                   int64_t now, const char *content,
                   const struct tlsrpt_record *record, struct err *err)
{
    bool ok;

    if (!store_begin(store, err))
        return false;
    ok = start_sending(store, row, now, content, err);
    if (ok && store_changes(store) > 0)
        ok = add_targets(store, row, now, record, err);
    return finish(store, ok, err);
}

bool
report_table_note(struct store *store, const struct report_row *row,
                  const char *state, const char *error, int64_t now,
                  int64_t due, struct err *err)
{
    bool planned = strcmp(state, REPORT_PLANNED) == 0;

    return STORE_RUN(store, err,
                     "update tls_reports set state = $3, error = $4, due = $5,"
                     " ended = $6, tries = tries + 1, first_try ="
                     " case first_try when 0 then $7 else first_try end"
                     " where day = $1 and domain = $2",
                     STORE_I64(row->day), STORE_TEXT(row->domain),
                     STORE_TEXT(state), STORE_TEXT(error), STORE_I64(due),
                     STORE_I64(planned ? 0 : now), STORE_I64(now));
}

static bool
count_targets(struct store *store, const struct report_row *row,
              const char *state, int64_t *count, struct err *err)
{
    struct store_query *query = STORE_QUERY(
        store,
        "select count(*) from tls_report_targets"
        " where day = $1 and domain = $2 and state = $3",
        STORE_I64(row->day), STORE_TEXT(row->domain), STORE_TEXT(state));

    *count = store_next(query) ? store_i64(query, 0) : 0;
    return store_end(query, err);
}

/* RFC 8460 section 3: delivered when one endpoint has accepted it.  One that
 * was planned anew by hand while a target was tried begins from the start. */
static bool
end_report(struct store *store, const struct report_row *row, int64_t now,
           const char *answer, struct err *err)
{
    int64_t waiting, accepted;

    if (!count_targets(store, row, TARGET_WAITING, &waiting, err) ||
        !count_targets(store, row, TARGET_ACCEPTED, &accepted, err))
        return false;
    if (waiting > 0)
        return true;
    return STORE_RUN(store, err,
                     "update tls_reports set state = $3, error = $4, ended = $5"
                     " where day = $1 and domain = $2 and state = $6",
                     STORE_I64(row->day), STORE_TEXT(row->domain),
                     STORE_TEXT(accepted > 0 ? REPORT_SENT : REPORT_FAILED),
                     STORE_TEXT(accepted > 0 ? "" : answer), STORE_I64(now),
                     STORE_TEXT(REPORT_SENDING));
}

bool
report_table_claim(struct store *store, const struct target_row *row,
                   int64_t due, bool *claimed, struct err *err)
{
    bool ok;

    if (!store_begin(store, err))
        return false;
    ok = STORE_RUN(store, err,
                   "update tls_report_targets set due = $4, tries = tries + 1"
                   " where day = $1 and domain = $2 and uri = $3"
                   " and state = $5",
                   STORE_I64(row->report.day), STORE_TEXT(row->report.domain),
                   STORE_TEXT(row->uri), STORE_I64(due),
                   STORE_TEXT(TARGET_WAITING));
    *claimed = ok && store_changes(store) > 0;
    return finish(store, ok, err);
}

bool
report_table_note_target(struct store *store, const struct target_row *row,
                         const char *state, const char *answer, int64_t now,
                         int64_t due, struct err *err)
{
    bool waiting = strcmp(state, TARGET_WAITING) == 0;

    if (!store_begin(store, err))
        return false;
    return finish(
        store,
        STORE_RUN(store, err,
                  "update tls_report_targets set state = $4, answer = $5,"
                  " due = $6, ended = $7"
                  " where day = $1 and domain = $2 and uri = $3",
                  STORE_I64(row->report.day), STORE_TEXT(row->report.domain),
                  STORE_TEXT(row->uri), STORE_TEXT(state), STORE_TEXT(answer),
                  STORE_I64(due), STORE_I64(waiting ? 0 : now)) &&
            end_report(store, &row->report, now, answer, err),
        err);
}

bool
report_table_again(struct store *store, int64_t day, const char *domain,
                   int64_t now, struct err *err)
{
    bool ok;

    err->text[0] = '\0';
    if (!store_begin(store, err))
        return false;
    ok = STORE_RUN(store, err,
                   "delete from tls_report_targets"
                   " where day = $1 and domain = $2",
                   STORE_I64(day), STORE_TEXT(domain)) &&
         STORE_RUN(store, err,
                   "update tls_reports set state = $3, due = $4, first_try = 0,"
                   " tries = 0, error = '', ended = 0"
                   " where day = $1 and domain = $2",
                   STORE_I64(day), STORE_TEXT(domain),
                   STORE_TEXT(REPORT_PLANNED), STORE_I64(now)) &&
         store_changes(store) > 0;
    return finish(store, ok, err);
}
