/* dkim …: keys that sign mail of our own, and their DNS records. */
#include "cli.h"

#include "dkim/dkim.h"
#include "mail/address.h"
#include "settings/settings.h"

/* Reports need it of a key that names its services (RFC 8460 section 3). */
#define SERVICE "tlsrpt"

static void
print_zone(const struct dkim_key *key, const char *domain, const char *selector)
{
    struct buf zone = {0};

    dkim_record_zone(key, domain, selector, SERVICE, &zone);
    fputs(buf_cstr(&zone), stdout);
    buf_fini(&zone);
}

static bool
take_algorithm(struct cli *cli, enum dkim_algorithm *algorithm)
{
    const char *name = cli_value(cli, "--algorithm");

    *algorithm = DKIM_RSA;
    if (name == NULL || strcmp(name, "rsa") == 0)
        return true;
    *algorithm = DKIM_ED25519;
    return strcmp(name, "ed25519") == 0;
}

static bool
selector_valid(const char *selector)
{
    return mail_domain_valid(sv_of(selector)) && strlen(selector) <= 63;
}

static int
generate(enum dkim_algorithm algorithm, const char *domain,
         const char *selector, const char *path)
{
    struct err err;
    struct dkim_key *key = dkim_key_generate(algorithm, &err);

    if (key == NULL || !dkim_key_write(key, path, &err)) {
        dkim_key_free(key);
        return cli_fail(&err);
    }
    print_zone(key, domain, selector);
    dkim_key_free(key);
    return CLI_OK;
}

int
run_dkim_keygen(struct cli *cli)
{
    const char *domain = cli_value(cli, "--domain");
    const char *selector = cli_value(cli, "--selector");
    const char *path = cli_value(cli, "--key");
    char canonical[MAIL_DOMAIN_MAX + 1];
    enum dkim_algorithm algorithm;

    if (!take_algorithm(cli, &algorithm))
        return cli_misuse(cli, "--algorithm is rsa or ed25519");
    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (domain == NULL || selector == NULL || path == NULL)
        return cli_misuse(cli, "--domain, --selector and --key are needed");
    if (!mail_domain_canonical(sv_of(domain), canonical))
        return cli_misuse(cli, "\"%s\" is not a domain", domain);
    if (!selector_valid(selector))
        return cli_misuse(cli, "\"%s\" is not a selector", selector);
    return generate(algorithm, canonical, selector, path);
}

/* --- record --------------------------------------------------------------- */

static const struct dkim_key_settings *
find_key(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->dkim_count; i++)
        if (strcmp(settings->dkim[i].name, name) == 0)
            return &settings->dkim[i];
    return NULL;
}

static int
print_record(const struct settings *settings, const char *name)
{
    const struct dkim_key_settings *named = find_key(settings, name);
    struct dkim_key *key;
    struct err err;

    if (named == NULL) {
        fprintf(stderr, "waxgate: dkim has no key \"%s\"\n", name);
        return CLI_FAILED;
    }
    key = dkim_key_load(named->key, &err);
    if (key == NULL)
        return cli_fail(&err);
    print_zone(key, named->domain, named->selector);
    dkim_key_free(key);
    return CLI_OK;
}

int
run_dkim_record(struct cli *cli)
{
    const struct settings_options options = {.check_files = false};
    struct settings *settings;
    struct err err;
    int status;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    settings = settings_load_file(cli->config, &options, &err);
    if (settings == NULL)
        return cli_fail(&err);
    status = print_record(settings, cli->argv[0]);
    settings_unref(settings);
    return status;
}
