/* net/proxy.h - the header of the PROXY protocol, versions 1 and 2, as
 * haproxy's proxy-protocol.txt (2020/03/05) defines it.  Pure parsing. */
#ifndef NET_PROXY_H
#define NET_PROXY_H
#include "net/address.h"

enum proxy_result { PROXY_OK, PROXY_PARTIAL, PROXY_BAD };

struct proxy_header {
    bool local; /* LOCAL or UNKNOWN: keep the connection's own addresses */
    struct net_address source, destination; /* when not local */
    /* From PP2_TYPE_SSL, when the proxy ended TLS; empty otherwise. */
    struct sv tls_version, tls_cipher; /* point into the input */
};

#define PROXY_MAX 1024 /* the longest header that is read */

/* On PROXY_OK *length is what to consume.  PARTIAL: give it more; BAD: this is
 * no such header, or longer than PROXY_MAX. */
enum proxy_result proxy_parse(struct sv input, struct proxy_header *header,
                              size_t *length);
#endif
