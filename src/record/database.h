/* record/database.h - the tables of the controller's database.
 *
 * STATE_DIR/record.db holds what was read from the ledger and how far: both
 * change in the same transaction, so a crash neither loses nor doubles a
 * session.  It is made anew when it is found damaged; mail never waits for it.
 *
 * Days are counted from 1970 in UTC, moments are seconds since then. */
#ifndef RECORD_DATABASE_H
#define RECORD_DATABASE_H
#include "store/store.h"

/* Opens STATE_DIR/record.db with its tables.  A damaged one is set aside
 * (record.db.damaged) and *damaged says so.  In a new one today is the first
 * day that is counted, because the days before may have been reported. */
MUST_USE struct store *database_open(const char *state_dir, int64_t today,
                                     bool *damaged, struct err *err);
/* Sets a damaged one aside that was open, and is closed by now. */
MUST_USE bool database_set_aside(const char *state_dir, struct err *err);
/* Where reading goes on; 0: at the oldest record there is. */
MUST_USE bool database_position(struct store *store, uint64_t *next,
                                struct err *err);
MUST_USE bool database_set_position(struct store *store, uint64_t next,
                                    struct err *err);
/* Reading begins anew, at the oldest record there is, and counting today. */
MUST_USE bool database_begin_again(struct store *store, int64_t today,
                                   struct err *err);
/* Days before this one are not counted. */
MUST_USE bool database_first_day(struct store *store, int64_t *day,
                                 struct err *err);
/* Forgets all days before this one, and what was sent of them; and which
 * domains were last told of before this moment. */
MUST_USE bool database_forget_before(struct store *store, int64_t day,
                                     int64_t told_before, struct err *err);

enum { DAY_TEXT = 16 };
int64_t day_of(int64_t seconds); /* since 1970 */
int64_t day_start(int64_t day);  /* seconds */
/* "2026-11-22"; text holds DAY_TEXT bytes; returns it. */
const char *day_text(int64_t day, char *text);
MUST_USE bool day_parse(struct sv text, int64_t *day);
#endif
