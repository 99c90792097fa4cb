#include "net/proxy.h"
#include "base/crc32c.h"

#define V1_MAX 107 /* the longest line, its CRLF counted */
#define V2_HEAD 16
#define V2_SIGNATURE SV("\r\n\r\n\0\r\nQUIT\n")

enum v2_family {
    V2_UNSPEC = 0x00,
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_UNIX = 0x31
};
enum v2_tlv {
    TLV_CRC32C = 0x03,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CIPHER = 0x23,
};

static unsigned
byte_at(struct sv view, size_t at)
{
    return (unsigned char)view.p[at];
}

static unsigned
u16_at(struct sv view, size_t at)
{
    return byte_at(view, at) << 8 | byte_at(view, at + 1);
}

/* Version 1 -------------------------------------------------------------- */

static bool
take_port(struct sv word, uint16_t *port)
{
    uint32_t value;

    if (word.n > 5 || (word.n > 1 && word.p[0] == '0') ||
        !sv_to_u32(word, &value) || value > 65535)
        return false;
    *port = (uint16_t)value;
    return true;
}

static bool
take_v1_address(struct sv word, bool ipv6, struct net_address *address)
{
    return sv_has(word, ':') == ipv6 && !sv_has(word, '[') &&
           net_address_parse(word, 0, address);
}

/* "192.0.2.1 192.0.2.2 1024 25", single blanks. */
static bool
take_v1_addresses(struct sv rest, bool ipv6, struct proxy_header *header)
{
    uint16_t source_port, destination_port;
    struct sv words[4];

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if ((i < 3) != sv_has(rest, ' '))
            return false;
        words[i] = sv_take_until(&rest, ' ');
    }
    if (!take_v1_address(words[0], ipv6, &header->source) ||
        !take_v1_address(words[1], ipv6, &header->destination) ||
        !take_port(words[2], &source_port) ||
        !take_port(words[3], &destination_port))
        return false;
    net_address_set_port(&header->source, source_port);
    net_address_set_port(&header->destination, destination_port);
    return true;
}

static bool
take_v1_line(struct sv line, struct proxy_header *header)
{
    if (!sv_take_prefix(&line, SV("PROXY ")))
        return false;
    if (sv_take_prefix(&line, SV("TCP4 ")))
        return take_v1_addresses(line, false, header);
    if (sv_take_prefix(&line, SV("TCP6 ")))
        return take_v1_addresses(line, true, header);
    /* What follows UNKNOWN must be ignored. */
    header->local = true;
    return sv_is(line, "UNKNOWN") || sv_take_prefix(&line, SV("UNKNOWN "));
}

static enum proxy_result
parse_v1(struct sv input, struct proxy_header *header, size_t *length)
{
    size_t end = sv_index(sv_slice(input, 0, V1_MAX), '\n');

    if (end == SV_NONE)
        return input.n < V1_MAX ? PROXY_PARTIAL : PROXY_BAD;
    if (end < 1 || input.p[end - 1] != '\r')
        return PROXY_BAD;
    *length = end + 1;
    return take_v1_line(sv_slice(input, 0, end - 1), header) ? PROXY_OK
                                                             : PROXY_BAD;
}

/* Version 2 -------------------------------------------------------------- */

/* Takes {type, length, value}; false when it does not fit. */
static bool
take_tlv(struct sv *in, unsigned *type, struct sv *value)
{
    size_t n;

    if (in->n < 3)
        return false;
    *type = byte_at(*in, 0);
    n = u16_at(*in, 1);
    if (in->n - 3 < n)
        return false;
    *value = sv_slice(*in, 3, n);
    *in = sv_from(*in, 3 + n);
    return true;
}

static bool
is_printable(struct sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!char_is_print(text.p[i]))
            return false;
    }
    return text.n <= 64;
}

/* client (1 byte), verify (4 bytes), then TLVs of their own. */
static bool
take_ssl(struct sv in, struct proxy_header *header)
{
    unsigned type;
    struct sv value;

    if (in.n < 5)
        return false;
    for (in = sv_from(in, 5); in.n > 0;) {
        if (!take_tlv(&in, &type, &value))
            return false;
        if (type == TLV_SSL_VERSION && is_printable(value))
            header->tls_version = value;
        else if (type == TLV_SSL_CIPHER && is_printable(value))
            header->tls_cipher = value;
    }
    return true;
}

/* The sum is over the whole header with the four bytes of the sum as zeros. */
static bool
crc_is_right(struct sv whole, struct sv value)
{
    static const char zeros[4];
    size_t at = (size_t)(value.p - whole.p);
    uint32_t crc, wanted;

    if (value.n != sizeof zeros)
        return false;
    wanted = (uint32_t)u16_at(value, 0) << 16 | u16_at(value, 2);
    crc = crc32c(0, whole.p, at);
    crc = crc32c(crc, zeros, sizeof zeros);
    crc = crc32c(crc, whole.p + at + sizeof zeros, whole.n - at - sizeof zeros);
    return crc == wanted;
}

static bool
take_tlvs(struct sv whole, struct sv in, struct proxy_header *header)
{
    unsigned type;
    struct sv value;

    while (in.n > 0) {
        if (!take_tlv(&in, &type, &value))
            return false;
        if (type == TLV_SSL && !take_ssl(value, header))
            return false;
        if (type == TLV_CRC32C && !crc_is_right(whole, value))
            return false;
    }
    return true;
}

static void
take_v2_ip(struct sv in, size_t ip_at, size_t port_at, bool ipv6,
           struct net_address *address)
{
    if (ipv6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

        memcpy(&in6.sin6_addr, in.p + ip_at, 16);
        memcpy(&in6.sin6_port, in.p + port_at, 2);
        net_address_from_sockaddr((struct sockaddr *)&in6, address);
    } else {
        struct sockaddr_in in4 = {.sin_family = AF_INET};

        memcpy(&in4.sin_addr, in.p + ip_at, 4);
        memcpy(&in4.sin_port, in.p + port_at, 2);
        net_address_from_sockaddr((struct sockaddr *)&in4, address);
    }
}

/* Moves *in behind the addresses. */
static bool
take_v2_addresses(unsigned family, struct sv *in, struct proxy_header *header)
{
    size_t ip = family == V2_TCP6 ? 16 : 4;
    size_t all = family == V2_UNIX ? 216 : family == V2_UNSPEC ? 0 : 2 * ip + 4;

    if (family != V2_UNSPEC && family != V2_TCP4 && family != V2_TCP6 &&
        family != V2_UNIX)
        return false; /* datagrams and what nobody has defined */
    if (in->n < all)
        return false;
    header->local = family == V2_UNSPEC || family == V2_UNIX;
    if (!header->local) {
        take_v2_ip(*in, 0, 2 * ip, family == V2_TCP6, &header->source);
        take_v2_ip(*in, ip, 2 * ip + 2, family == V2_TCP6,
                   &header->destination);
    }
    *in = sv_from(*in, all);
    return true;
}

static enum proxy_result
parse_v2(struct sv input, struct proxy_header *header, size_t *length)
{
    unsigned command, family;
    struct sv rest;
    size_t n;

    if (input.n < V2_HEAD)
        return PROXY_PARTIAL;
    command = byte_at(input, 12);
    family = byte_at(input, 13);
    n = u16_at(input, 14);
    if ((command != 0x20 && command != 0x21) || n > PROXY_MAX - V2_HEAD)
        return PROXY_BAD;
    if (input.n - V2_HEAD < n)
        return PROXY_PARTIAL;
    *length = V2_HEAD + n;
    input = sv_slice(input, 0, *length);
    rest = sv_from(input, V2_HEAD);
    if (command == 0x20) { /* LOCAL: the rest means nothing */
        header->local = true;
        return PROXY_OK;
    }
    if (!take_v2_addresses(family, &rest, header))
        return PROXY_BAD;
    if (family == V2_UNSPEC) /* its TLVs have no known place */
        return PROXY_OK;
    return take_tlvs(input, rest, header) ? PROXY_OK : PROXY_BAD;
}

/* The input is the beginning of the prefix, or begins with it. */
static bool
may_begin(struct sv input, struct sv prefix)
{
    size_t n = input.n < prefix.n ? input.n : prefix.n;

    return n == 0 || memcmp(input.p, prefix.p, n) == 0;
}

enum proxy_result
proxy_parse(struct sv input, struct proxy_header *header, size_t *length)
{
    enum proxy_result result = PROXY_BAD;

    *header = (struct proxy_header){0};
    *length = 0;
    if (input.n == 0)
        return PROXY_PARTIAL;
    if (may_begin(input, SV("PROXY ")))
        result = parse_v1(input, header, length);
    else if (may_begin(input, V2_SIGNATURE))
        result = parse_v2(input, header, length);
    if (result != PROXY_OK) {
        *header = (struct proxy_header){0};
        *length = 0;
    }
    return result;
}
