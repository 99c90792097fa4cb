#include "control/status.h"

#include "base/buf.h"
#include "base/clock.h"
#include "spool/spool.h"

enum { ANSWER_TIMEOUT = 3000 }; /* ms for a process to tell its part */

struct status {
    struct service_host *host;
    struct spool *spool; /* a reader; NULL: not opened yet */
};

/* One answer being put together. It knows no struct status: that may go while
 * the processes are being asked. */
struct gather {
    struct rpc_call *call;
    json_t *answer; /* owned */
    size_t missing;
};

struct part {
    struct gather *gather;
    const char *key;
};

static const struct source {
    const char *key, *process, *method;
} sources[] = {
    {"receiver", "receiver", "receiver.status"},
    {"queue", "sender", "queue.stats"},
    {"dns", "sender", "dns.status"},
};

struct status *
status_new(struct service_host *host)
{
    struct status *status = mem_alloc(sizeof *status);

    status->host = host;
    return status;
}

void
status_free(struct status *status)
{
    if (status->spool != NULL)
        spool_close(status->spool);
    mem_free(status);
}

const struct link_process *
status_process(const struct supervisor_link *link, const char *name)
{
    for (size_t i = 0; i < link->process_count; i++)
        if (strcmp(link->processes[i].name, name) == 0)
            return &link->processes[i];
    return NULL;
}

json_t *
status_alerts(const struct supervisor_link *link)
{
    json_t *alerts = json_array();

    for (size_t i = 0; i < link->alert_count; i++) {
        const struct link_alert *alert = &link->alerts[i];

        json_array_append_new(
            alerts, json_pack("{s:s, s:s, s:s*, s:I}", "source", alert->source,
                              "key", alert->key, "text", alert->text, "since",
                              (json_int_t)alert->since));
    }
    return alerts;
}

static json_t *
describe_processes(const struct supervisor_link *link)
{
    json_t *processes = json_array();

    for (size_t i = 0; i < link->process_count; i++) {
        const struct link_process *row = &link->processes[i];

        json_array_append_new(
            processes,
            json_pack("{s:s, s:s, s:I, s:I, s:I}", "name", row->name, "state",
                      link_state_name(row->state), "pid", (json_int_t)row->pid,
                      "restarts", (json_int_t)row->restarts, "since",
                      (json_int_t)row->since));
    }
    return processes;
}

static json_t *
number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* The spool may not exist before receiver and sender have made it. */
static json_t *
describe_spool(struct status *status, const struct settings *settings)
{
    struct spool_status now;
    struct err err;
    json_t *object;

    if (status->spool == NULL)
        status->spool = spool_open_reader(settings->state_dir, &err);
    if (status->spool == NULL)
        return json_pack("{s:s}", "error", err.text);
    spool_status_get(status->spool, &now);
    object = json_object();
    json_object_set_new(object, "intake_durable", number(now.intake_durable));
    json_object_set_new(object, "ledger_durable", number(now.ledger_durable));
    json_object_set_new(object, "intake_segments", number(now.intake_segments));
    json_object_set_new(object, "ledger_segments", number(now.ledger_segments));
    json_object_set_new(object, "spare_segments", number(now.spare_segments));
    json_object_set_new(object, "free_bytes", number(now.free_bytes));
    json_object_set_new(object, "queue_messages", number(now.queue_messages));
    json_object_set_new(object, "queue_bytes", number(now.queue_bytes));
    json_object_set_new(object, "failing", json_boolean(now.failing));
    if (now.failing)
        json_object_set_new(object, "failure", json_string(now.failure));
    return object;
}

static bool
all_ready(const struct supervisor_link *link)
{
    bool ready = link->process_count > 0;

    for (size_t i = 0; i < link->process_count; i++)
        ready = ready && link->processes[i].state == LINK_READY;
    return ready;
}

static json_t *
describe_self(struct status *status, const struct settings *settings)
{
    const struct supervisor_link *link = status->host->supervisor;
    json_t *object = json_object();

    json_object_set_new(object, "version", json_string(WAXGATE_VERSION));
    json_object_set_new(object, "hostname", json_string(settings->hostname));
    json_object_set_new(object, "config", json_string(settings->source));
    json_object_set_new(object, "revision", number(settings->revision));
    json_object_set_new(object, "started", json_integer(link->started));
    json_object_set_new(object, "uptime",
                        json_integer(clock_wall_s() - link->started));
    json_object_set_new(object, "ready", json_boolean(all_ready(link)));
    json_object_set_new(object, "processes", describe_processes(link));
    json_object_set_new(object, "alerts", status_alerts(link));
    json_object_set_new(object, "spool", describe_spool(status, settings));
    return object;
}

static void
gather_one_less(struct gather *gather)
{
    if (--gather->missing > 0)
        return;
    rpc_result(gather->call, gather->answer);
    mem_free(gather);
}

static void
on_part(void *arg, const json_t *result, const char *error)
{
    struct part *part = arg;
    struct gather *gather = part->gather;
    json_t *value = result != NULL ? json_deep_copy(result)
                                   : json_pack("{s:s}", "error", error);

    json_object_set_new(gather->answer, part->key, value);
    mem_free(part);
    gather_one_less(gather);
}

static void
ask(struct status *status, const struct settings *settings,
    const struct source *source, struct gather *gather)
{
    const struct link_process *row =
        status_process(status->host->supervisor, source->process);
    struct buf path = {0};
    struct part *part;

    if (row == NULL || row->state != LINK_READY) {
        json_object_set_new(gather->answer, source->key,
                            json_pack("{s:s}", "error", "not ready"));
        return;
    }
    part = mem_alloc(sizeof *part);
    *part = (struct part){gather, source->key};
    gather->missing++;
    buf_printf(&path, "%s/run/%s.sock", settings->state_dir, source->process);
    rpc_ask(status->host->loops[0], buf_cstr(&path), source->method, NULL,
            ANSWER_TIMEOUT, on_part, part);
    buf_fini(&path);
}

void
status_answer(struct status *status, const struct settings *settings,
              json_t *certificates, struct rpc_call *call)
{
    struct gather *gather = mem_alloc(sizeof *gather);

    gather->call = call;
    gather->answer = describe_self(status, settings);
    json_object_set_new(gather->answer, "certificates", certificates);
    gather->missing = 1; /* this function */
    for (size_t i = 0; i < COUNT_OF(sources); i++)
        ask(status, settings, &sources[i], gather);
    gather_one_less(gather);
}
