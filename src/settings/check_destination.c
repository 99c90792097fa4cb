/* Destinations: names that stand for something, and what contradicts what. */
#include "settings/tables.h"

struct checker {
    struct settings *settings;
    const struct conf_doc *doc;
    struct err *err;
};

#define REFUSE(c, control, name, ...)                                          \
    conf_refuse((c)->doc, &destination_table, (control), (name), (c)->err,     \
                __VA_ARGS__)

static struct certificate_settings *
find_certificate(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->certificate_count; i++)
        if (strcmp(settings->certificates[i].name, name) == 0)
            return &settings->certificates[i];
    return NULL;
}

static bool
resolve_certificate(const struct checker *c,
                    struct destination_settings *control)
{
    const char *name = control->client_certificate_name;
    char room[CONF_QUOTE_MAX];

    control->client_certificate = NULL;
    if (strcmp(name, "none") == 0)
        return true;
    if (name[0] == '\0') {
        if (c->settings->certificate_count > 0)
            control->client_certificate = &c->settings->certificates[0];
        return true;
    }
    control->client_certificate = find_certificate(c->settings, name);
    return control->client_certificate != NULL ||
           REFUSE(c, control, "client_certificate",
                  "%s does not exist in certificates",
                  conf_quote(sv_of(name), room));
}

static void
note_origin(const struct checker *c, struct destination_settings *control,
            struct arena *arena)
{
    const char *domain = control->domain;
    char text[300];

    if (!conf_given(c->doc, &destination_table, control, "tls_profile")) {
        control->tls_profile_origin = "default";
        return;
    }
    if (!conf_given_here(c->doc, &destination_table, control, "tls_profile"))
        domain = "default";
    snprintf(text, sizeof text, "destinations.%s", domain);
    control->tls_profile_origin = arena_cstr(arena, sv_of(text));
}

void
settings_destination_profile(const struct destination_settings *control,
                             struct tls_profile *profile)
{
    *profile = control->tls_profile->profile;
    if (!control->tls13)
        profile->versions &= ~(unsigned)TLS_BIT_TLS13;
    if (control->groups != NULL && control->groups[0] != '\0')
        profile->groups = control->groups;
}

static bool
check_switches(const struct checker *c,
               const struct destination_settings *control)
{
    const struct profile_rows rows = {
        .table = &destination_table,
        .object = control,
        .versions = "tls13",
        .ciphers = "tls_profile",
        .groups = "groups",
    };
    struct tls_profile profile;

    if (control->tls == DELIVER_TLS_NO)
        return true;
    settings_destination_profile(control, &profile);
    if (profile.versions == 0)
        return REFUSE(c, control, "tls13",
                      "TLS profile %s has no other version; take another "
                      "profile, or set `tls: no` where no TLS is wanted",
                      control->tls_profile->name);
    return settings_check_profile(&profile, &rows, c->doc, c->err);
}

static bool
check_trust(const struct checker *c, const struct destination_settings *control)
{
    if (control->tls >= DELIVER_TLS_PREFERRED_VERIFY &&
        !control->system_authorities && control->authority_count == 0)
        return REFUSE(c, control, "system_authorities",
                      "no certificate would be believed; name some in "
                      "`authorities`");
    return true;
}

/* The files, by the code that will use them. */
static bool
check_files(const struct checker *c, const struct destination_settings *control)
{
    const struct tls_trust trust = {
        .system = control->system_authorities,
        .files = (const char *const *)control->authorities,
        .file_count = control->authority_count,
        .crls = (const char *const *)control->revocation_lists,
        .crl_count = control->revocation_list_count,
    };
    struct tls_client_options options = {.trust = &trust};
    struct tls_profile profile;
    struct tls_context *context;
    struct err why;

    if (control->authority_count + control->revocation_list_count == 0)
        return true;
    settings_destination_profile(control, &profile);
    options.profile = &profile;
    context = tls_context_new_client_options(&options, &why);
    if (context == NULL)
        return REFUSE(c, control,
                      control->authority_count > 0 ? "authorities"
                                                   : "revocation_lists",
                      "%s", why.text);
    tls_context_unref(context);
    return true;
}

bool
settings_check_destinations(struct settings *settings,
                            const struct conf_doc *doc, struct arena *arena,
                            bool with_files, struct err *err)
{
    const struct checker c = {settings, doc, err};

    for (size_t i = 0; i < settings->destination_count; i++) {
        struct destination_settings *control = &settings->destinations[i];

        note_origin(&c, control, arena);
        if (!resolve_certificate(&c, control) || !check_switches(&c, control) ||
            !check_trust(&c, control) ||
            (with_files && !check_files(&c, control)))
            return false;
    }
    return true;
}
