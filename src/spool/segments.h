/* spool/segments.h - segment files that are open for reading, shared by the
 * readers and contents of this process and counted; a few that nobody uses
 * stay open for the next one.  Any thread.
 *
 * A file that is counted is not reclaimed by this process.  Another process
 * may recycle it: then its salt changes, which segment_ref_current() sees. */
#ifndef SPOOL_SEGMENTS_H
#define SPOOL_SEGMENTS_H
#include "spool/segment.h"
#include "spool/spool_internal.h"

struct segment_ref {
    struct link link; /* of the table */
    unsigned refs;
    int fd;
    uint64_t size; /* of the file, bytes */
    struct segment_header header;
};

struct segment_table *segment_table_new(struct spool *spool);
void segment_table_free(struct segment_table *table);

/* NULL: err->code ENOENT when there is no such segment, EBADMSG when its
 * header is damaged. */
MUST_USE struct segment_ref *segment_get(struct segment_table *table,
                                         enum spool_journal journal,
                                         uint32_t number, struct err *err);
void segment_put(struct segment_table *table, struct segment_ref *ref);
/* Whether the file still is that segment. */
bool segment_ref_current(const struct segment_ref *ref);
/* Closes it if nobody uses it; false: it is in use. */
MUST_USE bool segment_forget(struct segment_table *table,
                             enum spool_journal journal, uint32_t number);
#endif
