/* Recipient domains and the destinations that they lead to.
 *
 * A domain is a name and what the messages to it demand of TLS: mail of other
 * demands goes by sessions of its own.
 *
 * Recipients point to a domain, a domain to a destination: so a reload that
 * changes routes looks at each domain once, and only the recipients of those
 * that lead elsewhere move. */
#include "transmit/queue_internal.h"

struct way {
    struct buf key;
    const char *domain;
    size_t policy_at, policy_length; /* in key: whose control applies */
    unsigned demands;
};

static const struct {
    unsigned bit;
    const char *name;
} demand_names[] = {
    {ENVELOPE_REQUIRETLS, "requiretls"},
    {ENVELOPE_TLS_OPTIONAL, "tls-optional"},
    {ENVELOPE_TLS_REQUIRED, "tls-required"},
    {ENVELOPE_TLS_VERIFIED, "tls-verified"},
    {ENVELOPE_IGNORE_DANE, "ignore-dane"},
    {ENVELOPE_TLS_REPORT, "tls-report"},
};

/* No domain, address literal or route has a plus sign in its name. */
static void
add_demands(struct buf *key, unsigned demands)
{
    for (size_t i = 0; i < COUNT_OF(demand_names); i++)
        if (demands & demand_names[i].bit)
            buf_printf(key, "+%s", demand_names[i].name);
}

json_t *
queue_demands_json(unsigned demands)
{
    json_t *list = json_array();

    for (size_t i = 0; i < COUNT_OF(demand_names); i++)
        if (demands & demand_names[i].bit)
            json_array_append_new(list, json_string(demand_names[i].name));
    return list;
}

bool
queue_demands_known(unsigned demands)
{
    for (size_t i = 0; i < COUNT_OF(demand_names); i++)
        demands &= ~demand_names[i].bit;
    return demands == 0;
}

/* Where mail for this domain goes.  Domains of one static route share a
 * destination when the same destination control applies to them. */
static void
find_way(const struct queue *queue, struct sv domain, const char *name,
         unsigned demands, struct way *way)
{
    const char *policy = name;
    const struct route_settings *route =
        settings_route(queue->settings, domain);

    *way = (struct way){.domain = name, .demands = demands};
    if (route == NULL || route->hop_count == 0) {
        buf_add(&way->key, domain);
    } else {
        way->domain = "";
        policy = settings_destination(queue->settings, domain)->domain;
        buf_printf(&way->key, "route:%s/%s", route->domain, policy);
    }
    way->policy_length = strlen(policy);
    way->policy_at = buf_length(&way->key) - way->policy_length;
    add_demands(&way->key, demands);
}

struct destination_queue *
destination_find(const struct queue *queue, struct sv key)
{
    return map_get(&queue->destination_keys, key);
}

static struct destination_queue *
destination_get(struct queue *queue, const struct way *way)
{
    struct sv key = buf_view(&way->key);
    struct destination_queue *d = destination_find(queue, key);

    if (d != NULL)
        return d;
    d = mem_alloc(sizeof *d);
    d->self.key = sv_dup(key);
    d->self.domain = mem_strdup(way->domain);
    d->self.demands = way->demands;
    d->self.policy_domain =
        (struct sv){d->self.key + way->policy_at, way->policy_length};
    d->self.queue = d;
    d->control = settings_destination(queue->settings, d->self.policy_domain);
    d->idle_since = clock_mono_ms();
    d->number = table_add(&queue->destinations, d);
    map_put(&queue->destination_keys, key, d);
    return d;
}

static struct destination_queue *
route_domain(struct queue *queue, const char *name, unsigned demands)
{
    struct destination_queue *d;
    struct way way;

    find_way(queue, sv_of(name), name, demands, &way);
    d = destination_get(queue, &way);
    buf_fini(&way.key);
    return d;
}

/* The name by which a domain with its demands is known. */
static struct sv
domain_key(struct sv name, unsigned demands, struct buf *room)
{
    if (demands == 0)
        return name;
    buf_add(room, name);
    add_demands(room, demands);
    return buf_view(room);
}

struct domain *
domain_get(struct queue *queue, struct sv name, unsigned demands)
{
    struct buf room = {0};
    struct sv key = domain_key(name, demands, &room);
    struct domain *domain = map_get(&queue->domain_names, key);

    if (domain == NULL) {
        domain = mem_alloc(sizeof *domain);
        domain->name = sv_dup(name);
        domain->demands = demands;
        domain->number = table_add(&queue->domains, domain);
        domain->destination = route_domain(queue, domain->name, demands);
        domain->destination->domains++;
        map_put(&queue->domain_names, key, domain);
    }
    buf_fini(&room);
    return domain;
}

void
domain_drop(struct queue *queue, struct domain *domain)
{
    struct buf room = {0};

    domain->destination->domains--;
    domain->destination->idle_since = clock_mono_ms();
    map_remove(&queue->domain_names,
               domain_key(sv_of(domain->name), domain->demands, &room));
    buf_fini(&room);
    table_remove(&queue->domains, domain->number);
    mem_free(domain->name);
    mem_free(domain);
}

struct domain *
domain_at(const struct queue *queue, uint32_t number)
{
    return queue->domains.items[number];
}

struct destination_queue *
destination_at(const struct queue *queue, uint32_t number)
{
    return queue->destinations.items[number];
}

struct destination_queue *
destination_of(const struct queue *queue, const struct rcpt *rcpt)
{
    return domain_at(queue, rcpt->domain)->destination;
}

enum { FAILURES_LOOKED_AT = 16 };

uint32_t
queue_failures(struct queue *queue, const struct destination *destination)
{
    const struct destination_queue *d = destination->queue;
    uint32_t failures, next, seen = 0;

    pthread_mutex_lock(&queue->lock);
    failures = d->failures;
    for (next = d->ready_first; next != 0 && seen < FAILURES_LOOKED_AT;
         next = queue_rcpt(queue, next)->behind) {
        uint32_t attempts = queue_rcpt(queue, next)->attempts;

        if (attempts > failures)
            failures = attempts;
        seen++;
    }
    pthread_mutex_unlock(&queue->lock);
    return failures;
}

uint64_t
queue_waiting(struct queue *queue, const struct destination *destination)
{
    const struct destination_queue *d = destination->queue;
    uint64_t count = 0;

    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < RCPT_STATE_COUNT; i++)
        count += d->count[i];
    pthread_mutex_unlock(&queue->lock);
    return count;
}

static void
destination_free(struct queue *queue, struct destination_queue *d)
{
    map_remove(&queue->destination_keys, sv_of(d->self.key));
    table_remove(&queue->destinations, d->number);
    if (d->resting)
        heap_remove(&queue->resting, d->number);
    schedule_unlist(queue, d);
    if (link_on_list(&d->busy))
        list_remove(&queue->busy, &d->busy);
    reason_drop(&queue->reasons, d->reason);
    mem_free(d->self.key);
    mem_free(d->self.domain);
    mem_free(d);
}

/* An empty destination stays a while: what it taught us about its servers is
 * worth keeping while mail comes and goes. */
void
destination_sweep(struct queue *queue, uint64_t now, bool all)
{
    for (uint32_t i = 1; i < queue->destinations.end; i++) {
        struct destination_queue *d = destination_at(queue, i);

        if (d == NULL || d->domains > 0 || d->sessions > 0)
            continue;
        if (all || now - d->idle_since >= QUEUE_IDLE_DESTINATION_MS)
            destination_free(queue, d);
    }
}

void
destination_fini_all(struct queue *queue)
{
    for (uint32_t i = 1; i < queue->destinations.end; i++)
        if (destination_at(queue, i) != NULL)
            destination_free(queue, destination_at(queue, i));
    map_fini(&queue->destination_keys);
    table_fini(&queue->destinations);
    for (uint32_t i = 1; i < queue->domains.end; i++)
        if (domain_at(queue, i) != NULL) {
            mem_free(domain_at(queue, i)->name);
            mem_free(domain_at(queue, i));
        }
    map_fini(&queue->domain_names);
    table_fini(&queue->domains);
}

/* Takes the recipients of a domain whose destination changes out of their
 * lists and back in, under the new one.  What a session holds only changes its
 * count: its parcel keeps the destination with which it was taken. */
static void
move_rcpt(struct queue *queue, uint32_t number, struct domain *domain,
          struct destination_queue *to)
{
    struct rcpt *rcpt = queue_rcpt(queue, number);
    enum rcpt_state state = rcpt->state;
    uint64_t when = rcpt->when;
    struct destination_queue *from = domain->destination;

    if (state != RCPT_READY && state != RCPT_WAITING) {
        from->count[state]--;
        to->count[state]++;
        return;
    }
    schedule_leave(queue, number);
    from->count[RCPT_NEW]--;
    to->count[RCPT_NEW]++;
    domain->destination = to;
    schedule_enter(queue, number, state, when);
    domain->destination = from;
}

void
domain_reroute(struct queue *queue)
{
    struct destination_queue **to =
        mem_alloc_array(queue->domains.end + 1, sizeof *to);
    bool changed = false;

    for (uint32_t i = 1; i < queue->destinations.end; i++) {
        struct destination_queue *d = destination_at(queue, i);

        if (d == NULL)
            continue;
        d->control =
            settings_destination(queue->settings, d->self.policy_domain);
        if (d->limited)
            schedule_wake(queue, d); /* the limit may be another one now */
    }
    for (uint32_t i = 1; i < queue->domains.end; i++)
        if (domain_at(queue, i) != NULL) {
            to[i] = route_domain(queue, domain_at(queue, i)->name,
                                 domain_at(queue, i)->demands);
            changed |= to[i] != domain_at(queue, i)->destination;
        }
    for (uint32_t i = 1; changed && i < queue->recipients.end; i++) {
        struct rcpt *rcpt = queue_rcpt(queue, i);
        struct domain *domain;

        if (rcpt->message == 0)
            continue;
        domain = domain_at(queue, rcpt->domain);
        if (to[rcpt->domain] != domain->destination)
            move_rcpt(queue, i, domain, to[rcpt->domain]);
    }
    for (uint32_t i = 1; changed && i < queue->domains.end; i++)
        if (to[i] != NULL) {
            domain_at(queue, i)->destination->domains--;
            domain_at(queue, i)->destination = to[i];
            to[i]->domains++;
        }
    mem_free(to);
}
