/* spool/spare.h - segment files made ready before they are needed.
 *
 * A spare is a file "spare-<hex>" in a journal's directory, of the full size
 * and written once with zeros, so that writing a record later changes no
 * metadata and fdatasync has only the data to carry.  A reclaimed segment
 * becomes a spare again: the new salt makes its old bytes meaningless. */
#ifndef SPOOL_SPARE_H
#define SPOOL_SPARE_H
#include "spool/segment.h"
#include "spool/spool_internal.h"

struct segment_file {
    int fd;
    uint64_t size; /* bytes */
    bool spare;    /* it was one: all of its blocks have been written */
};

/* Makes the segment that the header describes, of at least `size` bytes, from
 * a spare if there is one; durable with its name on return.  On failure
 * nothing of that name is left. */
MUST_USE bool segment_create(struct spool *spool,
                             const struct segment_header *header, uint64_t size,
                             struct segment_file *file, struct err *err);
size_t spare_count(struct spool *spool, enum spool_journal journal);
/* Writes one more spare; false when that failed.  stop ends it early. */
MUST_USE bool spare_prepare(struct spool *spool, enum spool_journal journal,
                            const _Atomic bool *stop, struct err *err);
/* Turns a segment into a spare, or removes it when there are enough. */
MUST_USE bool spare_recycle(struct spool *spool, enum spool_journal journal,
                            uint32_t segment, struct err *err);
/* Removes spares that were never finished or have another size. */
void spare_clean(struct spool *spool, enum spool_journal journal);
#endif
