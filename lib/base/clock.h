/* base/clock.h - the two clocks.
 * Durations and time-outs use the monotonic clock, dates the wall clock.  Event
 * loops cache both (net/loop.h); tests freeze them here. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include "base/base.h"

uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
int64_t clock_wall_us(void); /* microseconds since 1970 UTC */
int64_t clock_wall_s(void);

/* For tests: from now on both clocks stand still at these values until
 * clock_advance_ms().  Process-wide. */
void clock_freeze(uint64_t mono_ms, int64_t wall_s);
void clock_advance_ms(uint64_t ms);
#endif
