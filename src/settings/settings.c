#include "settings/settings.h"
#include "base/buf.h"
#include "base/map.h"
#include "settings/tables.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

struct settings_private {
    struct arena arena; /* holds everything else, the settings too */
    atomic_uint references;
    struct conf_doc *doc;    /* owned */
    struct map routes;       /* struct route_settings by domain */
    struct map destinations; /* struct destination_settings by domain */
};

/* The folder of path, absolute. */
static char *
folder_of(struct arena *arena, const char *path)
{
    size_t slash = sv_last_index(sv_of(path), '/');
    struct sv folder =
        slash == SV_NONE ? SV("") : sv_slice(sv_of(path), 0, slash);
    char here[PATH_MAX];

    if (path[0] == '/')
        return arena_cstr(arena, folder.n > 0 ? folder : SV("/"));
    if (getcwd(here, sizeof here) == NULL)
        snprintf(here, sizeof here, "/");
    if (folder.n == 0)
        return arena_cstr(arena, sv_of(here));
    return conf_path_absolute(&(struct conf_scope){arena, here}, folder);
}

static void
index_domains(struct settings *settings)
{
    struct settings_private *private = settings->private;

    for (size_t i = 0; i < settings->route_count; i++)
        map_put(&private->routes, sv_of(settings->routes[i].domain),
                &settings->routes[i]);
    for (size_t i = 0; i < settings->destination_count; i++)
        map_put(&private->destinations, sv_of(settings->destinations[i].domain),
                &settings->destinations[i]);
}

static struct settings *
settings_new(void)
{
    struct settings_private *private = mem_alloc(sizeof *private);
    struct settings *settings;

    arena_init(&private->arena, 16384);
    atomic_init(&private->references, 1);
    settings = arena_alloc(&private->arena, sizeof *settings);
    settings->private = private;
    return settings;
}

static bool
make_flows(struct settings *settings, struct arena *arena, struct err *err)
{
    const struct conf_doc *doc = settings->private->doc;

    for (size_t i = 0; i < settings->listener_count; i++) {
        struct listener_settings *listener = &settings->listeners[i];

        if (!settings_flow_make(settings, listener, doc, arena, err) ||
            !settings_check_flow(listener, doc, err))
            return false;
    }
    return true;
}

static bool
load(struct settings *settings, struct sv text, const char *path,
     const struct settings_options *options, struct err *err)
{
    struct settings_private *private = settings->private;
    struct arena *arena = &private->arena;
    const struct conf_source source = {
        .text = text,
        .name = path[0] != '\0' ? path : "built-in configuration",
        .directory = folder_of(arena, path),
    };

    private->doc = conf_load(&settings_table, settings, &source, arena, err);
    settings->private = private; /* loading begins with the defaults of all */
    if (private->doc == NULL)
        return false;
    settings->revision = options->revision;
    settings->source = arena_cstr(arena, sv_of(path));
    for (size_t i = 0; i < settings->certificate_count; i++)
        settings->certificates[i].keep = options->keep_pairs;
    index_domains(settings);
    return settings_check(settings, private->doc, arena, options, err) &&
           settings_override(settings, private->doc, arena,
                             options->check_files, err) &&
           make_flows(settings, arena, err);
}

struct settings *
settings_load(struct sv text, const char *path,
              const struct settings_options *options, struct err *err)
{
    struct settings *settings = settings_new();

    if (load(settings, text, path, options, err))
        return settings;
    settings_unref(settings);
    return NULL;
}

static bool
read_all(int fd, struct buf *out, struct err *err)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 16384), 16384);

        if (n == 0)
            return true;
        if (n == -1) {
            err_sys(err, "read");
            return false;
        }
        buf_grew(out, (size_t)n);
        /* One byte more is enough to be refused. */
        if (buf_length(out) > CONF_TEXT_MAX)
            return true;
    }
}

static bool
read_file(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok;

    if (fd == -1) {
        err_sys(err, "open");
        return false;
    }
    ok = read_all(fd, out, err);
    close(fd);
    return ok;
}

struct settings *
settings_load_file(const char *path, const struct settings_options *options,
                   struct err *err)
{
    struct settings *settings = NULL;
    struct buf text = {0};

    if (read_file(path, &text, err))
        settings = settings_load(buf_view(&text), path, options, err);
    else
        err_wrap(err, "%s", path);
    buf_fini(&text);
    return settings;
}

struct settings *
settings_ref(struct settings *settings)
{
    atomic_fetch_add(&settings->private->references, 1);
    return settings;
}

void
settings_unref(struct settings *settings)
{
    struct settings_private *private;

    if (settings == NULL)
        return;
    private = settings->private;
    if (atomic_fetch_sub(&private->references, 1) != 1)
        return;
    for (size_t i = 0; i < settings->listener_count; i++)
        settings_flow_free(&settings->listeners[i]);
    map_fini(&private->routes);
    map_fini(&private->destinations);
    conf_doc_free(private->doc);
    arena_fini(&private->arena);
    mem_free(private);
}

/* Exact, then the longest ".suffix", then "default". */
static const void *
find_domain(const struct map *map, struct sv domain)
{
    const void *found = map_get(map, domain);

    for (size_t i = 0; found == NULL && i < domain.n; i++)
        if (i > 0 && domain.p[i] == '.')
            found = map_get(map, sv_from(domain, i));
    return found != NULL ? found : map_get(map, SV("default"));
}

const struct route_settings *
settings_route(const struct settings *settings, struct sv domain)
{
    const struct route_settings *route =
        find_domain(&settings->private->routes, domain);

    return route != NULL && route->hop_count > 0 ? route : NULL;
}

const struct destination_settings *
settings_destination(const struct settings *settings, struct sv domain)
{
    return find_domain(&settings->private->destinations, domain);
}

void
settings_print(const struct settings *settings, bool effective, struct buf *out)
{
    conf_print(settings->private->doc, effective, out);
}

static const char *
origin_text(const struct mail_flow_policy *policy, size_t row, char *room,
            size_t size)
{
    static const char *const texts[] = {
        [ORIGIN_BUILT_IN] = "default",
        [ORIGIN_DEFAULT] = "policy default",
        [ORIGIN_LISTENER] = "listener",
        [ORIGIN_ADDRESS] = "listener's address and certificates",
        [ORIGIN_SHORT] = "relay_for",
    };

    if (policy->origins[row] != ORIGIN_POLICY)
        return texts[policy->origins[row]];
    snprintf(room, size, "policy %s", policy->name);
    return room;
}

void
settings_policy_print(const struct settings *settings,
                      const struct mail_flow_policy *policy, struct buf *out)
{
    const struct conf_table *table = &mail_flow_policy_table;
    char room[128];

    for (size_t i = 0; i < table->count; i++) {
        const char *name = table->fields[i].name;

        buf_printf(out, "%s: ", name);
        conf_print_value(settings->private->doc, table, policy, name, out);
        buf_printf(out, "  # %s\n", origin_text(policy, i, room, sizeof room));
    }
}

unsigned
settings_line(const struct settings *settings, const struct conf_table *table,
              const void *object, const char *name, const char **path)
{
    return conf_line(settings->private->doc, table, object, name, path);
}

struct tls_certificate_files
settings_certificate_files(const struct certificate_settings *pair)
{
    return (struct tls_certificate_files){.name = pair->name,
                                          .chain = pair->chain,
                                          .key = pair->key,
                                          .ocsp = pair->ocsp_file,
                                          .keep = pair->keep};
}

/* The entry that says so, or the one that all inherit from. */
static const struct destination_settings *
who_says(const struct settings *settings,
         const struct destination_settings *control, const char *name)
{
    const struct destination_settings *base = &settings->destinations[0];
    const struct conf_doc *doc = settings->private->doc;

    if (conf_given_here(doc, &destination_table, control, name))
        return control;
    return conf_given_here(doc, &destination_table, base, name) ? base : NULL;
}

void
settings_destination_print(const struct settings *settings,
                           const struct destination_settings *control,
                           const char *name, struct buf *value,
                           struct buf *origin)
{
    const struct destination_settings *from = who_says(settings, control, name);
    unsigned line;

    conf_print_value(settings->private->doc, &destination_table, control, name,
                     value);
    if (from == NULL) {
        buf_add_str(origin, "built in");
        return;
    }
    line = settings_line(settings, &destination_table, from, name, NULL);
    buf_printf(origin, "destinations.%s", from->domain);
    if (line > 0)
        buf_printf(origin, ", line %u", line);
}
