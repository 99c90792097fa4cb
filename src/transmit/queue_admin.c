/* What the administrator asks of the queue.  Deeds are answered when their
 * record is durable. */
#include "mail/date.h"
#include "transmit/queue_internal.h"
#include "transmit/tls_trouble.h"

json_t *
admin_sv(struct sv text)
{
    json_t *json = json_stringn(text.n > 0 ? text.p : "", text.n);

    return json != NULL ? json : json_string("(not UTF-8)");
}

json_t *
admin_time(int64_t wall_s)
{
    char text[MAIL_DATE_TEXT];

    return wall_s == 0 ? json_null() : json_string(mail_date_iso(wall_s, text));
}

static void
set_text(json_t *into, const char *key, struct sv text)
{
    if (text.n > 0)
        json_object_set_new(into, key, admin_sv(text));
}

/* Who decided about TLS, and by what. */
static void
add_decision(const struct ledger_tls *tls, json_t *into)
{
    set_text(into, "tls_policy", tls->authority);
    set_text(into, "tls_whys", tls->reasons);
    set_text(into, "dane", tls->dane);
    set_text(into, "mta_sts", tls->sts);
    set_text(into, "tls_noted", tls->noted);
}

static void
add_peer(const struct ledger_tls *tls, json_t *into)
{
    set_text(into, "tls_subject", tls->subject);
    set_text(into, "tls_issuer", tls->issuer);
    set_text(into, "tls_names", tls->names);
    set_text(into, "tls_sha256", tls->sha256);
    if (tls->not_after != 0)
        json_object_set_new(into, "tls_not_after", admin_time(tls->not_after));
}

void
admin_reason(const struct queue *queue, uint32_t number, json_t *into)
{
    struct reason reason;
    char status[24];

    if (number == 0)
        return;
    reason_view(&queue->reasons, number, &reason);
    snprintf(status, sizeof status, "%u.%u.%u", reason.status.class,
             reason.status.subject, reason.status.detail);
    json_object_set_new(into, "stage",
                        json_string(tls_stage_name(reason.stage)));
    set_text(into, "reason", reason.why);
    if (reason.code != 0)
        json_object_set_new(into, "code", json_integer(reason.code));
    json_object_set_new(into, "status", json_string(status));
    set_text(into, "text", reason.text);
    set_text(into, "host", reason.host);
    set_text(into, "ip", reason.ip);
    if (reason.port != 0)
        json_object_set_new(into, "port", json_integer(reason.port));
    add_decision(&reason.tls, into);
    if (reason.tls_version.n == 0)
        return;
    set_text(into, "tls_version", reason.tls_version);
    set_text(into, "tls_cipher", reason.tls_cipher);
    set_text(into, "tls_verify", reason.tls_verify);
    json_object_set_new(into, "tls_bits", json_integer(reason.tls_bits));
    json_object_set_new(into, "tls_resumed", json_boolean(reason.tls_resumed));
    add_peer(&reason.tls, into);
}

/* Seconds from now as a date; the queue's times are monotonic. */
static json_t *
time_from_now(uint64_t when, uint64_t now)
{
    return admin_time(clock_wall_s() + ((int64_t)when - (int64_t)now) / 1000);
}

static const char *
state_shown(const struct rcpt *rcpt, const struct destination_queue *d)
{
    if (rcpt->state == RCPT_READY && d->resting)
        return rcpt_state_name(RCPT_WAITING);
    return rcpt_state_name((enum rcpt_state)rcpt->state);
}

static json_t *
admin_rcpt(const struct queue *queue, const struct rcpt *rcpt, uint64_t now)
{
    const struct destination_queue *d = destination_of(queue, rcpt);
    bool rests = rcpt->state == RCPT_READY && d->resting;
    json_t *to = json_object();
    json_t *last;
    uint32_t reason = rcpt->reason;

    json_object_set_new(to, "index", json_integer(rcpt->index));
    json_object_set_new(to, "domain",
                        json_string(domain_at(queue, rcpt->domain)->name));
    json_object_set_new(to, "destination", json_string(d->self.key));
    json_object_set_new(to, "state", json_string(state_shown(rcpt, d)));
    json_object_set_new(to, "attempts", json_integer(rcpt->attempts));
    if (rcpt->state == RCPT_WAITING || rests)
        json_object_set_new(to, "next_attempt",
                            time_from_now(rests ? d->until : rcpt->when, now));
    if (reason == 0 && rests)
        reason = d->reason; /* not tried itself: why the destination rests */
    if (reason == 0)
        return to;
    last = json_object();
    json_object_set_new(last, "time", admin_time(rcpt->tried_s));
    admin_reason(queue, reason, last);
    json_object_set_new(to, "last_attempt", last);
    return to;
}

json_t *
admin_message(const struct queue *queue, uint32_t number)
{
    const struct message *message = queue_message(queue, number);
    json_t *json = json_object(), *to = json_array();
    uint64_t now = clock_mono_ms();

    json_object_set_new(json, "id", json_string(message->queue_id));
    json_object_set_new(json, "size", json_integer((json_int_t)message->bytes));
    json_object_set_new(json, "arrived",
                        admin_time(message->arrived_us / 1000000));
    json_object_set_new(json, "held",
                        json_boolean((message->flags & MESSAGE_HELD) != 0));
    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next)
        json_array_append_new(to, admin_rcpt(queue, queue_rcpt(queue, r), now));
    json_object_set_new(json, "recipients", to);
    return json;
}

/* --- Deeds ---------------------------------------------------------------- */

static json_t *
deed(const struct message *message, const char *what)
{
    return json_pack("{s:s,s:s}", "id", message->queue_id, "done", what);
}

static void
hold(struct queue *queue, uint32_t number, struct rpc_call *call)
{
    struct message *message = queue_message(queue, number);

    message_hold(queue, number);
    queue_record_action(queue, number, ACTION_HOLD, "admin", call,
                        deed(message, "hold"));
}

/* Ready at once, and their destinations with them: the administrator knows
 * that something has changed. */
static void
make_ready(struct queue *queue, uint32_t r, enum rcpt_state from)
{
    struct rcpt *rcpt = queue_rcpt(queue, r);
    struct destination_queue *d = destination_of(queue, rcpt);

    if (rcpt->state == (uint8_t)from)
        schedule_enter(queue, r, RCPT_READY, clock_mono_ms());
    schedule_wake(queue, d);
}

static void
release(struct queue *queue, uint32_t number, struct rpc_call *call)
{
    struct message *message = queue_message(queue, number);

    message->flags &= ~(uint32_t)MESSAGE_HELD;
    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next)
        make_ready(queue, r, RCPT_HELD);
    queue_record_action(queue, number, ACTION_RELEASE, "admin", call,
                        deed(message, "release"));
}

/* What is held stays held: the answer says so. */
static void
retry(struct queue *queue, uint32_t number, struct rpc_call *call)
{
    struct message *message = queue_message(queue, number);

    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next)
        make_ready(queue, r, RCPT_WAITING);
    queue_record_action(
        queue, number, ACTION_RETRY, "admin", call,
        deed(message, message->flags & MESSAGE_HELD ? "held" : "retry"));
}

enum { DELETE_SLICE = 256 };

static void
settle_deleted(struct queue *queue, uint32_t number, const uint32_t *handles,
               size_t count, struct rpc_call *call, json_t *answer)
{
    const struct message *message = queue_message(queue, number);
    struct ledger_result *results = mem_alloc_array(count, sizeof *results);
    const struct ledger_attempt facts = {
        .destination = sv_of(
            destination_of(queue, queue_rcpt(queue, handles[0]))->self.key),
    };

    for (size_t i = 0; i < count; i++)
        results[i] = (struct ledger_result){
            .outcome = OUTCOME_DELETED,
            .status = {5, 7, 0},
            .text = SV("deleted by the administrator"),
        };
    settle(queue, &(struct settle_input){
                      .message = number,
                      .facts = &facts,
                      .results = results,
                      .handles = handles,
                      .count = count,
                      .notify = (message->flags & MESSAGE_DELETE_NOTIFY) != 0,
                      .call = call,
                      .answer = answer,
                  });
    mem_free(results);
}

void
admin_finish_delete(struct queue *queue, uint32_t message,
                    const uint32_t *handles, size_t count)
{
    settle_deleted(queue, message, handles, count, NULL, NULL);
}

/* What a session has in its hands may get through; if it does not, it goes
 * then.  The deed stands in front of what it led to. */
static void
delete_message(struct queue *queue, uint32_t number, struct rpc_call *call)
{
    struct message *message = queue_message(queue, number);
    json_t *answer = deed(message, "delete");
    uint32_t *handles = NULL;
    size_t count = 0, active = 0;

    message->flags |= MESSAGE_DELETE;
    if (json_is_true(json_object_get(rpc_params(call), "notify")))
        message->flags |= MESSAGE_DELETE_NOTIFY;
    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next) {
        enum rcpt_state state = queue_rcpt(queue, r)->state;

        active += state == RCPT_ACTIVE;
        if (state == RCPT_ACTIVE || state == RCPT_CLOSING)
            continue;
        handles = mem_resize(handles, (count + 1) * sizeof *handles);
        handles[count++] = r;
    }
    json_object_set_new(answer, "in_delivery",
                        json_integer((json_int_t)active));
    queue_record_action(queue, number, ACTION_DELETE, "admin",
                        count == 0 ? call : NULL, count == 0 ? answer : NULL);
    if (count > 0)
        settle_deleted(queue, number, handles, count, call, answer);
    mem_free(handles);
}

/* --- Many ----------------------------------------------------------------- */

static bool
goes_to(const struct destination_queue *d, const struct domain *domain,
        struct sv destination)
{
    return destination.n == 0 || sv_is(destination, d->self.key) ||
           sv_is(destination, domain->name);
}

enum { RETRY_SLICE = 20000 };

/* A slice at a time, so that the lock is free between. */
static void
retry_many(struct queue *queue, struct sv destination, uint64_t *count)
{
    for (uint32_t i = 1;; i++) {
        pthread_mutex_lock(&queue->lock);
        for (uint32_t end = i + RETRY_SLICE;
             i < end && i < queue->recipients.end; i++) {
            const struct rcpt *rcpt = queue_rcpt(queue, i);

            if (rcpt->message == 0 || rcpt->state != RCPT_WAITING ||
                !goes_to(destination_of(queue, rcpt),
                         domain_at(queue, rcpt->domain), destination))
                continue;
            make_ready(queue, i, RCPT_WAITING);
            ++*count;
        }
        if (i >= queue->recipients.end) {
            pthread_mutex_unlock(&queue->lock);
            return;
        }
        i--;
        pthread_mutex_unlock(&queue->lock);
    }
}

/* What was learnt of failures is forgotten, too. */
static void
wake_destinations(struct queue *queue, struct sv destination)
{
    pthread_mutex_lock(&queue->lock);
    for (uint32_t i = 1; i < queue->domains.end; i++) {
        struct domain *domain = domain_at(queue, i);

        if (domain == NULL ||
            !goes_to(domain->destination, domain, destination))
            continue;
        domain->destination->failures = domain->destination->barren = 0;
        schedule_wake(queue, domain->destination);
        schedule_consider(queue, domain->destination);
    }
    pthread_mutex_unlock(&queue->lock);
}

static void
request_retry_many(struct queue *queue, struct rpc_call *call,
                   struct sv destination)
{
    uint64_t count = 0;

    retry_many(queue, destination, &count);
    wake_destinations(queue, destination);
    log_event(NULL, LOG_INFO, "queue.retry", LOG_SV("destination", destination),
              LOG_U64("recipients", count));
    queue_kick(queue);
    rpc_result(call, json_pack("{s:s,s:I}", "done", "retry", "recipients",
                               (json_int_t)count));
}

/* --- Views ---------------------------------------------------------------- */

static json_t *
destination_json(const struct queue *queue, const struct destination_queue *d,
                 uint64_t now)
{
    json_t *json = json_pack(
        "{s:s,s:i,s:i,s:i,s:i,s:i,s:i}", "destination", d->self.key, "ready",
        (int)d->count[RCPT_READY], "active",
        (int)(d->count[RCPT_ACTIVE] + d->count[RCPT_CLOSING]), "waiting",
        (int)d->count[RCPT_WAITING], "held", (int)d->count[RCPT_HELD],
        "sessions", (int)d->sessions, "failures", (int)d->failures);

    json_t *tls;

    if (d->self.demands != 0)
        json_object_set_new(json, "demands",
                            queue_demands_json(d->self.demands));
    json_object_set_new(json, "last_success", admin_time(d->worked_s));
    if (d->resting)
        json_object_set_new(json, "next_try", time_from_now(d->until, now));
    if (d->reason != 0) {
        json_t *failure = json_object();

        json_object_set_new(failure, "first", admin_time(d->failed_first_s));
        json_object_set_new(failure, "last", admin_time(d->failed_last_s));
        admin_reason(queue, d->reason, failure);
        json_object_set_new(json, "last_failure", failure);
    }
    tls = queue->troubles != NULL
              ? tls_troubles_json(queue->troubles, d->self.key)
              : NULL;
    if (tls != NULL)
        json_object_set_new(json, "tls_failures", tls);
    return json;
}

void
queue_set_troubles(struct queue *queue, struct tls_troubles *troubles)
{
    queue->troubles = troubles;
}

static void
request_destinations(struct queue *queue, struct rpc_call *call)
{
    enum { SLICE = 200 };
    json_t *items[SLICE];
    uint32_t i = 1, end;
    uint64_t total = 0;

    do {
        size_t count = 0;

        pthread_mutex_lock(&queue->lock);
        end = queue->destinations.end;
        for (; i < end && count < SLICE; i++)
            if (destination_at(queue, i) != NULL)
                items[count++] = destination_json(
                    queue, destination_at(queue, i), clock_mono_ms());
        pthread_mutex_unlock(&queue->lock);
        for (size_t k = 0; k < count; k++)
            rpc_item(call, items[k]);
        total += count;
    } while (i < end);
    rpc_result(call, json_pack("{s:I}", "destinations", (json_int_t)total));
}

static void
request_stats(struct queue *queue, struct rpc_call *call)
{
    struct queue_stats stats;

    queue_stats(queue, &stats);
    rpc_result(call, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "messages",
                               (json_int_t)stats.messages, "bytes",
                               (json_int_t)stats.bytes, "ready",
                               (json_int_t)stats.ready, "active",
                               (json_int_t)stats.active, "waiting",
                               (json_int_t)stats.waiting, "held",
                               (json_int_t)stats.held, "destinations",
                               (json_int_t)stats.destinations, "memory",
                               (json_int_t)queue_memory(queue)));
}

/* --- Dispatch ------------------------------------------------------------- */

static struct sv
param(const struct rpc_call *call, const char *name)
{
    return sv_of(json_string_value(json_object_get(rpc_params(call), name)));
}

/* A deed on one message, named by its id. */
static void
on_message(struct queue *queue, struct rpc_call *call,
           void (*run)(struct queue *queue, uint32_t number,
                       struct rpc_call *call))
{
    struct sv id = param(call, "id");
    uint32_t number;

    pthread_mutex_lock(&queue->lock);
    number = queue_find_text(queue, id);
    if (number != 0) {
        log_event(NULL, LOG_INFO, "queue.admin", LOG_SV("queue", id),
                  LOG_STR("deed", rpc_method(call)));
        run(queue, number, call);
    }
    queue_kick(queue);
    pthread_mutex_unlock(&queue->lock);
    if (number == 0)
        rpc_error(call, "no message %.*s in the queue", SV_ARG(id));
}

static void
request_retry(struct queue *queue, struct rpc_call *call)
{
    struct sv destination = param(call, "destination");

    if (param(call, "id").n > 0)
        on_message(queue, call, retry);
    else if (destination.n > 0 ||
             json_is_true(json_object_get(rpc_params(call), "all")))
        request_retry_many(queue, call, destination);
    else
        rpc_error(call, "say which: an id, a destination, or all");
}

static void
request_hold(struct queue *queue, struct rpc_call *call)
{
    on_message(queue, call, hold);
}

static void
request_release(struct queue *queue, struct rpc_call *call)
{
    on_message(queue, call, release);
}

static void
request_delete(struct queue *queue, struct rpc_call *call)
{
    on_message(queue, call, delete_message);
}

static const struct method {
    const char *name;
    void (*run)(struct queue *queue, struct rpc_call *call);
} methods[] = {
    {"queue.list", list_begin},
    {"queue.show", list_show},
    {"queue.retry", request_retry},
    {"queue.hold", request_hold},
    {"queue.release", request_release},
    {"queue.delete", request_delete},
    {"queue.stats", request_stats},
    {"queue.destinations", request_destinations},
    {"queue.submit", submit_begin},
};

void
queue_request(struct queue *queue, struct rpc_call *call)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (strcmp(rpc_method(call), methods[i].name) == 0) {
            methods[i].run(queue, call);
            return;
        }
    rpc_error(call, "the queue knows no call %s", rpc_method(call));
}
