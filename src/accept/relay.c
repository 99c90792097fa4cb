#include "accept/relay.h"
#include "access/rat.h"

enum relay_verdict
relay_decide(const struct relay_facts *facts, uint32_t *options)
{
    struct rat_match match;

    rat_match(facts->listener->rat_table, facts->local, facts->domain, &match);
    *options = match.options;
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
