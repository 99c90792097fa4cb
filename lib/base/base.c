#include "base/base.h"

/* An abort leaves a core and a restart; a NULL on a path that nobody has ever
 * tested leaves a hole. */
static void *
or_die(void *ptr, size_t size)
{
    if (ptr == NULL) {
        fprintf(stderr, "waxgate: out of memory (%zu bytes)\n", size);
        abort();
    }
    return ptr;
}

void *
mem_alloc(size_t size)
{
    return or_die(calloc(1, size > 0 ? size : 1), size);
}

void *
mem_alloc_raw(size_t size)
{
    return or_die(malloc(size > 0 ? size : 1), size);
}

void *
mem_resize(void *ptr, size_t size)
{
    return or_die(realloc(ptr, size > 0 ? size : 1), size);
}

void *
mem_alloc_array(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        or_die(NULL, SIZE_MAX);
    return mem_alloc(total);
}

char *
mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(mem_alloc_raw(size), text, size);
}

void
mem_free(void *ptr)
{
    free(ptr);
}
