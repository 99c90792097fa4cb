/* spool/journal.h - group commit: the thread that writes one journal.
 *
 * Entries are appended by any thread and become durable in that order.  The
 * thread takes what has gathered, writes it with one pwritev and one fdatasync,
 * publishes the end, wakes the readers and tells the entries.  While a sync
 * runs the next batch gathers.
 *
 * After a failed write or sync nothing in the tail of that segment is trusted
 * any more (the kernel may call a page clean that never reached the disk): a
 * new segment begins, whose header cuts the old one at the last durable
 * offset.  Until one can be made the journal is failing; it tries again with
 * increasing pauses. */
#ifndef SPOOL_JOURNAL_H
#define SPOOL_JOURNAL_H
#include "spool/spool_internal.h"

/* One record to be.  Appender's storage; it and all it points to must stay
 * until on_written, which runs on the writer thread and may free it. */
struct journal_entry {
    struct link link;
    struct record record; /* type, lengths, body, content_crc, and id unless it
                           * is 0: then the writer makes it from the sequence */
    struct sv head;
    struct sv text;             /* content in line: this … */
    struct block_chain content; /* … or these */
    uint32_t body_segment;      /* whose name the body file has; 0: temporary */
    _Atomic bool dropped; /* not wanted any more: skipped if still queued */
    /* Durable at this place (error NULL), or not written. */
    void (*on_written)(struct journal_entry *entry, const struct err *error);
    struct spool_place place;
    unsigned char raw[RECORD_HEADER];
};

struct journal_options {
    enum spool_journal journal;
    /* Failed entries are written again into the new segment instead of being
     * reported: order is kept and the appender need not care. */
    bool hold;
    void (*on_batch)(void *arg); /* after the entries of a batch were told */
    void *arg;
};

/* Recovers the journal and starts its thread. */
MUST_USE struct journal *journal_start(struct spool *spool,
                                       const struct journal_options *options,
                                       struct err *err);
/* Writes what is queued (or fails it, if the disk does) and ends the thread. */
void journal_stop(struct journal *journal);
void journal_append(struct journal *journal, struct journal_entry *entry);
/* Waits for everything appended before; false when some of it failed, or when
 * the journal is failing. */
MUST_USE bool journal_wait(struct journal *journal, struct err *err);

bool journal_failing(const struct journal *journal);
struct journal_counters {
    uint64_t commits, batches;
    char failure[256];
};
void journal_count(struct journal *journal, struct journal_counters *counters);
uint32_t journal_segment(const struct journal *journal);
/* Wall time of the last record found at the start; 0: none. */
int64_t journal_recovered_us(const struct journal *journal);
#endif
