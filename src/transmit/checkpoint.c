/* The snapshot of the queue as bytes.  Little-endian:
 *
 *   "WXGQ0002"
 *   u32 domains,  each {u16 length, name, u32 demands (enum envelope_tls)}
 *   u32 reasons,  each {u16 length, bytes of queue_reason.c}
 *   u32 messages, each
 *     {u64 id, u64 place, i64 arrived_us, u64 bytes, u8 flags,
 *      u8 length, queue id, u32 recipients, each
 *        {u32 domain, u32 index, u32 reason (0: none, else number + 1),
 *         u32 tried_s, i64 next_ms (wall clock; 0: now), u16 attempts,
 *         u8 flags}}
 *
 * "WXGQ0001" is read too: there domains have no demands.
 *
 * Recipients that are CLOSING are left out: their final record is appended.
 * Should that record never become durable, the snapshot itself has made the
 * outcome durable.  Those in the hands of a session count as ready.  Integrity
 * is the spool's (a checksum over all); here every number is checked so that
 * no bytes whatever can do harm. */
#include "transmit/queue_internal.h"

static const char magic[8] = {'W', 'X', 'G', 'Q', '0', '0', '0', '2'};
static const char magic_1[8] = {'W', 'X', 'G', 'Q', '0', '0', '0', '1'};
enum { KEPT_FLAGS = MESSAGE_HELD | MESSAGE_NULL_SENDER };

/* --- Writing -------------------------------------------------------------- */

static void
add_int(struct buf *out, uint64_t value, size_t bytes)
{
    char *to = buf_reserve(out, bytes);

    for (size_t i = 0; i < bytes; i++)
        to[i] = (char)(value >> (8 * i) & 255u);
    buf_grew(out, bytes);
}

static void
add_text(struct buf *out, struct sv text)
{
    add_int(out, text.n, 2);
    buf_add(out, text);
}

struct encoder {
    struct queue *queue;
    struct buf *out;
    uint32_t *domains, *reasons; /* number in the queue -> in the file */
    int64_t wall_ms;
    uint64_t now;
};

static void
encode_domains(struct encoder *e)
{
    struct queue *queue = e->queue;
    uint32_t count = 0;

    e->domains = mem_alloc_array(queue->domains.end + 1, sizeof *e->domains);
    add_int(e->out, queue->domains.count, 4);
    for (uint32_t i = 1; i < queue->domains.end; i++) {
        if (domain_at(queue, i) == NULL)
            continue;
        e->domains[i] = count++;
        add_text(e->out, sv_of(domain_at(queue, i)->name));
        add_int(e->out, domain_at(queue, i)->demands, 4);
    }
}

static void
encode_reasons(struct encoder *e)
{
    struct reasons *reasons = &e->queue->reasons;
    uint32_t count = 0;

    e->reasons = mem_alloc_array(reasons->entries.end + 1, sizeof *e->reasons);
    add_int(e->out, reasons->entries.count, 4);
    for (uint32_t i = 1; i < reasons->entries.end; i++) {
        if (reasons->entries.items[i] == NULL)
            continue;
        e->reasons[i] = ++count;
        add_text(e->out, reason_bytes(reasons, i));
    }
}

static int64_t
next_wall(const struct encoder *e, const struct rcpt *rcpt)
{
    if (rcpt->state != RCPT_WAITING && rcpt->state != RCPT_HELD)
        return 0;
    return e->wall_ms + (int64_t)rcpt->when - (int64_t)e->now;
}

static void
encode_rcpt(struct encoder *e, const struct rcpt *rcpt)
{
    add_int(e->out, e->domains[rcpt->domain], 4);
    add_int(e->out, rcpt->index, 4);
    add_int(e->out, rcpt->reason == 0 ? 0 : e->reasons[rcpt->reason], 4);
    add_int(e->out, rcpt->tried_s, 4);
    add_int(e->out, (uint64_t)next_wall(e, rcpt), 8);
    add_int(e->out, rcpt->attempts, 2);
    add_int(e->out, rcpt->flags, 1);
}

static uint32_t
count_kept(const struct queue *queue, const struct message *message)
{
    uint32_t count = 0;

    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next)
        if (queue_rcpt(queue, r)->state != RCPT_CLOSING)
            count++;
    return count;
}

static bool
encode_message(struct encoder *e, const struct message *message)
{
    struct sv text = sv_of(message->queue_id);
    uint32_t count = count_kept(e->queue, message);

    if (count == 0)
        return false;
    add_int(e->out, message->id, 8);
    add_int(e->out, message->place.packed, 8);
    add_int(e->out, (uint64_t)message->arrived_us, 8);
    add_int(e->out, message->bytes, 8);
    add_int(e->out, message->flags & KEPT_FLAGS, 1);
    add_int(e->out, text.n, 1);
    buf_add(e->out, text);
    add_int(e->out, count, 4);
    for (uint32_t r = message->recipients; r != 0;) {
        const struct rcpt *rcpt = queue_rcpt(e->queue, r);

        if (rcpt->state != RCPT_CLOSING)
            encode_rcpt(e, rcpt);
        r = rcpt->next;
    }
    return true;
}

void
checkpoint_encode(struct queue *queue, int64_t wall_us, struct buf *out)
{
    struct encoder e = {
        .queue = queue,
        .out = out,
        .wall_ms = wall_us / 1000,
        .now = clock_mono_ms(),
    };
    uint32_t count = 0;
    size_t count_at;

    buf_add(out, (struct sv){magic, sizeof magic});
    encode_domains(&e);
    encode_reasons(&e);
    count_at = buf_length(out);
    add_int(out, 0, 4);
    for (uint32_t i = 1; i < queue->messages.end; i++)
        if (queue_message(queue, i)->id != 0 &&
            encode_message(&e, queue_message(queue, i)))
            count++;
    for (size_t i = 0; i < 4; i++)
        out->p[out->start + count_at + i] = (char)(count >> (8 * i) & 255u);
    mem_free(e.domains);
    mem_free(e.reasons);
}

/* --- Reading -------------------------------------------------------------- */

struct decoder {
    struct queue *queue;
    struct sv in;
    bool bad, has_demands;
    struct {
        struct sv name;
        unsigned demands;
    } * domains;
    uint32_t domain_count;
    uint32_t *reasons; /* referenced once each */
    uint32_t reason_count;
    int64_t wall_ms;
    uint64_t now;
};

static struct sv
take(struct decoder *d, size_t n)
{
    struct sv view = sv_slice(d->in, 0, n);

    if (n > d->in.n) {
        d->bad = true;
        return (struct sv){0};
    }
    d->in = sv_from(d->in, n);
    return view;
}

static uint64_t
take_int(struct decoder *d, size_t bytes)
{
    struct sv view = take(d, bytes);
    uint64_t value = 0;

    for (size_t i = 0; i < view.n; i++)
        value |= (uint64_t)(unsigned char)view.p[i] << (8 * i);
    return value;
}

static struct sv
take_text(struct decoder *d)
{
    return take(d, (size_t)take_int(d, 2));
}

/* A count of things of at least `least` bytes each. */
static uint32_t
take_count(struct decoder *d, size_t least)
{
    uint32_t count = (uint32_t)take_int(d, 4);

    if (count > d->in.n / least)
        d->bad = true;
    return d->bad ? 0 : count;
}

static void
decode_domains(struct decoder *d)
{
    uint32_t count = take_count(d, d->has_demands ? 6 : 2);

    d->domains = mem_alloc_array((size_t)count + 1, sizeof *d->domains);
    for (uint32_t i = 0; i < count && !d->bad; i++) {
        d->domains[i].name = take_text(d);
        d->domains[i].demands = d->has_demands ? (unsigned)take_int(d, 4) : 0;
        if (!queue_demands_known(d->domains[i].demands))
            d->bad = true; /* dropping a demand would be worse */
    }
    d->domain_count = count;
}

static void
decode_reasons(struct decoder *d)
{
    uint32_t count = take_count(d, 2);
    struct reason reason;

    d->reasons = mem_alloc_array((size_t)count + 1, sizeof *d->reasons);
    for (uint32_t i = 0; i < count && !d->bad; i++) {
        struct sv bytes = take_text(d);

        if (d->bad || !reason_parse(bytes, &reason)) {
            d->bad = true;
            break;
        }
        d->reasons[i] = reason_intern_bytes(&d->queue->reasons, bytes);
        d->reason_count = i + 1;
    }
}

static void
decode_rcpt(struct decoder *d, uint32_t message)
{
    uint32_t domain = (uint32_t)take_int(d, 4);
    uint32_t index = (uint32_t)take_int(d, 4);
    uint32_t reason = (uint32_t)take_int(d, 4);
    uint32_t tried_s = (uint32_t)take_int(d, 4);
    int64_t next_ms = (int64_t)take_int(d, 8);
    uint16_t attempts = (uint16_t)take_int(d, 2);
    uint8_t flags = (uint8_t)take_int(d, 1);
    enum rcpt_state state = RCPT_READY;
    uint32_t number;
    struct rcpt *rcpt;
    /* What was late while we were down is ready at once; the bounds on sessions
     * see to it that it does not go out all together. */
    uint64_t when = d->now;

    if (d->bad || domain >= d->domain_count || reason > d->reason_count) {
        d->bad = true;
        return;
    }
    number = rcpt_add(d->queue, message, index, d->domains[domain].name,
                      d->domains[domain].demands, flags);
    rcpt = queue_rcpt(d->queue, number);
    rcpt->flags = flags & (15 | RCPT_WARNED);
    rcpt->attempts = attempts;
    rcpt->tried_s = tried_s;
    if (reason != 0) {
        reason_hold(&d->queue->reasons, d->reasons[reason - 1]);
        rcpt_set_reason(d->queue, rcpt, d->reasons[reason - 1]);
    }
    if (next_ms > d->wall_ms)
        when = tail_when(d->queue, rcpt, d->now, next_ms - d->wall_ms);
    if (queue_message(d->queue, message)->flags & MESSAGE_HELD)
        state = RCPT_HELD;
    else if (when > d->now)
        state = RCPT_WAITING;
    schedule_enter(d->queue, number, state, when);
}

/* rcpt_add() puts each in front; the chain shall stand in the old order. */
static void
reverse_chain(struct queue *queue, struct message *message)
{
    uint32_t back = 0;

    for (uint32_t r = message->recipients; r != 0;) {
        struct rcpt *rcpt = queue_rcpt(queue, r);
        uint32_t next = rcpt->next;

        rcpt->next = back;
        back = r;
        r = next;
    }
    message->recipients = back;
}

static void
decode_message(struct decoder *d)
{
    struct message_facts facts = {.id = take_int(d, 8)};
    uint32_t count, message;

    facts.place.packed = take_int(d, 8);
    facts.arrived_us = (int64_t)take_int(d, 8);
    facts.bytes = take_int(d, 8);
    facts.flags = (uint32_t)take_int(d, 1) & KEPT_FLAGS;
    facts.queue_id = take(d, (size_t)take_int(d, 1));
    count = take_count(d, 27);
    if (d->bad || count == 0 || facts.id == 0 ||
        queue_find_id(d->queue, facts.id) != 0) {
        d->bad = true;
        return;
    }
    message = message_add(d->queue, &facts);
    for (uint32_t i = 0; i < count && !d->bad; i++)
        decode_rcpt(d, message);
    reverse_chain(d->queue, queue_message(d->queue, message));
}

bool
checkpoint_decode(struct queue *queue, struct sv bytes, int64_t wall_us,
                  struct err *err)
{
    struct decoder d = {
        .queue = queue,
        .in = bytes,
        .wall_ms = wall_us / 1000,
        .now = clock_mono_ms(),
    };

    struct sv found;

    found = take(&d, sizeof magic);
    d.has_demands = sv_eq(found, (struct sv){magic, sizeof magic});
    if (!d.has_demands && !sv_eq(found, (struct sv){magic_1, sizeof magic_1}))
        d.bad = true;
    if (!d.bad)
        decode_domains(&d);
    if (!d.bad)
        decode_reasons(&d);
    for (uint32_t n = d.bad ? 0 : take_count(&d, 38); n > 0 && !d.bad; n--)
        decode_message(&d);
    for (uint32_t i = 0; i < d.reason_count; i++)
        reason_drop(&queue->reasons, d.reasons[i]);
    mem_free(d.domains);
    mem_free(d.reasons);
    if (d.bad || d.in.n > 0)
        err_set(err, "the checkpoint is damaged");
    return !d.bad && d.in.n == 0;
}
