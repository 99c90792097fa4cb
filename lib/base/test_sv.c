#include "unit.h"

static const struct number_row {
    const char *name, *in;
    bool ok;
    uint64_t value;
} number_rows[] = {
    {"zero", "0", true, 0},
    {"leading zeros", "0007", true, 7},
    {"largest", "18446744073709551615", true, UINT64_MAX},
    {"one too large", "18446744073709551616", false, 0},
    {"overflow in the multiplication", "99999999999999999999", false, 0},
    {"empty", "", false, 0},
    {"sign", "+1", false, 0},
    {"minus", "-1", false, 0},
    {"blank", " 1", false, 0},
    {"trailing letter", "12a", false, 0},
};

static void
check_number(void **state)
{
    const struct number_row *r = *state;
    uint64_t value = 0;

    assert_int_equal(sv_to_u64(sv_of(r->in), &value), r->ok);
    assert_true(value == r->value);
}

static void
test_u32_bounds(void **state UNUSED)
{
    uint32_t value = 0;

    assert_true(sv_to_u32(SV("4294967295"), &value));
    assert_int_equal(value, UINT32_MAX);
    assert_false(sv_to_u32(SV("4294967296"), &value));
}

static const struct trim_row {
    const char *name, *in, *out;
} trim_rows[] = {
    {"both ends", " \t a b\t ", "a b"}, {"nothing to do", "ab", "ab"},
    {"only blanks", " \t ", ""},        {"empty", "", ""},
    {"newline stays", "a\n", "a\n"},
};

static void
check_trim(void **state)
{
    const struct trim_row *r = *state;

    assert_sv(sv_trim(sv_of(r->in)), r->out);
}

static const struct compare_row {
    const char *name, *a, *b;
    int order;
    bool nocase;
} compare_rows[] = {
    {"equal", "abc", "abc", 0, true},
    {"prefix is smaller", "ab", "abc", -1, false},
    {"longer is larger", "abc", "ab", 1, false},
    {"case differs", "ABC", "abc", -1, true},
    {"bytes are unsigned", "\x7f", "\x80", -1, false},
    {"no folding of 8-bit", "\xc4", "\xe4", -1, false},
    {"no folding of punctuation", "[", "{", -1, false},
    {"both empty", "", "", 0, true},
};

static void
check_compare(void **state)
{
    const struct compare_row *r = *state;
    int order = sv_compare(sv_of(r->a), sv_of(r->b));

    assert_int_equal((order > 0) - (order < 0), r->order);
    assert_int_equal(sv_eq(sv_of(r->a), sv_of(r->b)), r->order == 0);
    assert_int_equal(sv_eq_nocase(sv_of(r->a), sv_of(r->b)), r->nocase);
}

static void
test_null_view(void **state UNUSED)
{
    struct sv none = sv_of(NULL);
    struct sv rest = none;
    char copy[1];

    assert_true(sv_eq(none, SV("")));
    assert_int_equal(sv_compare(none, none), 0);
    assert_int_equal(sv_index(none, 'a'), SV_NONE);
    assert_int_equal(sv_last_index(none, 'a'), SV_NONE);
    assert_int_equal(sv_trim(none).n, 0);
    assert_true(sv_take_prefix(&rest, none));
    assert_false(sv_take_char(&rest, 'a'));
    assert_int_equal(sv_take_while(&rest, char_is_alpha).n, 0);
    assert_int_equal(sv_take_until(&rest, 'a').n, 0);
    assert_true(sv_to_cstr(none, copy, sizeof copy));
    assert_string_equal(copy, "");
}

static void
test_slices(void **state UNUSED)
{
    struct sv abc = SV("abc");

    assert_sv(sv_from(abc, 1), "bc");
    assert_sv(sv_from(abc, 3), "");
    assert_sv(sv_from(abc, 99), "");
    assert_sv(sv_slice(abc, 1, 1), "b");
    assert_sv(sv_slice(abc, 1, SIZE_MAX), "bc");
    assert_sv(sv_slice(abc, SIZE_MAX, SIZE_MAX), "");
}

static void
test_takes(void **state UNUSED)
{
    struct sv in = SV("Key=one two");

    assert_false(sv_take_prefix(&in, SV("KEY")));
    assert_sv(in, "Key=one two");
    assert_true(sv_take_prefix_nocase(&in, SV("KEY")));
    assert_true(sv_take_char(&in, '='));
    assert_sv(sv_take_while(&in, char_is_alpha), "one");
    assert_sv(sv_take_until(&in, ' '), "");
    assert_sv(sv_take_until(&in, ' '), "two");
    assert_int_equal(in.n, 0);
}

static void
test_ends(void **state UNUSED)
{
    assert_true(sv_starts_nocase(SV("STARTTLS now"), SV("starttls")));
    assert_false(sv_starts_nocase(SV("START"), SV("starttls")));
    assert_true(sv_ends_nocase(SV("mx.Example.ORG"), SV(".example.org")));
    assert_false(sv_ends_nocase(SV("org"), SV(".org")));
    assert_int_equal(sv_index(SV("a@b@c"), '@'), 1);
    assert_int_equal(sv_last_index(SV("a@b@c"), '@'), 3);
}

static void
test_cstr(void **state UNUSED)
{
    char dst[4];
    char *copy = sv_dup(SV("abc"));

    assert_string_equal(copy, "abc");
    mem_free(copy);
    assert_true(sv_to_cstr(SV("abc"), dst, sizeof dst));
    assert_string_equal(dst, "abc");
    assert_false(sv_to_cstr(SV("abcd"), dst, sizeof dst));
    assert_false(sv_to_cstr(SV("a\0b"), dst, sizeof dst));
    sv_lower_into(SV("A1\xc4z"), dst);
    assert_memory_equal(dst, "a1\xc4z", 4);
}

/* The classes against what they are to hold, over every byte. */
static void
test_classes(void **state UNUSED)
{
    for (int i = 0; i < 256; i++) {
        char c = (char)i;
        bool lower = i >= 'a' && i <= 'z', upper = i >= 'A' && i <= 'Z';

        assert_int_equal(char_is_alpha(c), lower || upper);
        assert_int_equal(char_is_digit(c), i >= '0' && i <= '9');
        assert_int_equal(char_is_alnum(c),
                         char_is_alpha(c) || char_is_digit(c));
        assert_int_equal(char_is_blank(c), i == ' ' || i == '\t');
        assert_int_equal(char_is_print(c), i >= 0x20 && i < 0x7f);
        assert_int_equal(char_is_hex(c),
                         c != '\0' && strchr("0123456789abcdefABCDEF", i));
        assert_int_equal(char_lower(c), upper ? (char)(i + 32) : c);
        assert_int_equal(char_upper(c), lower ? (char)(i - 32) : c);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u32_bounds), cmocka_unit_test(test_null_view),
        cmocka_unit_test(test_slices),     cmocka_unit_test(test_takes),
        cmocka_unit_test(test_ends),       cmocka_unit_test(test_cstr),
        cmocka_unit_test(test_classes),
    };

    return RUN_ROWS("sv numbers", check_number, number_rows) +
           RUN_ROWS("sv trim", check_trim, trim_rows) +
           RUN_ROWS("sv compare", check_compare, compare_rows) +
           cmocka_run_group_tests_name("sv", tests, NULL, NULL);
}
