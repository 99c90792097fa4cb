/* Following the journals.
 *
 * At the start: the checkpoint, then the intake from intake_next, then the
 * ledger from ledger_next.  While running only the intake is read: what stands
 * in the ledger is known, the queue wrote it.
 *
 * Replaying is idempotent, because the ledger is read from a position that the
 * snapshot may already be ahead of: an ATTEMPT sets absolute values, an older
 * one than what is known changes nothing, a final outcome of a message that is
 * gone is passed over, a MESSAGE that is known is a copy forward (its place
 * counts from now on), and one that became final earlier in the same replay
 * stays gone: a copy may lie behind the final record when the two raced. */
#include "transmit/queue_internal.h"
#include <errno.h>

enum { TAIL_SLICE = 512, TAIL_AGAIN_MS = 1000 };

/* --- Records -------------------------------------------------------------- */

static void
enter_message(struct queue *queue, const struct spool_record *record,
              struct arena *arena)
{
    struct message_facts facts = {
        .id = record->id,
        .place = record->place,
        .arrived_us = record->wall_us,
        .bytes = record->content_length,
        .flags = record->content_damaged ? MESSAGE_HELD : 0,
    };
    struct envelope envelope;
    struct err err;

    if (!envelope_decode(record->head, arena, &envelope, &err) ||
        envelope.recipient_count == 0) {
        log_event(NULL, LOG_ERROR, "queue.bad_envelope",
                  LOG_U64("sequence", record->sequence),
                  LOG_STR("error", err.text));
        spool_set_aside(queue->spool, record->place);
        return;
    }
    facts.queue_id = envelope.queue_id;
    message_add_envelope(queue, &facts, &envelope);
    if (record->content_damaged)
        log_event(NULL, LOG_ERROR, "queue.damaged",
                  LOG_SV("queue", facts.queue_id), LOG_STR("action", "held"));
}

static void
replay_message(struct queue *queue, const struct spool_record *record,
               struct arena *arena)
{
    uint32_t number = queue_find_id(queue, record->id);
    struct sv key = {(const char *)&record->id, sizeof record->id};

    if (number != 0)
        message_move(queue, number, record->place);
    else if (queue->gone == NULL || map_get(queue->gone, key) == NULL)
        enter_message(queue, record, arena);
}

static void
forget(struct queue *queue, uint32_t message)
{
    struct message *m = queue_message(queue, message);

    if (queue->gone != NULL)
        map_put(queue->gone, (struct sv){(const char *)&m->id, sizeof m->id},
                queue);
    message_remove(queue, message);
}

static uint32_t
find_rcpt(const struct queue *queue, uint32_t message, uint32_t index)
{
    uint32_t r = queue_message(queue, message)->recipients;

    while (r != 0 && queue_rcpt(queue, r)->index != index)
        r = queue_rcpt(queue, r)->next;
    return r;
}

uint64_t
tail_when(const struct queue *queue, const struct rcpt *rcpt, uint64_t now,
          int64_t wait_ms)
{
    const struct destination_queue *to = destination_of(queue, rcpt);
    uint64_t most = 2 * to->control->bounce_profile->max_retry;

    if (wait_ms <= 0)
        return now;
    return now + ((uint64_t)wait_ms < most ? (uint64_t)wait_ms : most);
}

static void
replay_deferral(struct queue *queue, uint32_t number,
                const struct ledger_attempt *attempt,
                const struct ledger_result *result)
{
    struct rcpt *rcpt = queue_rcpt(queue, number);
    int64_t wait_us = attempt->next_retry_us - clock_wall_us();
    uint64_t now = clock_mono_ms();
    uint64_t when = tail_when(queue, rcpt, now, wait_us / 1000);
    struct reason reason;

    if (attempt->attempt < rcpt->attempts)
        return;
    rcpt->attempts = (uint16_t)(attempt->attempt < UINT16_MAX ? attempt->attempt
                                                              : UINT16_MAX);
    rcpt->tried_s = (uint32_t)(attempt->ended_us / 1000000);
    reason_of(attempt, result, &reason);
    rcpt_set_reason(queue, rcpt, reason_intern(&queue->reasons, &reason));
    if (queue_message(queue, rcpt->message)->flags & MESSAGE_HELD)
        schedule_enter(queue, number, RCPT_HELD, when);
    else
        schedule_enter(queue, number, when > now ? RCPT_WAITING : RCPT_READY,
                       when);
}

static void
replay_attempt(struct queue *queue, struct sv head, struct arena *arena)
{
    struct ledger_attempt attempt;
    uint32_t message;
    struct err err;

    if (!ledger_attempt_decode(head, arena, &attempt, &err)) {
        log_event(NULL, LOG_ERROR, "queue.bad_attempt",
                  LOG_STR("error", err.text));
        return;
    }
    message = queue_find_id(queue, attempt.id);
    if (message == 0)
        return;
    if (attempt.message_final) {
        forget(queue, message);
        return;
    }
    for (size_t i = 0; i < attempt.result_count; i++) {
        const struct ledger_result *result = &attempt.results[i];
        uint32_t rcpt = find_rcpt(queue, message, result->recipient);

        if (rcpt == 0)
            continue;
        if (result->outcome == OUTCOME_DEFERRED) {
            replay_deferral(queue, rcpt, &attempt, result);
        } else if (queue_rcpt(queue, rcpt)->next == 0 &&
                   queue_message(queue, message)->recipients == rcpt) {
            forget(queue, message);
            return;
        } else {
            queue_message(queue, message)->open--;
            rcpt_remove(queue, rcpt);
        }
    }
}

/* Holding keeps the time of the next try, releasing and retrying make it now.
 */
static void
replay_hold(struct queue *queue, uint32_t message, bool hold)
{
    struct message *m = queue_message(queue, message);

    m->flags =
        hold ? m->flags | MESSAGE_HELD : m->flags & ~(uint32_t)MESSAGE_HELD;
    for (uint32_t r = m->recipients; r != 0; r = queue_rcpt(queue, r)->next) {
        struct rcpt *rcpt = queue_rcpt(queue, r);

        if (hold)
            schedule_enter(queue, r, RCPT_HELD, rcpt->when);
        else
            schedule_enter(queue, r, RCPT_READY, clock_mono_ms());
    }
}

static void
replay_warned(struct queue *queue, uint32_t message)
{
    for (uint32_t r = queue_message(queue, message)->recipients; r != 0;
         r = queue_rcpt(queue, r)->next)
        if (queue_rcpt(queue, r)->attempts >= 2)
            queue_rcpt(queue, r)->flags |= RCPT_WARNED;
}

static void
replay_action(struct queue *queue, struct sv head)
{
    struct ledger_action action;
    uint32_t message;
    struct err err;

    if (!ledger_action_decode(head, &action, &err)) {
        log_event(NULL, LOG_ERROR, "queue.bad_action",
                  LOG_STR("error", err.text));
        return;
    }
    message = queue_find_id(queue, action.id);
    if (message == 0)
        return;
    switch (action.kind) {
    case ACTION_HOLD:
        replay_hold(queue, message, true);
        break;
    case ACTION_RELEASE:
        replay_hold(queue, message, false);
        break;
    case ACTION_RETRY:
        if (!(queue_message(queue, message)->flags & MESSAGE_HELD))
            replay_hold(queue, message, false);
        break;
    case ACTION_WARNED:
        replay_warned(queue, message);
        break;
    case ACTION_DELETE: /* what follows from it is an ATTEMPT */
    case ACTION_MOVED:  /* … the MESSAGE before it */
        break;
    }
}

static void
replay_record(struct queue *queue, const struct spool_record *record,
              struct arena *arena)
{
    switch (record->type) {
    case SPOOL_MESSAGE:
        replay_message(queue, record, arena);
        break;
    case SPOOL_ATTEMPT:
        replay_attempt(queue, record->head, arena);
        break;
    case SPOOL_ACTION:
        replay_action(queue, record->head);
        break;
    case SPOOL_NOTE:
    case SPOOL_SESSION:
        break;
    }
    segment_saw(queue, record->place);
    queue->changes++;
}

/* What is unreadable may be a message: its segment is not thrown away. */
static void
damaged(struct queue *queue, const char *journal,
        const struct spool_record *record, const struct err *err)
{
    log_event(NULL, LOG_ERROR, "queue.damaged_journal",
              LOG_STR("journal", journal), LOG_STR("error", err->text));
    spool_set_aside(queue->spool, record->place);
}

/* --- At the start --------------------------------------------------------- */

static bool
read_checkpoint(struct queue *queue, uint64_t *intake_next,
                uint64_t *ledger_next, struct err *err)
{
    struct buf bytes = {0};
    bool ok = true;

    *intake_next = *ledger_next = 0;
    if (!spool_checkpoint_read(queue->spool, &bytes, intake_next, ledger_next,
                               err)) {
        ok = err->code == ENOENT;
        *intake_next = *ledger_next = 0;
    } else if (!checkpoint_decode(queue, buf_view(&bytes), clock_wall_us(),
                                  err)) {
        log_event(NULL, LOG_ERROR, "queue.bad_checkpoint",
                  LOG_STR("error", err->text));
        queue_clear(queue);
        *intake_next = *ledger_next = 0;
    }
    buf_fini(&bytes);
    return ok;
}

/* Reads to the end; *next is the sequence number behind the last record. */
static bool
replay(struct queue *queue, struct spool_reader *reader, const char *journal,
       uint64_t *next, struct err *err)
{
    struct spool_record record;
    struct arena arena;
    enum spool_read got;

    arena_init(&arena, 4096);
    while ((got = spool_reader_next(reader, &record, err)) == SPOOL_RECORD ||
           got == SPOOL_DAMAGED) {
        if (got == SPOOL_DAMAGED) {
            damaged(queue, journal, &record, err);
            continue;
        }
        replay_record(queue, &record, &arena);
        *next = record.sequence + 1;
        arena_reset(&arena);
    }
    arena_fini(&arena);
    if (got == SPOOL_FAILED)
        err_wrap(err, "read the %s journal", journal);
    return got == SPOOL_END;
}

static bool
replay_ledger(struct queue *queue, uint64_t from, struct err *err)
{
    struct spool_reader *reader =
        spool_reader_new(queue->spool, SPOOL_LEDGER, from, err);
    struct map gone = {0};
    bool ok;

    if (reader == NULL)
        return false;
    queue->gone = &gone;
    queue->position = from;
    ok = replay(queue, reader, "ledger", &queue->position, err);
    queue->position_segment = queue->segments[SPOOL_LEDGER].last;
    queue->gone = NULL;
    map_fini(&gone);
    spool_reader_free(reader);
    return ok;
}

/* --- While running -------------------------------------------------------- */

/* One slice; true: there is more. */
static bool
read_slice(struct queue *queue, struct arena *arena)
{
    struct spool_record record;
    struct err err;

    for (int i = 0; i < TAIL_SLICE; i++) {
        switch (spool_reader_next(queue->intake, &record, &err)) {
        case SPOOL_RECORD:
            break;
        case SPOOL_END:
            return false;
        case SPOOL_DAMAGED:
            damaged(queue, "intake", &record, &err);
            continue;
        case SPOOL_FAILED:
            log_event(NULL, LOG_ERROR, "queue.read_failed",
                      LOG_STR("journal", "intake"), LOG_STR("error", err.text));
            queue->tail_again_at = clock_mono_ms() + TAIL_AGAIN_MS;
            return true;
        }
        if (record.type == SPOOL_MESSAGE)
            replay_message(queue, &record, arena);
        segment_saw(queue, record.place);
        queue->intake_next = record.sequence + 1;
        queue->changes++;
        arena_reset(arena);
    }
    return true;
}

void
tail_read(struct queue *queue)
{
    struct arena arena;

    if (queue->intake == NULL || clock_mono_ms() < queue->tail_again_at ||
        !atomic_exchange(&queue->tail_wanted, false))
        return;
    queue->tail_again_at = 0;
    arena_init(&arena, 4096);
    pthread_mutex_lock(&queue->lock);
    if (read_slice(queue, &arena)) {
        queue->tail_wanted = true;
        if (queue->tail_again_at == 0) /* else the timer tries again */
            queue_kick(queue);
    }
    pthread_mutex_unlock(&queue->lock);
    arena_fini(&arena);
}

static void
on_more(void *arg)
{
    struct queue *queue = arg;

    queue->tail_wanted = true;
    queue_kick(queue);
}

bool
tail_open(struct queue *queue, struct err *err)
{
    uint64_t ledger_next;
    bool ok;

    ok = read_checkpoint(queue, &queue->intake_next, &ledger_next, err);
    if (!ok)
        return false;
    queue->intake =
        spool_reader_new(queue->spool, SPOOL_INTAKE, queue->intake_next, err);
    if (queue->intake == NULL ||
        !replay(queue, queue->intake, "intake", &queue->intake_next, err) ||
        !replay_ledger(queue, ledger_next, err))
        return false;
    queue->watcher =
        spool_watch(queue->spool, queue->loop, on_more, queue, err);
    if (queue->watcher == NULL)
        return false;
    on_more(queue); /* what came before there was a watcher */
    return true;
}

void
tail_close(struct queue *queue)
{
    spool_watch_free(queue->watcher);
    spool_reader_free(queue->intake);
    queue->watcher = NULL;
    queue->intake = NULL;
}
