/* Records on their way to the ledger.  What has become durable, or could not be
 * written, comes back on the spool's writer thread, which only puts it on a
 * list; the main loop does the rest.  A record that could not be written is
 * appended again, at once when the journal has moved on, and every second while
 * it fails (full disk): nothing is final before its record is durable. */
#include "transmit/queue_internal.h"
#include <time.h>

enum {
    AGAIN_MS = 1000,
    WAIT_S = 5,
    SWEEP_BOUNCES_MAX = 256, /* some KB each while they wait */
};

struct queue_record *
queue_record_new(struct queue *queue, enum spool_record_type type,
                 uint32_t message)
{
    struct queue_record *record = mem_alloc(sizeof *record);

    record->queue = queue;
    record->type = type;
    record->message = message;
    return record;
}

static void
queue_record_free(struct queue_record *record)
{
    buf_fini(&record->payload);
    mem_free(record->finished);
    json_decref(record->answer);
    mem_free(record);
}

static void
on_durable(void *arg, struct spool_place place, const struct err *error)
{
    struct queue_record *record = arg;
    struct queue *queue = record->queue;

    pthread_mutex_lock(&queue->done_lock);
    queue->finals -= record->finished_count > 0;
    record->place = place;
    record->failed = error != NULL;
    list_push_back(&queue->done, &record->link);
    queue->records--;
    if (queue->records == 0)
        pthread_cond_broadcast(&queue->done_cond);
    queue_kick(queue);
    pthread_mutex_unlock(&queue->done_lock);
}

void
queue_record_append(struct queue_record *record)
{
    struct queue *queue = record->queue;

    pthread_mutex_lock(&queue->done_lock);
    queue->records++;
    queue->finals += record->finished_count > 0;
    pthread_mutex_unlock(&queue->done_lock);
    queue->changes++;
    spool_ledger_append(queue->spool, record->type, buf_view(&record->payload),
                        on_durable, record);
}

bool
queue_record_lagging(struct queue *queue)
{
    bool lagging;

    pthread_mutex_lock(&queue->done_lock);
    lagging = queue->finals > QUEUE_UNWRITTEN_MAX ||
              queue->records > QUEUE_RECORDS_MAX;
    pthread_mutex_unlock(&queue->done_lock);
    return lagging;
}

bool
queue_record_crowded(struct queue *queue)
{
    bool crowded;

    pthread_mutex_lock(&queue->done_lock);
    crowded = queue->finals > QUEUE_UNWRITTEN_MAX / 2 ||
              queue->records > QUEUE_RECORDS_MAX / 2;
    pthread_mutex_unlock(&queue->done_lock);
    return crowded || queue->bounces.length > SWEEP_BOUNCES_MAX;
}

void
queue_record_action(struct queue *queue, uint32_t message,
                    enum ledger_action_kind kind, const char *by,
                    struct rpc_call *call, json_t *answer)
{
    struct queue_record *record =
        queue_record_new(queue, SPOOL_ACTION, message);
    const struct ledger_action action = {
        .id = queue_message(queue, message)->id,
        .kind = kind,
        .by = sv_of(by),
    };

    ledger_action_encode(&action, &record->payload);
    record->call = call;
    record->answer = answer;
    queue_record_append(record);
}

static void
queue_record_failed(struct queue *queue, struct queue_record *record)
{
    if (!queue->ledger_failing)
        log_event(NULL, LOG_ERROR, "queue.ledger_failing",
                  LOG_U64("records", queue->again.length + 1));
    queue->ledger_failing = true;
    if (list_empty(&queue->again))
        queue->again_at = clock_mono_ms() + AGAIN_MS;
    list_push_back(&queue->again, &record->link);
}

static void
queue_record_durable(struct queue *queue, struct queue_record *record)
{
    segment_saw(queue, record->place);
    if (queue->ledger_failing && list_empty(&queue->again)) {
        queue->ledger_failing = false;
        log_event(NULL, LOG_INFO, "queue.ledger_works",
                  LOG_U64("messages", queue->messages.count));
    }
    for (size_t i = 0; i < record->finished_count; i++) {
        uint32_t owner = queue_rcpt(queue, record->finished[i])->message;
        const struct message *message = queue_message(queue, owner);

        if (queue_rcpt(queue, message->recipients)->next == 0)
            log_event(NULL, LOG_INFO, "queue.done",
                      LOG_STR("queue", message->queue_id));
        rcpt_remove(queue, record->finished[i]);
    }
}

static void
try_again(struct queue *queue, bool now)
{
    struct list again;

    if (list_empty(&queue->again) ||
        (!now && clock_mono_ms() < queue->again_at))
        return;
    list_init(&again);
    list_join(&again, &queue->again);
    for (struct link *link; (link = list_pop_front(&again)) != NULL;)
        queue_record_append(CONTAINER_OF(link, struct queue_record, link));
}

/* Calls are answered without the lock. */
static void
answer(struct list *answers)
{
    for (struct link *link; (link = list_pop_front(answers)) != NULL;) {
        struct queue_record *record =
            CONTAINER_OF(link, struct queue_record, link);

        rpc_result(record->call, record->answer);
        record->answer = NULL;
        queue_record_free(record);
    }
}

void
queue_record_collect(struct queue *queue)
{
    struct list done, answers;
    bool retry_now;

    list_init(&done);
    list_init(&answers);
    pthread_mutex_lock(&queue->done_lock);
    list_join(&done, &queue->done);
    pthread_mutex_unlock(&queue->done_lock);

    pthread_mutex_lock(&queue->lock);
    retry_now = !queue->ledger_failing;
    for (struct link *link; (link = list_pop_front(&done)) != NULL;) {
        struct queue_record *record =
            CONTAINER_OF(link, struct queue_record, link);

        if (record->failed) {
            queue_record_failed(queue, record);
            continue;
        }
        queue_record_durable(queue, record);
        if (record->call != NULL)
            list_push_back(&answers, &record->link);
        else
            queue_record_free(record);
    }
    try_again(queue, retry_now);
    pthread_mutex_unlock(&queue->lock);
    answer(&answers);
}

bool
queue_record_wait(struct queue *queue)
{
    struct timespec until;
    struct err err;
    bool back;

    if (!spool_ledger_sync(queue->spool, &err))
        log_event(NULL, LOG_ERROR, "queue.sync_failed",
                  LOG_STR("error", err.text));
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&queue->done_lock);
    while (queue->records > 0 &&
           pthread_cond_timedwait(&queue->done_cond, &queue->done_lock,
                                  &until) == 0)
        ;
    back = queue->records == 0;
    pthread_mutex_unlock(&queue->done_lock);
    return back;
}

static void
drop_list(struct list *list)
{
    for (struct link *link; (link = list_pop_front(list)) != NULL;) {
        struct queue_record *record =
            CONTAINER_OF(link, struct queue_record, link);

        if (record->call != NULL)
            rpc_error(record->call, "the queue is closed");
        queue_record_free(record);
    }
}

void
queue_record_drop(struct queue *queue)
{
    drop_list(&queue->done);
    drop_list(&queue->again);
}
