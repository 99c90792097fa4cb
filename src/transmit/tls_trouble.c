#include "transmit/tls_trouble.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include <pthread.h>
#include <time.h>

enum {
    TROUBLES_MAX = 10000,
    FORGET_S = 7 * 86400,
    RENEW_S = 300, /* the numbers of an alert that stands are so old at most */
};

struct tally {
    uint64_t count;
    int64_t first_s, last_s;
};

struct trouble {
    char *destination; /* owned */
    struct tally all, stages[TLS_STAGE_COUNT];
    char host[256], ip[64];
    struct tls_failure failure; /* the last */
    uint64_t kept_back;         /* times since mail was last taken */
    int64_t kept_first_s, kept_last_s;
    int64_t told_s; /* when the alert got its text */
    bool raised;
};

struct tls_troubles {
    pthread_mutex_t lock;
    struct map map; /* of struct trouble by destination */
    void (*alert)(void *arg, const char *key, bool raised, const char *text);
    void *arg;
};

struct tls_troubles *
tls_troubles_new(void (*alert)(void *arg, const char *key, bool raised,
                               const char *text),
                 void *arg)
{
    struct tls_troubles *troubles = mem_alloc(sizeof *troubles);

    pthread_mutex_init(&troubles->lock, NULL);
    troubles->alert = alert;
    troubles->arg = arg;
    return troubles;
}

static void
trouble_free(struct trouble *trouble)
{
    mem_free(trouble->destination);
    mem_free(trouble);
}

void
tls_troubles_free(struct tls_troubles *troubles)
{
    size_t cursor = 0;
    struct sv key;
    void *value;

    if (troubles == NULL)
        return;
    while (map_next(&troubles->map, &cursor, &key, &value))
        trouble_free(value);
    map_fini(&troubles->map);
    pthread_mutex_destroy(&troubles->lock);
    mem_free(troubles);
}

/* --- All below with the lock --------------------------------------------- */

/* The lock is held while the operator is told, so that an alert and its end
 * cannot overtake each other. */
static void
tell(struct tls_troubles *troubles, struct trouble *trouble, bool raised,
     const char *text)
{
    char key[320];

    snprintf(key, sizeof key, "destination.%s", trouble->destination);
    trouble->raised = raised;
    troubles->alert(troubles->arg, key, raised, text);
}

static void
expire(struct tls_troubles *troubles, int64_t now_s)
{
    size_t cursor = 0;
    struct sv key;
    void *value;

    while (map_next(&troubles->map, &cursor, &key, &value)) {
        struct trouble *trouble = value;

        if (now_s - trouble->all.last_s < FORGET_S)
            continue;
        if (trouble->raised)
            tell(troubles, trouble, false,
                 "TLS has not failed with it for a week");
        map_remove_at(&troubles->map, cursor);
        trouble_free(trouble);
    }
}

/* NULL: there are too many. */
static struct trouble *
get(struct tls_troubles *troubles, const struct tls_trouble_event *event)
{
    struct sv key = sv_of(event->destination);
    struct trouble *trouble = map_get(&troubles->map, key);

    if (trouble != NULL)
        return trouble;
    if (troubles->map.count >= TROUBLES_MAX)
        expire(troubles, event->now_s);
    if (troubles->map.count >= TROUBLES_MAX)
        return NULL;
    trouble = mem_alloc(sizeof *trouble);
    trouble->destination = sv_dup(key);
    map_put(&troubles->map, key, trouble);
    return trouble;
}

static void
add(struct tally *tally, int64_t now_s)
{
    if (tally->count++ == 0)
        tally->first_s = now_s;
    tally->last_s = now_s;
}

static const char *
time_text(int64_t seconds, char *text, size_t size)
{
    time_t at = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&at, &tm) == NULL ||
        strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(text, size, "%lld", (long long)seconds);
    return text;
}

static void
raise_alert(struct tls_troubles *troubles, struct trouble *trouble,
            const struct tls_trouble_event *event)
{
    struct buf text = {0};
    char first[32], last[32];

    buf_printf(&text, "mail waits because TLS fails: ");
    if (event->domain[0] != '\0')
        buf_printf(&text, "domain %s, ", event->domain);
    buf_printf(&text, "host %s [%s], stage %s: %s; ", trouble->host,
               trouble->ip, tls_stage_name(trouble->failure.stage),
               trouble->failure.reason);
    buf_printf(&text, "%llu recipient%s in the queue, %llu failure%s, ",
               (unsigned long long)event->queued, event->queued == 1 ? "" : "s",
               (unsigned long long)trouble->kept_back,
               trouble->kept_back == 1 ? "" : "s");
    buf_printf(&text, "first %s, last %s",
               time_text(trouble->kept_first_s, first, sizeof first),
               time_text(trouble->kept_last_s, last, sizeof last));
    tell(troubles, trouble, true, buf_cstr(&text));
    trouble->told_s = event->now_s;
    buf_fini(&text);
}

static void
clear_alert(struct tls_troubles *troubles, struct trouble *trouble)
{
    char text[200], first[32];

    snprintf(text, sizeof text,
             "delivery works again after %llu failures of TLS since %s",
             (unsigned long long)trouble->kept_back,
             time_text(trouble->kept_first_s, first, sizeof first));
    tell(troubles, trouble, false, text);
}

/* --- The face --------------------------------------------------------------
 */

void
tls_troubles_count(struct tls_troubles *troubles,
                   const struct tls_trouble_event *event)
{
    struct trouble *trouble;

    pthread_mutex_lock(&troubles->lock);
    trouble = get(troubles, event);
    if (trouble != NULL) {
        add(&trouble->all, event->now_s);
        add(&trouble->stages[event->failure->stage], event->now_s);
        trouble->failure = *event->failure;
        snprintf(trouble->host, sizeof trouble->host, "%.*s",
                 SV_ARG(event->host));
        snprintf(trouble->ip, sizeof trouble->ip, "%.*s", SV_ARG(event->ip));
    }
    pthread_mutex_unlock(&troubles->lock);
}

void
tls_troubles_kept_back(struct tls_troubles *troubles,
                       const struct tls_trouble_event *event)
{
    struct trouble *trouble;

    pthread_mutex_lock(&troubles->lock);
    trouble = get(troubles, event);
    if (trouble != NULL) {
        if (trouble->kept_back++ == 0)
            trouble->kept_first_s = event->now_s;
        trouble->kept_last_s = event->now_s;
        if (event->alert &&
            (!trouble->raised || event->now_s - trouble->told_s >= RENEW_S))
            raise_alert(troubles, trouble, event);
    }
    pthread_mutex_unlock(&troubles->lock);
}

void
tls_troubles_worked(struct tls_troubles *troubles, const char *destination)
{
    struct trouble *trouble;

    pthread_mutex_lock(&troubles->lock);
    trouble = map_get(&troubles->map, sv_of(destination));
    if (trouble != NULL && trouble->raised)
        clear_alert(troubles, trouble);
    if (trouble != NULL)
        trouble->kept_back = 0;
    pthread_mutex_unlock(&troubles->lock);
}

void
tls_troubles_expire(struct tls_troubles *troubles, int64_t now_s)
{
    pthread_mutex_lock(&troubles->lock);
    expire(troubles, now_s);
    pthread_mutex_unlock(&troubles->lock);
}

static json_t *
tally_json(const struct tally *tally)
{
    char first[32], last[32];

    return json_pack("{s:I,s:s,s:s}", "count", (json_int_t)tally->count,
                     "first", time_text(tally->first_s, first, sizeof first),
                     "last", time_text(tally->last_s, last, sizeof last));
}

static json_t *
trouble_json(const struct trouble *trouble)
{
    json_t *json = tally_json(&trouble->all), *stages = json_object();

    json_object_set_new(json, "host", json_string(trouble->host));
    json_object_set_new(json, "ip", json_string(trouble->ip));
    json_object_set_new(json, "stage",
                        json_string(tls_stage_name(trouble->failure.stage)));
    json_object_set_new(json, "reason", json_string(trouble->failure.reason));
    json_object_set_new(json, "alert", json_boolean(trouble->raised));
    for (size_t i = 0; i < TLS_STAGE_COUNT; i++)
        if (trouble->stages[i].count > 0)
            json_object_set_new(stages, tls_stage_name((enum tls_stage)i),
                                tally_json(&trouble->stages[i]));
    json_object_set_new(json, "stages", stages);
    return json;
}

json_t *
tls_troubles_json(struct tls_troubles *troubles, const char *destination)
{
    const struct trouble *trouble;
    json_t *json = NULL;

    pthread_mutex_lock(&troubles->lock);
    trouble = map_get(&troubles->map, sv_of(destination));
    if (trouble != NULL)
        json = trouble_json(trouble);
    pthread_mutex_unlock(&troubles->lock);
    return json;
}
