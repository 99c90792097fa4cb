#include "settings/lint.h"
#include "base/buf.h"
#include "settings/lint_internal.h"
#include <stdarg.h>

static const struct {
    const char *name, *why, *better;
} texts[] = {
#define AS_LINT_TEXT(code, name, why, better) [code] = {name, why, better},
    LINTS(AS_LINT_TEXT)
#undef AS_LINT_TEXT
};

const char *
lint_name(enum lint_code code)
{
    return texts[code].name;
}

const char *
lint_why(enum lint_code code)
{
    return texts[code].why;
}

const char *
lint_better(enum lint_code code)
{
    return texts[code].better;
}

static struct lint_finding *
new_finding(struct lint *lint)
{
    struct lint_finding *larger;

    if (lint->count % 64 == 0) {
        larger = mem_alloc_array(lint->count + 64, sizeof *larger);
        if (lint->count > 0)
            memcpy(larger, lint->findings, lint->count * sizeof *larger);
        mem_free(lint->findings);
        lint->findings = larger;
    }
    return &lint->findings[lint->count++];
}

void
lint_add(const struct linter *l, enum lint_code code,
         const struct lint_place *place, const char *fmt, ...)
{
    struct lint_finding *finding = new_finding(l->lint);
    struct arena *arena = &l->lint->arena;
    struct buf text = {0};
    const char *path;
    unsigned line = settings_line(l->settings, place->table, place->object,
                                  place->row, &path);
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    *finding = (struct lint_finding){
        .code = code,
        .line = line,
        .path = arena_cstr(
            arena,
            arena_printf(arena, "%s%s%s", path,
                         place->row != NULL && path[0] != '\0' ? "." : "",
                         place->row != NULL ? place->row : "")),
        .what = arena_cstr(arena, buf_view(&text)),
    };
    buf_fini(&text);
}

void
lint_fini(struct lint *lint)
{
    mem_free(lint->findings);
    arena_fini(&lint->arena);
    *lint = (struct lint){0};
}

/* Destinations */

static bool
goes_by_mx(const struct settings *settings, const char *domain)
{
    const struct route_settings *route =
        settings_route(settings, sv_of(domain));

    if (route == NULL)
        return true;
    for (size_t i = 0; i < route->hop_count; i++)
        if (route->hops[i].mx)
            return true;
    return false;
}

/* What all inherit from "default" is said once. */
static void
lint_destination(const struct linter *l,
                 const struct destination_settings *destination)
{
    const struct destination_settings *first = &l->settings->destinations[0];
    bool is_first = destination == first;
    struct lint_place place = {&destination_table, destination, "tls"};

    if (destination->tls == DELIVER_TLS_NO &&
        (is_first || first->tls != DELIVER_TLS_NO))
        lint_add(l, LINT_CLEAR_TEXT, &place, "mail to %s never goes over TLS",
                 is_first ? "everybody" : destination->domain);
    if (destination->tls == DELIVER_TLS_REQUIRED_VERIFY &&
        (is_first || first->tls != DELIVER_TLS_REQUIRED_VERIFY) &&
        goes_by_mx(l->settings, destination->domain))
        lint_add(l, LINT_VERIFY_NAME, &place,
                 "the certificate is verified for the name of the MX host");
    place.row = "fallback";
    if (destination->fallback == FALLBACK_NEXT_ATTEMPT &&
        (destination->tls == DELIVER_TLS_PREFERRED ||
         destination->tls == DELIVER_TLS_PREFERRED_VERIFY) &&
        (is_first || first->fallback != FALLBACK_NEXT_ATTEMPT))
        lint_add(l, LINT_FALLBACK, &place,
                 "after a failed handshake mail to %s goes in clear text",
                 is_first ? "everybody" : destination->domain);
}

void
settings_lint(const struct settings *settings,
              const struct lint_options *options, struct lint *lint)
{
    const struct linter l = {settings, options, lint};

    *lint = (struct lint){0};
    arena_init(&lint->arena, 4096);
    if (options->files)
        lint_certificates(&l);
    lint_profiles(&l);
    lint_access(&l);
    for (size_t i = 0; i < settings->destination_count; i++)
        lint_destination(&l, &settings->destinations[i]);
}
