#include "transmit/delivery_memory.h"
#include "transmit/pool.h"
#include "unit.h"

static void
test_by_key(void **state)
{
    struct pool_member a = {0}, b = {0}, c = {0}, d = {0};
    struct pool pool;

    (void)state;
    pool_init(&pool, 2);
    assert_null(pool_take(&pool, SV("x")));
    assert_true(pool_put(&pool, SV("x"), &a));
    assert_true(pool_put(&pool, SV("x"), &b));
    assert_false(pool_put(&pool, SV("x"), &c));
    assert_true(pool_put(&pool, SV("y"), &d));
    assert_false(pool_holds(&c));
    assert_ptr_equal(pool_take(&pool, SV("x")), &b); /* the last one kept */
    pool_remove(&pool, &a);
    assert_null(pool_take(&pool, SV("x")));
    assert_true(pool_put(&pool, SV("x"), &c));
    assert_int_equal(pool.count, 2);
    assert_non_null(pool_take_any(&pool));
    assert_non_null(pool_take_any(&pool));
    assert_null(pool_take_any(&pool));
    pool_fini(&pool);
}

static void
test_memory(void **state)
{
    struct delivery_memory memory;
    char key[32];

    (void)state;
    delivery_memory_init(&memory);
    delivery_memory_note(&memory, SV("x"), 0, 100);
    assert_true(delivery_memory_has(&memory, SV("x"), 99));
    assert_false(delivery_memory_has(&memory, SV("x"), 100));
    delivery_memory_note(&memory, SV("x"), 100, 200);
    assert_true(delivery_memory_has(&memory, SV("x"), 150));
    delivery_memory_forget(&memory, SV("x"));
    assert_false(delivery_memory_has(&memory, SV("x"), 150));
    /* Bounded; what has expired makes room. */
    for (int i = 0; i < 12000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        delivery_memory_note(&memory, sv_of(key), 0, 1000);
    }
    assert_true(delivery_memory_has(&memory, SV("k11999"), 1));
    assert_int_equal(memory.notes.count, 10000);
    /* What lasts longer stays. */
    delivery_memory_note(&memory, SV("long"), 1, 1000000);
    for (int i = 0; i < 30000; i++) {
        snprintf(key, sizeof key, "m%d", i);
        delivery_memory_note(&memory, sv_of(key), 1, 1001);
    }
    assert_true(delivery_memory_has(&memory, SV("long"), 1));
    assert_true(delivery_memory_has(&memory, SV("m29999"), 1));
    assert_int_equal(memory.notes.count, 10000);
    delivery_memory_note(&memory, SV("new"), 70000, 71000);
    assert_true(delivery_memory_has(&memory, SV("new"), 70001));
    assert_int_equal(memory.notes.count, 2);
    delivery_memory_fini(&memory);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_key),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
