#include "base/utf8.h"
#include "unit.h"

static const struct row {
    const char *name, *in;
    size_t length; /* of the first character, 0: none */
    uint32_t code_point;
    bool valid; /* the whole */
} rows[] = {
    {"ascii", "ab", 1, 'a', true},
    {"two bytes, lowest", "\xc2\x80", 2, 0x80, true},
    {"two bytes", "\xc3\xa4", 2, 0xe4, true},
    {"three bytes, lowest", "\xe0\xa0\x80", 3, 0x800, true},
    {"before the surrogates", "\xed\x9f\xbf", 3, 0xd7ff, true},
    {"after the surrogates", "\xee\x80\x80", 3, 0xe000, true},
    {"four bytes, lowest", "\xf0\x90\x80\x80", 4, 0x10000, true},
    {"highest", "\xf4\x8f\xbf\xbf", 4, 0x10ffff, true},
    {"above the highest", "\xf4\x90\x80\x80", 0, 0, false},
    {"surrogate", "\xed\xa0\x80", 0, 0, false},
    {"overlong slash", "\xc0\xaf", 0, 0, false},
    {"overlong in three", "\xe0\x9f\xbf", 0, 0, false},
    {"overlong in four", "\xf0\x8f\xbf\xbf", 0, 0, false},
    {"five bytes", "\xf8\x88\x80\x80\x80", 0, 0, false},
    {"lone continuation", "\x80", 0, 0, false},
    {"cut in two", "\xc3", 0, 0, false},
    {"cut in four", "\xf0\x90\x80", 0, 0, false},
    {"bad third byte", "\xe2\x82\x41", 0, 0, false},
    {"good, then bad", "a\xff", 1, 'a', false},
    {"empty", "", 0, 0, true},
};

static void
check(void **state)
{
    const struct row *r = *state;
    uint32_t code_point = 0;

    assert_int_equal(utf8_decode(sv_of(r->in), &code_point), r->length);
    assert_int_equal(code_point, r->code_point);
    assert_int_equal(utf8_valid(sv_of(r->in)), r->valid);
}

int
main(void)
{
    return RUN_ROWS("utf8", check, rows);
}
