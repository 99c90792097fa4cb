/* A route as JSON: what was asked, what came, what was done with it. */
#include "transmit/route_internal.h"

static void
set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_object_set_new(object, key, json_string(text));
}

/* Of those that a route asks for. */
static const char *
type_name(enum dns_type type)
{
    return type == DNS_MX ? "MX" : type == DNS_A ? "A" : "AAAA";
}

static json_t *
address_json(enum dns_type type, const struct dns_record *record)
{
    struct net_address address;
    char text[NET_ADDRESS_TEXT];

    if (!dns_address_parse(record, type, &address))
        return json_string("malformed");
    return json_string(net_address_ip_text(&address, text));
}

/* "10 mx.example.org"; *preference is for sorting. */
static json_t *
mx_json(const struct dns_record *record, uint16_t *preference)
{
    char name[256];

    *preference = UINT16_MAX;
    if (!dns_mx_parse(record, preference, name))
        return json_string("malformed");
    return json_sprintf("%u %s", *preference, name[0] != '\0' ? name : ".");
}

/* MX records by preference. */
static json_t *
records_json(enum dns_type type, const struct dns_answer *answer)
{
    json_t *list = json_array();
    uint16_t preferences[DNS_RECORDS_MAX];

    for (size_t i = 0; i < answer->record_count; i++) {
        uint16_t preference = 0;
        json_t *json = type == DNS_MX
                           ? mx_json(&answer->records[i], &preference)
                           : address_json(type, &answer->records[i]);
        size_t at = i;

        for (; at > 0 && preferences[at - 1] > preference; at--)
            preferences[at] = preferences[at - 1];
        preferences[at] = preference;
        json_array_insert_new(list, at, json);
    }
    return list;
}

static json_t *
aliases_json(const struct dns_answer *answer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < answer->alias_count; i++)
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s}", "name", answer->aliases[i].name,
                            "target", answer->aliases[i].target, "state",
                            dns_state_name(answer->aliases[i].state)));
    return list;
}

void
route_trace_answer(json_t *trace, const char *name, enum dns_type type,
                   const struct dns_answer *answer)
{
    json_t *lookup;

    if (trace == NULL)
        return;
    lookup = json_pack("{s:s,s:s,s:s}", "name", name, "type", type_name(type),
                       "state", dns_state_name(answer->state));
    if (answer->name[0] != '\0' && strcmp(answer->name, name) != 0)
        set_text(lookup, "canonical", answer->name);
    if (answer->alias_count > 0)
        json_object_set_new(lookup, "aliases", aliases_json(answer));
    set_text(lookup, "reason", answer->reason);
    if (answer->nxdomain)
        json_object_set_new(lookup, "nxdomain", json_true());
    if (answer->state == DNS_ABSENT)
        json_object_set_new(lookup, "secure_denial",
                            json_boolean(answer->secure_denial));
    if (answer->record_count > 0) {
        json_object_set_new(lookup, "records", records_json(type, answer));
        json_object_set_new(lookup, "ttl", json_integer(answer->ttl));
    }
    json_array_append_new(json_object_get(trace, "lookups"), lookup);
}

void
route_trace_left_out(json_t *trace, const char *name)
{
    if (trace != NULL)
        json_array_append_new(json_object_get(trace, "left_out"),
                              json_string(name));
}

static json_t *
addresses_json(const struct route_host *host)
{
    json_t *list = json_array();

    for (size_t i = 0; i < host->address_count; i++) {
        char text[NET_ADDRESS_TEXT];
        json_t *address;

        net_address_ip_text(&host->addresses[i], text);
        address = json_pack("{s:s}", "ip", text);
        set_text(address, "removed", host->refused[i]);
        json_array_append_new(list, address);
    }
    return list;
}

static const char *
why_removed(const struct route_host *host)
{
    if (host->removed != NULL)
        return host->removed;
    for (size_t i = 0; i < host->address_count; i++)
        if (host->refused[i] == NULL)
            return NULL;
    if (host->address_count > 0)
        return "none of its addresses may be used";
    return host->lost ? "its address could not be looked up"
                      : "it has no address";
}

/* Moves what was asked about this name and type to the end of list. */
static void
move_lookup(json_t *from, const char *name, const char *type, json_t *list)
{
    json_t *lookup;
    size_t i;

    json_array_foreach(from, i, lookup)
    {
        if (strcmp(json_string_value(json_object_get(lookup, "type")), type) !=
                0 ||
            (name != NULL &&
             strcmp(json_string_value(json_object_get(lookup, "name")), name) !=
                 0))
            continue;
        json_array_append(list, lookup);
        json_array_remove(from, i);
        return;
    }
}

/* Answers come in any order; people read them by preference. */
static void
sort_lookups(json_t *trace, const struct route_host *hosts, size_t count)
{
    json_t *from = json_object_get(trace, "lookups");
    json_t *sorted = json_array();

    for (size_t i = json_array_size(from); i > 0; i--)
        move_lookup(from, NULL, "MX", sorted);
    for (size_t i = 0; i < count; i++) {
        move_lookup(from, hosts[i].name, "A", sorted);
        move_lookup(from, hosts[i].name, "AAAA", sorted);
    }
    json_array_extend(sorted, from);
    json_object_set_new(trace, "lookups", sorted);
}

void
route_trace_hosts(json_t *trace, const struct route_host *hosts, size_t count)
{
    if (trace == NULL)
        return;
    sort_lookups(trace, hosts, count);
    for (size_t i = 0; i < count; i++) {
        const struct route_host *host = &hosts[i];
        json_t *server = json_pack(
            "{s:s,s:i,s:i,s:b,s:s,s:s,s:o}", "host", host->name, "preference",
            host->preference, "port", host->port, "literal", host->literal,
            "mx_state", dns_state_name(host->mx_state), "address_state",
            dns_state_name(host->address_state), "addresses",
            addresses_json(host));

        set_text(server, "canonical", host->canonical);
        set_text(server, "removed", why_removed(host));
        json_array_append_new(json_object_get(trace, "servers"), server);
    }
}
