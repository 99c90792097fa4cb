/* cert list, cert show: what is in the files.  Keys are never printed. */
#include "cert.h"

#include "base/buf.h"
#include "text_table.h"
#include "tls/expiry.h"
#include <time.h>
#include <unistd.h>

/* Places ------------------------------------------------------------------ */

static const struct certificate_settings *
find_configured(const struct settings *settings, const char *name)
{
    for (size_t i = 0; settings != NULL && i < settings->certificate_count;
         i++) {
        if (strcmp(settings->certificates[i].name, name) == 0)
            return &settings->certificates[i];
    }
    return NULL;
}

static char *
beside_config(const struct cli *cli, const char *name, const char *suffix)
{
    struct sv config = sv_of(cli->config);
    size_t slash = sv_last_index(config, '/');
    struct buf path = {0};
    char *copy;

    if (strchr(name, '/') == NULL && slash != SV_NONE)
        buf_add(&path, sv_slice(config, 0, slash + 1));
    buf_printf(&path, "%s%s", name, suffix);
    copy = mem_strdup(buf_cstr(&path));
    buf_fini(&path);
    return copy;
}

void
cert_place_init(struct cert_place *place, const struct cli *cli,
                const char *name)
{
    const struct settings_options options = {.check_files = false};

    *place = (struct cert_place){
        .settings = settings_load_file(cli->config, &options, NULL)};
    place->configured = find_configured(place->settings, name);
    if (place->configured != NULL) {
        place->chain = mem_strdup(place->configured->chain);
        place->key = mem_strdup(place->configured->key);
    } else {
        place->chain = beside_config(cli, name, ".pem");
        place->key = beside_config(cli, name, ".key");
    }
}

void
cert_place_fini(struct cert_place *place)
{
    mem_free(place->chain);
    mem_free(place->key);
    settings_unref(place->settings);
    *place = (struct cert_place){0};
}

/* Facts ------------------------------------------------------------------- */

const char *
cert_date(int64_t seconds, char *room)
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL ||
        strftime(room, CERT_DATE_SIZE, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        snprintf(room, CERT_DATE_SIZE, "?");
    return room;
}

static int64_t
days_left(const struct tls_certificate_facts *facts)
{
    return tls_days_left(facts->not_after, (int64_t)time(NULL));
}

/* "ok" while there is nothing to do. */
static const char *
state_of(const struct tls_certificate_facts *facts)
{
    int64_t now = (int64_t)time(NULL);
    enum tls_expiry expiry = tls_expiry_of(facts->not_after, now);

    if (facts->not_before > now)
        return "not yet valid";
    if (expiry == EXPIRY_OVER)
        return "expired";
    return expiry == EXPIRY_FAR ? "ok" : "ends soon";
}

static json_t *
json_of_facts(const struct tls_certificate_facts *facts)
{
    char from[CERT_DATE_SIZE], until[CERT_DATE_SIZE];
    json_t *names = json_array();

    for (size_t i = 0; i < facts->name_count; i++)
        json_array_append_new(names, json_string(facts->names[i]));
    return json_pack("{ss so ss ss ss ss sI ss ss si ss ss ss sb sb sb sb}",
                     "subject", facts->subject, "names", names, "issuer",
                     facts->issuer, "serial", facts->serial, "not_before",
                     cert_date(facts->not_before, from), "not_after",
                     cert_date(facts->not_after, until), "days_left",
                     (json_int_t)days_left(facts), "state", state_of(facts),
                     "key_type", facts->key_type, "key_bits", facts->key_bits,
                     "signature", facts->signature, "sha256", facts->sha256,
                     "spki_sha256", facts->spki_sha256, "is_ca", facts->is_ca,
                     "self_signed", facts->self_signed, "for_servers",
                     facts->for_servers, "for_clients", facts->for_clients);
}

/* The whole chain; the certificate itself is the first. */
json_t *
cert_json(const struct tls_bundle *bundle)
{
    json_t *all = NULL, *issuers = json_array();

    for (size_t i = 0; i < tls_bundle_count(bundle); i++) {
        struct tls_certificate_facts *facts = tls_bundle_describe(bundle, i);

        if (i == 0)
            all = json_of_facts(facts);
        else
            json_array_append_new(issuers, json_of_facts(facts));
        tls_certificate_facts_free(facts);
    }
    json_object_set_new(all, "issuers", issuers);
    return all;
}

static void
print_names(const struct tls_certificate_facts *facts)
{
    for (size_t i = 0; i < facts->name_count; i++)
        printf("%-14s %s\n", i == 0 ? "names" : "", facts->names[i]);
}

static const char *
purposes_of(const struct tls_certificate_facts *facts)
{
    if (facts->is_ca)
        return "issues certificates";
    if (facts->for_servers && facts->for_clients)
        return "receiving and sending";
    if (facts->for_servers)
        return "receiving only: peers may refuse it as client certificate";
    return facts->for_clients ? "sending only" : "not made for TLS";
}

static void
print_facts(const struct tls_certificate_facts *facts)
{
    char date[CERT_DATE_SIZE];

    printf("%-14s %s\n", "subject", facts->subject);
    print_names(facts);
    printf("%-14s %s%s\n", "issuer", facts->issuer,
           facts->self_signed ? " (itself)" : "");
    printf("%-14s %s\n", "serial", facts->serial);
    printf("%-14s %s\n", "valid from", cert_date(facts->not_before, date));
    printf("%-14s %s (%lld days, %s)\n", "valid until",
           cert_date(facts->not_after, date), (long long)days_left(facts),
           state_of(facts));
    printf("%-14s %s, %d bits\n", "key", facts->key_type, facts->key_bits);
    printf("%-14s %s\n", "signature", facts->signature);
    printf("%-14s %s\n", "use", purposes_of(facts));
    printf("%-14s %s\n", "sha256", facts->sha256);
    printf("%-14s %s\n", "spki sha256", facts->spki_sha256);
}

/* Records for DANE (RFC 7672 section 3.1.1): 3 1 1 survives a renewal with the
 * same key. */
static void
print_tlsa(const struct tls_certificate_facts *facts)
{
    bool named = false;

    for (size_t i = 0; i < facts->name_count; i++) {
        struct sv name = sv_of(facts->names[i]);

        if (!sv_take_prefix(&name, SV("DNS:")) || sv_has(name, '*'))
            continue;
        printf("%-14s _25._tcp.%.*s. IN TLSA 3 1 1 %s\n", named ? "" : "tlsa",
               SV_ARG(name), facts->spki_sha256);
        named = true;
    }
    if (!named)
        printf("%-14s 3 1 1 %s\n", "tlsa", facts->spki_sha256);
}

void
cert_print(const struct tls_bundle *bundle)
{
    for (size_t i = 0; i < tls_bundle_count(bundle); i++) {
        struct tls_certificate_facts *facts = tls_bundle_describe(bundle, i);

        if (i > 0)
            printf("\nissued by\n");
        print_facts(facts);
        if (i == 0)
            print_tlsa(facts);
        tls_certificate_facts_free(facts);
    }
}

/* show -------------------------------------------------------------------- */

/* Certificates are wanted; a key in the same file needs no password. */
static bool
read_chain(const char *path, struct tls_bundle *bundle, struct err *err)
{
    return tls_bundle_read_file(bundle, path, NULL, NULL, err) &&
           tls_bundle_settle(bundle, err);
}

static int
show(const char *path, bool json)
{
    struct tls_bundle *bundle = tls_bundle_new();
    struct err err = {0};
    bool ok = read_chain(path, bundle, &err);

    if (!ok) {
        cli_fail(&err);
    } else if (json) {
        json_t *all = cert_json(bundle);

        cli_print_json(all);
        json_decref(all);
    } else {
        cert_print(bundle);
    }
    tls_bundle_free(bundle);
    return ok ? CLI_OK : CLI_FAILED;
}

/* Neither a name of the configuration nor that of a file. */
static int
no_such(const struct cert_place *place, const struct cli *cli)
{
    struct buf names = {0};

    for (size_t i = 0;
         place->settings != NULL && i < place->settings->certificate_count; i++)
        buf_printf(&names, "%s%s", i > 0 ? ", " : "",
                   place->settings->certificates[i].name);
    fprintf(stderr,
            "waxgate: %s is no file and no certificate of %s (there is: %s)\n",
            cli->argv[0], cli->config,
            buf_length(&names) > 0 ? buf_cstr(&names) : "none");
    buf_fini(&names);
    return CLI_FAILED;
}

int
run_cert_show(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    struct cert_place place;
    int status;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    cert_place_init(&place, cli, cli->argv[0]);
    if (place.configured == NULL && strchr(cli->argv[0], '/') == NULL &&
        access(cli->argv[0], F_OK) == -1)
        status = no_such(&place, cli);
    else
        status =
            show(place.configured != NULL ? place.chain : cli->argv[0], json);
    cert_place_fini(&place);
    return status;
}

/* list -------------------------------------------------------------------- */

static void
add_user(struct buf *users, const char *before, const char *name)
{
    buf_printf(users, "%s%s%s", buf_length(users) > 0 ? ", " : "", before,
               name);
}

/* "Public, to partner.example": listeners, and destinations that see it. */
static void
users_of(const struct settings *settings,
         const struct certificate_settings *certificate, struct buf *users)
{
    buf_reset(users);
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *listener = &settings->listeners[i];

        for (size_t k = 0; k < listener->certificate_count; k++) {
            if (listener->certificates[k] == certificate)
                add_user(users, "", listener->name);
        }
    }
    for (size_t i = 0; i < settings->destination_count; i++) {
        if (settings->destinations[i].client_certificate == certificate)
            add_user(users, "to ", settings->destinations[i].domain);
    }
}

struct listing {
    bool json;
    struct text_table table;
    json_t *rows;
    struct buf users, names;
    bool failed;
};

static void
list_good(struct listing *listing,
          const struct certificate_settings *certificate,
          const struct tls_certificate_facts *facts)
{
    char until[CERT_DATE_SIZE], days[TEXT_SIZE];
    const char *cells[] = {certificate->name,
                           state_of(facts),
                           cert_date(facts->not_after, until),
                           days,
                           facts->key_type,
                           buf_cstr(&listing->users),
                           facts->subject,
                           "",
                           facts->issuer,
                           facts->sha256};

    buf_reset(&listing->names);
    for (size_t i = 0; i < facts->name_count; i++)
        add_user(&listing->names, "", facts->names[i]);
    cells[7] = buf_cstr(&listing->names);
    snprintf(days, sizeof days, "%lld", (long long)days_left(facts));
    text_table_row(&listing->table, cells);
}

static void
list_bad(struct listing *listing,
         const struct certificate_settings *certificate, const struct err *err)
{
    const char *cells[] = {
        certificate->name,         "unusable", "-", "-", "-",
        buf_cstr(&listing->users), err->text,  "-", "-", "-"};

    listing->failed = true;
    text_table_row(&listing->table, cells);
}

/* Chain and key as the gateway would take them. */
static bool
is_usable(const struct certificate_settings *certificate,
          struct tls_bundle *bundle, struct err *err)
{
    const struct tls_certificate_files files = {.name = certificate->name,
                                                .chain = certificate->chain,
                                                .key = certificate->key};

    return read_chain(certificate->chain, bundle, err) &&
           tls_certificate_check(&files, err);
}

static void
list_as_json(struct listing *listing,
             const struct certificate_settings *certificate,
             const struct tls_bundle *bundle, const struct err *err)
{
    json_t *row =
        tls_bundle_count(bundle) > 0 ? cert_json(bundle) : json_object();

    json_object_set_new(row, "name", json_string(certificate->name));
    json_object_set_new(row, "chain", json_string(certificate->chain));
    json_object_set_new(row, "used_by", json_string(buf_cstr(&listing->users)));
    if (err->text[0] != '\0') {
        json_object_set_new(row, "state", json_string("unusable"));
        json_object_set_new(row, "error", json_string(err->text));
        listing->failed = true;
    }
    json_array_append_new(listing->rows, row);
}

static void
list_one(struct listing *listing, const struct settings *settings,
         const struct certificate_settings *certificate)
{
    struct tls_bundle *bundle = tls_bundle_new();
    struct err err = {0};
    bool usable = is_usable(certificate, bundle, &err);

    users_of(settings, certificate, &listing->users);
    if (listing->json) {
        list_as_json(listing, certificate, bundle, &err);
    } else if (usable) {
        struct tls_certificate_facts *facts = tls_bundle_describe(bundle, 0);

        list_good(listing, certificate, facts);
        tls_certificate_facts_free(facts);
    } else {
        list_bad(listing, certificate, &err);
    }
    tls_bundle_free(bundle);
}

static bool
list_all(const struct settings *settings, bool json)
{
    static const struct text_column columns[] = {
        {"NAME", false},    {"STATE", false}, {"UNTIL", false},
        {"DAYS", true},     {"KEY", false},   {"USED-BY", false},
        {"SUBJECT", false}, {"NAMES", false}, {"ISSUER", false},
        {"SHA256", false}};
    struct listing listing = {.json = json, .rows = json_array()};

    text_table_init(&listing.table, columns, COUNT_OF(columns));
    for (size_t i = 0; i < settings->certificate_count; i++)
        list_one(&listing, settings, &settings->certificates[i]);
    if (json)
        cli_print_json(listing.rows);
    else
        text_table_fini(&listing.table);
    json_decref(listing.rows);
    buf_fini(&listing.users);
    buf_fini(&listing.names);
    return !listing.failed;
}

int
run_cert_list(struct cli *cli)
{
    const struct settings_options options = {.check_files = false};
    bool json = cli_flag(cli, "--json"), ok;
    struct settings *settings;
    struct err err;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    settings = settings_load_file(cli->config, &options, &err);
    if (settings == NULL)
        return cli_fail(&err);
    ok = list_all(settings, json);
    settings_unref(settings);
    return ok ? CLI_OK : CLI_FAILED;
}
