#include "transmit/delivery_internal.h"

/* Groups that every server and firewall has seen for years; the first message
 * of the handshake fits one packet with them. */
#define CLASSIC_GROUPS "X25519:P-256:P-384:P-521"

static bool
same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool
same_files(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool
same_tls(const struct destination_settings *a,
         const struct destination_settings *b)
{
    return a->tls_profile == b->tls_profile &&
           a->client_certificate == b->client_certificate &&
           a->tls13 == b->tls13 && a->session_tickets == b->session_tickets &&
           a->retry_classic == b->retry_classic &&
           same_text(a->groups, b->groups) &&
           a->system_authorities == b->system_authorities &&
           same_files(a->authorities, a->authority_count, b->authorities,
                      b->authority_count) &&
           same_files(a->revocation_lists, a->revocation_list_count,
                      b->revocation_lists, b->revocation_list_count);
}

struct tls_context *
revision_new_context(const struct destination_settings *control,
                     const struct tls_profile *profile, struct err *err)
{
    const struct certificate_settings *own = control->client_certificate;
    const struct tls_trust trust = {
        .system = control->system_authorities,
        .files = (const char *const *)control->authorities,
        .file_count = control->authority_count,
        .crls = (const char *const *)control->revocation_lists,
        .crl_count = control->revocation_list_count,
    };
    struct tls_certificate_files files = {0};
    const struct tls_client_options options = {
        .profile = profile,
        .certificate = own != NULL ? &files : NULL,
        .trust = &trust,
        .no_tickets = !control->session_tickets,
    };

    if (own != NULL)
        files = settings_certificate_files(own);
    return tls_context_new_client_options(&options, err);
}

static struct tls_context *
make_context(const struct destination_settings *control, const char *groups,
             struct err *err)
{
    struct tls_profile profile;

    settings_destination_profile(control, &profile);
    if (groups != NULL)
        profile.groups = groups;
    return revision_new_context(control, &profile, err);
}

static bool
add_context(struct revision *revision,
            const struct destination_settings *control, struct err *err)
{
    struct revision_context *added =
        &revision->contexts[revision->context_count++];

    added->control = control;
    added->context = make_context(control, NULL, err);
    if (added->context != NULL && control->retry_classic)
        added->classic = make_context(control, CLASSIC_GROUPS, err);
    if (added->context != NULL &&
        (added->classic != NULL || !control->retry_classic))
        return true;
    err_wrap(err, "destination %s", control->domain);
    return false;
}

static size_t
find_context(const struct revision *revision,
             const struct destination_settings *control)
{
    size_t i = 0;

    while (i < revision->context_count &&
           !same_tls(revision->contexts[i].control, control))
        i++;
    return i;
}

static bool
build_contexts(struct revision *revision, struct err *err)
{
    const struct settings *settings = revision->settings;
    size_t count = settings->destination_count;

    revision->contexts = mem_alloc_array(count, sizeof *revision->contexts);
    revision->context_of = mem_alloc_array(count, sizeof *revision->context_of);
    for (size_t i = 0; i < count; i++) {
        const struct destination_settings *control = &settings->destinations[i];

        /* Also where TLS is off: a message may demand it. */
        revision->context_of[i] = find_context(revision, control);
        if (revision->context_of[i] == revision->context_count &&
            !add_context(revision, control, err))
            return false;
    }
    return true;
}

static bool
build_resolver(struct revision *revision, struct loop *loop, struct err *err)
{
    const struct dns_settings *dns = &revision->settings->dns;
    const struct dns_options options = {
        .resolvers = dns->resolvers,
        .resolver_count = dns->resolver_count,
        .trust_anchors = dns->trust_anchors,
        .trust_anchor_count = dns->trust_anchor_count,
        .stub_zones = dns->stub_zones,
        .stub_zone_count = dns->stub_zone_count,
        .timeout_ms = dns->timeout,
    };

    revision->resolver = dns_resolver_new(loop, &options, err);
    return revision->resolver != NULL;
}

struct revision *
revision_new(struct loop *loop, struct settings *settings, struct err *err)
{
    struct revision *revision = mem_alloc(sizeof *revision);

    atomic_init(&revision->references, 1);
    revision->settings = settings_ref(settings);
    if (build_contexts(revision, err) && build_resolver(revision, loop, err))
        return revision;
    revision_unref(revision);
    return NULL;
}

struct revision *
revision_ref(struct revision *revision)
{
    atomic_fetch_add(&revision->references, 1);
    return revision;
}

void
revision_unref(struct revision *revision)
{
    if (revision == NULL || atomic_fetch_sub(&revision->references, 1) != 1)
        return;
    for (size_t i = 0; i < revision->context_count; i++) {
        tls_context_unref(revision->contexts[i].context);
        tls_context_unref(revision->contexts[i].classic);
    }
    mem_free(revision->contexts);
    mem_free(revision->context_of);
    dns_resolver_unref(revision->resolver);
    settings_unref(revision->settings);
    mem_free(revision);
}

const struct revision_context *
revision_context(const struct revision *revision,
                 const struct tls_decision *decision)
{
    const struct destination_settings *all = revision->settings->destinations;
    size_t i = (size_t)(decision->control - all);

    if (decision->floor == FLOOR_CLEAR)
        return NULL;
    assert(i < revision->settings->destination_count);
    return &revision->contexts[revision->context_of[i]];
}
