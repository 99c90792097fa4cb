/* dns/test_dns_server.h - a name server on loopback for tests: a thread that
 * answers from a table, over UDP and TCP. */
#ifndef DNS_TEST_DNS_SERVER_H
#define DNS_TEST_DNS_SERVER_H
#include "dns/dns.h"

struct test_dns_record {
    const char *name;
    enum dns_type type;
    const char *data; /* "192.0.2.1", "10 mx.test", "target.test", text; hex
                       * digits for raw rdata when it begins with "\\#"; NULL:
                       * no data for the type, but the name exists */
    int rcode;        /* 2: SERVFAIL …; -1: no answer at all */
};

struct test_dns_server;
/* records end with a name of NULL; they are only read. */
struct test_dns_server *
test_dns_server_new(const struct test_dns_record *records);
/* "127.0.0.1@PORT", as dns_options take it. */
const char *test_dns_server_address(const struct test_dns_server *server);
void test_dns_server_free(struct test_dns_server *server);
#endif
