#include "base/clock.h"
#include <stdatomic.h>
#include <time.h>

static atomic_bool frozen;
static atomic_uint_fast64_t frozen_mono_us;
static atomic_int_fast64_t frozen_wall_us;

static int64_t
read_us(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

uint64_t
clock_mono_us(void)
{
    if (atomic_load_explicit(&frozen, memory_order_relaxed))
        return atomic_load(&frozen_mono_us);
    return (uint64_t)read_us(CLOCK_MONOTONIC);
}

uint64_t
clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t
clock_wall_us(void)
{
    if (atomic_load_explicit(&frozen, memory_order_relaxed))
        return atomic_load(&frozen_wall_us);
    return read_us(CLOCK_REALTIME);
}

int64_t
clock_wall_s(void)
{
    return clock_wall_us() / 1000000;
}

void
clock_freeze(uint64_t mono_ms, int64_t wall_s)
{
    atomic_store(&frozen_mono_us, mono_ms * 1000);
    atomic_store(&frozen_wall_us, wall_s * 1000000);
    atomic_store(&frozen, true);
}

void
clock_advance_ms(uint64_t ms)
{
    assert(atomic_load(&frozen));
    atomic_fetch_add(&frozen_mono_us, ms * 1000);
    atomic_fetch_add(&frozen_wall_us, (int64_t)(ms * 1000));
}
