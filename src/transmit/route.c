/* The way of a query: the hops of the static route, or one hop "the MX of the
 * domain", become MX look-ups and hosts; MX answers become more hosts; every
 * host has its addresses looked up.  When nothing is outstanding the list is
 * made (finish()). */
#include "transmit/route.h"
#include "base/random.h"
#include "transmit/route_internal.h"

struct mx_lookup {
    struct route_query *query;
    struct dns_query *dns; /* NULL: not running */
    char domain[256];
    uint16_t port;
    uint32_t rank;
};

struct route_query {
    struct dns_resolver *resolver; /* reference */
    struct loop *loop;
    struct settings *settings; /* reference */
    const struct destination_settings *control;
    void (*on_route)(void *arg, struct route *route);
    void *arg;
    bool is_static; /* a route of the settings: not subject to MX rules */
    bool cancelled, finishing;
    struct task finish;
    size_t pending; /* look-ups running */
    struct mx_lookup lookups[ROUTE_HOSTS_MAX];
    size_t lookup_count;
    struct route_host hosts[ROUTE_HOSTS_MAX];
    size_t host_count;
    /* What went wrong, for the case that nothing is left; each is the first of
     * its kind. */
    char temporary[256], none[256];
    bool null_mx;
    json_t *trace; /* owned; NULL: not wanted */
};

static void
note(char *reason, size_t size, const char *what, const char *name,
     const char *why)
{
    if (reason[0] == '\0')
        snprintf(reason, size, "%s%.120s%s%.100s", what, name,
                 why[0] != '\0' ? ": " : "", why);
}
#define NOTE(reason, what, name, why)                                          \
    note((reason), sizeof(reason), (what), (name), (why))

/* --- The end ---------------------------------------------------------- */

static void
query_free(struct route_query *query)
{
    dns_resolver_unref(query->resolver);
    settings_unref(query->settings);
    json_decref(query->trace);
    mem_free(query);
}

static void
set_result(struct route *route, enum route_result result, const char *reason)
{
    route->result = result;
    snprintf(route->reason, sizeof route->reason, "%s", reason);
}

/* A static route that leads nowhere is the administrator's to mend: mail waits
 * for it and is never returned at once. */
static void
explain_nothing(const struct route_query *query, bool were_ours,
                struct route *route)
{
    if (were_ours && query->is_static)
        set_result(route, ROUTE_TEMPORARY, "the route leads back to us");
    else if (were_ours)
        set_result(route, ROUTE_LOOP, "mail would come back to this server");
    else if (query->temporary[0] != '\0')
        set_result(route, ROUTE_TEMPORARY, query->temporary);
    else if (query->is_static)
        set_result(route, ROUTE_TEMPORARY,
                   query->none[0] != '\0' ? query->none
                                          : "the route has no usable host");
    else if (query->null_mx)
        set_result(route, ROUTE_NULL_MX,
                   "the domain accepts no mail (null MX)");
    else
        set_result(route, ROUTE_NONE,
                   query->none[0] != '\0'
                       ? query->none
                       : "no mail server of the domain has a usable address");
}

static struct route *
make_route(struct route_query *query)
{
    struct route *route = mem_alloc(sizeof *route);
    size_t count = query->host_count, stay;

    route_sort_hosts(query->hosts, count);
    stay = query->is_static
               ? route_remove_listeners(query->settings, query->hosts, count)
               : route_remove_ourselves(query->settings, query->hosts, count);
    route_make_targets(query->hosts, count, query->control->ip_preference,
                       route);
    route_trace_hosts(query->trace, query->hosts, count);
    route->trace = query->trace;
    query->trace = NULL;
    route->incomplete = query->temporary[0] != '\0';
    if (route->incomplete)
        set_result(route, ROUTE_OK, query->temporary);
    if (route->target_count == 0)
        explain_nothing(query, stay == 0 && count > 0, route);
    return route;
}

static void
run_finish(struct task *task)
{
    struct route_query *query = CONTAINER_OF(task, struct route_query, finish);

    if (!query->cancelled)
        query->on_route(query->arg, make_route(query));
    query_free(query);
}

static void
finish_if_complete(struct route_query *query)
{
    if (query->pending > 0 || query->finishing)
        return;
    query->finishing = true;
    loop_defer(query->loop, &query->finish);
}

static void
answered(struct route_query *query)
{
    query->pending--;
    finish_if_complete(query);
}

/* --- Addresses of a host ---------------------------------------------- */

static bool
may_use(const struct route_query *query, const struct net_address *address)
{
    return query->is_static || query->settings->dns.allow_loopback_mx ||
           !(net_address_is_loopback(address) || net_address_is_any(address));
}

static void
add_address(struct route_host *host, struct net_address *address)
{
    bool usable = may_use(host->query, address);

    if (!usable)
        NOTE(host->query->none,
             "the address of the mail server is loopback: ", host->name, "");
    if (host->address_count == ROUTE_HOST_ADDRESSES_MAX)
        return;
    net_address_set_port(address, host->port);
    host->refused[host->address_count] =
        usable ? NULL : "a loopback or unspecified address";
    host->addresses[host->address_count++] = *address;
}

/* The weaker of both families' states counts, an absent one does not. */
static void
join_state(struct route_host *host, enum dns_state state)
{
    if (host->address_state == DNS_ABSENT || state == DNS_INSECURE)
        host->address_state = state;
}

static void
take_addresses(struct route_host *host, enum dns_type type,
               const struct dns_answer *answer)
{
    struct route_query *query = host->query;

    route_trace_answer(query->trace, host->name, type, answer);
    if (answer->name[0] != '\0' && strcmp(answer->name, host->name) != 0)
        snprintf(host->canonical, sizeof host->canonical, "%s", answer->name);
    switch (answer->state) {
    case DNS_SECURE:
    case DNS_INSECURE:
        join_state(host, answer->state);
        for (size_t i = 0; i < answer->record_count; i++) {
            struct net_address address;

            if (dns_address_parse(&answer->records[i], type, &address))
                add_address(host, &address);
        }
        break;
    case DNS_ABSENT:
        NOTE(query->none, "no address of ", host->name, "");
        break;
    case DNS_BOGUS:
    case DNS_ERROR:
        host->lost = true;
        NOTE(query->temporary, "DNS look-up of the address of ", host->name,
             answer->reason);
        break;
    }
    answered(query);
}

static void
on_a(void *arg, const struct dns_answer *answer)
{
    struct route_host *host = arg;

    host->a = NULL;
    take_addresses(host, DNS_A, answer);
}

static void
on_aaaa(void *arg, const struct dns_answer *answer)
{
    struct route_host *host = arg;

    host->aaaa = NULL;
    take_addresses(host, DNS_AAAA, answer);
}

static void
look_up_addresses(struct route_host *host)
{
    struct route_query *query = host->query;
    enum ip_preference preference = query->control->ip_preference;

    if (preference != REQUIRE_V6) {
        query->pending++;
        host->a = dns_lookup(query->resolver, query->loop, host->name, DNS_A,
                             on_a, host);
    }
    if (preference != REQUIRE_V4) {
        query->pending++;
        host->aaaa = dns_lookup(query->resolver, query->loop, host->name,
                                DNS_AAAA, on_aaaa, host);
    }
}

static struct route_host *
add_host(struct route_query *query, const char *name, uint16_t preference,
         uint32_t rank, uint16_t port)
{
    struct route_host *host;

    if (query->host_count == ROUTE_HOSTS_MAX)
        return NULL;
    host = &query->hosts[query->host_count++];
    host->query = query;
    snprintf(host->name, sizeof host->name, "%s", name);
    host->preference = preference;
    host->rank = rank;
    host->port = port;
    host->shuffle = (uint32_t)random_u64();
    host->mx_state = host->address_state = DNS_ABSENT;
    return host;
}

/* --- MX --------------------------------------------------------------- */

struct exchanger {
    char name[256];
    uint16_t preference;
    uint32_t shuffle;
};

static int
compare_exchangers(const void *left, const void *right)
{
    const struct exchanger *a = left, *b = right;

    if (a->preference != b->preference)
        return a->preference < b->preference ? -1 : 1;
    return (a->shuffle > b->shuffle) - (a->shuffle < b->shuffle);
}

/* A server that says "." or calls itself localhost takes no mail (RFC 7505). */
static bool
is_null_name(const char *name)
{
    return name[0] == '\0' || strcmp(name, "localhost") == 0;
}

static size_t
read_exchangers(struct route_query *query, const struct dns_answer *answer,
                struct exchanger *list)
{
    size_t n = 0;
    bool null = false;

    for (size_t i = 0; i < answer->record_count; i++) {
        struct exchanger *x = &list[n];

        if (!dns_mx_parse(&answer->records[i], &x->preference, x->name))
            continue;
        x->shuffle = (uint32_t)random_u64();
        if (is_null_name(x->name))
            null = true;
        else
            n++;
    }
    if (null && n == 0)
        query->null_mx = true;
    else if (n == 0)
        NOTE(query->none, "no valid MX record for ", answer->name, "");
    return n;
}

/* Only the best are kept where there are more than we try. */
static void
add_exchangers(struct mx_lookup *lookup, const struct dns_answer *answer)
{
    struct route_query *query = lookup->query;
    struct exchanger *list = mem_alloc_array(DNS_RECORDS_MAX, sizeof *list);
    size_t count = read_exchangers(query, answer, list);

    qsort(list, count, sizeof *list, compare_exchangers);
    for (size_t i = 0; i < count; i++) {
        struct route_host *host =
            add_host(query, list[i].name, list[i].preference, lookup->rank,
                     lookup->port);

        if (host == NULL) {
            route_trace_left_out(query->trace, list[i].name);
            continue;
        }
        host->by_mx = true;
        host->mx_state = answer->state;
        look_up_addresses(host);
    }
    mem_free(list);
}

/* RFC 5321 section 5.1: without MX records the domain is its own mail server,
 * but not when the name does not exist at all.  A proof that there is no MX is
 * as good as a signed one (RFC 7672 section 2.2.1). */
static void
without_mx(struct mx_lookup *lookup, const struct dns_answer *answer)
{
    struct route_query *query = lookup->query;
    struct route_host *host;

    if (answer->nxdomain) {
        NOTE(query->none, "the domain does not exist: ", lookup->domain, "");
        return;
    }
    host = add_host(query, lookup->domain, 0, lookup->rank, lookup->port);
    if (host == NULL)
        return;
    host->by_mx = true;
    host->mx_state = answer->secure_denial ? DNS_SECURE : DNS_INSECURE;
    look_up_addresses(host);
}

static void
on_mx(void *arg, const struct dns_answer *answer)
{
    struct mx_lookup *lookup = arg;
    struct route_query *query = lookup->query;

    lookup->dns = NULL;
    route_trace_answer(query->trace, lookup->domain, DNS_MX, answer);
    switch (answer->state) {
    case DNS_SECURE:
    case DNS_INSECURE:
        add_exchangers(lookup, answer);
        break;
    case DNS_ABSENT:
        without_mx(lookup, answer);
        break;
    case DNS_BOGUS:
    case DNS_ERROR:
        NOTE(query->temporary, "DNS look-up of the MX of ", lookup->domain,
             answer->reason);
        break;
    }
    answered(query);
}

static void
look_up_mx(struct route_query *query, const char *domain, uint32_t rank,
           uint16_t port)
{
    struct mx_lookup *lookup;

    if (query->lookup_count == ROUTE_HOSTS_MAX)
        return;
    lookup = &query->lookups[query->lookup_count++];
    lookup->query = query;
    lookup->rank = rank;
    lookup->port = port;
    snprintf(lookup->domain, sizeof lookup->domain, "%s", domain);
    query->pending++;
    lookup->dns = dns_lookup(query->resolver, query->loop, lookup->domain,
                             DNS_MX, on_mx, lookup);
}

/* --- Where it begins -------------------------------------------------- */

static bool
add_literal(struct route_query *query, struct sv text, const char *name,
            uint16_t preference, uint32_t rank, uint16_t port)
{
    struct net_address address;
    struct route_host *host;

    if (!net_address_parse(text, port, &address))
        return false;
    host = add_host(query, name, preference, rank, port);
    if (host == NULL)
        return true;
    host->literal = true;
    add_address(host, &address);
    return true;
}

/* [192.0.2.1] or [IPv6:2001:db8::1], RFC 5321 section 4.1.3. */
static void
start_literal(struct route_query *query, const char *domain)
{
    struct sv text = sv_of(domain);

    sv_take_char(&text, '[');
    if (text.n > 0 && text.p[text.n - 1] == ']')
        text.n--;
    sv_take_prefix_nocase(&text, SV("IPv6:"));
    if (!add_literal(query, text, domain, 0, 0, ROUTE_SMTP_PORT))
        NOTE(query->none, "not an address that mail can go to: ", domain, "");
}

static void
start_hops(struct route_query *query, const struct route_settings *route)
{
    size_t count = route->hop_count;
    size_t *order = mem_alloc_array(count, sizeof *order);

    route_order_hops(route->hops, count, order);
    for (size_t i = 0; i < count && i < ROUTE_HOSTS_MAX; i++) {
        const struct route_hop *hop = &route->hops[order[i]];
        uint16_t priority =
            (uint16_t)(hop->priority > UINT16_MAX ? UINT16_MAX : hop->priority);
        struct route_host *host;

        if (add_literal(query, sv_of(hop->host), hop->host, priority,
                        (uint32_t)i, hop->port))
            continue;
        if (hop->mx) {
            look_up_mx(query, hop->host, (uint32_t)i, hop->port);
            continue;
        }
        host = add_host(query, hop->host, priority, (uint32_t)i, hop->port);
        if (host == NULL)
            break;
        host->mx_state = DNS_SECURE; /* the administrator says so */
        look_up_addresses(host);
    }
    mem_free(order);
}

/* "route:NAME/domain": the route by its own name. */
static const struct route_settings *
route_of_key(const struct settings *settings, const char *key)
{
    struct sv rest = sv_of(key);
    struct sv name;

    if (!sv_take_prefix(&rest, SV("route:")))
        return NULL;
    name = sv_take_until(&rest, '/');
    for (size_t i = 0; i < settings->route_count; i++)
        if (sv_eq(sv_of(settings->routes[i].domain), name))
            return &settings->routes[i];
    return NULL;
}

static void
start(struct route_query *query, const struct destination *destination)
{
    const struct route_settings *route;

    if (destination->domain[0] == '[') {
        start_literal(query, destination->domain);
        return;
    }
    if (destination->domain[0] != '\0') {
        look_up_mx(query, destination->domain, 0, ROUTE_SMTP_PORT);
        return;
    }
    query->is_static = true;
    route = route_of_key(query->settings, destination->key);
    if (route != NULL && route->hop_count > 0)
        start_hops(query, route);
    else
        NOTE(query->temporary, "the configuration no longer has the route ",
             destination->key, "");
}

struct route_query *
route_find(struct dns_resolver *resolver, struct loop *loop,
           struct settings *settings, const struct destination *destination,
           void (*on_route)(void *arg, struct route *route), void *arg)
{
    struct route_query *query = mem_alloc(sizeof *query);

    query->resolver = dns_resolver_ref(resolver);
    query->loop = loop;
    query->settings = settings_ref(settings);
    query->control = settings_destination(settings, destination->policy_domain);
    query->on_route = on_route;
    query->arg = arg;
    query->finish.run = run_finish;
    start(query, destination);
    finish_if_complete(query);
    return query;
}

void
route_keep_trace(struct route_query *query)
{
    query->trace =
        json_pack("{s:[],s:[],s:[]}", "lookups", "servers", "left_out");
}

void
route_cancel(struct route_query *query)
{
    for (size_t i = 0; i < query->lookup_count; i++)
        if (query->lookups[i].dns != NULL)
            dns_cancel(query->lookups[i].dns);
    for (size_t i = 0; i < query->host_count; i++) {
        if (query->hosts[i].a != NULL)
            dns_cancel(query->hosts[i].a);
        if (query->hosts[i].aaaa != NULL)
            dns_cancel(query->hosts[i].aaaa);
    }
    query->cancelled = true;
    if (!query->finishing)
        query_free(query);
}

void
route_free(struct route *route)
{
    if (route == NULL)
        return;
    json_decref(route->trace);
    mem_free(route->targets);
    mem_free(route);
}
