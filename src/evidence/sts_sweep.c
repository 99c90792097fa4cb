/* What time does to the cache.  Once a second a part of the domains is looked
 * at, so that each has its turn once a minute and none needs a timer. */
#include "evidence/sts_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"

enum { HOUR = 3600, NEAR_END_MAX = 3 * 24 * HOUR };

/* --- Refresh (section 10.2) --------------------------------------------- */

/* Give or take a quarter, so that nobody can foresee the moment at which it
 * would have to be blocked. */
static int64_t
spread(int64_t seconds)
{
    int64_t quarter = seconds / 4;

    return seconds - quarter +
           (int64_t)random_below((uint32_t)(2 * quarter) + 1);
}

void
sts_refresh_plan(const struct sts_cache *cache, struct sts_entry *entry,
                 int64_t now, bool succeeded)
{
    int64_t normal = (int64_t)(cache->settings->sts.refresh / 1000);
    int64_t pause = (int64_t)(cache->settings->sts.failure_pause / 1000);
    int64_t wait = normal;

    if (entry->policy != NULL) {
        int64_t half = (int64_t)entry->policy->max_age / 2;
        int64_t left = sts_entry_expires(entry) - now;

        if (succeeded)
            wait = half < normal ? half : normal;
        else
            wait = left / 4 < HOUR ? left / 4 : HOUR;
    }
    /* One that lives for minutes only is fetched when mail asks for it. */
    entry->refresh_at = now + spread(wait > pause ? wait : pause);
}

static bool
is_in_use(const struct sts_entry *entry, int64_t now)
{
    return now - entry->used < STS_IN_USE_S;
}

/* A policy of mode none protects nothing: it may run out. */
static bool
wants_refresh(const struct sts_entry *entry, int64_t now)
{
    return sts_entry_in_force(entry, now) && !entry->pinned &&
           entry->policy->mode != STS_MODE_NONE && is_in_use(entry, now);
}

/* --- Alerts ------------------------------------------------------------- */

static bool
is_near_end(const struct sts_entry *entry, int64_t now)
{
    int64_t near = entry->policy->max_age / 4;

    if (near > NEAR_END_MAX)
        near = NEAR_END_MAX;
    return sts_entry_expires(entry) - now < near;
}

static bool
last_failed(const struct sts_entry *entry, struct sts_fetch *last)
{
    return sts_history_last(&entry->history, last) && !last->ok;
}

static void
alert_tell(const struct sts_cache *cache, const struct sts_entry *entry,
           const char *text)
{
    char key[300];

    snprintf(key, sizeof key, "sts.%s", entry->domain);
    if (cache->on_alert != NULL)
        cache->on_alert(cache->alert_arg, key, entry->alerted, text);
}

static void
alert_raise(struct sts_cache *cache, struct sts_entry *entry,
            const struct sts_fetch *last, int64_t now)
{
    char text[600];
    int64_t hours = (sts_entry_expires(entry) - now) / HOUR;

    entry->alerted = true;
    snprintf(text, sizeof text,
             "the MTA-STS policy of %s ends in %lld hours and cannot be "
             "refreshed: %.*s: %.*s",
             entry->domain, (long long)hours, SV_ARG(last->stage),
             SV_ARG(last->reason));
    log_event(NULL, LOG_WARNING, "sts.refresh_failed",
              LOG_STR("domain", entry->domain), LOG_SV("stage", last->stage),
              LOG_SV("reason", last->reason), LOG_STR("id", entry->id),
              LOG_I64("ends_s", sts_entry_expires(entry) - now));
    alert_tell(cache, entry, text);
}

void
sts_alert_update(struct sts_cache *cache, struct sts_entry *entry, int64_t now)
{
    struct sts_fetch last;
    bool wanted = wants_refresh(entry, now) && is_near_end(entry, now) &&
                  last_failed(entry, &last);

    if (wanted && !entry->alerted) {
        alert_raise(cache, entry, &last, now);
    } else if (!wanted && entry->alerted) {
        entry->alerted = false;
        alert_tell(cache, entry,
                   sts_entry_in_force(entry, now)
                       ? "the MTA-STS policy was refreshed"
                       : "the MTA-STS policy has ended");
    }
}

/* --- Expiry ------------------------------------------------------------- */

static void
expire(struct sts_cache *cache, struct sts_entry *entry, int64_t now)
{
    struct sts_fetch last;
    bool failed = last_failed(entry, &last);

    log_event(NULL, failed && is_in_use(entry, now) ? LOG_WARNING : LOG_INFO,
              "sts.expired", LOG_STR("domain", entry->domain),
              LOG_STR("id", entry->id),
              LOG_STR("mode", sts_mode_name(entry->policy->mode)),
              LOG_IF(failed, LOG_SV("reason", last.reason)));
    sts_entry_drop_policy(entry);
    sts_alert_update(cache, entry, now);
    sts_cache_save(cache, entry);
}

/* Nothing is left that anybody could want to see. */
static bool
is_over(const struct sts_entry *entry, int64_t now)
{
    struct sts_fetch last;

    if (entry->policy != NULL || entry->flight != NULL ||
        clock_mono_ms() < entry->said_until)
        return false;
    return !sts_history_last(&entry->history, &last) ||
           now - last.time > STS_KEEP_FAILED_S;
}

/* --- The round ---------------------------------------------------------- */

static void
look_at(struct sts_cache *cache, struct sts_entry *entry, int64_t now)
{
    static const struct sts_flight_options refresh = {.refresh = true,
                                                      .background = true};

    if (entry->flight != NULL)
        return;
    if (entry->policy != NULL && !sts_entry_in_force(entry, now))
        expire(cache, entry, now);
    if (is_over(entry, now)) {
        sts_cache_remove(cache, entry);
        return;
    }
    if (!wants_refresh(entry, now))
        return;
    sts_alert_update(cache, entry, now);
    if (now >= entry->refresh_at &&
        cache->refreshing + cache->starting.length < STS_REFRESHES)
        sts_flight_new(cache, entry, &refresh);
}

static void
watch_file(struct sts_cache *cache)
{
    bool failing = sts_file_failing(cache->file);

    if (failing == cache->file_alerted)
        return;
    cache->file_alerted = failing;
    if (cache->on_alert != NULL)
        cache->on_alert(cache->alert_arg, "sts-store", failing,
                        failing ? "MTA-STS policies cannot be written; see the "
                                  "log (sts.store_failed)"
                                : "MTA-STS policies are written again");
}

static void
on_sweep(struct timer *timer)
{
    struct sts_cache *cache = CONTAINER_OF(timer, struct sts_cache, sweep);
    int64_t now = clock_wall_s();
    size_t count;

    timer_arm(timer, STS_SWEEP_MS);
    sts_flights_expire_waiting(cache);
    pthread_mutex_lock(&cache->lock);
    count = cache->table.end / STS_SWEEP_ROUND + 1;
    for (; count > 0 && cache->table.end > 0; count--) {
        struct sts_entry *entry;

        if (cache->sweep_at >= cache->table.end)
            cache->sweep_at = 0;
        entry = cache->table.slots[cache->sweep_at++];
        if (entry != NULL)
            look_at(cache, entry, now);
    }
    pthread_mutex_unlock(&cache->lock);
    watch_file(cache);
}

void
sts_sweep_start(struct sts_cache *cache)
{
    timer_init(&cache->sweep, cache->loop, on_sweep);
    timer_arm(&cache->sweep, STS_SWEEP_MS);
}
