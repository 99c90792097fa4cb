/* net/loop.h - one event loop: timers, posted tasks, watched descriptors.
 * A loop belongs to the thread that runs it; only loop_post() and loop_stop()
 * may be called from others.  Time stands still while callbacks run
 * (loop_now()), so a test can own it: a loop made by loop_new_manual() watches
 * nothing and moves only by loop_advance(). */
#ifndef NET_LOOP_H
#define NET_LOOP_H
#include "base/err.h"
#include "base/list.h"
#include <uv.h>

struct loop;

MUST_USE struct loop *loop_new(struct err *err);
struct loop *loop_new_manual(uint64_t now_ms, int64_t wall_s);
/* Nothing may be active any more, except connections that were closed and still
 * flush: these are dropped. */
void loop_free(struct loop *loop);
void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop); /* any thread, and signal handlers' loops */
uv_loop_t *loop_uv(struct loop *loop); /* NULL for a manual loop */

uint64_t loop_now(const struct loop *loop);    /* ms, monotonic */
int64_t loop_wall_us(const struct loop *loop); /* since 1970 UTC */

/* Manual loops: runs posted tasks and due timers in order of time until ms
 * have passed.  loop_advance(loop, 0) runs what is due now. */
void loop_advance(struct loop *loop, uint64_t ms);

/* A timer in caller's storage.  Arming again is cheap: a session re-arms at
 * every command, so later deadlines only move a number (the heap is touched
 * when the old deadline comes). */
struct timer {
    struct loop *loop;
    void (*on_timer)(struct timer *timer);
    uint64_t deadline; /* UINT64_MAX: not armed */
    uint64_t queued;   /* deadline in the heap, >= is not in it: UINT64_MAX */
    size_t place;      /* index in the heap */
};
void timer_init(struct timer *timer, struct loop *loop,
                void (*on_timer)(struct timer *timer));
void timer_arm(struct timer *timer, uint64_t ms);
void timer_disarm(struct timer *timer);
bool timer_armed(const struct timer *timer);
void timer_fini(struct timer *timer); /* must be called before storage goes */

/* A task runs once on the loop's thread, soon and in order of posting.  The
 * storage belongs to the poster until run is called. */
struct task {
    struct link link;
    void (*run)(struct task *task);
};
void loop_post(struct loop *loop, struct task *task); /* any thread */
/* Runs the task after the current callback, before the loop sleeps. Own
 * thread only; no wake-up, no lock. */
void loop_defer(struct loop *loop, struct task *task);

/* A watched descriptor: on_ready is called while it is readable and/or
 * writable (level-triggered). */
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
struct watch;
struct watch *watch_new(struct loop *loop, int fd,
                        void (*on_ready)(void *arg, int events), void *arg);
void watch_set(struct watch *watch, int events); /* 0 pauses */
void watch_free(struct watch *watch); /* does not close the descriptor */

/* Delivers a signal on the loop, until the loop is freed. */
MUST_USE bool loop_on_signal(struct loop *loop, int signum,
                             void (*on_signal)(void *arg, int signum),
                             void *arg, struct err *err);

/* Blocking work on libuv's thread pool; done runs on the loop. */
struct work {
    void (*run)(struct work *work);  /* on a pool thread */
    void (*done)(struct work *work); /* on the loop */
    uv_work_t uv;
};
void loop_work(struct loop *loop, struct work *work);
#endif
