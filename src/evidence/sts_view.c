/* What the command line asks of the cache. */
#include "evidence/sts_internal.h"

#include "base/clock.h"
#include "mail/address.h"
#include "mail/date.h"

/* --- A domain as JSON --------------------------------------------------- */

static json_t *
date(int64_t wall_s)
{
    char text[MAIL_DATE_TEXT];

    return wall_s > 0 ? json_string(mail_date_iso(wall_s, text)) : json_null();
}

/* What a peer wrote may be anything. */
static json_t *
text_of(struct sv text)
{
    json_t *value = json_stringn(text.n > 0 ? text.p : "", text.n);

    return value != NULL ? value : json_string("?");
}

static json_t *
fetch_json(const struct sts_fetch *fetch)
{
    json_t *json = json_pack("{s:o, s:b}", "time", date(fetch->time), "ok",
                             fetch->ok ? 1 : 0);

    json_object_set_new(json, "stage", text_of(fetch->stage));
    json_object_set_new(json, "reason", text_of(fetch->reason));
    json_object_set_new(json, "id", text_of(fetch->id));
    json_object_set_new(json, "ms", json_integer(fetch->ms));
    return json;
}

static json_t *
history_json(const struct buf *history)
{
    struct sv rest = buf_view(history);
    json_t *list = json_array();
    struct sts_fetch fetch;

    while (sts_history_next(&rest, &fetch))
        json_array_insert_new(list, 0, fetch_json(&fetch)); /* newest first */
    return list;
}

static void
add_policy(json_t *json, const struct sts_entry *entry)
{
    const struct sts_policy *policy = entry->policy;
    json_t *mx = json_array();

    for (size_t i = 0; i < policy->pattern_count; i++)
        json_array_append_new(mx, json_string(policy->patterns[i]));
    json_object_set_new(json, "mode", json_string(sts_mode_name(policy->mode)));
    json_object_set_new(json, "mx", mx);
    json_object_set_new(json, "max_age", json_integer(policy->max_age));
    json_object_set_new(json, "id", json_string(entry->id));
    json_object_set_new(json, "fetched", date(entry->fetched));
    json_object_set_new(json, "expires", date(sts_entry_expires(entry)));
    json_object_set_new(json, "pinned", json_boolean(entry->pinned));
    json_object_set_new(json, "next_refresh",
                        entry->pinned ? json_null() : date(entry->refresh_at));
}

static const char *
said_name(enum sts_said said)
{
    static const char *const names[] = {"unknown", "none", "ok", "invalid",
                                        "error"};

    return names[said];
}

static json_t *
record_json(const struct sts_entry *entry)
{
    const char *reason = entry->said_reason != NULL ? entry->said_reason : "";

    return json_pack("{s:s, s:s, s:o}", "result", said_name(entry->said), "id",
                     entry->said_id, "reason", text_of(sv_of(reason)));
}

static json_t *
entry_json(const struct sts_entry *entry)
{
    json_t *json = json_pack("{s:s}", "domain", entry->domain);
    struct sts_evidence evidence;
    struct sts_fetch last;

    sts_entry_describe(entry, clock_wall_s(), &evidence);
    json_object_set_new(json, "state",
                        json_string(sts_state_name(evidence.state)));
    if (evidence.reason[0] != '\0')
        json_object_set_new(json, "reason", text_of(sv_of(evidence.reason)));
    if (entry->policy != NULL)
        add_policy(json, entry);
    json_object_set_new(json, "used", date(entry->used));
    json_object_set_new(json, "record", record_json(entry));
    if (sts_history_last(&entry->history, &last))
        json_object_set_new(json, "last_fetch", fetch_json(&last));
    return json;
}

static json_t *
entry_json_whole(const struct sts_entry *entry)
{
    json_t *json = entry_json(entry);

    json_object_set_new(json, "fetches", history_json(&entry->history));
    return json;
}

/* --- list --------------------------------------------------------------- */

enum { LIST_PENDING = 100000 };

struct listing {
    struct link link;        /* cache->listings */
    struct sts_cache *cache; /* NULL: it has gone */
    struct rpc_call *call;
    size_t cursor, count;
    json_int_t limit; /* 0: none */
};

static bool
list_some(struct listing *listing)
{
    struct sts_table *table = &listing->cache->table;

    while (listing->cursor < table->end && !rpc_gone(listing->call)) {
        const struct sts_entry *entry = table->slots[listing->cursor++];

        if (entry == NULL || !entry->kept)
            continue;
        rpc_item(listing->call, entry_json(entry));
        listing->count++;
        if (listing->limit > 0 && listing->count >= (size_t)listing->limit)
            return false;
        if (rpc_pending(listing->call) > LIST_PENDING)
            return true;
    }
    return false;
}

static void
list_on(void *arg)
{
    struct listing *listing = arg;
    struct sts_cache *cache = listing->cache;
    bool more = false;

    if (cache != NULL) {
        pthread_mutex_lock(&cache->lock);
        more = list_some(listing);
        pthread_mutex_unlock(&cache->lock);
    }
    if (more) {
        rpc_on_low(listing->call, list_on, listing);
        return;
    }
    if (cache != NULL)
        list_remove(&cache->listings, &listing->link);
    rpc_result(listing->call,
               json_pack("{s:I}", "domains", (json_int_t)listing->count));
    mem_free(listing);
}

/* They end when their calls say that they can go on. */
void
sts_listings_drop(struct sts_cache *cache)
{
    struct link *link;

    while ((link = list_pop_front(&cache->listings)) != NULL)
        CONTAINER_OF(link, struct listing, link)->cache = NULL;
}

static void
call_list(struct sts_cache *cache, struct rpc_call *call, const char *domain)
{
    struct listing *listing = mem_alloc(sizeof *listing);

    (void)domain;
    listing->cache = cache;
    listing->call = call;
    list_push_back(&cache->listings, &listing->link);
    listing->limit =
        json_integer_value(json_object_get(rpc_params(call), "limit"));
    list_on(listing);
}

/* --- Calls about one domain --------------------------------------------- */

static void
unknown(struct rpc_call *call, const char *domain)
{
    rpc_error(call, "nothing is known of %s", domain);
}

static void
call_show(struct sts_cache *cache, struct rpc_call *call, const char *domain)
{
    const struct sts_entry *entry;
    json_t *json = NULL;

    pthread_mutex_lock(&cache->lock);
    entry = sts_table_find(&cache->table, domain);
    if (entry != NULL)
        json = entry_json_whole(entry);
    pthread_mutex_unlock(&cache->lock);
    if (json != NULL)
        rpc_result(call, json);
    else
        unknown(call, domain);
}

void
sts_callers_answer(struct sts_flight *flight)
{
    struct link *link;

    while ((link = list_pop_front(&flight->callers)) != NULL) {
        struct sts_caller *caller = CONTAINER_OF(link, struct sts_caller, link);
        json_t *json = entry_json_whole(flight->entry);

        json_object_set_new(json, "renewed", json_boolean(flight->renewed));
        rpc_result(caller->call, json);
        mem_free(caller);
    }
}

/* One that is under way already is as good; but it may have passed the point
 * where a pause ends it, so it is told. */
static void
call_refresh(struct sts_cache *cache, struct rpc_call *call, const char *domain)
{
    static const struct sts_flight_options by_hand = {.refresh = true,
                                                      .by_hand = true};
    struct sts_caller *caller = mem_alloc(sizeof *caller);
    struct sts_entry *entry;

    caller->call = call;
    pthread_mutex_lock(&cache->lock);
    entry = sts_table_find(&cache->table, domain);
    if (entry == NULL)
        entry = sts_table_add(&cache->table, domain);
    if (entry->flight == NULL)
        sts_flight_new(cache, entry, &by_hand);
    else
        entry->flight->options.by_hand = entry->flight->options.refresh = true;
    list_push_back(&entry->flight->callers, &caller->link);
    pthread_mutex_unlock(&cache->lock);
}

/* With a flight under way the entry stays for it, empty. */
static void
empty(struct sts_cache *cache, struct sts_entry *entry)
{
    sts_entry_drop_policy(entry);
    buf_fini(&entry->history);
    entry->paused_until = entry->said_until = 0;
    entry->said = SAID_NOTHING;
    sts_cache_save(cache, entry);
}

static void
finish_deed(struct sts_cache *cache, struct rpc_call *call, json_t *json)
{
    if (sts_file_sync(cache->file)) {
        rpc_result(call, json);
        return;
    }
    json_decref(json);
    rpc_error(call, "done, but it cannot be written to disk; see the log "
                    "(sts.store_failed)");
}

static void
call_forget(struct sts_cache *cache, struct rpc_call *call, const char *domain)
{
    struct sts_entry *entry;
    bool found;

    pthread_mutex_lock(&cache->lock);
    entry = sts_table_find(&cache->table, domain);
    found = entry != NULL;
    if (found && entry->flight != NULL)
        empty(cache, entry);
    else if (found)
        sts_cache_remove(cache, entry);
    pthread_mutex_unlock(&cache->lock);
    if (found)
        finish_deed(cache, call, json_pack("{s:s}", "domain", domain));
    else
        unknown(call, domain);
}

static json_t *
pin(struct sts_cache *cache, struct sts_entry *entry, bool on)
{
    entry->pinned = on;
    sts_alert_update(cache, entry, clock_wall_s());
    sts_cache_save(cache, entry);
    return entry_json_whole(entry);
}

static void
call_pin(struct sts_cache *cache, struct rpc_call *call, const char *domain)
{
    const json_t *off = json_object_get(rpc_params(call), "off");
    struct sts_entry *entry;
    json_t *json = NULL;

    pthread_mutex_lock(&cache->lock);
    entry = sts_table_find(&cache->table, domain);
    if (entry != NULL && sts_entry_in_force(entry, clock_wall_s()))
        json = pin(cache, entry, !json_is_true(off));
    pthread_mutex_unlock(&cache->lock);
    if (json != NULL)
        finish_deed(cache, call, json);
    else
        rpc_error(call, "no policy of %s is in the cache", domain);
}

static const struct method {
    const char *name;
    void (*run)(struct sts_cache *cache, struct rpc_call *call,
                const char *domain);
    bool about_one;
} methods[] = {
    {"sts.list", call_list, false},      {"sts.show", call_show, true},
    {"sts.refresh", call_refresh, true}, {"sts.forget", call_forget, true},
    {"sts.pin", call_pin, true},
};

static void
run_method(struct sts_cache *cache, const struct method *method,
           struct rpc_call *call)
{
    const char *name =
        json_string_value(json_object_get(rpc_params(call), "domain"));
    char domain[MAIL_DOMAIN_MAX + 1] = "";

    if (method->about_one && (name == NULL || name[0] == '[' ||
                              !mail_domain_canonical(sv_of(name), domain))) {
        rpc_error(call, "\"%s\" is not a domain", name != NULL ? name : "");
        return;
    }
    method->run(cache, call, domain);
}

void
sts_request(struct sts_cache *cache, struct rpc_call *call)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (strcmp(rpc_method(call), methods[i].name) == 0) {
            run_method(cache, &methods[i], call);
            return;
        }
    }
    rpc_error(call, "the sender knows no call %s", rpc_method(call));
}
