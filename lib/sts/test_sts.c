/* Records, policies and patterns: the examples of RFC 8461, its grammar, and
 * the inputs on which senders disagree. */
#include "sts/sts.h"
#include "unit.h"

/* --- Records ------------------------------------------------------------ */

static const struct record_row {
    const char *name;
    const char *texts[4];
    enum sts_record_verdict verdict;
    const char *id, *reason; /* stands in it */
} record_rows[] = {
    {"RFC 8461 section 3.1",
     {"v=STSv1; id=20160831085700Z;"},
     STS_RECORD_OK,
     "20160831085700Z",
     ""},
    {"no semicolon at the end", {"v=STSv1; id=1"}, STS_RECORD_OK, "1", ""},
    {"no blanks", {"v=STSv1;id=1;"}, STS_RECORD_OK, "1", ""},
    {"many blanks", {"v=STSv1;\t id=1 \t;  "}, STS_RECORD_OK, "1", ""},
    {"extension", {"v=STSv1; id=1; a_b-c.d=x:y!;"}, STS_RECORD_OK, "1", ""},
    {"extension in front", {"v=STSv1; foo=bar; id=1"}, STS_RECORD_OK, "1", ""},
    {"id of 32",
     {"v=STSv1; id=abcdefghijklmnopqrstuvwxyz012345"},
     STS_RECORD_OK,
     "abcdefghijklmnopqrstuvwxyz012345",
     ""},
    {"blanks before the first semicolon",
     {"v=STSv1 ; id=a"},
     STS_RECORD_OK,
     "a",
     "some senders ignore"},
    {"the same beside a good one",
     {"v=STSv1 ; id=a", "v=STSv1; id=b"},
     STS_RECORD_OK,
     "b",
     ""},
    {"the same behind a good one",
     {"v=STSv1; id=b", "v=STSv1 ; id=a"},
     STS_RECORD_OK,
     "b",
     ""},
    {"the same twice",
     {"v=STSv1 ; id=b", "v=STSv1 ; id=a"},
     STS_RECORD_NONE,
     "",
     "2 records"},
    {"among others",
     {"v=spf1 -all", "v=STSv1; id=1;", "v=STSv10; id=2", "hello"},
     STS_RECORD_OK,
     "1",
     ""},
    {"several ids", {"v=STSv1; id=1; id=2"}, STS_RECORD_OK, "1", "several ids"},
    {"nothing", {NULL}, STS_RECORD_NONE, "", ""},
    {"empty", {""}, STS_RECORD_NONE, "", "no TXT record begins with"},
    {"two",
     {"v=STSv1; id=1;", "v=STSv1; id=1;"},
     STS_RECORD_NONE,
     "",
     "2 records begin"},
    {"one of two is invalid",
     {"v=STSv1; id=1;", "v=STSv1; nonsense"},
     STS_RECORD_NONE,
     "",
     "2 records begin"},
    {"version only", {"v=STSv1"}, STS_RECORD_NONE, "", "begins with"},
    {"other version", {"v=STSv2; id=1"}, STS_RECORD_NONE, "", "begins with"},
    {"version in small letters", {"v=stsv1; id=1"}, STS_RECORD_NONE, "", ""},
    {"blank in front", {" v=STSv1; id=1"}, STS_RECORD_NONE, "", ""},
    {"quoted", {"\"v=STSv1; id=1\""}, STS_RECORD_NONE, "", ""},
    {"no id", {"v=STSv1;"}, STS_RECORD_INVALID, "", "there is no id"},
    {"extension only", {"v=STSv1; a=b;"}, STS_RECORD_INVALID, "", "no id"},
    {"empty id", {"v=STSv1; id=;"}, STS_RECORD_INVALID, "", "the id is not"},
    {"id of 33",
     {"v=STSv1; id=abcdefghijklmnopqrstuvwxyz0123456"},
     STS_RECORD_INVALID,
     "",
     "the id is not 1 to 32"},
    {"id with a hyphen",
     {"v=STSv1; id=2016-08;"},
     STS_RECORD_INVALID,
     "",
     "letters and digits"},
    {"good id behind a bad one",
     {"v=STSv1; id=a-b; id=c"},
     STS_RECORD_INVALID,
     "",
     "letters and digits"},
    {"two semicolons",
     {"v=STSv1; id=a;;"},
     STS_RECORD_INVALID,
     "",
     "name=value"},
    {"blank at the end", {"v=STSv1; id=a "}, STS_RECORD_INVALID, "", "blank"},
    {"blank around =", {"v=STSv1; id = a"}, STS_RECORD_INVALID, "", ""},
    {"comma", {"v=STSv1; id=a, b=c"}, STS_RECORD_INVALID, "", ""},
    {"extension without value",
     {"v=STSv1; id=a; b="},
     STS_RECORD_INVALID,
     "",
     "has no value"},
    {"extension with =", {"v=STSv1; id=a; b=c=d"}, STS_RECORD_INVALID, "", ""},
    {"name begins with a hyphen",
     {"v=STSv1; id=a; -b=c"},
     STS_RECORD_INVALID,
     "",
     "name=value"},
    {"name of 33",
     {"v=STSv1; id=a; abcdefghijklmnopqrstuvwxyz0123456=b"},
     STS_RECORD_INVALID,
     "",
     "name=value"},
    {"byte above ASCII",
     {"v=STSv1; id=a; b=\xc3\xa4"},
     STS_RECORD_INVALID,
     "",
     ""},
    {"newline", {"v=STSv1; id=a;\n"}, STS_RECORD_INVALID, "", ""},
};

static void
test_record(void **state)
{
    const struct record_row *row = *state;
    struct sts_record record;
    struct sv texts[4];
    size_t count = 0;

    while (count < 4 && row->texts[count] != NULL) {
        texts[count] = sv_of(row->texts[count]);
        count++;
    }
    assert_string_equal(
        sts_record_verdict_name(sts_record_parse(texts, count, &record)),
        sts_record_verdict_name(row->verdict));
    assert_string_equal(record.id, row->id);
    if (strstr(record.reason, row->reason) == NULL ||
        (row->reason[0] == '\0' && row->verdict == STS_RECORD_OK &&
         record.reason[0] != '\0'))
        fail_msg("%s", record.reason);
}

/* --- Policies ----------------------------------------------------------- */

#define HEAD "version: STSv1\nmode: enforce\n"
#define TAIL "mx: a.test\nmax_age: 86400\n"

static const struct policy_row {
    const char *name, *text;
    const char *printed; /* its lines with ", " between; NULL: refused */
    const char *reason;  /* stands in it; "" for good ones: none */
} policy_rows[] = {
    {"RFC 8461 section 3.2",
     "version: STSv1\nmode: enforce\nmx: mail.example.com\n"
     "mx: *.example.net\nmx: backupmx.example.com\nmax_age: 604800\n",
     "version: STSv1, mode: enforce, mx: mail.example.com, mx: *.example.net, "
     "mx: backupmx.example.com, max_age: 604800",
     ""},
    {"RFC 8461 appendix A",
     "version: STSv1\r\nmode: testing\r\nmx: mx1.example.com\r\n"
     "mx: mx2.example.com\r\nmx: mx.backup-example.com\r\nmax_age: 1296000\r\n",
     "version: STSv1, mode: testing, mx: mx1.example.com, mx: mx2.example.com, "
     "mx: mx.backup-example.com, max_age: 1296000",
     ""},
    {"RFC 8461 section 8.3", "version: STSv1\nmode: none\nmax_age: 86400\n",
     "version: STSv1, mode: none, max_age: 86400", ""},
    {"no newline at the end", HEAD "mx: a.test\nmax_age: 1",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 1", ""},
    {"both kinds of newline", "version: STSv1\r\nmode: enforce\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400", ""},
    {"any order", "max_age: 5\nmx: a.test\nmode: testing\nversion: STSv1\n",
     "version: STSv1, mode: testing, mx: a.test, max_age: 5", ""},
    {"no blank behind the colon",
     "version:STSv1\nmode:enforce\nmx:a.test\nmax_age:1\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 1", ""},
    {"blanks around values",
     "version: \t STSv1 \nmode:  enforce\t\nmx: a.test  \nmax_age: 1 \n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 1", ""},
    {"extension", HEAD "x-y.z_1: a: b \xc3\xa4\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400", ""},
    {"names know case", HEAD "Mode: none\nMX: b.test\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400", ""},
    {"capitals in mx", HEAD "mx: Mail.Example.COM\nmax_age: 1",
     "version: STSv1, mode: enforce, mx: mail.example.com, max_age: 1", ""},
    {"blank lines at the end", HEAD TAIL "\n \r\n\t\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400", ""},
    {"blank line within", HEAD "\n" TAIL, NULL, "line 3: it is blank"},
    {"blank line in front", "\n" HEAD TAIL, NULL, "line 1: it is blank"},
    {"none with mx", "version: STSv1\nmode: none\n" TAIL,
     "version: STSv1, mode: none, mx: a.test, max_age: 86400", ""},
    {"second mode", HEAD "mode: none\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "line 3: a second mode is ignored"},
    {"second mode is nonsense", HEAD "mode: foo\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "a second mode"},
    {"second max_age", HEAD TAIL "max_age: 5\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "line 5: a second max_age"},
    {"second version", HEAD TAIL "version: STSv1\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "a second version"},
    {"max_age of 0", HEAD "mx: a.test\nmax_age: 0\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 0", ""},
    {"longest max_age", HEAD "mx: a.test\nmax_age: 31557600\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 31557600", ""},
    {"longer max_age", HEAD "mx: a.test\nmax_age: 31557601\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 31557600",
     "line 4: max_age is above 31557600"},
    {"max_age of 10 digits", HEAD "mx: a.test\nmax_age: 9999999999\n",
     "version: STSv1, mode: enforce, mx: a.test, max_age: 31557600", "above"},
    {"max_age of 11 digits", HEAD "mx: a.test\nmax_age: 00000086400\n", NULL,
     "line 4: max_age is not a number of 1 to 10 digits"},
    {"negative max_age", HEAD "mx: a.test\nmax_age: -1\n", NULL, "max_age"},
    {"max_age with a unit", HEAD "mx: a.test\nmax_age: 1d\n", NULL, "max_age"},
    {"U-label", HEAD "mx: m\xc3\xbcller.test\nmax_age: 1\n",
     "version: STSv1, mode: enforce, mx: xn--mller-kva.test, max_age: 1",
     "line 3: an mx should be written in ASCII: xn--mller-kva.test"},
    {"address", HEAD "mx: 192.0.2.1\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "line 3: \"192.0.2.1\" is an address"},
    {"address in brackets", HEAD "mx: [192.0.2.1]\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "is an address"},
    {"address of IPv6", HEAD "mx: 2001:db8::1\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "is an address"},
    {"address only", HEAD "mx: 192.0.2.1\nmax_age: 1\n", NULL, "is an address"},
    {"star within", HEAD "mx: mx.*.a.test\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "is not a host name; ignored"},
    {"part of a label", HEAD "mx: mx*.a.test\n" TAIL,
     "version: STSv1, mode: enforce, mx: a.test, max_age: 86400",
     "is not a host name; ignored"},
    {"two stars", HEAD "mx: *.*.a.test\nmax_age: 1\n", NULL,
     "is not a host name"},
    {"star alone", HEAD "mx: *\nmax_age: 1\n", NULL, "is not a host name"},
    {"dot in front", HEAD "mx: .a.test\nmax_age: 1\n", NULL,
     "is not a host name"},
    {"dot at the end", HEAD "mx: a.test.\nmax_age: 1\n", NULL,
     "ends with a dot"},
    {"list of mx", HEAD "mx: a.test, b.test\nmax_age: 1\n", NULL,
     "is not a host name"},
    {"no mx", HEAD "max_age: 1\n", NULL, "there is no mx"},
    {"no mode", "version: STSv1\n" TAIL, NULL, "there is no mode"},
    {"no version", "mode: enforce\n" TAIL, NULL, "there is no version"},
    {"no max_age", HEAD "mx: a.test\n", NULL, "there is no max_age"},
    {"other version", "version: STSv2\nmode: enforce\n" TAIL, NULL,
     "line 1: the version is not STSv1"},
    {"other mode", "version: STSv1\nmode: report\n" TAIL, NULL,
     "line 2: the mode is not"},
    {"mode in capitals", "version: STSv1\nmode: Enforce\n" TAIL, NULL,
     "line 2: the mode is not"},
    {"empty", "", NULL, "there is no version"},
    {"blank", "\n\n", NULL, "there is no version"},
    {"html", "<!DOCTYPE html>\n<html>", NULL, "line 1: it is not of the form"},
    {"JSON", "{\"version\": \"STSv1\"}", NULL, "line 1: it is not of the form"},
    {"byte order mark", "\xef\xbb\xbf" HEAD TAIL, NULL, "line 1"},
    {"blank in front of a name", " version: STSv1\nmode: enforce\n" TAIL, NULL,
     "line 1"},
    {"blank in front of the colon", "version : STSv1\nmode: enforce\n" TAIL,
     NULL, "line 1"},
    {"empty value", HEAD "x:\n" TAIL, NULL, "line 3: the value of x"},
    {"carriage returns only",
     "version: STSv1\rmode: enforce\rmx: a.test\rmax_age: 1\r", NULL, "line 1"},
    {"control character", HEAD "x: a\x01z\n" TAIL, NULL, "line 3"},
    {"no UTF-8", HEAD "x: a\xff\n" TAIL, NULL, "line 3"},
    {"name of 33", HEAD "abcdefghijklmnopqrstuvwxyz0123456: x\n" TAIL, NULL,
     "line 3"},
};

static void
print_lines(const struct sts_policy *policy, struct buf *out)
{
    struct buf lines = {0};
    struct sv rest;

    sts_policy_print(policy, &lines);
    rest = buf_view(&lines);
    while (rest.n > 0) {
        buf_add(out, sv_take_until(&rest, '\n'));
        if (rest.n > 0)
            buf_add_str(out, ", ");
    }
    buf_fini(&lines);
}

static void
test_policy(void **state)
{
    const struct policy_row *row = *state;
    char reason[160];
    struct sts_policy *policy = sts_policy_parse(sv_of(row->text), reason);
    struct buf printed = {0};

    if (strstr(reason, row->reason) == NULL ||
        (row->reason[0] == '\0' && reason[0] != '\0'))
        fail_msg("%s", reason);
    assert_int_equal(policy != NULL, row->printed != NULL);
    if (policy == NULL)
        return;
    print_lines(policy, &printed);
    assert_string_equal(buf_cstr(&printed), row->printed);
    buf_fini(&printed);
    sts_policy_unref(policy);
}

static void
add_many(struct buf *text, size_t mx, size_t filler)
{
    buf_add_str(text, HEAD "max_age: 1\n");
    for (size_t i = 0; i < mx; i++)
        buf_printf(text, "mx: h%zu.test\n", i);
    buf_add_str(text, "x: ");
    while (filler-- > 0)
        buf_add_char(text, 'a');
}

static void
test_limits(void **state)
{
    static const struct {
        size_t mx, filler;
        bool good;
    } cases[] = {
        {STS_PATTERNS_MAX, 1, true},
        {STS_PATTERNS_MAX + 1, 1, false},
        {1, STS_POLICY_BYTES - 100, true},
        {1, STS_POLICY_BYTES, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf text = {0};
        char reason[160];
        struct sts_policy *policy;

        add_many(&text, cases[i].mx, cases[i].filler);
        policy = sts_policy_parse(buf_view(&text), reason);
        assert_int_equal(policy != NULL, cases[i].good);
        if (policy != NULL) {
            assert_int_equal(policy->pattern_count, cases[i].mx);
            sts_policy_unref(sts_policy_ref(policy));
        }
        sts_policy_unref(policy);
        buf_fini(&text);
    }
}

/* A zero byte is no end of anything. */
static void
test_zero_byte(void **state)
{
    static const char text[] = HEAD "x: a\0b\n" TAIL;
    char reason[160];

    (void)state;
    assert_null(sts_policy_parse((struct sv){text, sizeof text - 1}, reason));
    assert_non_null(strstr(reason, "line 3"));
}

/* --- Patterns ----------------------------------------------------------- */

static const struct match_row {
    const char *name, *pattern, *host;
    bool matches;
} match_rows[] = {
    {"same", "mail.example.com", "mail.example.com", true},
    {"other", "mail.example.com", "mx.example.com", false},
    {"below", "example.com", "mail.example.com", false},
    {"above", "mail.example.com", "example.com", false},
    {"star, one label", "*.example.com", "mail.example.com", true},
    {"star, no label", "*.example.com", "example.com", false},
    {"star, two labels", "*.example.com", "a.b.example.com", false},
    {"star, other domain", "*.example.com", "mail.example.net", false},
    {"star, end of a label", "*.example.com", "mail.anexample.com", false},
    {"star, no dot", "*.example.com", "localhost", false},
    {"star, nothing in front", "*.example.com", ".example.com", false},
    {"star over one label", "*.test", "a.test", true},
    {"empty host", "*.example.com", "", false},
    {"star as a host", "*.example.com", "*.example.com", true},
    {"A-label", "*.xn--mller-kva.test", "mx.xn--mller-kva.test", true},
};

static void
test_match(void **state)
{
    const struct match_row *row = *state;

    assert_int_equal(sts_pattern_matches(row->pattern, row->host),
                     row->matches);
}

static void
test_lists(void **state)
{
    char reason[160];
    struct sts_policy *policy = sts_policy_parse(
        SV(HEAD "mx: a.test\nmx: *.b.test\nmax_age: 1\n"), reason);

    (void)state;
    assert_non_null(policy);
    assert_true(sts_policy_lists(policy, "a.test"));
    assert_true(sts_policy_lists(policy, "mx.b.test"));
    assert_false(sts_policy_lists(policy, "b.test"));
    assert_false(sts_policy_lists(policy, "mx.a.test"));
    sts_policy_unref(policy);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_zero_byte),
        cmocka_unit_test(test_lists),
    };

    return RUN_ROWS("records", test_record, record_rows) +
           RUN_ROWS("policies", test_policy, policy_rows) +
           RUN_ROWS("patterns", test_match, match_rows) +
           cmocka_run_group_tests_name("sts", tests, NULL, NULL);
}
