/* spool/recover.h - what a writer finds when it starts.
 *
 * Only the last segment is read: the ends of the others stand in the headers
 * that follow them.  Its end is behind the last intact record; what is damaged
 * before that stays, for it may have been acknowledged. */
#ifndef SPOOL_RECOVER_H
#define SPOOL_RECOVER_H
#include "spool/spool_internal.h"

struct recovered {
    uint32_t last;    /* segment to continue after; 0: the journal is new */
    uint64_t end;     /* where it ends */
    uint32_t highest; /* number in use; the next one must be above */
    uint32_t empty;   /* a last segment without records: can be recycled */
    uint64_t next_sequence;
    int64_t wall_us; /* of the last record, or its segment; 0: none */
};

/* Also removes the body files that no record points at. */
MUST_USE bool recover_journal(struct spool *spool, enum spool_journal journal,
                              struct recovered *found, struct err *err);
#endif
