#include "mail/header.h"
#include "unit.h"

/* fields: "name|value" of each, joined by newlines. */
static const struct row {
    const char *name, *in, *fields;
    size_t length, received;
} rows[] = {
    {"two fields", "A: 1\r\nB:2\r\n\r\nbody: no\r\n", "A| 1\nB|2\n", 13, 0},
    {"folded", "A: 1\r\n 2\r\n\t3\r\nB: x\r\n\r\n", "A| 1\r\n 2\r\n\t3\nB| x\n",
     22, 0},
    {"no empty line", "A: 1\r\n", "A| 1\n", 6, 0},
    {"no line end", "A: 1", "A| 1\n", 4, 0},
    {"no header", "\r\nA: 1\r\n", "", 2, 0},
    {"nothing", "", "", 0, 0},
    {"malformed line", "A: 1\r\nnonsense\r\nB: 2\r\n\r\n", "A| 1\nB| 2\n", 24,
     0},
    {"continuation of nothing", " x: y\r\nA: 1\r\n\r\n", "A| 1\n", 15, 0},
    {"continuation of a malformed line", "no\r\n x: y\r\nA: 1\r\n\r\n",
     "A| 1\n", 19, 0},
    {"blank before the colon", "A \t: 1\r\n\r\n", "A| 1\n", 10, 0},
    {"blank within the name", "A B: 1\r\n\r\n", "", 10, 0},
    {"empty name", ": 1\r\n\r\n", "", 7, 0},
    {"empty value", "A:\r\n\r\n", "A|\n", 6, 0},
    {"8-bit name", "\xc3\xbc: 1\r\n\r\n", "", 9, 0},
    {"envelope line", "From x Mon\r\nA: 1\r\n\r\n", "A| 1\n", 20, 0},
    {"line of blanks is no end", "A: 1\r\n  \r\nB: 2\r\n\r\n",
     "A| 1\r\n  \nB| 2\n", 18, 0},
    {"received", "Received: a\r\n b\r\nRECEIVED:c\r\nX-Received: d\r\n\r\n",
     "Received| a\r\n b\nRECEIVED|c\nX-Received| d\n", 46, 2},
    {"received with blanks", "Received    \t     : a\r\n\r\n", "Received| a\n",
     25, 1},
    {"almost received", "Received-SPF: a\r\nReceive: b\r\nRe ceived: c\r\n\r\n",
     "Received-SPF| a\nReceive| b\n", 45, 0},
    {"received in a continuation", "A: x\r\n Received: a\r\n\r\n",
     "A| x\r\n Received: a\n", 22, 0},
    {"received in the body", "A: x\r\n\r\nReceived: a\r\n", "A| x\n", 8, 0},
};

static void
check_fields(const struct row *r)
{
    struct sv in = sv_of(r->in);
    struct mail_field field;
    struct buf seen = {0};

    while (mail_field_next(&in, &field)) {
        buf_add(&seen, field.name);
        buf_add_char(&seen, '|');
        buf_add(&seen, field.value);
        buf_add_char(&seen, '\n');
    }
    assert_sv(buf_view(&seen), r->fields);
    assert_int_equal(strlen(r->in) - in.n, r->length);
    assert_int_equal(mail_header_length(sv_of(r->in)), r->length);
    buf_fini(&seen);
}

static void
check_counter(const struct row *r)
{
    struct sv in = sv_of(r->in);

    for (size_t step = 1; step <= in.n + 1; step++) {
        struct mail_counter counter;

        mail_counter_init(&counter);
        for (size_t at = 0; at < in.n; at += step)
            mail_counter_feed(&counter, sv_slice(in, at, step));
        assert_int_equal(counter.received, r->received);
        assert_int_equal(counter.header_bytes, r->length);
    }
}

static void
check(void **state)
{
    check_fields(*state);
    check_counter(*state);
}

static void
test_eight_bit(void **state UNUSED)
{
    struct mail_counter counter;

    mail_counter_init(&counter);
    mail_counter_feed(&counter, SV("A: b\r\n\r\nplain"));
    assert_false(counter.eight_bit);
    assert_false(counter.in_header);
    mail_counter_feed(&counter, SV("\xff"));
    assert_true(counter.eight_bit);
    assert_false(counter.header_utf8);

    mail_counter_init(&counter);
    mail_counter_feed(&counter, SV("A: \xc3\xbc"));
    assert_true(counter.eight_bit && counter.header_utf8 && counter.in_header);
}

static void
test_unfold(void **state UNUSED)
{
    struct buf out = {0};

    mail_unfold(SV(" a\r\n b\r\n\tc \r\n "), &out);
    assert_sv(buf_view(&out), "a b\tc");
    buf_reset(&out);
    mail_unfold(SV("\r\n "), &out);
    assert_sv(buf_view(&out), "");
    buf_fini(&out);
}

#define W30 "123456789012345678901234567890"

static const struct write_row {
    const char *name, *in, *out;
} write_rows[] = {
    {"short", "hello world", "X: hello world\r\n"},
    {"blanks at the ends", "  a  ", "X: a\r\n"},
    {"folded", W30 " " W30 " " W30, "X: " W30 " " W30 "\r\n " W30 "\r\n"},
    {"injected field", "a\r\nBcc: victim", "X: a??Bcc: victim\r\n"},
    {"injected end", "a\r\n\r\nbody", "X: a????body\r\n"},
    {"controls",
     "a\x1b\x7f"
     "b",
     "X: a??b\r\n"},
    {"empty", "", "X:\r\n"},
    {"utf-8", "\xc3\xbc", "X: \xc3\xbc\r\n"},
};

static void
check_write(void **state)
{
    const struct write_row *r = *state;
    struct buf out = {0};

    mail_field_write(&out, "X", sv_of(r->in));
    assert_sv(buf_view(&out), r->out);
    buf_fini(&out);
}

/* Whatever the value, it comes back as one field with lines within bounds. */
static void
test_write_long(void **state UNUSED)
{
    struct buf value = {0}, out = {0};
    struct mail_field field;
    struct sv in, rest;

    for (int i = 0; i < 3000; i++)
        buf_add_str(&value, i % 1500 == 1499 ? " " : "\xc3\xbc");
    mail_field_write(&out, "Subject", buf_view(&value));
    rest = buf_view(&out);
    while (rest.n > 0) {
        struct sv line = sv_take_until(&rest, '\n');

        assert_true(line.n <= 999); /* with the CR */
        assert_true(((unsigned char)line.p[1] & 0xc0) != 0x80);
    }
    in = buf_view(&out);
    assert_true(mail_field_next(&in, &field));
    assert_int_equal(in.n, 0);
    buf_fini(&value);
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eight_bit),
        cmocka_unit_test(test_unfold),
        cmocka_unit_test(test_write_long),
    };

    return RUN_ROWS("mail_field", check, rows) +
           RUN_ROWS("mail_field_write", check_write, write_rows) +
           cmocka_run_group_tests_name("mail_header", tests, NULL, NULL);
}
