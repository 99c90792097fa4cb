#include "base/random.h"
#include "transmit/route_internal.h"
#include <ifaddrs.h>

/* Our own addresses; more than these are not looked at. */
struct own_addresses {
    struct net_address list[256]; /* with the listener's port */
    size_t count;
};

static uint32_t
weight_of(const struct route_hop *hop)
{
    return hop->weight > 0 ? hop->weight : 1;
}

/* Draws one of order[from..to) and puts it at from. */
static void
draw_hop(const struct route_hop *hops, size_t *order, size_t from, size_t to)
{
    uint64_t total = 0, ticket;

    for (size_t i = from; i < to; i++)
        total += weight_of(&hops[order[i]]);
    ticket = random_u64() % total;
    for (size_t i = from; i < to; i++) {
        uint32_t weight = weight_of(&hops[order[i]]);

        if (ticket < weight) {
            size_t drawn = order[i];

            order[i] = order[from];
            order[from] = drawn;
            return;
        }
        ticket -= weight;
    }
}

void
route_order_hops(const struct route_hop *hops, size_t count, size_t *order)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = i;

        for (; at > 0 && hops[order[at - 1]].priority > hops[i].priority; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t i = 0; i < count; i++) {
        size_t end = i + 1;

        while (end < count &&
               hops[order[end]].priority == hops[order[i]].priority)
            end++;
        draw_hop(hops, order, i, end);
    }
}

static int
compare_u32(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int
compare_hosts(const void *left, const void *right)
{
    const struct route_host *a = left, *b = right;

    if (a->rank != b->rank)
        return compare_u32(a->rank, b->rank);
    if (a->preference != b->preference)
        return compare_u32(a->preference, b->preference);
    return compare_u32(a->shuffle, b->shuffle);
}

void
route_sort_hosts(struct route_host *hosts, size_t count)
{
    qsort(hosts, count, sizeof *hosts, compare_hosts);
}

static void
add_own(struct own_addresses *own, const struct net_address *address,
        uint16_t port)
{
    if (own->count == COUNT_OF(own->list))
        return;
    own->list[own->count] = *address;
    net_address_set_port(&own->list[own->count++], port);
}

/* The listener is bound to every address of the machine; [::] takes IPv4 as
 * well. */
static void
add_interfaces(struct own_addresses *own, const struct ifaddrs *interfaces,
               const struct net_address *bound)
{
    for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next) {
        struct net_address address;

        if (i->ifa_addr == NULL || (i->ifa_addr->sa_family != AF_INET &&
                                    i->ifa_addr->sa_family != AF_INET6))
            continue;
        net_address_from_sockaddr(i->ifa_addr, &address);
        if (bound->sa.sa_family == AF_INET6 || address.sa.sa_family == AF_INET)
            add_own(own, &address, net_address_port(bound));
    }
}

static void
find_own(const struct settings *settings, struct own_addresses *own)
{
    struct ifaddrs *interfaces = NULL;

    own->count = 0;
    if (getifaddrs(&interfaces) == -1)
        interfaces = NULL; /* then only what is written in the settings */
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct net_address *bound = &settings->listeners[i].address;

        if (net_address_is_any(bound))
            add_interfaces(own, interfaces, bound);
        else
            add_own(own, bound, net_address_port(bound));
    }
    if (interfaces != NULL)
        freeifaddrs(interfaces);
}

/* A loopback address says little about a machine (many servers may live on
 * them in a test), so there the port must be the listener's too. */
static bool
is_own_address(const struct own_addresses *own,
               const struct net_address *address, bool with_port)
{
    bool port_matters = with_port || net_address_is_loopback(address);

    for (size_t i = 0; i < own->count; i++)
        if (net_address_same_ip(&own->list[i], address) &&
            (!port_matters ||
             net_address_port(&own->list[i]) == net_address_port(address)))
            return true;
    return false;
}

/* The names under which we greet. */
static bool
is_own_name(const struct settings *settings, const char *name)
{
    if (sv_is_nocase(sv_of(settings->hostname), name))
        return true;
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *listener = &settings->listeners[i];

        for (size_t j = 0; j < listener->policy_count; j++)
            if (sv_is_nocase(sv_of(listener->policies[j].hostname), name))
                return true;
    }
    return false;
}

static bool
is_own_host(const struct own_addresses *own, const struct settings *settings,
            const struct route_host *host)
{
    if (is_own_name(settings, host->name) ||
        (host->canonical[0] != '\0' && is_own_name(settings, host->canonical)))
        return true;
    for (size_t i = 0; i < host->address_count; i++)
        if (host->refused[i] == NULL &&
            is_own_address(own, &host->addresses[i], false))
            return true;
    return false;
}

size_t
route_remove_ourselves(const struct settings *settings,
                       struct route_host *hosts, size_t count)
{
    struct own_addresses own;
    size_t stay = 0;

    find_own(settings, &own);
    while (stay < count && !is_own_host(&own, settings, &hosts[stay]))
        stay++;
    if (stay == count)
        return count;
    for (uint16_t ours = hosts[stay].preference;
         stay > 0 && hosts[stay - 1].preference == ours;)
        stay--;
    for (size_t i = stay; i < count; i++)
        hosts[i].removed = is_own_host(&own, settings, &hosts[i])
                               ? "it is this server"
                               : "it is no better than this server";
    return stay;
}

/* True while an address is left, or there was none from the start. */
static bool
refuse_listeners(const struct own_addresses *own, struct route_host *host)
{
    size_t usable = 0, ours = 0;

    for (size_t i = 0; i < host->address_count; i++) {
        if (host->refused[i] != NULL)
            continue;
        if (is_own_address(own, &host->addresses[i], true)) {
            host->refused[i] = "it is a listener of this server";
            ours++;
        } else {
            usable++;
        }
    }
    return usable > 0 || ours == 0;
}

size_t
route_remove_listeners(const struct settings *settings,
                       struct route_host *hosts, size_t count)
{
    struct own_addresses own;
    size_t stay = 0;

    find_own(settings, &own);
    for (size_t i = 0; i < count; i++) {
        if (refuse_listeners(&own, &hosts[i]))
            stay++;
        else
            hosts[i].removed = "it is a listener of this server";
    }
    return stay;
}

static void
shuffle_addresses(struct net_address *list, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below((uint32_t)i);
        struct net_address kept = list[i - 1];

        list[i - 1] = list[j];
        list[j] = kept;
    }
}

static void
add_targets(const struct route_host *host, const struct net_address *list,
            size_t count, int family, struct route *route)
{
    for (size_t i = 0; i < count; i++) {
        struct route_target *target = &route->targets[route->target_count];

        if (list[i].sa.sa_family != family)
            continue;
        if (route->target_count == ROUTE_ADDRESSES_MAX)
            return;
        snprintf(target->host, sizeof target->host, "%s", host->name);
        target->literal = host->literal;
        target->preference = host->preference;
        target->address = list[i];
        target->by_mx = host->by_mx;
        target->mx_state = host->mx_state;
        target->address_state = host->address_state;
        route->target_count++;
    }
}

void
route_make_targets(const struct route_host *hosts, size_t count,
                   enum ip_preference preference, struct route *route)
{
    bool v4_first = preference == PREFER_V4 || preference == REQUIRE_V4;
    int first = v4_first ? AF_INET : AF_INET6;
    int second = v4_first ? AF_INET6 : AF_INET;

    route->targets =
        mem_alloc_array(ROUTE_ADDRESSES_MAX, sizeof *route->targets);
    for (size_t i = 0; i < count; i++) {
        struct net_address list[ROUTE_HOST_ADDRESSES_MAX];
        size_t n = 0;

        if (hosts[i].removed != NULL)
            continue;
        for (size_t j = 0; j < hosts[i].address_count; j++)
            if (hosts[i].refused[j] == NULL)
                list[n++] = hosts[i].addresses[j];
        shuffle_addresses(list, n);
        add_targets(&hosts[i], list, n, first, route);
        if (preference == PREFER_V4 || preference == PREFER_V6)
            add_targets(&hosts[i], list, n, second, route);
    }
}
