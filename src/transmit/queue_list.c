/* The long answers: `queue.list` and `queue.show`.
 *
 * Addresses are not in memory, so each slice of messages goes to a pool thread
 * that reads the envelopes; then it is sent, and the next slice follows when
 * the client has taken most of it.  The lock is held for a slice's walk only.
 * The order is that of the table; the result names a cursor ("next") with which
 * a later call goes on. */
#include "transmit/queue_internal.h"

enum {
    LIST_SLOTS = 20000, /* looked at under one lock */
    LIST_BATCH = 100,
    LIST_PENDING = 100000, /* bytes not yet taken by the client */
    LIST_DEFAULT = 100,
};

struct listed {
    struct spool_place place;
    json_t *json; /* owned; NULL: filtered out */
};

struct listing {
    struct pool_work work;
    struct link link;    /* of queue->listings */
    struct queue *queue; /* NULL: closed */
    struct rpc_call *call;
    char *sender, *recipient, *destination, *state; /* owned; "": any */
    uint32_t cursor;
    uint64_t skip, left, sent;
    bool end, show;
    struct listed batch[LIST_BATCH];
    size_t count;
};

static const char *
text_param(const struct rpc_call *call, const char *name)
{
    const char *text =
        json_string_value(json_object_get(rpc_params(call), name));

    return text != NULL ? text : "";
}

static uint64_t
number_param(const struct rpc_call *call, const char *name, uint64_t none)
{
    const json_t *value = json_object_get(rpc_params(call), name);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return none;
    return (uint64_t)json_integer_value(value);
}

static void
listing_free(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        json_decref(l->batch[i].json);
    if (l->queue != NULL)
        list_remove(&l->queue->listings, &l->link);
    mem_free(l->sender);
    mem_free(l->recipient);
    mem_free(l->destination);
    mem_free(l->state);
    mem_free(l);
}

static bool
state_fits(const struct listing *l, const struct queue *queue,
           const struct rcpt *rcpt)
{
    enum rcpt_state state = rcpt->state;

    if (l->state[0] == '\0')
        return true;
    if (state == RCPT_READY && destination_of(queue, rcpt)->resting)
        state = RCPT_WAITING;
    return strcmp(l->state, rcpt_state_name(state)) == 0;
}

static bool
message_fits(const struct listing *l, const struct queue *queue,
             const struct message *message)
{
    for (uint32_t r = message->recipients; r != 0;
         r = queue_rcpt(queue, r)->next) {
        const struct rcpt *rcpt = queue_rcpt(queue, r);
        const char *key = destination_of(queue, rcpt)->self.key;
        const char *name = domain_at(queue, rcpt->domain)->name;

        if (state_fits(l, queue, rcpt) &&
            (l->destination[0] == '\0' || strcmp(l->destination, key) == 0 ||
             strcmp(l->destination, name) == 0))
            return true;
    }
    return false;
}

/* Never more than may still be skipped or sent, so that the cursor stands right
 * behind the last one sent. */
static void
collect(struct listing *l)
{
    struct queue *queue = l->queue;
    uint32_t stop = l->cursor + LIST_SLOTS;
    size_t most = LIST_BATCH;

    if (l->left < most && l->skip < most - l->left)
        most = (size_t)(l->left + l->skip);
    pthread_mutex_lock(&queue->lock);
    l->count = 0;
    for (;
         l->cursor < stop && l->cursor < queue->messages.end && l->count < most;
         l->cursor++) {
        const struct message *message = queue_message(queue, l->cursor);

        if (message->id == 0 || !message_fits(l, queue, message))
            continue;
        l->batch[l->count++] = (struct listed){
            .place = message->place, .json = admin_message(queue, l->cursor)};
    }
    l->end = l->cursor >= queue->messages.end;
    pthread_mutex_unlock(&queue->lock);
}

/* --- On a pool thread ----------------------------------------------------- */

/* An address, or "@domain". */
static bool
address_fits(const char *filter, struct sv address)
{
    if (filter[0] == '\0')
        return true;
    if (filter[0] == '@')
        return sv_ends_nocase(address, sv_of(filter));
    return sv_is_nocase(address, filter);
}

static void
name_recipients(json_t *json, const struct envelope *envelope)
{
    json_t *to = json_object_get(json, "recipients");
    json_t *one;
    size_t i;

    json_array_foreach(to, i, one)
    {
        json_int_t index = json_integer_value(json_object_get(one, "index"));

        json_object_del(one, "index");
        if (index >= 0 && (size_t)index < envelope->recipient_count)
            json_object_set_new(one, "address",
                                admin_sv(envelope->recipients[index].address));
    }
}

static bool
recipients_fit(const char *filter, const json_t *json)
{
    const json_t *to = json_object_get(json, "recipients");

    if (filter[0] == '\0')
        return true;
    for (size_t i = 0; i < json_array_size(to); i++) {
        const json_t *one = json_array_get(to, i);

        if (address_fits(filter, sv_of(json_string_value(
                                     json_object_get(one, "address")))))
            return true;
    }
    return false;
}

static void
add_facts(json_t *json, const struct envelope *envelope)
{
    json_object_set_new(json, "client_address",
                        admin_sv(envelope->client_address));
    json_object_set_new(json, "client_name", admin_sv(envelope->client_name));
    json_object_set_new(json, "session", admin_sv(envelope->session));
    json_object_set_new(json, "listener", admin_sv(envelope->listener));
    json_object_set_new(json, "received_tls_version",
                        admin_sv(envelope->tls_version));
    json_object_set_new(json, "received_tls_cipher",
                        admin_sv(envelope->tls_cipher));
    json_object_set_new(json, "smtputf8", json_boolean(envelope->smtputf8));
    json_object_set_new(json, "envid", admin_sv(envelope->envid));
}

/* The message may have gone meanwhile; then it is left out. */
static void
complete(struct listing *l, struct listed *one)
{
    struct err err;
    struct spool_content *content =
        spool_content_open(l->queue->spool, one->place, &err);
    struct sv bytes = {0};
    struct envelope envelope;
    struct arena arena;
    bool fits = l->sender[0] == '\0' && l->recipient[0] == '\0';

    arena_init(&arena, 4096);
    if (content != NULL)
        bytes = spool_content_envelope(content, &err);
    if (bytes.n > 0 && envelope_decode(bytes, &arena, &envelope, &err)) {
        json_object_set_new(one->json, "sender", admin_sv(envelope.sender));
        name_recipients(one->json, &envelope);
        if (l->show)
            add_facts(one->json, &envelope);
        fits = address_fits(l->sender, envelope.sender) &&
               recipients_fit(l->recipient, one->json);
    } else {
        json_object_set_new(one->json, "unreadable", json_string(err.text));
    }
    arena_fini(&arena);
    if (content != NULL)
        spool_content_close(content);
    if (!fits) {
        json_decref(one->json);
        one->json = NULL;
    }
}

static void
listing_run(struct pool_work *work)
{
    struct listing *l = CONTAINER_OF(work, struct listing, work);

    for (size_t i = 0; i < l->count; i++)
        complete(l, &l->batch[i]);
}

/* --- On the main loop ----------------------------------------------------- */

static void
send_batch(struct listing *l)
{
    for (size_t i = 0; i < l->count && l->left > 0; i++) {
        json_t *json = l->batch[i].json;

        if (json == NULL)
            continue;
        if (l->skip > 0) {
            l->skip--;
            continue;
        }
        l->batch[i].json = NULL;
        l->left--;
        l->sent++;
        rpc_item(l->call, json);
    }
}

static void
listing_end(struct listing *l)
{
    json_t *result = json_pack("{s:I}", "messages", (json_int_t)l->sent);

    if (!l->end)
        json_object_set_new(result, "next", json_integer(l->cursor));
    rpc_result(l->call, result);
    listing_free(l);
}

static void next_slice(struct listing *l);

static void
on_low(void *arg)
{
    struct listing *l = arg;

    if (l->queue != NULL) {
        next_slice(l);
        return;
    }
    rpc_error(l->call, "the queue is closed");
    listing_free(l);
}

static void
show_done(struct listing *l)
{
    json_t *json = l->count > 0 ? l->batch[0].json : NULL;

    if (l->count > 0)
        l->batch[0].json = NULL;
    if (json != NULL)
        rpc_result(l->call, json);
    else
        rpc_error(l->call, "the message has left the queue");
    listing_free(l);
}

static void
listing_done(struct pool_work *work)
{
    struct listing *l = CONTAINER_OF(work, struct listing, work);

    if (l->show) {
        show_done(l);
        return;
    }
    send_batch(l);
    for (size_t i = 0; i < l->count; i++)
        json_decref(l->batch[i].json);
    l->count = 0;
    if (l->end || l->left == 0 || rpc_gone(l->call) || l->queue->closing)
        listing_end(l);
    else if (rpc_pending(l->call) > LIST_PENDING)
        rpc_on_low(l->call, on_low, l);
    else
        next_slice(l);
}

static void
next_slice(struct listing *l)
{
    collect(l);
    pool_begin(l->queue, &l->work);
}

static struct listing *
listing_new(struct queue *queue, struct rpc_call *call)
{
    struct listing *l = mem_alloc(sizeof *l);

    l->work.run = listing_run;
    l->work.done = listing_done;
    l->queue = queue;
    l->call = call;
    l->sender = mem_strdup(text_param(call, "sender"));
    l->recipient = mem_strdup(text_param(call, "recipient"));
    l->destination = mem_strdup(text_param(call, "destination"));
    l->state = mem_strdup(text_param(call, "state"));
    l->cursor = (uint32_t)number_param(call, "after", 1);
    if (l->cursor == 0)
        l->cursor = 1;
    l->skip = number_param(call, "offset", 0);
    l->left = number_param(call, "limit", LIST_DEFAULT);
    if (l->left == 0)
        l->left = UINT64_MAX;
    list_push_back(&queue->listings, &l->link);
    return l;
}

void
list_begin(struct queue *queue, struct rpc_call *call)
{
    next_slice(listing_new(queue, call));
}

void
list_show(struct queue *queue, struct rpc_call *call)
{
    const char *id = text_param(call, "id");
    struct listing *l;
    uint32_t number;

    pthread_mutex_lock(&queue->lock);
    number = queue_find_text(queue, sv_of(id));
    if (number == 0) {
        pthread_mutex_unlock(&queue->lock);
        rpc_error(call, "no message %s in the queue", id);
        return;
    }
    l = listing_new(queue, call);
    l->show = true;
    l->batch[0] = (struct listed){
        .place = queue_message(queue, number)->place,
        .json = admin_message(queue, number),
    };
    l->count = 1;
    pthread_mutex_unlock(&queue->lock);
    mem_free(l->sender);
    mem_free(l->recipient);
    l->sender = mem_strdup("");
    l->recipient = mem_strdup("");
    pool_begin(queue, &l->work);
}

/* What pauses until its client has read on; the rest ends by itself. */
void
list_abandon(struct queue *queue)
{
    struct link *link;

    while ((link = list_pop_front(&queue->listings)) != NULL)
        CONTAINER_OF(link, struct listing, link)->queue = NULL;
}
