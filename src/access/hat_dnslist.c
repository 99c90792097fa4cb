/* DNS lists: the name to ask for and what its answer means. */
#include "access/hat.h"

/* Writes the reversed address with a dot behind each part; its length. */
static int
reverse_ipv4(const struct net_address *address, char *out)
{
    uint32_t ip = ntohl(address->in.sin_addr.s_addr);

    return snprintf(out, HAT_QUERY_MAX, "%u.%u.%u.%u.", ip & 0xff,
                    ip >> 8 & 0xff, ip >> 16 & 0xff, ip >> 24);
}

/* Nibbles, the lowest first (RFC 5782 section 2.4). */
static int
reverse_ipv6(const struct net_address *address, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = address->in6.sin6_addr.s6_addr;
    int n = 0;

    for (int i = 15; i >= 0; i--) {
        out[n++] = digits[bytes[i] & 0xf];
        out[n++] = '.';
        out[n++] = digits[bytes[i] >> 4];
        out[n++] = '.';
    }
    return n;
}

bool
hat_dns_list_query(const struct net_address *address, struct sv zone, char *out)
{
    int n;

    if (address->sa.sa_family == AF_INET)
        n = reverse_ipv4(address, out);
    else if (address->sa.sa_family == AF_INET6)
        n = reverse_ipv6(address, out);
    else
        return false;
    return sv_to_cstr(zone, out + n, HAT_QUERY_MAX - (size_t)n);
}

bool
hat_dns_list_listed(const struct net_address *answer)
{
    uint32_t ip;

    if (answer->sa.sa_family != AF_INET)
        return false;
    ip = ntohl(answer->in.sin_addr.s_addr);
    return ip >> 24 == 127 && ip >> 8 != 0x7fffff;
}
