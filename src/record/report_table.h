/* record/report_table.h - which report of which day stands where.
 *
 * A report is one row for each day that is over and each domain with sessions;
 * it survives restarts.
 *
 *   planned ──look-up: no record──▶ unwanted
 *      │ └────look-up fails too long──▶ failed
 *      ▼ record found, content frozen
 *   sending ──every target ended──▶ sent (one accepted it) or failed (none)
 *
 * and each of its targets (RFC 8460 section 3, rua):
 *
 *   waiting ──▶ accepted, or failed when the time for retries is over
 *
 * The id of a report is made when it is planned and stays through all tries. */
#ifndef RECORD_REPORT_TABLE_H
#define RECORD_REPORT_TABLE_H
#include "base/arena.h"
#include "store/store.h"
#include "tlsrpt/record.h"

#define REPORT_PLANNED "planned"
#define REPORT_SENDING "sending"
#define REPORT_SENT "sent"
#define REPORT_FAILED "failed"
#define REPORT_UNWANTED "unwanted"
#define TARGET_WAITING "waiting"
#define TARGET_ACCEPTED "accepted"
#define TARGET_FAILED "failed"

/* Plans the reports of all days before `today` that have none: each is due at
 * a moment of its own within spread_s after the day's end, or soon when that
 * has passed.  submitter is the domain at the right of report ids. */
struct report_plan {
    int64_t today;
    int64_t now; /* seconds since 1970 */
    uint32_t spread_s;
    const char *submitter;
};
MUST_USE bool report_table_plan(struct store *store,
                                const struct report_plan *plan,
                                struct err *err);

struct report_row {
    int64_t day;
    const char *domain;
    const char *state;
    const char *report_id;
    const char *content; /* JSON; "" until it is frozen */
    const char *error;
    int64_t due, first_try; /* seconds since 1970; first_try 0: none yet */
    int64_t tries;
};
struct target_row {
    struct report_row report; /* day, domain, report_id, content, first_try */
    const char *uri;
    const char *state;
    const char *answer;
    int64_t due, tries;
};
/* Up to room rows that are due; texts in arena.  Returns how many. */
size_t report_table_due(struct store *store, int64_t now, struct arena *arena,
                        struct report_row *rows, size_t room);
size_t report_table_due_targets(struct store *store, int64_t now,
                                struct arena *arena, struct target_row *rows,
                                size_t room);
/* One report; false: there is none (err untouched) or the database fails. */
bool report_table_get(struct store *store, int64_t day, const char *domain,
                      struct arena *arena, struct report_row *row);
size_t report_table_targets(struct store *store, int64_t day,
                            const char *domain, struct arena *arena,
                            struct target_row *rows, size_t room);

/* planned → sending: content is frozen, targets are noted.  A report that was
 * forgotten meanwhile stays forgotten. */
MUST_USE bool report_table_start(struct store *store,
                                 const struct report_row *row, int64_t now,
                                 const char *content,
                                 const struct tlsrpt_record *record,
                                 struct err *err);
/* The report ended (state), or is looked at again at due (state planned). */
MUST_USE bool report_table_note(struct store *store,
                                const struct report_row *row, const char *state,
                                const char *error, int64_t now, int64_t due,
                                struct err *err);
/* A target is going to be tried: written down before, so that what cannot be
 * written down is not sent, and a crash in the middle counts as a try.  due is
 * when it is tried again if nothing more is heard.  *claimed: it still waits.
 */
MUST_USE bool report_table_claim(struct store *store,
                                 const struct target_row *row, int64_t due,
                                 bool *claimed, struct err *err);
/* What became of it; the last one that ends, ends the report. */
MUST_USE bool report_table_note_target(struct store *store,
                                       const struct target_row *row,
                                       const char *state, const char *answer,
                                       int64_t now, int64_t due,
                                       struct err *err);
/* By hand: the report is planned anew for now, with its id and content; false
 * with an empty err: there is no such report. */
MUST_USE bool report_table_again(struct store *store, int64_t day,
                                 const char *domain, int64_t now,
                                 struct err *err);

/* How long to wait after this many tries, in seconds: doubling, with jitter;
 * retry_s is how long is tried in all. */
uint32_t report_back_off(int64_t tries, uint64_t retry_s);
#endif
