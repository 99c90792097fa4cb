/* spool/shared.h - what the processes tell each other in shared memory: how
 * far each journal is durable, who sleeps and wants to be woken, the size of
 * the queue.
 *
 * The file spool/shared is mapped by every process of the spool.  Losing it
 * loses nothing: a writer publishes its position anew when it starts, and
 * until then readers see less, never more.  What a power failure leaves in it
 * is at worst old, so it is always a lower bound of what was acknowledged. */
#ifndef SPOOL_SHARED_H
#define SPOOL_SHARED_H
#include "spool/record.h"
#include <stdatomic.h>

enum { SHARED_READERS = 16 };

struct shared_journal {
    _Alignas(64) _Atomic uint64_t end; /* spool_place up to which all is
                                        * durable; 0: nothing known */
    _Atomic uint64_t sequence;         /* of the last durable record */
};

struct shared_file {
    uint64_t magic;
    struct shared_journal journals[2];
    _Alignas(64) _Atomic uint32_t sleeping[SHARED_READERS];
    _Alignas(64) _Atomic uint64_t queue_messages;
    _Atomic uint64_t queue_bytes;
    _Atomic uint64_t next_id; /* of a queue id: seconds << 16 | counter; both
                               * writers draw from it */
};

struct shared {
    struct shared_file *file;         /* mapped; NULL: there is none */
    int dir;                          /* of the spool, borrowed */
    _Atomic int wake[SHARED_READERS]; /* FIFOs of the readers, -1: not open */
};

struct shared_options {
    bool create; /* otherwise a missing file is like one full of zeros */
};
MUST_USE bool shared_open(struct shared *shared, int dir,
                          const struct shared_options *options,
                          struct err *err);
void shared_close(struct shared *shared);

/* The durable end of a journal, in full order with what was written before. */
struct spool_place shared_end(const struct shared *shared,
                              enum spool_journal journal);
uint64_t shared_sequence(const struct shared *shared,
                         enum spool_journal journal);
/* Publishes a new end and wakes the readers that sleep. */
void shared_publish(struct shared *shared, enum spool_journal journal,
                    struct spool_place end, uint64_t sequence);

/* A reader's place to sleep: its FIFO, opened and locked against others; -1 on
 * failure.  *slot is its number. */
MUST_USE int shared_sleeper_open(struct shared *shared, unsigned *slot,
                                 struct err *err);
/* From now on growth writes a byte into the FIFO of this slot, once. */
void shared_sleep(struct shared *shared, unsigned slot);
void shared_awake(struct shared *shared, unsigned slot);
#endif
