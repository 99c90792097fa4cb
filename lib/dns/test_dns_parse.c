#include "dns/dns_internal.h"
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

/* --- TXT and SOA ------------------------------------------------------- */

static const struct txt_row {
    const char *name;
    const uint8_t *data;
    size_t length;
    const char *text; /* NULL: malformed, or longer than 8 bytes */
} txt_rows[] = {
    {"one string", BYTES("\3abc"), "abc"},
    {"joined without anything between", BYTES("\2ab\1c\3def"), "abcdef"},
    {"empty strings", BYTES("\0\1a\0"), "a"},
    {"only an empty one", BYTES("\0"), ""},
    {"any byte", BYTES("\2\x80\""), "\x80\""},
    {"as long as the room", BYTES("\4abcd\4efgh"), "abcdefgh"},
    {"longer than the room", BYTES("\4abcd\5efghi"), NULL},
    {"nothing", BYTES(""), NULL},
    {"string past the end", BYTES("\4abc"), NULL},
    {"second past the end", BYTES("\3abc\1"), NULL},
};

static void
check_txt(void **state)
{
    const struct txt_row *row = *state;
    uint8_t *copy = mem_alloc_raw(row->length);
    char *room = mem_alloc_raw(8);
    struct dns_record record = {copy, row->length};
    struct sv text;

    memcpy(copy, row->data, row->length);
    assert_int_equal(dns_txt_parse(&record, room, 8, &text), row->text != NULL);
    if (row->text != NULL)
        assert_sv(text, row->text);
    mem_free(copy);
    mem_free(room);
}

#define NUMBERS "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5"

static const struct soa_row {
    const char *name;
    const uint8_t *data;
    size_t length;
    const char *server; /* NULL: malformed */
} soa_rows[] = {
    {"plain", BYTES("\2ns\4test\0\4root\0" NUMBERS), "ns.test"},
    {"root", BYTES("\0\0" NUMBERS), ""},
    {"a mailbox with a dot", BYTES("\0\3a.b\0" NUMBERS), ""},
    {"one byte short", BYTES("\0\0" NUMBERS) - 1, NULL},
    {"one byte more", BYTES("\0\0" NUMBERS "x"), NULL},
    {"only a name", BYTES("\2ns\0"), NULL},
    {"no end of the mailbox", BYTES("\0\4root"), NULL},
    {"nothing", BYTES(""), NULL},
};

static void
check_soa(void **state)
{
    const struct soa_row *row = *state;
    uint8_t *copy = mem_alloc_raw(row->length);
    struct dns_record record = {copy, row->length};
    struct dns_soa soa;

    memcpy(copy, row->data, row->length);
    assert_int_equal(dns_soa_parse(&record, &soa), row->server != NULL);
    if (row->server != NULL) {
        assert_string_equal(soa.server, row->server);
        assert_int_equal(soa.serial, 1);
        assert_int_equal(soa.minimum, 5);
    }
    mem_free(copy);
}

/* --- Text -------------------------------------------------------------- */

static const struct print_row {
    const char *name;
    enum dns_type type;
    const uint8_t *data;
    size_t length;
    const char *text; /* at most 31 characters */
} print_rows[] = {
    {"A", DNS_A, BYTES("\xc0\0\2\1"), "192.0.2.1"},
    {"AAAA", DNS_AAAA, BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), "::1"},
    {"A of three bytes", DNS_A, BYTES("\1\2\3"), "\\# 3 010203"},
    {"MX", DNS_MX, BYTES("\0\x0a\2mx\4test\0"), "10 mx.test"},
    {"null MX", DNS_MX, BYTES("\0\0\0"), "0 ."},
    {"CNAME", DNS_CNAME, BYTES("\1a\4test\0"), "a.test"},
    {"TXT", DNS_TXT, BYTES("\2a\"\1\\\1\n"), "\"a\\\"\" \"\\\\\" \"\\010\""},
    {"TXT that is cut", DNS_TXT, BYTES("\1a\5"), "\\# 3 016105"},
    {"TLSA", DNS_TLSA, BYTES("\3\1\1\xab\xcd"), "3 1 1 abcd"},
    {"TLSA of two bytes", DNS_TLSA, BYTES("\3\1"), "\\# 2 0301"},
    {"too long", DNS_TLSA, BYTES("\3\1\1abcdefghijklmnopqr"),
     "3 1 1 6162636465666768696a6b..."},
    {"a type of nobody", (enum dns_type)99, BYTES("x"), "\\# 1 78"},
};

static void
check_print(void **state)
{
    const struct print_row *row = *state;
    struct dns_record record = {row->data, row->length};
    char text[32];

    dns_record_print(row->type, &record, text, sizeof text);
    assert_string_equal(text, row->text);
}

static void
test_types(void **state)
{
    enum dns_type type;

    (void)state;
    assert_true(dns_type_find(SV("tlsa"), &type));
    assert_int_equal(type, DNS_TLSA);
    assert_string_equal(dns_type_name(type), "TLSA");
    assert_false(dns_type_find(SV("HINFO"), &type));
    assert_string_equal(dns_type_name((enum dns_type)99), "unknown");
}

/* --- Aliases ----------------------------------------------------------- */

#define HEAD(answers) "\0\1\x81\x80\0\1\0" answers "\0\0\0\0"
#define ASKED "\1a\4test\0\0\1\0\1"
#define CNAME_HEAD "\0\5\0\1\0\0\0\x3c"
#define B_TEST "\1b\4test\0"

static const struct alias_row {
    const char *name;
    const uint8_t *data;
    size_t length;
    const char *chain; /* targets with blanks between; NULL: refused */
} alias_rows[] = {
    {"none", BYTES(HEAD("\0") ASKED), ""},
    {"one", BYTES(HEAD("\1") ASKED "\xc0\x0c" CNAME_HEAD "\0\x08" B_TEST),
     "b.test"},
    {"compressed target",
     BYTES(HEAD("\1") ASKED "\xc0\x0c" CNAME_HEAD "\0\4\1b\xc0\x0e"), "b.test"},
    {"in the wrong order",
     BYTES(HEAD("\2") ASKED B_TEST CNAME_HEAD "\0\3\1c\0"
                                              "\xc0\x0c" CNAME_HEAD
                                              "\0\x08" B_TEST),
     "b.test c"},
    {"of another name", BYTES(HEAD("\1") ASKED B_TEST CNAME_HEAD "\0\3\1c\0"),
     ""},
    {"upper case", BYTES(HEAD("\1") ASKED "\1A\4TEST\0" CNAME_HEAD "\0\3\1C\0"),
     "c"},
    {"odd bytes",
     BYTES(HEAD("\1") ASKED "\xc0\x0c" CNAME_HEAD "\0\5\3a.\xff\0"),
     "a\\046\\255"},
    {"to itself", BYTES(HEAD("\1") ASKED "\xc0\x0c" CNAME_HEAD "\0\2\xc0\x0c"),
     NULL},
    {"in a circle",
     BYTES(HEAD("\2") ASKED "\xc0\x0c" CNAME_HEAD
                            "\0\x08" B_TEST B_TEST CNAME_HEAD "\0\2\xc0\x0c"),
     NULL},
    {"pointer to itself",
     BYTES(HEAD("\1") ASKED "\xc0\x18" CNAME_HEAD "\0\3\1c\0"), NULL},
    {"pointer forward",
     BYTES(HEAD("\1") ASKED "\xc0\xf0" CNAME_HEAD "\0\3\1c\0"), NULL},
    {"target beyond its record",
     BYTES(HEAD("\1") ASKED "\xc0\x0c" CNAME_HEAD "\0\2\1c\0"), NULL},
    {"target shorter than its record",
     BYTES(HEAD("\1") ASKED "\xc0\x0c" CNAME_HEAD "\0\4\1c\0\0"), NULL},
    {"cut", BYTES(HEAD("\1") ASKED "\xc0\x0c" CNAME_HEAD "\0\x08\1b"), NULL},
    {"more answers said than there",
     BYTES(HEAD("\2") ASKED "\xc0\x0c" CNAME_HEAD "\0\3\1c\0"), NULL},
    {"half a header", BYTES("\0\1\x81\x80\0\1"), NULL},
};

static void
check_aliases(void **state)
{
    const struct alias_row *row = *state;
    uint8_t *copy = mem_alloc_raw(row->length);
    struct dns_alias list[DNS_ALIASES_MAX];
    char chain[256] = "";
    size_t count = 0;

    memcpy(copy, row->data, row->length);
    assert_int_equal(
        dns_packet_aliases(copy, row->length, "a.test", list, &count),
        row->chain != NULL);
    mem_free(copy);
    if (row->chain == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        snprintf(chain + strlen(chain), sizeof chain - strlen(chain), "%s%s",
                 i > 0 ? " " : "", list[i].target);
    assert_string_equal(chain, row->chain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_addresses),
    };

    return RUN_ROWS("dns_parse", check, rows) +
           RUN_ROWS("dns_txt", check_txt, txt_rows) +
           RUN_ROWS("dns_soa", check_soa, soa_rows) +
           RUN_ROWS("dns_print", check_print, print_rows) +
           RUN_ROWS("dns_aliases", check_aliases, alias_rows) +
           cmocka_run_group_tests_name("dns_parse_more", tests, NULL, NULL);
}
