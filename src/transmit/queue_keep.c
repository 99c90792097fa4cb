/* Keeping the spool small and the next start short.
 *
 * Checkpoint: when enough records were read or written since the last one, some
 * minutes after a change, or soon when a segment holds nothing that is needed
 * and only waits for a checkpoint behind it: on a full disk mail is refused
 * until it goes.  The order is: (1) note the newest ledger
 * segment known durable, (2) ask for the durable sequence number S, (3) under
 * the lock take the snapshot.  Whatever is durable up to S was appended before
 * (3), and what an appended record means is in memory before it is appended:
 * so the snapshot has it, and the ledger need be read again only from S.
 * Messages of our own (notifications, copies) become durable before memory
 * knows of them; while one is being written it holds a floor under S.
 *
 * Reclaim: segments before the durable checkpoint without messages may go.  A
 * message counts for its segment until its final record is durable.
 *
 * Copying forward: a segment in which little is left alive, long after it was
 * filled, is emptied by writing what is left anew into the ledger.  The copy is
 * durable before the place changes; a crash between leaves two, of which the
 * replay takes the later. */
#include "transmit/queue_internal.h"

enum {
    CHECKPOINT_RECORDS = 100000,
    CHECKPOINT_MS = 180000,
    CHECKPOINT_FIRST_MS = 20000, /* after a start that had much to replay */
    CHECKPOINT_DEAD_MS = 2000,   /* while a segment waits to be reclaimed */
    POSITION_MS = 5000,
    MOVE_MS = 30000,
    MOVE_AGE_US = 600 * 1000000,
    MOVE_QUIET_MS = 60000, /* a message that is due sooner stays */
    MOVE_AGAIN_MS = 600000,
    MOVE_BATCH = 64,
    MOVE_LIVE_PERCENT = 10,
};

/* --- What lies in which segment ------------------------------------------ */

static size_t
live_index(const struct segments *segments, uint32_t segment)
{
    size_t low = 0, high = segments->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (segments->live[middle].segment < segment)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct segments *
segments_of(struct queue *queue, struct spool_place place)
{
    return &queue->segments[spool_place_journal(place)];
}

/* A large body lies in a file of its own; in the segment it weighs little. */
static uint64_t
weight(const struct queue *queue, uint64_t bytes)
{
    uint64_t limit = queue->settings->spool.inline_limit;

    return 512 + (bytes <= limit ? bytes : 0);
}

void
segment_live_add(struct queue *queue, struct spool_place place, uint64_t bytes)
{
    struct segments *segments = segments_of(queue, place);
    uint32_t segment = spool_place_segment(place);
    size_t at = live_index(segments, segment);

    if (at == segments->count || segments->live[at].segment != segment) {
        if (segments->count == segments->cap) {
            segments->cap = segments->cap == 0 ? 16 : segments->cap * 2;
            segments->live = mem_resize(segments->live,
                                        segments->cap * sizeof *segments->live);
        }
        memmove(segments->live + at + 1, segments->live + at,
                (segments->count - at) * sizeof *segments->live);
        segments->live[at] = (struct segment_live){.segment = segment};
        segments->count++;
    }
    segments->live[at].messages++;
    segments->live[at].bytes += weight(queue, bytes);
}

void
segment_live_remove(struct queue *queue, struct spool_place place,
                    uint64_t bytes)
{
    struct segments *segments = segments_of(queue, place);
    size_t at = live_index(segments, spool_place_segment(place));
    struct segment_live *live = &segments->live[at];
    uint64_t less = weight(queue, bytes);

    assert(at < segments->count && live->segment == spool_place_segment(place));
    live->bytes -= less < live->bytes ? less : live->bytes;
    if (--live->messages > 0)
        return;
    segments->count--;
    memmove(live, live + 1, (segments->count - at) * sizeof *live);
    queue->reclaim_wanted = true;
}

void
segment_saw(struct queue *queue, struct spool_place place)
{
    struct segments *segments = segments_of(queue, place);
    uint32_t segment = spool_place_segment(place);

    if (place.packed != 0 && segment > segments->last)
        segments->last = segment;
}

/* --- Positions ------------------------------------------------------------ */

void
keep_floor(struct queue *queue, struct floor *floor)
{
    floor->sequence = queue->position;
    floor->segment = queue->position_segment;
    list_push_back(&queue->floors, &floor->link);
}

void
keep_floor_done(struct queue *queue, struct floor *floor)
{
    list_remove(&queue->floors, &floor->link);
}

void
keep_position(struct queue *queue)
{
    struct spool_status status;
    uint32_t segment;

    pthread_mutex_lock(&queue->lock);
    segment = queue->segments[SPOOL_LEDGER].last;
    pthread_mutex_unlock(&queue->lock);
    spool_status_get(queue->spool, &status);
    pthread_mutex_lock(&queue->lock);
    if (status.ledger_durable >= queue->position) {
        queue->position = status.ledger_durable;
        queue->position_segment = segment;
    }
    pthread_mutex_unlock(&queue->lock);
}

/* --- Checkpoint ----------------------------------------------------------- */

struct snapshot {
    struct buf bytes;
    uint64_t intake_next, ledger_next;
    uint32_t segments[2];
    uint64_t changes;
};

static void
snapshot_take(struct queue *queue, struct snapshot *snapshot)
{
    keep_position(queue);
    pthread_mutex_lock(&queue->lock);
    snapshot->intake_next = queue->intake_next;
    snapshot->ledger_next = queue->position;
    snapshot->segments[SPOOL_INTAKE] = queue->segments[SPOOL_INTAKE].last;
    snapshot->segments[SPOOL_LEDGER] = queue->position_segment;
    LIST_FOREACH (link, &queue->floors) {
        const struct floor *floor = CONTAINER_OF(link, struct floor, link);

        if (floor->sequence < snapshot->ledger_next)
            snapshot->ledger_next = floor->sequence;
        if (floor->segment < snapshot->segments[SPOOL_LEDGER])
            snapshot->segments[SPOOL_LEDGER] = floor->segment;
    }
    snapshot->changes = queue->changes;
    checkpoint_encode(queue, clock_wall_us(), &snapshot->bytes);
    pthread_mutex_unlock(&queue->lock);
}

static void
snapshot_written(struct queue *queue, const struct snapshot *snapshot)
{
    queue->changes -= snapshot->changes;
    for (int i = 0; i < 2; i++)
        queue->segments[i].checkpoint = snapshot->segments[i];
    queue->reclaim_wanted = true;
}

bool
keep_checkpoint(struct queue *queue, struct err *err)
{
    struct snapshot snapshot = {0};
    bool ok;

    snapshot_take(queue, &snapshot);
    ok =
        spool_checkpoint_write(queue->spool, buf_view(&snapshot.bytes),
                               snapshot.intake_next, snapshot.ledger_next, err);
    if (ok) {
        pthread_mutex_lock(&queue->lock);
        snapshot_written(queue, &snapshot);
        pthread_mutex_unlock(&queue->lock);
    }
    buf_fini(&snapshot.bytes);
    return ok;
}

struct checkpoint_work {
    struct pool_work work;
    struct queue *queue;
    bool ok;
    struct err err;
};

static void
checkpoint_run(struct pool_work *work)
{
    struct checkpoint_work *c =
        CONTAINER_OF(work, struct checkpoint_work, work);

    c->ok = keep_checkpoint(c->queue, &c->err);
}

static void
checkpoint_done(struct pool_work *work)
{
    struct checkpoint_work *c =
        CONTAINER_OF(work, struct checkpoint_work, work);

    if (!c->ok)
        log_event(NULL, LOG_ERROR, "queue.checkpoint_failed",
                  LOG_STR("error", c->err.text));
    pthread_mutex_lock(&c->queue->lock);
    c->queue->checkpointing = false;
    pthread_mutex_unlock(&c->queue->lock);
    queue_kick(c->queue);
    mem_free(c);
}

/* Segments behind the checkpoint, but for the newest, that hold nothing. */
static bool
has_dead(const struct segments *segments)
{
    uint32_t alive = 0;

    for (size_t i = 0; i < segments->count; i++)
        if (segments->live[i].segment >= segments->checkpoint &&
            segments->live[i].segment < segments->last)
            alive++;
    return segments->last > segments->checkpoint &&
           segments->last - segments->checkpoint > alive;
}

/* When a checkpoint is worth its cost for the sake of dead segments; a long
 * queue makes it dear. */
static uint64_t
dead_at(const struct queue *queue)
{
    return queue->checkpoint_made + CHECKPOINT_DEAD_MS +
           queue->messages.count / 10;
}

uint64_t
keep_next(const struct queue *queue)
{
    uint64_t now = clock_mono_ms();

    if (queue->checkpointing || queue->changes == 0 ||
        !(has_dead(&queue->segments[SPOOL_INTAKE]) ||
          has_dead(&queue->segments[SPOOL_LEDGER])))
        return UINT64_MAX;
    return dead_at(queue) > now ? dead_at(queue) - now : 1;
}

static bool
checkpoint_due(struct queue *queue, uint64_t now)
{
    uint64_t many = CHECKPOINT_RECORDS;

    if (queue->checkpoint_at == 0)
        queue->checkpoint_at = now + CHECKPOINT_FIRST_MS;
    if (queue->messages.count > many)
        many = queue->messages.count;
    return !queue->checkpointing && queue->changes > 0 &&
           (queue->changes >= many || now >= queue->checkpoint_at ||
            keep_next(queue) <= 1);
}

static void
checkpoint_begin(struct queue *queue)
{
    struct checkpoint_work *c = mem_alloc(sizeof *c);

    c->work.run = checkpoint_run;
    c->work.done = checkpoint_done;
    c->queue = queue;
    pool_begin(queue, &c->work);
}

/* --- Reclaim -------------------------------------------------------------- */

struct reclaim_work {
    struct pool_work work;
    struct queue *queue;
    uint32_t before[2];
    uint32_t *keep[2];
    size_t keep_count[2];
    size_t freed;
};

static void
reclaim_run(struct pool_work *work)
{
    struct reclaim_work *r = CONTAINER_OF(work, struct reclaim_work, work);

    for (int i = 0; i < 2; i++)
        r->freed += spool_reclaim(r->queue->spool, (enum spool_journal)i,
                                  r->before[i], r->keep[i], r->keep_count[i]);
}

static void
reclaim_done(struct pool_work *work)
{
    struct reclaim_work *r = CONTAINER_OF(work, struct reclaim_work, work);

    if (r->freed > 0)
        log_event(NULL, LOG_DEBUG, "queue.reclaimed",
                  LOG_U64("segments", r->freed));
    pthread_mutex_lock(&r->queue->lock);
    r->queue->reclaiming = false;
    pthread_mutex_unlock(&r->queue->lock);
    mem_free(r->keep[0]);
    mem_free(r->keep[1]);
    mem_free(r);
}

/* Something could go: a segment before the checkpoint that holds nothing. */
static struct reclaim_work *
reclaim_plan(struct queue *queue)
{
    struct reclaim_work *r = mem_alloc(sizeof *r);

    r->work.run = reclaim_run;
    r->work.done = reclaim_done;
    r->queue = queue;
    for (int i = 0; i < 2; i++) {
        const struct segments *segments = &queue->segments[i];

        r->before[i] = segments->checkpoint;
        r->keep[i] = mem_alloc_array(segments->count + 1, sizeof *r->keep[i]);
        for (size_t k = 0; k < segments->count; k++)
            if (segments->live[k].segment < segments->checkpoint)
                r->keep[i][r->keep_count[i]++] = segments->live[k].segment;
    }
    return r;
}

/* --- Copying forward ------------------------------------------------------ */

struct move {
    spool_message_id id;
    struct spool_place from, to;
    bool ok;
};

struct move_work {
    struct pool_work work;
    struct queue *queue;
    struct floor floor;
    enum spool_journal journal;
    uint32_t segment;
    struct move moves[MOVE_BATCH];
    size_t count;
    struct err err;
};

static bool
move_one(struct spool *spool, struct move *move, struct err *err)
{
    struct spool_content *content = spool_content_open(spool, move->from, err);
    struct envelope envelope;
    struct arena arena;
    struct sv bytes;

    if (content == NULL)
        return false;
    arena_init(&arena, 4096);
    bytes = spool_content_envelope(content, err);
    move->ok = bytes.n > 0 && envelope_decode(bytes, &arena, &envelope, err) &&
               spool_ledger_message(spool, &envelope, content, (struct sv){0},
                                    &move->id, &move->to, err);
    spool_content_close(content);
    arena_fini(&arena);
    return move->ok;
}

static void
move_run(struct pool_work *work)
{
    struct move_work *m = CONTAINER_OF(work, struct move_work, work);

    for (size_t i = 0; i < m->count; i++)
        if (!move_one(m->queue->spool, &m->moves[i], &m->err))
            break;
}

static void
move_settle(struct queue *queue, const struct move *move)
{
    uint32_t number = queue_find_id(queue, move->id);

    if (number == 0)
        return; /* became final meanwhile */
    queue_message(queue, number)->flags &= ~(uint32_t)MESSAGE_MOVING;
    if (!move->ok)
        return;
    message_move(queue, number, move->to);
    segment_saw(queue, move->to);
    queue_record_action(queue, number, ACTION_MOVED, "queue", NULL, NULL);
}

static void
move_done(struct pool_work *work)
{
    struct move_work *m = CONTAINER_OF(work, struct move_work, work);
    struct queue *queue = m->queue;
    bool ok = true;

    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < m->count; i++) {
        move_settle(queue, &m->moves[i]);
        ok &= m->moves[i].ok;
    }
    keep_floor_done(queue, &m->floor);
    queue->moving = false;
    if (!ok) {
        struct segments *segments = &queue->segments[m->journal];
        size_t at = live_index(segments, m->segment);

        if (at < segments->count && segments->live[at].segment == m->segment)
            segments->live[at].not_before = clock_mono_ms() + MOVE_AGAIN_MS;
        log_event(NULL, LOG_ERROR, "queue.copy_forward_failed",
                  LOG_U64("segment", m->segment),
                  LOG_STR("error", m->err.text));
    }
    pthread_mutex_unlock(&queue->lock);
    queue_kick(queue);
    mem_free(m);
}

static bool
may_move(const struct queue *queue, const struct message *message, uint64_t now,
         int64_t wall_us)
{
    if ((message->flags & (MESSAGE_MOVING | MESSAGE_DELETE)) != 0 ||
        wall_us - message->arrived_us < MOVE_AGE_US)
        return false;
    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next) {
        const struct rcpt *rcpt = queue_rcpt(queue, r);

        if (rcpt->state != RCPT_HELD &&
            (rcpt->state != RCPT_WAITING || rcpt->when < now + MOVE_QUIET_MS))
            return false;
    }
    return true;
}

static const struct segment_live *
move_candidate(const struct queue *queue, enum spool_journal journal,
               uint64_t now)
{
    const struct segments *segments = &queue->segments[journal];
    uint64_t little =
        queue->settings->spool.segment_size * MOVE_LIVE_PERCENT / 100;

    for (size_t i = 0; i < segments->count; i++)
        if (segments->live[i].segment < segments->checkpoint &&
            segments->live[i].not_before <= now &&
            segments->live[i].bytes <= little)
            return &segments->live[i];
    return NULL;
}

static void
collect_moves(struct queue *queue, struct move_work *m, uint64_t now)
{
    int64_t wall_us = clock_wall_us();

    for (uint32_t i = 1; i < queue->messages.end && m->count < MOVE_BATCH;
         i++) {
        struct message *message = queue_message(queue, i);

        if (message->id == 0 ||
            spool_place_journal(message->place) != m->journal ||
            spool_place_segment(message->place) != m->segment ||
            !may_move(queue, message, now, wall_us))
            continue;
        message->flags |= MESSAGE_MOVING;
        m->moves[m->count++] =
            (struct move){.id = message->id, .from = message->place};
    }
}

/* The next batch of the first segment worth emptying; NULL: none. A segment
 * whose messages are all busy is looked at again later. */
static struct move_work *
move_plan(struct queue *queue, uint64_t now)
{
    for (int i = 0; i < 2; i++) {
        const struct segment_live *live =
            move_candidate(queue, (enum spool_journal)i, now);
        struct move_work *m;

        if (live == NULL)
            continue;
        m = mem_alloc(sizeof *m);
        m->work.run = move_run;
        m->work.done = move_done;
        m->queue = queue;
        m->journal = (enum spool_journal)i;
        m->segment = live->segment;
        collect_moves(queue, m, now);
        if (m->count > 0) {
            keep_floor(queue, &m->floor);
            return m;
        }
        queue->segments[i].live[live - queue->segments[i].live].not_before =
            now + 2 * MOVE_MS;
        mem_free(m);
    }
    return NULL;
}

/* --- In turn -------------------------------------------------------------- */

void
keep_tick(struct queue *queue)
{
    uint64_t now = clock_mono_ms();
    struct reclaim_work *reclaim = NULL;
    struct move_work *move = NULL;
    bool checkpoint, position;

    pthread_mutex_lock(&queue->lock);
    position = now >= queue->position_at;
    if (position)
        queue->position_at = now + POSITION_MS;
    checkpoint = checkpoint_due(queue, now);
    if (checkpoint) {
        queue->checkpointing = true;
        queue->checkpoint_made = now;
        queue->checkpoint_at = now + CHECKPOINT_MS;
    }
    if (queue->reclaim_wanted && !queue->reclaiming) {
        queue->reclaiming = true;
        queue->reclaim_wanted = false;
        reclaim = reclaim_plan(queue);
    }
    if (!queue->moving && now >= queue->move_at) {
        queue->move_at = now + MOVE_MS;
        move = move_plan(queue, now);
        queue->moving = move != NULL;
    }
    pthread_mutex_unlock(&queue->lock);
    if (position)
        keep_position(queue);
    if (checkpoint)
        checkpoint_begin(queue);
    if (reclaim != NULL)
        pool_begin(queue, &reclaim->work);
    if (move != NULL)
        pool_begin(queue, &move->work);
}

void
keep_fini(struct queue *queue)
{
    mem_free(queue->segments[0].live);
    mem_free(queue->segments[1].live);
}
