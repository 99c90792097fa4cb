/* The end: receiver, sender, controller, one after the other, so that what is
 * being received can still be sent and the command line sees it all.  Each gets
 * DRAIN; at its limit STOP; and some seconds later SIGKILL.  A second signal
 * sends STOP to all. */
#include "supervise/supervisor_internal.h"

#include "base/clock.h"
#include "base/log.h"

void
drain_hurry(struct supervisor *s)
{
    uint64_t now = clock_mono_ms();

    s->drain.hurry = true;
    for (size_t i = 0; i < CHILDREN; i++) {
        struct child *child = &s->children[i];

        if (child->pid == 0)
            continue;
        child_send_type(s, child, CHANNEL_STOP, 0);
        child_set_state(s, child, LINK_DRAINING);
        child->kill_at = now + STOP_GRACE;
    }
}

void
drain_begin(struct supervisor *s)
{
    struct drain *drain = &s->drain;

    if (drain->active) {
        drain_hurry(s);
        return;
    }
    reload_cancel(s);
    notify_stopping();
    drain->active = true;
    drain->begun = clock_mono_ms();
    drain->deadline = drain->begun + s->revision.settings->drain_timeout;
    log_event(NULL, LOG_INFO, "supervisor.drain",
              LOG_U64("timeout_ms", s->revision.settings->drain_timeout));
    /* Once the receiver has given its copies up, new connections are refused
     * and go to another host instead of waiting here. */
    listen_set_close(&s->revision.listeners);
}

/* The receiver may use half of the time, so that the sender has some. */
static uint64_t
limit_of(const struct drain *drain, const struct child *child)
{
    uint64_t whole = drain->deadline - drain->begun;

    return child->listens ? drain->begun + whole / 2 : drain->deadline;
}

static uint64_t
drain_child(struct supervisor *s, struct child *child, uint64_t now)
{
    uint64_t limit = limit_of(&s->drain, child);

    if (child->state != LINK_DRAINING) {
        child_send_type(s, child, CHANNEL_DRAIN, 0);
        child_set_state(s, child, LINK_DRAINING);
        child->kill_at = NEVER; /* it may still have been starting */
    }
    if (limit <= now && child->kill_at == NEVER) {
        log_event(NULL, LOG_WARNING, "supervisor.drain_timeout",
                  LOG_STR("child", child->name));
        child_send_type(s, child, CHANNEL_STOP, 0);
        child->kill_at = now + STOP_GRACE;
    }
    return child->kill_at == NEVER ? limit : child->kill_at;
}

uint64_t
drain_tick(struct supervisor *s, uint64_t now)
{
    if (!s->drain.active)
        return NEVER;
    for (size_t i = 0; i < CHILDREN; i++)
        if (s->children[i].pid != 0)
            return s->drain.hurry ? NEVER
                                  : drain_child(s, &s->children[i], now);
    s->ended = true;
    return now;
}
