/* The profile "default" as it is on this node, for receiving and for sending.
 * It keeps its name, so that what is printed loads to the same; which changes
 * were made stands beside it as a note. */
#include "base/buf.h"
#include "settings/tables.h"

struct maker {
    struct settings *settings;
    struct conf_doc *doc;
    struct arena *arena;
    bool check_files;
    struct err *err;
};

static const struct server_settings *
server_of_node(const struct settings *settings)
{
    for (size_t i = 1; i < settings->server_count; i++)
        if (sv_is_nocase(sv_of(settings->node), settings->servers[i].name))
            return &settings->servers[i];
    return &settings->servers[0];
}

static void
switch_version(enum version_switch wanted, unsigned bit, const char *name,
               unsigned *versions, struct buf *note)
{
    if (wanted == VERSION_AS_PROFILE)
        return;
    *versions = wanted == VERSION_ON ? *versions | bit : *versions & ~bit;
    buf_printf(note, ", %s %s", name, wanted == VERSION_ON ? "on" : "off");
}

static void
switch_versions(const struct version_switches *v, unsigned *versions,
                struct buf *note)
{
    switch_version(v->ssl2, TLS_BIT_SSL2, "SSLv2", versions, note);
    switch_version(v->ssl3, TLS_BIT_SSL3, "SSLv3", versions, note);
    switch_version(v->tls10, TLS_BIT_TLS10, "TLSv1.0", versions, note);
    switch_version(v->tls11, TLS_BIT_TLS11, "TLSv1.1", versions, note);
    switch_version(v->tls12, TLS_BIT_TLS12, "TLSv1.2", versions, note);
    switch_version(v->tls13, TLS_BIT_TLS13, "TLSv1.3", versions, note);
}

/* Applies the changes and says each in note, after a comma. */
static void
change(struct tls_profile *profile, const struct tls_override_settings *change,
       struct buf *note)
{
    switch_versions(&change->versions, &profile->versions, note);
    switch (change->strength) {
    case STRENGTH_AS_PROFILE:
        break;
    case STRENGTH_HIGH:
        profile->strength = TLS_HIGH;
        buf_add_str(note, ", strength high");
        break;
    case STRENGTH_MEDIUM:
        profile->strength = TLS_MEDIUM;
        buf_add_str(note, ", strength medium");
        break;
    case STRENGTH_LOW:
        profile->strength = TLS_LOW;
        buf_add_str(note, ", strength low");
        break;
    }
    if (change->ciphers[0] != '\0') {
        profile->ciphers = change->ciphers;
        buf_add_str(note, ", ciphers");
    }
}

static bool
check(const struct maker *m, const struct tls_profile *profile,
      const struct profile_rows *rows)
{
    struct tls_context *context;
    struct err why;

    if (!settings_check_profile(profile, rows, m->doc, m->err))
        return false;
    if (!m->check_files)
        return true;
    context = tls_context_new_client(profile, NULL, NULL, &why);
    if (context == NULL)
        return conf_refuse(m->doc, rows->table, rows->object, NULL, m->err,
                           "%s", why.text);
    tls_context_unref(context);
    return true;
}

/* *made is the profile to use; note stays empty where nothing changes. */
static bool
make(const struct maker *m, const struct tls_override_settings *changes,
     const struct profile_rows *rows, struct tls_profile_settings **made,
     struct buf *note)
{
    struct tls_profile_settings *profile =
        arena_alloc(m->arena, sizeof *profile);

    *made = &m->settings->tls_profiles[0];
    *profile = **made;
    change(&profile->profile, changes, note);
    if (buf_length(note) == 0)
        return true;
    buf_consume(note, strlen(", "));
    *made = profile;
    return check(m, &profile->profile, rows);
}

static void
note_of(const struct maker *m, const struct conf_table *table,
        const void *object, const char *where, struct buf *changes)
{
    struct buf note = {0};

    buf_printf(&note, "with the override of %s: %s", where, buf_cstr(changes));
    conf_note(m->doc, table, object, "tls_profile", buf_cstr(&note));
    buf_fini(&note);
}

static bool
make_inbound(const struct maker *m)
{
    struct settings *settings = m->settings;
    const struct server_settings *server = server_of_node(settings);
    const struct profile_rows rows = {.table = &server_table,
                                      .object = server,
                                      .versions = "tls_versions",
                                      .ciphers = "tls_ciphers"};
    struct buf note = {0}, where = {0};
    bool ok =
        make(m, &server->inbound, &rows, &settings->inbound_profile, &note);

    buf_printf(&where, "servers.%s", server->name);
    for (size_t i = 0; ok && i < settings->listener_count; i++) {
        struct listener_settings *listener = &settings->listeners[i];

        if (buf_length(&note) == 0 ||
            listener->tls_profile != &settings->tls_profiles[0])
            continue;
        listener->tls_profile = settings->inbound_profile;
        note_of(m, &listener_table, listener, buf_cstr(&where), &note);
    }
    for (size_t i = 0; ok && i < settings->mail_flow_policy_count; i++) {
        struct mail_flow_policy *policy = &settings->mail_flow_policies[i];

        if (buf_length(&note) == 0 ||
            policy->tls_profile != &settings->tls_profiles[0])
            continue;
        policy->tls_profile = settings->inbound_profile;
        note_of(m, &mail_flow_policy_table, policy, buf_cstr(&where), &note);
    }
    buf_fini(&note);
    buf_fini(&where);
    return ok;
}

static bool
make_outbound(const struct maker *m)
{
    struct settings *settings = m->settings;
    const struct profile_rows rows = {.table = &sender_table,
                                      .object = &settings->sender,
                                      .versions = "tls_versions",
                                      .ciphers = "tls_ciphers"};
    struct buf note = {0};
    bool ok =
        make(m, &settings->sender, &rows, &settings->outbound_profile, &note);

    for (size_t i = 0; ok && i < settings->destination_count; i++) {
        struct destination_settings *destination = &settings->destinations[i];

        if (buf_length(&note) == 0 ||
            destination->tls_profile != &settings->tls_profiles[0])
            continue;
        destination->tls_profile = settings->outbound_profile;
        note_of(m, &destination_table, destination, "sender", &note);
    }
    buf_fini(&note);
    return ok;
}

bool
settings_override(struct settings *settings, struct conf_doc *doc,
                  struct arena *arena, bool check_files, struct err *err)
{
    const struct maker m = {settings, doc, arena, check_files, err};

    return make_inbound(&m) && make_outbound(&m);
}
