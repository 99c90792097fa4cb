/* base/random.h - random numbers from the kernel; aborts if it has none. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H
#include "base/base.h"

uint64_t random_u64(void);
uint32_t random_below(uint32_t bound); /* uniform in 0..bound-1; bound > 0 */
void random_fill(void *dst, size_t n);
#endif
