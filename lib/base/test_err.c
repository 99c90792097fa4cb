/* Errors and clocks. */
#include "base/clock.h"
#include "base/err.h"
#include "unit.h"
#include <errno.h>

static void
test_chain(void **state UNUSED)
{
    struct err err;

    errno = ENOENT;
    err_sys(&err, "rename %s to %s", "tmp.2", "2");
    assert_int_equal(errno, ENOENT);
    err_wrap(&err, "commit message %d", 2);
    assert_string_equal(
        err.text,
        "commit message 2: rename tmp.2 to 2: No such file or directory");
    assert_int_equal(err.code, ENOENT);
}

static void
test_own_text_as_argument(void **state UNUSED)
{
    struct err err;

    err_set(&err, "inner");
    err_set(&err, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
    assert_int_equal(err.code, 0);
}

static void
test_cut(void **state UNUSED)
{
    struct err err;

    err_set(&err, "%0600d", 1);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    err_wrap(&err, "more");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "more: 0", 7);
}

static void
test_nobody_listens(void **state UNUSED)
{
    err_set(NULL, "x");
    err_sys(NULL, "x");
    err_code(NULL, EIO, "x");
    err_wrap(NULL, "x");
}

static void
test_code(void **state UNUSED)
{
    struct err err;

    err_code(&err, EIO, "fsync %s", "intake");
    assert_string_equal(err.text, "fsync intake: Input/output error");
    assert_int_equal(err.code, EIO);
}

static void
test_clock(void **state UNUSED)
{
    uint64_t before = clock_mono_us();

    assert_true(clock_mono_us() >= before);
    assert_true(clock_wall_s() > 1700000000);
    clock_freeze(5000, 1800000000);
    assert_int_equal(clock_mono_ms(), 5000);
    assert_int_equal(clock_wall_s(), 1800000000);
    clock_advance_ms(1500);
    assert_int_equal(clock_mono_us(), 6500000);
    assert_true(clock_wall_us() == INT64_C(1800000001500000));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_own_text_as_argument),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_code),
        cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
