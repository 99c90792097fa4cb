#include "record/world.h"

#include "dkim/dkim.h"

static bool
make_resolver(struct record_world *world, struct loop *loop, struct err *err)
{
    const struct dns_settings *dns = &world->settings->dns;
    const struct dns_options options = {
        .resolvers = dns->resolvers,
        .resolver_count = dns->resolver_count,
        .trust_anchors = dns->trust_anchors,
        .trust_anchor_count = dns->trust_anchor_count,
        .stub_zones = dns->stub_zones,
        .stub_zone_count = dns->stub_zone_count,
        .timeout_ms = dns->timeout,
    };

    world->resolver = dns_resolver_new(loop, &options, err);
    return world->resolver != NULL;
}

static void
note_trouble(struct record_world *world, const struct err *err)
{
    size_t used = strlen(world->trouble);

    snprintf(world->trouble + used, sizeof world->trouble - used, "%s%s",
             used > 0 ? "; " : "", err->text);
}

static bool
make_https(struct record_world *world, struct loop *loop, struct err *err)
{
    const struct tls_report_settings *reports = &world->settings->tls_reports;
    struct https_options options = {
        .authorities = reports->authorities,
        .authority_count = reports->authority_count,
        .allow_private = reports->allow_private_addresses,
    };

    world->https = https_client_new(loop, &options, err);
    if (world->https == NULL && options.authority_count > 0) {
        err_wrap(err, "tls_reports.authorities");
        note_trouble(world, err);
        options.authority_count = 0;
        world->https = https_client_new(loop, &options, err);
    }
    return world->https != NULL;
}

static void
load_keys(struct record_world *world)
{
    const struct tls_report_settings *reports = &world->settings->tls_reports;

    world->keys =
        mem_alloc_array(reports->dkim_name_count + 1, sizeof *world->keys);
    world->key_count = reports->dkim_name_count;
    for (size_t i = 0; i < world->key_count; i++) {
        struct err err;

        world->keys[i] = dkim_key_load(reports->dkim[i]->key, &err);
        if (world->keys[i] == NULL)
            note_trouble(world, &err);
    }
}

struct record_world *
world_new(struct loop *loop, struct settings *settings, struct err *err)
{
    struct record_world *world = mem_alloc(sizeof *world);

    world->settings = settings_ref(settings);
    load_keys(world);
    if (make_resolver(world, loop, err) && make_https(world, loop, err))
        return world;
    world_free(world);
    return NULL;
}

void
world_free(struct record_world *world)
{
    if (world == NULL)
        return;
    for (size_t i = 0; i < world->key_count; i++)
        dkim_key_free(world->keys[i]);
    mem_free(world->keys);
    https_client_free(world->https);
    dns_resolver_unref(world->resolver);
    settings_unref(world->settings);
    mem_free(world);
}

const char *
world_submitter(const struct record_world *world)
{
    const char *from = world->settings->tls_reports.from;
    const char *at = strrchr(from, '@');

    return at != NULL ? at + 1 : from;
}

/* The signatures are of the same message: none covers another. */
bool
world_sign(const struct record_world *world, struct sv message, int64_t wall_s,
           struct buf *out, struct err *err)
{
    const struct tls_report_settings *reports = &world->settings->tls_reports;
    bool is_signed = world->key_count == 0;

    for (size_t i = 0; i < world->key_count; i++) {
        const struct dkim_signing signing = {
            .key = world->keys[i],
            .domain = reports->dkim[i]->domain,
            .selector = reports->dkim[i]->selector,
            .wall_s = wall_s,
        };

        if (signing.key == NULL)
            continue;
        if (!dkim_sign(&signing, message, out, err))
            return false;
        is_signed = true;
    }
    if (!is_signed) {
        err_set(err, "no key that signs can be used: %s", world->trouble);
        return false;
    }
    buf_add(out, message);
    return true;
}
