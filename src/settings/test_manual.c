/* docs/configuration.md is what the tables say. To bring it up to date:
 *     build/src/settings/test_manual --print > docs/configuration.md */
#include "base/buf.h"
#include "settings/settings.h"
#include "unit.h"

static const char *committed; /* path of docs/configuration.md */

static void
read_committed(struct buf *out)
{
    FILE *file = fopen(committed, "r");
    size_t n;

    assert_non_null(file);
    while ((n = fread(buf_reserve(out, 4096), 1, 4096, file)) > 0)
        buf_grew(out, n);
    fclose(file);
}

static void
test_current(void **state)
{
    struct buf generated = {0}, file = {0};

    (void)state;
    settings_manual(&generated);
    read_committed(&file);
    if (!sv_eq(buf_view(&generated), buf_view(&file)))
        fail_msg("%s is out of date: run `test_manual --print > %s`", committed,
                 committed);
    buf_fini(&generated);
    buf_fini(&file);
}

static void
print_manual(void)
{
    struct buf out = {0};

    settings_manual(&out);
    fwrite(buf_cstr(&out), 1, buf_length(&out), stdout);
    buf_fini(&out);
}

/* test_manual PATH compares, test_manual --print writes. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_current)};

    assert(argc == 2);
    if (strcmp(argv[1], "--print") == 0) {
        print_manual();
        return 0;
    }
    committed = argv[1];
    return cmocka_run_group_tests_name("manual", tests, NULL, NULL);
}
