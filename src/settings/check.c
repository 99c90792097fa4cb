/* What no single row can see: computed defaults, and settings that contradict
 * each other. */
#include "base/map.h"
#include "mail/address.h"
#include "settings/tables.h"
#include <limits.h>
#include <unistd.h>

struct checker {
    struct settings *settings;
    const struct conf_doc *doc;
    struct err *err;
};

static bool
given(const struct checker *c, const struct listener_settings *listener,
      const char *name)
{
    return conf_given(c->doc, &listener_table, listener, name);
}

#define REFUSE(c, table, object, name, ...)                                    \
    conf_refuse((c)->doc, &(table), (object), (name), (c)->err, __VA_ARGS__)

/* Listeners */

static void
set_tls_default(const struct checker *c, struct listener_settings *listener)
{
    if (given(c, listener, "tls"))
        return;
    if (listener->certificate_count == 0)
        listener->tls = RECEIVE_TLS_NO;
    else if (listener->implicit_tls)
        listener->tls = RECEIVE_TLS_REQUIRED;
}

static bool
check_listener_tls(const struct checker *c, struct listener_settings *listener)
{
    bool bare = listener->certificate_count == 0;

    set_tls_default(c, listener);
    if (bare && listener->implicit_tls)
        return REFUSE(c, listener_table, listener, "address",
                      "tls:// needs a certificate; set `certificates`");
    if (bare && listener->tls != RECEIVE_TLS_NO)
        return REFUSE(c, listener_table, listener, "tls",
                      "TLS needs a certificate; set `certificates`, or `tls: "
                      "no`");
    if (listener->implicit_tls && listener->tls == RECEIVE_TLS_NO)
        return REFUSE(c, listener_table, listener, "tls",
                      "\"no\" contradicts the address, which begins with "
                      "tls://");
    return true;
}

/* Shorter ones hold so much of the Internet that nobody can mean them; the
 * largest private networks are 10.0.0.0/8 and fc00::/7. */
static bool
is_open(const struct net_prefix *prefix)
{
    return prefix->bits < (prefix->family == AF_INET ? 8 : 7);
}

static bool
check_relay(const struct checker *c, struct listener_settings *listener)
{
    if (listener->type == LISTENER_PUBLIC)
        for (size_t i = 0; i < listener->relay_for_count; i++)
            if (is_open(&listener->relay_for[i]))
                return REFUSE(c, listener_table, listener, "relay_for",
                              "a network of /%u on a public listener is an "
                              "open relay: anybody could send mail to anybody "
                              "through it; list the networks of your own hosts",
                              listener->relay_for[i].bits);
    return true;
}

static bool
check_listener(const struct checker *c, struct listener_settings *listener)
{
    return check_listener_tls(c, listener) && check_relay(c, listener);
}

static bool
check_addresses(const struct checker *c, struct map *seen)
{
    for (size_t i = 0; i < c->settings->listener_count; i++) {
        struct listener_settings *listener = &c->settings->listeners[i];
        const struct listener_settings *other;
        char room[NET_ADDRESS_TEXT];

        net_address_text(&listener->address, room);
        other = map_put(seen, sv_of(room), listener);
        if (other != NULL)
            return REFUSE(c, listener_table, listener, "address",
                          "%s is the address of listener %s already", room,
                          other->name);
    }
    return true;
}

static bool
check_listeners(const struct checker *c)
{
    struct map seen = {0};
    bool ok = check_addresses(c, &seen);

    map_fini(&seen);
    for (size_t i = 0; ok && i < c->settings->listener_count; i++)
        ok = check_listener(c, &c->settings->listeners[i]);
    return ok;
}

/* Delivery */

static bool
check_bounces(const struct checker *c)
{
    for (size_t i = 0; i < c->settings->bounce_profile_count; i++) {
        const struct bounce_profile_settings *profile =
            &c->settings->bounce_profiles[i];

        if (profile->max_retry < profile->first_retry)
            return REFUSE(c, bounce_profile_table, profile, "max_retry",
                          "is shorter than first_retry");
        if (profile->delay_warning >= profile->max_time_in_queue)
            return REFUSE(c, bounce_profile_table, profile, "delay_warning",
                          "comes only after max_time_in_queue, when the "
                          "message is gone");
    }
    return true;
}

static bool
check_spool(const struct checker *c)
{
    const struct spool_settings *spool = &c->settings->spool;

    if (spool->inline_limit > spool->segment_size / 4)
        return REFUSE(c, spool_table, spool, "inline_limit",
                      "is more than a quarter of segment_size");
    if (spool->memory_limit < spool->inline_limit)
        return REFUSE(c, spool_table, spool, "memory_limit",
                      "is less than inline_limit");
    return true;
}

/* The node */

static void
machine_name(char *name, size_t size)
{
    char own[HOST_NAME_MAX + 1] = "";
    char canonical[MAIL_DOMAIN_MAX + 1];

    if (gethostname(own, sizeof own - 1) != 0 ||
        !mail_domain_canonical(sv_of(own), canonical) ||
        !mail_domain_valid(sv_of(canonical)))
        snprintf(canonical, sizeof canonical, "localhost");
    snprintf(name, size, "%s", canonical);
}

static void
set_node_defaults(struct settings *settings, struct arena *arena)
{
    char name[MAIL_DOMAIN_MAX + 1];
    struct sv rest;
    long cores;

    if (settings->hostname[0] == '\0') {
        machine_name(name, sizeof name);
        settings->hostname = arena_cstr(arena, sv_of(name));
    }
    rest = sv_of(settings->hostname);
    if (settings->node[0] == '\0')
        settings->node = arena_cstr(arena, sv_take_until(&rest, '.'));
    if (settings->loops == 0) {
        cores = sysconf(_SC_NPROCESSORS_ONLN);
        settings->loops = cores < 1 ? 1 : cores > 256 ? 256 : (uint32_t)cores;
    }
}

/* A name that may stand in a file name. */
static bool
is_file_name(const char *name)
{
    for (const char *c = name; *c != '\0'; c++)
        if (!char_is_alnum(*c) && strchr("-_.", *c) == NULL)
            return false;
    return *name != '\0' && *name != '.' && strlen(name) <= 200;
}

/* Where the response of the authority stands, whoever puts it there. */
static bool
set_ocsp_files(const struct checker *c, struct arena *arena)
{
    for (size_t i = 0; i < c->settings->certificate_count; i++) {
        struct certificate_settings *certificate =
            &c->settings->certificates[i];

        certificate->ocsp_fetch = strcmp(certificate->ocsp, "fetch") == 0;
        certificate->ocsp_file = certificate->ocsp;
        if (!certificate->ocsp_fetch)
            continue;
        if (!is_file_name(certificate->name))
            return REFUSE(c, certificate_table, certificate, "ocsp",
                          "a response that is fetched is kept under the name "
                          "of the certificate, which may hold letters, "
                          "digits, \"-\", \"_\" and \".\"");
        certificate->ocsp_file = arena_cstr(
            arena, arena_printf(arena, "%s/ocsp/%s.der", c->settings->state_dir,
                                certificate->name));
    }
    return true;
}

static bool
check_certificates(const struct checker *c)
{
    for (size_t i = 0; i < c->settings->certificate_count; i++) {
        const struct certificate_settings *certificate =
            &c->settings->certificates[i];
        const struct tls_certificate_files files =
            settings_certificate_files(certificate);
        struct err why;

        if (!files.keep && !tls_certificate_check(&files, &why))
            return REFUSE(c, certificate_table, certificate, NULL, "%s",
                          why.text);
    }
    return true;
}

/* The last word has the code that will use the profile: it leaves out more
 * than the library does, so a list may be empty for it.  It reads the system's
 * trust store, hence only with files. */
static bool
check_contexts(const struct checker *c)
{
    for (size_t i = 0; i < c->settings->tls_profile_count; i++) {
        const struct tls_profile_settings *profile =
            &c->settings->tls_profiles[i];
        struct err why;
        struct tls_context *context =
            tls_context_new_client(&profile->profile, NULL, NULL, &why);

        if (context == NULL)
            return REFUSE(c, tls_profile_table, profile, NULL, "%s", why.text);
        tls_context_unref(context);
    }
    return true;
}

bool
settings_check(struct settings *settings, const struct conf_doc *doc,
               struct arena *arena, const struct settings_options *options,
               struct err *err)
{
    struct checker c = {settings, doc, err};
    bool check_files = options->check_files;

    set_node_defaults(settings, arena);
    return set_ocsp_files(&c, arena) && check_listeners(&c) &&
           check_bounces(&c) && check_spool(&c) &&
           settings_check_profiles(settings, doc, err) &&
           settings_check_destinations(settings, doc, arena, check_files,
                                       err) &&
           settings_check_evidence(settings, doc, arena,
                                   check_files && !options->in_force, err) &&
           (!check_files || (check_certificates(&c) && check_contexts(&c)));
}
