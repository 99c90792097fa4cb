/* The table as a whole: matching first, then what compiles it. */
#include "access/hat_internal.h"

void
outcome_add(struct outcome *to, const struct outcome *from)
{
    if (from == NULL)
        return;
    if (from->row < to->row)
        to->row = from->row;
    to->passed |= from->passed;
}

struct sv
hat_client_name(const struct hat_client *client, char *low)
{
    struct sv name = client->name;

    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > MAIL_DOMAIN_MAX)
        return (struct sv){0};
    sv_lower_into(name, low);
    return (struct sv){low, name.n};
}

/* From the top label down, and no deeper than the deepest domain of the table:
 * a name of a hundred labels costs no more than another. */
struct outcome
hat_parents_outcome(const struct hat *hat, struct sv name)
{
    struct outcome outcome = no_outcome;
    size_t labels = 0;

    for (size_t i = name.n; i-- > 1 && labels < hat->domain_labels;) {
        if (name.p[i] != '.')
            continue;
        labels++;
        outcome_add(&outcome, map_get(&hat->domains, sv_from(name, i + 1)));
    }
    return outcome;
}

struct outcome
hat_name_outcome(const struct hat *hat, struct sv name)
{
    struct outcome outcome = hat_parents_outcome(hat, name);

    outcome_add(&outcome, map_get(&hat->hosts, name));
    return outcome;
}

static const struct outcome *
address_outcome(const struct hat *hat, const struct net_address *address)
{
    const struct space *space;
    sa_family_t family;
    struct ip ip;

    if (!ip_of(address, &family, &ip))
        return &hat->everybody;
    space = family == AF_INET ? &hat->ipv4 : &hat->ipv6;
    return &space->outcomes[space_find(space, ip)];
}

static struct outcome
client_outcome(const struct hat *hat, const struct hat_client *client)
{
    struct outcome outcome = *address_outcome(hat, client->address);

    if (client->name.n > 0 && hat->first_name != NO_ROW) {
        char low[MAIL_DOMAIN_MAX + 1];
        struct outcome named =
            hat_name_outcome(hat, hat_client_name(client, low));

        outcome_add(&outcome, &named);
    }
    for (size_t i = 0; i < hat->zone_count; i++) {
        if (client->listed >> i & 1)
            outcome_add(&outcome, &hat->zone_outcomes[i]);
    }
    return outcome;
}

void
hat_match(const struct hat *hat, const struct hat_client *client,
          struct hat_match *match)
{
    struct outcome outcome = client_outcome(hat, client);

    *match = (struct hat_match){.row = HAT_NONE};
    if (outcome.row != NO_ROW) {
        match->row = outcome.row;
        match->policy = hat->rules[outcome.row].policy;
    }
    if (outcome.passed == 0)
        return;
    for (size_t i = 0; i < hat->continue_count; i++) {
        if (hat->continues[i] < outcome.row)
            match->passed |= outcome.passed & UINT64_C(1) << i;
    }
}

bool
hat_next_passed(const struct hat *hat, uint64_t *passed, size_t *row)
{
    int bit;

    if (*passed == 0)
        return false;
    bit = __builtin_ctzll(*passed);
    *passed &= *passed - 1;
    *row = hat->continues[bit];
    return true;
}

struct hat_need
hat_need(const struct hat *hat, const struct hat_client *client)
{
    uint32_t settled = client_outcome(hat, client).row;
    struct hat_need need = {0};

    need.name = client->name.n == 0 && hat->first_name < settled;
    for (size_t i = 0; i < hat->zone_count; i++) {
        if (hat->zone_first[i] < settled)
            need.zones |= UINT64_C(1) << i & ~client->listed;
    }
    return need;
}

size_t
hat_row_count(const struct hat *hat)
{
    return hat->rule_count;
}

struct sv
hat_group(const struct hat *hat, size_t row)
{
    assert(row < hat->rule_count);
    return sv_of(hat->rules[row].group);
}

uint32_t
hat_policy(const struct hat *hat, size_t row)
{
    assert(row < hat->rule_count);
    return hat->rules[row].policy;
}

bool
hat_has_names(const struct hat *hat)
{
    return hat->first_name != NO_ROW;
}

size_t
hat_zone_count(const struct hat *hat)
{
    return hat->zone_count;
}

struct sv
hat_zone(const struct hat *hat, size_t zone)
{
    assert(zone < hat->zone_count);
    return sv_of(hat->zones[zone]);
}

struct hat *
hat_ref(struct hat *hat)
{
    atomic_fetch_add(&hat->references, 1);
    return hat;
}

static void
outcomes_fini(struct map *map)
{
    size_t cursor = 0;
    struct sv key;
    void *outcome;

    while (map_next(map, &cursor, &key, &outcome))
        mem_free(outcome);
    map_fini(map);
}

void
hat_unref(struct hat *hat)
{
    if (hat == NULL || atomic_fetch_sub(&hat->references, 1) > 1)
        return;
    for (size_t i = 0; i < hat->rule_count; i++)
        mem_free(hat->rules[i].group);
    for (size_t i = 0; i < hat->sender_count; i++) {
        mem_free(hat->senders[i].name);
        mem_free(hat->senders[i].text);
    }
    for (size_t i = 0; i < hat->zone_count; i++)
        mem_free(hat->zones[i]);
    space_fini(&hat->ipv4);
    space_fini(&hat->ipv6);
    outcomes_fini(&hat->hosts);
    outcomes_fini(&hat->domains);
    mem_free(hat->senders);
    mem_free(hat->rules);
    mem_free(hat);
}
