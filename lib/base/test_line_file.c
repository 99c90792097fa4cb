#include "base/buf.h"
#include "base/line_file.h"
#include "unit.h"
#include <fcntl.h>
#include <unistd.h>

static char directory[64], path[96], old_path[96];

static void
read_into(const char *name, struct buf *out)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    assert_true(fd >= 0);
    while ((got = read(fd, buf_reserve(out, 4096), 4096)) > 0)
        buf_grew(out, (size_t)got);
    close(fd);
}

static void
check_file(const char *name, const char *expected)
{
    struct buf text = {0};

    read_into(name, &text);
    assert_string_equal(buf_cstr(&text), expected);
    buf_fini(&text);
}

static void
test_append(void **state UNUSED)
{
    struct line_file *file;
    struct err err;

    file = line_file_open(path, &err);
    assert_non_null(file);
    assert_string_equal(line_file_path(file), path);
    line_file_add(file, SV("one\n"));
    line_file_add(file, SV("two\n"));
    line_file_flush(file);
    check_file(path, "one\ntwo\n");
    assert_int_equal(rename(path, old_path), 0);
    line_file_add(file, SV("three\n"));
    line_file_flush(file);
    assert_true(line_file_reopen(file, &err));
    line_file_flush(file);
    line_file_add(file, SV("four\n"));
    line_file_close(file);
    check_file(old_path, "one\ntwo\nthree\n");
    check_file(path, "four\n");
    unlink(path);
    unlink(old_path);
}

/* Lines are whole or not there at all. */
static void
test_flood(void **state UNUSED)
{
    enum { LINES = 100000 };
    static const char line[] = "0123456789012345678901234567890123456789\n";
    struct buf text = {0};
    struct line_file *file;
    struct err err;

    file = line_file_open(path, &err);
    assert_non_null(file);
    for (int i = 0; i < LINES; i++)
        line_file_add(file, sv_of(line));
    line_file_close(file);
    read_into(path, &text);
    assert_int_equal(buf_length(&text) % (sizeof line - 1), 0);
    assert_true(buf_length(&text) > 0);
    buf_fini(&text);
    unlink(path);
}

static void
test_missing_folder(void **state UNUSED)
{
    struct err err;

    assert_null(line_file_open("/nonexistent/x", &err));
    assert_string_equal(err.text,
                        "open /nonexistent/x: No such file or directory");
    assert_false(line_file_try("/nonexistent/x", &err));
    line_file_close(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_missing_folder),
    };
    int failed;

    snprintf(directory, sizeof directory, "/tmp/waxgate-lines.XXXXXX");
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/lines", directory);
    snprintf(old_path, sizeof old_path, "%s/old", directory);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
