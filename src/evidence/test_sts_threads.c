/* Deliveries of several loops ask, and cancel at any moment, while the main
 * loop fetches.  Run under a sanitizer for threads it shows every race. */
#include "evidence/test_sts_world.h"

#include "base/random.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 3, LOOKUPS = 1500, DOMAINS = 40 };

struct asker {
    pthread_t thread;
    struct loop *loop;
    struct timer timer;
    size_t begun, open, answered;
    struct sts_query *kept; /* may be cancelled */
};
static atomic_size_t running;

static void
on_answer(void *arg, const struct sts_evidence *evidence)
{
    struct asker *asker = arg;

    assert_true(evidence->state == STS_POLICY ||
                evidence->state == STS_UNFETCHED);
    asker->open--;
    asker->answered++;
}

static void
on_kept(void *arg, const struct sts_evidence *evidence)
{
    struct asker *asker = arg;

    asker->kept = NULL;
    on_answer(arg, evidence);
}

static void
ask(struct asker *asker)
{
    bool keep = asker->kept == NULL;
    struct sts_query *query;
    char domain[32];

    snprintf(domain, sizeof domain, "d%u.test", random_below(DOMAINS));
    asker->begun++;
    asker->open++;
    query = sts_lookup(world.cache, asker->loop, domain, random_below(4) == 0,
                       keep ? on_kept : on_answer, asker);
    if (keep)
        asker->kept = query;
}

static void
on_turn(struct timer *timer)
{
    struct asker *asker = CONTAINER_OF(timer, struct asker, timer);

    for (int i = 0; i < 10 && asker->begun < LOOKUPS; i++)
        ask(asker);
    if (asker->kept != NULL && random_below(2) == 0) {
        sts_cancel(asker->kept);
        asker->kept = NULL;
        asker->open--;
    }
    if (asker->begun == LOOKUPS && asker->open == 0)
        loop_stop(asker->loop);
    else
        timer_arm(timer, 1);
}

static void *
run_asker(void *arg)
{
    struct asker *asker = arg;

    timer_arm(&asker->timer, 0);
    loop_run(asker->loop);
    timer_fini(&asker->timer);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void
test_threads(void **state)
{
    struct asker askers[THREADS] = {0};

    (void)state;
    world.ttl = 0; /* every look-up has work to do */
    atomic_store(&running, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        askers[i].loop = loop_new(NULL);
        timer_init(&askers[i].timer, askers[i].loop, on_turn);
        assert_int_equal(
            pthread_create(&askers[i].thread, NULL, run_asker, &askers[i]), 0);
    }
    while (atomic_load(&running) > 0) {
        loop_advance(world.loop, 10);
        json_decref(request("sts.forget", "d1.test").result);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_true(askers[i].answered > 0);
        loop_free(askers[i].loop);
    }
    world_settle();
    assert_int_equal(world.open, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_threads, world_open, world_close),
    };

    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
