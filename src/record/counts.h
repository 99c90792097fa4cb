/* record/counts.h - TLS sessions of a day, counted by domain and policy.
 *
 * What a report says (RFC 8460 section 4.2): for each policy that applied how
 * many sessions succeeded, and for each kind of failure how many failed.  Texts
 * that a peer chose are cut, and the kinds of failure of one policy and day are
 * bounded: beyond, what distinguishes them is dropped, never the count. */
#ifndef RECORD_COUNTS_H
#define RECORD_COUNTS_H
#include "base/arena.h"
#include "spool/ledger.h"
#include "store/store.h"
#include "tlsrpt/report.h"

/* Counts one session; inside a transaction. */
MUST_USE bool counts_add(struct store *store,
                         const struct ledger_session *session, struct err *err);
/* What a day knows of a domain: policies and failures of *report, in arena. */
MUST_USE bool counts_load(struct store *store, int64_t day, const char *domain,
                          struct arena *arena, struct tlsrpt_report *report,
                          struct err *err);
const char *counts_policy_name(enum ledger_policy policy);
#endif
