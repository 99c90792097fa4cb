/* net/loop_internal.h - the inside of a loop, for the files of lib/net. */
#ifndef NET_LOOP_INTERNAL_H
#define NET_LOOP_INTERNAL_H
#include "net/loop.h"
#include "net/output.h"
#include <pthread.h>
#include <stdatomic.h>

struct loop {
    bool manual;         /* no uv; time moves by loop_advance() */
    uint64_t now, start; /* manual: ms */
    int64_t wall_us;     /* manual: wall clock at start */

    uv_loop_t uv;
    uv_timer_t alarm;  /* for the earliest deadline in the heap */
    uint64_t alarm_at; /* what it is set to, UINT64_MAX: not running */
    uv_async_t wake;
    uv_prepare_t before_sleep;
    uv_check_t after_wake;
    struct list signals; /* owned, struct signal */
    atomic_bool stop;

    struct timer **heap; /* owned; the timers belong to others */
    size_t timer_count, timer_cap;

    pthread_mutex_t lock; /* guards posted */
    struct list posted;   /* struct task, from any thread */
    struct list deferred; /* struct task, own thread */

    struct list lingering; /* closed connections that still flush */

    /* Input of one connection at a time while its callbacks run; allocated on
     * first use. */
    char *wire;  /* as it came */
    char *plain; /* decrypted */
    struct output_pool output;
};

#define LOOP_WIRE 65536
#define LOOP_PLAIN (LOOP_WIRE + 20480) /* a kept record may come on top */
void loop_need_scratch(struct loop *loop);

/* Takes a task back that was deferred and has not run. */
void loop_undefer(struct loop *loop, struct task *task);

/* conn.c: nobody waits for the last bytes of closed connections any more. */
void conn_drop_lingering(struct loop *loop);

/* timer.c */
uint64_t timers_earliest(const struct loop *loop); /* UINT64_MAX: none */
/* Runs those due at now; deferred tasks run after each. */
void timers_run(struct loop *loop, uint64_t now);
void loop_run_deferred(struct loop *loop);
#endif
