/* Which MX hosts a policy allows (RFC 8461 section 4.1). */
#include "sts/sts.h"

/* The comparison is with the name in the MX record, never with names in a
 * certificate: that is a check of its own, and a certificate for
 * *.example.net on another host must not help here. */
bool
sts_pattern_matches(const char *pattern, const char *host)
{
    struct sv rest = sv_of(pattern);
    const char *dot;

    if (!sv_take_prefix(&rest, SV("*.")))
        return strcmp(pattern, host) == 0;
    dot = strchr(host, '.');
    return dot != NULL && dot != host && rest.n > 0 && sv_is(rest, dot + 1);
}

bool
sts_policy_lists(const struct sts_policy *policy, const char *host)
{
    for (size_t i = 0; i < policy->pattern_count; i++)
        if (sts_pattern_matches(policy->patterns[i], host))
            return true;
    return false;
}
