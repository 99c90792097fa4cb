/* One domain's way from question to answer:
 *
 *   record  _mta-sts.DOMAIN TXT, unless what is remembered of it is good
 *   turn    at most STS_FETCHES fetch at a time
 *   fetch   https://mta-sts.DOMAIN/.well-known/mta-sts.txt
 *   end     the entry has learnt, everybody who waits is told
 *
 * There is at most one flight for a domain; who comes later waits with the
 * others.  Whatever fails on the way, a policy that is still in force stays
 * (RFC 8461 section 3.3). */
#include "evidence/sts_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"

static void end(struct sts_flight *flight);

struct sts_flight *
sts_flight_new(struct sts_cache *cache, struct sts_entry *entry,
               const struct sts_flight_options *options)
{
    struct sts_flight *flight = mem_alloc(sizeof *flight);

    assert(entry->flight == NULL);
    flight->cache = cache;
    flight->entry = entry;
    flight->options = *options;
    list_init(&flight->queries);
    list_init(&flight->callers);
    entry->flight = flight;
    list_push_back(&cache->starting, &flight->link);
    if (!cache->start_posted) {
        cache->start_posted = true;
        loop_post(cache->loop, &cache->start);
    }
    return flight;
}

/* --- The fetch ---------------------------------------------------------- */

struct outcome {
    const char *stage;
    const char *reason;
    struct sts_policy *policy; /* reference; NULL: failed */
};

static void
remember(struct sts_flight *flight, const struct outcome *outcome,
         const char *id, uint64_t ms)
{
    struct sts_fetch fetch = {
        .time = clock_wall_s(),
        .ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX,
        .ok = outcome->policy != NULL,
        .id = sv_of(id),
        .stage = sv_of(outcome->policy != NULL ? "ok" : outcome->stage),
        .reason = sv_of(outcome->reason),
    };

    sts_history_add(&flight->entry->history, &fetch);
    flight->changed = true;
    sts_table_keep(&flight->cache->table, flight->entry);
}

static void
log_fetch(const struct sts_flight *flight, const struct outcome *outcome,
          const char *id, uint64_t ms)
{
    const struct sts_policy *policy = outcome->policy;

    log_event(
        NULL, LOG_INFO, "sts.fetch", LOG_STR("domain", flight->entry->domain),
        LOG_STR("result", policy != NULL ? "ok" : "failed"),
        LOG_IF(policy == NULL, LOG_STR("stage", outcome->stage)),
        LOG_IF(outcome->reason[0] != '\0', LOG_STR("reason", outcome->reason)),
        LOG_STR("id", id),
        LOG_IF(
            policy != NULL,
            LOG_STR("mode", policy != NULL ? sts_mode_name(policy->mode) : "")),
        LOG_IF(policy != NULL,
               LOG_U64("max_age", policy != NULL ? policy->max_age : 0)),
        LOG_BOOL("refresh", flight->options.background), LOG_U64("ms", ms));
}

static bool
same_patterns(const struct sts_policy *a, const struct sts_policy *b)
{
    if (a->pattern_count != b->pattern_count)
        return false;
    for (size_t i = 0; i < a->pattern_count; i++)
        if (strcmp(a->patterns[i], b->patterns[i]) != 0)
            return false;
    return true;
}

/* A new id alone changes nothing for mail. */
static void
log_change(const struct sts_entry *entry, const struct sts_policy *policy,
           const char *id)
{
    const struct sts_policy *old = entry->policy;

    if (old == NULL ||
        (old->mode == policy->mode && same_patterns(old, policy)))
        return;
    log_event(NULL, LOG_INFO, "sts.policy_changed",
              LOG_STR("domain", entry->domain),
              LOG_STR("mode", sts_mode_name(policy->mode)),
              LOG_STR("mode_before", sts_mode_name(old->mode)),
              LOG_STR("id", id), LOG_STR("id_before", entry->id));
}

static void
take_policy(struct sts_flight *flight, struct sts_policy *policy,
            const char *id)
{
    struct sts_entry *entry = flight->entry;
    int64_t now = clock_wall_s();
    bool pinned = entry->pinned;

    log_change(entry, policy, id);
    sts_entry_drop_policy(entry);
    entry->policy = policy;
    entry->pinned = pinned;
    snprintf(entry->id, sizeof entry->id, "%s", id);
    entry->fetched = now;
    entry->paused_until = 0;
    flight->renewed = true;
    sts_refresh_plan(flight->cache, entry, now, true);
}

static void
take_failure(struct sts_flight *flight, const char *id)
{
    struct sts_cache *cache = flight->cache;
    struct sts_entry *entry = flight->entry;

    snprintf(entry->failed_id, sizeof entry->failed_id, "%s", id);
    entry->paused_until = clock_mono_ms() + cache->settings->sts.failure_pause;
    sts_refresh_plan(cache, entry, clock_wall_s(), false);
}

static void
land(struct sts_flight *flight, const struct outcome *outcome)
{
    struct sts_cache *cache = flight->cache;
    char id[STS_ID_MAX + 1];
    uint64_t ms = loop_now(cache->loop) - flight->began;

    pthread_mutex_lock(&cache->lock);
    memcpy(id, flight->entry->said_id, sizeof id);
    remember(flight, outcome, id, ms);
    log_fetch(flight, outcome, id, ms);
    if (outcome->policy != NULL)
        take_policy(flight, outcome->policy, id);
    else
        take_failure(flight, id);
    pthread_mutex_unlock(&cache->lock);
    end(flight);
}

static void
on_fetched(void *arg, const struct https_answer *answer)
{
    struct sts_flight *flight = arg;
    struct outcome outcome = {https_stage_name(answer->stage), answer->reason,
                              NULL};
    char reason[200];

    flight->call = NULL;
    flight->cache->fetching--;
    if (answer->stage == HTTPS_OK && answer->status != 200) {
        snprintf(reason, sizeof reason, "the server answers %ld, not 200",
                 answer->status);
        outcome =
            (struct outcome){https_stage_name(HTTPS_STATUS), reason, NULL};
    } else if (answer->stage == HTTPS_OK) {
        outcome.policy = sts_policy_parse(answer->body, reason);
        if (answer->untyped && reason[0] == '\0')
            snprintf(reason, sizeof reason,
                     "the policy came without a media type");
        outcome.stage = "policy";
        outcome.reason = reason;
    }
    land(flight, &outcome);
}

static void
send_request(struct sts_flight *flight)
{
    struct sts_cache *cache = flight->cache;
    char url[MAIL_DOMAIN_MAX + 64];
    struct https_request request = {
        .url = url,
        .media_type = "text/plain",
        .max_body = STS_POLICY_BYTES,
        .timeout_ms = cache->settings->sts.fetch_timeout,
    };

    snprintf(url, sizeof url, "https://mta-sts.%s/.well-known/mta-sts.txt",
             flight->entry->domain);
    flight->call =
        https_send(cache->https, cache->resolver, &request, on_fetched, flight);
}

static void
fetch(struct sts_flight *flight)
{
    struct sts_cache *cache = flight->cache;

    flight->began = loop_now(cache->loop);
    cache->fetching++;
    send_request(flight);
}

static void
want_fetch(struct sts_flight *flight)
{
    struct sts_cache *cache = flight->cache;

    if (cache->fetching < STS_FETCHES) {
        fetch(flight);
        return;
    }
    list_remove(&cache->flying, &flight->link);
    list_push_back(&cache->waiting, &flight->link);
    flight->waiting_since = loop_now(cache->loop);
}

static void
next_turn(struct sts_cache *cache)
{
    while (cache->fetching < STS_FETCHES && !list_empty(&cache->waiting)) {
        struct link *link = list_pop_front(&cache->waiting);

        list_push_back(&cache->flying, link);
        fetch(CONTAINER_OF(link, struct sts_flight, link));
    }
}

static void
set_said_reason(struct sts_entry *entry, const char *reason)
{
    mem_free(entry->said_reason);
    entry->said_reason = reason[0] != '\0' ? mem_strdup(reason) : NULL;
}

static void
give_up_waiting(struct sts_flight *flight)
{
    struct sts_cache *cache = flight->cache;
    struct sts_entry *entry = flight->entry;

    pthread_mutex_lock(&cache->lock);
    entry->said = SAID_ERROR;
    entry->said_until = clock_mono_ms() + STS_TXT_ERROR_MS;
    set_said_reason(entry, "too many policies are being fetched");
    pthread_mutex_unlock(&cache->lock);
    end(flight);
}

/* Mail must not wait longer for a turn than for a fetch: those in front may all
 * be slow on purpose.  That says nothing of the domain: it is as if its record
 * could not be looked up, not as if there were no policy. */
void
sts_flights_expire_waiting(struct sts_cache *cache)
{
    uint64_t limit = cache->settings->sts.fetch_timeout;
    struct link *link;

    while ((link = list_first(&cache->waiting)) != NULL) {
        struct sts_flight *flight = CONTAINER_OF(link, struct sts_flight, link);

        if (loop_now(cache->loop) - flight->waiting_since < limit)
            return;
        list_remove(&cache->waiting, link);
        list_push_back(&cache->flying, link);
        give_up_waiting(flight);
    }
}

/* --- The record --------------------------------------------------------- */

static void
learn_error(struct sts_entry *entry, const struct dns_answer *answer)
{
    char reason[256];

    snprintf(reason, sizeof reason, "_mta-sts.%s cannot be looked up: %s%s",
             entry->domain, answer->state == DNS_BOGUS ? "bogus: " : "",
             answer->reason);
    set_said_reason(entry, reason);
    entry->said = SAID_ERROR;
    entry->said_until = clock_mono_ms() + STS_TXT_ERROR_MS;
}

/* The strings of a TXT record as one text (section 3.1, RFC 7208 section 3.3).
 */
static bool
join_strings(const struct dns_record *record, struct buf *out)
{
    for (size_t at = 0; at < record->length;) {
        size_t n = record->data[at++];

        if (n > record->length - at)
            return false;
        buf_add(out, (struct sv){(const char *)record->data + at, n});
        at += n;
    }
    return true;
}

static enum sts_record_verdict
parse_answer(const struct dns_answer *answer, struct sts_record *record)
{
    struct sv texts[DNS_RECORDS_MAX] = {0};
    struct buf joined[DNS_RECORDS_MAX];
    enum sts_record_verdict verdict;
    size_t count = 0;

    for (size_t i = 0; i < answer->record_count; i++) {
        joined[count] = (struct buf){0};
        if (join_strings(&answer->records[i], &joined[count]))
            texts[count] = buf_view(&joined[count]);
        else
            texts[count] = SV("");
        count++;
    }
    verdict = sts_record_parse(texts, count, record);
    for (size_t i = 0; i < count; i++)
        buf_fini(&joined[i]);
    return verdict;
}

static void
learn_record(struct sts_entry *entry, const struct dns_answer *answer)
{
    static const enum sts_said said_of[] = {
        [STS_RECORD_NONE] = SAID_NONE,
        [STS_RECORD_OK] = SAID_OK,
        [STS_RECORD_INVALID] = SAID_INVALID,
    };
    uint64_t ttl_ms = (uint64_t)answer->ttl * 1000;
    struct sts_record record;

    if (answer->state == DNS_ERROR || answer->state == DNS_BOGUS) {
        learn_error(entry, answer);
        return;
    }
    entry->said = said_of[parse_answer(answer, &record)];
    memcpy(entry->said_id, record.id, sizeof entry->said_id);
    set_said_reason(entry, record.reason);
    entry->said_until =
        clock_mono_ms() + (ttl_ms < STS_TXT_MS ? ttl_ms : STS_TXT_MS);
}

static bool
fetch_is_due(const struct sts_flight *flight)
{
    const struct sts_entry *entry = flight->entry;

    if (entry->said != SAID_OK ||
        (sts_entry_is_paused(entry) && !flight->options.by_hand))
        return false;
    return flight->options.refresh ||
           !sts_entry_in_force(entry, clock_wall_s()) ||
           strcmp(entry->id, entry->said_id) != 0;
}

/* A refresh that ends here has failed: the record does not let it go on. */
static void
note_refresh_without_record(struct sts_flight *flight)
{
    struct sts_entry *entry = flight->entry;
    struct outcome outcome = {
        "record",
        entry->said_reason != NULL ? entry->said_reason
                                   : "there is no record any more",
        NULL,
    };

    if (!flight->options.refresh || entry->said == SAID_OK ||
        entry->policy == NULL)
        return;
    remember(flight, &outcome, "", 0);
    sts_refresh_plan(flight->cache, entry, clock_wall_s(), false);
}

static void
after_record(struct sts_flight *flight)
{
    struct sts_cache *cache = flight->cache;
    bool due;

    pthread_mutex_lock(&cache->lock);
    due = fetch_is_due(flight);
    if (!due)
        note_refresh_without_record(flight);
    pthread_mutex_unlock(&cache->lock);
    if (due)
        want_fetch(flight);
    else
        end(flight);
}

static void
on_record(void *arg, const struct dns_answer *answer)
{
    struct sts_flight *flight = arg;

    flight->dns = NULL;
    pthread_mutex_lock(&flight->cache->lock);
    learn_record(flight->entry, answer);
    pthread_mutex_unlock(&flight->cache->lock);
    after_record(flight);
}

/* A name that is too long for the DNS cannot have the record. */
static void
learn_too_long(struct sts_flight *flight)
{
    pthread_mutex_lock(&flight->cache->lock);
    flight->entry->said = SAID_NONE;
    flight->entry->said_until = clock_mono_ms() + STS_TXT_MS;
    set_said_reason(flight->entry, "the name is too long for a record");
    pthread_mutex_unlock(&flight->cache->lock);
    after_record(flight);
}

static void
look_up(struct sts_flight *flight)
{
    struct sts_cache *cache = flight->cache;
    char name[MAIL_DOMAIN_MAX + 16];
    int n = snprintf(name, sizeof name, "_mta-sts.%s", flight->entry->domain);

    if (n > 253)
        learn_too_long(flight);
    else
        flight->dns = dns_lookup(cache->resolver, cache->loop, name, DNS_TXT,
                                 on_record, flight);
}

/* --- Beginning and end -------------------------------------------------- */

static struct sts_flight *
take_starting(struct sts_cache *cache)
{
    struct link *link;

    pthread_mutex_lock(&cache->lock);
    link = list_pop_front(&cache->starting);
    if (link == NULL)
        cache->start_posted = false;
    pthread_mutex_unlock(&cache->lock);
    return link != NULL ? CONTAINER_OF(link, struct sts_flight, link) : NULL;
}

void
sts_flights_start(struct task *task)
{
    struct sts_cache *cache = CONTAINER_OF(task, struct sts_cache, start);
    struct sts_flight *flight;

    if (cache->closed) { /* only this task still knew of it */
        mem_free(cache);
        return;
    }
    while ((flight = take_starting(cache)) != NULL) {
        list_push_back(&cache->flying, &flight->link);
        cache->refreshing += flight->options.background;
        if (flight->options.skip_record)
            after_record(flight);
        else
            look_up(flight);
    }
}

/* A max_age of 0 means: for what waits now, and no longer. */
static void
keep_or_drop(struct sts_cache *cache, struct sts_flight *flight)
{
    struct sts_entry *entry = flight->entry;

    if (flight->renewed && entry->policy != NULL &&
        entry->policy->max_age == 0 && !entry->pinned)
        sts_entry_drop_policy(entry);
    sts_alert_update(cache, entry, clock_wall_s());
    if (flight->changed)
        sts_cache_save(cache, entry);
}

static void
end(struct sts_flight *flight)
{
    struct sts_cache *cache = flight->cache;

    pthread_mutex_lock(&cache->lock);
    sts_queries_answer(flight, clock_wall_s());
    sts_callers_answer(flight);
    flight->entry->flight = NULL;
    keep_or_drop(cache, flight);
    list_remove(&cache->flying, &flight->link);
    cache->refreshing -= flight->options.background;
    sts_cache_trim(cache);
    pthread_mutex_unlock(&cache->lock);
    mem_free(flight);
    next_turn(cache);
}

void
sts_flights_fetch_again(struct sts_cache *cache)
{
    LIST_FOREACH (link, &cache->flying) {
        struct sts_flight *flight = CONTAINER_OF(link, struct sts_flight, link);

        if (flight->call != NULL)
            send_request(flight);
    }
}

static void
drop_all(struct list *flights)
{
    struct link *link;

    while ((link = list_pop_front(flights)) != NULL) {
        struct sts_flight *flight = CONTAINER_OF(link, struct sts_flight, link);

        assert(list_empty(&flight->queries));
        if (flight->dns != NULL)
            dns_cancel(flight->dns);
        if (flight->call != NULL)
            https_cancel(flight->call);
        sts_callers_answer(flight);
        flight->entry->flight = NULL;
        mem_free(flight);
    }
}

void
sts_flights_drop(struct sts_cache *cache)
{
    drop_all(&cache->starting);
    drop_all(&cache->waiting);
    drop_all(&cache->flying);
}
