/* tests/unit.h - unit tests as tables: every row is a test with a name.
 * Includes what cmocka 1.1.5 wants in front of it. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H
#include "base/base.h"
#include "base/sv.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UNIT_ROWS_MAX 1024

/* Runs check once per row; rows is an array whose elements begin with
 * `const char *name`, and *state is the row.  Evaluates to the number of
 * failed tests, for main() to return. */
#define RUN_ROWS(group, check, rows)                                           \
    unit_run_rows((group), (check), (rows), sizeof((rows)[0]), COUNT_OF(rows))

static inline int
unit_run_rows(const char *group, CMUnitTestFunction check, const void *rows,
              size_t size, size_t count)
{
    struct CMUnitTest tests[UNIT_ROWS_MAX];

    assert(count <= UNIT_ROWS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *row = (const char *)rows + i * size;
        const char *name;

        memcpy(&name, row, sizeof name);
        tests[i] = (struct CMUnitTest){
            .name = name,
            .test_func = check,
            .initial_state = (void *)(uintptr_t)row,
        };
    }
    return _cmocka_run_group_tests(group, tests, count, NULL, NULL);
}

/* The view equals the text. */
#define assert_sv(view, text)                                                  \
    do {                                                                       \
        struct sv assert_view = (view);                                        \
        assert_int_equal(assert_view.n, strlen(text));                         \
        assert_memory_equal(assert_view.n ? assert_view.p : "", text,          \
                            assert_view.n);                                    \
    } while (0)
#endif
