#include "mail/header.h"
#include "mail/tls_required.h"
#include "unit.h"

/* Header sections; `no`: the message may go without TLS. */
static const struct row {
    const char *name, *in;
    bool no;
} rows[] = {
    {"plain", "TLS-Required: No\r\n\r\n", true},
    {"any case", "tls-required: nO\r\n\r\n", true},
    {"no blank", "TLS-Required:No\r\n\r\n", true},
    {"blanks around", "TLS-Required: \t No \t \r\n\r\n", true},
    {"blank before the colon", "TLS-Required : No\r\n\r\n", true},
    {"tab before the colon", "TLS-Required\t : No\r\n\r\n", true},
    {"no body", "TLS-Required: No\r\n", true},
    {"no end", "TLS-Required: No", true},
    {"folded before", "TLS-Required:\r\n No\r\n\r\n", true},
    {"folded behind", "TLS-Required: No\r\n \r\n\r\n", true},
    {"among others", "From: a@b\r\nTLS-Required: No\r\nTo: c@d\r\n\r\n", true},
    {"comment before", "TLS-Required: (why not) No\r\n\r\n", true},
    {"comment behind", "TLS-Required: No(x)\r\n\r\n", true},
    {"comment nested", "TLS-Required: (a(b)c) No (d)\r\n\r\n", true},
    {"comment with quoted paren", "TLS-Required: (\\)) No\r\n\r\n", true},
    {"comment folded", "TLS-Required: (a\r\n b) No\r\n\r\n", true},
    {"comment not closed", "TLS-Required: No (a\r\n\r\n", false},
    {"comment closed twice", "TLS-Required: (a)) No\r\n\r\n", false},
    {"comment within the word", "TLS-Required: N(a)o\r\n\r\n", false},
    {"blank within the word", "TLS-Required: N o\r\n\r\n", false},
    {"folded within the word", "TLS-Required: N\r\n o\r\n\r\n", false},
    {"yes", "TLS-Required: Yes\r\n\r\n", false},
    {"empty", "TLS-Required:\r\n\r\n", false},
    {"only a comment", "TLS-Required: (No)\r\n\r\n", false},
    {"longer word", "TLS-Required: None\r\n\r\n", false},
    {"two words", "TLS-Required: No No\r\n\r\n", false},
    {"quoted", "TLS-Required: \"No\"\r\n\r\n", false},
    {"a parameter", "TLS-Required: No; x=y\r\n\r\n", false},
    {"another field", "X-TLS-Required: No\r\n\r\n", false},
    {"longer name", "TLS-RequiredX: No\r\n\r\n", false},
    {"shorter name", "TLS-Require: No\r\n\r\n", false},
    {"name in two", "TLS- Required: No\r\n\r\n", false},
    {"twice", "TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false},
    {"two values", "TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n", false},
    {"second is No", "TLS-Required: Yes\r\nTLS-Required: No\r\n\r\n", false},
    {"in a folded line", "Subject: a\r\n TLS-Required: No\r\n\r\n", false},
    {"in the body", "Subject: a\r\n\r\nTLS-Required: No\r\n", false},
    {"in the body only", "\r\nTLS-Required: No\r\n", false},
    {"behind a body line", "A: b\r\n\r\nTLS-Required: No\r\n\r\n", false},
    {"line that goes on after another field",
     "TLS-Required: No\r\nA: b\r\n Yes\r\n\r\n", true},
    {"line that goes on", "TLS-Required: No\r\n Yes\r\n\r\n", false},
    {"no field at all", "", false},
};

static void
check(void **state)
{
    const struct row *r = *state;
    struct sv in = sv_of(r->in);

    for (size_t step = 1; step <= in.n + 1; step++) {
        struct mail_counter counter;

        mail_counter_init(&counter);
        for (size_t at = 0; at < in.n; at += step)
            mail_counter_feed(&counter, sv_slice(in, at, step));
        assert_int_equal(mail_counter_tls_optional(&counter), r->no);
        assert_int_equal(counter.header_bytes, mail_header_length(in));
    }
}

/* Comments beyond any sense do not wrap around. */
static void
test_deep(void **state UNUSED)
{
    struct tls_required_value value = {0};

    for (int i = 0; i < 65536; i++)
        tls_required_feed(&value, SV("("));
    for (int i = 0; i < 65536; i++)
        tls_required_feed(&value, SV(")"));
    tls_required_feed(&value, SV("No"));
    assert_false(tls_required_is_no(&value));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deep)};

    return RUN_ROWS("tls_required", check, rows) +
           cmocka_run_group_tests_name("tls_required_value", tests, NULL, NULL);
}
