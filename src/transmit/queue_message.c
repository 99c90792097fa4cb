#include "transmit/queue_internal.h"

#define AS_RCPT_NAME(name, text) text,
static const char *const state_names[] = {RCPT_STATES(AS_RCPT_NAME)};
#undef AS_RCPT_NAME

const char *
rcpt_state_name(enum rcpt_state state)
{
    return state_names[state];
}

struct message *
queue_message(const struct queue *queue, uint32_t number)
{
    return slab_at(&queue->messages, number);
}

struct rcpt *
queue_rcpt(const struct queue *queue, uint32_t number)
{
    return slab_at(&queue->recipients, number);
}

/* Ids are counted up by the spool, nobody outside can choose them. */
static uint64_t
hash_id(spool_message_id id)
{
    uint64_t h = id * 0x9e3779b97f4a7c15u;

    return h ^ (h >> 29);
}

uint64_t
queue_hash_id(const void *owner, uint32_t number)
{
    return hash_id(queue_message(owner, number)->id);
}

uint64_t
queue_hash_text(const void *owner, uint32_t number)
{
    return hash_bytes(sv_of(queue_message(owner, number)->queue_id));
}

uint32_t
queue_find_id(const struct queue *queue, spool_message_id id)
{
    size_t cursor = 0;
    uint32_t number;

    while ((number = index_next(&queue->by_id, hash_id(id), &cursor)) != 0)
        if (queue_message(queue, number)->id == id)
            return number;
    return 0;
}

uint32_t
queue_find_text(const struct queue *queue, struct sv queue_id)
{
    uint64_t hash = hash_bytes(queue_id);
    size_t cursor = 0;
    uint32_t number;

    while ((number = index_next(&queue->by_queue_id, hash, &cursor)) != 0)
        if (sv_is(queue_id, queue_message(queue, number)->queue_id))
            return number;
    return 0;
}

uint32_t
message_add(struct queue *queue, const struct message_facts *facts)
{
    uint32_t number = slab_take(&queue->messages);
    struct message *message = queue_message(queue, number);
    size_t n = facts->queue_id.n;

    assert(facts->id != 0);
    if (n >= sizeof message->queue_id)
        n = sizeof message->queue_id - 1;
    message->id = facts->id;
    message->place = facts->place;
    message->arrived_us = facts->arrived_us;
    message->bytes = facts->bytes;
    message->flags = facts->flags;
    if (n > 0)
        memcpy(message->queue_id, facts->queue_id.p, n);
    index_add(&queue->by_id, number);
    index_add(&queue->by_queue_id, number);
    queue->bytes += facts->bytes;
    segment_live_add(queue, facts->place, facts->bytes);
    return number;
}

uint32_t
rcpt_add(struct queue *queue, uint32_t message, uint32_t index,
         struct sv domain, unsigned demands, unsigned notify)
{
    struct domain *in = domain_get(queue, domain, demands);
    uint32_t number = slab_take(&queue->recipients);
    struct rcpt *rcpt = queue_rcpt(queue, number);
    struct message *owner = queue_message(queue, message);

    rcpt->message = message;
    rcpt->domain = in->number;
    rcpt->index = index;
    rcpt->flags = (uint8_t)(notify & 15u);
    rcpt->next = owner->recipients;
    owner->recipients = number;
    owner->open++;
    in->recipients++;
    queue->count[RCPT_NEW]++;
    in->destination->count[RCPT_NEW]++;
    return number;
}

/* The chain is built from behind, so that it stands in the envelope's order. */
uint32_t
message_add_envelope(struct queue *queue, const struct message_facts *facts,
                     const struct envelope *envelope)
{
    struct message_facts all = *facts;
    uint32_t number, rcpt;
    bool held;

    if (envelope->sender.n == 0)
        all.flags |= MESSAGE_NULL_SENDER;
    held = (all.flags & MESSAGE_HELD) != 0;
    number = message_add(queue, &all);
    for (size_t i = envelope->recipient_count; i-- > 0;)
        rcpt_add(queue, number, (uint32_t)i, envelope->recipients[i].domain,
                 envelope->tls_demands, envelope->recipients[i].notify);
    for (rcpt = queue_message(queue, number)->recipients; rcpt != 0;
         rcpt = queue_rcpt(queue, rcpt)->next)
        schedule_enter(queue, rcpt, held ? RCPT_HELD : RCPT_READY,
                       clock_mono_ms());
    return number;
}

void
message_hold(struct queue *queue, uint32_t number)
{
    struct message *message = queue_message(queue, number);

    message->flags |= MESSAGE_HELD;
    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next) {
        const struct rcpt *rcpt = queue_rcpt(queue, r);

        if (rcpt->state == RCPT_READY || rcpt->state == RCPT_WAITING)
            schedule_enter(queue, r, RCPT_HELD, rcpt->when);
    }
}

static void
unchain(struct queue *queue, struct message *message, uint32_t number)
{
    uint32_t *at = &message->recipients;

    while (*at != number)
        at = &queue_rcpt(queue, *at)->next;
    *at = queue_rcpt(queue, number)->next;
}

static void
rcpt_free(struct queue *queue, uint32_t number)
{
    struct rcpt *rcpt = queue_rcpt(queue, number);
    struct domain *domain = domain_at(queue, rcpt->domain);

    schedule_leave(queue, number);
    queue->count[RCPT_NEW]--;
    domain->destination->count[RCPT_NEW]--;
    rcpt_set_reason(queue, rcpt, 0);
    if (--domain->recipients == 0)
        domain_drop(queue, domain);
    slab_give(&queue->recipients, number);
}

void
rcpt_remove(struct queue *queue, uint32_t number)
{
    uint32_t owner = queue_rcpt(queue, number)->message;
    struct message *message = queue_message(queue, owner);

    unchain(queue, message, number);
    rcpt_free(queue, number);
    if (message->recipients == 0)
        message_remove(queue, owner);
}

void
message_remove(struct queue *queue, uint32_t number)
{
    struct message *message = queue_message(queue, number);

    while (message->recipients != 0) {
        uint32_t rcpt = message->recipients;

        message->recipients = queue_rcpt(queue, rcpt)->next;
        rcpt_free(queue, rcpt);
    }
    index_remove(&queue->by_id, number);
    index_remove(&queue->by_queue_id, number);
    queue->bytes -= message->bytes;
    segment_live_remove(queue, message->place, message->bytes);
    spool_content_drop(queue->spool, message->place);
    slab_give(&queue->messages, number);
}

void
message_move(struct queue *queue, uint32_t number, struct spool_place place)
{
    struct message *message = queue_message(queue, number);

    segment_live_remove(queue, message->place, message->bytes);
    segment_live_add(queue, place, message->bytes);
    message->place = place;
}

size_t
queue_memory(const struct queue *queue)
{
    return slab_memory(&queue->messages) + slab_memory(&queue->recipients) +
           (queue->by_id.cap + queue->by_queue_id.cap) * sizeof(uint32_t) +
           queue->waiting.cap * sizeof(struct heap_entry) +
           queue->reasons.bytes * 3 + queue->domains.count * 400u;
}
