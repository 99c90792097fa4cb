/* A hundred thousand policies: how long the start takes and how much memory
 * they need, with what they look like after weeks of use. */
#include "evidence/test_sts_world.h"

#include <inttypes.h>
#include <malloc.h>
#include <time.h>

enum { POLICIES = 100000, FETCHES = 10 };

/* The clock of the test stands still. */
static uint64_t
real_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static size_t
heap(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void
add_policy(size_t i)
{
    struct sts_fetch fetch = {
        .time = T0,
        .ms = 120,
        .ok = true,
        .id = SV("20261122T000000"),
        .stage = SV("ok"),
    };
    struct sts_entry *entry;
    struct buf policy = {0};
    char domain[64], reason[160];

    snprintf(domain, sizeof domain, "customer%zu.example.org", i);
    buf_printf(&policy,
               "version: STSv1\nmode: enforce\nmx: mx1.%s\nmx: *.mail.%s\n"
               "max_age: 604800\n",
               domain, domain);
    pthread_mutex_lock(&world.cache->lock);
    entry = sts_table_add(&world.cache->table, domain);
    entry->policy = sts_policy_parse(buf_view(&policy), reason);
    entry->fetched = entry->used = T0;
    entry->refresh_at = T0 + DAY;
    snprintf(entry->id, sizeof entry->id, "20261122T000000");
    for (int n = 0; n < FETCHES; n++)
        sts_history_add(&entry->history, &fetch);
    sts_table_keep(&world.cache->table, entry);
    sts_cache_save(world.cache, entry);
    pthread_mutex_unlock(&world.cache->lock);
    buf_fini(&policy);
}

static void
test_scale(void **state)
{
    uint64_t began;
    size_t before;

    (void)state;
    world.settings.sts.max_policies = POLICIES;
    for (size_t i = 0; i < POLICIES; i++)
        add_policy(i);
    assert_true(sts_file_sync(world.cache->file));
    sts_cache_free(world.cache);
    world_settle();
    malloc_trim(0);

    before = heap();
    began = real_ms();
    world_open_cache();
    printf("%d policies with %d fetches each: start %" PRIu64
           " ms, memory %zu MiB\n",
           POLICIES, FETCHES, real_ms() - began, (heap() - before) >> 20);
    assert_int_equal(world.cache->table.kept.length, POLICIES);
    assert_in_range((heap() - before) >> 20, 0, 100); /* 0: a sanitizer */
    /* Sanitizers and a busy machine have room; the goal is a second. */
    assert_in_range(real_ms() - began, 0, 10000);

    began = real_ms();
    for (int i = 0; i < 100; i++)
        world_pass(1);
    printf("a sweep: %" PRIu64 " us\n", (real_ms() - began) * 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scale, world_open, world_close),
    };

    return cmocka_run_group_tests_name("scale", tests, NULL, NULL);
}
