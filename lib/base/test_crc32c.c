#include "base/crc32c_internal.h"
#include "unit.h"

/* RFC 3720 appendix B.4, and the check value of the catalogues. */
static const struct row {
    const char *name;
    size_t length;
    unsigned char first, step;
    uint32_t crc;
} rows[] = {
    {"32 zeros", 32, 0, 0, 0x8a9136aa},
    {"32 ones", 32, 0xff, 0, 0x62a8ab43},
    {"incrementing", 32, 0, 1, 0x46dd794e},
    {"decrementing", 32, 31, 0xff, 0x113fdb5c},
    {"123456789", 9, '1', 1, 0xe3069283},
    {"nothing", 0, 0, 0, 0},
};

static void
check(void **state)
{
    const struct row *r = *state;
    unsigned char data[32];

    for (size_t i = 0; i < r->length; i++)
        data[i] = (unsigned char)(r->first + i * r->step);
    assert_int_equal(crc32c(0, data, r->length), r->crc);
    assert_int_equal(crc32c_portable(0, data, r->length), r->crc);
}

/* Both ways agree for every alignment and length, and in two pieces. */
static void
test_ways_agree(void **state UNUSED)
{
    unsigned char data[96];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 131 + 7);
    for (size_t start = 0; start < 8; start++) {
        for (size_t n = 0; n + start <= sizeof data; n++) {
            const unsigned char *p = data + start;
            uint32_t whole = crc32c(0, p, n);

            assert_int_equal(crc32c_portable(0, p, n), whole);
            assert_int_equal(crc32c(crc32c(0, p, n / 3), p + n / 3, n - n / 3),
                             whole);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ways_agree)};

    return RUN_ROWS("crc32c", check, rows) +
           cmocka_run_group_tests_name("crc32c ways", tests, NULL, NULL);
}
