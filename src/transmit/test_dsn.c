/* Notifications as text: against golden files (test_dsn.golden/), and what may
 * never happen.  With a folder as argument the texts are written there instead,
 * for a new golden set or for tests/dsn_structure.py to parse. */
#include "mail/header.h"
#include "transmit/dsn.h"
#include "unit.h"
#include <fcntl.h>
#include <unistd.h>

static const char *golden_dir;
static bool write_golden;

static struct envelope_recipient people[] = {
    {.address = {"bob@dst.example", 15},
     .domain = {"dst.example", 11},
     .orcpt = {"rfc822;Bob+2Bx@dst.example", 26}},
    {.address = {"carol@dst.example", 17}, .domain = {"dst.example", 11}},
};

static struct envelope base = {
    .queue_id = {"B6b4a0d001234", 13},
    .sender = {"ann@src.example", 15},
    .envid = {"QQ+2B314159", 11},
    .recipients = people,
    .recipient_count = 2,
};

static struct ledger_attempt attempt = {
    .host = {"mx.dst.example", 14},
    .ip = {"192.0.2.25", 10},
    .ended_us = 1800000100000000,
};

static const char header[] = "From: Ann <ann@src.example>\r\n"
                             "Subject: hello\r\n\r\n";
static const char whole[] = "From: Ann <ann@src.example>\r\n"
                            "Subject: hello\r\n\r\nText\r\n.\r\nlast";

static const struct row {
    const char *name; /* also of the golden file */
    enum dsn_kind kind;
    enum ledger_outcome outcome;
    enum tls_stage stage;
    const char *reason;
    uint16_t code;
    struct mail_status status;
    const char *text, *original;
    bool original_whole;
    size_t count;
    unsigned demands; /* enum envelope_tls */
} rows[] = {
    {"failure-smtp",
     DSN_FAILURE,
     OUTCOME_FAILED,
     STAGE_SMTP,
     "",
     550,
     {5, 1, 1},
     "no such user here\nsecond line",
     whole,
     true,
     2,
     0},
    {"failure-tls",
     DSN_FAILURE,
     OUTCOME_EXPIRED,
     STAGE_CHAIN,
     "self-signed certificate in certificate chain",
     451,
     {4, 4, 7},
     "self-signed certificate in certificate chain",
     header,
     false,
     1,
     0},
    {"failure-dns",
     DSN_FAILURE,
     OUTCOME_FAILED,
     STAGE_DNS,
     "no such domain",
     0,
     {5, 1, 2},
     "no such domain",
     header,
     false,
     1,
     0},
    {"deleted",
     DSN_FAILURE,
     OUTCOME_DELETED,
     STAGE_NONE,
     "",
     0,
     {5, 7, 0},
     "deleted by the administrator",
     header,
     false,
     1,
     0},
    {"delay",
     DSN_DELAY,
     OUTCOME_DEFERRED,
     STAGE_CONNECT,
     "connection refused",
     0,
     {4, 4, 1},
     "connection refused",
     header,
     false,
     2,
     0},
    {"relayed",
     DSN_SUCCESS,
     OUTCOME_RELAYED,
     STAGE_NONE,
     "",
     250,
     {2, 0, 0},
     "queued as 17",
     header,
     false,
     1,
     0},
    {"hostile-reply",
     DSN_FAILURE,
     OUTCOME_FAILED,
     STAGE_SMTP,
     "",
     554,
     {5, 7, 1},
     "no\r\nBcc: victim@example.org\r\n\r\n--=_B6b4a0d009999.0--\r\n"
     "\x1b[31m\xff\xfe",
     "Subject: x\r\nX-Y: =_B6b4a0d009999.0\r\n\r\n",
     false,
     1,
     0},
    {"failure-sts",
     DSN_FAILURE,
     OUTCOME_EXPIRED,
     STAGE_STS_CERTIFICATE,
     "mx.dst.example presented a certificate for mail.example.org only; the "
     "MTA-STS policy of dst.example (enforce, id 20260101, fetched 3 h ago) "
     "demands mx.dst.example",
     451,
     {4, 7, 5},
     "mx.dst.example presented a certificate for mail.example.org only; the "
     "MTA-STS policy of dst.example (enforce, id 20260101, fetched 3 h ago) "
     "demands mx.dst.example",
     header,
     false,
     1,
     0},
    {"failure-requiretls",
     DSN_FAILURE,
     OUTCOME_FAILED,
     STAGE_SMTP,
     "the message demands REQUIRETLS and no server of the destination offers "
     "it",
     0,
     {5, 7, 30},
     "the message demands REQUIRETLS and no server of the destination offers "
     "it",
     header,
     false,
     1,
     ENVELOPE_REQUIRETLS},
};

static void
make(const struct row *r, const struct envelope *envelope, struct buf *out)
{
    struct ledger_attempt a = attempt;
    struct ledger_result result = {
        .outcome = r->outcome,
        .code = r->code,
        .status = r->status,
        .text = sv_of(r->text),
    };
    struct dsn_recipient recipients[2];
    struct dsn dsn = {
        .kind = r->kind,
        .queue_id = SV("B6b4a0d009999"),
        .hostname = "gw.example",
        .wall_s = 1800000200,
        .envelope = envelope,
        .arrived_s = 1800000000,
        .recipients = recipients,
        .recipient_count = r->count,
        .original = sv_of(r->original),
        .original_whole = r->original_whole,
    };

    a.stage = r->stage;
    a.reason = sv_of(r->reason);
    if (r->stage == STAGE_DNS)
        a.host = a.ip = (struct sv){0};
    for (size_t i = 0; i < 2; i++)
        recipients[i] = (struct dsn_recipient){
            .recipient = &envelope->recipients[i],
            .result = &result,
            .attempt = &a,
            .will_retry_until_s = 1800260000,
        };
    dsn_write(&dsn, out);
}

static void
read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd == -1)
        fail_msg("%s is missing", path);
    while ((got = read(fd, buf_reserve(out, 4096), 4096)) > 0)
        buf_grew(out, (size_t)got);
    close(fd);
}

static void
check_lines(struct sv text)
{
    while (text.n > 0) {
        struct sv line = sv_take_until(&text, '\n');

        assert_true(line.n <= 999);
        assert_true(line.n > 0 && line.p[line.n - 1] == '\r');
        for (size_t i = 0; i + 1 < line.n; i++)
            assert_in_range((unsigned char)line.p[i], 0x20, 0x7e);
    }
}

static void
check_golden(void **state)
{
    const struct row *r = *state;
    struct envelope envelope = base;
    struct buf text = {0}, golden = {0};
    char path[512];

    envelope.tls_demands = r->demands;
    make(r, &envelope, &text);
    check_lines(buf_view(&text));
    snprintf(path, sizeof path, "%s/%s.eml", golden_dir, r->name);
    if (write_golden) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd != -1);
        assert_int_equal(write(fd, buf_view(&text).p, buf_length(&text)),
                         buf_length(&text));
        close(fd);
    } else {
        read_file(path, &golden);
        assert_string_equal(buf_cstr(&text), buf_cstr(&golden));
    }
    buf_fini(&text);
    buf_fini(&golden);
}

/* --- Wanted -------------------------------------------------------------- */

static const struct wanted_row {
    const char *name;
    const char *sender;
    unsigned notify;
    bool failure, delay, success;
} wanted_rows[] = {
    {"not given", "a@b.example", 0, true, true, false},
    {"never", "a@b.example", NOTIFY_NEVER, false, false, false},
    {"success", "a@b.example", NOTIFY_SUCCESS, false, false, true},
    {"failure", "a@b.example", NOTIFY_FAILURE, true, false, false},
    {"delay", "a@b.example", NOTIFY_DELAY, false, true, false},
    {"all", "a@b.example", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, true,
     true, true},
    {"null sender", "", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, false,
     false, false},
};

static void
check_wanted(void **state)
{
    const struct wanted_row *r = *state;
    const struct envelope_recipient to = {.notify = r->notify};
    const struct envelope envelope = {.sender = sv_of(r->sender)};

    assert_int_equal(dsn_wanted(&envelope, &to, DSN_FAILURE), r->failure);
    assert_int_equal(dsn_wanted(&envelope, &to, DSN_DELAY), r->delay);
    assert_int_equal(dsn_wanted(&envelope, &to, DSN_SUCCESS), r->success);
}

static const struct whole_row {
    const char *name;
    enum envelope_ret ret;
    enum dsn_kind kind;
    uint64_t length;
    bool eight_bit, utf8, whole;
    unsigned demands;
} whole_rows[] = {
    {"small", RET_UNSET, DSN_FAILURE, 100, false, false, true, 0},
    {"full", RET_FULL, DSN_FAILURE, 10240, false, false, true, 0},
    {"too large", RET_FULL, DSN_FAILURE, 10241, false, false, false, 0},
    {"headers", RET_HDRS, DSN_FAILURE, 100, false, false, false, 0},
    {"delay", RET_FULL, DSN_DELAY, 100, false, false, false, 0},
    {"success", RET_FULL, DSN_SUCCESS, 100, false, false, false, 0},
    {"8-bit body", RET_FULL, DSN_FAILURE, 100, true, false, false, 0},
    {"UTF-8 message", RET_FULL, DSN_FAILURE, 100, true, true, true, 0},
    {"REQUIRETLS", RET_FULL, DSN_FAILURE, 100, false, false, false,
     ENVELOPE_REQUIRETLS},
    {"TLS-Required: No", RET_FULL, DSN_FAILURE, 100, false, false, true,
     ENVELOPE_TLS_OPTIONAL},
};

static void
check_whole(void **state)
{
    const struct whole_row *r = *state;
    const struct envelope envelope = {.ret = r->ret,
                                      .eight_bit = r->eight_bit,
                                      .smtputf8 = r->utf8,
                                      .header_utf8 = r->utf8,
                                      .tls_demands = r->demands};

    assert_int_equal(dsn_wants_whole(&envelope, r->kind, r->length, 10240),
                     r->whole);
}

/* An internationalized message: RFC 6533 types, UTF-8 kept. */
static void
check_global(void **state)
{
    struct envelope_recipient to[2] = {base.recipients[0]};
    struct envelope envelope = base;
    struct buf text = {0};

    (void)state;
    envelope.smtputf8 = envelope.header_utf8 = true;
    envelope.recipients = to;
    to[0].address = SV("b\xc3\xb6"
                       "b@dst.example");
    make(&rows[1], &envelope, &text);
    assert_non_null(strstr(buf_cstr(&text), "message/global-delivery-status"));
    assert_non_null(strstr(buf_cstr(&text), "message/global-headers"));
    assert_non_null(strstr(buf_cstr(&text), "Final-Recipient: utf-8; b\xc3\xb6"
                                            "b@dst.example"));
    buf_fini(&text);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check_global)};
    int failed = 0;

    setenv("TZ", "UTC", 1);
    golden_dir = argc > 1 ? argv[1] : "test_dsn.golden";
    write_golden = argc > 2 && strcmp(argv[2], "write") == 0;
    failed += RUN_ROWS("golden", check_golden, rows);
    failed += RUN_ROWS("wanted", check_wanted, wanted_rows);
    failed += RUN_ROWS("whole", check_whole, whole_rows);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
