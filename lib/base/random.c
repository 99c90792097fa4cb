#include "base/random.h"
#include <errno.h>
#include <sys/random.h>

/* No pool in the process: after a fork two processes would draw the same. */
void
random_fill(void *dst, size_t n)
{
    char *at = dst;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got > 0) {
            at += got;
            n -= (size_t)got;
        } else if (errno != EINTR) {
            abort();
        }
    }
}

uint64_t
random_u64(void)
{
    uint64_t value;

    random_fill(&value, sizeof value);
    return value;
}

/* Draws that would favour the small numbers are thrown away. */
uint32_t
random_below(uint32_t bound)
{
    uint32_t uneven;
    uint32_t value;

    assert(bound > 0);
    uneven = (uint32_t)((UINT64_C(1) << 32) % bound);
    do {
        random_fill(&value, sizeof value);
    } while (value < uneven);
    return value % bound;
}
