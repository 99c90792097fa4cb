/* TLS profiles against the library of this machine: better a refusal at
 * check than a listener that fails every handshake. */
#include "settings/tables.h"
#include "tls/ciphers.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct probe {
    const struct conf_doc *doc;
    const struct tls_profile *profile;
    const struct profile_rows *rows;
    SSL_CTX *context; /* owned by settings_check_profile() */
    struct err *err;
};

static const char *
library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

static bool
refuse(const struct probe *probe, const char *row, const char *text,
       const char *why)
{
    char room[CONF_QUOTE_MAX];

    return conf_refuse(probe->doc, probe->rows->table, probe->rows->object, row,
                       probe->err, "%s %s %s", conf_quote(sv_of(text), room),
                       why, library());
}

static bool
refuse_version(const struct probe *probe, const char *version,
               const char *reason)
{
    return conf_refuse(probe->doc, probe->rows->table, probe->rows->object,
                       probe->rows->versions, probe->err,
                       "%s cannot be turned on: %s %s", version, library(),
                       reason);
}

#ifdef OPENSSL_NO_SSL3
#define LIBRARY_HAS_SSL3 false
#else
#define LIBRARY_HAS_SSL3 true
#endif

/* OpenSSL has had no SSLv2 since 1.1.0, and SSLv3 only where its builder asked
 * for it.  Its functions that set a version do not say so. */
static bool
check_versions(const struct probe *probe)
{
    unsigned versions = probe->profile->versions;

    if ((versions & TLS_BIT_SSL2) != 0)
        return refuse_version(probe, "SSLv2",
                              "no longer implements this protocol");
    if ((versions & TLS_BIT_SSL3) != 0 && !LIBRARY_HAS_SSL3)
        return refuse_version(probe, "SSLv3",
                              "was built without this protocol");
    if (versions == 0)
        return conf_refuse(probe->doc, probe->rows->table, probe->rows->object,
                           probe->rows->versions, probe->err,
                           "all versions are off; turn one on, or set `tls: "
                           "no` where no TLS is wanted");
    return true;
}

/* OpenSSL takes a list when one element is known and drops the others
 * silently; tls_ciphers_check() tries each alone. */
static bool
check_elements(const struct probe *probe)
{
    struct err why;

    if (tls_ciphers_check(probe->profile->ciphers, &why))
        return true;
    return conf_refuse(probe->doc, probe->rows->table, probe->rows->object,
                       probe->rows->ciphers, probe->err, "%s", why.text);
}

static bool
check_ciphers(const struct probe *probe)
{
    const struct tls_profile *profile = probe->profile;
    struct sv rest = sv_of(profile->ciphers);
    bool only13 = true;
    size_t start = 0;

    if (rest.n == 0)
        return true;
    if (!check_elements(probe))
        return false;
    for (size_t i = 0; i <= rest.n; i++) {
        if (i < rest.n && strchr(":, ;", rest.p[i]) == NULL)
            continue;
        only13 &=
            i == start || sv_starts_nocase(sv_from(rest, start), SV("TLS_"));
        start = i + 1;
    }
    if (only13 && (profile->versions & ~(unsigned)TLS_BIT_TLS13) == 0)
        return true;
    if (SSL_CTX_set_cipher_list(probe->context, rest.p) != 1)
        return refuse(probe, probe->rows->ciphers, rest.p,
                      "leaves no cipher for TLS 1.2 and below in");
    return true;
}

static bool
check_suites(const struct probe *probe)
{
    const struct tls_profile *profile = probe->profile;
    struct err why;

    if (profile->suites[0] == '\0' || probe->rows->suites == NULL)
        return true;
    if (!tls_ciphers_check(profile->suites, &why))
        return conf_refuse(probe->doc, probe->rows->table, probe->rows->object,
                           probe->rows->suites, probe->err, "%s", why.text);
    if (SSL_CTX_set_ciphersuites(probe->context, profile->suites) != 1)
        return refuse(probe, probe->rows->suites, profile->suites,
                      "is not a list of TLS 1.3 suites of");
    return true;
}

static bool
check_groups(const struct probe *probe)
{
    /* The library's macro wants text that it might write to. */
    char *groups = sv_dup(sv_of(probe->profile->groups));
    bool ok = groups[0] == '\0' ||
              SSL_CTX_set1_groups_list(probe->context, groups) == 1;

    if (!ok)
        refuse(probe, probe->rows->groups, groups,
               "is not a list of groups of");
    mem_free(groups);
    return ok;
}

bool
settings_check_profile(const struct tls_profile *profile,
                       const struct profile_rows *rows,
                       const struct conf_doc *doc, struct err *err)
{
    struct probe probe = {
        .doc = doc, .profile = profile, .rows = rows, .err = err};
    bool ok;

    probe.context = SSL_CTX_new(TLS_method());
    if (probe.context == NULL) {
        err_set(err, "%s cannot make a context", library());
        return false;
    }
    /* The level of the library must not hide old ciphers from the check. */
    SSL_CTX_set_security_level(probe.context, 0);
    ok = check_versions(&probe) && check_ciphers(&probe) &&
         check_suites(&probe) && check_groups(&probe);
    SSL_CTX_free(probe.context);
    ERR_clear_error();
    return ok;
}

bool
settings_check_profiles(const struct settings *settings,
                        const struct conf_doc *doc, struct err *err)
{
    for (size_t i = 0; i < settings->tls_profile_count; i++) {
        const struct tls_profile_settings *profile = &settings->tls_profiles[i];
        const struct profile_rows rows = {
            .table = &tls_profile_table,
            .object = profile,
            .versions = "versions",
            .ciphers = "ciphers",
            .suites = "suites",
            .groups = "groups",
        };

        if (!settings_check_profile(&profile->profile, &rows, doc, err))
            return false;
    }
    return true;
}
