/* record/tail.h - the controller's reader of the ledger.
 *
 * Follows the ledger as the sender writes it and hands every TLS session to the
 * counts.  Rows and position are committed together, at most a few times a
 * second; only then is the spool told that it may free what was read.  When the
 * database fails, reading stops where it was committed and is tried again: the
 * spool keeps what is missing. */
#ifndef RECORD_TAIL_H
#define RECORD_TAIL_H
#include "net/loop.h"
#include "spool/ledger.h"
#include "store/store.h"

struct tail;

struct tail_calls {
    /* One session, inside the transaction that counts it. */
    bool (*on_session)(void *owner, const struct ledger_session *session,
                       struct err *err);
    /* A transaction was committed; caught_up: nothing more was there. */
    void (*on_committed)(void *owner, bool caught_up);
    /* The position is beyond all there is: this is another ledger, or an older
     * state of it.  The owner sets the position to 0; it may fail. */
    bool (*on_other_ledger)(void *owner, struct err *err);
    /* What was read cannot be stored (each time), or (NULL) can be again. */
    void (*on_trouble)(void *owner, const char *reason);
    void *owner;
};

/* The spool of state_dir may not be there yet; then it is looked for again.
 * Calls come on the loop, never from inside tail_new(). */
struct tail *tail_new(struct loop *loop, const char *state_dir,
                      struct store *store, const struct tail_calls *calls);
void tail_free(struct tail *tail); /* NULL is fine */
/* Called while nothing can be stored: when the disk has little room left, the
 * spool need not keep what was not read any more, for mail comes first. */
void tail_give_way(const char *state_dir, uint64_t min_free);
/* Whether all that was written before this moment (seconds since 1970) has been
 * counted: something later was read, or nothing is left. */
bool tail_has_passed(const struct tail *tail, int64_t moment);
#endif
