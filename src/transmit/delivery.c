#include "transmit/delivery.h"
#include "transmit/delivery_internal.h"
#include <errno.h>
#include <semaphore.h>
#include <time.h>

enum {
    KEPT_MAX = 16, /* connections kept for one destination */
    KEEP_MS = 5000,
    PAUSE_MS = 5000,
    STALE_MS = 300000,
    TOLD_MS = 900000,
    DROP_WAIT_S = 2, /* for a loop to drop its sessions */
};

/* --- Life --------------------------------------------------------------- */

static void
on_idle(struct task *task)
{
    struct delivery *delivery = CONTAINER_OF(task, struct delivery, idle_task);

    if (!delivery->freeing)
        delivery->on_idle(delivery->idle_arg);
    delivery_user_gone(delivery);
}

static void
free_parts(struct delivery *delivery)
{
    revision_unref(delivery->current);
    revision_unref(delivery->prepared);
    pool_fini(&delivery->pool);
    map_fini(&delivery->connected);
    delivery_forget_unsure(delivery);
    delivery_memory_fini(&delivery->down);
    delivery_memory_fini(&delivery->clear);
    delivery_memory_fini(&delivery->told);
    pthread_mutex_destroy(&delivery->lock);
    mem_free(delivery->workers);
    mem_free(delivery);
}

/* With the lock. */
static void
tell_idle(struct delivery *delivery)
{
    if (!delivery->draining || delivery->users > 0 || delivery->idle_posted ||
        delivery->freeing)
        return;
    delivery->idle_posted = true;
    delivery->users++;
    loop_post(delivery->workers[0].loop, &delivery->idle_task);
}

void
delivery_user_gone(struct delivery *delivery)
{
    bool last;

    pthread_mutex_lock(&delivery->lock);
    delivery->users--;
    last = delivery->freed && delivery->users == 0;
    tell_idle(delivery);
    pthread_mutex_unlock(&delivery->lock);
    if (last)
        free_parts(delivery);
}

struct delivery *
delivery_new(struct loop **loops, size_t loop_count, struct settings *settings,
             struct err *err)
{
    struct delivery *delivery = mem_alloc(sizeof *delivery);

    assert(loop_count > 0);
    pthread_mutex_init(&delivery->lock, NULL);
    delivery_memory_init(&delivery->down);
    delivery_memory_init(&delivery->clear);
    delivery_memory_init(&delivery->told);
    pool_init(&delivery->pool, KEPT_MAX);
    delivery->keep_ms = KEEP_MS;
    delivery->pause_ms = PAUSE_MS;
    delivery->stale_ms = STALE_MS;
    delivery->told_ms = TOLD_MS;
    delivery->idle_task.run = on_idle;
    delivery->workers = mem_alloc_array(loop_count, sizeof *delivery->workers);
    delivery->worker_count = loop_count;
    for (size_t i = 0; i < loop_count; i++) {
        struct worker *worker = &delivery->workers[i];

        worker->delivery = delivery;
        worker->loop = loops[i];
        list_init(&worker->sessions);
        list_init(&worker->closing);
    }
    delivery->current = revision_new(loops[0], settings, err);
    if (delivery->current != NULL)
        return delivery;
    free_parts(delivery);
    return NULL;
}

void
delivery_set_queue(struct delivery *delivery, struct queue *queue)
{
    delivery->queue = queue;
}

void
delivery_set_troubles(struct delivery *delivery, struct tls_troubles *troubles)
{
    delivery->troubles = troubles;
}

void
delivery_set_sts(struct delivery *delivery, struct sts_cache *sts)
{
    delivery->sts = sts;
}

void
delivery_set_on_session(struct delivery *delivery,
                        delivery_on_session *on_session, void *arg)
{
    delivery->on_session = on_session;
    delivery->session_arg = arg;
}

/* --- Work --------------------------------------------------------------- */

static struct session *
take_kept(struct delivery *delivery, struct destination *destination)
{
    struct pool_member *member =
        pool_take(&delivery->pool, sv_of(destination->key));
    struct session *session;

    if (member == NULL)
        return NULL;
    session = CONTAINER_OF(member, struct session, pooled);
    session->destination = destination;
    return session;
}

void
delivery_session_wanted(void *arg, struct destination *destination)
{
    struct delivery *delivery = arg;
    struct session *session;

    pthread_mutex_lock(&delivery->lock);
    session = take_kept(delivery, destination);
    if (session == NULL) {
        size_t i = delivery->next_worker++ % delivery->worker_count;

        session = session_new(delivery, &delivery->workers[i], destination);
        delivery->users++;
    }
    session->woken = true;
    pthread_mutex_unlock(&delivery->lock);
    loop_post(session->worker->loop, &session->wake);
}

/* Kept connections end: their sessions are woken without work. */
static void
end_kept(struct delivery *delivery)
{
    struct pool_member *member;

    pthread_mutex_lock(&delivery->lock);
    while ((member = pool_take_any(&delivery->pool)) != NULL) {
        struct session *session = CONTAINER_OF(member, struct session, pooled);

        session->woken = true;
        loop_post(session->worker->loop, &session->wake);
    }
    pthread_mutex_unlock(&delivery->lock);
}

/* --- Settings ----------------------------------------------------------- */

bool
delivery_prepare(struct delivery *delivery, struct settings *settings,
                 struct err *err)
{
    delivery_abandon(delivery);
    delivery->prepared = revision_new(delivery->workers[0].loop, settings, err);
    return delivery->prepared != NULL;
}

void
delivery_commit(struct delivery *delivery)
{
    struct revision *old;

    assert(delivery->prepared != NULL);
    pthread_mutex_lock(&delivery->lock);
    old = delivery->current;
    delivery->current = delivery->prepared;
    delivery->prepared = NULL;
    pthread_mutex_unlock(&delivery->lock);
    revision_unref(old);
    end_kept(delivery);
    tls_session_cache_clear(); /* no context of now can use them */
}

void
delivery_abandon(struct delivery *delivery)
{
    revision_unref(delivery->prepared);
    delivery->prepared = NULL;
}

struct dns_resolver *
delivery_resolver(struct delivery *delivery)
{
    return delivery->current->resolver;
}

/* --- The end ------------------------------------------------------------ */

static void
drain_worker(struct task *task)
{
    struct worker *worker = CONTAINER_OF(task, struct worker, task);

    LIST_FOREACH_SAFE (link, next, &worker->sessions)
        session_drain(CONTAINER_OF(link, struct session, link));
    delivery_user_gone(worker->delivery);
}

void
delivery_drain(struct delivery *delivery, void (*idle)(void *arg), void *arg)
{
    pthread_mutex_lock(&delivery->lock);
    delivery->draining = true;
    delivery->on_idle = idle;
    delivery->idle_arg = arg;
    delivery->users += delivery->worker_count; /* the tasks below */
    pthread_mutex_unlock(&delivery->lock);
    end_kept(delivery);
    for (size_t i = 0; i < delivery->worker_count; i++) {
        delivery->workers[i].task.run = drain_worker;
        loop_post(delivery->workers[i].loop, &delivery->workers[i].task);
    }
}

static void
drop_all(struct worker *worker)
{
    LIST_FOREACH_SAFE (link, next, &worker->sessions)
        session_drop(CONTAINER_OF(link, struct session, link));
    while (!list_empty(&worker->closing))
        client_free(client_of_link(list_first(&worker->closing)));
}

struct drop {
    struct task task;
    struct worker *worker;
    sem_t done;
};

static void
run_drop(struct task *task)
{
    struct drop *drop = CONTAINER_OF(task, struct drop, task);

    drop_all(drop->worker);
    sem_post(&drop->done);
}

/* False: the loop does not run any more. */
static bool
drop_elsewhere(struct worker *worker)
{
    struct drop *drop = mem_alloc(sizeof *drop);
    struct timespec until;
    int result;

    drop->task.run = run_drop;
    drop->worker = worker;
    sem_init(&drop->done, 0, 0);
    loop_post(worker->loop, &drop->task);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DROP_WAIT_S;
    do
        result = sem_timedwait(&drop->done, &until);
    while (result == -1 && errno == EINTR);
    if (result == -1)
        return false; /* the task may still run: it is not freed */
    sem_destroy(&drop->done);
    mem_free(drop);
    return true;
}

/* Sessions that a task still has to reach end there; the last frees the rest.
 * Where a loop does not run any more nothing is freed: the process ends. */
void
delivery_free(struct delivery *delivery)
{
    bool last;

    if (delivery == NULL)
        return;
    pthread_mutex_lock(&delivery->lock);
    delivery->freeing = true;
    pthread_mutex_unlock(&delivery->lock);
    drop_all(&delivery->workers[0]);
    for (size_t i = 1; i < delivery->worker_count; i++)
        if (!drop_elsewhere(&delivery->workers[i]))
            return;
    pthread_mutex_lock(&delivery->lock);
    delivery->freed = true;
    last = delivery->users == 0;
    pthread_mutex_unlock(&delivery->lock);
    if (last)
        free_parts(delivery);
}
