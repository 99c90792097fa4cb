/* Mail of our own: a file becomes a message, once. */
#include "transmit/queue_world.h"
#include "unit.h"
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static const char yaml[] =
    WORLD_YAML "spool: {segment_size: 8M, inline_limit: 128K,\n"
               "        spare_segments: 1, min_free: 1M}\n";
static const char mail[] = "From: <r@gw.example>\r\nSubject: report\r\n"
                           "\r\nHello.\r\n";

static struct world world;
static char base[64];

static void
write_file(const char *name, struct sv text)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "state/outbox/%s", name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.p, text.n), (ssize_t)text.n);
    close(fd);
}

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* A relative state_dir is below the folder in which settings are loaded. */
static void
start(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(base, sizeof base, "%s/waxgate-submit-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(base));
    assert_int_equal(chdir(base), 0);
    world_init(&world, yaml);
    assert_int_equal(mkdir("state", 0700), 0);
    assert_int_equal(mkdir("state/outbox", 0700), 0);
    world_open(&world);
}

static void
finish(void)
{
    world_close(&world);
    world_fini(&world);
    assert_int_equal(chdir("/"), 0);
    nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static json_t *
params(const char *file)
{
    return json_pack("{s:s,s:s,s:[s,s],s:[s,s]}", "file", file, "sender", "",
                     "recipients", "bob@dst.example", "c@Other.example",
                     "demands", "tls-optional", "tls-report");
}

/* Into id, "" for an error, whose text is then compared. */
static void
submit(json_t *with, char *id, const char *error)
{
    json_t *result = world_call(&world, "queue.submit", with, NULL);
    const char *why = json_string_value(json_object_get(result, "error"));
    const char *got = json_string_value(json_object_get(result, "queue_id"));

    assert_string_equal(why != NULL ? why : "", error);
    snprintf(id, SPOOL_ID_TEXT, "%s", got != NULL ? got : "");
    json_decref(result);
}

static uint64_t
messages(void)
{
    struct queue_stats stats;

    queue_stats(world.queue, &stats);
    return stats.messages;
}

static void
check_taken(void **state UNUSED)
{
    struct destination *d;
    struct parcel *parcel;
    char id[SPOOL_ID_TEXT], text[256];
    struct err err;

    start();
    write_file("a.eml", sv_of(mail));
    submit(params("a.eml"), id, "");
    assert_int_equal(messages(), 1);
    d = world_session(&world);
    parcel = queue_take(world.queue, d, 10);
    assert_non_null(parcel);
    assert_sv(parcel->envelope.queue_id, id);
    assert_int_equal(parcel->envelope.sender.n, 0);
    assert_int_equal(parcel->envelope.tls_demands,
                     ENVELOPE_TLS_OPTIONAL | ENVELOPE_TLS_REPORT);
    assert_int_equal(parcel->envelope.recipients[0].notify, NOTIFY_NEVER);
    assert_sv(parcel->envelope.recipients[1].domain, "other.example");
    assert_int_equal(parcel->envelope.header_bytes, sizeof mail - 1 - 8);
    assert_int_equal(
        spool_content_read(parcel->content, 0, text, sizeof text, &err),
        sizeof mail - 1);
    assert_memory_equal(text, mail, sizeof mail - 1);
    queue_untake(world.queue, parcel);
    world_session_end(&world, d, false);
    finish();
}

/* The same name is the same message, until the file is gone. */
static void
check_once(void **state UNUSED)
{
    char first[SPOOL_ID_TEXT], id[SPOOL_ID_TEXT];
    struct stat status;

    start();
    write_file("a", sv_of(mail));
    submit(params("a"), first, "");
    submit(params("a"), id, "");
    assert_string_equal(id, first);
    assert_int_equal(messages(), 1);
    world_close(&world);
    world_open(&world);
    assert_int_equal(messages(), 1);
    submit(params("a"), id, "");
    assert_string_equal(id, first);
    assert_int_equal(messages(), 1);
    unlink("state/outbox/a");
    submit(params("a"), id, "a: No such file or directory");
    assert_int_equal(lstat("state/outbox/.a.taken", &status), -1);
    write_file("a", sv_of(mail));
    submit(params("a"), id, "");
    assert_string_not_equal(id, first);
    assert_int_equal(messages(), 2);
    finish();
}

/* A crash between the record and the link that says so. */
static void
check_crash_after_record(void **state UNUSED)
{
    char first[SPOOL_ID_TEXT], id[SPOOL_ID_TEXT];

    start();
    write_file("a", sv_of(mail));
    submit(params("a"), first, "");
    assert_int_equal(rename("state/outbox/.a.taken", "state/outbox/.a.taking"),
                     0);
    world_close(&world);
    world_open(&world);
    submit(params("a"), id, "");
    assert_string_equal(id, first);
    assert_int_equal(messages(), 1);
    finish();
}

/* … and one before the record: the message goes out under the id it was to
 * have. */
static void
check_crash_before_record(void **state UNUSED)
{
    char id[SPOOL_ID_TEXT];

    start();
    write_file("a", sv_of(mail));
    assert_int_equal(symlink("B0000000010000", "state/outbox/.a.taking"), 0);
    submit(params("a"), id, "");
    assert_string_equal(id, "B0000000010000");
    assert_int_equal(messages(), 1);
    finish();
}

static void
check_eight_bit(void **state UNUSED)
{
    struct destination *d;
    struct parcel *parcel;
    char id[SPOOL_ID_TEXT];

    start();
    write_file("a", SV("Subject: x\r\n\r\n\xc3\xbc\r\n"));
    submit(json_pack("{s:s,s:s,s:[s]}", "file", "a", "sender", "a@gw.example",
                     "recipients", "bob@dst.example"),
           id, "");
    d = world_session(&world);
    parcel = queue_take(world.queue, d, 10);
    assert_true(parcel->envelope.eight_bit);
    assert_false(parcel->envelope.header_utf8 || parcel->envelope.smtputf8);
    assert_int_equal(parcel->envelope.body, BODY_8BITMIME);
    assert_int_equal(parcel->envelope.recipients[0].notify, 0);
    assert_sv(parcel->envelope.sender, "a@gw.example");
    queue_untake(world.queue, parcel);
    world_session_end(&world, d, false);
    finish();
}

#define TO "\"recipients\": [\"b@dst.example\"]"
#define NOT_PLAIN "file: a plain name in the outbox is needed"

static const struct bad_row {
    const char *name, *params, *error;
} bad_rows[] = {
    {"no file", "{" TO "}", NOT_PLAIN},
    {"path", "{\"file\": \"x/a\", " TO "}", NOT_PLAIN},
    {"path upwards", "{\"file\": \"../a\", " TO "}", NOT_PLAIN},
    {"absolute path", "{\"file\": \"/etc/passwd\", " TO "}", NOT_PLAIN},
    {"the folder", "{\"file\": \".\", " TO "}", NOT_PLAIN},
    {"hidden", "{\"file\": \".a.taken\", " TO "}", NOT_PLAIN},
    {"not a text", "{\"file\": 1, " TO "}", NOT_PLAIN},
    {"NUL in the name", "{\"file\": \"a\\u0000b\", " TO "}", NOT_PLAIN},
    {"missing file", "{\"file\": \"none\", " TO "}",
     "none: No such file or directory"},
    {"link", "{\"file\": \"link\", " TO "}",
     "link: Too many levels of symbolic links"},
    {"pipe", "{\"file\": \"pipe\", " TO "}",
     "pipe: not a file of at most 64 MiB"},
    {"large", "{\"file\": \"large\", " TO "}",
     "large: not a file of at most 64 MiB"},
    {"bare LF", "{\"file\": \"lf\", " TO "}",
     "lf: not a message with CR LF line ends"},
    {"bare CR", "{\"file\": \"cr\", " TO "}",
     "cr: not a message with CR LF line ends"},
    {"NUL", "{\"file\": \"nul\", " TO "}",
     "nul: not a message with CR LF line ends"},
    {"empty", "{\"file\": \"empty\", " TO "}",
     "empty: not a message with CR LF line ends"},
    {"no recipients", "{\"file\": \"a\"}", "recipients: 1 to 100 are needed"},
    {"empty recipients", "{\"file\": \"a\", \"recipients\": []}",
     "recipients: 1 to 100 are needed"},
    {"bad recipient", "{\"file\": \"a\", \"recipients\": [\"b\"]}",
     "\"b\" is no address"},
    {"injected recipient",
     "{\"file\": \"a\", \"recipients\": [\"b@c\\r\\nDATA\"]}",
     "\"b@c\r\nDATA\" is no address"},
    {"recipient that is no text", "{\"file\": \"a\", \"recipients\": [1]}",
     "\"\" is no address"},
    {"bad sender", "{\"file\": \"a\", \"sender\": \"x\", " TO "}",
     "\"x\" is no address"},
    {"unknown demand", "{\"file\": \"a\", \"demands\": [\"tls\"], " TO "}",
     "demands: there is no \"tls\""},
};

static void
write_bad_files(void)
{
    write_file("a", sv_of(mail));
    write_file("lf", SV("A: b\n\nx\n"));
    write_file("cr", SV("A: b\r\n\r\nx\r"));
    write_file("nul", SV("A: b\r\n\r\n\0\r\n"));
    write_file("empty", SV(""));
    write_file("large", sv_of(mail));
    assert_int_equal(truncate("state/outbox/large", (64 << 20) + 1), 0);
    assert_int_equal(symlink("a", "state/outbox/link"), 0);
    assert_int_equal(mkfifo("state/outbox/pipe", 0600), 0);
}

static void
check_bad(void **state)
{
    const struct bad_row *r = *state;
    char id[SPOOL_ID_TEXT];
    json_t *with = json_loads(r->params, JSON_ALLOW_NUL, NULL);

    assert_non_null(with);
    start();
    write_bad_files();
    submit(with, id, r->error);
    assert_int_equal(messages(), 0);
    finish();
}

static void
check_no_outbox(void **state UNUSED)
{
    char id[SPOOL_ID_TEXT], why[128];

    start();
    assert_int_equal(rmdir("state/outbox"), 0);
    snprintf(why, sizeof why, "%s/state/outbox: No such file or directory",
             base);
    submit(params("a"), id, why);
    finish();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_taken),
        cmocka_unit_test(check_once),
        cmocka_unit_test(check_crash_after_record),
        cmocka_unit_test(check_crash_before_record),
        cmocka_unit_test(check_eight_bit),
        cmocka_unit_test(check_no_outbox),
    };

    return RUN_ROWS("queue_submit_bad", check_bad, bad_rows) +
           cmocka_run_group_tests_name("queue_submit", tests, NULL, NULL);
}
