#include "accept/relay.h"
#include "access/rat.h"

/* The table's rows are those of `domains`, then those of `rat`. */
static const struct rat_entry_settings *
row_of(const struct listener_settings *listener, const struct rat_match *match)
{
    if (match->row == RAT_NONE || match->row < listener->domain_count)
        return NULL;
    return &listener->rat[match->row - listener->domain_count];
}

enum relay_verdict
relay_decide(const struct relay_facts *facts,
             const struct rat_entry_settings **row)
{
    struct rat_match match;

    rat_match(facts->listener->rat_table, facts->local, facts->domain, &match);
    *row = row_of(facts->listener, &match);
    if (match.accept)
        return RELAY_LOCAL;
    return facts->policy->behavior == BEHAVIOR_RELAY ? RELAY_TRUSTED
                                                     : RELAY_DENIED;
}

/* A row that stands for one domain as a whole. */
static bool
is_domain(const struct rat_entry_settings *entry)
{
    return entry->action == RAT_ACCEPT && entry->pattern[0] != '.' &&
           strchr(entry->pattern, '@') == NULL &&
           strchr(entry->pattern, '.') != NULL;
}

const char *
relay_postmaster_domain(const struct listener_settings *listener,
                        const char *hostname)
{
    if (listener->default_domain[0] != '\0')
        return listener->default_domain;
    for (size_t i = 0; i < listener->domain_count; i++)
        if (listener->domains[i][0] != '.')
            return listener->domains[i];
    for (size_t i = 0; i < listener->rat_count; i++)
        if (is_domain(&listener->rat[i]))
            return listener->rat[i].pattern;
    return hostname;
}
