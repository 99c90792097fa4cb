#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_internal.h"
#include "base/utf8.h"
#include "unit.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/waxgate-test-log.XXXXXX";
static char path[sizeof directory + 16];

/* How one value looks in the two forms. */
static const struct row {
    const char *name;
    struct sv in;
    const char *plain, *json;
} rows[] = {
    {"plain", SV_INIT("192.0.2.1:25"), "192.0.2.1:25", "\"192.0.2.1:25\""},
    {"empty", SV_INIT(""), "\"\"", "\"\""},
    {"blank", SV_INIT("a b"), "\"a b\"", "\"a b\""},
    {"equals sign", SV_INIT("a=b"), "\"a=b\"", "\"a=b\""},
    {"quote", SV_INIT("a\"b"), "\"a\\\"b\"", "\"a\\\"b\""},
    {"backslash", SV_INIT("a\\x0a"), "\"a\\\\x0a\"", "\"a\\\\x0a\""},
    {"forged line", SV_INIT("x\n2026-01-01T00:00:00Z info"),
     "\"x\\x0a2026-01-01T00:00:00Z info\"",
     "\"x\\u000a2026-01-01T00:00:00Z info\""},
    {"carriage return", SV_INIT("\r"), "\"\\x0d\"", "\"\\u000d\""},
    {"NUL", SV_INIT("a\0b"), "\"a\\x00b\"", "\"a\\u0000b\""},
    {"escape", SV_INIT("\x1b[2J"), "\"\\x1b[2J\"", "\"\\u001b[2J\""},
    {"delete", SV_INIT("\x7f"), "\"\\x7f\"", "\"\\u007f\""},
    {"umlaut", SV_INIT("m\xc3\xbcller"), "\"m\xc3\xbcller\"",
     "\"m\xc3\xbcller\""},
    {"latin-1", SV_INIT("m\xfcller"), "\"m\\xfcller\"", "\"m\\\\xfcller\""},
    {"cut character", SV_INIT("\xe2\x82"), "\"\\xe2\\x82\"",
     "\"\\\\xe2\\\\x82\""},
    {"C1 control", SV_INIT("\xc2\x9b"), "\"\\xc2\\x9b\"", "\"\\u009b\""},
    /* NOLINTNEXTLINE(misc-misleading-bidirectional): that is the point */
    {"right-to-left override", SV_INIT("\xe2\x80\xae"), "\"\\xe2\\x80\\xae\"",
     "\"\\\\xe2\\\\x80\\\\xae\""},
    {"surrogate", SV_INIT("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"",
     "\"\\\\xed\\\\xa0\\\\x80\""},
};

static void
assert_line(enum log_format format, struct sv value, const char *before,
            const char *expected, const char *after)
{
    static struct log_line line;
    struct log_head head = {"receiver", LOG_INFO, "smtpd.connect"};
    struct buf whole = {0};

    log_line_make(&line, format, &head, NULL, &LOG_SV("v", value), 1);
    buf_printf(&whole, "%s%s%s", before, expected, after);
    assert_sv(((struct sv){line.text, line.length}), buf_cstr(&whole));
    buf_fini(&whole);
}

static void
check(void **state)
{
    const struct row *r = *state;

    assert_line(LOG_KEY_VALUE, r->in,
                "2026-11-22T00:44:12.000000Z info receiver smtpd.connect v=",
                r->plain, "\n");
    assert_line(LOG_JSON, r->in,
                "{\"time\":\"2026-11-22T00:44:12.000000Z\",\"level\":\"info\","
                "\"process\":\"receiver\",\"event\":\"smtpd.connect\",\"v\":",
                r->json, "}\n");
}

static void
keep_line(void *arg, struct sv line)
{
    struct buf *lines = arg;

    buf_add(lines, line);
    buf_add_char(lines, '\n');
}

static void
test_context_and_types(void **state UNUSED)
{
    struct buf lines = {0};
    struct log_context listener = {.fields = {LOG_STR("listener", "mx")}};
    struct log_context session = {
        .parent = &listener,
        .fields = {LOG_STR("session", "7f"), LOG_STR("peer", "[::1]:25")}};

    log_capture(keep_line, &lines);
    log_event(&session, LOG_DEBUG, "smtpd.refuse", LOG_U64("code", UINT64_MAX),
              LOG_I64("delta", -3), LOG_BOOL("tls", true),
              LOG_IF(false, LOG_U64("absent", 1)));
    log_capture(NULL, NULL);
    assert_sv(buf_view(&lines),
              "2026-11-22T00:44:12.000000Z debug - smtpd.refuse listener=mx "
              "session=7f peer=[::1]:25 code=18446744073709551615 delta=-3 "
              "tls=true\n");
    buf_fini(&lines);
}

/* Whatever the fields, the line has one newline, at its end, and is UTF-8. */
static void
test_long_values(void **state UNUSED)
{
    static struct log_line line;
    static char text[LOG_VALUE_MAX * 2];
    struct log_head head = {"receiver", LOG_INFO, "e"};
    struct log_field fields[20];

    memset(text, '\n', sizeof text);
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        fields[i] = LOG_SV("k", ((struct sv){text, sizeof text}));
    for (int format = LOG_KEY_VALUE; format <= LOG_JSON; format++) {
        struct sv whole;

        log_line_make(&line, (enum log_format)format, &head, NULL, fields,
                      COUNT_OF(fields));
        whole = (struct sv){line.text, line.length};
        assert_int_equal(sv_index(whole, '\n'), line.length - 1);
        assert_true(sv_ends_nocase(whole, format == LOG_JSON
                                              ? SV(",\"cut\":true}\n")
                                              : SV(" cut=true\n")));
        assert_true(utf8_valid(whole));
    }
}

static void
test_levels(void **state UNUSED)
{
    enum log_level level;

    assert_true(log_level_parse(SV("warning"), &level));
    assert_int_equal(level, LOG_WARNING);
    assert_false(log_level_parse(SV("loud"), &level));
    assert_string_equal(log_level_name(LOG_ERROR), "error");
}

static struct buf
read_file(const char *name)
{
    struct buf text = {0};
    int fd = open(name, O_RDONLY);
    ssize_t n;

    assert_true(fd != -1);
    while ((n = read(fd, buf_reserve(&text, 4096), 4096)) > 0)
        buf_grew(&text, (size_t)n);
    close(fd);
    return text;
}

static void
open_log(const char *name, enum log_level level)
{
    struct log_options options = {
        .process = "test", .path = name, .level = level};

    assert_true(log_open(&options, NULL));
}

static void
assert_file(const char *name, const char *expected)
{
    struct buf text = read_file(name);

    assert_sv(buf_view(&text), expected);
    buf_fini(&text);
}

#define AT "2026-11-22T00:44:12.000000Z "

static void
test_file(void **state UNUSED)
{
    struct stat st;

    umask(0);
    open_log(path, LOG_WARNING);
    assert_false(log_wants(LOG_INFO));
    log_event(NULL, LOG_INFO, "quiet", LOG_U64("n", 1));
    log_event(NULL, LOG_ERROR, "loud", LOG_U64("n", 2));
    log_flush();
    assert_file(path, AT "error test loud n=2\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    log_close();
    log_close();
    log_flush();
    unlink(path);
}

static void
test_rotation(void **state UNUSED)
{
    char rotated[sizeof path + 8];

    snprintf(rotated, sizeof rotated, "%s.1", path);
    open_log(path, LOG_INFO);
    log_event(NULL, LOG_INFO, "before", LOG_U64("n", 1));
    assert_int_equal(rename(path, rotated), 0);
    log_reopen();
    log_event(NULL, LOG_INFO, "after", LOG_U64("n", 2));
    log_close();
    assert_file(rotated, AT "info test before n=1\n");
    assert_file(path, AT "info test after n=2\n");
    unlink(rotated);
    unlink(path);
}

static void
test_missing_directory(void **state UNUSED)
{
    struct log_options options = {.process = "test",
                                  .path = "/nonexistent/log"};
    struct err err;

    assert_false(log_open(&options, &err));
    assert_string_equal(
        err.text, "open log file /nonexistent/log: No such file or directory");
}

/* A full disk costs the lines, and the count of them is told. */
static void
test_full_disk(void **state UNUSED)
{
    open_log("/dev/full", LOG_INFO);
    for (uint64_t i = 0; i < 3; i++)
        log_event(NULL, LOG_INFO, "lost", LOG_U64("n", i));
    log_flush();
    open_log(path, LOG_INFO);
    log_event(NULL, LOG_INFO, "kept", LOG_U64("n", 1));
    log_close();
    assert_file(path, AT "info test kept n=1\n" AT
                         "error test log.dropped count=3\n");
    unlink(path);
}

#define THREADS 4
#define LINES 20000

static void *
write_many(void *arg UNUSED)
{
    for (uint64_t i = 0; i < LINES; i++)
        log_event(NULL, LOG_INFO, "many", LOG_U64("n", i));
    return NULL;
}

/* Each line is either in the file, whole, or in the count of the dropped. */
static void
test_threads(void **state UNUSED)
{
    pthread_t threads[THREADS];
    uint64_t lines = 0, dropped = 0;
    struct buf text;
    struct sv rest;

    open_log(path, LOG_INFO);
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, write_many, NULL);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_event(NULL, LOG_INFO, "many", LOG_U64("n", 0));
    log_close();
    text = read_file(path);
    rest = buf_view(&text);
    while (rest.n > 0) {
        struct sv line = sv_take_until(&rest, '\n');
        uint64_t count;

        assert_true(sv_take_prefix(&line, SV(AT)));
        if (sv_take_prefix(&line, SV("info test many n=")))
            lines++;
        else if (sv_take_prefix(&line, SV("error test log.dropped count=")) &&
                 sv_to_u64(line, &count))
            dropped += count;
        else
            fail();
    }
    assert_int_equal(lines + dropped, THREADS * LINES + 1);
    buf_fini(&text);
    unlink(path);
}

/* What a process logged before it aborted is what one wants to read. */
static void
test_abort(void **state UNUSED)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        open_log(path, LOG_INFO);
        log_event(NULL, LOG_INFO, "last", LOG_STR("words", "good bye"));
        abort();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_file(path, AT "info test last words=\"good bye\"\n");
    unlink(path);
}

/* A fork has no writer thread: its lines go out at once, and none of the
 * parent's waiting lines goes out twice. */
static void
test_fork(void **state UNUSED)
{
    pid_t child;

    open_log(path, LOG_INFO);
    log_event(NULL, LOG_INFO, "parent", LOG_U64("n", 1));
    child = fork();
    if (child == 0) {
        log_event(NULL, LOG_INFO, "child", LOG_U64("n", 1));
        log_close();
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    log_close();
    struct buf text = read_file(path);
    assert_int_equal(buf_length(&text), strlen(AT "info test parent n=1\n" AT
                                                  "info test child n=1\n"));
    buf_fini(&text);
    unlink(path);
}

/* Runs in a process whose standard output is a pipe that nobody reads: lines
 * are lost, but neither a change of the destination nor the end waits. */
static void
talk_to_nobody(void)
{
    const struct log_options to_pipe = {.process = "test", .level = LOG_INFO};
    int fds[2];
    struct err err;

    alarm(10);
    if (pipe(fds) == -1 || dup2(fds[1], STDOUT_FILENO) == -1 ||
        !log_open(&to_pipe, &err))
        _exit(1);
    for (int i = 0; i < 3000; i++)
        log_event(NULL, LOG_INFO, "lost", LOG_I64("n", i));
    usleep(50000); /* the writer stands before the full pipe now */
    if (!log_open(&to_pipe, &err))
        _exit(2);
    open_log(path, LOG_INFO);
    log_event(NULL, LOG_INFO, "found", LOG_U64("n", 1));
    log_close();
    if (!log_open(&to_pipe, &err))
        _exit(3);
    log_event(NULL, LOG_INFO, "lost", LOG_U64("n", 1));
    log_close();
    _exit(0);
}

static void
test_stuck_pipe(void **state UNUSED)
{
    pid_t child = fork();
    struct buf text;
    int status;

    if (child == 0)
        talk_to_nobody();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    text = read_file(path);
    assert_non_null(strstr(buf_cstr(&text), AT "info test found n=1\n"));
    buf_fini(&text);
    unlink(path);
}

static void
test_fifo_without_reader(void **state UNUSED)
{
    const struct log_options options = {
        .process = "test", .path = path, .level = LOG_INFO};
    struct err err;

    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(log_open(&options, &err));
    assert_false(log_try(path, &err));
    assert_true(log_try("-", &err));
    unlink(path);
}

static struct {
    size_t calls;
    enum log_level level;
    char text[64];
    uint64_t number, missing;
} seen;

static void
on_event(const struct log_record *record)
{
    struct sv session = log_record_text(record, "session");

    seen.calls++;
    seen.level = record->level;
    seen.number = log_record_number(record, "count");
    seen.missing = log_record_text(record, "count").n +
                   log_record_number(record, "session") +
                   log_record_text(record, "none").n;
    snprintf(seen.text, sizeof seen.text, "%s %.*s", record->event,
             SV_ARG(session));
}

/* Sees what the level of the log leaves out, and the fields of the context. */
static void
test_observer(void **state UNUSED)
{
    const struct log_context outer = {.fields = {LOG_STR("session", "S1")}};
    const struct log_context inner = {.parent = &outer};

    assert_false(log_observed());
    log_observe(on_event);
    assert_true(log_observed() && log_wants(LOG_INFO));
    log_event(&inner, LOG_DEBUG, "smtpd.state", LOG_U64("count", 7));
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.level, LOG_DEBUG);
    assert_string_equal(seen.text, "smtpd.state S1");
    assert_int_equal(seen.number, 7);
    assert_int_equal(seen.missing, 0);
    log_observe(NULL);
    log_event(&inner, LOG_DEBUG, "smtpd.state", LOG_U64("count", 7));
    assert_int_equal(seen.calls, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_context_and_types),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_missing_directory),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_stuck_pipe),
        cmocka_unit_test(test_fifo_without_reader),
        cmocka_unit_test(test_observer),
    };
    int failed;

    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/log", directory);
    clock_freeze(0, 1795308252);
    failed = RUN_ROWS("log values", check, rows) +
             cmocka_run_group_tests_name("log", tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
