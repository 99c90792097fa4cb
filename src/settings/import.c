#include "settings/import.h"
#include "base/buf.h"
#include "base/map.h"
#include "settings/advanced.h"
#include "settings/import_internal.h"
#include "settings/tables.h"

/* Room for one more behind count entries of size, in powers of two. */
static void *
grow(void *array, size_t count, size_t size)
{
    void *larger;

    if (count != 0 && (count < 16 || (count & (count - 1)) != 0))
        return array;
    larger = mem_alloc_array(count < 16 ? 16 : count * 2, size);
    if (count > 0)
        memcpy(larger, array, count * size);
    mem_free(array);
    return larger;
}

static char *
printable(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if (!char_is_print(*c))
            *c = '?';
    return text;
}

static void
verdict(struct import *import, const struct import_item *item,
        enum import_verdict verdict, const char *reason)
{
    enum { NAME_MAX_SHOWN = 100 };
    struct import_line *line;
    char *name;

    import->lines = grow(import->lines, import->count, sizeof *import->lines);
    line = &import->lines[import->count++];
    name = arena_cstr(
        &import->arena,
        arena_printf(&import->arena, "%.*s%.*s",
                     SV_ARG(sv_slice(item->scope, 0, 80)),
                     SV_ARG(sv_slice(item->name, 0, NAME_MAX_SHOWN))));
    *line = (struct import_line){
        .number = item->line,
        .verdict = verdict,
        .name = printable(name),
        .reason = printable(arena_cstr(&import->arena, sv_of(reason))),
    };
    import->refused += verdict == IMPORT_REFUSED;
}

static const struct import_setting *
find_path(const struct import *import, const char *path)
{
    for (size_t i = 0; i < import->setting_count; i++)
        if (strcmp(import->settings[i].path, path) == 0)
            return &import->settings[i];
    return NULL;
}

static char *
path_text(struct arena *arena, const struct advanced *found)
{
    struct buf path = {0};
    char *text;

    for (size_t i = 0; i < found->path_count; i++)
        buf_printf(&path, "%s%s", i > 0 ? "." : "", found->path[i]);
    text = arena_cstr(arena, buf_view(&path));
    buf_fini(&path);
    return text;
}

static void
take(struct import *import, const struct import_item *item,
     const struct advanced *found)
{
    struct arena *arena = &import->arena;
    char *path = path_text(arena, found);
    const struct import_setting *former = find_path(import, path);
    struct import_setting *setting;
    struct sv text;

    if (former != NULL && strcmp(former->meaning, found->value) == 0) {
        text =
            arena_printf(arena, " because line %u says the same", former->line);
        verdict(import, item, IMPORT_IGNORED, text.p);
        return;
    }
    if (former != NULL) {
        text = arena_printf(arena,
                            " because line %u sets the same to another value",
                            former->line);
        verdict(import, item, IMPORT_REFUSED, text.p);
        return;
    }
    if (import->setting_count == IMPORT_SETTINGS_MAX) {
        text = arena_printf(arena, " because %d settings are the most",
                            IMPORT_SETTINGS_MAX);
        verdict(import, item, IMPORT_REFUSED, text.p);
        return;
    }
    import->settings =
        grow(import->settings, import->setting_count, sizeof *import->settings);
    setting = &import->settings[import->setting_count++];
    *setting = (struct import_setting){
        .name = found->name,
        .value = arena_cstr(arena, item->value),
        .path = path,
        .meaning = arena_cstr(arena, sv_of(found->value)),
        .line = item->line,
    };
    text = arena_printf(arena, " as %s: %s", path, found->value);
    verdict(import, item, IMPORT_TAKEN, text.p);
}

static void
because(struct import *import, const struct import_item *item,
        enum import_verdict how, const char *reason)
{
    struct sv text = arena_printf(&import->arena, " because %s", reason);

    verdict(import, item, how, text.p);
}

static bool
has_scope(struct sv name)
{
    return sv_starts_nocase(name, SV("Servers.")) ||
           sv_starts_nocase(name, SV("Sender.")) ||
           sv_starts_nocase(name, SV("Controller."));
}

/* A name that Waxgate does not have is no mistake of the file; a value that
 * its name cannot take is one. */
static void
judge(struct import *import, const struct import_item *item)
{
    const struct advanced_options options = {.old_spelling = true};
    struct sv scope = has_scope(item->name) ? SV("") : item->scope;
    struct sv name = arena_printf(&import->arena, "%.*s%.*s", SV_ARG(scope),
                                  SV_ARG(item->name));
    struct advanced found;
    struct err err;

    if (!advanced_is_known(name)) {
        because(import, item, IMPORT_IGNORED, "Waxgate has no such setting");
    } else if (!advanced_find(&import->arena, name, item->value, &options,
                              &found, &err)) {
        struct sv text = arena_printf(&import->arena, ": %s", err.text);

        verdict(import, item, IMPORT_REFUSED, text.p);
    } else if (item->type.n > 0 &&
               !sv_is_nocase(item->type, advanced_type_name(found.type))) {
        struct sv text = arena_printf(&import->arena, "it is %s, not %.*s",
                                      advanced_type_name(found.type),
                                      SV_ARG(sv_slice(item->type, 0, 20)));

        because(import, item, IMPORT_REFUSED, text.p);
    } else {
        take(import, item, &found);
    }
}

void
import_add(struct import *import, const struct import_item *item)
{
    if (item->ignore != NULL)
        because(import, item, IMPORT_IGNORED, item->ignore);
    else if (item->refuse != NULL)
        because(import, item, IMPORT_REFUSED, item->refuse);
    else
        judge(import, item);
}

bool
import_read(struct sv bytes, struct import *import, struct err *err)
{
    struct sv text;

    *import = (struct import){0};
    arena_init(&import->arena, 16384);
    if (bytes.n > IMPORT_TEXT_MAX) {
        err_set(err, "is larger than %d bytes", IMPORT_TEXT_MAX);
        import_fini(import);
        return false;
    }
    if (import_decode(&import->arena, bytes, &text, err) &&
        import_parse(import, text, err))
        return true;
    import_fini(import);
    return false;
}

void
import_fini(struct import *import)
{
    mem_free(import->lines);
    mem_free(import->settings);
    arena_fini(&import->arena);
    *import = (struct import){0};
}

void
import_report(const struct import *import, struct buf *out)
{
    static const char *const words[] = {"taken", "ignored", "refused"};
    size_t counts[COUNT_OF(words)] = {0};

    for (size_t i = 0; i < import->count; i++) {
        const struct import_line *line = &import->lines[i];

        counts[line->verdict]++;
        buf_printf(out, "line %u: %s: %s%s\n", line->number, line->name,
                   words[line->verdict], line->reason);
    }
    buf_printf(out, "%zu taken, %zu ignored, %zu refused\n",
               counts[IMPORT_TAKEN], counts[IMPORT_IGNORED],
               counts[IMPORT_REFUSED]);
}
