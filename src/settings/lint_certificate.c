/* The files of certificates: names, time, issuer, who may read the key. */
#include "settings/lint_internal.h"
#include "tls/bundle.h"
#include "tls/expiry.h"
#include <errno.h>
#include <sys/stat.h>

/* What uses a certificate. */
struct use {
    bool listener;
    bool public_listener;
};

static struct use
use_of(const struct settings *settings,
       const struct certificate_settings *certificate)
{
    struct use use = {false, false};

    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *listener = &settings->listeners[i];

        for (size_t c = 0; c < listener->certificate_count; c++) {
            if (listener->certificates[c] != certificate)
                continue;
            use.listener = true;
            use.public_listener |= listener->type == LISTENER_PUBLIC;
        }
    }
    return use;
}

/* The leaf stands first in the file. NULL: err says why. */
static struct tls_certificate_facts *
read_facts(const char *chain, struct err *err)
{
    struct tls_bundle *bundle = tls_bundle_new();
    struct tls_certificate_facts *facts = NULL;

    if (tls_bundle_read_file(bundle, chain, NULL, NULL, err)) {
        if (tls_bundle_count(bundle) > 0)
            facts = tls_bundle_describe(bundle, 0);
        else
            err_set(err, "%s: no certificate in it", chain);
    }
    tls_bundle_free(bundle);
    return facts;
}

static void
lint_time(const struct linter *l, const struct lint_place *place,
          const struct tls_certificate_facts *facts)
{
    int64_t days = tls_days_left(facts->not_after, l->options->now);

    if (facts->not_before > l->options->now)
        lint_add(l, LINT_CERTIFICATE_EXPIRY, place,
                 "the certificate is not valid yet");
    else if (days < 0)
        lint_add(l, LINT_CERTIFICATE_EXPIRY, place,
                 "the certificate has expired %lld day%s ago", (long long)-days,
                 days == -1 ? "" : "s");
    else if (tls_expiry_of(facts->not_after, l->options->now) != EXPIRY_FAR)
        lint_add(l, LINT_CERTIFICATE_EXPIRY, place,
                 "the certificate ends in %lld day%s", (long long)days,
                 days == 1 ? "" : "s");
}

static void
lint_key_file(const struct linter *l,
              const struct certificate_settings *certificate)
{
    const struct lint_place place = {&certificate_table, certificate, "key"};
    struct stat st;

    if (stat(certificate->key, &st) != 0)
        lint_add(l, LINT_CERTIFICATE_UNREADABLE, &place, "%s: %s",
                 certificate->key, strerror(errno));
    else if ((st.st_mode & S_IROTH) != 0)
        lint_add(l, LINT_KEY_READABLE, &place, "everybody can read %s",
                 certificate->key);
    else if ((st.st_mode & S_IRGRP) != 0)
        lint_add(l, LINT_KEY_READABLE, &place, "its group can read %s",
                 certificate->key);
}

static void
lint_certificate(const struct linter *l,
                 const struct certificate_settings *certificate)
{
    const struct lint_place place = {&certificate_table, certificate, "chain"};
    struct use use = use_of(l->settings, certificate);
    struct tls_certificate_facts *facts;
    struct err err;

    facts = read_facts(certificate->chain, &err);
    if (facts == NULL) {
        lint_add(l, LINT_CERTIFICATE_UNREADABLE, &place, "%s", err.text);
    } else {
        lint_time(l, &place, facts);
        if (facts->self_signed && use.public_listener)
            lint_add(l, LINT_CERTIFICATE_SELF_SIGNED, &place,
                     "the certificate of a public listener is self-signed");
        if (strcmp(facts->key_type, "RSA") == 0 && facts->key_bits < 2048)
            lint_add(l, LINT_KEY_SHORT, &place, "the RSA key has %d bits",
                     facts->key_bits);
    }
    tls_certificate_facts_free(facts);
    lint_key_file(l, certificate);
}

/* RFC 6125 section 6.4.3: a star stands for one whole label. */
static bool
name_fits(struct sv pattern, struct sv host)
{
    size_t dot = sv_index(host, '.');

    if (sv_eq_nocase(pattern, host))
        return true;
    return sv_take_prefix(&pattern, SV("*")) && dot != SV_NONE && dot > 0 &&
           sv_eq_nocase(pattern, sv_from(host, dot));
}

static bool
certificate_fits(const struct certificate_settings *certificate,
                 const char *host, bool *readable)
{
    struct err err;
    struct tls_certificate_facts *facts = read_facts(certificate->chain, &err);
    bool fits = false;

    *readable = facts != NULL;
    for (size_t i = 0; facts != NULL && i < facts->name_count; i++) {
        struct sv name = sv_of(facts->names[i]);

        if (sv_take_prefix(&name, SV("DNS:")))
            fits |= name_fits(name, sv_of(host));
    }
    tls_certificate_facts_free(facts);
    return fits;
}

/* Any of its certificates will do: SNI chooses. */
static void
lint_names(const struct linter *l, const struct listener_settings *listener)
{
    const struct lint_place place = {&listener_table, listener, "certificates"};
    bool all_readable = true;

    for (size_t i = 0; i < listener->certificate_count; i++) {
        bool readable;

        if (certificate_fits(listener->certificates[i], l->settings->hostname,
                             &readable))
            return;
        all_readable &= readable;
    }
    if (listener->certificate_count > 0 && all_readable)
        lint_add(l, LINT_CERTIFICATE_NAME, &place,
                 "no certificate is for the host name %s",
                 l->settings->hostname);
}

void
lint_certificates(const struct linter *l)
{
    const struct settings *settings = l->settings;

    for (size_t i = 0; i < settings->certificate_count; i++)
        lint_certificate(l, &settings->certificates[i]);
    for (size_t i = 0; i < settings->listener_count; i++)
        lint_names(l, &settings->listeners[i]);
}
