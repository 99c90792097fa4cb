/* One address family as sorted disjoint spans.  The ends of all senders cut
 * the family into cells; the rows paint them in their order, and a cell that
 * is painted is skipped from then on (next[] leads over it), so that building
 * costs about as much as sorting the ends. */
#include "access/hat_internal.h"

static int
compare_ips(const void *a, const void *b)
{
    const struct ip *left = a, *right = b;

    return ip_compare(*left, *right);
}

static struct ip
ip_after(struct ip ip)
{
    ip.low++;
    ip.high += ip.low == 0;
    return ip;
}

size_t
space_find(const struct space *space, struct ip ip)
{
    size_t at = 0, end = space->count;

    while (end - at > 1) {
        size_t middle = at + (end - at) / 2;

        if (ip_compare(space->starts[middle], ip) <= 0)
            at = middle;
        else
            end = middle;
    }
    return at;
}

static void
cut(struct space *space, const struct span *spans, size_t count)
{
    struct ip *starts = mem_alloc_array(2 * count + 1, sizeof *starts);
    size_t n = 1; /* starts[0] is zero */

    for (size_t i = 0; i < count; i++) {
        starts[n++] = spans[i].first;
        if (ip_compare(spans[i].last, space->last) < 0)
            starts[n++] = ip_after(spans[i].last);
    }
    qsort(starts, n, sizeof *starts, compare_ips);
    space->count = 1;
    for (size_t i = 1; i < n; i++) {
        if (ip_compare(starts[i], starts[space->count - 1]) != 0)
            starts[space->count++] = starts[i];
    }
    space->starts = starts;
    space->outcomes = mem_alloc_array(space->count, sizeof *space->outcomes);
    for (size_t i = 0; i < space->count; i++)
        space->outcomes[i] = no_outcome;
}

/* The first cell from i that is not painted yet, shortening the way there. */
static size_t
next_blank(size_t *next, size_t i)
{
    while (next[i] != i) {
        next[i] = next[next[i]];
        i = next[i];
    }
    return i;
}

static void
all_blank(size_t *next, size_t count)
{
    for (size_t i = 0; i <= count; i++)
        next[i] = i; /* next[count] ends every walk */
}

static void
paint(struct space *space, const struct span *span, size_t *next)
{
    size_t end = space_find(space, span->last) + 1;
    size_t i = next_blank(next, space_find(space, span->first));

    for (; i < end; i = next_blank(next, i)) {
        if (span->continues == NO_ROW)
            space->outcomes[i].row = span->row;
        else
            space->outcomes[i].passed |= UINT64_C(1) << span->continues;
        next[i] = i + 1;
    }
}

/* Rows that continue do not cover each other: a new coat for each. */
static void
paint_all(struct space *space, const struct span *spans, size_t count)
{
    size_t *next = mem_alloc_array(space->count + 1, sizeof *next);

    all_blank(next, space->count);
    for (size_t i = 0; i < count; i++) {
        if (spans[i].continues == NO_ROW)
            paint(space, &spans[i], next);
    }
    for (size_t i = 0; i < count; i++) {
        if (spans[i].continues == NO_ROW)
            continue;
        if (i == 0 || spans[i - 1].row != spans[i].row)
            all_blank(next, space->count);
        paint(space, &spans[i], next);
    }
    mem_free(next);
}

static bool
same_outcome(const struct outcome *a, const struct outcome *b)
{
    return a->row == b->row && a->passed == b->passed;
}

/* Neighbours of equal outcome become one span. */
static void
join(struct space *space)
{
    size_t n = 1;

    for (size_t i = 1; i < space->count; i++) {
        if (same_outcome(&space->outcomes[i], &space->outcomes[n - 1]))
            continue;
        space->starts[n] = space->starts[i];
        space->outcomes[n++] = space->outcomes[i];
    }
    space->count = n;
    space->starts = mem_resize(space->starts, n * sizeof *space->starts);
    space->outcomes = mem_resize(space->outcomes, n * sizeof *space->outcomes);
}

void
space_init(struct space *space, sa_family_t family, const struct span *spans,
           size_t count)
{
    *space = (struct space){.last = {0, UINT32_MAX}};
    if (family == AF_INET6)
        space->last = (struct ip){UINT64_MAX, UINT64_MAX};
    cut(space, spans, count);
    paint_all(space, spans, count);
    join(space);
}

void
space_fini(struct space *space)
{
    mem_free(space->starts);
    mem_free(space->outcomes);
    *space = (struct space){0};
}
