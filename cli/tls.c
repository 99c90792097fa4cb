/* tls …: what the TLS library makes of a profile or a cipher list. */
#include "cli.h"

#include "base/buf.h"
#include "settings/settings.h"
#include "text_table.h"
#include "tls/ciphers.h"

#define VERSIONS_IN_USE                                                        \
    (TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13)

static const struct tls_profile_settings *
find_profile(const struct settings *settings, const char *name)
{
    for (size_t i = 0; settings != NULL && i < settings->tls_profile_count;
         i++) {
        if (strcmp(settings->tls_profiles[i].name, name) == 0)
            return &settings->tls_profiles[i];
    }
    return NULL;
}

static bool
find_strength(const char *name, struct tls_profile *profile)
{
    static const struct {
        const char *name;
        enum tls_strength strength;
    } rows[] = {{"high", TLS_HIGH}, {"medium", TLS_MEDIUM}, {"low", TLS_LOW}};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        *profile = (struct tls_profile){.versions = VERSIONS_IN_USE,
                                        .strength = rows[i].strength};
        return true;
    }
    return false;
}

/* A profile of the configuration, else a strength, else an OpenSSL list. */
static struct tls_profile
choose_profile(const struct settings *settings, const char *text)
{
    const struct tls_profile_settings *named = find_profile(settings, text);
    struct tls_profile profile;

    if (named != NULL)
        return named->profile;
    if (!find_strength(text, &profile))
        profile = (struct tls_profile){
            .versions = VERSIONS_IN_USE, .strength = TLS_LOW, .ciphers = text};
    return profile;
}

static void
flaws_text(unsigned flaws, struct buf *text)
{
    buf_reset(text);
    for (unsigned i = 0; i < TLS_CIPHER_FLAW_COUNT; i++) {
        if (flaws & BIT(i))
            buf_printf(text, "%s%s", buf_length(text) > 0 ? ", " : "",
                       tls_cipher_flaw_text(i));
    }
}

static void
print_list(const struct tls_cipher_list *list)
{
    static const struct text_column columns[] = {
        {"CIPHER", false},    {"SINCE", false},  {"KEY-EXCHANGE", false},
        {"AUTH", false},      {"BITS", true},    {"ENCRYPTION", false},
        {"INTEGRITY", false}, {"WARNING", false}};
    struct text_table table;
    struct buf flaws = {0};

    text_table_init(&table, columns, COUNT_OF(columns));
    for (size_t i = 0; i < list->count; i++) {
        const struct tls_cipher *cipher = &list->items[i];
        char bits[TEXT_SIZE];
        const char *cells[] = {cipher->name,
                               cipher->since,
                               cipher->key_exchange,
                               cipher->authentication,
                               bits,
                               cipher->encryption,
                               cipher->mac,
                               ""};

        snprintf(bits, sizeof bits, "%d", cipher->bits);
        flaws_text(cipher->flaws, &flaws);
        cells[COUNT_OF(cells) - 1] = buf_cstr(&flaws);
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
    buf_fini(&flaws);
}

static void
print_removed(const struct tls_cipher_list *removed)
{
    if (removed->count == 0)
        return;
    printf("\nnever used, whatever the list says:");
    for (size_t i = 0; i < removed->count; i++)
        printf(" %s", removed->items[i].name);
    putchar('\n');
}

static json_t *
json_of_cipher(const struct tls_cipher *cipher)
{
    json_t *warnings = json_array();

    for (unsigned i = 0; i < TLS_CIPHER_FLAW_COUNT; i++) {
        if (cipher->flaws & BIT(i))
            json_array_append_new(warnings,
                                  json_string(tls_cipher_flaw_name(i)));
    }
    return json_pack("{ss ss ss ss ss ss ss si so}", "name", cipher->name,
                     "standard_name", cipher->standard_name, "since",
                     cipher->since, "key_exchange", cipher->key_exchange,
                     "authentication", cipher->authentication, "encryption",
                     cipher->encryption, "integrity", cipher->mac, "bits",
                     cipher->bits, "warnings", warnings);
}

static void
print_as_json(const struct tls_cipher_list *list,
              const struct tls_cipher_list *removed)
{
    json_t *ciphers = json_array(), *never = json_array();
    json_t *all;

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(ciphers, json_of_cipher(&list->items[i]));
    for (size_t i = 0; i < removed->count; i++)
        json_array_append_new(never, json_string(removed->items[i].name));
    all = json_pack("{so so}", "ciphers", ciphers, "removed", never);
    cli_print_json(all);
    json_decref(all);
}

static int
show_ciphers(const struct tls_profile *profile, bool json, struct err *err)
{
    struct tls_cipher_list list, removed;

    if (!tls_ciphers_list(profile, &list, err))
        return CLI_FAILED;
    tls_ciphers_removed(profile, &removed);
    if (json) {
        print_as_json(&list, &removed);
    } else {
        print_list(&list);
        print_removed(&removed);
    }
    tls_cipher_list_fini(&list);
    tls_cipher_list_fini(&removed);
    return CLI_OK;
}

int
run_tls_ciphers(struct cli *cli)
{
    const struct settings_options options = {.check_files = false};
    bool json = cli_flag(cli, "--json");
    struct settings *settings;
    struct tls_profile profile;
    struct err err, why_no_settings = {0};
    int status;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    /* A list can be tried without any configuration. */
    settings = settings_load_file(cli->config, &options, &why_no_settings);
    profile = choose_profile(settings, cli->argv[0]);
    status = show_ciphers(&profile, json, &err);
    if (status != CLI_OK && settings == NULL)
        fprintf(stderr, "waxgate: profiles are unknown: %s\n",
                why_no_settings.text);
    if (status != CLI_OK)
        cli_fail(&err);
    settings_unref(settings);
    return status;
}
