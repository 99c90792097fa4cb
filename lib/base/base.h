/* base/base.h - what every file may assume: the annotations, bit and array
 * helpers, and allocation that cannot fail.
 * Allocation failure aborts (see mem_alloc()); attacker-chosen sizes are
 * limited before they come here, so an abort means that the machine is out of
 * memory and a restart by the supervisor is the best answer. */
#ifndef BASE_BASE_H
#define BASE_BASE_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define BIT(n) (1u << (n))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member)                                        \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* All of these abort when memory is exhausted; none returns NULL, also for a
 * size of 0.  The caller owns the memory and gives it to mem_free(). */
void *mem_alloc(size_t size);                     /* zeroed */
void *mem_alloc_raw(size_t size);                 /* not zeroed */
void *mem_resize(void *ptr, size_t size);         /* new bytes are not zeroed */
void *mem_alloc_array(size_t count, size_t size); /* zeroed; overflow aborts */
char *mem_strdup(const char *text);
void mem_free(void *ptr); /* NULL is fine */

/* The first byte of these names is a bug waiting: they know no size. */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol gets
#endif
