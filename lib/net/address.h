/* net/address.h - IP addresses with ports, and prefixes of them.
 * IPv4-mapped IPv6 addresses are turned into plain IPv4 at the border, so one
 * peer has one spelling. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H
#include "base/err.h"
#include "base/sv.h"
#include <netinet/in.h>
#include <sys/socket.h>

struct net_address {
    union {
        struct sockaddr sa; /* sa_family AF_UNSPEC: no address */
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};

struct net_prefix {
    uint8_t family; /* AF_INET or AF_INET6 */
    uint8_t bits;   /* length of the prefix */
    uint8_t bytes[16];
};

#define NET_ADDRESS_TEXT 56 /* "[ipv6]:port" and its NUL */

/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]"; no port, no zone. */
MUST_USE bool net_address_parse(struct sv text, uint16_t port,
                                struct net_address *address);
/* "192.0.2.1:25", "[2001:db8::1]:25"; the port must be there, 1..65535. */
MUST_USE bool net_address_parse_port(struct sv text,
                                     struct net_address *address);
void net_address_from_sockaddr(const struct sockaddr *sa,
                               struct net_address *address);
socklen_t net_address_length(const struct net_address *address);
uint16_t net_address_port(const struct net_address *address);
void net_address_set_port(struct net_address *address, uint16_t port);
bool net_address_same_ip(const struct net_address *a,
                         const struct net_address *b);
bool net_address_is_loopback(const struct net_address *address);
bool net_address_is_any(const struct net_address *address);

/* Both write at most NET_ADDRESS_TEXT bytes with the NUL and return text. */
const char *net_address_ip_text(const struct net_address *address, char *text);
const char *net_address_text(const struct net_address *address, char *text);

/* "192.0.2.0/24", "2001:db8::/32" or a single address.  Bits set behind the
 * prefix are refused; err says what would be right. */
MUST_USE bool net_prefix_parse(struct sv text, struct net_prefix *prefix,
                               struct err *err);
bool net_prefix_contains(const struct net_prefix *prefix,
                         const struct net_address *address);
#endif
