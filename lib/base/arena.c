#include "base/arena.h"
#include <stdarg.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif
#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
/* A view kept beyond a reset is found by the sanitizer build. */
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p))
#define UNPOISON(p, n) ((void)(p))
#endif

#define ALIGNMENT ((size_t)16)

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of data */
    _Alignas(16) char data[];
};

void
arena_init(struct arena *arena, size_t block_size)
{
    assert(block_size > 0);
    *arena = (struct arena){.block_size = block_size};
}

static void
block_free(struct arena_block *block)
{
    UNPOISON(block->data, block->size);
    mem_free(block);
}

void
arena_fini(struct arena *arena)
{
    arena_release(arena);
}

void
arena_release(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *block = arena->blocks;

        arena->blocks = block->next;
        block_free(block);
    }
    arena->used = 0;
}

/* Only a block of the ordinary size is kept: a transaction that needed a large
 * one must not make the session hold it. */
void
arena_reset(struct arena *arena)
{
    struct arena_block *kept = arena->blocks;

    if (kept != NULL && kept->size == arena->block_size) {
        arena->blocks = kept->next;
        arena_release(arena);
        kept->next = NULL;
        kept->used = 0;
        POISON(kept->data, kept->size);
        arena->blocks = kept;
    } else {
        arena_release(arena);
    }
}

static struct arena_block *
block_new(size_t size)
{
    struct arena_block *block = mem_alloc_raw(sizeof *block + size);

    block->next = NULL;
    block->size = size;
    block->used = 0;
    POISON(block->data, size);
    return block;
}

/* An outsized request gets a block of its own behind the current one, whose
 * free space stays in use. */
static struct arena_block *
block_for(struct arena *arena, size_t size)
{
    struct arena_block *head = arena->blocks;
    struct arena_block *block;

    if (head != NULL && head->size - head->used >= size)
        return head;
    if (size > arena->block_size && head != NULL) {
        block = block_new(size);
        block->next = head->next;
        head->next = block;
        return block;
    }
    block = block_new(size > arena->block_size ? size : arena->block_size);
    block->next = head;
    arena->blocks = block;
    return block;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded;
    struct arena_block *block;
    char *p;

    if (__builtin_add_overflow(size, ALIGNMENT - 1, &rounded))
        abort();
    rounded &= ~(ALIGNMENT - 1);
    block = block_for(arena, rounded);
    p = block->data + block->used;
    block->used += rounded;
    arena->used += rounded;
    UNPOISON(p, size);
    return memset(p, 0, size);
}

struct sv
arena_copy(struct arena *arena, struct sv view)
{
    return (struct sv){arena_cstr(arena, view), view.n};
}

char *
arena_cstr(struct arena *arena, struct sv view)
{
    char *copy = arena_alloc(arena, view.n + 1);

    if (view.n > 0)
        memcpy(copy, view.p, view.n);
    return copy;
}

struct sv
arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args, again;
    int length;
    char *text;

    va_start(args, fmt);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(length >= 0);
    text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, fmt, again);
    va_end(again);
    return (struct sv){text, (size_t)length};
}

size_t
arena_used(const struct arena *arena)
{
    return arena->used;
}
