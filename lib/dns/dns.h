/* dns/dns.h - look-ups that say how far they can be trusted.
 * libunbound, validating in this process.  Every RRset comes with one of five
 * states; everything above works with that type and never with raw answers. */
#ifndef DNS_DNS_H
#define DNS_DNS_H
#include "base/err.h"
#include "base/sv.h"
#include "net/loop.h"

enum dns_state {
    DNS_SECURE,   /* validated */
    DNS_INSECURE, /* proven to be unsigned, or nothing to validate with */
    DNS_BOGUS,    /* signatures do not hold: treat as an attack */
    DNS_ERROR,    /* no answer: SERVFAIL, time-out */
    DNS_ABSENT,   /* the name or the type does not exist; see secure_denial */
};
const char *dns_state_name(enum dns_state state);

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52,
};
const char *dns_type_name(enum dns_type type);                    /* "TLSA" */
MUST_USE bool dns_type_find(struct sv name, enum dns_type *type); /* any case */

struct dns_record { /* rdata as on the wire; names in it are expanded by the
                     * dns_…_parse functions */
    const uint8_t *data;
    size_t length;
};

/* One CNAME on the way to the answer. */
struct dns_alias {
    char name[256], target[256]; /* canonical */
    enum dns_state state;        /* of this record by itself; from dns_lookup()
                                  * SECURE only where all of the answer is, else
                                  * INSECURE: not proven.  See dns_trace(). */
};

struct dns_answer {
    enum dns_state state;
    bool nxdomain;      /* with ABSENT: the name itself does not exist */
    bool secure_denial; /* with ABSENT: proven by DNSSEC */
    bool timed_out;     /* with ERROR: nothing came within the limit */
    char reason[160];   /* BOGUS, ERROR: the resolver's words */
    char name[256];     /* canonical name after CNAMEs; no trailing dot */
    uint32_t ttl;       /* seconds */
    const struct dns_record *records; /* at most DNS_RECORDS_MAX */
    size_t record_count;
    const struct dns_alias *aliases; /* in order; a chain that is longer than
                                      * DNS_ALIASES_MAX or comes back to itself
                                      * is DNS_ERROR */
    size_t alias_count;
};
enum { DNS_RECORDS_MAX = 100, DNS_ALIASES_MAX = 10 };

struct dns_resolver;
struct dns_options {
    char *const *resolvers; /* see dns_settings; 0: from the root */
    size_t resolver_count;
    char *const *trust_anchors;
    size_t trust_anchor_count;
    char *const *stub_zones;
    size_t stub_zone_count;
    uint64_t timeout_ms;
};
MUST_USE struct dns_resolver *
dns_resolver_new(struct loop *loop, const struct dns_options *options,
                 struct err *err);
/* Counted: a reload makes a new one while queries of the old still run. */
struct dns_resolver *dns_resolver_ref(struct dns_resolver *resolver);
void dns_resolver_unref(struct dns_resolver *resolver);

/* Looks up; on_answer comes once on `loop` (any loop), never from inside this
 * call; the answer is valid during the callback. name: canonical (A-labels, no
 * trailing dot). */
struct dns_query;
struct dns_query *dns_lookup(struct dns_resolver *resolver, struct loop *loop,
                             const char *name, enum dns_type type,
                             void (*on_answer)(void *arg,
                                               const struct dns_answer *answer),
                             void *arg);
void dns_cancel(struct dns_query *query); /* no call comes any more */

/* The same, with the state of each alias by itself: where not all of the answer
 * is secure, every alias is asked for once more as a CNAME record.  A signed
 * alias into an unsigned zone shows only so (RFC 7672 section 2.2.2). */
struct dns_trace;
struct dns_trace *dns_trace(struct dns_resolver *resolver, struct loop *loop,
                            const char *name, enum dns_type type,
                            void (*on_answer)(void *arg,
                                              const struct dns_answer *answer),
                            void *arg);
void dns_trace_cancel(struct dns_trace *trace); /* no call comes any more */

/* Look-ups that were answered or timed out, since the process began and over
 * all resolvers; those that were cancelled are not among them.  libunbound does
 * not say which came from its cache: those within a millisecond mostly did. */
enum {
    DNS_TYPE_COUNT = 9,
    DNS_STATE_COUNT = DNS_ABSENT + 1,
    DNS_TIME_COUNT = 6
};
struct dns_counts {
    enum dns_type types[DNS_TYPE_COUNT]; /* of the rows below */
    uint64_t answers[DNS_TYPE_COUNT][DNS_STATE_COUNT];
    uint64_t timed_out;             /* of those with DNS_ERROR */
    uint64_t times[DNS_TIME_COUNT]; /* within dns_time_limits; the last: more */
    uint64_t total_us;              /* of all together */
};
extern const unsigned dns_time_limits[DNS_TIME_COUNT - 1]; /* ms, rising */
void dns_counts_read(struct dns_counts *counts);           /* from any thread */

/* The rdata as a zone file would have it, printable whatever it holds; raw
 * (RFC 3597) where it is malformed or its type not one of ours.  Cut with "..."
 * when it does not fit. */
void dns_record_print(enum dns_type type, const struct dns_record *record,
                      char *out, size_t size);

/* Bounded parsing of rdata; false for malformed data. */
struct net_address;
MUST_USE bool dns_mx_parse(const struct dns_record *record,
                           uint16_t *preference, char *host /* [256] */);
MUST_USE bool dns_name_parse(const struct dns_record *record,
                             char *host /* [256] */); /* PTR, CNAME, NS */
/* The strings of the record joined without anything between them (RFC 7208
 * section 3.3 and others); any byte may stand in it.  False too when they need
 * more than size bytes.  *text points into room. */
MUST_USE bool dns_txt_parse(const struct dns_record *record, char *room,
                            size_t size, struct sv *text);
struct dns_soa {
    char server[256];
    uint32_t serial, refresh, retry, expire, minimum; /* seconds, but serial */
};
MUST_USE bool dns_soa_parse(const struct dns_record *record,
                            struct dns_soa *soa);
MUST_USE bool dns_address_parse(const struct dns_record *record,
                                enum dns_type type,
                                struct net_address *address);
#endif
