/* What the end of a try means for a message: the one place where a recipient is
 * deferred or becomes final.
 *
 *   deferred           state WAITING (or HELD), then the ATTEMPT is appended
 *   final, silent      ATTEMPT is appended, state CLOSING; when it is durable
 *                      the recipient goes, with the last one the message
 *   final, with notice the notification becomes durable first, then as above
 *   late               the delay notification becomes durable, then the note
 *                      (WARNED) that it was sent
 *
 * A crash at any point: before the ATTEMPT of a final outcome is durable the
 * recipient is still queued and is tried again, so a failure is found again and
 * told again: at most the notification comes twice, it is never lost, because
 * nothing becomes final before its notification is durable.  An ATTEMPT of a
 * deferral that is lost means an earlier next try.  A lost WARNED means a
 * second delay notification. */
#include "base/random.h"
#include "transmit/queue_internal.h"

enum {
    DELAY_NOTICE_MS = 4 * 3600 * 1000, /* for NOTIFY=DELAY, by default */
    RECORD_TEXTS_MAX = 8 << 20, /* bytes of all texts of a record; half of what
                                 * the ledger takes */
};

static const struct bounce_profile_settings *
bounce_profile(const struct queue *queue, const struct rcpt *rcpt)
{
    return destination_of(queue, rcpt)->control->bounce_profile;
}

bool
settle_expired(const struct queue *queue, const struct message *message,
               const struct rcpt *rcpt, int64_t wall_us)
{
    const struct bounce_profile_settings *profile = bounce_profile(queue, rcpt);
    int64_t age_ms = (wall_us - message->arrived_us) / 1000;

    return rcpt->attempts > profile->max_retries ||
           (age_ms >= 0 && (uint64_t)age_ms >= profile->max_time_in_queue);
}

/* Milliseconds until the next try, such that one is made when the time in the
 * queue ends. */
static uint64_t
next_delay(const struct queue *queue, const struct message *message,
           const struct rcpt *rcpt, uint32_t attempts, int64_t wall_us)
{
    const struct bounce_profile_settings *profile = bounce_profile(queue, rcpt);
    uint64_t delay = schedule_backoff(profile->first_retry, profile->max_retry,
                                      attempts, (uint32_t)random_u64());
    int64_t left_ms = (int64_t)profile->max_time_in_queue -
                      (wall_us - message->arrived_us) / 1000;

    if (left_ms > 0 && delay > (uint64_t)left_ms)
        delay = (uint64_t)left_ms;
    return delay;
}

static bool
notify_has(const struct rcpt *rcpt, unsigned bit)
{
    return (rcpt->flags & bit) != 0;
}

/* RFC 3461 section 4.1; dsn_wanted() says the same of an envelope. */
static bool
notice_due(const struct message *message, const struct rcpt *rcpt,
           enum ledger_outcome outcome)
{
    unsigned notify = rcpt->flags & 15u;

    if ((message->flags & MESSAGE_NULL_SENDER) != 0)
        return false;
    switch (outcome) {
    case OUTCOME_RELAYED:
        return notify_has(rcpt, NOTIFY_SUCCESS);
    case OUTCOME_FAILED:
    case OUTCOME_EXPIRED:
    case OUTCOME_DELETED:
        return notify == 0 || notify_has(rcpt, NOTIFY_FAILURE);
    case OUTCOME_DEFERRED:
    case OUTCOME_DELIVERED:
        break;
    }
    return false;
}

static bool
warning_due(const struct queue *queue, const struct message *message,
            const struct rcpt *rcpt, int64_t wall_us)
{
    uint64_t after = bounce_profile(queue, rcpt)->delay_warning;
    unsigned notify = rcpt->flags & 15u;
    int64_t age_ms = (wall_us - message->arrived_us) / 1000;

    if ((message->flags & MESSAGE_NULL_SENDER) != 0 || rcpt->attempts < 2 ||
        notify_has(rcpt, RCPT_WARNED))
        return false;
    if (notify != 0 && !notify_has(rcpt, NOTIFY_DELAY))
        return false;
    if (after == 0 && notify_has(rcpt, NOTIFY_DELAY))
        after = DELAY_NOTICE_MS;
    return after > 0 && age_ms >= 0 && (uint64_t)age_ms >= after;
}

static void
copy_facts(struct settlement *to, const struct ledger_attempt *facts)
{
    struct arena *arena = &to->arena;
    struct ledger_attempt *a = &to->attempt;

    *a = *facts;
    a->queue_id = arena_copy(arena, facts->queue_id);
    a->destination = arena_copy(arena, facts->destination);
    a->host = arena_copy(arena, facts->host);
    a->ip = arena_copy(arena, facts->ip);
    a->delivery = arena_copy(arena, facts->delivery);
    a->reason = arena_copy(arena, facts->reason);
    a->tls_version = arena_copy(arena, facts->tls_version);
    a->tls_cipher = arena_copy(arena, facts->tls_cipher);
    a->tls_verify = arena_copy(arena, facts->tls_verify);
    ledger_tls_copy(arena, &facts->tls, &a->tls);
}

static struct settlement *
settlement_new(struct queue *queue, enum settlement_kind kind,
               const struct settle_input *input, size_t max)
{
    const struct message *message = queue_message(queue, input->message);
    struct settlement *s = mem_alloc(sizeof *s);

    arena_init(&s->arena, 1024);
    s->queue = queue;
    s->kind = kind;
    s->message = input->message;
    s->place = message->place;
    s->arrived_us = message->arrived_us;
    copy_facts(s, input->facts);
    s->attempt.id = message->id;
    s->attempt.queue_id = arena_copy(&s->arena, sv_of(message->queue_id));
    s->results = arena_alloc(&s->arena, max * sizeof *s->results);
    s->handles = arena_alloc(&s->arena, max * sizeof *s->handles);
    s->attempt.results = s->results;
    return s;
}

void
settlement_free(struct settlement *settlement)
{
    settings_unref(settlement->settings);
    arena_fini(&settlement->arena);
    json_decref(settlement->answer);
    mem_free(settlement);
}

/* One call's worth of settling. */
struct settling {
    struct queue *queue;
    const struct settle_input *input;
    struct settlement *kinds[3]; /* by enum settlement_kind */
    int64_t wall_us;
    uint64_t now;
    uint32_t attempt;
    int64_t next_retry_us;
    uint64_t next; /* monotonic ms, 0: not drawn yet */
};

/* A record has an end: with very many recipients there is room for the
 * beginning of what was said about each. */
static struct sv
cut_text(struct sv text, size_t count)
{
    size_t max = RECORD_TEXTS_MAX / count;

    if (text.n <= max)
        return text;
    while (max > 0 && ((unsigned char)text.p[max] & 0xc0) == 0x80)
        max--; /* not in the middle of a character */
    return sv_slice(text, 0, max);
}

static void
put(struct settling *s, enum settlement_kind kind,
    const struct ledger_result *result, uint32_t handle)
{
    struct settlement *to = s->kinds[kind];

    if (to == NULL)
        to = s->kinds[kind] =
            settlement_new(s->queue, kind, s->input, s->input->count);
    to->results[to->count] = *result;
    to->results[to->count].text =
        arena_copy(&to->arena, cut_text(result->text, s->input->count));
    to->handles[to->count++] = handle;
    to->attempt.result_count = to->count;
}

static void
remember_reason(struct queue *queue, struct rcpt *rcpt,
                const struct ledger_attempt *facts,
                const struct ledger_result *result)
{
    struct reason reason;

    reason_of(facts, result, &reason);
    rcpt_set_reason(queue, rcpt, reason_intern(&queue->reasons, &reason));
}

/* All recipients of one try come back together. */
static void
defer(struct settling *s, const struct ledger_result *result, uint32_t handle)
{
    struct queue *queue = s->queue;
    struct rcpt *rcpt = queue_rcpt(queue, handle);
    struct message *message = queue_message(queue, rcpt->message);

    if (s->next == 0) {
        uint64_t delay =
            next_delay(queue, message, rcpt, s->attempt, s->wall_us);

        s->next = s->now + delay;
        s->next_retry_us = s->wall_us + (int64_t)delay * 1000;
    }
    remember_reason(queue, rcpt, s->input->facts, result);
    put(s, SETTLE_RECORD, result, handle);
    if (warning_due(queue, message, rcpt, s->wall_us)) {
        rcpt->flags |= RCPT_WARNED;
        put(s, SETTLE_WARN, result, handle);
    }
    schedule_enter(queue, handle,
                   message->flags & MESSAGE_HELD ? RCPT_HELD : RCPT_WAITING,
                   s->next);
}

/* A deferral that was the last one.  RFC 3463: X.4.7, delivery time expired, is
 * of class 4 by nature; the action says that it is final. */
static void
maybe_final(struct settling *s, struct ledger_result *result,
            const struct rcpt *rcpt)
{
    const struct message *message = queue_message(s->queue, rcpt->message);

    if (result->outcome != OUTCOME_DEFERRED)
        return;
    if ((message->flags & MESSAGE_DELETE) != 0) {
        result->outcome = OUTCOME_DELETED;
    } else if (settle_expired(s->queue, message, rcpt, s->wall_us)) {
        result->outcome = OUTCOME_EXPIRED;
        result->status = (struct mail_status){4, 4, 7};
    }
}

static bool
tells_sender(const struct settling *s, const struct message *message,
             const struct rcpt *rcpt, enum ledger_outcome outcome)
{
    bool told = s->input->notify;

    if (outcome == OUTCOME_DELETED && s->input->counts)
        told = (message->flags & MESSAGE_DELETE_NOTIFY) != 0;
    return told && notice_due(message, rcpt, outcome);
}

static void
settle_result(struct settling *s, struct ledger_result *result, uint32_t handle)
{
    struct rcpt *rcpt = queue_rcpt(s->queue, handle);
    const struct message *message = queue_message(s->queue, rcpt->message);
    bool told;

    result->recipient = rcpt->index;
    if (s->input->counts) {
        rcpt->attempts = (uint16_t)s->attempt;
        rcpt->tried_s = (uint32_t)(s->wall_us / 1000000);
    }
    maybe_final(s, result, rcpt);
    if (result->outcome == OUTCOME_DEFERRED) {
        defer(s, result, handle);
        return;
    }
    remember_reason(s->queue, rcpt, s->input->facts, result);
    schedule_enter(s->queue, handle, RCPT_ACTIVE, s->now);
    told = tells_sender(s, message, rcpt, result->outcome);
    put(s, told ? SETTLE_BOUNCE : SETTLE_RECORD, result, handle);
}

static void
log_result(const struct settlement *s, const struct envelope *envelope,
           const struct ledger_result *r)
{
    const struct ledger_attempt *a = &s->attempt;
    bool known = envelope != NULL && r->recipient < envelope->recipient_count;
    char status[24];

    snprintf(status, sizeof status, "%u.%u.%u", r->status.class,
             r->status.subject, r->status.detail);
    log_event(
        NULL, LOG_INFO, "queue.result", LOG_SV("queue", a->queue_id),
        LOG_U64("recipient", r->recipient),
        LOG_IF(known, LOG_SV("to", envelope->recipients[r->recipient].address)),
        LOG_STR("outcome", ledger_outcome_name(r->outcome)),
        LOG_SV("destination", a->destination),
        LOG_IF(a->delivery.n > 0, LOG_SV("delivery", a->delivery)),
        LOG_IF(a->host.n > 0, LOG_SV("host", a->host)),
        LOG_IF(a->ip.n > 0, LOG_SV("ip", a->ip)),
        LOG_IF(r->code != 0, LOG_U64("code", r->code)),
        LOG_STR("status", status),
        LOG_IF(a->stage != STAGE_NONE,
               LOG_STR("stage", tls_stage_name(a->stage))),
        LOG_IF(a->reason.n > 0, LOG_SV("reason", a->reason)),
        LOG_IF(r->text.n > 0, LOG_SV("text", r->text)),
        LOG_IF(a->tls_version.n > 0, LOG_SV("version", a->tls_version)),
        LOG_IF(a->tls_cipher.n > 0, LOG_SV("cipher", a->tls_cipher)),
        LOG_IF(a->tls.authority.n > 0, LOG_SV("policy", a->tls.authority)),
        LOG_IF(a->tls.reasons.n > 0, LOG_SV("whys", a->tls.reasons)),
        LOG_IF(a->tls.dane.n > 0, LOG_SV("dane", a->tls.dane)),
        LOG_IF(a->tls.sts.n > 0, LOG_SV("sts", a->tls.sts)),
        LOG_IF(a->tls.noted.n > 0, LOG_SV("noted", a->tls.noted)),
        LOG_U64("attempt", a->attempt),
        LOG_I64("age_s", (a->ended_us - s->arrived_us) / 1000000),
        LOG_IF(r->outcome == OUTCOME_DEFERRED,
               LOG_I64("next_s", (a->next_retry_us - a->ended_us) / 1000000)));
}

void
settle_finish(struct settlement *s)
{
    struct queue *queue = s->queue;
    struct message *message = queue_message(queue, s->message);
    struct queue_record *record =
        queue_record_new(queue, SPOOL_ATTEMPT, s->message);

    record->finished = mem_alloc_array(s->count + 1, sizeof *record->finished);
    for (size_t i = 0; i < s->count; i++) {
        if (s->results[i].outcome == OUTCOME_DEFERRED)
            continue;
        schedule_enter(queue, s->handles[i], RCPT_CLOSING, 0);
        record->finished[record->finished_count++] = s->handles[i];
        message->open--;
    }
    s->attempt.message_final = message->open == 0;
    ledger_attempt_encode(&s->attempt, &record->payload);
    record->call = s->call;
    record->answer = s->answer;
    s->answer = NULL;
    queue_record_append(record);
    settlement_free(s);
}

static uint32_t
attempt_number(const struct queue *queue, const struct settle_input *input)
{
    uint32_t most = 0;

    for (size_t i = 0; i < input->count; i++) {
        uint32_t attempts = queue_rcpt(queue, input->handles[i])->attempts;

        if (attempts > most)
            most = attempts;
    }
    if (input->counts && most < UINT16_MAX)
        most++;
    return most;
}

static void
dispatch(struct settling *s, struct settlement *settlement)
{
    struct ledger_attempt *a = &settlement->attempt;

    a->attempt = s->attempt;
    a->next_retry_us = s->next_retry_us;
    if (a->ended_us == 0)
        a->ended_us = s->wall_us;
    if (a->started_us == 0)
        a->started_us = a->ended_us;
    if (settlement->kind != SETTLE_WARN)
        for (size_t i = 0; i < settlement->count; i++)
            log_result(settlement, s->input->envelope, &settlement->results[i]);
    if (settlement->kind == SETTLE_RECORD)
        settle_finish(settlement);
    else
        bounce_enqueue(s->queue, settlement);
}

/* The call of an administrator is answered when the last of it is durable:
 * with a notification, that is the record behind it. */
void
settle(struct queue *queue, const struct settle_input *input)
{
    struct settling s = {
        .queue = queue,
        .input = input,
        .wall_us = clock_wall_us(),
        .now = clock_mono_ms(),
        .attempt = attempt_number(queue, input),
    };
    struct settlement *last;

    for (size_t i = 0; i < input->count; i++)
        settle_result(&s, &input->results[i], input->handles[i]);
    last = s.kinds[SETTLE_BOUNCE] != NULL ? s.kinds[SETTLE_BOUNCE]
                                          : s.kinds[SETTLE_RECORD];
    if (last != NULL) {
        last->call = input->call;
        last->answer = input->answer;
    }
    for (int kind = 0; kind < 3; kind++)
        if (s.kinds[kind] != NULL)
            dispatch(&s, s.kinds[kind]);
}

/* --- A destination that failed as a whole -------------------------------- */

void
sweep_begin(struct queue *queue, struct destination_queue *d,
            const struct destination_failure *failure)
{
    struct sweep *sweep = mem_alloc(sizeof *sweep);
    uint32_t last = 0;

    arena_init(&sweep->arena, 1024);
    sweep->destination = d;
    sweep->final = failure->final;
    sweep->failure = *failure;
    sweep->facts = (struct ledger_attempt){
        .destination = sv_of(d->self.key),
        .host = arena_copy(&sweep->arena, failure->host),
        .ip = arena_copy(&sweep->arena, failure->ip),
        .stage = failure->failure.stage,
        .ended_us = clock_wall_us(),
    };
    sweep->facts.tls_version = arena_copy(&sweep->arena, failure->tls_version);
    sweep->facts.tls_cipher = arena_copy(&sweep->arena, failure->tls_cipher);
    sweep->facts.tls_verify = arena_copy(&sweep->arena, failure->tls_verify);
    ledger_tls_copy(&sweep->arena, &failure->tls, &sweep->facts.tls);
    sweep->facts.reason =
        arena_copy(&sweep->arena, sv_of(failure->failure.reason));
    while (d->ready_first != 0) {
        uint32_t number = d->ready_first;

        schedule_enter(queue, number, RCPT_ACTIVE, 0);
        queue_rcpt(queue, number)->behind = 0;
        if (last == 0)
            sweep->first = number;
        else
            queue_rcpt(queue, last)->behind = number;
        last = number;
    }
    d->sessions++; /* it must not go before the sweep is over */
    queue->sessions++;
    list_push_back(&queue->failing, &sweep->link);
    queue_kick(queue);
}

static void
sweep_end(struct queue *queue, struct sweep *sweep)
{
    struct destination_queue *d = sweep->destination;

    list_remove(&queue->failing, &sweep->link);
    d->sessions--;
    queue->sessions--;
    d->idle_since = clock_mono_ms();
    schedule_consider(queue, d);
    arena_fini(&sweep->arena);
    mem_free(sweep);
}

enum { SWEEP_MESSAGE_MAX = 256, SWEEP_SLICE = 256 };

/* The recipients of one message that stand together at the chain's front. */
static void
sweep_message(struct queue *queue, struct sweep *sweep)
{
    struct ledger_result results[SWEEP_MESSAGE_MAX];
    uint32_t handles[SWEEP_MESSAGE_MAX];
    uint32_t message = queue_rcpt(queue, sweep->first)->message;
    size_t count = 0;

    while (sweep->first != 0 && count < SWEEP_MESSAGE_MAX) {
        struct rcpt *rcpt = queue_rcpt(queue, sweep->first);

        if (rcpt->message != message)
            break;
        handles[count] = sweep->first;
        results[count++] = (struct ledger_result){
            .outcome = sweep->final ? OUTCOME_FAILED : OUTCOME_DEFERRED,
            .code = sweep->failure.code,
            .status = sweep->failure.status,
            .text = sweep->facts.reason,
        };
        sweep->first = rcpt->behind;
        rcpt->behind = 0;
    }
    settle(queue, &(struct settle_input){.message = message,
                                         .facts = &sweep->facts,
                                         .results = results,
                                         .handles = handles,
                                         .count = count,
                                         .counts = true,
                                         .notify = true});
}

/* What it waits for makes a new turn of the loop when it is there. */
bool
sweep_slice(struct queue *queue)
{
    for (int i = 0; i < SWEEP_SLICE; i++) {
        struct link *link = list_first(&queue->failing);
        struct sweep *sweep;

        if (link == NULL || queue_record_crowded(queue))
            return false;
        sweep = CONTAINER_OF(link, struct sweep, link);
        if (sweep->first == 0)
            sweep_end(queue, sweep);
        else
            sweep_message(queue, sweep);
    }
    return !list_empty(&queue->failing);
}
