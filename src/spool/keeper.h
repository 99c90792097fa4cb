/* spool/keeper.h - the background thread of a writer: prepares spare segments,
 * measures the free room of the disk, removes body files.  Nothing that
 * commits a message waits for it. */
#ifndef SPOOL_KEEPER_H
#define SPOOL_KEEPER_H
#include "spool/spool_internal.h"

MUST_USE struct keeper *
keeper_start(struct spool *spool, enum spool_journal journal, struct err *err);
void keeper_stop(struct keeper *keeper);
void keeper_nudge(struct keeper *keeper); /* spares may be wanted */
/* Removes the body file of the record at this place, soon. */
void keeper_drop_body(struct keeper *keeper, struct spool_place place);
/* The writer has begun a segment, perhaps from a spare: look again.  keeper may
 * be NULL here and in the next: the writer starts first. */
void keeper_switched(struct keeper *keeper);
/* Spare segments there were at the last look. */
size_t keeper_spares(const struct keeper *keeper);
uint64_t keeper_free_bytes(const struct keeper *keeper);
/* Bytes that the disk has left for us; 0 when it cannot be asked. */
uint64_t disk_free_bytes(int dir);
#endif
