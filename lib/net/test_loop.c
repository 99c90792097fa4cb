/* The loop: order of timers, lazy re-arming, tasks; manual and real. */
#include "net/loop.h"
#include "net/loop_internal.h"
#include "unit.h"
#include <signal.h>
#include <unistd.h>

static struct loop *loop;
static uint64_t fired[64];
static size_t fired_count;

struct stop_watch {
    struct timer timer;
    uint64_t id;
};

static void
on_timer(struct timer *timer)
{
    fired[fired_count++] = CONTAINER_OF(timer, struct stop_watch, timer)->id;
}

static int
set_up(void **state)
{
    (void)state;
    fired_count = 0;
    loop = loop_new_manual(1000, 1700000000);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void
check_order(void **state)
{
    struct stop_watch watches[40];
    uint64_t last = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(watches); i++) {
        watches[i].id = 1 + (i * 17) % 40;
        timer_init(&watches[i].timer, loop, on_timer);
        timer_arm(&watches[i].timer, watches[i].id * 10);
    }
    timer_disarm(&watches[3].timer);
    timer_fini(&watches[5].timer);
    loop_advance(loop, 9);
    assert_int_equal(fired_count, 0);
    loop_advance(loop, 1);
    assert_int_equal(fired_count, 1);
    loop_advance(loop, 1000);
    assert_int_equal(fired_count, 38);
    for (size_t i = 0; i < fired_count; i++) {
        assert_true(fired[i] > last);
        last = fired[i];
    }
    assert_int_equal(loop_now(loop), 2010);
    assert_int_equal(loop_wall_us(loop), 1700000001010000);
}

static void
check_lazy_rearm(void **state)
{
    struct stop_watch watch = {.id = 1};

    (void)state;
    timer_init(&watch.timer, loop, on_timer);
    timer_arm(&watch.timer, 100);
    loop_advance(loop, 50);
    timer_arm(&watch.timer, 100); /* due at 150: the heap is not touched */
    assert_int_equal(watch.timer.queued, 1100);
    loop_advance(loop, 50);
    assert_int_equal(fired_count, 0);
    assert_int_equal(watch.timer.queued, 1150);
    timer_arm(&watch.timer, 10); /* earlier: moves at once */
    assert_int_equal(watch.timer.queued, 1110);
    loop_advance(loop, 10);
    assert_int_equal(fired_count, 1);
    assert_false(timer_armed(&watch.timer));

    timer_arm(&watch.timer, 10);
    timer_disarm(&watch.timer);
    timer_arm(&watch.timer, 30); /* armed anew before the old one came */
    loop_advance(loop, 29);
    assert_int_equal(fired_count, 1);
    loop_advance(loop, 1);
    assert_int_equal(fired_count, 2);
    timer_arm(&watch.timer, UINT64_MAX); /* "never", but armed */
    assert_true(timer_armed(&watch.timer));
    timer_fini(&watch.timer);
}

static struct task tasks[3];
static int order[8], order_count;

static void
run_second(struct task *task)
{
    (void)task;
    order[order_count++] = 2;
}

static void
run_first(struct task *task)
{
    (void)task;
    order[order_count++] = 1;
    tasks[1].run = run_second;
    loop_defer(loop, &tasks[1]);
}

static void
run_third(struct task *task)
{
    (void)task;
    order[order_count++] = 3;
}

static void
check_tasks(void **state)
{
    (void)state;
    order_count = 0;
    tasks[0].run = run_first;
    tasks[2].run = run_third;
    loop_post(loop, &tasks[0]);
    loop_post(loop, &tasks[2]);
    loop_advance(loop, 0);
    assert_int_equal(order_count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(order[i], i + 1); /* deferred before the next post */
}

/* The real loop ---------------------------------------------------------- */

static void *
post_from_thread(void *arg)
{
    loop_post(arg, &tasks[0]);
    return NULL;
}

static void
run_stop(struct task *task)
{
    (void)task;
    loop_stop(loop);
}

static void
check_real_timers_and_posts(void **state)
{
    struct stop_watch a = {.id = 1}, b = {.id = 2};
    struct err err = {0};
    uint64_t begun;
    pthread_t thread;

    (void)state;
    loop_free(loop);
    loop = loop_new(&err);
    timer_init(&a.timer, loop, on_timer);
    timer_init(&b.timer, loop, on_timer);
    begun = loop_now(loop);
    timer_arm(&a.timer, 30);
    timer_arm(&b.timer, 10);
    tasks[0].run = run_stop;
    while (fired_count < 2 && loop_now(loop) < begun + 5000) {
        struct timespec nap = {.tv_nsec = 20000000};

        assert_int_equal(pthread_create(&thread, NULL, post_from_thread, loop),
                         0);
        loop_run(loop);
        pthread_join(thread, NULL);
        nanosleep(&nap, NULL);
    }
    assert_int_equal(fired_count, 2);
    assert_int_equal(fired[0], 2);
    assert_true(loop_now(loop) >= begun + 30);
}

static void
on_signal(void *arg, int signum)
{
    *(int *)arg = signum;
    loop_stop(loop);
}

static void
work_run(struct work *work)
{
    (void)work;
    order[0] = 77;
}

static void
work_done(struct work *work)
{
    (void)work;
    kill(getpid(), SIGUSR1);
}

static void
check_work_and_signal(void **state)
{
    struct work work = {.run = work_run, .done = work_done};
    struct err err = {0};
    int got = 0;

    (void)state;
    loop_free(loop);
    loop = loop_new(&err);
    assert_true(loop_on_signal(loop, SIGUSR1, on_signal, &got, &err));
    loop_work(loop, &work);
    loop_run(loop);
    assert_int_equal(order[0], 77);
    assert_int_equal(got, SIGUSR1);
}

static void
on_ready(void *arg, int events)
{
    struct watch **watch = arg;

    order[order_count++] = events;
    watch_set(*watch, 0);
    loop_stop(loop);
}

static void
check_watch(void **state)
{
    struct err err = {0};
    struct watch *watch;
    int fds[2];

    (void)state;
    order_count = 0;
    assert_int_equal(pipe(fds), 0);
    loop_free(loop);
    loop = loop_new(&err);
    watch = watch_new(loop, fds[0], on_ready, &watch);
    watch_set(watch, WATCH_READ);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_run(loop);
    assert_int_equal(order_count, 1);
    assert_int_equal(order[0], WATCH_READ);
    tasks[0].run = run_stop;
    loop_post(loop, &tasks[0]);
    loop_run(loop);
    assert_int_equal(order_count, 1); /* paused */
    watch_free(watch);
    close(fds[0]);
    close(fds[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(check_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_lazy_rearm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_tasks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_real_timers_and_posts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(check_work_and_signal, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(check_watch, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
