#include "net/loop.h"
#include "base/clock.h"
#include "net/loop_internal.h"

struct signal {
    struct link link;
    uv_signal_t uv;
    void (*on_signal)(void *arg, int signum);
    void *arg;
};

void
loop_run_deferred(struct loop *loop)
{
    struct link *link;

    while ((link = list_pop_front(&loop->deferred)) != NULL) {
        struct task *task = CONTAINER_OF(link, struct task, link);

        task->run(task);
    }
}

/* Runs what was posted up to now; what these post in turn comes next time, so
 * that a task that posts itself does not stop the loop. */
static void
run_posted(struct loop *loop)
{
    struct list batch;
    struct link *link;

    list_init(&batch);
    pthread_mutex_lock(&loop->lock);
    list_join(&batch, &loop->posted);
    pthread_mutex_unlock(&loop->lock);
    while ((link = list_pop_front(&batch)) != NULL) {
        struct task *task = CONTAINER_OF(link, struct task, link);

        task->run(task);
        loop_run_deferred(loop);
    }
}

static void
on_wake(uv_async_t *async)
{
    struct loop *loop = async->data;

    run_posted(loop);
    if (atomic_exchange(&loop->stop, false))
        uv_stop(&loop->uv);
}

static void
on_alarm(uv_timer_t *alarm)
{
    struct loop *loop = alarm->data;

    loop->alarm_at = UINT64_MAX;
    timers_run(loop, uv_now(&loop->uv));
}

/* The one place where the alarm is set: however often timers changed since the
 * last sleep, the kernel learns of the earliest only. */
static void
on_before_sleep(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    uint64_t earliest, now = uv_now(&loop->uv);

    loop_run_deferred(loop);
    earliest = timers_earliest(loop);
    if (earliest == loop->alarm_at)
        return;
    loop->alarm_at = earliest;
    if (earliest == UINT64_MAX)
        uv_timer_stop(&loop->alarm);
    else
        uv_timer_start(&loop->alarm, on_alarm,
                       earliest > now ? earliest - now : 0, 0);
}

static void
on_after_wake(uv_check_t *check)
{
    loop_run_deferred(check->data);
}

static struct loop *
loop_alloc(void)
{
    struct loop *loop = mem_alloc(sizeof *loop);

    list_init(&loop->signals);
    list_init(&loop->posted);
    list_init(&loop->deferred);
    list_init(&loop->lingering);
    pthread_mutex_init(&loop->lock, NULL);
    loop->alarm_at = UINT64_MAX;
    return loop;
}

static void
loop_release(struct loop *loop)
{
    output_pool_fini(&loop->output);
    pthread_mutex_destroy(&loop->lock);
    mem_free(loop->heap);
    mem_free(loop->wire);
    mem_free(loop->plain);
    mem_free(loop);
}

struct loop *
loop_new(struct err *err)
{
    struct loop *loop = loop_alloc();
    int rc = uv_loop_init(&loop->uv);

    if (rc == 0) {
        rc = uv_async_init(&loop->uv, &loop->wake, on_wake);
        if (rc != 0)
            uv_loop_close(&loop->uv);
    }
    if (rc != 0) {
        err_code(err, -rc, "event loop");
        loop_release(loop);
        return NULL;
    }
    loop->wake.data = loop;
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->alarm.data = loop;
    uv_prepare_init(&loop->uv, &loop->before_sleep);
    loop->before_sleep.data = loop;
    uv_prepare_start(&loop->before_sleep, on_before_sleep);
    uv_check_init(&loop->uv, &loop->after_wake);
    loop->after_wake.data = loop;
    uv_check_start(&loop->after_wake, on_after_wake);
    return loop;
}

struct loop *
loop_new_manual(uint64_t now_ms, int64_t wall_s)
{
    struct loop *loop = loop_alloc();

    loop->manual = true;
    loop->now = loop->start = now_ms;
    loop->wall_us = wall_s * 1000000;
    return loop;
}

static void
close_own_handles(struct loop *loop)
{
    LIST_FOREACH (link, &loop->signals) {
        struct signal *signal = CONTAINER_OF(link, struct signal, link);

        uv_close((uv_handle_t *)&signal->uv, NULL);
    }
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    uv_close((uv_handle_t *)&loop->before_sleep, NULL);
    uv_close((uv_handle_t *)&loop->after_wake, NULL);
}

void
loop_free(struct loop *loop)
{
    struct link *link;

    if (loop == NULL)
        return;
    loop_run_deferred(loop);
    conn_drop_lingering(loop);
    loop_run_deferred(loop);
    if (!loop->manual) {
        int rc;

        close_own_handles(loop);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        rc = uv_loop_close(&loop->uv);
        assert(rc == 0);
        (void)rc;
    }
    while ((link = list_pop_front(&loop->signals)) != NULL)
        mem_free(CONTAINER_OF(link, struct signal, link));
    loop_release(loop);
}

void
loop_run(struct loop *loop)
{
    assert(!loop->manual);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void
loop_stop(struct loop *loop)
{
    if (loop->manual)
        return;
    atomic_store(&loop->stop, true);
    uv_async_send(&loop->wake);
}

uv_loop_t *
loop_uv(struct loop *loop)
{
    return loop->manual ? NULL : &loop->uv;
}

uint64_t
loop_now(const struct loop *loop)
{
    return loop->manual ? loop->now : uv_now(&loop->uv);
}

int64_t
loop_wall_us(const struct loop *loop)
{
    if (!loop->manual)
        return clock_wall_us();
    return loop->wall_us + (int64_t)(loop->now - loop->start) * 1000;
}

static bool
has_posted(struct loop *loop)
{
    bool has;

    pthread_mutex_lock(&loop->lock);
    has = !list_empty(&loop->posted);
    pthread_mutex_unlock(&loop->lock);
    return has;
}

void
loop_advance(struct loop *loop, uint64_t ms)
{
    uint64_t end = loop->now + ms;

    assert(loop->manual);
    for (;;) {
        uint64_t next;

        loop_run_deferred(loop);
        while (has_posted(loop))
            run_posted(loop);
        timers_run(loop, loop->now);
        next = timers_earliest(loop);
        if (next > end)
            break;
        if (next > loop->now)
            loop->now = next;
    }
    loop->now = end;
}

void
loop_post(struct loop *loop, struct task *task)
{
    bool was_empty;

    pthread_mutex_lock(&loop->lock);
    was_empty = list_empty(&loop->posted);
    list_push_back(&loop->posted, &task->link);
    pthread_mutex_unlock(&loop->lock);
    if (was_empty && !loop->manual)
        uv_async_send(&loop->wake);
}

void
loop_defer(struct loop *loop, struct task *task)
{
    list_push_back(&loop->deferred, &task->link);
}

void
loop_undefer(struct loop *loop, struct task *task)
{
    if (link_on_list(&task->link))
        list_remove(&loop->deferred, &task->link);
}

void
loop_need_scratch(struct loop *loop)
{
    if (loop->wire == NULL) {
        loop->wire = mem_alloc_raw(LOOP_WIRE);
        loop->plain = mem_alloc_raw(LOOP_PLAIN);
    }
}

static void
on_uv_signal(uv_signal_t *uv, int signum)
{
    struct signal *signal = uv->data;

    signal->on_signal(signal->arg, signum);
}

bool
loop_on_signal(struct loop *loop, int signum,
               void (*on_signal)(void *arg, int signum), void *arg,
               struct err *err)
{
    struct signal *signal;
    int rc;

    assert(!loop->manual);
    signal = mem_alloc(sizeof *signal);
    signal->on_signal = on_signal;
    signal->arg = arg;
    rc = uv_signal_init(&loop->uv, &signal->uv);
    if (rc != 0) {
        err_code(err, -rc, "signal %d", signum);
        mem_free(signal);
        return false;
    }
    signal->uv.data = signal;
    list_push_back(&loop->signals, &signal->link); /* closed by loop_free() */
    rc = uv_signal_start(&signal->uv, on_uv_signal, signum);
    if (rc != 0)
        err_code(err, -rc, "signal %d", signum);
    return rc == 0;
}

struct manual_work {
    struct task task;
    struct work *work;
};

static void
on_manual_work(struct task *task)
{
    struct manual_work *item = CONTAINER_OF(task, struct manual_work, task);
    struct work *work = item->work;

    mem_free(item);
    work->run(work);
    work->done(work);
}

static void
run_manual_work(struct loop *loop, struct work *work)
{
    struct manual_work *item = mem_alloc(sizeof *item);

    item->task.run = on_manual_work;
    item->work = work;
    loop_defer(loop, &item->task);
}

static void
on_work(uv_work_t *uv)
{
    struct work *work = CONTAINER_OF(uv, struct work, uv);

    work->run(work);
}

static void
on_work_done(uv_work_t *uv, int status)
{
    struct work *work = CONTAINER_OF(uv, struct work, uv);

    assert(status == 0); /* nothing here cancels work */
    (void)status;
    work->done(work);
}

void
loop_work(struct loop *loop, struct work *work)
{
    int rc;

    if (loop->manual) {
        run_manual_work(loop, work);
        return;
    }
    rc = uv_queue_work(&loop->uv, &work->uv, on_work, on_work_done);
    assert(rc == 0); /* fails for a NULL function only */
    (void)rc;
}
