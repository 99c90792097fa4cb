#include "net/proxy.h"
#include "unit.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define ADDRESSES4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x04\x00\x00\x19"
#define ADDRESSES6                                                             \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                               \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"                               \
    "\x04\x00\x00\x19"
#define BYTES(literal)                                                         \
    {                                                                          \
        "" literal, sizeof(literal) - 1                                        \
    }

static const struct row {
    const char *name;
    struct sv in;
    enum proxy_result result;
    size_t length;
    const char *source, *destination; /* NULL: local */
    const char *version, *cipher;
} rows[] = {
    {"v1 ipv4", BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1024 25\r\nEHLO"),
     PROXY_OK, 43, "192.0.2.1:1024", "198.51.100.2:25", "", ""},
    {"v1 ipv6", BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 1024 25\r\n"),
     PROXY_OK, 44, "[2001:db8::1]:1024", "[2001:db8::2]:25", "", ""},
    {"v1 mapped", BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n"), PROXY_OK,
     38, "192.0.2.1:1", "[::1]:25", "", ""},
    {"v1 unknown", BYTES("PROXY UNKNOWN\r\n"), PROXY_OK, 15, NULL, NULL, "",
     ""},
    {"v1 unknown with more", BYTES("PROXY UNKNOWN ffff::1 x y\r\n"), PROXY_OK,
     27, NULL, NULL, "", ""},
    {"v1 no end yet", BYTES("PROXY TCP4 192.0.2.1"), PROXY_PARTIAL, 0, NULL,
     NULL, "", ""},
    {"v1 LF only", BYTES("PROXY UNKNOWN\n"), PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 two blanks", BYTES("PROXY TCP4  192.0.2.1 198.51.100.2 1024 25\r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 blank behind", BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1024 25 \r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 port too large", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 port with zero", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 01024 25\r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 port missing", BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1024\r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 wrong family", BYTES("PROXY TCP4 2001:db8::1 ::1 1024 25\r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 other family", BYTES("PROXY TCP6 192.0.2.1 192.0.2.2 1024 25\r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 UDP", BYTES("PROXY UDP4 192.0.2.1 192.0.2.2 1024 25\r\n"), PROXY_BAD,
     0, NULL, NULL, "", ""},
    {"v1 lower case", BYTES("proxy UNKNOWN\r\n"), PROXY_BAD, 0, NULL, NULL, "",
     ""},
    {"v1 unknownish", BYTES("PROXY UNKNOWNX\r\n"), PROXY_BAD, 0, NULL, NULL, "",
     ""},
    {"v1 with NUL", BYTES("PROXY TCP4 192.0.2.1\0 192.0.2.2 1024 25\r\n"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v1 too long",
     BYTES("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"not a header", BYTES("EHLO client.test\r\n"), PROXY_BAD, 0, NULL, NULL,
     "", ""},
    {"nothing", {NULL, 0}, PROXY_PARTIAL, 0, NULL, NULL, "", ""},
    {"one letter", BYTES("P"), PROXY_PARTIAL, 0, NULL, NULL, "", ""},
    {"v2 ipv4", BYTES(SIGNATURE "\x21\x11\0\x0c" ADDRESSES4 "EHLO"), PROXY_OK,
     28, "192.0.2.1:1024", "198.51.100.2:25", "", ""},
    {"v2 ipv6", BYTES(SIGNATURE "\x21\x21\0\x24" ADDRESSES6), PROXY_OK, 52,
     "[2001:db8::1]:1024", "[2001:db8::2]:25", "", ""},
    {"v2 local",
     BYTES(SIGNATURE "\x20\x00\0\x03"
                     "abc"),
     PROXY_OK, 19, NULL, NULL, "", ""},
    {"v2 unspec", BYTES(SIGNATURE "\x21\x00\0\0"), PROXY_OK, 16, NULL, NULL, "",
     ""},
    {"v2 with TLS",
     BYTES(SIGNATURE "\x21\x11\0\x24" ADDRESSES4 "\x20\0\x15\x01\0\0\0\0"
                     "\x21\0\x07TLSv1.3"
                     "\x23\0\x03XYZ"),
     PROXY_OK, 52, "192.0.2.1:1024", "198.51.100.2:25", "TLSv1.3", "XYZ"},
    {"v2 TLV too long",
     BYTES(SIGNATURE "\x21\x11\0\x10" ADDRESSES4 "\x04\0\x02x"), PROXY_BAD, 0,
     NULL, NULL, "", ""},
    {"v2 TLV cut", BYTES(SIGNATURE "\x21\x11\0\x0e" ADDRESSES4 "\x04\0"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v2 TLS too short",
     BYTES(SIGNATURE "\x21\x11\0\x13" ADDRESSES4 "\x20\0\x04\x01\0\0\0"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v2 TLS inner TLV too long",
     BYTES(SIGNATURE "\x21\x11\0\x17" ADDRESSES4 "\x20\0\x08\x01\0\0\0\0"
                     "\x21\0\x09"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v2 wrong checksum",
     BYTES(SIGNATURE "\x21\x11\0\x13" ADDRESSES4 "\x03\0\x04\x01\x02\x03\x04"),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v2 addresses cut", BYTES(SIGNATURE "\x21\x11\0\x0b" ADDRESSES4),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v2 datagram", BYTES(SIGNATURE "\x21\x12\0\x0c" ADDRESSES4), PROXY_BAD, 0,
     NULL, NULL, "", ""},
    {"v2 unknown command", BYTES(SIGNATURE "\x22\x11\0\x0c" ADDRESSES4),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v2 version 3", BYTES(SIGNATURE "\x31\x11\0\x0c" ADDRESSES4), PROXY_BAD, 0,
     NULL, NULL, "", ""},
    {"v2 longer than allowed", BYTES(SIGNATURE "\x21\x11\xff\xff" ADDRESSES4),
     PROXY_BAD, 0, NULL, NULL, "", ""},
    {"v2 partial", BYTES(SIGNATURE "\x21\x11\0\x0d" ADDRESSES4), PROXY_PARTIAL,
     0, NULL, NULL, "", ""},
};

static void
expect_address(const struct net_address *address, const char *text)
{
    char buffer[NET_ADDRESS_TEXT];

    assert_string_equal(net_address_text(address, buffer), text);
}

static void
check(void **state)
{
    const struct row *r = *state;
    struct proxy_header header;
    size_t length = 99;

    assert_int_equal(proxy_parse(r->in, &header, &length), r->result);
    assert_int_equal(length, r->length);
    if (r->result != PROXY_OK)
        return;
    assert_int_equal(header.local, r->source == NULL);
    assert_sv(header.tls_version, r->version);
    assert_sv(header.tls_cipher, r->cipher);
    if (!header.local) {
        expect_address(&header.source, r->source);
        expect_address(&header.destination, r->destination);
    }
    /* Every true beginning of a good header asks for more. */
    for (size_t n = 0; n < r->length; n++)
        assert_int_equal(proxy_parse(sv_slice(r->in, 0, n), &header, &length),
                         PROXY_PARTIAL);
}

int
main(void)
{
    return RUN_ROWS("proxy", check, rows);
}
