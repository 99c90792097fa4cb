/* What people ask about a table: why a row matches, which never can.
 *
 * Address, name and DNS lists of a client are taken as independent of each
 * other.  So a span lives when it decides one address at least; a name or a
 * DNS list lives when no wider name before it takes it, and there is an
 * address that no row before it settles. */
#include "access/hat_internal.h"

static bool
span_has(const struct sender *sender, const struct net_address *address)
{
    sa_family_t family;
    struct ip ip;

    return ip_of(address, &family, &ip) && family == sender->family &&
           ip_compare(sender->first, ip) <= 0 &&
           ip_compare(ip, sender->last) <= 0;
}

static bool
name_below(struct sv name, const char *domain)
{
    size_t n = strlen(domain);

    return name.n > n + 1 && name.p[name.n - n - 1] == '.' &&
           sv_is(sv_from(name, name.n - n), domain);
}

static bool
sender_matches(const struct sender *sender, const struct hat_client *client,
               struct sv name)
{
    switch (sender->kind) {
    case SENDER_SPAN:
        return span_has(sender, client->address);
    case SENDER_HOST:
        return sv_is(name, sender->name);
    case SENDER_DOMAIN:
        return name_below(name, sender->name);
    case SENDER_ALL:
        return true;
    }
    return false;
}

struct sv
hat_why(const struct hat *hat, size_t row, const struct hat_client *client)
{
    const struct rule *rule = &hat->rules[row];
    const struct sender *senders = hat->senders + rule->first_sender;
    char low[MAIL_DOMAIN_MAX + 1];
    struct sv name = hat_client_name(client, low);
    uint64_t listed = rule->zones & client->listed;

    assert(row < hat->rule_count);
    for (size_t i = 0; i < rule->sender_count; i++) {
        if (sender_matches(&senders[i], client, name))
            return sv_of(senders[i].text);
    }
    if (listed != 0)
        return sv_of(hat->zones[__builtin_ctzll(listed)]);
    return (struct sv){0};
}

/* The last row that any address needs; NO_ROW when one is settled by none. */
static uint32_t
last_settled(const struct hat *hat)
{
    const struct space *spaces[] = {&hat->ipv4, &hat->ipv6};
    uint32_t last = 0;

    for (size_t k = 0; k < COUNT_OF(spaces); k++) {
        for (size_t i = 0; i < spaces[k]->count; i++) {
            if (spaces[k]->outcomes[i].row > last)
                last = spaces[k]->outcomes[i].row;
        }
    }
    return last;
}

/* The row that takes all of it, or NO_ROW when an address is left to row. */
static uint32_t
span_taken(const struct space *space, struct ip first, struct ip last,
           uint32_t row)
{
    size_t start = space_find(space, first), end = space_find(space, last) + 1;

    for (size_t i = start; i < end; i++) {
        if (space->outcomes[i].row >= row)
            return NO_ROW;
    }
    return space->outcomes[start].row;
}

static uint32_t
all_taken(const struct hat *hat, uint32_t row)
{
    uint32_t by = span_taken(&hat->ipv4, (struct ip){0}, hat->ipv4.last, row);

    if (by == NO_ROW)
        return NO_ROW;
    return span_taken(&hat->ipv6, (struct ip){0}, hat->ipv6.last, row) == NO_ROW
               ? NO_ROW
               : by;
}

static uint32_t
name_taken(const struct hat *hat, const struct sender *sender, uint32_t last)
{
    struct sv name = sv_of(sender->name);
    struct outcome outcome = hat_parents_outcome(hat, name);
    const struct map *map =
        sender->kind == SENDER_HOST ? &hat->hosts : &hat->domains;

    outcome_add(&outcome, map_get(map, name));
    if (outcome.row < sender->row)
        return outcome.row;
    return last < sender->row ? last : NO_ROW;
}

static uint32_t
sender_taken(const struct hat *hat, const struct sender *sender, uint32_t last)
{
    const struct space *space =
        sender->family == AF_INET ? &hat->ipv4 : &hat->ipv6;

    switch (sender->kind) {
    case SENDER_SPAN:
        return span_taken(space, sender->first, sender->last, sender->row);
    case SENDER_ALL:
        return all_taken(hat, sender->row);
    case SENDER_HOST:
    case SENDER_DOMAIN:
        return name_taken(hat, sender, last);
    }
    return NO_ROW;
}

static uint32_t
zone_taken(const struct hat *hat, size_t zone, uint32_t row, uint32_t last)
{
    if (hat->zone_outcomes[zone].row < row)
        return hat->zone_outcomes[zone].row;
    return last < row ? last : NO_ROW;
}

struct lint {
    const struct hat *hat;
    void (*on_finding)(const struct hat_finding *finding, void *arg);
    void *arg;
    uint32_t last; /* see last_settled() */
    /* of the row at hand: */
    bool each;           /* report every dead part; else count */
    size_t living, dead; /* parts */
    uint32_t by;         /* takes the first dead part */
};

static void
report(const struct lint *lint, enum hat_lint_kind kind, size_t row,
       struct sv sender, size_t by)
{
    struct hat_finding finding = {kind, row, sender, by};

    lint->on_finding(&finding, lint->arg);
}

static void
note_part(struct lint *lint, uint32_t row, const char *text, uint32_t by)
{
    if (lint->each && by != NO_ROW)
        report(lint, HAT_LINT_DEAD_SENDER, row, sv_of(text), by);
    else if (by == NO_ROW)
        lint->living++;
    else if (lint->dead++ == 0)
        lint->by = by;
}

static void
walk_parts(struct lint *lint, uint32_t row)
{
    const struct hat *hat = lint->hat;
    const struct rule *rule = &hat->rules[row];

    for (size_t i = 0; i < rule->sender_count; i++) {
        const struct sender *sender = &hat->senders[rule->first_sender + i];

        note_part(lint, row, sender->text,
                  sender_taken(hat, sender, lint->last));
    }
    for (size_t i = 0; i < hat->zone_count; i++) {
        if (rule->zones >> i & 1)
            note_part(lint, row, hat->zones[i],
                      zone_taken(hat, i, row, lint->last));
    }
}

/* A dead row is one finding; in a living one every dead part is. */
static void
lint_row(struct lint *lint, uint32_t row)
{
    struct sv none = {0};

    lint->each = false;
    lint->living = lint->dead = 0;
    walk_parts(lint, row);
    if (lint->living == 0 && lint->dead == 0) {
        report(lint, HAT_LINT_EMPTY_ROW, row, none, HAT_NONE);
    } else if (lint->living == 0) {
        report(lint, HAT_LINT_DEAD_ROW, row, none, lint->by);
    } else if (lint->dead > 0) {
        lint->each = true;
        walk_parts(lint, row);
    }
}

void
hat_lint(const struct hat *hat,
         void (*on_finding)(const struct hat_finding *finding, void *arg),
         void *arg)
{
    struct lint lint = {
        .hat = hat,
        .on_finding = on_finding,
        .arg = arg,
        .last = last_settled(hat),
    };

    for (uint32_t row = 0; row < hat->rule_count; row++)
        lint_row(&lint, row);
    if (lint.last == NO_ROW)
        report(&lint, HAT_LINT_NOT_TOTAL, HAT_NONE, (struct sv){0}, HAT_NONE);
}
