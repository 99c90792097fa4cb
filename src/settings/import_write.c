/* What was imported, as YAML: alone, or put into a configuration whose text,
 * with its comments, stays as it is. */
#include "base/buf.h"
#include "settings/import.h"
#include "settings/tables.h"

/* A text that YAML takes as one, whatever is in it. */
static void
print_value(const char *value, struct buf *out)
{
    if (strcmp(value, "0") == 0 || strcmp(value, "1") == 0) {
        buf_add_str(out, value);
        return;
    }
    buf_add_char(out, '"');
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *c);
    }
    buf_add_char(out, '"');
}

static void
print_setting(const struct import_setting *setting, size_t indent,
              struct buf *out)
{
    buf_printf(out, "%*s%s: ", (int)indent, "", setting->name);
    print_value(setting->value, out);
    buf_add_char(out, '\n');
}

void
import_fragment(const struct import *import, struct buf *out)
{
    if (import->setting_count == 0)
        return;
    buf_add_str(out, "advanced:\n");
    for (size_t i = 0; i < import->setting_count; i++)
        print_setting(&import->settings[i], 2, out);
}

static const struct advanced_settings *
there_already(const struct settings *settings,
              const struct import_setting *setting)
{
    for (size_t i = 0; i < settings->advanced_count; i++)
        if (sv_is_nocase(sv_of(setting->name), settings->advanced[i].name))
            return &settings->advanced[i];
    return NULL;
}

/* The new ones, for the section that is there. */
static bool
print_missing(const struct import *import, const struct settings *settings,
              size_t indent, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < import->setting_count; i++) {
        const struct import_setting *setting = &import->settings[i];
        const struct advanced_settings *former =
            there_already(settings, setting);

        if (former == NULL) {
            print_setting(setting, indent, out);
        } else if (!sv_is_nocase(sv_of(former->value), setting->value)) {
            err_set(err,
                    "advanced.%s is there with another value than in line %u "
                    "of what is imported; remove one of the two",
                    former->name, setting->line);
            return false;
        }
    }
    return true;
}

/* Start of the line (from 1) in text; its length in *length. */
static const char *
find_line(struct sv text, unsigned number, size_t *length)
{
    struct sv rest = text, line = {0};

    for (unsigned i = 0; i < number; i++)
        line = sv_take_until(&rest, '\n');
    *length = line.n;
    return line.p;
}

/* Puts the new settings before the first one of the section; it must stand in
 * a line of its own. */
static bool
insert(const struct import *import, const struct settings *settings,
       struct sv yaml, struct buf *out, struct err *err)
{
    const char *first = settings->advanced[0].name;
    unsigned number = settings_line(settings, &advanced_table,
                                    &settings->advanced[0], NULL, NULL);
    size_t length, indent, before;
    const char *line = find_line(yaml, number, &length);
    struct sv rest = {line, length};

    while (sv_take_char(&rest, ' '))
        ;
    indent = length - rest.n;
    if (indent == 0 || !sv_take_prefix(&rest, sv_of(first))) {
        err_set(err,
                "line %u: write the section advanced with one setting in a "
                "line, so that others can be added",
                number);
        return false;
    }
    before = (size_t)(line - yaml.p);
    buf_add(out, sv_slice(yaml, 0, before));
    if (!print_missing(import, settings, indent, out, err))
        return false;
    buf_add(out, sv_from(yaml, before));
    return true;
}

static bool
add_settings(const struct import *import, const struct settings *settings,
             struct sv yaml, struct buf *out, struct err *err)
{
    if (settings->advanced_count > 0)
        return insert(import, settings, yaml, out, err);
    buf_add(out, yaml);
    if (yaml.n > 0 && yaml.p[yaml.n - 1] != '\n')
        buf_add_char(out, '\n');
    if (import->setting_count > 0)
        buf_add_char(out, '\n');
    import_fragment(import, out);
    return true;
}

bool
import_candidate(const struct import *import, struct sv yaml, const char *name,
                 struct buf *out, struct err *err)
{
    const struct settings_options options = {.check_files = false};
    struct settings *settings = settings_load(yaml, name, &options, err);
    struct settings *candidate;
    bool ok;

    if (settings == NULL)
        return false;
    ok = add_settings(import, settings, yaml, out, err);
    settings_unref(settings);
    if (!ok) {
        err_wrap(err, "%s", name);
        return false;
    }
    candidate = settings_load(buf_view(out), name, &options, err);
    if (candidate == NULL)
        err_wrap(err, "with the imported settings");
    settings_unref(candidate);
    return candidate != NULL;
}
