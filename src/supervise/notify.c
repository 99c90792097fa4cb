#include "supervise/supervisor_internal.h"

#include "base/clock.h"
#include <inttypes.h>
#include <systemd/sd-daemon.h>

void
notify_init(struct supervisor *s)
{
    uint64_t us = 0;

    s->watchdog_at = NEVER;
    if (sd_watchdog_enabled(0, &us) <= 0)
        return;
    s->watchdog_period = us / 1000 / 2;
    s->watchdog_at = clock_mono_ms();
}

uint64_t
notify_tick(struct supervisor *s, uint64_t now)
{
    if (s->watchdog_at <= now) {
        sd_notify(0, "WATCHDOG=1");
        s->watchdog_at = now + s->watchdog_period;
    }
    return s->watchdog_at;
}

void
notify_ready(struct supervisor *s)
{
    sd_notifyf(0, "READY=1\nSTATUS=revision %" PRIu64 " in force",
               s->revision.number);
}

void
notify_reloading(void)
{
    sd_notifyf(0,
               "RELOADING=1\nMONOTONIC_USEC=%" PRIu64
               "\nSTATUS=loading the configuration",
               clock_mono_us());
}

void
notify_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=finishing sessions and deliveries");
}
