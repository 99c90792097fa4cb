#include "record/dispatch.h"

#include "base/list.h"
#include "base/log.h"
#include "record/counts.h"
#include "record/database.h"
#include "record/lookup.h"
#include "record/outbox.h"
#include "record/report_table.h"
#include "tlsrpt/mail.h"
#include <inttypes.h>

enum {
    PAUSE = 600000, /* ms without work after the database has failed: what was
                     * sent and not written down would be sent again */
    TICK = 5000,    /* ms between two looks */
    JOBS_MAX = 8,   /* reports or targets that are worked on */
    POST_TIMEOUT = 60000,   /* ms of an upload */
    POST_ANSWER = 16 << 10, /* bytes of its answer that are read */
    OUTBOX_KEEP = 7 * 86400 /* s: longer than anything is tried */
};
#define OUTBOX_PREFIX "tlsrpt-"

struct dispatch {
    struct loop *loop;
    struct store *store;
    struct record_world *world; /* borrowed */
    struct dispatch_owner owner;
    struct timer timer;
    struct list jobs;
    int64_t forgot;      /* day on which old days were forgotten last */
    int64_t planned;     /* day on which all before it were planned last */
    uint64_t pause_ends; /* loop time; 0: there is none */
};

/* One report being looked up, or one target being tried. */
struct job {
    struct dispatch *dispatch; /* NULL: it went, the answer still comes */
    struct link link;
    struct arena arena;
    struct target_row row;     /* look-up: only .report; uri NULL */
    struct lookup *lookup;     /* under way, or NULL */
    struct https_call *upload; /* under way, or NULL */
    char *file;                /* name in the outbox, in the arena */
};

static int64_t
now_s(const struct dispatch *d)
{
    return loop_wall_us(d->loop) / 1000000;
}

static uint64_t
retry_s(const struct dispatch *d)
{
    return d->world->settings->tls_reports.retry / 1000;
}

/* --- Jobs ----------------------------------------------------------------- */

static bool
is_running(const struct dispatch *d, const struct target_row *row)
{
    LIST_FOREACH (link, &d->jobs) {
        const struct job *job = CONTAINER_OF(link, struct job, link);

        if (job->row.report.day == row->report.day &&
            strcmp(job->row.report.domain, row->report.domain) == 0 &&
            (job->row.uri == NULL || row->uri == NULL ||
             strcmp(job->row.uri, row->uri) == 0))
            return true;
    }
    return false;
}

static const char *
keep(struct job *job, const char *text)
{
    return text == NULL ? NULL : arena_cstr(&job->arena, sv_of(text));
}

static struct job *
job_new(struct dispatch *d, const struct target_row *row)
{
    struct job *job = mem_alloc(sizeof *job);
    struct report_row *report = &job->row.report;

    job->dispatch = d;
    arena_init(&job->arena, 4096);
    job->row = *row;
    job->row.uri = keep(job, row->uri);
    report->domain = keep(job, report->domain);
    report->report_id = keep(job, report->report_id);
    report->content = keep(job, report->content);
    report->state = report->error = NULL; /* may be old when it ends */
    list_push_back(&d->jobs, &job->link);
    return job;
}

static void
job_free(struct job *job)
{
    if (job->dispatch != NULL)
        list_remove(&job->dispatch->jobs, &job->link);
    arena_fini(&job->arena);
    mem_free(job);
}

/* It ended, and what became of it is written down: there may be more to do. */
static void
job_end(struct job *job)
{
    struct dispatch *d = job->dispatch;

    d->owner.on_step(d->owner.owner, job->row.report.day,
                     job->row.report.domain);
    job_free(job);
    dispatch_kick(d);
}

/* The answer of the sender cannot be called off: it comes to nobody. */
static void
job_break_off(struct job *job)
{
    bool answer_comes = job->file != NULL;

    if (job->lookup != NULL)
        lookup_cancel(job->lookup);
    if (job->upload != NULL)
        https_cancel(job->upload);
    list_remove(&job->dispatch->jobs, &job->link);
    job->dispatch = NULL;
    if (!answer_comes)
        job_free(job);
}

/* What stands in every line about the job; day holds DAY_TEXT bytes. */
static struct log_context
log_of(const struct job *job, char *day)
{
    return (struct log_context){
        .fields = {
            LOG_STR("domain", job->row.report.domain),
            LOG_STR("day", day_text(job->row.report.day, day)),
            LOG_IF(job->row.uri != NULL, LOG_STR("target", job->row.uri)),
        }};
}

static void
log_accept(const struct job *job, const char *answer)
{
    char day[DAY_TEXT];
    const struct log_context log = log_of(job, day);

    log_event(&log, LOG_INFO, "tlsrpt.accept", LOG_STR("answer", answer));
}

static void
log_failure(const struct job *job, bool again, const char *reason)
{
    char day[DAY_TEXT];
    const struct log_context log = log_of(job, day);

    if (again)
        log_event(&log, LOG_INFO, "tlsrpt.defer", LOG_STR("reason", reason));
    else
        log_event(&log, LOG_WARNING, "tlsrpt.fail", LOG_STR("reason", reason));
}

static void
log_unwanted(const struct job *job, const char *reason)
{
    char day[DAY_TEXT];
    const struct log_context log = log_of(job, day);

    log_event(&log, LOG_DEBUG, "tlsrpt.unwanted", LOG_STR("reason", reason));
}

static void
database_failed(struct dispatch *d, const struct err *err)
{
    d->pause_ends = loop_now(d->loop) + PAUSE;
    log_event(NULL, LOG_ERROR, "record.database", LOG_STR("reason", err->text));
}

/* True while the time for retries is not over. */
static bool
may_retry(const struct dispatch *d, const struct report_row *report)
{
    return report->first_try == 0 ||
           now_s(d) - report->first_try < (int64_t)retry_s(d);
}

/* --- Look-ups ------------------------------------------------------------- */

bool
dispatch_content(struct store *store, const struct record_world *world,
                 int64_t day, const char *domain, const char *report_id,
                 const struct tlsrpt_json_options *options, struct buf *out,
                 struct err *err)
{
    const struct tls_report_settings *reports = &world->settings->tls_reports;
    struct arena arena;
    struct tlsrpt_report report = {
        .organization = sv_of(reports->organization),
        .contact = sv_of(reports->contact),
        .id = sv_of(report_id),
        .domain = sv_of(domain),
        .starts_at = day_start(day),
    };
    bool ok;

    arena_init(&arena, 16384);
    ok = counts_load(store, day, domain, &arena, &report, err);
    if (ok)
        tlsrpt_report_json(&report, options, out);
    arena_fini(&arena);
    return ok;
}

/* What is sent again by hand keeps the content it had. */
static bool
freeze(struct job *job, const struct tlsrpt_record *record, struct err *err)
{
    const struct tlsrpt_json_options compact = {0};
    const struct report_row *report = &job->row.report;
    struct dispatch *d = job->dispatch;
    struct buf content = {0};
    bool ok = true;

    buf_add_str(&content, report->content);
    if (buf_length(&content) == 0)
        ok = dispatch_content(d->store, d->world, report->day, report->domain,
                              report->report_id, &compact, &content, err);
    ok = ok && report_table_start(d->store, report, now_s(d),
                                  buf_cstr(&content), record, err);
    buf_fini(&content);
    return ok;
}

static bool
note_report(struct job *job, const char *state, const char *reason,
            struct err *err)
{
    struct dispatch *d = job->dispatch;
    const struct report_row *report = &job->row.report;
    int64_t due = now_s(d) + report_back_off(report->tries + 1, retry_s(d));

    return report_table_note(d->store, report, state, reason, now_s(d), due,
                             err);
}

static bool
note_failed_lookup(struct job *job, const char *reason, struct err *err)
{
    bool again = may_retry(job->dispatch, &job->row.report);

    log_failure(job, again, reason);
    return note_report(job, again ? REPORT_PLANNED : REPORT_FAILED, reason,
                       err);
}

static void
on_record(void *arg, const struct lookup_result *result)
{
    struct job *job = arg;
    struct err err = {0};
    bool ok = false;

    job->lookup = NULL;
    switch (result->outcome) {
    case LOOKUP_FOUND:
        ok = freeze(job, &result->record, &err);
        break;
    case LOOKUP_NONE:
        log_unwanted(job, result->reason);
        ok = note_report(job, REPORT_UNWANTED, result->reason, &err);
        break;
    case LOOKUP_FAILED:
        ok = note_failed_lookup(job, result->reason, &err);
        break;
    }
    if (!ok)
        database_failed(job->dispatch, &err);
    job_end(job);
}

static void
start_lookup(struct dispatch *d, const struct report_row *report)
{
    struct job *job = job_new(d, &(struct target_row){.report = *report});

    job->lookup = lookup_start(d->world->resolver, d->loop,
                               job->row.report.domain, on_record, job);
}

/* --- Targets -------------------------------------------------------------- */

static void
note_target(struct job *job, bool accepted, const char *answer)
{
    struct dispatch *d = job->dispatch;
    bool again = !accepted && may_retry(d, &job->row.report);
    int64_t due = now_s(d) + report_back_off(job->row.tries + 1, retry_s(d));
    const char *state = accepted ? TARGET_ACCEPTED
                        : again  ? TARGET_WAITING
                                 : TARGET_FAILED;
    struct err err = {0};

    if (accepted)
        log_accept(job, answer);
    else
        log_failure(job, again, answer);
    if (!report_table_note_target(d->store, &job->row, state, answer, now_s(d),
                                  due, &err))
        database_failed(d, &err);
    else if (accepted && job->file != NULL)
        outbox_remove(d->world->settings->state_dir, job->file);
    job_end(job);
}

static void
on_uploaded(void *arg, const struct https_answer *answer)
{
    struct job *job = arg;
    char text[300];

    job->upload = NULL;
    if (answer->stage == HTTPS_OK)
        snprintf(text, sizeof text, "HTTP %ld", answer->status);
    else if (answer->status != 0)
        snprintf(text, sizeof text, "HTTP %ld: %s", answer->status,
                 answer->reason);
    else
        snprintf(text, sizeof text, "%s: %s", https_stage_name(answer->stage),
                 answer->reason);
    note_target(job, answer->stage == HTTPS_OK, text);
}

/* RFC 8460 section 5.4. */
static void
upload(struct job *job, struct sv gzip)
{
    struct dispatch *d = job->dispatch;
    const struct https_request request = {
        .url = job->row.uri,
        .content_type = "application/tlsrpt+gzip",
        .body = gzip,
        .max_body = POST_ANSWER,
        .timeout_ms = POST_TIMEOUT,
    };

    job->upload = https_send(d->world->https, d->world->resolver, &request,
                             on_uploaded, job);
}

static void
on_submitted(void *arg, const char *queue_id, const char *reason)
{
    struct job *job = arg;
    char text[64];

    if (job->dispatch == NULL) { /* asked again after the next look */
        job_free(job);
        return;
    }
    if (queue_id != NULL)
        snprintf(text, sizeof text, "queued as %s", queue_id);
    note_target(job, queue_id != NULL, queue_id != NULL ? text : reason);
}

/* The left side of the report's id, but without its dot. */
static struct sv
unique_part(const struct job *job, char *room, size_t size)
{
    size_t n = 0;

    for (const char *c = job->row.report.report_id; *c != '@' && *c != '\0';
         c++)
        if (char_is_alnum(*c) && n < size)
            room[n++] = *c;
    return (struct sv){room, n};
}

static void
compose(struct job *job, const char *to, struct sv gzip, struct buf *out)
{
    const struct dispatch *d = job->dispatch;
    const struct report_row *report = &job->row.report;
    const struct tlsrpt_report named = {.domain = sv_of(report->domain),
                                        .starts_at = day_start(report->day)};
    struct sv submitter = sv_of(world_submitter(d->world));
    struct buf name = {0};
    char day[DAY_TEXT], room[64];
    struct sv unique = unique_part(job, room, sizeof room);

    tlsrpt_file_name(&named, submitter, unique, &name);
    tlsrpt_mail_write(
        &(struct tlsrpt_mail){
            .from = sv_of(d->world->settings->tls_reports.from),
            .to = sv_of(to),
            .submitter = submitter,
            .domain = sv_of(report->domain),
            .report_id = sv_of(report->report_id),
            .unique = sv_of(job->file),
            .day = day_text(report->day, day),
            .file_name = buf_view(&name),
            .gzip = gzip,
            .wall_s = now_s(d),
        },
        out);
    buf_fini(&name);
}

/* The same for a target in every try, and of no other: sending again by hand
 * begins with another first try. */
static void
name_file(struct job *job)
{
    char room[64];
    struct sv unique = unique_part(job, room, sizeof room);
    uint32_t sum = 0;

    for (const char *c = job->row.uri; *c != '\0'; c++)
        sum = sum * 31 + (unsigned char)*c;
    job->file = arena_cstr(
        &job->arena,
        arena_printf(&job->arena, OUTBOX_PREFIX "%.*s-%08x-%" PRId64,
                     SV_ARG(unique), sum, job->row.report.first_try));
}

static void
send_mail(struct job *job, const char *to, struct sv gzip)
{
    struct dispatch *d = job->dispatch;
    char *recipient = arena_cstr(&job->arena, sv_of(to));
    struct buf message = {0}, signed_message = {0};
    struct err err = {0};

    name_file(job);
    compose(job, to, gzip, &message);
    if (world_sign(d->world, buf_view(&message), now_s(d), &signed_message,
                   &err)) {
        const struct outbox_mail mail = {
            .name = job->file,
            .message = buf_view(&signed_message),
            .recipients = &recipient,
            .recipient_count = 1,
            .tls_optional = true,
        };

        outbox_send(d->loop, d->world->settings->state_dir, &mail, on_submitted,
                    job);
    } else {
        job->file = NULL;
        note_target(job, false, err.text);
    }
    buf_fini(&message);
    buf_fini(&signed_message);
}

/* The record's parser has accepted the URI; it says what it means. */
static bool
read_target(struct job *job, struct tlsrpt_target *target)
{
    struct tlsrpt_record record;
    struct sv text =
        arena_printf(&job->arena, "v=TLSRPTv1;rua=%s", job->row.uri);

    if (!tlsrpt_record_parse(text, &job->arena, &record, NULL) ||
        record.target_count != 1)
        return false;
    *target = record.targets[0];
    return true;
}

/* Written down first: what is not, is not sent, or it would be sent again and
 * again while the database cannot be written or we are killed on the way. */
static bool
claim(struct job *job)
{
    struct dispatch *d = job->dispatch;
    int64_t due = now_s(d) + report_back_off(job->row.tries + 1, retry_s(d));
    struct err err = {0};
    bool claimed;

    if (report_table_claim(d->store, &job->row, due, &claimed, &err))
        return claimed;
    database_failed(d, &err);
    return false;
}

static void
try_target(struct job *job)
{
    struct buf gzip = {0};
    struct tlsrpt_target target;

    tlsrpt_gzip(sv_of(job->row.report.content), &gzip);
    if (!read_target(job, &target))
        note_target(job, false, "the address cannot be read");
    else if (target.scheme == TLSRPT_MAIL)
        send_mail(job, target.address, buf_view(&gzip));
    else
        upload(job, buf_view(&gzip));
    buf_fini(&gzip);
}

static void
start_target(struct dispatch *d, const struct target_row *row)
{
    struct job *job = job_new(d, row);

    if (row->tries > 0 && !may_retry(d, &row->report))
        note_target(job, false,
                    row->answer[0] != '\0' ? row->answer
                                           : "its tries were cut off");
    else if (claim(job))
        try_target(job);
    else
        job_free(job);
}

/* --- The clock ------------------------------------------------------------ */

/* A day has its reports planned when it is over, and once more when sessions of
 * it are counted later. */
static void
plan(struct dispatch *d)
{
    int64_t today = day_of(now_s(d));
    const struct report_plan plan = {
        .today = today,
        .now = now_s(d),
        .spread_s = (uint32_t)(d->world->settings->tls_reports.spread / 1000),
        .submitter = world_submitter(d->world),
    };
    struct err err = {0};

    if (d->planned == today)
        return;
    if (report_table_plan(d->store, &plan, &err))
        d->planned = today;
    else
        database_failed(d, &err);
}

static bool
is_paused(const struct dispatch *d)
{
    return loop_now(d->loop) < d->pause_ends;
}

static bool
has_room(const struct dispatch *d)
{
    return d->jobs.length < JOBS_MAX && !is_paused(d);
}

static void
start_due(struct dispatch *d)
{
    struct report_row reports[JOBS_MAX * 2];
    struct target_row targets[JOBS_MAX * 2];
    struct arena arena;
    size_t n;

    arena_init(&arena, 16384);
    n = report_table_due_targets(d->store, now_s(d), &arena, targets,
                                 COUNT_OF(targets));
    for (size_t i = 0; i < n && has_room(d); i++)
        if (!is_running(d, &targets[i]))
            start_target(d, &targets[i]);
    n = report_table_due(d->store, now_s(d), &arena, reports,
                         COUNT_OF(reports));
    for (size_t i = 0; i < n && has_room(d); i++)
        if (!is_running(d, &(struct target_row){.report = reports[i]}))
            start_lookup(d, &reports[i]);
    arena_fini(&arena);
}

/* Once a day what is older than `keep` goes. */
static void
forget(struct dispatch *d)
{
    const struct tls_report_settings *settings =
        &d->world->settings->tls_reports;
    int64_t today = day_of(now_s(d));
    int64_t day = today - (int64_t)(settings->keep / 1000 / 86400);
    int64_t told = now_s(d) - (int64_t)(settings->failure_interval / 1000);
    struct err err = {0};

    if (d->forgot == today)
        return;
    d->forgot = today;
    if (!database_forget_before(
            d->store, day, told < day_start(day) ? told : day_start(day), &err))
        database_failed(d, &err);
    outbox_clean(d->world->settings->state_dir, now_s(d) - OUTBOX_KEEP);
}

static void
on_tick(struct timer *timer)
{
    struct dispatch *d = CONTAINER_OF(timer, struct dispatch, timer);

    timer_arm(timer, TICK);
    if (is_paused(d))
        return;
    forget(d);
    if (!d->world->settings->tls_reports.enabled)
        return;
    /* A day's content is frozen only when all of it is there. */
    if (!d->owner.is_counted(d->owner.owner))
        return;
    plan(d);
    start_due(d);
}

struct dispatch *
dispatch_new(struct loop *loop, struct store *store, struct record_world *world,
             const struct dispatch_owner *owner)
{
    struct dispatch *d = mem_alloc(sizeof *d);

    d->loop = loop;
    d->store = store;
    d->world = world;
    d->owner = *owner;
    list_init(&d->jobs);
    timer_init(&d->timer, loop, on_tick);
    timer_arm(&d->timer, 0);
    return d;
}

static void
break_off_all(struct dispatch *d)
{
    LIST_FOREACH_SAFE (link, next, &d->jobs)
        job_break_off(CONTAINER_OF(link, struct job, link));
}

void
dispatch_free(struct dispatch *d)
{
    if (d == NULL)
        return;
    break_off_all(d);
    timer_fini(&d->timer);
    mem_free(d);
}

void
dispatch_set_world(struct dispatch *d, struct record_world *world)
{
    break_off_all(d);
    d->world = world;
    dispatch_kick(d);
}

void
dispatch_look_back(struct dispatch *d)
{
    d->planned = 0;
}

void
dispatch_kick(struct dispatch *d)
{
    timer_arm(&d->timer, 0);
}
