/* The face of the queue: opening, handing out, taking back, and the turn of the
 * main loop in which everything else happens. */
#include "transmit/queue.h"
#include "base/random.h"
#include "transmit/queue_internal.h"

enum { GRANTS = 64, TAKE_TRIES = 8 };

/* A parcel and what the queue must know to take it back. */
struct handed {
    struct parcel parcel;
    uint32_t message;
    uint32_t *handles; /* in the parcel's arena */
    struct link link;
};

/* --- Open and close ------------------------------------------------------- */

static void
init_tables(struct queue *queue)
{
    slab_init(&queue->messages, sizeof(struct message));
    slab_init(&queue->recipients, sizeof(struct rcpt));
    index_init(&queue->by_id, queue_hash_id, queue);
    index_init(&queue->by_queue_id, queue_hash_text, queue);
    schedule_init(queue);
}

/* Contents in the spool are not touched. */
static void
fini_tables(struct queue *queue)
{
    schedule_fini(queue);
    for (uint32_t i = 1; i < queue->destinations.end; i++)
        if (destination_at(queue, i) != NULL)
            destination_at(queue, i)->resting = false;
    destination_fini_all(queue);
    reasons_fini(&queue->reasons);
    slab_fini(&queue->messages);
    slab_fini(&queue->recipients);
    index_fini(&queue->by_id);
    index_fini(&queue->by_queue_id);
    keep_fini(queue);
}

void
queue_clear(struct queue *queue)
{
    fini_tables(queue);
    memset(queue->segments, 0, sizeof queue->segments);
    memset(queue->count, 0, sizeof queue->count);
    queue->bytes = 0;
    init_tables(queue);
}

static void on_turn(struct task *task);
static void on_timer(struct timer *timer);

struct queue *
queue_new(struct spool *spool, struct loop *loop, struct settings *settings,
          const struct queue_calls *calls)
{
    struct queue *queue = mem_alloc(sizeof *queue);

    queue->spool = spool;
    queue->loop = loop;
    queue->settings = settings_ref(settings);
    queue->calls = *calls;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_mutex_init(&queue->done_lock, NULL);
    pthread_cond_init(&queue->done_cond, NULL);
    pthread_cond_init(&queue->works_cond, NULL);
    list_init(&queue->failing);
    list_init(&queue->done);
    list_init(&queue->again);
    list_init(&queue->bounces);
    list_init(&queue->works);
    list_init(&queue->floors);
    list_init(&queue->listings);
    init_tables(queue);
    queue->poster = mem_alloc(sizeof *queue->poster);
    queue->poster->queue = queue;
    queue->poster->task.run = on_turn;
    timer_init(&queue->timer, loop, on_timer);
    return queue;
}

static void
free_lists(struct queue *queue)
{
    struct link *link;

    while ((link = list_pop_front(&queue->bounces)) != NULL)
        settlement_free(CONTAINER_OF(link, struct settlement, link));
    while ((link = list_pop_front(&queue->failing)) != NULL) {
        struct sweep *sweep = CONTAINER_OF(link, struct sweep, link);

        arena_fini(&sweep->arena);
        mem_free(sweep);
    }
    queue_record_drop(queue);
}

void
queue_free(struct queue *queue)
{
    timer_fini(&queue->timer);
    tail_close(queue);
    free_lists(queue);
    fini_tables(queue);
    if (queue->poster->posted)
        queue->poster->queue = NULL; /* frees itself */
    else
        mem_free(queue->poster);
    settings_unref(queue->settings);
    pthread_mutex_destroy(&queue->lock);
    pthread_mutex_destroy(&queue->done_lock);
    pthread_cond_destroy(&queue->done_cond);
    pthread_cond_destroy(&queue->works_cond);
    mem_free(queue);
}

struct queue *
queue_open(struct spool *spool, struct loop *loop, struct settings *settings,
           const struct queue_calls *calls, struct err *err)
{
    uint64_t began = clock_mono_ms();
    struct queue *queue = queue_new(spool, loop, settings, calls);

    if (!tail_open(queue, err)) {
        err_wrap(err, "open the queue");
        queue_free(queue);
        return NULL;
    }
    keep_position(queue);
    log_event(NULL, LOG_INFO, "queue.open",
              LOG_U64("messages", queue->messages.count),
              LOG_U64("recipients", queue->recipients.count),
              LOG_U64("memory", queue_memory(queue)),
              LOG_U64("ms", clock_mono_ms() - began));
    queue_kick(queue);
    return queue;
}

/* What is under way on pool threads is waited for: a notification that is
 * durable must be in the queue when the last checkpoint is taken.  If the
 * ledger cannot be written any more, records may still come back from it when
 * the spool is closed: then the queue's memory stays. */
void
queue_close(struct queue *queue)
{
    struct err err;

    queue->closing = true;
    pool_finish(queue);
    list_abandon(queue);
    if (!queue_record_wait(queue)) {
        log_event(NULL, LOG_ERROR, "queue.not_written",
                  LOG_U64("records", queue->records));
        timer_fini(&queue->timer);
        tail_close(queue);
        return;
    }
    queue_record_collect(queue);
    if (!keep_checkpoint(queue, &err))
        log_event(NULL, LOG_ERROR, "queue.checkpoint_failed",
                  LOG_STR("error", err.text));
    queue_free(queue);
}

void
queue_set_settings(struct queue *queue, struct settings *settings)
{
    struct settings *old;

    pthread_mutex_lock(&queue->lock);
    old = queue->settings;
    queue->settings = settings_ref(settings);
    domain_reroute(queue);
    pthread_mutex_unlock(&queue->lock);
    settings_unref(old);
    queue_kick(queue);
}

/* --- The turn of the main loop -------------------------------------------- */

void
queue_kick(struct queue *queue)
{
    struct poster *poster = queue->poster;

    if (!atomic_exchange(&poster->posted, true))
        loop_post(queue->loop, &poster->task);
}

static void
ask_for_sessions(struct queue *queue)
{
    struct destination_queue *granted[GRANTS];
    size_t count;

    pthread_mutex_lock(&queue->lock);
    count = schedule_grant(queue, granted, GRANTS);
    pthread_mutex_unlock(&queue->lock);
    for (size_t i = 0; i < count; i++)
        queue->calls.on_session_wanted(queue->calls.owner, &granted[i]->self);
    if (count == GRANTS)
        queue_kick(queue);
}

/* A sweep that cannot go on, for notifications cannot be stored, is not waited
 * for: its mail is tried again after the next start. */
static bool
is_idle(struct queue *queue)
{
    bool idle;

    pthread_mutex_lock(&queue->done_lock);
    idle = queue->records == 0 && list_empty(&queue->done);
    pthread_mutex_unlock(&queue->done_lock);
    return idle && queue->parcels == 0 && queue->works_running == 0 &&
           list_empty(&queue->works) &&
           (list_empty(&queue->failing) || queue_record_crowded(queue));
}

static void
maybe_drained(struct queue *queue)
{
    void (*on_idle)(void *arg) = NULL;

    pthread_mutex_lock(&queue->lock);
    if (queue->draining && queue->on_idle != NULL && is_idle(queue)) {
        on_idle = queue->on_idle;
        queue->on_idle = NULL;
    }
    pthread_mutex_unlock(&queue->lock);
    if (on_idle != NULL)
        on_idle(queue->on_idle_arg);
}

static void
take_turn(struct queue *queue)
{
    uint64_t next;

    tail_read(queue);
    queue_record_collect(queue);
    pthread_mutex_lock(&queue->lock);
    schedule_due(queue, clock_mono_ms());
    if (sweep_slice(queue))
        queue_kick(queue);
    pthread_mutex_unlock(&queue->lock);
    bounce_start(queue);
    ask_for_sessions(queue);
    if (!queue->draining)
        keep_tick(queue);
    pthread_mutex_lock(&queue->lock);
    spool_publish_queue(queue->spool, queue->messages.count, queue->bytes);
    next = schedule_next(queue, clock_mono_ms());
    if (next > keep_next(queue))
        next = keep_next(queue);
    if ((!list_empty(&queue->again) || !list_empty(&queue->bounces) ||
         queue->tail_again_at != 0) &&
        next > 1000)
        next = 1000;
    pthread_mutex_unlock(&queue->lock);
    timer_arm(&queue->timer, next);
    maybe_drained(queue); /* may close the queue: last */
}

static void
on_turn(struct task *task)
{
    struct poster *poster = CONTAINER_OF(task, struct poster, task);

    atomic_store(&poster->posted, false);
    if (poster->queue == NULL)
        mem_free(poster);
    else if (!poster->queue->closing)
        take_turn(poster->queue);
}

static void
on_timer(struct timer *timer)
{
    queue_kick(CONTAINER_OF(timer, struct queue, timer));
}

void
queue_drain(struct queue *queue, void (*on_idle)(void *arg), void *arg)
{
    pthread_mutex_lock(&queue->lock);
    queue->draining = true;
    queue->on_idle = on_idle;
    queue->on_idle_arg = arg;
    pthread_mutex_unlock(&queue->lock);
    queue_kick(queue);
}

/* --- Handing out ---------------------------------------------------------- */

/* Takes ready recipients of one message for this destination. */
static struct handed *
hand_out(struct queue *queue, struct destination_queue *d, uint32_t max)
{
    uint32_t first = d->ready_first;
    struct handed *handed;
    uint32_t message, count = 0;

    while (first != 0 &&
           (queue_message(queue, queue_rcpt(queue, first)->message)->flags &
            MESSAGE_MOVING) != 0)
        first = queue_rcpt(queue, first)->behind;
    if (first == 0)
        return NULL;
    message = queue_rcpt(queue, first)->message;
    handed = mem_alloc(sizeof *handed);
    arena_init(&handed->parcel.arena, 4096);
    handed->message = message;
    for (uint32_t r = queue_message(queue, message)->recipients; r != 0;
         r = queue_rcpt(queue, r)->next)
        count++;
    if (count > max)
        count = max > 0 ? max : 1;
    handed->handles =
        arena_alloc(&handed->parcel.arena, count * sizeof *handed->handles);
    for (uint32_t r = queue_message(queue, message)->recipients;
         r != 0 && handed->parcel.recipient_count < count;
         r = queue_rcpt(queue, r)->next) {
        struct rcpt *rcpt = queue_rcpt(queue, r);

        if (rcpt->state != RCPT_READY || destination_of(queue, rcpt) != d)
            continue;
        schedule_enter(queue, r, RCPT_ACTIVE, rcpt->when);
        handed->handles[handed->parcel.recipient_count++] = r;
    }
    queue->parcels++;
    return handed;
}

static void
describe(struct queue *queue, struct handed *handed,
         struct destination_queue *d, struct spool_place *place)
{
    const struct message *message = queue_message(queue, handed->message);
    struct parcel *parcel = &handed->parcel;
    uint32_t attempts = 0;

    parcel->id = message->id;
    parcel->arrived_us = message->arrived_us;
    parcel->destination = &d->self;
    parcel->recipients = arena_alloc(
        &parcel->arena, parcel->recipient_count * sizeof *parcel->recipients);
    for (size_t i = 0; i < parcel->recipient_count; i++) {
        const struct rcpt *rcpt = queue_rcpt(queue, handed->handles[i]);

        parcel->recipients[i].index = rcpt->index;
        if (rcpt->attempts > attempts)
            attempts = rcpt->attempts;
    }
    parcel->attempt = attempts + 1;
    parcel->facts.destination = sv_of(d->self.key);
    parcel->facts.started_us = clock_wall_us();
    d->turn++;
    *place = message->place;
}

/* Without the lock: reads the disk. */
static bool
open_parcel(struct queue *queue, struct parcel *parcel,
            struct spool_place place, struct err *err)
{
    struct sv bytes;

    parcel->content = spool_content_open(queue->spool, place, err);
    if (parcel->content == NULL)
        return false;
    bytes = spool_content_envelope(parcel->content, err);
    if (bytes.n == 0 ||
        !envelope_decode(bytes, &parcel->arena, &parcel->envelope, err))
        return false;
    for (size_t i = 0; i < parcel->recipient_count; i++) {
        struct parcel_recipient *to = &parcel->recipients[i];

        if (to->index >= parcel->envelope.recipient_count) {
            err_set(err, "the envelope has no recipient %u", to->index);
            return false;
        }
        to->recipient = &parcel->envelope.recipients[to->index];
    }
    return true;
}

static void
parcel_free(struct queue *queue, struct handed *handed)
{
    if (handed->parcel.content != NULL)
        spool_content_close(handed->parcel.content);
    arena_fini(&handed->parcel.arena);
    mem_free(handed);
    queue->parcels--;
    if (queue->draining)
        queue_kick(queue);
}

static void
take_back(struct queue *queue, struct handed *handed, bool notify)
{
    struct parcel *parcel = &handed->parcel;
    size_t count = parcel->recipient_count;
    struct ledger_result *results =
        arena_alloc(&parcel->arena, count * sizeof *results);

    for (size_t i = 0; i < count; i++) {
        const struct parcel_recipient *to = &parcel->recipients[i];

        results[i] = (struct ledger_result){
            .outcome = to->outcome,
            .code = to->code,
            .status = to->status,
            .text = to->text,
        };
    }
    settle(queue, &(struct settle_input){
                      .message = handed->message,
                      .facts = &parcel->facts,
                      .envelope = parcel->envelope.recipient_count > 0
                                      ? &parcel->envelope
                                      : NULL,
                      .results = results,
                      .handles = handed->handles,
                      .count = count,
                      .counts = true,
                      .notify = notify,
                  });
}

/* The spool could not give the message: an attempt that failed here. */
static void
unreadable(struct queue *queue, struct handed *handed, const struct err *err)
{
    struct parcel *parcel = &handed->parcel;

    log_event(NULL, LOG_ERROR, "queue.unreadable",
              LOG_STR("queue", queue_message(queue, handed->message)->queue_id),
              LOG_STR("error", err->text));
    for (size_t i = 0; i < parcel->recipient_count; i++) {
        parcel->recipients[i].outcome = OUTCOME_DEFERRED;
        parcel->recipients[i].status = (struct mail_status){4, 3, 0};
        parcel->recipients[i].text = arena_printf(
            &parcel->arena, "the message cannot be read: %s", err->text);
    }
    parcel->envelope.recipient_count = 0;
    take_back(queue, handed, true);
    parcel_free(queue, handed);
}

struct parcel *
queue_take(struct queue *queue, struct destination *destination,
           uint32_t max_recipients)
{
    struct destination_queue *d = destination->queue;

    for (int i = 0; i < TAKE_TRIES; i++) {
        struct handed *handed = NULL;
        struct spool_place place;
        uint32_t allowed = 0;
        struct err err = {0};

        pthread_mutex_lock(&queue->lock);
        if (!schedule_refuses(queue, d))
            allowed = schedule_allowance(queue, d, max_recipients);
        if (allowed > 0)
            handed = hand_out(queue, d, allowed);
        if (handed != NULL) {
            d->period_count += (uint32_t)handed->parcel.recipient_count;
            if (d->opening > 0)
                d->opening--;
            describe(queue, handed, d, &place);
        }
        pthread_mutex_unlock(&queue->lock);
        if (handed == NULL)
            return NULL;
        if (open_parcel(queue, &handed->parcel, place, &err))
            return &handed->parcel;
        pthread_mutex_lock(&queue->lock);
        unreadable(queue, handed, &err);
        pthread_mutex_unlock(&queue->lock);
    }
    return NULL;
}

/* --- Taking back ---------------------------------------------------------- */

/* RFC 3463: what a failure that is not an SMTP reply counts as. */
static struct mail_status
status_of_stage(enum tls_stage stage)
{
    switch (stage) {
    case STAGE_DNS:
        return (struct mail_status){4, 4, 3};
    case STAGE_CONNECT:
        return (struct mail_status){4, 4, 1};
    case STAGE_NONE:
    case STAGE_GREETING:
    case STAGE_EHLO:
    case STAGE_TIMEOUT:
    case STAGE_IO:
    case STAGE_SMTP:
        return (struct mail_status){4, 4, 2};
    case STAGE_PROTOCOL:
        return (struct mail_status){4, 5, 0};
    case STAGE_NOT_OFFERED:
    case STAGE_REFUSED:
    case STAGE_INJECTED:
    case STAGE_HANDSHAKE:
    case STAGE_VERSION:
    case STAGE_CIPHER:
    case STAGE_CHAIN:
    case STAGE_NAME:
    case STAGE_EXPIRED:
    case STAGE_DANE:
    case STAGE_STS_MX:
    case STAGE_STS_CERTIFICATE:
    case STAGE_CLIENT_CERTIFICATE:
    case TLS_STAGE_COUNT:
        break;
    }
    return (struct mail_status){4, 7, 5};
}

/* True if the server said anything about any recipient. */
static bool
decide_rest(struct parcel *parcel)
{
    struct sv text = parcel->facts.reason;
    bool any = false;

    if (text.n == 0)
        text = sv_of(tls_stage_sentence(parcel->facts.stage));
    for (size_t i = 0; i < parcel->recipient_count; i++) {
        struct parcel_recipient *to = &parcel->recipients[i];

        any |= to->decided;
        if (to->decided)
            continue;
        to->outcome = OUTCOME_DEFERRED;
        to->code = 0;
        to->status = status_of_stage(parcel->facts.stage);
        to->text = text;
    }
    return any;
}

void
queue_done(struct queue *queue, struct parcel *parcel)
{
    struct handed *handed = CONTAINER_OF(parcel, struct handed, parcel);
    struct destination_queue *d = parcel->destination->queue;
    bool answered = decide_rest(parcel);

    parcel->facts.ended_us = clock_wall_us();
    pthread_mutex_lock(&queue->lock);
    take_back(queue, handed, true);
    if (answered && (!d->proven || d->barren > 0 || d->failures > 0))
        schedule_worked(queue, d);
    parcel_free(queue, handed);
    pthread_mutex_unlock(&queue->lock);
}

/* What was not sent does not count against the destination's limit; its period
 * may have ended meanwhile. */
static void
forget_handed(const struct parcel *parcel)
{
    struct destination_queue *d = parcel->destination->queue;
    uint32_t count = (uint32_t)parcel->recipient_count;

    d->period_count -= count < d->period_count ? count : d->period_count;
}

void
queue_untake(struct queue *queue, struct parcel *parcel)
{
    struct handed *handed = CONTAINER_OF(parcel, struct handed, parcel);

    pthread_mutex_lock(&queue->lock);
    forget_handed(parcel);
    if (queue_message(queue, handed->message)->flags & MESSAGE_DELETE) {
        admin_finish_delete(queue, handed->message, handed->handles,
                            parcel->recipient_count);
    } else {
        for (size_t i = parcel->recipient_count; i-- > 0;) {
            if (queue_message(queue, handed->message)->flags & MESSAGE_HELD)
                schedule_enter(queue, handed->handles[i], RCPT_HELD,
                               clock_mono_ms());
            else
                schedule_ready_first(queue, handed->handles[i]);
        }
    }
    parcel_free(queue, handed);
    pthread_mutex_unlock(&queue->lock);
}

/* --- Destinations --------------------------------------------------------- */

static void
remember_failure(struct queue *queue, struct destination_queue *d,
                 const struct destination_failure *failure)
{
    const struct ledger_attempt facts = {
        .stage = failure->failure.stage,
        .reason = sv_of(failure->failure.reason),
        .host = failure->host,
        .ip = failure->ip,
        .tls_version = failure->tls_version,
        .tls_cipher = failure->tls_cipher,
        .tls_verify = failure->tls_verify,
        .tls = failure->tls,
    };
    const struct ledger_result result = {
        .code = failure->code,
        .status = failure->status,
        .text = facts.reason,
    };
    struct reason reason;

    reason_of(&facts, &result, &reason);
    reason_drop(&queue->reasons, d->reason);
    d->reason = reason_intern(&queue->reasons, &reason);
    d->failed_last_s = clock_wall_s();
    if (d->failed_first_s == 0)
        d->failed_first_s = d->failed_last_s;
}

/* Several sessions may find out about the same failure: only the first counts
 * towards the back-off. */
void
queue_destination_failed(struct queue *queue, struct destination *destination,
                         const struct destination_failure *failure)
{
    struct destination_queue *d = destination->queue;
    const struct bounce_profile_settings *profile;
    uint64_t rest;

    pthread_mutex_lock(&queue->lock);
    profile = d->control->bounce_profile;
    remember_failure(queue, d, failure);
    log_event(NULL, LOG_INFO, "queue.destination_failed",
              LOG_STR("destination", d->self.key),
              LOG_STR("stage", tls_stage_name(failure->failure.stage)),
              LOG_STR("reason", failure->failure.reason),
              LOG_IF(failure->host.n > 0, LOG_SV("host", failure->host)),
              LOG_BOOL("final", failure->final),
              LOG_U64("ready", d->count[RCPT_READY]));
    if (!failure->final && !d->resting) {
        d->failures++;
        rest = schedule_backoff(profile->first_retry, profile->max_retry,
                                d->failures, (uint32_t)random_u64());
        schedule_rest(queue, d, rest);
    }
    if (d->ready_first != 0)
        sweep_begin(queue, d, failure);
    pthread_mutex_unlock(&queue->lock);
}

/* A session that neither worked nor said what was wrong, although there was
 * work: without a pause the next would be asked for at once, and so on. The
 * others may do better; when none is left, the destination rests a little. */
static void
note_barren(struct queue *queue, struct destination_queue *d)
{
    if (d->count[RCPT_READY] == 0 || d->resting || queue->draining)
        return;
    if (d->barren < 6)
        d->barren++;
    if (d->sessions == 0)
        schedule_rest(queue, d, 1000u << (d->barren - 1));
}

void
queue_session_ended(struct queue *queue, struct destination *destination,
                    bool worked)
{
    struct destination_queue *d = destination->queue;

    pthread_mutex_lock(&queue->lock);
    assert(d->sessions > 0);
    d->sessions--;
    if (d->opening > d->sessions)
        d->opening = d->sessions;
    queue->sessions--;
    d->idle_since = clock_mono_ms();
    if (worked)
        schedule_worked(queue, d);
    else if (!d->held_back)
        note_barren(queue, d);
    schedule_consider(queue, d);
    queue_kick(queue);
    pthread_mutex_unlock(&queue->lock);
}

/* --- Numbers -------------------------------------------------------------- */

void
queue_stats(struct queue *queue, struct queue_stats *stats)
{
    pthread_mutex_lock(&queue->lock);
    *stats = (struct queue_stats){
        .messages = queue->messages.count,
        .bytes = queue->bytes,
        .ready = queue->count[RCPT_READY],
        .active = queue->count[RCPT_ACTIVE] + queue->count[RCPT_CLOSING],
        .waiting = queue->count[RCPT_WAITING],
        .held = queue->count[RCPT_HELD],
        .destinations = queue->destinations.count,
    };
    pthread_mutex_unlock(&queue->lock);
}
