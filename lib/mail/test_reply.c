#include "mail/reply.h"
#include "unit.h"

#define X100                                                                   \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                       \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct row {
    const char *name;
    struct sv in;
    enum mail_reply_result result;
    unsigned code;
    const char *status, *text, *rest;
} rows[] = {
    {"one line", SV_INIT("250 ok\r\n"), MAIL_REPLY_DONE, 250, "0.0.0", "ok",
     ""},
    {"enhanced code", SV_INIT("550 5.7.1 denied\r\n"), MAIL_REPLY_DONE, 550,
     "5.7.1", "denied", ""},
    {"several lines", SV_INIT("250-2.1.0 a\r\n250-2.1.0 b\r\n250 2.1.0 c\r\n"),
     MAIL_REPLY_DONE, 250, "2.1.0", "a\nb\nc", ""},
    {"next reply stays", SV_INIT("250 a\r\n354 b\r\n"), MAIL_REPLY_DONE, 250,
     "0.0.0", "a", "354 b\r\n"},
    {"code alone", SV_INIT("250\r\n"), MAIL_REPLY_DONE, 250, "0.0.0", "", ""},
    {"empty last line", SV_INIT("250-a\r\n250 \r\n"), MAIL_REPLY_DONE, 250,
     "0.0.0", "a\n", ""},
    {"status alone", SV_INIT("250 2.0.0\r\n"), MAIL_REPLY_DONE, 250, "2.0.0",
     "", ""},
    {"class differs from the code", SV_INIT("550 2.0.0 x\r\n"), MAIL_REPLY_DONE,
     550, "0.0.0", "2.0.0 x", ""},
    {"no status: a version", SV_INIT("220 2.0 x\r\n"), MAIL_REPLY_DONE, 220,
     "0.0.0", "2.0 x", ""},
    {"controls", SV_INIT("550 a\x1b[2J\tb\0c\rd\r\n"), MAIL_REPLY_DONE, 550,
     "0.0.0", "a?[2J?b?c?d", ""},
    {"utf-8 and latin-1", SV_INIT("550 \xc3\xbc\xfc\xc2\x9b\r\n"),
     MAIL_REPLY_DONE, 550, "0.0.0", "\xc3\xbc??", ""},
    {"not whole", SV_INIT("250-a\r\n250 b\r"), MAIL_REPLY_MORE, 250, "0.0.0",
     "a", "250 b\r"},
    {"nothing", SV_INIT(""), MAIL_REPLY_MORE, 0, "0.0.0", "", ""},
    {"bare LF", SV_INIT("250 ok\n"), MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
    {"LF alone", SV_INIT("\n"), MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
    {"empty line", SV_INIT("\r\n"), MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
    {"code changes", SV_INIT("250-a\r\n251 b\r\n"), MAIL_REPLY_BAD, 0, NULL,
     NULL, NULL},
    {"code of two digits", SV_INIT("25 ok\r\n"), MAIL_REPLY_BAD, 0, NULL, NULL,
     NULL},
    {"code of four digits", SV_INIT("2500 ok\r\n"), MAIL_REPLY_BAD, 0, NULL,
     NULL, NULL},
    {"code 199", SV_INIT("199 x\r\n"), MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
    {"code 600", SV_INIT("600 x\r\n"), MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
    {"signed", SV_INIT("+25 x\r\n"), MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
    {"another protocol", SV_INIT("HTTP/1.1 400 Bad\r\n"), MAIL_REPLY_BAD, 0,
     NULL, NULL, NULL},
    {"line of 512", SV_INIT("250 " X100 X100 X100 X100 X100 "xxxxxx\r\n"),
     MAIL_REPLY_DONE, 250, "0.0.0", X100 X100 X100 X100 X100 "xxxxxx", ""},
    {"line of 513", SV_INIT("250 " X100 X100 X100 X100 X100 "xxxxxxx\r\n"),
     MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
    {"endless line", SV_INIT("250 " X100 X100 X100 X100 X100 X100),
     MAIL_REPLY_BAD, 0, NULL, NULL, NULL},
};

/* Takes the input as a connection delivers it, byte by byte. */
static enum mail_reply_result
take_slowly(struct sv *in, struct mail_reply *reply)
{
    enum mail_reply_result result = MAIL_REPLY_MORE;
    struct sv whole = *in;
    size_t used = 0;

    mail_reply_init(reply);
    for (size_t n = 0; n <= whole.n && result == MAIL_REPLY_MORE; n++) {
        struct sv piece = sv_slice(whole, used, n - used);

        result = mail_reply_take(&piece, reply, NULL, NULL);
        used = n - piece.n;
    }
    *in = sv_from(whole, used);
    return result;
}

static void
check_reply(const struct row *r, enum mail_reply_result result, struct sv rest,
            const struct mail_reply *reply)
{
    char status[32];

    assert_int_equal(result, r->result);
    if (r->result == MAIL_REPLY_BAD)
        return;
    assert_int_equal(reply->code, r->code);
    snprintf(status, sizeof status, "%u.%u.%u", reply->status.class,
             reply->status.subject, reply->status.detail);
    assert_string_equal(status, r->status);
    assert_sv(((struct sv){reply->text, reply->length}), r->text);
    assert_sv(rest, r->rest);
}

static void
check(void **state)
{
    const struct row *r = *state;
    enum mail_reply_result result;
    struct mail_reply reply;
    struct sv in = r->in;

    mail_reply_init(&reply);
    result = mail_reply_take(&in, &reply, NULL, NULL);
    check_reply(r, result, in, &reply);
    in = r->in;
    result = take_slowly(&in, &reply);
    check_reply(r, result, in, &reply);
}

static void
collect(void *arg, unsigned index, struct sv text)
{
    buf_printf(arg, "%u:%.*s;", index, SV_ARG(text));
}

static void
test_ehlo(void **state UNUSED)
{
    struct sv in = SV("250-gw.test hello\r\n250-SIZE 100\r\n250 8BITMIME\r\n");
    struct mail_reply reply;
    struct buf seen = {0};

    mail_reply_init(&reply);
    assert_int_equal(mail_reply_take(&in, &reply, collect, &seen),
                     MAIL_REPLY_DONE);
    assert_sv(buf_view(&seen), "0:gw.test hello;1:SIZE 100;2:8BITMIME;");
    assert_int_equal(reply.lines, 3);
    buf_fini(&seen);
}

static void
test_too_many_lines(void **state UNUSED)
{
    struct mail_reply reply;
    unsigned taken = 0;

    mail_reply_init(&reply);
    for (; taken < 1000; taken++) {
        struct sv in = SV("250-" X100 "\r\n");

        if (mail_reply_take(&in, &reply, NULL, NULL) != MAIL_REPLY_MORE)
            break;
    }
    assert_int_equal(taken, MAIL_REPLY_LINES_MAX);
    assert_true(reply.length <= MAIL_REPLY_TEXT_MAX);
}

static const struct status_row {
    const char *name, *in;
    bool ok;
    const char *rest;
} status_rows[] = {
    {"with text", "5.7.1 x", true, "x"},
    {"alone", "4.4.999", true, ""},
    {"class 3", "3.0.0 x", false, NULL},
    {"class 0", "0.0.0", false, NULL},
    {"four digits", "5.1000.0", false, NULL},
    {"two parts", "5.1 x", false, NULL},
    {"four parts", "5.1.1.1 x", false, NULL},
    {"text without a blank", "5.1.1x", false, NULL},
    {"empty part", "5..1", false, NULL},
    {"empty", "", false, NULL},
};

static void
check_status(void **state)
{
    const struct status_row *r = *state;
    struct sv text = sv_of(r->in);
    struct mail_status status;

    assert_int_equal(mail_status_take(&text, &status), r->ok);
    assert_sv(text, r->ok ? r->rest : r->in);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ehlo),
        cmocka_unit_test(test_too_many_lines),
    };

    return RUN_ROWS("mail_reply", check, rows) +
           RUN_ROWS("mail_status", check_status, status_rows) +
           cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
