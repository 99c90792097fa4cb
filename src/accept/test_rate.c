/* The counters as scripts with their own clock, then under several threads. */
#include "accept/rate.h"
#include "unit.h"
#include <pthread.h>

static struct rate_key
key_of(const char *text, uint32_t scope)
{
    struct net_address address = {0};

    if (text[0] != '\0')
        assert_true(net_address_parse(sv_of(text), 0, &address));
    return rate_key_of(&address, scope);
}

static struct rate_key
key_number(uint32_t number)
{
    return (struct rate_key){number, 1};
}

static const struct key_row {
    const char *name, *a, *b;
    uint32_t scope_a, scope_b;
    bool same;
} key_rows[] = {
    {"same address", "192.0.2.1", "192.0.2.1", 0, 0, true},
    {"another address", "192.0.2.1", "192.0.2.2", 0, 0, false},
    {"another scope", "192.0.2.1", "192.0.2.1", 0, 1, false},
    {"mapped", "192.0.2.1", "::ffff:192.0.2.1", 0, 0, true},
    {"one /64", "2001:db8:0:1::1", "2001:db8:0:1:ffff::9", 0, 0, true},
    {"two /64", "2001:db8:0:1::1", "2001:db8:0:2::1", 0, 0, false},
    {"families apart", "0.0.0.0", "::1", 0, 0, false},
    {"no address", "", "0.0.0.0", 0, 0, false},
};

static void
check_key(void **state)
{
    const struct key_row *r = *state;
    struct rate_key a = key_of(r->a, r->scope_a), b = key_of(r->b, r->scope_b);

    assert_int_equal(a.who == b.who && a.scope == b.scope, r->same);
}

static void
test_gauge_counts(void **state UNUSED)
{
    struct rate_gauge *gauge = rate_gauge_new(100);
    struct rate_key a = key_of("192.0.2.1", 0), b = key_of("192.0.2.2", 0);

    assert_false(rate_gauge_enter(gauge, a, 0));
    assert_true(rate_gauge_enter(gauge, a, 2));
    assert_true(rate_gauge_enter(gauge, a, 2));
    assert_false(rate_gauge_enter(gauge, a, 2));
    assert_int_equal(rate_gauge_now(gauge, a), 2);
    assert_true(rate_gauge_enter(gauge, b, 1));
    rate_gauge_leave(gauge, a);
    assert_true(rate_gauge_enter(gauge, a, 2));
    assert_true(rate_gauge_enter(gauge, a, RATE_UNLIMITED));
    rate_gauge_leave(gauge, a);
    rate_gauge_leave(gauge, a);
    assert_false(rate_gauge_enter(gauge, a, 1)); /* the limit was lowered */
    rate_gauge_leave(gauge, a);
    assert_int_equal(rate_gauge_now(gauge, a), 0);
    assert_int_equal(rate_gauge_now(gauge, b), 1);
    rate_gauge_free(gauge);
    rate_gauge_free(NULL);
}

/* Full: refuses others, forgets nobody, and takes what left. */
static void
test_gauge_is_bounded(void **state UNUSED)
{
    enum { KEYS = 4096 };
    struct rate_gauge *gauge = rate_gauge_new(1);
    bool open[KEYS];
    size_t count = 0, again = 0;

    for (uint32_t i = 0; i < KEYS; i++) {
        open[i] = rate_gauge_enter(gauge, key_number(i), 5);
        count += open[i];
    }
    assert_true(count >= 64 && count <= 256);
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_int_equal(rate_gauge_now(gauge, key_number(i)), open[i]);
        if (open[i])
            rate_gauge_leave(gauge, key_number(i));
    }
    for (uint32_t i = KEYS; i < 2 * KEYS; i++)
        again += rate_gauge_enter(gauge, key_number(i), 5);
    assert_true(again >= 64);
    rate_gauge_free(gauge);
}

#define HOUR UINT64_C(3600000)

static const struct window_row {
    const char *name;
    struct {
        uint64_t now;
        uint32_t amount, limit;
        bool fits;
        uint32_t count; /* afterwards */
    } steps[6];
} window_rows[] = {
    {"counts up to the limit",
     {{0, 60, 100, true, 60},
      {1, 40, 100, true, 100},
      {2, 1, 100, false, 100},
      {3, 0, 100, true, 100}}},
    {"what is refused is not counted",
     {{0, 101, 100, false, 0}, {0, 100, 100, true, 100}}},
    {"half of the last hour still counts",
     {{HOUR - 1, 100, 100, true, 100},
      {HOUR + HOUR / 2, 51, 100, false, 50},
      {HOUR + HOUR / 2, 50, 100, true, 100}}},
    {"no double at the turn of the hour",
     {{HOUR - 1, 100, 100, true, 100}, {HOUR, 1, 100, false, 100}}},
    {"gone after two hours",
     {{0, 100, 100, true, 100}, {2 * HOUR, 100, 100, true, 100}}},
    {"rounded up", {{0, 1, 2, true, 1}, {2 * HOUR - 1, 2, 2, false, 1}}},
    {"a clock behind",
     {{HOUR, 10, 100, true, 10},
      {HOUR - 5, 10, 100, true, 20},
      {HOUR, 0, 100, true, 20}}},
    {"unlimited counts too",
     {{0, 1000, RATE_UNLIMITED, true, 1000}, {0, 1, 1000, false, 1000}}},
    {"no overflow",
     {{0, UINT32_MAX, RATE_UNLIMITED, true, UINT32_MAX},
      {0, UINT32_MAX, RATE_UNLIMITED, true, UINT32_MAX},
      {1, UINT32_MAX, 100, false, UINT32_MAX},
      {HOUR, UINT32_MAX, RATE_UNLIMITED, true, UINT32_MAX}}},
    {"limit 0", {{0, 1, 0, false, 0}, {0, 0, 0, true, 0}}},
    {"the end of time",
     {{UINT64_MAX, 1, 1, true, 1}, {UINT64_MAX, 1, 1, false, 1}}},
};

static void
check_window(void **state)
{
    const struct window_row *r = *state;
    struct rate_window *window = rate_window_new(10, (uint32_t)HOUR);
    struct rate_key key = key_of("192.0.2.1", 0);

    for (size_t i = 0; i < COUNT_OF(r->steps); i++) {
        if (i > 0 && r->steps[i].amount + r->steps[i].limit == 0)
            break;
        assert_int_equal(rate_window_add(window, key, r->steps[i].now,
                                         r->steps[i].amount, r->steps[i].limit),
                         r->steps[i].fits);
        assert_int_equal(rate_window_count(window, key, r->steps[i].now),
                         r->steps[i].count);
    }
    assert_int_equal(rate_window_count(window, key_of("192.0.2.2", 0), 0), 0);
    rate_window_free(window);
}

/* Whoever keeps coming is remembered through a flood of others. */
static void
test_window_forgets_the_oldest(void **state UNUSED)
{
    struct rate_window *window = rate_window_new(64, (uint32_t)HOUR);
    struct rate_key keeps = key_number(0), once = key_number(1);

    assert_true(rate_window_add(window, once, 0, 1, 10));
    for (uint32_t i = 0; i < 10000; i++) {
        assert_true(rate_window_add(window, keeps, 0, 1, RATE_UNLIMITED));
        assert_true(rate_window_add(window, key_number(2 + i), 0, 1, 10));
    }
    assert_int_equal(rate_window_count(window, keeps, 0), 10000);
    assert_int_equal(rate_window_count(window, once, 0), 0);
    rate_window_free(window);
    rate_window_free(NULL);
}

static const struct bucket_row {
    const char *name;
    struct rate_limit limit;
    struct {
        uint64_t now_us;
        uint32_t asks, taken;
    } steps[4];
} bucket_rows[] = {
    {"a burst, then none", {10, 5}, {{1000, 10, 5}}},
    {"fills evenly",
     {10, 5},
     {{0, 9, 5}, {99999, 1, 0}, {100000, 2, 1}, {300000, 5, 2}}},
    {"holds no more than the burst", {10, 5}, {{0, 5, 5}, {60000000, 9, 5}}},
    {"burst of one", {1, 1}, {{0, 2, 1}, {999999, 1, 0}, {1000000, 2, 1}}},
    {"nothing a second", {0, 5}, {{0, 5, 0}}},
    {"no burst", {5, 0}, {{0, 5, 0}}},
    {"unlimited", {RATE_UNLIMITED, 0}, {{0, 1000, 1000}}},
    {"a clock behind", {10, 5}, {{1000000, 5, 5}, {900000, 5, 0}}},
    {"a million a second", {1000000, 3}, {{0, 5, 3}, {1, 5, 1}}},
};

static void
check_bucket(void **state)
{
    const struct bucket_row *r = *state;
    struct rate_bucket *bucket = rate_bucket_new(10);
    struct rate_meter meter = {0};
    struct rate_key key = key_of("192.0.2.1", 0);

    for (size_t i = 0; i < COUNT_OF(r->steps); i++) {
        uint32_t taken = 0, metered = 0;

        for (uint32_t k = 0; k < r->steps[i].asks; k++) {
            uint64_t now = r->steps[i].now_us;

            taken += rate_bucket_take(bucket, key, now, r->limit);
            metered += rate_meter_take(&meter, now, r->limit);
        }
        assert_int_equal(taken, r->steps[i].taken);
        assert_int_equal(metered, r->steps[i].taken);
    }
    rate_bucket_free(bucket);
    rate_bucket_free(NULL);
}

/* Four threads on a few keys: nothing is lost, no limit is passed. */
enum { THREADS = 4, TURNS = 20000, SHARED_KEYS = 5, LIMIT = 3 };

struct shared {
    struct rate_gauge *gauge;
    struct rate_window *window;
    struct rate_bucket *bucket;
    struct rate_meter meter;
    _Atomic uint32_t open[SHARED_KEYS]; /* as the threads know it */
    _Atomic uint32_t added, tokens, metered;
    _Atomic uint32_t wrong;
};

static void
turn(struct shared *shared, uint32_t i)
{
    struct rate_key key = key_number(i % SHARED_KEYS);
    struct rate_limit limit = {1, 1000};

    if (rate_gauge_enter(shared->gauge, key, LIMIT)) {
        if (atomic_fetch_add(&shared->open[i % SHARED_KEYS], 1) >= LIMIT)
            shared->wrong++;
        atomic_fetch_sub(&shared->open[i % SHARED_KEYS], 1);
        rate_gauge_leave(shared->gauge, key);
    }
    if (rate_window_add(shared->window, key, 1, 1, 5000))
        shared->added++;
    if (rate_bucket_take(shared->bucket, key, 1, limit))
        shared->tokens++;
    if (rate_meter_take(&shared->meter, 1, limit))
        shared->metered++;
    /* and a stream of strangers */
    (void)!rate_window_add(shared->window, key_number(100 + i), 1, 1, 1);
}

static void *
run_turns(void *arg)
{
    for (uint32_t i = 0; i < TURNS; i++)
        turn(arg, i);
    return NULL;
}

static void
test_threads(void **state UNUSED)
{
    struct shared shared = {
        .gauge = rate_gauge_new(1000),
        .window = rate_window_new(1000, (uint32_t)HOUR),
        .bucket = rate_bucket_new(1000),
    };
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_turns, &shared),
                         0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared.wrong, 0);
    assert_int_equal(shared.added, SHARED_KEYS * 5000);
    assert_int_equal(shared.tokens, SHARED_KEYS * 1000);
    assert_int_equal(shared.metered, 1000);
    for (uint32_t i = 0; i < SHARED_KEYS; i++)
        assert_int_equal(rate_gauge_now(shared.gauge, key_number(i)), 0);
    rate_gauge_free(shared.gauge);
    rate_window_free(shared.window);
    rate_bucket_free(shared.bucket);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gauge_counts),
        cmocka_unit_test(test_gauge_is_bounded),
        cmocka_unit_test(test_window_forgets_the_oldest),
        cmocka_unit_test(test_threads),
    };

    return RUN_ROWS("rate_key", check_key, key_rows) +
           RUN_ROWS("rate_window", check_window, window_rows) +
           RUN_ROWS("rate_bucket", check_bucket, bucket_rows) +
           cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
