#include "net/address.h"
#include <arpa/inet.h>

#define PORT_MAX 65535

static void
set_ipv4(const void *bytes, uint16_t port, struct net_address *address)
{
    *address = (struct net_address){0};
    address->in.sin_family = AF_INET;
    address->in.sin_port = htons(port);
    memcpy(&address->in.sin_addr, bytes, 4);
}

static void
set_ipv6(const struct in6_addr *ip, uint16_t port, struct net_address *address)
{
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        set_ipv4(ip->s6_addr + 12, port, address);
        return;
    }
    *address = (struct net_address){0};
    address->in6.sin6_family = AF_INET6;
    address->in6.sin6_port = htons(port);
    address->in6.sin6_addr = *ip;
}

static bool
parse_bare(struct sv text, uint16_t port, struct net_address *address)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr ip6;
    struct in_addr ip4;

    *address = (struct net_address){0};
    if (text.n == 0 || !sv_to_cstr(text, copy, sizeof copy))
        return false;
    if (inet_pton(AF_INET, copy, &ip4) == 1)
        set_ipv4(&ip4, port, address);
    else if (inet_pton(AF_INET6, copy, &ip6) == 1)
        set_ipv6(&ip6, port, address);
    else
        return false;
    return true;
}

bool
net_address_parse(struct sv text, uint16_t port, struct net_address *address)
{
    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']') {
        text = sv_slice(text, 1, text.n - 2);
        if (!sv_has(text, ':')) {
            *address = (struct net_address){0};
            return false;
        }
    }
    return parse_bare(text, port, address);
}

bool
net_address_parse_port(struct sv text, struct net_address *address)
{
    size_t colon = sv_last_index(text, ':');
    struct sv host = sv_slice(text, 0, colon == SV_NONE ? 0 : colon);
    uint32_t port;

    *address = (struct net_address){0};
    if (colon == SV_NONE || !sv_to_u32(sv_from(text, colon + 1), &port) ||
        port == 0 || port > PORT_MAX)
        return false;
    /* "2001:db8::1:25" could be either; a port needs the brackets. */
    if (sv_has(host, ':') && !(host.n > 0 && host.p[0] == '['))
        return false;
    return net_address_parse(host, (uint16_t)port, address);
}

void
net_address_from_sockaddr(const struct sockaddr *sa,
                          struct net_address *address)
{
    *address = (struct net_address){0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, sa, sizeof in);
        set_ipv4(&in.sin_addr, ntohs(in.sin_port), address);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sa, sizeof in6);
        set_ipv6(&in6.sin6_addr, ntohs(in6.sin6_port), address);
        if (address->sa.sa_family == AF_INET6)
            address->in6.sin6_scope_id = in6.sin6_scope_id;
    }
}

socklen_t
net_address_length(const struct net_address *address)
{
    switch (address->sa.sa_family) {
    case AF_INET:
        return sizeof address->in;
    case AF_INET6:
        return sizeof address->in6;
    default:
        return 0;
    }
}

uint16_t
net_address_port(const struct net_address *address)
{
    switch (address->sa.sa_family) {
    case AF_INET:
        return ntohs(address->in.sin_port);
    case AF_INET6:
        return ntohs(address->in6.sin6_port);
    default:
        return 0;
    }
}

void
net_address_set_port(struct net_address *address, uint16_t port)
{
    if (address->sa.sa_family == AF_INET)
        address->in.sin_port = htons(port);
    else if (address->sa.sa_family == AF_INET6)
        address->in6.sin6_port = htons(port);
}

/* Length in bytes of the IP address, 0 without one. */
static size_t
ip_bytes(const struct net_address *address, const uint8_t **bytes)
{
    switch (address->sa.sa_family) {
    case AF_INET:
        *bytes = (const uint8_t *)&address->in.sin_addr;
        return 4;
    case AF_INET6:
        *bytes = address->in6.sin6_addr.s6_addr;
        return 16;
    default:
        *bytes = NULL;
        return 0;
    }
}

bool
net_address_same_ip(const struct net_address *a, const struct net_address *b)
{
    const uint8_t *left, *right;
    size_t n = ip_bytes(a, &left);

    return n > 0 && n == ip_bytes(b, &right) && memcmp(left, right, n) == 0;
}

bool
net_address_is_loopback(const struct net_address *address)
{
    const uint8_t *bytes;
    size_t n = ip_bytes(address, &bytes);

    if (n == 4)
        return bytes[0] == 127;
    return n == 16 && IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
}

bool
net_address_is_any(const struct net_address *address)
{
    static const uint8_t zeros[16];
    const uint8_t *bytes;
    size_t n = ip_bytes(address, &bytes);

    return n > 0 && memcmp(bytes, zeros, n) == 0;
}

const char *
net_address_ip_text(const struct net_address *address, char *text)
{
    const uint8_t *bytes;
    size_t n = ip_bytes(address, &bytes);

    if (n == 0 ||
        inet_ntop(address->sa.sa_family, bytes, text, NET_ADDRESS_TEXT) == NULL)
        snprintf(text, NET_ADDRESS_TEXT, "unknown");
    return text;
}

const char *
net_address_text(const struct net_address *address, char *text)
{
    char ip[NET_ADDRESS_TEXT];

    net_address_ip_text(address, ip);
    if (address->sa.sa_family == AF_INET6)
        snprintf(text, NET_ADDRESS_TEXT, "[%.45s]:%u", ip,
                 net_address_port(address));
    else if (address->sa.sa_family == AF_INET)
        snprintf(text, NET_ADDRESS_TEXT, "%.45s:%u", ip,
                 net_address_port(address));
    else
        snprintf(text, NET_ADDRESS_TEXT, "%.45s", ip);
    return text;
}

static bool
same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

static void
clear_behind(uint8_t *bytes, unsigned bits, unsigned width)
{
    for (unsigned i = bits; i < width; i++)
        bytes[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
}

/* "10.0.0.1/8": the length could be wrong or the address; ask. */
static bool
refuse_stray_bits(struct sv text, const struct net_prefix *prefix,
                  struct err *err)
{
    unsigned width = prefix->family == AF_INET ? 32 : 128;
    struct sv rest = text, host;
    uint8_t bytes[16];
    char right[INET6_ADDRSTRLEN];

    memcpy(bytes, prefix->bytes, sizeof bytes);
    clear_behind(bytes, prefix->bits, width);
    if (memcmp(bytes, prefix->bytes, sizeof bytes) == 0)
        return true;
    inet_ntop(prefix->family, bytes, right, sizeof right);
    host = sv_take_until(&rest, '/');
    err_set(err,
            "network \"%.*s\" has bits set behind its length: \"%s/%u\" is "
            "the network, \"%.*s\" the single address",
            SV_ARG(text), right, prefix->bits, SV_ARG(host));
    return false;
}

/* The length behind the slash, mapped included; without one the whole width. */
static bool
take_bits(struct sv text, unsigned mapped, unsigned width, uint32_t *bits,
          struct err *err)
{
    size_t slash = sv_index(text, '/');

    *bits = mapped + width;
    if (slash == SV_NONE || (sv_to_u32(sv_from(text, slash + 1), bits) &&
                             *bits >= mapped && *bits <= mapped + width))
        return true;
    err_set(err,
            "network \"%.*s\" has a wrong length: a number from %u to %u is "
            "wanted behind the slash",
            SV_ARG(sv_slice(text, 0, 100)), mapped, mapped + width);
    return false;
}

bool
net_prefix_parse(struct sv text, struct net_prefix *prefix, struct err *err)
{
    struct sv rest = text, host = sv_take_until(&rest, '/');
    struct net_address address;
    const uint8_t *bytes;
    unsigned mapped = 0;
    uint32_t bits;
    size_t n;

    *prefix = (struct net_prefix){0};
    if (!parse_bare(host, 0, &address)) {
        err_set(err,
                "\"%.*s\" is no network: an address or an address/length is "
                "wanted, as in 192.0.2.0/24 or 2001:db8::/32",
                SV_ARG(sv_slice(text, 0, 100)));
        return false;
    }
    n = ip_bytes(&address, &bytes);
    assert(bytes != NULL);
    if (n == 4 && sv_has(host, ':'))
        mapped = 96; /* ::ffff:192.0.2.0/120 is 192.0.2.0/24 */
    if (!take_bits(text, mapped, (unsigned)(8 * n), &bits, err))
        return false;
    prefix->family = (uint8_t)address.sa.sa_family;
    prefix->bits = (uint8_t)(bits - mapped);
    memcpy(prefix->bytes, bytes, n);
    return refuse_stray_bits(text, prefix, err);
}

bool
net_prefix_contains(const struct net_prefix *prefix,
                    const struct net_address *address)
{
    const uint8_t *bytes;

    if (address->sa.sa_family != prefix->family ||
        ip_bytes(address, &bytes) == 0)
        return false;
    return same_bits(bytes, prefix->bytes, prefix->bits);
}
