/* Timers in a binary heap by the deadline under which they were queued.  A
 * later deadline does not move the timer: when the queued one comes, it is
 * queued again under the new one.  A disarmed timer likewise stays until then,
 * so re-arming and disarming at every command costs a store. */
#include "net/loop_internal.h"

static bool
before(const struct timer *a, const struct timer *b)
{
    return a->queued < b->queued;
}

static void
set_place(struct loop *loop, size_t place, struct timer *timer)
{
    loop->heap[place] = timer;
    timer->place = place;
}

static void
sift_up(struct loop *loop, size_t place)
{
    struct timer *timer = loop->heap[place];

    while (place > 0 && before(timer, loop->heap[(place - 1) / 2])) {
        set_place(loop, place, loop->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    set_place(loop, place, timer);
}

static void
sift_down(struct loop *loop, size_t place)
{
    struct timer *timer = loop->heap[place];

    for (;;) {
        size_t child = 2 * place + 1;

        if (child >= loop->timer_count)
            break;
        if (child + 1 < loop->timer_count &&
            before(loop->heap[child + 1], loop->heap[child]))
            child++;
        if (!before(loop->heap[child], timer))
            break;
        set_place(loop, place, loop->heap[child]);
        place = child;
    }
    set_place(loop, place, timer);
}

static void
queue(struct timer *timer)
{
    struct loop *loop = timer->loop;

    if (loop->timer_count == loop->timer_cap) {
        loop->timer_cap = loop->timer_cap == 0 ? 64 : 2 * loop->timer_cap;
        loop->heap =
            mem_resize(loop->heap, loop->timer_cap * sizeof(struct timer *));
    }
    timer->queued = timer->deadline;
    set_place(loop, loop->timer_count++, timer);
    sift_up(loop, timer->place);
}

static void
unqueue(struct timer *timer)
{
    struct loop *loop = timer->loop;
    size_t place = timer->place;
    struct timer *last;

    assert(place < loop->timer_count && loop->heap[place] == timer);
    timer->queued = UINT64_MAX;
    last = loop->heap[--loop->timer_count];
    if (last == timer)
        return;
    set_place(loop, place, last);
    sift_up(loop, place);
    sift_down(loop, last->place);
}

void
timer_init(struct timer *timer, struct loop *loop,
           void (*on_timer)(struct timer *timer))
{
    *timer = (struct timer){
        .loop = loop,
        .on_timer = on_timer,
        .deadline = UINT64_MAX,
        .queued = UINT64_MAX,
    };
}

void
timer_arm(struct timer *timer, uint64_t ms)
{
    uint64_t now = loop_now(timer->loop);

    timer->deadline = ms < UINT64_MAX - 1 - now ? now + ms : UINT64_MAX - 1;
    if (timer->queued == UINT64_MAX) {
        queue(timer);
    } else if (timer->deadline < timer->queued) {
        timer->queued = timer->deadline;
        sift_up(timer->loop, timer->place);
    }
}

void
timer_disarm(struct timer *timer)
{
    timer->deadline = UINT64_MAX;
}

bool
timer_armed(const struct timer *timer)
{
    return timer->deadline != UINT64_MAX;
}

void
timer_fini(struct timer *timer)
{
    timer_disarm(timer);
    if (timer->queued != UINT64_MAX)
        unqueue(timer);
}

uint64_t
timers_earliest(const struct loop *loop)
{
    return loop->timer_count == 0 ? UINT64_MAX : loop->heap[0]->queued;
}

void
timers_run(struct loop *loop, uint64_t now)
{
    size_t left = loop->timer_count; /* those armed meanwhile come next time */

    while (left-- > 0 && loop->timer_count > 0 &&
           loop->heap[0]->queued <= now) {
        struct timer *timer = loop->heap[0];

        if (timer->deadline == UINT64_MAX) {
            unqueue(timer);
        } else if (timer->deadline > now) {
            timer->queued = timer->deadline;
            sift_down(loop, 0);
        } else {
            unqueue(timer);
            timer->deadline = UINT64_MAX;
            timer->on_timer(timer);
            loop_run_deferred(loop);
        }
    }
}
