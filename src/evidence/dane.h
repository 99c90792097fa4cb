/* evidence/dane.h - the TLSA records of one server (RFC 7672 section 2).
 *
 * Whether they may be asked for at all depends on the DNSSEC state of the
 * server's addresses and of every alias on the way; the answer is one value
 * that decide() understands. */
#ifndef EVIDENCE_DANE_H
#define EVIDENCE_DANE_H
#include "dns/dns.h"
#include "tls/dane.h"

enum dane_state {
    DANE_OFF,      /* the destination or the message does not want it */
    DANE_INSECURE, /* the server's name or addresses are not signed: RFC 7672
                    * section 2.2.2; not asked for */
    DANE_ABSENT,   /* proven: there is none */
    DANE_UNUSABLE, /* there are some, none of them usable: TLS, unauthenticated
                    */
    DANE_USABLE,
    DANE_FAILED, /* SERVFAIL, time-out, bogus: this server may not be used now
                  */
};
const char *dane_state_name(enum dane_state state);

/* Immutable, counted: sessions and explanations share it. */
struct dane_evidence {
    enum dane_state state;
    bool mx_secure;   /* the server's name came from a signed MX record, or is
                       * the signed domain itself */
    char base[256];   /* TLSA base domain; "" unless asked */
    char host[256];   /* as in the MX record */
    char reason[200]; /* for people */
    uint32_t ttl;     /* seconds */
    const struct tls_tlsa *tlsa; /* all that came, usable or not, in order */
    size_t tlsa_count;
};
struct dane_evidence *dane_evidence_ref(struct dane_evidence *evidence);
void dane_evidence_unref(struct dane_evidence *evidence); /* NULL is fine */

/* Looks up the records for port of host.  mx_state: of the MX RRset by which
 * host was found (SECURE too where the domain provably has none); address
 * states as route_find() gave them.  on_evidence comes once on the loop, never
 * from inside, with a reference for the callee. */
struct dane_query;
struct dane_query *
dane_lookup(struct dns_resolver *resolver, struct loop *loop, const char *host,
            uint16_t port, enum dns_state mx_state,
            void (*on_evidence)(void *arg, struct dane_evidence *evidence),
            void *arg);
void dane_cancel(struct dane_query *query); /* no call comes any more */
#endif
