#include "transmit/delivery_internal.h"

static bool
has_context(const struct revision *revision,
            const struct destination_settings *control)
{
    for (size_t i = 0; i < revision->context_count; i++)
        if (revision->contexts[i].profile == control->tls_profile &&
            revision->contexts[i].certificate == control->client_certificate)
            return true;
    return false;
}

static bool
add_context(struct revision *revision,
            const struct destination_settings *control, struct err *err)
{
    const struct certificate_settings *own = control->client_certificate;
    struct tls_certificate_files files = {0};
    struct tls_context *context;

    if (own != NULL)
        files = (struct tls_certificate_files){
            .name = own->name, .chain = own->chain, .key = own->key};
    context = tls_context_new_client(&control->tls_profile->profile,
                                     own != NULL ? &files : NULL, NULL, err);
    if (context == NULL) {
        err_wrap(err, "destination %s", control->domain);
        return false;
    }
    revision->contexts[revision->context_count++] = (struct revision_context){
        .profile = control->tls_profile,
        .certificate = own,
        .context = context,
    };
    return true;
}

static bool
build_contexts(struct revision *revision, struct err *err)
{
    const struct settings *settings = revision->settings;

    revision->contexts = mem_alloc_array(settings->destination_count,
                                         sizeof *revision->contexts);
    for (size_t i = 0; i < settings->destination_count; i++) {
        const struct destination_settings *control = &settings->destinations[i];

        if (control->tls != DELIVER_TLS_NO && !has_context(revision, control) &&
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
    for (size_t i = 0; i < revision->context_count; i++)
        tls_context_unref(revision->contexts[i].context);
    mem_free(revision->contexts);
    dns_resolver_unref(revision->resolver);
    settings_unref(revision->settings);
    mem_free(revision);
}

struct tls_context *
revision_context(const struct revision *revision,
                 const struct tls_decision *decision)
{
    if (decision->floor == FLOOR_CLEAR)
        return NULL;
    for (size_t i = 0; i < revision->context_count; i++)
        if (revision->contexts[i].profile == decision->profile &&
            revision->contexts[i].certificate == decision->client_certificate)
            return revision->contexts[i].context;
    abort(); /* every destination's was built */
}
