#include "transmit/test_transmit.h"
#include "base/buf.h"

struct spool_content {
    char *text; /* owned */
    size_t length;
    bool blocked, damaged;
};

/* --- Parcels ------------------------------------------------------------ */

static struct spool_content *
content_new(const struct fake_mail *mail)
{
    struct spool_content *content = mem_alloc(sizeof *content);
    size_t n = strlen(mail->content), times = mail->repeat ? mail->repeat : 1;

    content->length = n * times;
    content->text = mem_alloc(content->length + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(content->text + i * n, mail->content, n);
    content->blocked = mail->blocked;
    content->damaged = mail->damaged;
    return content;
}

static void
fill_recipients(struct parcel *parcel, const struct fake_mail *mail)
{
    struct envelope *envelope = &parcel->envelope;
    size_t count = 0;

    while (count < FAKE_RECIPIENTS_MAX && mail->to[count] != NULL)
        count++;
    envelope->recipients =
        arena_alloc(&parcel->arena, count * sizeof *envelope->recipients);
    envelope->recipient_count = parcel->recipient_count = count;
    parcel->recipients =
        arena_alloc(&parcel->arena, count * sizeof *parcel->recipients);
    for (size_t i = 0; i < count; i++) {
        envelope->recipients[i] = (struct envelope_recipient){
            .address = sv_of(mail->to[i]),
            .orcpt = sv_of(mail->orcpt),
            .notify = mail->notify,
        };
        parcel->recipients[i] = (struct parcel_recipient){
            .recipient = &envelope->recipients[i], .index = (uint32_t)i};
    }
}

struct parcel *
fake_parcel_new(const struct fake_mail *mail, unsigned number)
{
    struct parcel *parcel = mem_alloc(sizeof *parcel);

    arena_init(&parcel->arena, 2048);
    parcel->id = number;
    parcel->attempt = 1;
    parcel->content = content_new(mail);
    parcel->envelope = (struct envelope){
        .queue_id = arena_printf(&parcel->arena, "B%08x0000", number),
        .sender = sv_of(mail->sender),
        .envid = sv_of(mail->envid),
        .ret = mail->ret,
        .body = mail->body8 ? BODY_8BITMIME : BODY_7BIT,
        .smtputf8 = mail->smtputf8,
        .eight_bit = mail->eight_bit,
        .header_utf8 = mail->header_utf8,
        .tls_demands = mail->demands,
    };
    fill_recipients(parcel, mail);
    return parcel;
}

void
fake_parcel_free(struct parcel *parcel)
{
    mem_free(parcel->content->text);
    mem_free(parcel->content);
    arena_fini(&parcel->arena);
    mem_free(parcel);
}

void
fake_parcel_outcome(const struct parcel *parcel, char *text, size_t size)
{
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < parcel->recipient_count && n < size; i++) {
        const struct parcel_recipient *to = &parcel->recipients[i];

        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? ", " : "",
                              to->decided ? ledger_outcome_name(to->outcome)
                                          : "undecided");
        if (to->decided && n < size)
            n += (size_t)snprintf(text + n, size - n, " %u %u.%u.%u", to->code,
                                  to->status.class, to->status.subject,
                                  to->status.detail);
    }
}

/* --- Spool -------------------------------------------------------------- */

uint64_t
spool_content_length(const struct spool_content *content)
{
    return content->length;
}

static ssize_t
copy_content(const struct spool_content *content, uint64_t offset, char *dst,
             size_t n, struct err *err)
{
    size_t left = content->length - (size_t)offset;

    if (content->damaged) {
        err_set(err, "damaged for the test");
        return -1;
    }
    if (n > left)
        n = left;
    memcpy(dst, content->text + offset, n);
    return (ssize_t)n;
}

ssize_t
spool_content_read(struct spool_content *content, uint64_t offset, char *dst,
                   size_t n, struct err *err)
{
    if (content->blocked)
        return SPOOL_BLOCKED;
    return copy_content(content, offset, dst, n, err);
}

struct fetch {
    struct task task;
    ssize_t got;
    struct err err;
    void (*on_read)(void *arg, ssize_t got, const struct err *err);
    void *arg;
};

static void
run_fetch(struct task *task)
{
    struct fetch *fetch = CONTAINER_OF(task, struct fetch, task);

    fetch->on_read(fetch->arg, fetch->got, &fetch->err);
    mem_free(fetch);
}

void
spool_content_fetch(struct spool_content *content, struct loop *loop,
                    uint64_t offset, char *dst, size_t n,
                    void (*on_read)(void *arg, ssize_t got,
                                    const struct err *err),
                    void *arg)
{
    struct fetch *fetch = mem_alloc(sizeof *fetch);

    fetch->got = copy_content(content, offset, dst, n, &fetch->err);
    fetch->task.run = run_fetch;
    fetch->on_read = on_read;
    fetch->arg = arg;
    loop_post(loop, &fetch->task);
}

/* --- Queue -------------------------------------------------------------- */

void
fake_queue_init(struct queue *queue)
{
    *queue = (struct queue){0};
    pthread_mutex_init(&queue->lock, NULL);
    list_init(&queue->ready);
}

void
fake_queue_fini(struct queue *queue)
{
    struct link *link;

    while ((link = list_pop_front(&queue->ready)) != NULL)
        fake_parcel_free(CONTAINER_OF(link, struct parcel, link));
    buf_fini(&queue->events);
    pthread_mutex_destroy(&queue->lock);
}

void
fake_queue_add(struct queue *queue, struct parcel *parcel)
{
    pthread_mutex_lock(&queue->lock);
    list_push_back(&queue->ready, &parcel->link);
    pthread_mutex_unlock(&queue->lock);
}

static void
changed(struct queue *queue)
{
    if (queue->on_change != NULL)
        queue->on_change(queue->arg);
    pthread_mutex_unlock(&queue->lock);
}

struct parcel *
queue_take(struct queue *queue, struct destination *destination,
           uint32_t max_recipients)
{
    struct link *link;

    (void)destination;
    (void)max_recipients;
    pthread_mutex_lock(&queue->lock);
    link = list_pop_front(&queue->ready);
    pthread_mutex_unlock(&queue->lock);
    return link != NULL ? CONTAINER_OF(link, struct parcel, link) : NULL;
}

void
queue_done(struct queue *queue, struct parcel *parcel)
{
    char outcome[512];

    fake_parcel_outcome(parcel, outcome, sizeof outcome);
    pthread_mutex_lock(&queue->lock);
    buf_printf(&queue->events, "done %s | %s | %.*s | tls=%.*s verify=%.*s\n",
               outcome, tls_stage_name(parcel->facts.stage),
               SV_ARG(parcel->facts.host), SV_ARG(parcel->facts.tls_version),
               SV_ARG(parcel->facts.tls_verify));
    queue->done++;
    changed(queue);
    fake_parcel_free(parcel);
}

void
queue_untake(struct queue *queue, struct parcel *parcel)
{
    pthread_mutex_lock(&queue->lock);
    list_push_front(&queue->ready, &parcel->link);
    pthread_mutex_unlock(&queue->lock);
}

void
queue_destination_failed(struct queue *queue, struct destination *destination,
                         const struct destination_failure *failure)
{
    (void)destination;
    pthread_mutex_lock(&queue->lock);
    buf_printf(&queue->events, "failed %s%u %u.%u.%u %s %.*s\n",
               failure->final ? "final " : "", failure->code,
               failure->status.class, failure->status.subject,
               failure->status.detail, tls_stage_name(failure->failure.stage),
               SV_ARG(failure->host));
    changed(queue);
}

uint32_t
queue_failures(struct queue *queue, const struct destination *destination)
{
    (void)destination;
    return queue->failures;
}

uint64_t
queue_waiting(struct queue *queue, const struct destination *destination)
{
    uint64_t count;

    (void)destination;
    pthread_mutex_lock(&queue->lock);
    count = queue->ready.length;
    pthread_mutex_unlock(&queue->lock);
    return count;
}

void
queue_session_ended(struct queue *queue, struct destination *destination,
                    bool worked)
{
    (void)destination;
    pthread_mutex_lock(&queue->lock);
    buf_printf(&queue->events, "ended %s\n", worked ? "worked" : "idle");
    queue->ended++;
    changed(queue);
}

/* --- Calls -------------------------------------------------------------- */

const char *
rpc_method(const struct rpc_call *call)
{
    return call->method;
}

void
rpc_item(struct rpc_call *call, json_t *item)
{
    json_array_append_new(call->items, item);
}

void
rpc_result(struct rpc_call *call, json_t *result)
{
    call->result = result;
    loop_stop(call->loop);
}

const json_t *
rpc_params(const struct rpc_call *call)
{
    (void)call;
    return NULL;
}

bool
rpc_gone(const struct rpc_call *call)
{
    (void)call;
    return false;
}

size_t
rpc_pending(const struct rpc_call *call)
{
    (void)call;
    return 0;
}

void
rpc_on_low(struct rpc_call *call, void (*on_low)(void *arg), void *arg)
{
    (void)call;
    on_low(arg);
}

void
rpc_error(struct rpc_call *call, const char *fmt, ...)
{
    (void)fmt;
    rpc_result(call, json_null());
}
