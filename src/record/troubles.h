/* record/troubles.h - failures of policies that the administrator has not been
 * told of.
 *
 * A session that failed where a policy of the destination applied (MTA-STS,
 * enforced or testing, or DANE) is counted here until a notice has told of it;
 * kinds are bounded for each domain, counts are never lost. */
#ifndef RECORD_TROUBLES_H
#define RECORD_TROUBLES_H
#include "base/arena.h"
#include "spool/ledger.h"
#include "store/store.h"

bool troubles_concern(const struct ledger_session *session);
/* Counts it; inside a transaction. */
MUST_USE bool troubles_add(struct store *store,
                           const struct ledger_session *session,
                           struct err *err);

struct trouble {
    const char *type;   /* "sts", "tlsa" */
    const char *result; /* RFC 8460 section 4.3 */
    const char *stage;  /* its name; "none" */
    const char *host, *reason;
    bool enforced;
    uint64_t sessions;
    int64_t first_at, last_at; /* seconds since 1970 */
};
enum { TROUBLES_MAX = 50 }; /* kinds for one domain; the last ones are vague */

/* Up to room domains that may be told of: last told before `told_before`; those
 * that wait longest first. */
size_t troubles_domains(struct store *store, int64_t told_before,
                        struct arena *arena, const char **domains, size_t room);
size_t troubles_load(struct store *store, const char *domain,
                     struct arena *arena, struct trouble *rows, size_t room);
/* Notes when a domain was told of. */
MUST_USE bool troubles_told(struct store *store, const char *domain,
                            int64_t told_at, struct err *err);
/* These have been told: takes their counts off. */
MUST_USE bool troubles_clear(struct store *store, const char *domain,
                             const struct trouble *rows, size_t count,
                             struct err *err);
#endif
