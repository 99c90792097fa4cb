/* record/lookup.h - where the owner of a domain wants reports: the TXT record
 * at _smtp._tls.DOMAIN, looked up and read. */
#ifndef RECORD_LOOKUP_H
#define RECORD_LOOKUP_H
#include "dns/dns.h"
#include "tlsrpt/record.h"

struct lookup_result {
    enum {
        LOOKUP_FOUND,  /* record and text are there */
        LOOKUP_NONE,   /* no record that is valid and can be served */
        LOOKUP_FAILED, /* no answer: it may be tried again */
    } outcome;
    char reason[300]; /* of the latter two */
    const char *text;
    struct tlsrpt_record record;
};

struct lookup;
/* on_result comes once, never from inside; the result is valid during it. */
struct lookup *lookup_start(
    struct dns_resolver *resolver, struct loop *loop, const char *domain,
    void (*on_result)(void *arg, const struct lookup_result *r), void *arg);
void lookup_cancel(struct lookup *lookup);
#endif
