#include "accept/relay.h"

enum relay_verdict
relay_decide(const struct relay_facts *facts)
{
    const struct listener_settings *listener = facts->listener;

    if (settings_accepts_domain(listener, facts->domain))
        return RELAY_LOCAL;
    for (size_t i = 0; i < listener->relay_for_count; i++)
        if (net_prefix_contains(&listener->relay_for[i], facts->client))
            return RELAY_TRUSTED;
    return RELAY_DENIED;
}

const char *
relay_postmaster_domain(const struct listener_settings *listener,
                        const char *hostname)
{
    for (size_t i = 0; i < listener->domain_count; i++)
        if (listener->domains[i][0] != '.')
            return listener->domains[i];
    return hostname;
}
