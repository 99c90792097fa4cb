/* TLS profiles that something uses: old versions, weak ciphers. */
#include "base/buf.h"
#include "settings/lint_internal.h"
#include "tls/ciphers.h"

enum {
    OLD_VERSIONS = TLS_BIT_SSL2 | TLS_BIT_SSL3 | TLS_BIT_TLS10 | TLS_BIT_TLS11,
    /* What `strength: medium` has for old peers is not called weak; of a list
     * that somebody wrote, and of `low`, it is. */
    BROKEN = CIPHER_NEVER | CIPHER_SHORT | CIPHER_RC4 | CIPHER_SMALL_BLOCK |
             CIPHER_MD5,
    DATED = CIPHER_STATIC | CIPHER_CBC_SHA1 | CIPHER_SHORT_TAG,
    CIPHERS_SHOWN = 4,
};

static void
lint_versions(const struct linter *l, const struct tls_profile *profile,
              const struct lint_place *place, const char *use)
{
    static const struct {
        unsigned bit;
        const char *name;
    } rows[] = {{TLS_BIT_SSL2, "SSLv2"},
                {TLS_BIT_SSL3, "SSLv3"},
                {TLS_BIT_TLS10, "TLSv1.0"},
                {TLS_BIT_TLS11, "TLSv1.1"}};
    struct buf names = {0};

    if ((profile->versions & OLD_VERSIONS) == 0)
        return;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if ((profile->versions & rows[i].bit) != 0)
            buf_printf(&names, "%s%s", buf_length(&names) > 0 ? ", " : "",
                       rows[i].name);
    lint_add(l, LINT_OLD_VERSIONS, place, "%s on%s", buf_cstr(&names), use);
    buf_fini(&names);
}

static void
lint_ciphers(const struct linter *l, const struct tls_profile *profile,
             const struct lint_place *place, const char *use)
{
    struct tls_cipher_list list;
    struct buf names = {0};
    size_t count = 0;
    unsigned weak = BROKEN;

    if (profile->ciphers[0] != '\0' || profile->strength == TLS_LOW)
        weak |= DATED;
    if (!tls_ciphers_list(profile, &list, NULL))
        return;
    for (size_t i = 0; i < list.count; i++) {
        if ((list.items[i].flaws & weak) == 0)
            continue;
        if (count++ < CIPHERS_SHOWN)
            buf_printf(&names, "%s%s", count > 1 ? ", " : "",
                       list.items[i].name);
    }
    if (count > CIPHERS_SHOWN)
        buf_printf(&names, " and %zu more", count - CIPHERS_SHOWN);
    if (count > 0)
        lint_add(l, LINT_WEAK_CIPHERS, place, "weak ciphers%s: %s", use,
                 buf_cstr(&names));
    tls_cipher_list_fini(&list);
    buf_fini(&names);
}

static bool
receives_with(const struct settings *settings,
              const struct tls_profile_settings *profile)
{
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *listener = &settings->listeners[i];

        for (size_t p = 0; p < listener->policy_count; p++)
            if (listener->policies[p].tls_profile == profile &&
                listener->policies[p].tls != RECEIVE_TLS_NO)
                return true;
    }
    return false;
}

static bool
sends_with(const struct settings *settings,
           const struct tls_profile_settings *profile)
{
    for (size_t i = 0; i < settings->destination_count; i++)
        if (settings->destinations[i].tls_profile == profile &&
            settings->destinations[i].tls != DELIVER_TLS_NO)
            return true;
    return false;
}

static void
lint_profile(const struct linter *l, const struct tls_profile_settings *profile)
{
    const struct settings *settings = l->settings;
    bool in = receives_with(settings, profile);
    bool out = sends_with(settings, profile);
    const char *use = in && out ? "" : in ? " for receiving" : " for sending";
    /* One that was changed for this node stands where "default" does. */
    const bool changed = profile == settings->inbound_profile ||
                         profile == settings->outbound_profile;
    struct lint_place place = {&tls_profile_table,
                               changed ? &settings->tls_profiles[0] : profile,
                               "versions"};

    if (!in && !out)
        return;
    lint_versions(l, &profile->profile, &place, use);
    place.row = profile->profile.ciphers[0] != '\0' ? "ciphers" : "strength";
    lint_ciphers(l, &profile->profile, &place, use);
}

void
lint_profiles(const struct linter *l)
{
    const struct settings *settings = l->settings;
    const struct tls_profile_settings *first = &settings->tls_profiles[0];

    for (size_t i = 0; i < settings->tls_profile_count; i++)
        lint_profile(l, &settings->tls_profiles[i]);
    if (settings->inbound_profile != first)
        lint_profile(l, settings->inbound_profile);
    if (settings->outbound_profile != first)
        lint_profile(l, settings->outbound_profile);
}
