#include "base/buf.h"
#include "base/line_file.h"
#include "base/log.h"
#include "unit.h"
#include <fcntl.h>
#include <sys/stat.h>
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

static size_t
count_of(struct buf *text, char wanted)
{
    size_t count = 0;

    for (struct sv rest = buf_view(text); rest.n > 0; rest = sv_from(rest, 1))
        count += rest.p[0] == wanted;
    return count;
}

/* The sum of what the events of this log say. */
static size_t
count_dropped(const char *log)
{
    struct buf text = {0};
    size_t sum = 0;

    read_into(log, &text);
    for (const char *at = buf_cstr(&text);
         (at = strstr(at, "log.dropped count=")) != NULL; at++)
        sum += strtoul(strchr(at, '=') + 1, NULL, 10);
    buf_fini(&text);
    return sum;
}

/* A pipe takes a part: the lines it took are not lost, and what comes next
 * begins a line of its own. */
static void
test_cut(void **state UNUSED)
{
    enum { LINES = 3000 };
    static const char line[] = "0123456789012345678901234567890123456789\n";
    const struct log_options options = {
        .process = "test", .path = old_path, .level = LOG_INFO};
    struct buf lines = {0}, text = {0};
    struct line_file *file;
    struct err err;
    ssize_t got;
    int pipe_fd;

    assert_true(log_open(&options, &err));
    assert_int_equal(mkfifo(path, 0600), 0);
    pipe_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(pipe_fd >= 0);
    file = line_file_open(path, &err);
    assert_non_null(file);
    for (int i = 0; i < LINES; i++)
        buf_add_str(&lines, line);
    line_file_add(file, buf_view(&lines)); /* at once, so in one batch */
    line_file_flush(file);
    buf_fini(&lines);
    while ((got = read(pipe_fd, buf_reserve(&text, 4096), 4096)) > 0)
        buf_grew(&text, (size_t)got);
    log_flush();
    assert_int_equal(count_of(&text, '\n') + count_dropped(old_path), LINES);
    assert_true(buf_length(&text) % (sizeof line - 1) != 0);
    buf_reset(&text);
    line_file_add(file, SV("next\n"));
    line_file_close(file);
    got = read(pipe_fd, buf_reserve(&text, 4096), 4096);
    assert_true(got > 0);
    buf_grew(&text, (size_t)got);
    assert_string_equal(buf_cstr(&text), "\nnext\n");
    buf_fini(&text);
    close(pipe_fd);
    log_close();
    unlink(path);
    unlink(old_path);
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
        cmocka_unit_test(test_cut),
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
