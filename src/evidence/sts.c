#include "evidence/sts_internal.h"

#include "base/clock.h"
#include "base/log.h"

/* A look-up.  While it waits it is on its flight's list; from then on it is on
 * its way to the owner's loop, where it ends.  Only that loop cancels. */
struct sts_query {
    struct link link; /* flight->queries; with the lock */
    struct sts_cache *cache;
    struct sts_flight *flight; /* NULL: posted; with the lock */
    struct loop *loop;
    struct task task;
    void (*on_evidence)(void *arg, const struct sts_evidence *evidence);
    void *arg;
    bool cancelled;
    struct sts_evidence evidence; /* policy is referenced */
};

const char *
sts_state_name(enum sts_state state)
{
    static const char *const names[] = {"absent", "policy", "unknown",
                                        "unfetched", "off"};

    return names[state];
}

/* --- Answers ------------------------------------------------------------ */

static void
run_answer(struct task *task)
{
    struct sts_query *query = CONTAINER_OF(task, struct sts_query, task);

    if (!query->cancelled)
        query->on_evidence(query->arg, &query->evidence);
    sts_policy_unref(query->evidence.policy);
    mem_free(query);
}

/* Once posted, the query belongs to the other thread. */
static void
post_answer(struct sts_query *query, const struct sts_entry *entry, int64_t now,
            bool renewed)
{
    sts_entry_describe(entry, now, &query->evidence);
    query->evidence.cached = !renewed;
    if (query->evidence.policy != NULL)
        sts_policy_ref(query->evidence.policy);
    query->flight = NULL;
    loop_post(query->loop, &query->task);
}

/* What came with this flight counts for those who waited, also when its max_age
 * is 0: so it is seen as it was when it came. */
void
sts_queries_answer(struct sts_flight *flight, int64_t now)
{
    const struct sts_entry *entry = flight->entry;
    struct link *link;

    if (flight->renewed)
        now = entry->fetched - 1;
    while ((link = list_pop_front(&flight->queries)) != NULL) {
        struct sts_query *query = CONTAINER_OF(link, struct sts_query, link);

        post_answer(query, entry, now, flight->renewed);
    }
}

/* --- Look-ups ----------------------------------------------------------- */

/* What has to be done before an answer can be given; false: nothing. */
static bool
needs_flight(const struct sts_entry *entry, bool fresh,
             struct sts_flight_options *options)
{
    uint64_t now_ms = clock_mono_ms();

    if (entry->pinned)
        return false;
    if (fresh || entry->said == SAID_NOTHING || now_ms >= entry->said_until)
        return true;
    if (entry->said != SAID_OK || sts_entry_is_paused(entry) ||
        (sts_entry_in_force(entry, clock_wall_s()) &&
         strcmp(entry->id, entry->said_id) == 0))
        return false;
    options->skip_record = true;
    return true;
}

static void
join(struct sts_query *query, struct sts_entry *entry,
     const struct sts_flight_options *options)
{
    if (entry->flight == NULL)
        sts_flight_new(query->cache, entry, options);
    query->flight = entry->flight;
    list_push_back(&entry->flight->queries, &query->link);
}

static struct sts_entry *
use_entry(struct sts_cache *cache, const char *domain)
{
    struct sts_entry *entry = sts_table_find(&cache->table, domain);

    if (entry == NULL)
        entry = sts_table_add(&cache->table, domain);
    else
        sts_table_touch(&cache->table, entry);
    entry->used = clock_wall_s();
    return entry;
}

struct sts_query *
sts_lookup(struct sts_cache *cache, struct loop *loop, const char *domain,
           bool fresh,
           void (*on_evidence)(void *arg, const struct sts_evidence *evidence),
           void *arg)
{
    struct sts_query *query = mem_alloc(sizeof *query);
    struct sts_flight_options options = {0};
    struct sts_entry *entry;

    query->cache = cache;
    query->loop = loop;
    query->task.run = run_answer;
    query->on_evidence = on_evidence;
    query->arg = arg;
    pthread_mutex_lock(&cache->lock);
    entry = use_entry(cache, domain);
    if (needs_flight(entry, fresh, &options))
        join(query, entry, &options);
    else
        post_answer(query, entry, clock_wall_s(), false);
    sts_cache_trim(cache);
    pthread_mutex_unlock(&cache->lock);
    return query;
}

void
sts_cancel(struct sts_query *query)
{
    struct sts_cache *cache = query->cache;
    bool waiting;

    pthread_mutex_lock(&cache->lock);
    waiting = query->flight != NULL;
    if (waiting)
        list_remove(&query->flight->queries, &query->link);
    query->cancelled = true;
    pthread_mutex_unlock(&cache->lock);
    if (waiting)
        mem_free(query); /* else its task does */
}

bool
sts_peek(struct sts_cache *cache, const char *domain,
         struct sts_evidence *evidence)
{
    const struct sts_entry *entry;

    *evidence = (struct sts_evidence){.state = STS_ABSENT};
    pthread_mutex_lock(&cache->lock);
    entry = sts_table_find(&cache->table, domain);
    if (entry != NULL) {
        sts_entry_describe(entry, clock_wall_s(), evidence);
        if (evidence->policy != NULL)
            sts_policy_ref(evidence->policy);
    }
    pthread_mutex_unlock(&cache->lock);
    return entry != NULL;
}

/* --- Keeping, with the lock --------------------------------------------- */

void
sts_cache_save(struct sts_cache *cache, struct sts_entry *entry)
{
    struct buf record = {0};

    sts_table_keep(&cache->table, entry);
    sts_stored_encode(entry, &record);
    sts_file_append(cache->file, buf_view(&record));
    buf_fini(&record);
}

void
sts_cache_remove(struct sts_cache *cache, struct sts_entry *entry)
{
    struct buf record = {0};

    if (entry->kept) {
        sts_stored_removal(entry->domain, &record);
        sts_file_append(cache->file, buf_view(&record));
        buf_fini(&record);
    }
    if (entry->alerted) {
        sts_entry_drop_policy(entry);
        sts_alert_update(cache, entry, clock_wall_s());
    }
    sts_table_remove(&cache->table, entry);
}

void
sts_cache_trim(struct sts_cache *cache)
{
    struct sts_entry *entry;

    while ((entry = sts_table_surplus(
                &cache->table, cache->settings->sts.max_policies)) != NULL)
        sts_cache_remove(cache, entry);
}

/* --- Life --------------------------------------------------------------- */

static bool
on_stored(void *arg, struct sv record)
{
    struct sts_cache *cache = arg;

    return sts_stored_apply(&cache->table, record);
}

enum { SNAPSHOT_BATCH = 500 };

static bool
on_snapshot(void *arg, size_t *cursor, struct buf *out)
{
    struct sts_cache *cache = arg;
    struct buf record = {0};
    size_t end;

    pthread_mutex_lock(&cache->lock);
    end = *cursor + SNAPSHOT_BATCH;
    for (; *cursor < end && *cursor < cache->table.end; ++*cursor) {
        const struct sts_entry *entry = cache->table.slots[*cursor];

        if (entry == NULL || !entry->kept)
            continue;
        buf_reset(&record);
        sts_stored_encode(entry, &record);
        sts_file_frame(out, buf_view(&record));
    }
    end = cache->table.end;
    pthread_mutex_unlock(&cache->lock);
    buf_fini(&record);
    return *cursor < end;
}

static struct https_client *
make_client(struct loop *loop, const struct settings *settings, struct err *err)
{
    struct https_options options = {
        .authorities = settings->sts.authorities,
        .authority_count = settings->sts.authority_count,
        .allow_private = settings->sts.allow_private_addresses,
    };
    struct https_client *client = https_client_new(loop, &options, err);

    if (client == NULL)
        err_wrap(err, "mta_sts");
    return client;
}

/* The first one of a process: without our own authorities where they cannot be
 * read, for mail has to go on.  Policies they vouched for are still kept. */
static struct https_client *
make_first_client(struct loop *loop, const struct settings *settings,
                  struct err *err)
{
    const struct https_options plain = {
        .allow_private = settings->sts.allow_private_addresses,
    };
    struct https_client *client = make_client(loop, settings, err);

    if (client != NULL || settings->sts.authority_count == 0)
        return client;
    log_event(NULL, LOG_ERROR, "sts.authorities_failed",
              LOG_STR("error", err->text));
    return https_client_new(loop, &plain, err);
}

static bool
open_file(struct sts_cache *cache, struct err *err)
{
    struct sts_file_owner owner = {cache, on_stored, on_snapshot};
    struct buf folder = {0};
    uint64_t began = clock_mono_ms();

    buf_printf(&folder, "%s/sts", cache->settings->state_dir);
    cache->file = sts_file_open(buf_cstr(&folder), &owner, err);
    buf_fini(&folder);
    if (cache->file == NULL)
        return false;
    sts_table_sort(&cache->table);
    sts_file_start(cache->file, sts_table_kept(&cache->table));
    log_event(NULL, LOG_INFO, "sts.start",
              LOG_U64("policies", cache->table.kept.length),
              LOG_U64("ms", clock_mono_ms() - began));
    return true;
}

struct sts_cache *
sts_cache_new(struct loop *loop, struct settings *settings,
              struct dns_resolver *resolver, struct err *err)
{
    struct sts_cache *cache = mem_alloc(sizeof *cache);

    cache->loop = loop;
    cache->settings = settings_ref(settings);
    cache->resolver = dns_resolver_ref(resolver);
    cache->start.run = sts_flights_start;
    pthread_mutex_init(&cache->lock, NULL);
    sts_table_init(&cache->table);
    list_init(&cache->starting);
    list_init(&cache->flying);
    list_init(&cache->waiting);
    list_init(&cache->listings);
    sts_sweep_start(cache);
    cache->https = make_first_client(loop, settings, err);
    if (cache->https != NULL && open_file(cache, err))
        return cache;
    sts_cache_free(cache);
    return NULL;
}

void
sts_cache_on_alert(struct sts_cache *cache,
                   void (*on_alert)(void *arg, const char *key, bool raised,
                                    const char *text),
                   void *arg)
{
    cache->on_alert = on_alert;
    cache->alert_arg = arg;
}

static bool
same_client(const struct sts_settings *a, const struct sts_settings *b)
{
    if (a->allow_private_addresses != b->allow_private_addresses ||
        a->authority_count != b->authority_count)
        return false;
    for (size_t i = 0; i < a->authority_count; i++)
        if (strcmp(a->authorities[i], b->authorities[i]) != 0)
            return false;
    return true;
}

/* The files were looked at when the settings were checked: if one has gone
 * since then, what was believed before still is. */
static void
renew_client(struct sts_cache *cache, const struct settings *settings)
{
    struct err err = {0};
    struct https_client *client = make_client(cache->loop, settings, &err);

    if (client == NULL) {
        log_event(NULL, LOG_ERROR, "sts.authorities_failed",
                  LOG_STR("error", err.text));
        return;
    }
    https_client_free(cache->https);
    cache->https = client;
    sts_flights_fetch_again(cache);
}

void
sts_cache_set(struct sts_cache *cache, struct settings *settings,
              struct dns_resolver *resolver)
{
    struct settings *old = cache->settings;

    pthread_mutex_lock(&cache->lock);
    cache->settings = settings_ref(settings);
    pthread_mutex_unlock(&cache->lock);
    dns_resolver_ref(resolver);
    dns_resolver_unref(cache->resolver);
    cache->resolver = resolver;
    if (!same_client(&old->sts, &settings->sts))
        renew_client(cache, settings);
    settings_unref(old);
}

void
sts_cache_free(struct sts_cache *cache)
{
    if (cache == NULL)
        return;
    sts_flights_drop(cache);
    sts_listings_drop(cache);
    timer_fini(&cache->sweep);
    https_client_free(cache->https);
    sts_file_close(cache->file);
    sts_table_fini(&cache->table);
    dns_resolver_unref(cache->resolver);
    settings_unref(cache->settings);
    pthread_mutex_destroy(&cache->lock);
    cache->closed = true;
    if (!cache->start_posted)
        mem_free(cache); /* else the task does */
}
