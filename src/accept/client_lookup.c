#include "accept/client_lookup.h"
#include "net/address.h"

enum { NAMES_MAX = 4 }; /* of one PTR answer; more are not looked at */

struct zone_query {
    struct client_lookup *lookup;
    unsigned zone;
    struct dns_query *query; /* NULL: not asked, or answered */
};

struct client_lookup {
    struct dns_resolver *resolver; /* referenced */
    struct loop *loop;
    struct hat *hat; /* referenced */
    struct net_address address;
    struct hat_client facts;
    void (*on_done)(void *arg);
    void *arg;

    struct dns_query *name_query; /* PTR, or addresses of a name */
    bool name_asked;
    char names[NAMES_MAX][256]; /* what the PTR records say */
    size_t name_count, name_next;
    uint64_t zones_asked;
    struct zone_query zones[HAT_ZONES_MAX];
};

static void go_on(struct client_lookup *lookup);

static bool
has_records(const struct dns_answer *answer)
{
    return answer->state == DNS_SECURE || answer->state == DNS_INSECURE;
}

/* Names ------------------------------------------------------------------- */

static void on_addresses(void *arg, const struct dns_answer *answer);

static enum dns_type
address_type(const struct client_lookup *lookup)
{
    return lookup->address.sa.sa_family == AF_INET ? DNS_A : DNS_AAAA;
}

/* One after the other, so that the order of the answers decides nothing. */
static void
confirm_next(struct client_lookup *lookup)
{
    if (lookup->name_next < lookup->name_count)
        lookup->name_query = dns_lookup(
            lookup->resolver, lookup->loop, lookup->names[lookup->name_next],
            address_type(lookup), on_addresses, lookup);
}

static bool
leads_back(const struct client_lookup *lookup, const struct dns_answer *answer)
{
    struct net_address address;

    for (size_t i = 0; has_records(answer) && i < answer->record_count; i++)
        if (dns_address_parse(&answer->records[i], address_type(lookup),
                              &address) &&
            net_address_same_ip(&address, &lookup->address))
            return true;
    return false;
}

static void
on_addresses(void *arg, const struct dns_answer *answer)
{
    struct client_lookup *lookup = arg;

    lookup->name_query = NULL;
    if (leads_back(lookup, answer)) {
        lookup->facts.name = sv_of(lookup->names[lookup->name_next]);
    } else {
        lookup->name_next++;
        confirm_next(lookup);
    }
    go_on(lookup);
}

static void
on_names(void *arg, const struct dns_answer *answer)
{
    struct client_lookup *lookup = arg;

    lookup->name_query = NULL;
    for (size_t i = 0; has_records(answer) && i < answer->record_count &&
                       lookup->name_count < NAMES_MAX;
         i++)
        if (dns_name_parse(&answer->records[i],
                           lookup->names[lookup->name_count]))
            lookup->name_count++;
    confirm_next(lookup);
    go_on(lookup);
}

static void
ask_name(struct client_lookup *lookup)
{
    char query[HAT_QUERY_MAX];
    struct sv zone = lookup->address.sa.sa_family == AF_INET
                         ? SV("in-addr.arpa")
                         : SV("ip6.arpa");

    lookup->name_asked = true;
    if (hat_dns_list_query(&lookup->address, zone, query))
        lookup->name_query = dns_lookup(lookup->resolver, lookup->loop, query,
                                        DNS_PTR, on_names, lookup);
}

/* DNS lists --------------------------------------------------------------- */

static void
on_zone(void *arg, const struct dns_answer *answer)
{
    struct zone_query *zone = arg;
    struct client_lookup *lookup = zone->lookup;
    struct net_address address;

    zone->query = NULL;
    for (size_t i = 0; has_records(answer) && i < answer->record_count; i++)
        if (dns_address_parse(&answer->records[i], DNS_A, &address) &&
            hat_dns_list_listed(&address))
            lookup->facts.listed |= UINT64_C(1) << zone->zone;
    go_on(lookup);
}

static void
ask_zone(struct client_lookup *lookup, unsigned i)
{
    struct zone_query *zone = &lookup->zones[i];
    char query[HAT_QUERY_MAX];

    lookup->zones_asked |= UINT64_C(1) << i;
    zone->lookup = lookup;
    zone->zone = i;
    if (hat_dns_list_query(&lookup->address, hat_zone(lookup->hat, i), query))
        zone->query = dns_lookup(lookup->resolver, lookup->loop, query, DNS_A,
                                 on_zone, zone);
}

/* All together ------------------------------------------------------------ */

/* Asks for what is needed and was not asked for; true while some of it is
 * under way. */
static bool
is_waiting(struct client_lookup *lookup)
{
    struct hat_need need = hat_need(lookup->hat, &lookup->facts);
    bool waits;

    if (need.name && !lookup->name_asked)
        ask_name(lookup);
    waits = need.name && lookup->name_query != NULL;
    for (unsigned i = 0; i < hat_zone_count(lookup->hat); i++) {
        uint64_t bit = UINT64_C(1) << i;

        if (need.zones & bit & ~lookup->zones_asked)
            ask_zone(lookup, i);
        waits |= (need.zones & bit) && lookup->zones[i].query != NULL;
    }
    return waits;
}

static void
go_on(struct client_lookup *lookup)
{
    if (!is_waiting(lookup))
        lookup->on_done(lookup->arg);
}

struct client_lookup *
client_lookup_new(struct dns_resolver *resolver, struct loop *loop,
                  struct hat *hat, const struct net_address *client,
                  void (*on_done)(void *arg), void *arg)
{
    struct client_lookup *lookup = mem_alloc(sizeof *lookup);

    lookup->resolver = dns_resolver_ref(resolver);
    lookup->loop = loop;
    lookup->hat = hat_ref(hat);
    lookup->address = *client;
    lookup->facts.address = &lookup->address;
    lookup->on_done = on_done;
    lookup->arg = arg;
    return lookup;
}

bool
client_lookup_start(struct client_lookup *lookup)
{
    return is_waiting(lookup);
}

void
client_lookup_free(struct client_lookup *lookup)
{
    if (lookup == NULL)
        return;
    if (lookup->name_query != NULL)
        dns_cancel(lookup->name_query);
    for (size_t i = 0; i < HAT_ZONES_MAX; i++)
        if (lookup->zones[i].query != NULL)
            dns_cancel(lookup->zones[i].query);
    dns_resolver_unref(lookup->resolver);
    hat_unref(lookup->hat);
    mem_free(lookup);
}

const struct hat_client *
client_lookup_facts(const struct client_lookup *lookup)
{
    return &lookup->facts;
}
