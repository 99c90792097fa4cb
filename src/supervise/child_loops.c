/* The event loops of a service process and the calls between them. */
#include "supervise/child_internal.h"

#include <signal.h>

/* A function for another loop, and the wait for its end. */
struct errand {
    struct task task;
    void (*run)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
};

static void
on_errand(struct task *task)
{
    struct errand *errand = CONTAINER_OF(task, struct errand, task);

    errand->run(errand->arg);
    pthread_mutex_lock(&errand->lock);
    errand->done = true;
    pthread_cond_signal(&errand->ended);
    pthread_mutex_unlock(&errand->lock);
}

static void
run_on_loop(struct service_host *host, size_t loop, void (*run)(void *arg),
            void *arg)
{
    struct errand errand = {
        .task.run = on_errand,
        .run = run,
        .arg = arg,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .ended = PTHREAD_COND_INITIALIZER,
    };

    assert(loop < host->loop_count);
    if (loop == 0) {
        run(arg);
        return;
    }
    loop_post(host->loops[loop], &errand.task);
    pthread_mutex_lock(&errand.lock);
    while (!errand.done)
        pthread_cond_wait(&errand.ended, &errand.lock);
    pthread_mutex_unlock(&errand.lock);
    pthread_cond_destroy(&errand.ended);
    pthread_mutex_destroy(&errand.lock);
}

static void *
loop_thread(void *loop)
{
    loop_run(loop);
    return NULL;
}

/* Signals are the main thread's. */
static bool
start_thread(struct child_process *child, size_t index, struct err *err)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&child->threads[index], NULL, loop_thread,
                        child->host.loops[index]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        err_code(err, rc, "start the thread of a loop");
    return rc == 0;
}

/* Up to count loops; loop 0 exists. */
bool
child_loops_open(struct child_process *child, size_t count, struct err *err)
{
    struct service_host *host = &child->host;

    host->on_loop = run_on_loop;
    host->loops = mem_resize(host->loops, count * sizeof(struct loop *));
    child->threads = mem_resize(child->threads, count * sizeof *child->threads);
    while (host->loop_count < count) {
        struct loop *loop = loop_new(err);

        if (loop == NULL)
            return false;
        host->loops[host->loop_count] = loop;
        if (!start_thread(child, host->loop_count, err)) {
            loop_free(loop);
            return false;
        }
        host->loop_count++;
    }
    return true;
}

static void
round_ended(struct child_process *child)
{
    child->round.under_way = false;
    child_tell(child, &(const struct channel_message){.type = CHANNEL_PING});
}

static void
on_round(struct task *task)
{
    struct child_process *child =
        CONTAINER_OF(task, struct child_process, round.task);
    struct child_round *round = &child->round;

    if (round->at == 0) {
        round_ended(child);
        return;
    }
    round->at = (round->at + 1) % child->host.loop_count;
    loop_post(child->host.loops[round->at], task);
}

/* A second ping while one goes round would say nothing new. */
void
child_loops_ping(struct child_process *child)
{
    struct child_round *round = &child->round;

    if (round->under_way)
        return;
    round->under_way = true;
    round->task.run = on_round;
    round->at = child->host.loop_count > 1 ? 1 : 0;
    loop_post(child->host.loops[round->at], &round->task);
}

/* The process is about to end: what connections still linger goes with it, so
 * the loops are stopped and not freed. */
void
child_loops_stop(struct child_process *child)
{
    for (size_t i = 1; i < child->host.loop_count; i++) {
        loop_stop(child->host.loops[i]);
        pthread_join(child->threads[i], NULL);
    }
    loop_stop(child->host.loops[0]);
}
