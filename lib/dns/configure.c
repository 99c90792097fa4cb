#include "dns/dns_internal.h"
#include <unistd.h>

/* Where Debian's dns-root-data keeps the key of the root zone. */
#define ROOT_KEY_FILE "/usr/share/dns/root.key"
#define ANCHOR_FILE_MAX 65536

/* What differs from libunbound's own defaults, and why. */
static const struct option {
    const char *name, *value;
} options_always[] = {
    {"msg-cache-size:", "16m"},
    {"rrset-cache-size:", "32m"},
    {"do-not-query-localhost:", "no"}, /* a resolver of the same machine */
    {"unblock-lan-zones:", "yes"},     /* internal names are ordinary names */
    {"local-zone:", "test. transparent"},
    /* Names of loopback clients are the resolver's matter too. */
    {"local-zone:", "127.in-addr.arpa. transparent"},
};

static bool
failed(int result, struct err *err, const char *what, const char *value)
{
    if (result == 0)
        return false;
    err_set(err, "%s %s: %s", what, value, ub_strerror(result));
    return true;
}

static bool
is_file(const char *anchor)
{
    return anchor[0] == '/' || anchor[0] == '.' || access(anchor, R_OK) == 0;
}

static bool
add_anchors(struct ub_ctx *ub, const struct dns_options *options,
            struct err *err)
{
    for (size_t i = 0; i < options->trust_anchor_count; i++) {
        const char *anchor = options->trust_anchors[i];
        int result;

        if (is_file(anchor)) {
            if (access(anchor, R_OK) == -1) {
                err_sys(err, "trust anchor file %s", anchor);
                return false;
            }
            result = ub_ctx_add_ta_file(ub, anchor);
        } else {
            result = ub_ctx_add_ta(ub, anchor);
        }
        if (failed(result, err, "trust anchor", anchor))
            return false;
    }
    if (options->resolver_count == 0 && access(ROOT_KEY_FILE, R_OK) == 0)
        return !failed(ub_ctx_add_ta_file(ub, ROOT_KEY_FILE), err,
                       "trust anchor file", ROOT_KEY_FILE);
    return true;
}

/* The owner name that begins a record's line is this zone. */
static bool
line_is_for(struct sv line, struct sv zone)
{
    struct sv owner = sv_trim(line);
    size_t end = 0;

    while (end < owner.n && !char_is_blank(owner.p[end]))
        end++;
    owner.n = end;
    if (owner.n > 0 && owner.p[owner.n - 1] == '.')
        owner.n--;
    return sv_eq_nocase(owner, zone);
}

static bool
text_is_for(struct sv text, struct sv zone)
{
    while (text.n > 0)
        if (line_is_for(sv_take_until(&text, '\n'), zone))
            return true;
    return false;
}

static bool
file_is_for(const char *path, struct sv zone)
{
    FILE *file = fopen(path, "re");
    char *text;
    bool found;

    if (file == NULL)
        return false;
    text = mem_alloc_raw(ANCHOR_FILE_MAX);
    found = text_is_for(
        (struct sv){text, fread(text, 1, ANCHOR_FILE_MAX, file)}, zone);
    mem_free(text);
    fclose(file);
    return found;
}

static bool
has_anchor(const struct dns_options *options, struct sv zone)
{
    for (size_t i = 0; i < options->trust_anchor_count; i++) {
        const char *anchor = options->trust_anchors[i];

        if (is_file(anchor) ? file_is_for(anchor, zone)
                            : text_is_for(sv_of(anchor), zone))
            return true;
    }
    return false;
}

/* A stub zone is often one that the public DNS denies, or knows with other
 * contents.  Without a trust anchor of its own it counts as unsigned; otherwise
 * the public proof of its absence would make all of it bogus. */
static bool
add_stub(struct ub_ctx *ub, const struct dns_options *options,
         const char *entry, struct err *err)
{
    struct sv address = sv_of(entry);
    struct sv name = sv_take_until(&address, '=');
    char zone[256];
    int result;

    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (address.n == 0 || !sv_to_cstr(name, zone, sizeof zone)) {
        err_set(err, "stub zone %s: expected ZONE=ADDRESS@PORT", entry);
        return false;
    }
    result = ub_ctx_set_stub(ub, zone, address.p, 0);
    if (result == 0 && !has_anchor(options, name))
        result = ub_ctx_set_option(ub, "domain-insecure:", zone);
    return !failed(result, err, "stub zone", entry);
}

bool
dns_configure(struct ub_ctx *ub, const struct dns_options *options,
              struct err *err)
{
    /* Its log would go to standard error; its errors come with the answers. */
    ub_ctx_debugout(ub, NULL);
    if (failed(ub_ctx_async(ub, 1), err, "DNS resolver", "thread"))
        return false;
    for (size_t i = 0; i < COUNT_OF(options_always); i++) {
        const struct option *option = &options_always[i];
        /* libunbound wants writable strings but does not write to them. */
        int result = ub_ctx_set_option(ub, option->name, option->value);

        if (failed(result, err, "DNS resolver option", option->name))
            return false;
    }
    for (size_t i = 0; i < options->resolver_count; i++)
        if (failed(ub_ctx_set_fwd(ub, options->resolvers[i]), err, "resolver",
                   options->resolvers[i]))
            return false;
    for (size_t i = 0; i < options->stub_zone_count; i++)
        if (!add_stub(ub, options, options->stub_zones[i], err))
            return false;
    return add_anchors(ub, options, err);
}
