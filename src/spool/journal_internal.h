/* spool/journal_internal.h - what the two halves of a journal's writer share:
 * the thread and its queue (journal.c), segments and batches
 * (journal_write.c). */
#ifndef SPOOL_JOURNAL_INTERNAL_H
#define SPOOL_JOURNAL_INTERNAL_H
#include "spool/journal.h"
#include "spool/segment.h"
#include <sys/uio.h>

enum { IOV_ENTRIES = 1024 }; /* IOV_MAX on Linux */

struct journal {
    struct spool *spool;
    struct journal_options options;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t more; /* entries, or stop */
    pthread_cond_t done; /* completed moved, or the journal began to fail */
    struct list queue;
    uint64_t appended, completed, last_failed; /* tickets */
    bool stop;
    struct err failure; /* why it fails, or failed last */

    _Atomic bool failing;
    _Atomic uint64_t commits, batches;
    _Atomic uint32_t segment; /* number being written */

    /* The writer thread's own: */
    int fd;
    struct segment_header header; /* of the segment being written, or last */
    uint64_t size, end;
    bool raw; /* the segment is no spare: its blocks are not written yet */
    uint32_t last, next_number;
    uint64_t next_sequence, durable_sequence;
    unsigned retry_ms;
    uint64_t retry_at; /* FAILING: when to try again, monotonic ms */
    int64_t recovered_us;
    size_t iov_count;
    struct iovec iov[IOV_ENTRIES];
};

/* All of these on the writer thread (or before it runs). */

/* Begins a segment with room for need bytes of records, behind j->end of the
 * last one.  On failure nothing has changed but the next number. */
MUST_USE bool journal_begin_segment(struct journal *j, uint64_t need,
                                    struct err *err);
/* Writes and syncs; on success the end has moved and is published, on failure
 * the segment cannot be trusted any more. */
MUST_USE bool journal_write_batch(struct journal *j, struct list *batch,
                                  struct err *err);
/* Of an entry that was not written. */
void journal_remove_body(struct journal *j, const struct journal_entry *entry);
#endif
