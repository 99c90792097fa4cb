/* record/record.h - what the controller keeps of the past, and what it does
 * with it: TLS sessions counted from the ledger, the reports of RFC 8460 that
 * are made of them, notices of failures.
 *
 *   ledger ──tail──▶ record.db ──dispatch──▶ look-up, HTTPS, queue
 *                        └──────notices───▶ queue
 *
 * Nothing here is in the way of mail: where the database fails an alert is
 * raised, and it is tried again.  All on the main loop. */
#ifndef RECORD_RECORD_H
#define RECORD_RECORD_H
#include "service/service.h"

struct record;

/* NULL: the settings cannot be used (a key cannot be read). */
MUST_USE struct record *record_new(struct service_host *host,
                                   struct settings *settings, struct err *err);
void record_free(struct record *record); /* NULL is fine */

/* The three steps of a reload. */
MUST_USE bool record_prepare(struct record *record, struct settings *candidate,
                             struct err *err);
void record_commit(struct record *record);
void record_abandon(struct record *record);

/* Calls, all with domain and date ("2026-11-22"):
 *
 *   tlsrpt.show  -> {"state", "report": the JSON as it was or would be sent}
 *   tlsrpt.list  domain and date may be left out, limit (1000)
 *                -> items: date, domain, state, successful, failed, error,
 *                   next, targets [uri, state, tries, answer]
 *   tlsrpt.send  -> tries the report of a day that is over at once; the answer
 *                   comes when every target was tried: as an item of list
 *                with dry_run -> {"report", "record", "targets", "reason"} */
void record_request(struct record *record, struct rpc_call *call);
#endif
