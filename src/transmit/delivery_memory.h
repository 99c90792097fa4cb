/* transmit/delivery_memory.h - short notes about servers that all sessions
 * share: "did not answer", "TLS failed there".  Bounded, every note expires.
 * Thread-safe. */
#ifndef TRANSMIT_DELIVERY_MEMORY_H
#define TRANSMIT_DELIVERY_MEMORY_H
#include "base/map.h"
#include <pthread.h>

struct delivery_memory {
    pthread_mutex_t lock;
    struct map notes;   /* of struct note */
    uint64_t next_scan; /* not before, for what has expired */
    size_t hand;        /* cursor of the last one that was dropped */
};

void delivery_memory_init(struct delivery_memory *memory);
void delivery_memory_fini(struct delivery_memory *memory);
/* now, until: milliseconds of the monotonic clock.  A memory that is full even
 * without what has expired drops another note, one of the next to expire. */
void delivery_memory_note(struct delivery_memory *memory, struct sv key,
                          uint64_t now, uint64_t until);
void delivery_memory_forget(struct delivery_memory *memory, struct sv key);
bool delivery_memory_has(struct delivery_memory *memory, struct sv key,
                         uint64_t now);
#endif
