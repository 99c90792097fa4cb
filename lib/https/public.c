/* Which addresses are public: the "globally reachable" ones of the IANA
 * special-purpose registries (RFC 6890), by what is not. */
#include "https/https_internal.h"

static const char *const private_v4[] = {
    "0.0.0.0/8",       /* this network */
    "10.0.0.0/8",      /* private */
    "100.64.0.0/10",   /* shared with a carrier's NAT, RFC 6598 */
    "127.0.0.0/8",     /* loopback */
    "169.254.0.0/16",  /* link-local; clouds keep their metadata there */
    "172.16.0.0/12",   /* private */
    "192.0.0.0/24",    /* protocol assignments */
    "192.0.2.0/24",    /* documentation */
    "192.88.99.0/24",  /* 6to4 relays, withdrawn */
    "192.168.0.0/16",  /* private */
    "198.18.0.0/15",   /* benchmarks */
    "198.51.100.0/24", /* documentation */
    "203.0.113.0/24",  /* documentation */
    "224.0.0.0/4",     /* multicast */
    "240.0.0.0/4",     /* reserved, broadcast */
};
/* Of IPv6 only 2000::/3 is given out; these are the holes in it. */
static const char *const private_v6[] = {
    "2001::/23",     /* protocol assignments: Teredo, ORCHID … */
    "2001:db8::/32", /* documentation */
    "2002::/16",     /* 6to4: any IPv4 address within */
    "3fff::/20",     /* documentation */
};

static bool
within(const struct net_address *address, const char *text)
{
    struct net_prefix prefix;
    bool ok = net_prefix_parse(sv_of(text), &prefix, NULL);

    assert(ok);
    (void)ok;
    return net_prefix_contains(&prefix, address);
}

static bool
within_any(const struct net_address *address, const char *const *list,
           size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (within(address, list[i]))
            return true;
    return false;
}

static bool
v4_is_public(const struct net_address *address)
{
    return !within_any(address, private_v4, COUNT_OF(private_v4));
}

/* The last four bytes as an address of their own. */
static struct net_address
embedded(const struct net_address *address)
{
    struct net_address v4 = {.in = {.sin_family = AF_INET}};

    memcpy(&v4.in.sin_addr, address->in6.sin6_addr.s6_addr + 12, 4);
    return v4;
}

bool
https_address_is_public(const struct net_address *address)
{
    if (address->sa.sa_family == AF_INET)
        return v4_is_public(address);
    if (address->sa.sa_family != AF_INET6)
        return false;
    /* NAT64 (RFC 6052) leads to the IPv4 address within, and so would an
     * IPv4-mapped one if it came this far. */
    if (within(address, "64:ff9b::/96") ||
        IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr)) {
        struct net_address v4 = embedded(address);

        return v4_is_public(&v4);
    }
    return within(address, "2000::/3") &&
           !within_any(address, private_v6, COUNT_OF(private_v6));
}
