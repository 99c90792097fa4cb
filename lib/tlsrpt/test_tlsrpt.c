/* Records against the ABNF of RFC 8460 section 3; a report against the
 * structure of section 4 and appendix B; the mail of section 5.3. */
#include "tlsrpt/mail.h"
#include "tlsrpt/record.h"
#include "tlsrpt/report.h"

#include "unit.h"
#include <jansson.h>
#include <zlib.h>

/* --- Records -------------------------------------------------------------- */

static const struct record_row {
    const char *name, *text;
    const char *targets; /* "mail:ADDRESS https:URI"; NULL: refused */
    size_t ignored;
    const char *error; /* part of it */
} record_rows[] = {
    {"mail", "v=TLSRPTv1;rua=mailto:reports@example.com",
     "mail:reports@example.com", 0, NULL},
    {"https", "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt",
     "https:https://reporting.example.com/v1/tlsrpt", 0, NULL},
    {"both", "v=TLSRPTv1;rua=mailto:a@example.com,https://example.com/r",
     "mail:a@example.com https:https://example.com/r", 0, NULL},
    {"blanks around the comma",
     "v=TLSRPTv1;rua=mailto:a@example.com \t, \tmailto:b@example.com",
     "mail:a@example.com mail:b@example.com", 0, NULL},
    {"blanks around the semicolon",
     "v=TLSRPTv1 \t; \trua=mailto:a@example.com \t; ", "mail:a@example.com", 0,
     NULL},
    {"unknown fields",
     "v=TLSRPTv1;ext=1;rua=mailto:a@example.com;x_y-z.9=!#$%&'()*+,-./:<>?@",
     "mail:a@example.com", 0, NULL},
    {"rua twice", "v=TLSRPTv1;rua=mailto:a@b.example;rua=mailto:c@d.example",
     "mail:a@b.example mail:c@d.example", 0, NULL},
    {"percent-encoded", "v=TLSRPTv1;rua=mailto:a%2Cb%21c@example.com", NULL, 0,
     "is not an address"}, /* a comma needs quotes in a mailbox */
    {"percent-encoded, quoted", "v=TLSRPTv1;rua=mailto:%22a%2Cb%22@example.com",
     "mail:\"a,b\"@example.com", 0, NULL},
    {"percent-encoded exclamation", "v=TLSRPTv1;rua=mailto:a%21b@example.com",
     "mail:a!b@example.com", 0, NULL},
    {"header fields in mailto",
     "v=TLSRPTv1;rua=mailto:a@example.com?subject=hello", "mail:a@example.com",
     0, NULL},
    {"scheme in capitals", "v=TLSRPTv1;rua=MAILTO:a@example.com,HTTPS://b.c/",
     "mail:a@example.com https:HTTPS://b.c/", 0, NULL},
    {"other schemes are passed over",
     "v=TLSRPTv1;rua=http://example.com/,mailto:a@example.com",
     "mail:a@example.com", 1, NULL},
    {"nothing but other schemes", "v=TLSRPTv1;rua=ftp://example.com/", "", 1,
     NULL},
    {"no rua", "v=TLSRPTv1;ext=1", NULL, 0, "no rua"},
    {"nothing", "v=TLSRPTv1", NULL, 0, "no rua"},
    {"only a delimiter", "v=TLSRPTv1;", NULL, 0, "no rua"},
    {"empty rua", "v=TLSRPTv1;rua=", NULL, 0, "URI is missing"},
    {"empty in the list", "v=TLSRPTv1;rua=mailto:a@b.c,", NULL, 0,
     "URI is missing"},
    {"two commas", "v=TLSRPTv1;rua=mailto:a@b.c,,mailto:d@e.f", NULL, 0,
     "URI is missing"},
    {"exclamation in a URI", "v=TLSRPTv1;rua=mailto:a@b.c!10m", NULL, 0,
     "\";\" is missing before \"!10m\""},
    {"bytes that are no text", "v=TLSRPTv1;rua=mailto:a@b.c \xff\x1b[1m\xc3",
     NULL, 0, "\";\" is missing before \" ??[1m?\""},
    {"a blank in a URI", "v=TLSRPTv1;rua=mailto:a@b.c d", NULL, 0,
     "\";\" is missing"},
    {"trailing blanks without a delimiter", "v=TLSRPTv1;rua=mailto:a@b.c ",
     NULL, 0, "\";\" is missing"},
    {"two delimiters", "v=TLSRPTv1;;rua=mailto:a@b.c", NULL, 0, "name of"},
    {"two delimiters at the end", "v=TLSRPTv1;rua=mailto:a@b.c;;", NULL, 0,
     "name of"},
    {"blank before the equals sign", "v=TLSRPTv1;rua =mailto:a@b.c", NULL, 0,
     "no value"},
    {"blank behind the equals sign", "v=TLSRPTv1;rua= mailto:a@b.c", NULL, 0,
     "URI is missing"},
    {"version in small letters", "v=tlsrptv1;rua=mailto:a@b.c", NULL, 0,
     "begin"},
    {"V in capitals", "V=TLSRPTv1;rua=mailto:a@b.c", NULL, 0, "begin"},
    {"version 2", "v=TLSRPTv2;rua=mailto:a@b.c", NULL, 0, "begin"},
    {"version 10", "v=TLSRPTv10;rua=mailto:a@b.c", NULL, 0, "\";\" is missing"},
    {"RUA in capitals is another field", "v=TLSRPTv1;RUA=mailto:a@b.c", NULL, 0,
     "no rua"},
    {"blank in front", " v=TLSRPTv1;rua=mailto:a@b.c", NULL, 0, "begin"},
    {"field without a value", "v=TLSRPTv1;x=;rua=mailto:a@b.c", NULL, 0,
     "no value"},
    {"field with an equals sign", "v=TLSRPTv1;x=a=b;rua=mailto:a@b.c", NULL, 0,
     "\";\" is missing"},
    {"name of 33",
     "v=TLSRPTv1;a23456789012345678901234567890123=1;rua=mailto:a@b.c", NULL, 0,
     "name of"},
    {"name of 32",
     "v=TLSRPTv1;a2345678901234567890123456789012=1;rua=mailto:a@b.c",
     "mail:a@b.c", 0, NULL},
    {"name that begins with a hyphen", "v=TLSRPTv1;-a=1;rua=mailto:a@b.c", NULL,
     0, "name of"},
    {"mailto without a domain", "v=TLSRPTv1;rua=mailto:a", NULL, 0,
     "not an address"},
    {"mailto with nothing", "v=TLSRPTv1;rua=mailto:", NULL, 0,
     "not an address"},
    {"mailto with two", "v=TLSRPTv1;rua=mailto:a@b.c%2Cd@e.f", NULL, 0,
     "not an address"},
    {"line end smuggled in", "v=TLSRPTv1;rua=mailto:a%0d%0ab@c.d", NULL, 0,
     "not an address"},
    {"NUL smuggled in", "v=TLSRPTv1;rua=mailto:a%00@c.d", NULL, 0,
     "not an address"},
    {"mailbox that is not ASCII", "v=TLSRPTv1;rua=mailto:%C3%A4@b.c", NULL, 0,
     "not an address"},
    {"half an escape", "v=TLSRPTv1;rua=mailto:a%2@b.c", NULL, 0,
     "not an address"},
    {"escape at the end", "v=TLSRPTv1;rua=https://b.c/%4", NULL, 0,
     "not an address"},
    {"https without a host", "v=TLSRPTv1;rua=https:///path", NULL, 0,
     "not an address"},
    {"https with nothing", "v=TLSRPTv1;rua=https://", NULL, 0,
     "not an address"},
    {"https with nothing, and another", "v=TLSRPTv1;rua=https://,https://a/",
     NULL, 0, "not an address"},
    {"https with a user", "v=TLSRPTv1;rua=https://user:pw@b.c/", NULL, 0,
     "not an address"},
    {"empty", "", NULL, 0, "begin"},
};

static void
print_targets(const struct tlsrpt_record *record, struct buf *out)
{
    for (size_t i = 0; i < record->target_count; i++)
        buf_printf(out, "%s%s:%s", i == 0 ? "" : " ",
                   record->targets[i].scheme == TLSRPT_MAIL ? "mail" : "https",
                   record->targets[i].address);
}

static void
check_record(void **state)
{
    const struct record_row *row = *state;
    struct tlsrpt_record record;
    struct arena arena;
    struct buf targets = {0};
    struct err err = {0};
    bool ok;

    arena_init(&arena, 1024);
    ok = tlsrpt_record_parse(sv_of(row->text), &arena, &record, &err);
    assert_int_equal(ok, row->targets != NULL);
    if (ok) {
        print_targets(&record, &targets);
        assert_string_equal(buf_cstr(&targets), row->targets);
        assert_int_equal(record.ignored, row->ignored);
    } else if (strstr(err.text, row->error) == NULL)
        fail_msg("%s", err.text);
    buf_fini(&targets);
    arena_fini(&arena);
}

static void
too_many_are_ignored(void **state)
{
    struct tlsrpt_record record;
    struct arena arena;
    struct buf text = {0};
    struct err err = {0};

    (void)state;
    arena_init(&arena, 1024);
    buf_add_str(&text, "v=TLSRPTv1;rua=mailto:a@b.c");
    for (int i = 1; i < TLSRPT_TARGETS_MAX + 3; i++)
        buf_add_str(&text, ",mailto:a@b.c");
    assert_true(tlsrpt_record_parse(buf_view(&text), &arena, &record, &err));
    assert_int_equal(record.target_count, TLSRPT_TARGETS_MAX);
    assert_int_equal(record.ignored, 3);
    buf_fini(&text);
    arena_fini(&arena);
}

static const struct choose_row {
    const char *name;
    struct sv texts[3];
    size_t count;
    const char *error; /* NULL: one was found */
} choose_rows[] = {
    {"none", {SV_INIT("")}, 0, "no record"},
    {"one among others",
     {SV_INIT("v=spf1 -all"), SV_INIT("v=TLSRPTv1;rua=mailto:a@b.c"),
      SV_INIT("hello")},
     3,
     NULL},
    {"two",
     {SV_INIT("v=TLSRPTv1;rua=mailto:a@b.c"),
      SV_INIT("v=TLSRPTv1; rua=mailto:a@b.c")},
     2,
     "several"},
    {"another version does not count",
     {SV_INIT("v=TLSRPTv2;rua=mailto:x@b.c"),
      SV_INIT("v=TLSRPTv1;rua=mailto:a@b.c")},
     2,
     NULL},
    {"one that is wrong", {SV_INIT("v=TLSRPTv1;rua")}, 1, "no value"},
};

static void
check_choose(void **state)
{
    const struct choose_row *row = *state;
    struct tlsrpt_record record;
    struct arena arena;
    struct err err = {0};

    arena_init(&arena, 1024);
    assert_int_equal(
        tlsrpt_record_choose(row->texts, row->count, &arena, &record, &err),
        row->error == NULL);
    if (row->error != NULL)
        assert_non_null(strstr(err.text, row->error));
    arena_fini(&arena);
}

/* --- The report ----------------------------------------------------------- */

static struct tlsrpt_failure failures[] = {
    {.result = SV_INIT("certificate-expired"),
     .sending_ip = SV_INIT("2001:db8:abcd:0012::1"),
     .receiving_host = SV_INIT("mx1.mail.company-y.example"),
     .sessions = 100},
    {.result = SV_INIT("starttls-not-supported"),
     .sending_ip = SV_INIT("2001:db8:abcd:0013::1"),
     .receiving_host = SV_INIT("mx2.mail.company-y.example"),
     .receiving_ip = SV_INIT("203.0.113.56"),
     .sessions = 200},
    {.result = SV_INIT("validation-failure"),
     .sending_ip = SV_INIT("198.51.100.62"),
     .receiving_ip = SV_INIT("203.0.113.58"),
     .receiving_host = SV_INIT("mx-backup.mail.company-y.example"),
     .reason = SV_INIT("X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"),
     .sessions = 3},
};
static struct tlsrpt_policy policies[] = {
    {.type = SV_INIT("sts"),
     .text = SV_INIT("version: STSv1\nmode: testing\n"
                     "mx: *.mail.company-y.example\nmax_age: 86400\n"),
     .domain = SV_INIT("company-y.example"),
     .succeeded = 5326,
     .failed = 303,
     .failures = failures,
     .failure_count = COUNT_OF(failures)},
    {.type = SV_INIT("tlsa"),
     .text = SV_INIT("3 0 1 1F850A33\n3 1 1 AABB"),
     .domain = SV_INIT("company-y.example"),
     .succeeded = 1},
    {.type = SV_INIT("no-policy-found"),
     .domain = SV_INIT("company-y.example"),
     .succeeded = 2},
};
static const struct tlsrpt_report report = {
    .organization = SV_INIT("Company-X"),
    .contact = SV_INIT("sts-reporting@company-x.example"),
    .id = SV_INIT("5065427c-23d3-47ca-b6e0-946ea0e8c4be@company-x.example"),
    .domain = SV_INIT("company-y.example"),
    .starts_at = 1459468800, /* 2016-04-01 */
    .policies = policies,
    .policy_count = COUNT_OF(policies),
};

/* The report of RFC 8460 appendix B, and two policies more. */
static const char expected[] =
    "{\"organization-name\":\"Company-X\","
    "\"date-range\":{\"start-datetime\":\"2016-04-01T00:00:00Z\","
    "\"end-datetime\":\"2016-04-01T23:59:59Z\"},"
    "\"contact-info\":\"sts-reporting@company-x.example\","
    "\"report-id\":\"5065427c-23d3-47ca-b6e0-946ea0e8c4be@company-x.example\","
    "\"policies\":[{\"policy\":{\"policy-type\":\"sts\","
    "\"policy-string\":[\"version: STSv1\",\"mode: testing\","
    "\"mx: *.mail.company-y.example\",\"max_age: 86400\"],"
    "\"policy-domain\":\"company-y.example\","
    "\"mx-host\":[\"*.mail.company-y.example\"]},"
    "\"summary\":{\"total-successful-session-count\":5326,"
    "\"total-failure-session-count\":303},"
    "\"failure-details\":[{\"result-type\":\"certificate-expired\","
    "\"sending-mta-ip\":\"2001:db8:abcd:0012::1\","
    "\"receiving-mx-hostname\":\"mx1.mail.company-y.example\","
    "\"failed-session-count\":100},"
    "{\"result-type\":\"starttls-not-supported\","
    "\"sending-mta-ip\":\"2001:db8:abcd:0013::1\","
    "\"receiving-mx-hostname\":\"mx2.mail.company-y.example\","
    "\"receiving-ip\":\"203.0.113.56\",\"failed-session-count\":200},"
    "{\"result-type\":\"validation-failure\","
    "\"sending-mta-ip\":\"198.51.100.62\","
    "\"receiving-mx-hostname\":\"mx-backup.mail.company-y.example\","
    "\"receiving-ip\":\"203.0.113.58\",\"failed-session-count\":3,"
    "\"failure-reason-code\":\"X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED\"}]},"
    "{\"policy\":{\"policy-type\":\"tlsa\","
    "\"policy-string\":[\"3 0 1 1F850A33\",\"3 1 1 AABB\"],"
    "\"policy-domain\":\"company-y.example\"},"
    "\"summary\":{\"total-successful-session-count\":1,"
    "\"total-failure-session-count\":0}},"
    "{\"policy\":{\"policy-type\":\"no-policy-found\","
    "\"policy-domain\":\"company-y.example\"},"
    "\"summary\":{\"total-successful-session-count\":2,"
    "\"total-failure-session-count\":0}}]}";

static void
json_of_the_rfc(void **state)
{
    const struct tlsrpt_json_options compact = {0};
    struct buf out = {0};

    (void)state;
    tlsrpt_report_json(&report, &compact, &out);
    assert_string_equal(buf_cstr(&out), expected);
    buf_fini(&out);
}

/* What a peer said is not always UTF-8; the report always is. */
static void
strange_bytes(void **state)
{
    static struct tlsrpt_failure strange = {
        .result = SV_INIT("validation-failure"),
        .reason = SV_INIT("caf\xe9 \"quoted\"\r\n\x01"),
        .sessions = 1};
    struct tlsrpt_policy policy = {.type = SV("no-policy-found"),
                                   .domain = SV("a.example"),
                                   .failures = &strange,
                                   .failure_count = 1};
    struct tlsrpt_report odd = {.policies = &policy, .policy_count = 1};
    const struct tlsrpt_json_options indented = {.indented = true};
    struct buf out = {0};
    json_t *back;

    (void)state;
    tlsrpt_report_json(&odd, &indented, &out);
    back = json_loads(buf_cstr(&out), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(back);
    assert_non_null(strstr(buf_cstr(&out), "caf? \\\"quoted\\\"???"));
    json_decref(back);
    buf_fini(&out);
}

static void
file_names(void **state)
{
    struct buf out = {0};

    (void)state;
    tlsrpt_file_name(&report, SV("company-x.example"), SV("0af3"), &out);
    assert_string_equal(buf_cstr(&out),
                        "company-x.example!company-y.example!1459468800!"
                        "1459555199!0af3.json.gz");
    buf_fini(&out);
}

static void
gunzip(struct sv bytes, char *out, size_t size)
{
    z_stream stream = {0};

    stream.next_in = (Bytef *)(uintptr_t)bytes.p;
    stream.avail_in = (uInt)bytes.n;
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)size - 1;
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    out[stream.total_out] = '\0';
    inflateEnd(&stream);
}

static void
compressed(void **state)
{
    struct buf out = {0};
    char again[sizeof expected + 1];

    (void)state;
    tlsrpt_gzip(sv_of(expected), &out);
    assert_true(buf_length(&out) < sizeof expected / 2);
    gunzip(buf_view(&out), again, sizeof again);
    assert_string_equal(again, expected);
    buf_fini(&out);
}

/* --- The mail ------------------------------------------------------------- */

static void
mail_of_the_rfc(void **state)
{
    static const char *const lines[] = {
        "From: tlsrpt@company-x.example\r\n",
        "To: reports@company-y.example\r\n",
        "TLS-Report-Domain: company-y.example\r\n",
        "TLS-Report-Submitter: company-x.example\r\n",
        "TLS-Required: No\r\n",
        "Content-Type: multipart/report; report-type=\"tlsrpt\";",
        "Content-Type: application/tlsrpt+gzip\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "\tfilename=\"a!b!1!2!3.json.gz\"\r\n",
        "\r\n\r\nAAEC/w==\r\n--=_abc--\r\n",
    };
    const struct tlsrpt_mail mail = {
        .from = SV("tlsrpt@company-x.example"),
        .to = SV("reports@company-y.example"),
        .submitter = SV("company-x.example"),
        .domain = SV("company-y.example"),
        .report_id = SV("1@company-x.example"),
        .unique = SV("abc"),
        .day = "2016-04-01",
        .file_name = SV("a!b!1!2!3.json.gz"),
        .gzip = SV("\x00\x01\x02\xff"),
        .wall_s = 1459555200,
    };
    struct buf out = {0};

    (void)state;
    tlsrpt_mail_write(&mail, &out);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (strstr(buf_cstr(&out), lines[i]) == NULL)
            fail_msg("no %s in:\n%s", lines[i], buf_cstr(&out));
    /* tlsrpt-subject, folded where there are blanks */
    assert_non_null(strstr(buf_cstr(&out),
                           "Subject: Report Domain: company-y.example "
                           "Submitter: company-x.example\r\n"
                           " Report-ID: <1@company-x.example>\r\n"));
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_are_ignored),
        cmocka_unit_test(json_of_the_rfc),
        cmocka_unit_test(strange_bytes),
        cmocka_unit_test(file_names),
        cmocka_unit_test(compressed),
        cmocka_unit_test(mail_of_the_rfc),
    };

    return RUN_ROWS("records", check_record, record_rows) +
           RUN_ROWS("choice", check_choose, choose_rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
