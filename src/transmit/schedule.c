/* Who is served next.
 *
 * A destination with ready recipients is *hungry* when it should have one more
 * session than it has; hungry destinations stand in a ring and get sessions in
 * turn, so a destination with a million messages waits as long for its next
 * session as one with a single message; those that have none at all come
 * before those that want one more.  While all sessions are in use and
 * somebody is hungry, a destination that has had its turn (QUEUE_TURN parcels)
 * is told that nothing is ready: its session ends and the place goes round.
 *
 * How many sessions a destination should have: one at once; one more for every
 * QUEUE_BATCH ready recipients, so that connections are used again; and one
 * more each second while the oldest has been ready for longer than that, so
 * that slow peers are met with more connections; but no more than there are
 * messages for those that are still on their way.  At most max_connections; at
 * most QUEUE_SESSIONS_UNPROVEN before it has answered for the first time; one
 * after a failure of the destination as a whole, until that one worked.  This
 * also bounds what a start with a full queue does to the network.
 *
 * While more than QUEUE_UNWRITTEN_MAX final records wait for the ledger's disk
 * nobody gets anything: what was delivered and is not yet written down would be
 * delivered again after a crash, so this bounds how much that can be.  The
 * records of deferrals cost only memory while the disk fails: for them there is
 * QUEUE_RECORDS_MAX.
 *
 * Back-off of a destination is apart from that of its messages: while it rests,
 * whatever becomes ready stays in its list, unserved.
 *
 * Invariants: a recipient is on the list of its destination exactly when READY,
 * on the heap exactly when WAITING.  A destination is on `hungry` only if
 * wants_session(), on `busy` exactly when it has ready recipients and
 * sessions. */
#include "base/random.h"
#include "transmit/queue_internal.h"

enum { DUE_SLICE = 20000 }; /* recipients; a few ms */

uint64_t
schedule_backoff(uint64_t first, uint64_t max, uint32_t attempts, uint32_t dice)
{
    uint64_t delay = first == 0 ? 1 : first;
    uint64_t fifth;

    for (uint32_t i = 1; i < attempts && delay < max; i++)
        delay *= 2;
    if (delay > max && max > 0)
        delay = max;
    fifth = delay / 5;
    return delay - fifth + dice % (2 * fifth + 1);
}

static uint32_t *
rcpt_place(void *owner, uint32_t number)
{
    return &queue_rcpt(owner, number)->place;
}

static uint32_t *
destination_place(void *owner, uint32_t number)
{
    return &destination_at(owner, number)->place;
}

void
schedule_init(struct queue *queue)
{
    list_init(&queue->hungry);
    list_init(&queue->starving);
    list_init(&queue->busy);
    heap_init(&queue->waiting, rcpt_place, queue);
    heap_init(&queue->resting, destination_place, queue);
    queue->sessions_max = QUEUE_SESSIONS_MAX;
}

void
schedule_fini(struct queue *queue)
{
    heap_fini(&queue->waiting);
    heap_fini(&queue->resting);
}

static uint32_t
session_limit(const struct destination_queue *d)
{
    uint32_t max = d->control->max_connections;

    if (max == 0)
        max = 1;
    if (d->failures > 0 || d->barren > 0)
        return 1;
    if (!d->proven && max > QUEUE_SESSIONS_UNPROVEN)
        return QUEUE_SESSIONS_UNPROVEN;
    return max;
}

static bool
wants_session(const struct queue *queue, const struct destination_queue *d,
              uint64_t now)
{
    uint32_t ready = d->count[RCPT_READY];

    if (queue->draining || d->resting || ready == 0 ||
        d->sessions >= session_limit(d))
        return false;
    if (d->sessions == 0 || ready > d->sessions * QUEUE_BATCH)
        return true;
    return d->opening < ready && now - d->granted >= QUEUE_OLD_READY_MS &&
           now - queue_rcpt(queue, d->ready_first)->when >= QUEUE_OLD_READY_MS;
}

static struct list *
ring_of(struct queue *queue, const struct destination_queue *d)
{
    return d->starving ? &queue->starving : &queue->hungry;
}

void
schedule_unlist(struct queue *queue, struct destination_queue *d)
{
    if (link_on_list(&d->hungry))
        list_remove(ring_of(queue, d), &d->hungry);
}

static void
keep_in_ring(struct queue *queue, struct destination_queue *d, bool wants)
{
    bool starving = d->sessions == 0;

    if (wants && link_on_list(&d->hungry) && d->starving == starving)
        return;
    schedule_unlist(queue, d);
    d->starving = starving;
    if (wants)
        list_push_back(ring_of(queue, d), &d->hungry);
}

static void
keep_listed(struct list *list, struct link *link, bool wanted)
{
    if (wanted == link_on_list(link))
        return;
    if (wanted)
        list_push_back(list, link);
    else
        list_remove(list, link);
}

void
schedule_consider(struct queue *queue, struct destination_queue *d)
{
    bool wants = wants_session(queue, d, clock_mono_ms());

    keep_in_ring(queue, d, wants);
    keep_listed(&queue->busy, &d->busy,
                d->sessions > 0 && d->count[RCPT_READY] > 0);
    if (wants && queue->sessions < queue->sessions_max)
        queue_kick(queue);
}

static void
list_ready(struct queue *queue, struct destination_queue *d, uint32_t number,
           bool front)
{
    struct rcpt *rcpt = queue_rcpt(queue, number);

    rcpt->before = front ? 0 : d->ready_last;
    rcpt->behind = front ? d->ready_first : 0;
    if (rcpt->before != 0)
        queue_rcpt(queue, rcpt->before)->behind = number;
    else
        d->ready_first = number;
    if (rcpt->behind != 0)
        queue_rcpt(queue, rcpt->behind)->before = number;
    else
        d->ready_last = number;
}

static void
unlist_ready(struct queue *queue, struct destination_queue *d,
             const struct rcpt *rcpt)
{
    if (rcpt->before != 0)
        queue_rcpt(queue, rcpt->before)->behind = rcpt->behind;
    else
        d->ready_first = rcpt->behind;
    if (rcpt->behind != 0)
        queue_rcpt(queue, rcpt->behind)->before = rcpt->before;
    else
        d->ready_last = rcpt->before;
}

void
schedule_leave(struct queue *queue, uint32_t number)
{
    struct rcpt *rcpt = queue_rcpt(queue, number);
    struct destination_queue *d = destination_of(queue, rcpt);
    enum rcpt_state was = rcpt->state;

    if (was == RCPT_NEW)
        return;
    if (was == RCPT_READY)
        unlist_ready(queue, d, rcpt);
    if (was == RCPT_WAITING)
        heap_remove(&queue->waiting, number);
    rcpt->before = rcpt->behind = 0;
    queue->count[was]--;
    d->count[was]--;
    rcpt->state = RCPT_NEW;
    queue->count[RCPT_NEW]++;
    d->count[RCPT_NEW]++;
    if (was == RCPT_READY && d->count[RCPT_READY] == 0)
        schedule_consider(queue, d);
}

static void
enter(struct queue *queue, uint32_t number, enum rcpt_state state,
      uint64_t when, bool front)
{
    struct rcpt *rcpt = queue_rcpt(queue, number);
    struct destination_queue *d = destination_of(queue, rcpt);

    schedule_leave(queue, number);
    queue->count[RCPT_NEW]--;
    d->count[RCPT_NEW]--;
    rcpt->state = (uint8_t)state;
    rcpt->when = when;
    queue->count[state]++;
    d->count[state]++;
    if (state == RCPT_READY) {
        list_ready(queue, d, number, front);
        schedule_consider(queue, d);
    } else if (state == RCPT_WAITING) {
        heap_put(&queue->waiting, number, when);
    }
}

void
schedule_enter(struct queue *queue, uint32_t rcpt, enum rcpt_state state,
               uint64_t when)
{
    enter(queue, rcpt, state, when, false);
}

void
schedule_ready_first(struct queue *queue, uint32_t rcpt)
{
    enter(queue, rcpt, RCPT_READY, clock_mono_ms(), true);
}

size_t
schedule_grant(struct queue *queue, struct destination_queue **granted,
               size_t max)
{
    uint64_t now = clock_mono_ms();
    size_t count = 0;

    if (queue_record_lagging(queue))
        return 0; /* the next record that is durable makes a new turn */
    while (count < max && queue->sessions < queue->sessions_max) {
        struct link *link = list_pop_front(&queue->starving);
        struct destination_queue *d;

        if (link == NULL)
            link = list_pop_front(&queue->hungry);
        if (link == NULL)
            break;
        d = CONTAINER_OF(link, struct destination_queue, hungry);
        if (!wants_session(queue, d, now))
            continue;
        d->sessions++;
        d->opening++;
        queue->sessions++;
        d->granted = now;
        d->turn = 0;
        d->held_back = false;
        granted[count++] = d;
        schedule_consider(queue, d); /* to the end of the ring */
    }
    return count;
}

bool
schedule_refuses(struct queue *queue, struct destination_queue *d)
{
    if (queue->draining || d->resting)
        return true;
    if (queue_record_lagging(queue)) {
        d->held_back = true;
        return true;
    }
    if (d->turn < QUEUE_TURN || queue->sessions < queue->sessions_max ||
        (list_empty(&queue->hungry) && list_empty(&queue->starving)))
        return false;
    d->turn = 0;
    return true;
}

void
schedule_rest(struct queue *queue, struct destination_queue *d, uint64_t ms)
{
    schedule_wake(queue, d);
    d->resting = true;
    d->until = clock_mono_ms() + ms;
    heap_put(&queue->resting, d->number, d->until);
    schedule_consider(queue, d);
}

uint32_t
schedule_allowance(struct queue *queue, struct destination_queue *d,
                   uint32_t max)
{
    uint32_t limit = d->control->recipient_limit;
    uint64_t period = (uint64_t)d->control->recipient_minutes * 60000;
    uint64_t now = clock_mono_ms();

    if (limit == 0)
        return max;
    if (d->period_start == 0 || now - d->period_start >= period) {
        d->period_start = now;
        d->period_count = 0;
    }
    if (d->period_count < limit)
        return limit - d->period_count < max ? limit - d->period_count : max;
    schedule_rest(queue, d, d->period_start + period - now);
    d->limited = true;
    return 0;
}

void
schedule_wake(struct queue *queue, struct destination_queue *d)
{
    d->limited = false;
    if (!d->resting)
        return;
    heap_remove(&queue->resting, d->number);
    d->resting = false;
    schedule_consider(queue, d);
}

void
schedule_worked(struct queue *queue, struct destination_queue *d)
{
    d->proven = true;
    d->failures = d->barren = 0;
    d->worked_s = clock_wall_s();
    reason_drop(&queue->reasons, d->reason);
    d->reason = 0;
    d->failed_first_s = 0;
    if (!d->limited) /* that it works does not end its period */
        schedule_wake(queue, d);
    schedule_consider(queue, d);
}

void
schedule_due(struct queue *queue, uint64_t now)
{
    uint32_t number;
    uint64_t when;

    while (heap_first(&queue->resting, &number, &when) && when <= now)
        schedule_wake(queue, destination_at(queue, number));
    for (int i = 0; i < DUE_SLICE; i++) { /* the rest in the next turn */
        if (!heap_first(&queue->waiting, &number, &when) || when > now)
            break;
        schedule_enter(queue, number, RCPT_READY, now);
    }
    LIST_FOREACH_SAFE (link, next, &queue->busy)
        schedule_consider(queue,
                          CONTAINER_OF(link, struct destination_queue, busy));
    if (now - queue->swept >= QUEUE_IDLE_DESTINATION_MS / 5) {
        queue->swept = now;
        destination_sweep(queue, now, false);
    }
}

/* Sleeps at most a minute, at least a millisecond; a half second while slow
 * destinations may want more sessions. */
uint64_t
schedule_next(const struct queue *queue, uint64_t now)
{
    uint64_t next = now + (list_empty(&queue->busy) ? 60000u : 500u);
    uint32_t number;
    uint64_t when;

    if (heap_first(&queue->resting, &number, &when) && when < next)
        next = when;
    if (heap_first(&queue->waiting, &number, &when) && when < next)
        next = when;
    return next <= now ? 1 : next - now;
}
