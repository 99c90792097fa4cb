/* The reference manual from the rows, as Markdown: a section for each struct,
 * in it an entry for each setting. */
#include "base/buf.h"
#include "conf/value.h"

struct chapter {
    const struct chapter *parent;
    const char *name;
    const char *suffix; /* ".NAME", "[]" or "" */
};

static void
print_path(const struct chapter *chapter, struct buf *out)
{
    if (chapter == NULL)
        return;
    print_path(chapter->parent, out);
    if (chapter->parent != NULL)
        buf_add_char(out, '.');
    buf_printf(out, "%s%s", chapter->name, chapter->suffix);
}

static const char *
type_name(enum conf_type type)
{
    switch (type) {
    case CONF_BOOL:
        return "`on` or `off`";
    case CONF_U16:
    case CONF_U32:
    case CONF_U64:
        return "number";
    case CONF_SIZE:
        return "size";
    case CONF_DURATION:
        return "time";
    case CONF_STRING:
        return "text";
    case CONF_PATH:
        return "file name";
    case CONF_ENUM:
        return "one of";
    case CONF_FLAGS:
        return "any of";
    case CONF_ADDRESS:
        return "IP address with port";
    case CONF_PREFIXES:
        return "list of networks";
    case CONF_STRINGS:
        return "list of texts";
    case CONF_PAIRS:
        return "map of texts";
    case CONF_REF:
        return "name of an entry of";
    case CONF_REFS:
        return "list of names of entries of";
    case CONF_STRUCT:
        return "section";
    case CONF_STRUCT_LIST:
        return "list of sections";
    case CONF_STRUCT_MAP:
        return "map of sections";
    }
    abort();
}

static void
print_names(const struct conf_name *names, struct buf *out)
{
    for (const struct conf_name *n = names; n->name != NULL; n++)
        buf_printf(out, "%s`%s`", n == names ? " " : ", ", n->name);
}

/* The word of a list or reference; that of a number stands in the bounds. */
static void
print_word(const struct conf_field *field, struct buf *out)
{
    if (field->word != NULL && !conf_type_is_number(field->type))
        buf_printf(out, ", or `%s`", field->word);
}

static void
print_type(const struct conf_field *field, struct buf *out)
{
    struct buf bounds = {0};

    buf_add_str(out, type_name(field->type));
    if (field->names != NULL)
        print_names(field->names, out);
    if (field->target != NULL)
        buf_printf(out, " `%s`", field->target);
    if (conf_type_is_number(field->type)) {
        conf_bounds_print(field, &bounds);
        if (buf_length(&bounds) > 0)
            buf_printf(out, ", %s", buf_cstr(&bounds));
        buf_fini(&bounds);
    }
    if (field->unit != NULL)
        buf_printf(out, " (%s)", field->unit);
    if (field->prefix != NULL)
        buf_printf(out, ", with `%s` in front or without", field->prefix);
    print_word(field, out);
}

static void
print_default(const struct conf_field *field, struct buf *out)
{
    if (field->required)
        buf_add_str(out, "; required");
    else if (field->dflt_doc != NULL)
        buf_printf(out, "; default: %s", field->dflt_doc);
    else if (field->dflt != NULL && field->dflt[0] != '\0')
        buf_printf(out, "; default: `%s`", field->dflt);
    else
        buf_add_str(out, "; default: none");
}

static const char *
effect_text(enum conf_effect effect)
{
    switch (effect) {
    case CONF_AT_RELOAD:
        return "at reload";
    case CONF_NEW_SESSION:
        return "at reload, for new connections";
    case CONF_AT_RESTART:
        return "after a restart";
    }
    abort();
}

static bool
is_section(const struct conf_field *field)
{
    return field->table != NULL;
}

static void
print_setting(const struct conf_field *field, const struct chapter *chapter,
              struct buf *out)
{
    struct chapter path = {chapter, field->name, ""};

    buf_add_str(out, "\n### `");
    print_path(&path, out);
    buf_add_str(out, "`\n\n*");
    print_type(field, out);
    print_default(field, out);
    buf_printf(out, "; takes effect %s*\n\n%s\n", effect_text(field->effect),
               field->doc);
}

static void
print_entry_note(const struct conf_field *field, struct buf *out)
{
    const struct conf_table *table = field->table;

    if (field->has_default)
        buf_add_str(out, "\nThe entry `default` always exists.\n");
    if (table->inherit == CONF_INHERIT_DEFAULT)
        buf_add_str(out, "\nWhat an entry does not set, it takes from "
                         "`default`.\n");
    if (table->inherit == CONF_INHERIT_NAMED)
        buf_printf(out,
                   "\nWith `inherit: %s` an entry takes what it does not set "
                   "from that entry; without, from the defaults below.\n",
                   table->entry);
    if (table->short_doc != NULL)
        buf_printf(out, "\nShort form: %s\n", table->short_doc);
}

static void print_table(const struct conf_table *table,
                        const struct chapter *chapter, struct buf *out);

static void
print_section(const struct conf_field *field, const struct chapter *parent,
              struct buf *out)
{
    char suffix[32] = "";
    struct chapter chapter = {parent, field->name, suffix};
    const struct conf_table *table = field->table;

    if (field->type == CONF_STRUCT_MAP)
        snprintf(suffix, sizeof suffix, ".%s", table->entry);
    else if (field->type == CONF_STRUCT_LIST)
        snprintf(suffix, sizeof suffix, "[]");
    /* The only field of a bare struct has no name of its own in the file. */
    if (table->bare) {
        const struct conf_field *inner = &table->fields[0];

        chapter.name = field->name;
        buf_add_str(out, "\n## `");
        print_path(&chapter, out);
        buf_printf(out, "`\n\n%s\n\n*", field->doc);
        print_type(inner, out);
        buf_printf(out, "; takes effect %s*\n\n%s\n",
                   effect_text(inner->effect), inner->doc);
        print_entry_note(field, out);
        if (is_section(inner)) {
            print_entry_note(inner, out);
            snprintf(suffix, sizeof suffix, ".%s[]", table->entry);
            print_table(inner->table, &chapter, out);
        }
        return;
    }
    buf_add_str(out, "\n## `");
    print_path(&chapter, out);
    buf_printf(out, "`\n\n%s\n", field->doc);
    print_entry_note(field, out);
    print_table(table, &chapter, out);
}

/* Settings first, so that a section's own do not stand behind those of the
 * sections inside it. */
static void
print_table(const struct conf_table *table, const struct chapter *chapter,
            struct buf *out)
{
    if (table->doc != NULL)
        buf_printf(out, "\n%s\n", table->doc);
    for (size_t i = 0; i < table->count; i++)
        if (!is_section(&table->fields[i]))
            print_setting(&table->fields[i], chapter, out);
    for (size_t i = 0; i < table->count; i++)
        if (is_section(&table->fields[i]))
            print_section(&table->fields[i], chapter, out);
}

/* Breaks a paragraph at blanks; headings stay on one line. */
static void
wrap_line(struct sv line, struct buf *out)
{
    enum { WIDTH = 79 };
    bool heading = line.n > 0 && line.p[0] == '#';
    size_t column = 0;

    while (line.n > 0) {
        struct sv word = sv_take_until(&line, ' ');

        if (column > 0 && !heading && column + 1 + word.n > WIDTH) {
            buf_add_char(out, '\n');
            column = 0;
        } else if (column > 0) {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add(out, word);
        column += word.n;
    }
    buf_add_char(out, '\n');
}

void
conf_manual(const struct conf_table *root, struct buf *out)
{
    struct buf whole = {0};
    struct sv rest;

    print_table(root, NULL, &whole);
    rest = buf_view(&whole);
    while (rest.n > 0)
        wrap_line(sv_take_until(&rest, '\n'), out);
    buf_fini(&whole);
}
