#include "dns/dns.h"
#include "net/address.h"
#include "unit.h"

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

static const struct row {
    const char *name;
    const uint8_t *data;
    size_t length;
    uint16_t preference;
    const char *host; /* NULL: malformed */
} rows[] = {
    {"plain", BYTES("\0\x0a\2MX\4test\0"), 10, "mx.test"},
    {"null MX", BYTES("\0\0\0"), 0, ""},
    {"empty", BYTES(""), 0, NULL},
    {"only a preference", BYTES("\0\x0a"), 0, NULL},
    {"no end", BYTES("\0\x0a\2mx"), 0, NULL},
    {"label past the end", BYTES("\0\x0a\x09mx\0"), 0, NULL},
    {"compression pointer", BYTES("\0\x0a\xc0\x0c"), 0, NULL},
    {"bytes behind the name", BYTES("\0\x0a\2mx\0x"), 0, NULL},
    {"dot in a label", BYTES("\0\x0a\3m.x\0"), 0, NULL},
    {"NUL in a label", BYTES("\0\x0a\3m\0x\0"), 0, NULL},
    {"blank in a label", BYTES("\0\x0a\3m x\0"), 0, NULL},
    {"underscore", BYTES("\0\x0a\2_m\0"), 10, "_m"},
};

static void
check(void **state)
{
    const struct row *row = *state;
    /* Storage of exactly this size, so that a sanitizer sees a step beyond. */
    uint8_t *copy = mem_alloc_raw(row->length);
    struct dns_record record = {copy, row->length};
    uint16_t preference;
    char host[256];

    memcpy(copy, row->data, row->length);
    assert_int_equal(dns_mx_parse(&record, &preference, host),
                     row->host != NULL);
    if (row->host != NULL) {
        assert_int_equal(preference, row->preference);
        assert_string_equal(host, row->host);
    }
    mem_free(copy);
}

/* 255 octets on the wire are the most; one label more is refused. */
static void
test_long_name(void **state)
{
    uint8_t data[2 + 4 * 64 + 64 + 1] = {0};
    struct dns_record record = {data, 0};
    uint16_t preference;
    char host[256];

    (void)state;
    for (size_t label = 0; label < 5; label++) {
        data[2 + label * 64] = 63;
        memset(data + 3 + label * 64, 'a', 63);
    }
    data[2 + 3 * 64] = 61; /* 3 * 64 + 62 + 1 = 255 */
    data[2 + 3 * 64 + 62] = 0;
    record.length = 2 + 255;
    assert_true(dns_mx_parse(&record, &preference, host));
    assert_int_equal(strlen(host), 253);
    data[2 + 3 * 64] = 63;
    data[2 + 3 * 64 + 62] = 'a';
    data[2 + 4 * 64] = 0;
    record.length = 2 + 4 * 64 + 1;
    assert_false(dns_mx_parse(&record, &preference, host));
}

static void
test_addresses(void **state)
{
    static const uint8_t bytes[16] = {0, 0, 0,    0,    0,   0, 0, 0,
                                      0, 0, 0xff, 0xff, 192, 0, 2, 1};
    struct net_address address;
    char text[NET_ADDRESS_TEXT];

    (void)state;
    assert_false(
        dns_address_parse(&(struct dns_record){bytes, 3}, DNS_A, &address));
    assert_false(
        dns_address_parse(&(struct dns_record){bytes, 16}, DNS_A, &address));
    assert_true(dns_address_parse(&(struct dns_record){bytes + 12, 4}, DNS_A,
                                  &address));
    assert_string_equal(net_address_ip_text(&address, text), "192.0.2.1");
    assert_true(
        dns_address_parse(&(struct dns_record){bytes, 16}, DNS_AAAA, &address));
    assert_string_equal(net_address_ip_text(&address, text), "192.0.2.1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_addresses),
    };

    return RUN_ROWS("dns_parse", check, rows) +
           cmocka_run_group_tests_name("dns_parse_more", tests, NULL, NULL);
}
