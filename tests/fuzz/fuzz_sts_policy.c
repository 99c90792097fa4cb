/* Policies of MTA-STS: what was parsed, printed and parsed again is the same,
 * and its patterns match what they should. */
#include "sts/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_pattern(const char *pattern)
{
    char host[600];

    assert(pattern[0] != '\0' && strlen(pattern) < 260);
    if (pattern[0] != '*') {
        assert(sts_pattern_matches(pattern, pattern));
        return;
    }
    assert(pattern[1] == '.');
    snprintf(host, sizeof host, "mx%s", pattern + 1);
    assert(sts_pattern_matches(pattern, host));
    snprintf(host, sizeof host, "a.mx%s", pattern + 1);
    assert(!sts_pattern_matches(pattern, host));
    assert(!sts_pattern_matches(pattern, pattern + 2));
}

static void
check_again(const struct sts_policy *policy)
{
    struct buf printed = {0};
    struct sts_policy *again;
    char reason[160];

    sts_policy_print(policy, &printed);
    if (buf_length(&printed) <= STS_POLICY_BYTES) {
        again = sts_policy_parse(buf_view(&printed), reason);
        assert(again != NULL && reason[0] == '\0');
        assert(again->mode == policy->mode);
        assert(again->max_age == policy->max_age);
        assert(again->pattern_count == policy->pattern_count);
        for (size_t i = 0; i < policy->pattern_count; i++)
            assert(strcmp(again->patterns[i], policy->patterns[i]) == 0);
        sts_policy_unref(again);
    }
    buf_fini(&printed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char reason[160];
    struct sts_policy *policy =
        sts_policy_parse((struct sv){(const char *)data, size}, reason);

    assert(memchr(reason, '\0', sizeof reason) != NULL);
    assert(policy != NULL || reason[0] != '\0');
    if (policy == NULL)
        return 0;
    assert(policy->max_age <= STS_MAX_AGE);
    assert(policy->pattern_count > 0 || policy->mode == STS_MODE_NONE);
    for (size_t i = 0; i < policy->pattern_count; i++)
        check_pattern(policy->patterns[i]);
    check_again(policy);
    sts_policy_unref(policy);
    return 0;
}
