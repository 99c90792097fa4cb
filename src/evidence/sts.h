/* evidence/sts.h - the MTA-STS policies of other domains, as delivery needs
 * them (RFC 8461).
 *
 * One cache for all loops of the sender, on disk in STATE_DIR/sts/ so that it
 * survives restart and crash.  A policy counts until its max_age after the last
 * successful fetch, whatever happens to the record or the policy host
 * meanwhile (section 3.3); it is refreshed about daily (section 10.2); a
 * changed id makes it fetched anew, and a policy that fails a delivery is
 * looked at once more before the failure is final (section 5.1). */
#ifndef EVIDENCE_STS_H
#define EVIDENCE_STS_H
#include "dns/dns.h"
#include "service/rpc.h"
#include "settings/settings.h"
#include "sts/sts.h"

struct sts_cache;

/* Reads what is on disk.  fetches and timers run on this loop, the sender's
 * main one. */
MUST_USE struct sts_cache *sts_cache_new(struct loop *loop,
                                         struct settings *settings,
                                         struct dns_resolver *resolver,
                                         struct err *err);
/* A reload; on the main loop.  Both are referenced. */
void sts_cache_set(struct sts_cache *cache, struct settings *settings,
                   struct dns_resolver *resolver);
/* Tells of policies in use that will run out because they cannot be refreshed,
 * a key for each domain, and of a disk that takes none.  From any thread; it
 * may not call the cache. */
void sts_cache_on_alert(struct sts_cache *cache,
                        void (*on_alert)(void *arg, const char *key,
                                         bool raised, const char *text),
                        void *arg);
/* No look-up may be under way. */
void sts_cache_free(struct sts_cache *cache); /* NULL is fine */

/* What is known of a domain now. */
enum sts_state {
    STS_ABSENT,    /* the domain has no policy (or it is of mode none) */
    STS_POLICY,    /* policy is in force */
    STS_UNKNOWN,   /* the record could not be looked up, nothing is cached */
    STS_UNFETCHED, /* there is a record, but no policy could be fetched and
                    * nothing is cached: counts as absent (section 3.3) */
    STS_OFF,       /* the destination does not want it, or a route is used */
};
const char *sts_state_name(enum sts_state state);

/* Why there is no policy with UNFETCHED, as far as reports tell it apart (RFC
 * 8460 section 4.3.2.2). */
enum sts_trouble {
    STS_TROUBLE_FETCH,
    STS_TROUBLE_WEBPKI,  /* the policy host's certificate */
    STS_TROUBLE_INVALID, /* what came is no policy */
};

struct sts_evidence {
    enum sts_state state;
    enum sts_trouble trouble;
    struct sts_policy *policy; /* borrowed during the call back; NULL unless
                                * STS_POLICY */
    char id[STS_ID_MAX + 1];
    int64_t fetched;  /* seconds since 1970 */
    bool cached;      /* it was there before this look-up */
    char reason[200]; /* of UNKNOWN, UNFETCHED, or of a refresh that failed */
};

/* Looks a policy up on behalf of any loop: on_evidence comes once on `loop`,
 * never from inside.  A policy that is cached and whose record was looked at
 * within the last minutes is answered without DNS.  fresh: the record is looked
 * up again first, and a changed policy fetched (before a failure is final). */
struct sts_query;
struct sts_query *
sts_lookup(struct sts_cache *cache, struct loop *loop, const char *domain,
           bool fresh,
           void (*on_evidence)(void *arg, const struct sts_evidence *evidence),
           void *arg);
void sts_cancel(struct sts_query *query); /* no call comes any more */

/* What is cached, without looking anything up; for views.  False: nothing.
 * policy is referenced for the caller. */
MUST_USE bool sts_peek(struct sts_cache *cache, const char *domain,
                       struct sts_evidence *evidence);

/* `sts.list|show|refresh|forget|pin`. Main loop. */
void sts_request(struct sts_cache *cache, struct rpc_call *call);
#endif
