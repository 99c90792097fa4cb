#include "record/database.h"

#include "base/buf.h"
#include <errno.h>
#include <time.h>

enum {
    DAY_SECONDS = 86400,
    BUSY_MS = 100, /* the loop stands still meanwhile */
};

/* Never changed once released; new steps at the end. */
static const char *const steps[] = {
    /* number: `ledger` is the sequence to read next, `first_day` the first
     * that is counted. */
    "create table numbers ("
    " name text primary key,"
    " number bigint not null);"

    /* One row for each policy that applied to a domain on a day. */
    "create table tls_policies ("
    " policy bigint primary key,"
    " day bigint not null,"
    " domain text not null,"
    " type text not null,"    /* RFC 8460 section 4.4 */
    " sts_id text not null,"  /* of an MTA-STS policy */
    " content text not null," /* of the policy, a line each */
    " host text not null,"    /* where it was first met */
    " succeeded bigint not null,"
    " failed bigint not null);"
    "create index tls_policies_day on tls_policies (day, domain);"

    /* Sessions that failed in the same way. */
    "create table tls_failures ("
    " policy bigint not null"
    "  references tls_policies (policy) on delete cascade,"
    " result text not null," /* RFC 8460 section 4.3 */
    " host text not null,"
    " ip text not null,"
    " helo text not null,"
    " local_ip text not null,"
    " reason text not null,"
    " enforced bigint not null,"
    " sessions bigint not null,"
    " primary key (policy, result, host, ip, helo, local_ip, reason,"
    "              enforced));"

    /* One row for each day and domain that is over. */
    "create table tls_reports ("
    " day bigint not null,"
    " domain text not null,"
    " state text not null,"
    " report_id text not null,"
    " due bigint not null,"       /* of the next look */
    " first_try bigint not null," /* 0: none yet */
    " tries bigint not null,"
    " error text not null,"
    " content text not null," /* JSON, once it is frozen */
    " ended bigint not null," /* 0: not yet */
    " primary key (day, domain));"
    "create index tls_reports_due on tls_reports (state, due);"

    "create table tls_report_targets ("
    " day bigint not null,"
    " domain text not null,"
    " uri text not null,"
    " state text not null,"
    " due bigint not null,"
    " tries bigint not null,"
    " answer text not null," /* the last error, or how it was accepted */
    " ended bigint not null,"
    " primary key (day, domain, uri),"
    " foreign key (day, domain) references tls_reports (day, domain)"
    "  on delete cascade);"

    /* Failures that the administrator has not been told of, and when he was
     * last told of a domain. */
    "create table tls_troubles ("
    " domain text not null,"
    " type text not null,"
    " result text not null,"
    " stage text not null,"
    " host text not null,"
    " reason text not null,"
    " enforced bigint not null,"
    " sessions bigint not null,"
    " first_at bigint not null,"
    " last_at bigint not null,"
    " primary key (domain, type, result, stage, host, reason, enforced));"
    "create table tls_notices ("
    " domain text primary key,"
    " told_at bigint not null);",
};
static const struct store_schema schema = {"record", steps, COUNT_OF(steps)};

/* --- Numbers -------------------------------------------------------------- */

static bool
number_get(struct store *store, const char *name, int64_t *number,
           struct err *err)
{
    struct store_query *query = STORE_QUERY(
        store, "select number from numbers where name = $1", STORE_TEXT(name));

    *number = store_next(query) ? store_i64(query, 0) : 0;
    return store_end(query, err);
}

static bool
number_set(struct store *store, const char *name, int64_t number,
           struct err *err)
{
    return STORE_RUN(store, err,
                     "insert into numbers (name, number) values ($1, $2) "
                     "on conflict (name) do update set number = $2",
                     STORE_TEXT(name), STORE_I64(number));
}

bool
database_position(struct store *store, uint64_t *next, struct err *err)
{
    int64_t number;

    if (!number_get(store, "ledger", &number, err))
        return false;
    *next = (uint64_t)number;
    return true;
}

bool
database_set_position(struct store *store, uint64_t next, struct err *err)
{
    return number_set(store, "ledger", (int64_t)next, err);
}

bool
database_begin_again(struct store *store, int64_t today, struct err *err)
{
    if (!store_begin(store, err))
        return false;
    if (database_set_position(store, 0, err) &&
        number_set(store, "first_day", today, err))
        return store_commit(store, err);
    store_rollback(store);
    return false;
}

bool
database_first_day(struct store *store, int64_t *day, struct err *err)
{
    return number_get(store, "first_day", day, err);
}

/* --- Opening -------------------------------------------------------------- */

static bool
is_empty(struct store *store, bool *empty, struct err *err)
{
    struct store_query *query =
        STORE_QUERY(store, "select 1 from numbers limit 1");

    *empty = !store_next(query);
    return store_end(query, err);
}

/* A new one, or one in place of another that is gone: nobody knows whether the
 * days before were reported. */
static bool
begin_today(struct store *store, int64_t today, struct err *err)
{
    bool empty;

    return is_empty(store, &empty, err) &&
           (!empty || number_set(store, "first_day", today, err));
}

static struct store *
open_tables(const char *path, int64_t today, struct err *err)
{
    const struct store_options options = {.busy_ms = BUSY_MS};
    struct store *store = store_open(path, &options, err);

    if (store == NULL)
        return NULL;
    if (store_migrate(store, &schema, err) && begin_today(store, today, err))
        return store;
    store_close(store);
    return NULL;
}

bool
database_set_aside(const char *state_dir, struct err *err)
{
    struct buf path = {0};
    bool ok;

    buf_printf(&path, "%s/record.db", state_dir);
    ok = store_set_aside(buf_cstr(&path), err);
    buf_fini(&path);
    return ok;
}

struct store *
database_open(const char *state_dir, int64_t today, bool *damaged,
              struct err *err)
{
    struct buf path = {0};
    struct err why = {0};
    struct store *store;

    buf_printf(&path, "%s/record.db", state_dir);
    store = open_tables(buf_cstr(&path), today, &why);
    *damaged = store == NULL && why.code == EBADMSG;
    if (*damaged)
        store = database_set_aside(state_dir, err)
                    ? open_tables(buf_cstr(&path), today, err)
                    : NULL;
    else if (store == NULL && err != NULL)
        *err = why;
    buf_fini(&path);
    return store;
}

bool
database_forget_before(struct store *store, int64_t day, int64_t told_before,
                       struct err *err)
{
    return STORE_RUN(store, err, "delete from tls_policies where day < $1",
                     STORE_I64(day)) &&
           STORE_RUN(store, err, "delete from tls_reports where day < $1",
                     STORE_I64(day)) &&
           STORE_RUN(store, err, "delete from tls_troubles where last_at < $1",
                     STORE_I64(day_start(day))) &&
           STORE_RUN(store, err, "delete from tls_notices where told_at < $1",
                     STORE_I64(told_before));
}

/* --- Days ----------------------------------------------------------------- */

int64_t
day_of(int64_t seconds)
{
    return seconds / DAY_SECONDS;
}

int64_t
day_start(int64_t day)
{
    return day * DAY_SECONDS;
}

const char *
day_text(int64_t day, char *text)
{
    time_t seconds = (time_t)day_start(day);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, DAY_TEXT, "%Y-%m-%d", &tm) == 0)
        snprintf(text, DAY_TEXT, "?");
    return text;
}

bool
day_parse(struct sv text, int64_t *day)
{
    struct sv rest = text;
    struct sv year = sv_take_until(&rest, '-');
    struct sv month = sv_take_until(&rest, '-');
    uint32_t y, m, d;
    struct tm tm = {0};
    char again[DAY_TEXT];

    if (text.n != 10 || !sv_to_u32(year, &y) || !sv_to_u32(month, &m) ||
        !sv_to_u32(rest, &d) || y < 1970)
        return false;
    tm.tm_year = (int)y - 1900;
    tm.tm_mon = (int)m - 1;
    tm.tm_mday = (int)d;
    *day = day_of((int64_t)timegm(&tm));
    return sv_is(text, day_text(*day, again)); /* 31 February is none */
}
