/* base/arena.h - memory that is freed all at once.
 * A session has one arena for its life and one for the transaction, so error
 * paths free nothing by hand.  Allocation aborts when memory is exhausted;
 * arena_used() lets the caller bound what a peer may make it hold. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include "base/sv.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* owned; newest first */
    size_t used;                /* bytes handed out since the last reset */
    size_t block_size;
};

/* Caller's storage; nothing is allocated before the first use. */
void arena_init(struct arena *arena, size_t block_size);
void arena_fini(struct arena *arena);
/* Everything handed out is gone; one block may be kept for reuse. */
void arena_reset(struct arena *arena);
/* As arena_reset(), but gives every block back: an idle session holds none. */
void arena_release(struct arena *arena);

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned 16 */
struct sv arena_copy(struct arena *arena, struct sv view);
char *arena_cstr(struct arena *arena, struct sv view); /* NUL-terminated */
struct sv arena_printf(struct arena *arena, const char *fmt, ...)
    PRINTF_LIKE(2, 3); /* the view is followed by a NUL */
size_t arena_used(const struct arena *arena);
#endif
