/* Keys that sign reports: names that stand for something, and addresses that
 * are made out of the host name. */
#include "settings/tables.h"

#include "dkim/dkim.h"
#include "mail/address.h"
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#define REFUSE(doc, object, name, err, ...)                                    \
    conf_refuse((doc), &tls_report_table, (object), (name), (err), __VA_ARGS__)

static struct dkim_key_settings *
find_key(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->dkim_count; i++)
        if (strcmp(settings->dkim[i].name, name) == 0)
            return &settings->dkim[i];
    return NULL;
}

static bool
resolve_keys(struct settings *settings, const struct conf_doc *doc,
             struct arena *arena, struct err *err)
{
    struct tls_report_settings *reports = &settings->tls_reports;
    char room[CONF_QUOTE_MAX];

    reports->dkim = arena_alloc(arena, (reports->dkim_name_count + 1) *
                                           sizeof(struct dkim_key_settings *));
    for (size_t i = 0; i < reports->dkim_name_count; i++) {
        reports->dkim[i] = find_key(settings, reports->dkim_names[i]);
        if (reports->dkim[i] == NULL)
            return REFUSE(doc, reports, "dkim", err,
                          "%s does not exist in dkim",
                          conf_quote(sv_of(reports->dkim_names[i]), room));
    }
    return true;
}

/* "example.org" of gw1.example.org; a name of one label is all there is. */
static const char *
domain_of_host(const char *hostname)
{
    const char *dot = strchr(hostname, '.');

    return dot != NULL && strchr(dot + 1, '.') != NULL ? dot + 1 : hostname;
}

static void
complete(char **field, const char *local, const char *domain,
         struct arena *arena)
{
    char text[320];

    if ((*field)[0] != '\0')
        return;
    snprintf(text, sizeof text, "%s%s", local, domain);
    *field = arena_cstr(arena, sv_of(text));
}

static bool
check_address(const struct tls_report_settings *reports, const char *name,
              const char *address, const struct conf_doc *doc, struct err *err)
{
    struct mail_path parts;
    char room[CONF_QUOTE_MAX];

    /* Our own mail has plain header sections, so that every server takes it. */
    return (mail_mailbox_parse(sv_of(address), &parts) && !parts.utf8) ||
           REFUSE(doc, reports, name, err, "%s is not a mail address in ASCII",
                  conf_quote(sv_of(address), room));
}

/* The file, by the call that will read it. */
static bool
holds_authority(const char *file)
{
    X509_STORE *store = X509_STORE_new();
    bool ok = store != NULL && X509_STORE_load_file(store, file) == 1;

    X509_STORE_free(store);
    ERR_clear_error();
    return ok;
}

static bool
check_authorities(const struct settings *settings, const struct conf_doc *doc,
                  struct err *err)
{
    const struct tls_report_settings *reports = &settings->tls_reports;
    const struct sts_settings *sts = &settings->sts;

    for (size_t i = 0; i < reports->authority_count; i++)
        if (!holds_authority(reports->authorities[i]))
            return REFUSE(doc, reports, "authorities", err,
                          "%s: no certificate in PEM can be read",
                          reports->authorities[i]);
    for (size_t i = 0; i < sts->authority_count; i++)
        if (!holds_authority(sts->authorities[i]))
            return conf_refuse(doc, &sts_table, sts, "authorities", err,
                               "%s: no certificate in PEM can be read",
                               sts->authorities[i]);
    return true;
}

/* Every key, also those that nothing uses yet. */
static bool
check_key_files(const struct settings *settings, const struct conf_doc *doc,
                struct err *err)
{
    struct err why;

    for (size_t i = 0; i < settings->dkim_count; i++) {
        struct dkim_key *key = dkim_key_load(settings->dkim[i].key, &why);

        if (key == NULL)
            return conf_refuse(doc, &dkim_table, &settings->dkim[i], "key", err,
                               "%s", why.text);
        dkim_key_free(key);
    }
    return true;
}

/* RFC 8460 section 3: signed by the reporting domain, or ignored. */
static bool
check_signing_domain(const struct settings *settings,
                     const struct conf_doc *doc, struct err *err)
{
    const struct tls_report_settings *reports = &settings->tls_reports;
    char domain[MAIL_DOMAIN_MAX + 1];

    if (!mail_domain_canonical(sv_of(strrchr(reports->from, '@') + 1), domain))
        return REFUSE(doc, reports, "from", err, "its domain is none");
    for (size_t i = 0; i < reports->dkim_name_count; i++)
        if (!sv_is(sv_of(reports->dkim[i]->domain), domain))
            return REFUSE(doc, reports, "dkim", err,
                          "key %s signs for %s, but reports come from %s",
                          reports->dkim[i]->name, reports->dkim[i]->domain,
                          reports->from);
    return true;
}

bool
settings_check_evidence(struct settings *settings, const struct conf_doc *doc,
                        struct arena *arena, bool check_files, struct err *err)
{
    struct tls_report_settings *reports = &settings->tls_reports;
    const char *domain = domain_of_host(settings->hostname);

    complete(&reports->organization, "", domain, arena);
    complete(&reports->contact, "postmaster@", domain, arena);
    complete(&reports->from, "tlsrpt-noreply@", domain, arena);
    for (size_t i = 0; i < settings->dkim_count; i++)
        complete(&settings->dkim[i].selector, "", settings->dkim[i].name,
                 arena);
    if (!check_address(reports, "contact", reports->contact, doc, err) ||
        !check_address(reports, "from", reports->from, doc, err))
        return false;
    for (size_t i = 0; i < reports->failure_recipient_count; i++)
        if (!check_address(reports, "failure_recipients",
                           reports->failure_recipients[i], doc, err))
            return false;
    return resolve_keys(settings, doc, arena, err) &&
           check_signing_domain(settings, doc, err) &&
           (!check_files || (check_key_files(settings, doc, err) &&
                             check_authorities(settings, doc, err)));
}
