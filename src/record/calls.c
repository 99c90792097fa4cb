/* The calls tlsrpt.show, tlsrpt.list and tlsrpt.send. */
#include "record/record_internal.h"

#include "mail/address.h"
#include "mail/date.h"
#include "record/database.h"
#include "record/lookup.h"
#include "record/report_table.h"
#include "tlsrpt/report.h"

enum {
    LIST_MAX = 1000,
    TARGETS_MAX = TLSRPT_TARGETS_MAX + 1,
    SEND_TIMEOUT = 120000, /* ms that a call of tlsrpt.send waits */
};

/* A call of tlsrpt.send that waits for every target to be tried. */
struct waiter {
    struct record *record;
    struct link link;
    struct timer timer;
    struct rpc_call *call;
    int64_t day;
    char domain[MAIL_DOMAIN_MAX + 1];
};

/* A dry run, while the look-up is under way. */
struct dry_run {
    struct rpc_call *call;
    json_t *answer; /* owned */
};

/* --- Parameters ------------------------------------------------------------
 */

struct subject {
    int64_t day;
    char domain[MAIL_DOMAIN_MAX + 1];
};

static const char *
param(const struct rpc_call *call, const char *name)
{
    const char *text =
        json_string_value(json_object_get(rpc_params(call), name));

    return text != NULL ? text : "";
}

/* False: the call was answered. */
static bool
take_domain(struct rpc_call *call, struct subject *subject)
{
    if (mail_domain_canonical(sv_of(param(call, "domain")), subject->domain))
        return true;
    rpc_error(call, "\"%s\" is not a domain", param(call, "domain"));
    return false;
}

static bool
take_day(struct rpc_call *call, struct subject *subject)
{
    if (day_parse(sv_of(param(call, "date")), &subject->day))
        return true;
    rpc_error(call, "\"%s\" is not a date such as 2026-11-22",
              param(call, "date"));
    return false;
}

static bool
take_subject(struct rpc_call *call, struct subject *subject)
{
    return take_domain(call, subject) && take_day(call, subject);
}

/* --- What is known ---------------------------------------------------------
 */

static json_t *
report_json(struct record *record, const struct subject *subject,
            const struct report_row *row)
{
    const struct tlsrpt_json_options compact = {0};
    struct buf content = {0};
    struct err err = {0};
    json_t *report;

    buf_add_str(&content, row->content);
    if (buf_length(&content) == 0 &&
        !dispatch_content(record->store, record->world, subject->day,
                          subject->domain, row->report_id, &compact, &content,
                          &err))
        buf_add_str(&content, "null");
    report = json_loads(buf_cstr(&content), 0, NULL);
    buf_fini(&content);
    return report != NULL ? report : json_null();
}

static void
get_row(struct record *record, const struct subject *subject,
        struct arena *arena, struct report_row *row)
{
    if (!report_table_get(record->store, subject->day, subject->domain, arena,
                          row))
        *row = (struct report_row){
            .state = "counting", .report_id = "", .content = "", .error = ""};
}

static void
call_show(struct record *record, struct rpc_call *call)
{
    struct subject subject;
    struct report_row row;
    struct arena arena;
    json_t *report;

    if (!take_subject(call, &subject))
        return;
    arena_init(&arena, 16384);
    get_row(record, &subject, &arena, &row);
    report = report_json(record, &subject, &row);
    if (json_array_size(json_object_get(report, "policies")) == 0) {
        rpc_error(call, "no session with %s is known of that day",
                  subject.domain);
        json_decref(report);
    } else {
        rpc_result(call, json_pack("{s:s, s:o}", "state", row.state, "report",
                                   report));
    }
    arena_fini(&arena);
}

/* --- Lists -----------------------------------------------------------------
 */

static json_t *
describe_targets(struct record *record, int64_t day, const char *domain)
{
    struct target_row rows[TARGETS_MAX];
    json_t *targets = json_array();
    struct arena arena;
    size_t count;

    arena_init(&arena, 16384);
    count = report_table_targets(record->store, day, domain, &arena, rows,
                                 COUNT_OF(rows));
    for (size_t i = 0; i < count; i++)
        json_array_append_new(targets,
                              json_pack("{s:s, s:s, s:I, s:s}", "uri",
                                        rows[i].uri, "state", rows[i].state,
                                        "tries", (json_int_t)rows[i].tries,
                                        "answer", rows[i].answer));
    arena_fini(&arena);
    return targets;
}

/* Two statements: one for all cannot use the index. */
#define LIST_SELECT                                                            \
    "select p.day, p.domain, sum(p.succeeded), sum(p.failed),"                 \
    " coalesce(max(r.state), 'counting'), coalesce(max(r.error), ''),"         \
    " coalesce(max(r.due), 0)"                                                 \
    " from tls_policies p left join tls_reports r"                             \
    " on r.day = p.day and r.domain = p.domain"                                \
    " where "
#define LIST_MANY                                                              \
    LIST_SELECT                                                                \
    "($1 = '' or p.domain = $1) and ($2 < 0 or p.day = $2)"                    \
    " group by p.day, p.domain order by p.day desc, p.domain limit $3"
#define LIST_ONE                                                               \
    LIST_SELECT "p.domain = $1 and p.day = $2 group by p.day, p.domain"

static json_t *
take_item(struct record *record, struct store_query *query)
{
    char day[DAY_TEXT], next[MAIL_DATE_TEXT];
    int64_t due = store_i64(query, 6);
    char *domain = sv_dup(store_text(query, 1));
    char *state = sv_dup(store_text(query, 4));
    char *error = sv_dup(store_text(query, 5));
    json_t *item = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:s, s:o}", "date",
        day_text(store_i64(query, 0), day), "domain", domain, "state", state,
        "successful", (json_int_t)store_i64(query, 2), "failed",
        (json_int_t)store_i64(query, 3), "error", error, "targets",
        describe_targets(record, store_i64(query, 0), domain));

    if (strcmp(state, REPORT_PLANNED) == 0)
        json_object_set_new(item, "next",
                            json_string(mail_date_iso(due, next)));
    mem_free(domain);
    mem_free(state);
    mem_free(error);
    return item;
}

static void
call_list(struct record *record, struct rpc_call *call)
{
    json_int_t limit =
        json_integer_value(json_object_get(rpc_params(call), "limit"));
    struct subject subject = {.day = -1};
    struct store_query *query;
    struct err err;

    if ((param(call, "domain")[0] != '\0' && !take_domain(call, &subject)) ||
        (param(call, "date")[0] != '\0' && !take_day(call, &subject)))
        return;
    if (subject.domain[0] != '\0' && subject.day >= 0)
        query = STORE_QUERY(record->store, LIST_ONE, STORE_TEXT(subject.domain),
                            STORE_I64(subject.day));
    else
        query = STORE_QUERY(record->store, LIST_MANY,
                            STORE_TEXT(subject.domain), STORE_I64(subject.day),
                            STORE_I64(limit > 0 ? limit : LIST_MAX));
    while (store_next(query))
        rpc_item(call, take_item(record, query));
    if (store_end(query, &err))
        rpc_result(call, json_object());
    else
        rpc_error(call, "%s", err.text);
}

/* One as the list has it; NULL: there is none. */
static json_t *
describe_one(struct record *record, int64_t day, const char *domain)
{
    struct store_query *query = STORE_QUERY(record->store, LIST_ONE,
                                            STORE_TEXT(domain), STORE_I64(day));
    json_t *item = store_next(query) ? take_item(record, query) : NULL;

    (void)!store_end(query, NULL);
    return item;
}

/* --- Dry run ---------------------------------------------------------------
 */

static void
add_targets(const struct lookup_result *result, json_t *answer)
{
    json_t *targets = json_array();

    for (size_t i = 0; i < result->record.target_count; i++)
        json_array_append_new(targets,
                              json_string(result->record.targets[i].uri));
    json_object_set_new(answer, "targets", targets);
}

static void
on_record(void *arg, const struct lookup_result *result)
{
    struct dry_run *dry = arg;

    if (result->outcome == LOOKUP_FOUND)
        json_object_set_new(dry->answer, "record", json_string(result->text));
    else
        json_object_set_new(dry->answer, "reason", json_string(result->reason));
    add_targets(result, dry->answer);
    rpc_result(dry->call, dry->answer);
    mem_free(dry);
}

static void
start_dry_run(struct record *record, struct rpc_call *call,
              const struct subject *subject)
{
    struct dry_run *dry = mem_alloc(sizeof *dry);
    struct report_row row;
    struct arena arena;

    arena_init(&arena, 16384);
    get_row(record, subject, &arena, &row);
    dry->call = call;
    dry->answer =
        json_pack("{s:o}", "report", report_json(record, subject, &row));
    arena_fini(&arena);
    lookup_start(record->world->resolver, record->loop, subject->domain,
                 on_record, dry);
}

/* --- Sending by hand -------------------------------------------------------
 */

static void
waiter_free(struct waiter *waiter)
{
    timer_fini(&waiter->timer);
    list_remove(&waiter->record->waiters, &waiter->link);
    mem_free(waiter);
}

static void
on_long_wait(struct timer *timer)
{
    struct waiter *waiter = CONTAINER_OF(timer, struct waiter, timer);

    rpc_error(waiter->call, "it has not been tried yet, and will be; waxgate "
                            "tlsrpt list tells what became of it");
    waiter_free(waiter);
}

static void
wait_for_report(struct record *record, struct rpc_call *call,
                const struct subject *subject)
{
    struct waiter *waiter = mem_alloc(sizeof *waiter);

    waiter->record = record;
    timer_init(&waiter->timer, record->loop, on_long_wait);
    timer_arm(&waiter->timer, SEND_TIMEOUT);
    waiter->call = call;
    waiter->day = subject->day;
    snprintf(waiter->domain, sizeof waiter->domain, "%s", subject->domain);
    list_push_back(&record->waiters, &waiter->link);
    dispatch_kick(record->dispatch);
}

static void
call_send(struct record *record, struct rpc_call *call)
{
    int64_t now = loop_wall_us(record->loop) / 1000000;
    struct subject subject;
    struct err err = {0};

    if (!take_subject(call, &subject))
        return;
    if (json_is_true(json_object_get(rpc_params(call), "dry_run")))
        start_dry_run(record, call, &subject);
    else if (!record->world->settings->tls_reports.enabled)
        rpc_error(call, "tls_reports.enabled is off");
    else if (subject.day >= day_of(now))
        rpc_error(call, "that day is not over; --dry-run shows it");
    else if (report_table_again(record->store, subject.day, subject.domain, now,
                                &err))
        wait_for_report(record, call, &subject);
    else if (err.text[0] != '\0')
        rpc_error(call, "%s", err.text);
    else
        rpc_error(call, "there is no report about %s of that day",
                  subject.domain);
}

/* Everything was tried once: what is left is retried without the caller. */
static bool
is_tried(struct record *record, const struct waiter *waiter)
{
    struct target_row targets[TARGETS_MAX];
    struct report_row row;
    struct arena arena;
    size_t count;
    bool tried;

    arena_init(&arena, 16384);
    tried = !report_table_get(record->store, waiter->day, waiter->domain,
                              &arena, &row) ||
            row.tries > 0;
    count = report_table_targets(record->store, waiter->day, waiter->domain,
                                 &arena, targets, COUNT_OF(targets));
    for (size_t i = 0; i < count; i++)
        tried = tried && targets[i].answer[0] != '\0';
    arena_fini(&arena);
    return tried;
}

void
calls_step(struct record *record, int64_t day, const char *domain)
{
    LIST_FOREACH_SAFE (link, next, &record->waiters) {
        struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);
        json_t *item;

        if (waiter->day != day || strcmp(waiter->domain, domain) != 0 ||
            !is_tried(record, waiter))
            continue;
        item = describe_one(record, day, domain);
        rpc_result(waiter->call, item != NULL ? item : json_object());
        waiter_free(waiter);
    }
}

void
calls_give_up(struct record *record, const char *reason)
{
    LIST_FOREACH_SAFE (link, next, &record->waiters) {
        struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);

        rpc_error(waiter->call, "%s", reason);
        waiter_free(waiter);
    }
}

/* --- The table -------------------------------------------------------------
 */

static const struct method {
    const char *name;
    void (*run)(struct record *record, struct rpc_call *call);
} methods[] = {
    {"tlsrpt.show", call_show},
    {"tlsrpt.list", call_list},
    {"tlsrpt.send", call_send},
};

void
record_request(struct record *record, struct rpc_call *call)
{
    if (record->store == NULL) {
        rpc_error(call, "the database is not open; see waxgate alerts");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (strcmp(methods[i].name, rpc_method(call)) == 0) {
            methods[i].run(record, call);
            return;
        }
    rpc_error(call, "there is no method \"%s\"", rpc_method(call));
}
