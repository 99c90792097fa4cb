/* What a session knows of its servers before it connects: the MTA-STS policy of
 * the domain, once, and the TLSA records of each server, when its turn comes.
 * Nothing is asked that decide() would not use, and nothing twice. */
#include "base/clock.h"
#include "transmit/delivery_internal.h"

void
session_forget_evidence(struct session *s)
{
    for (size_t i = 0; i < s->dane_count; i++)
        dane_evidence_unref(s->dane[i]);
    mem_free(s->dane);
    s->dane = NULL;
    s->dane_count = 0;
    sts_policy_unref(s->sts.policy);
    s->sts = (struct sts_evidence){.state = STS_OFF};
    s->sts_known = s->sts_fresh = false;
}

void
session_cancel_lookups(struct session *s)
{
    if (s->query != NULL)
        route_cancel(s->query);
    if (s->sts_query != NULL)
        sts_cancel(s->sts_query);
    if (s->dane_query != NULL)
        dane_cancel(s->dane_query);
    s->query = NULL;
    s->sts_query = NULL;
    s->dane_query = NULL;
}

/* --- How long to wait for an answer --------------------------------------- */

struct unsure { /* sessions in a row that failed without knowing a policy */
    uint32_t count;
};

enum { UNSURE_MAX = 10000 };

/* Servers that were down have nothing to do with a policy that is hidden: only
 * failures without an answer count, and no more of them than there were
 * failures. Where there is no room for the count all failures do. */
static uint32_t
count_of_unsure(struct session *s)
{
    struct delivery *delivery = s->delivery;
    uint32_t failures = queue_failures(delivery->queue, s->destination);
    const struct unsure *unsure;
    bool full;

    pthread_mutex_lock(&delivery->lock);
    unsure = map_get(&delivery->unsure, sv_of(s->key));
    full = delivery->unsure.count >= UNSURE_MAX;
    s->unsure = unsure != NULL ? unsure->count : 0;
    pthread_mutex_unlock(&delivery->lock);
    if ((unsure == NULL && full) || s->unsure > failures)
        return failures;
    return s->unsure;
}

/* Of several sessions that fail at the same time one counts. */
void
session_count_unsure(struct session *s)
{
    struct map *map = &s->delivery->unsure;
    struct unsure *unsure;

    if (!s->sts_known || s->sts.state != STS_UNKNOWN)
        return;
    pthread_mutex_lock(&s->delivery->lock);
    unsure = map_get(map, sv_of(s->key));
    if (unsure == NULL && map->count < UNSURE_MAX) {
        unsure = mem_alloc(sizeof *unsure);
        map_put(map, sv_of(s->key), unsure);
    }
    if (unsure != NULL && unsure->count == s->unsure)
        unsure->count++;
    pthread_mutex_unlock(&s->delivery->lock);
}

static void
forget_unsure(struct session *s)
{
    pthread_mutex_lock(&s->delivery->lock);
    mem_free(map_remove(&s->delivery->unsure, sv_of(s->key)));
    pthread_mutex_unlock(&s->delivery->lock);
}

void
delivery_forget_unsure(struct delivery *delivery)
{
    size_t cursor = 0;
    struct sv key;
    void *value;

    while (map_next(&delivery->unsure, &cursor, &key, &value))
        mem_free(value);
    map_fini(&delivery->unsure);
}

void
session_begin_policy(struct session *s)
{
    const struct destination *destination = s->destination;
    struct sv domain = destination->domain[0] != '\0'
                           ? sv_of(destination->domain)
                           : destination->policy_domain;

    if (!sv_to_cstr(domain, s->policy_domain, sizeof s->policy_domain))
        s->policy_domain[0] = '\0';
    s->attempt = count_of_unsure(s) + 1;
}

void
session_evidence(const struct session *s, size_t target,
                 struct tls_evidence *evidence)
{
    const struct route_target *to = &s->route->targets[target];
    const struct sts_settings *sts = &s->revision->settings->sts;

    *evidence = (struct tls_evidence){
        .domain = s->policy_domain,
        .host = to->host,
        .host_is_literal = to->literal,
        .by_mx = to->by_mx,
        .mx_state = to->mx_state,
        .control = s->control,
        .sts = s->sts_known ? &s->sts : NULL,
        .dane = target < s->dane_count ? s->dane[target] : NULL,
        .demands = s->destination->demands,
        .attempt = s->attempt,
        .sts_defers = sts->dns_failure_defers,
        .now = loop_wall_us(s->worker->loop) / 1000000,
    };
}

bool
session_is_stale(const struct session *s)
{
    return loop_now(s->worker->loop) - s->evidence_at >= s->delivery->stale_ms;
}

bool
session_is_overtaken(const struct session *s)
{
    struct sts_evidence now;
    bool other;

    /* Servers that keep us waiting make evidence old before the first message;
     * the one that is ready at last shall have it all the same. */
    if (session_is_stale(s) && client_is_old(s->client))
        return true;
    if (!s->sts_known || !sts_peek(s->delivery->sts, s->policy_domain, &now))
        return false;
    other = now.state == STS_POLICY &&
            (s->sts.state != STS_POLICY || strcmp(now.id, s->sts.id) != 0);
    sts_policy_unref(now.policy);
    return other;
}

static void
go_on(struct session *s)
{
    void (*then)(struct session * session) = s->then;

    s->then = NULL;
    then(s);
}

/* --- MTA-STS -------------------------------------------------------------- */

static void
on_policy(void *arg, const struct sts_evidence *evidence)
{
    struct session *s = arg;

    s->sts_query = NULL;
    s->sts_known = true;
    sts_policy_unref(s->sts.policy);
    s->sts = *evidence;
    if (evidence->policy != NULL)
        s->sts.policy = sts_policy_ref(evidence->policy);
    if (evidence->state != STS_UNKNOWN)
        forget_unsure(s);
    go_on(s);
}

/* The policy is of the recipients' domain, so servers of a route have none
 * (RFC 8461 section 3.4). */
static bool
wants_policy(const struct session *s)
{
    struct tls_evidence evidence;

    if (s->delivery->sts == NULL || s->destination->domain[0] == '\0')
        return false;
    session_evidence(s, 0, &evidence);
    return decide_wants_sts(&evidence);
}

void
session_find_policy(struct session *s, void (*then)(struct session *session))
{
    if (!wants_policy(s)) {
        then(s);
        return;
    }
    s->then = then;
    s->sts_query = sts_lookup(s->delivery->sts, s->worker->loop,
                              s->policy_domain, false, on_policy, s);
}

bool
session_find_fresh(struct session *s, void (*then)(struct session *session))
{
    if (s->sts_fresh || !s->sts_known || s->sts.state != STS_POLICY)
        return false;
    s->sts_fresh = true;
    s->then = then;
    s->sts_query = sts_lookup(s->delivery->sts, s->worker->loop,
                              s->policy_domain, true, on_policy, s);
    return true;
}

/* --- DANE ----------------------------------------------------------------- */

static bool
is_same_server(const struct route_target *a, const struct route_target *b)
{
    return strcmp(a->host, b->host) == 0 &&
           net_address_port(&a->address) == net_address_port(&b->address);
}

/* The records belong to the name: they are good for all of its addresses. */
static void
on_records(void *arg, struct dane_evidence *evidence)
{
    struct session *s = arg;
    const struct route *route = s->route;

    s->dane_query = NULL;
    for (size_t i = 0; i < s->dane_count; i++)
        if (s->dane[i] == NULL &&
            is_same_server(&route->targets[i], &route->targets[s->target]))
            s->dane[i] = dane_evidence_ref(evidence);
    dane_evidence_unref(evidence);
    go_on(s);
}

void
session_find_records(struct session *s, size_t target,
                     void (*then)(struct session *session))
{
    const struct route_target *to = &s->route->targets[target];
    struct tls_evidence evidence;

    if (s->dane == NULL) {
        s->dane_count = s->route->target_count;
        s->dane = mem_alloc_array(s->dane_count, sizeof *s->dane);
    }
    session_evidence(s, target, &evidence);
    if (evidence.dane != NULL || !decide_wants_dane(&evidence)) {
        then(s);
        return;
    }
    s->then = then;
    s->dane_query = dane_lookup(s->revision->resolver, s->worker->loop,
                                to->host, net_address_port(&to->address),
                                to->mx_state, on_records, s);
}
