/* spool/ledger_internal.h - the items of which records of the ledger consist.
 */
#ifndef SPOOL_LEDGER_INTERNAL_H
#define SPOOL_LEDGER_INTERNAL_H
#include "spool/ledger.h"

/* Appends {tag, 0, length, bytes}; what is too long is cut.  What is empty or
 * 0 is left out by all but the first: reading gives the same again. */
void ledger_add_item(struct buf *out, unsigned tag, struct sv bytes);
void ledger_add_text(struct buf *out, unsigned tag, struct sv text);
void ledger_add_number(struct buf *out, unsigned tag, uint64_t value);
/* By name, so the list of stages may grow in the middle. */
void ledger_add_stage(struct buf *out, unsigned tag, enum tls_stage stage);

struct ledger_item {
    unsigned tag;
    struct sv bytes;
    uint64_t number; /* where it is 8 bytes long */
};
/* False at the end, and where an item is cut short (*in is not empty then). */
bool ledger_take_item(struct sv *in, struct ledger_item *item);
enum tls_stage ledger_stage(struct sv name);
#endif
