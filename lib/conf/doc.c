#include "conf/doc.h"
#include "base/buf.h"
#include <stdarg.h>

struct place_key {
    const void *object;
    const struct conf_table *table;
};

static struct sv
key_view(const struct place_key *key)
{
    return (struct sv){(const char *)key, sizeof *key};
}

struct conf_place *
conf_place_get(const struct conf_doc *doc, const struct conf_table *table,
               const void *object)
{
    struct place_key key = {object, table};

    return map_get(&doc->places, key_view(&key));
}

struct conf_place *
conf_place_make(struct conf_doc *doc, const struct conf_table *table,
                const void *object)
{
    struct place_key key = {object, table};
    struct conf_place *place = conf_place_get(doc, table, object);

    if (place != NULL)
        return place;
    place = arena_alloc(doc->arena,
                        sizeof *place + table->count * sizeof place->fields[0]);
    place->path = "";
    place->at = (struct conf_mark){1, 1};
    map_put(&doc->places, key_view(&key), place);
    return place;
}

static void
inherit_fields(struct conf_place *to, const struct conf_place *from,
               size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to->fields[i] = from->fields[i];
        if (to->fields[i].kind == CONF_FROM_FILE)
            to->fields[i].kind = CONF_FROM_BASE;
    }
}

void
conf_place_inherit(struct conf_doc *doc, const struct conf_table *table,
                   const void *object, const void *base)
{
    const struct conf_place *from = conf_place_get(doc, table, base);

    if (from != NULL)
        inherit_fields(conf_place_make(doc, table, object), from, table->count);
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_field *field = &table->fields[i];

        if (field->type == CONF_STRUCT)
            conf_place_inherit(doc, field->table,
                               (const char *)object + field->offset,
                               (const char *)base + field->offset);
    }
}

void
conf_doc_free(struct conf_doc *doc)
{
    if (doc != NULL)
        map_fini(&doc->places);
}

static void
refuse_at(const struct conf_doc *doc, struct conf_mark at, const char *path,
          const char *name, struct err *err)
{
    err_wrap(err, "%s:%u:%u: %s%s%s", doc->name, at.line, at.column, path,
             path[0] == '\0' || name[0] == '\0' ? "" : ".", name);
}

static size_t
field_index(const struct conf_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->fields[i].name, name) == 0)
            return i;
    abort(); /* a check names a row that is not in the table */
}

bool
conf_given(const struct conf_doc *doc, const struct conf_table *table,
           const void *object, const char *name)
{
    const struct conf_place *place = conf_place_get(doc, table, object);
    size_t i = field_index(table, name);

    return place != NULL && place->fields[i].kind != CONF_FROM_DEFAULT;
}

bool
conf_given_here(const struct conf_doc *doc, const struct conf_table *table,
                const void *object, const char *name)
{
    const struct conf_place *place = conf_place_get(doc, table, object);
    size_t i = field_index(table, name);

    return place != NULL && place->fields[i].kind != CONF_FROM_DEFAULT &&
           place->fields[i].kind != CONF_FROM_BASE;
}

bool
conf_refuse(const struct conf_doc *doc, const struct conf_table *table,
            const void *object, const char *name, struct err *err,
            const char *fmt, ...)
{
    const struct conf_place *place = conf_place_get(doc, table, object);
    const struct conf_origin *origin;
    struct conf_mark at = {1, 1};
    struct buf text = {0};
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    err_set(err, "%s", buf_cstr(&text));
    buf_fini(&text);
    if (place != NULL)
        at = place->at;
    if (place != NULL && name != NULL) {
        origin = &place->fields[field_index(table, name)];
        if (origin->kind == CONF_FROM_FILE || origin->kind == CONF_FROM_ALIAS)
            at = origin->at;
    }
    refuse_at(doc, at, place != NULL ? place->path : "",
              table->bare || name == NULL ? "" : name, err);
    return false;
}

void
conf_note(struct conf_doc *doc, const struct conf_table *table,
          const void *object, const char *name, const char *note)
{
    struct conf_place *place = conf_place_make(doc, table, object);

    place->fields[field_index(table, name)].note =
        arena_cstr(doc->arena, sv_of(note));
}

unsigned
conf_line(const struct conf_doc *doc, const struct conf_table *table,
          const void *object, const char *name, const char **path)
{
    const struct conf_place *place = conf_place_get(doc, table, object);
    const struct conf_origin *origin;

    if (path != NULL)
        *path = place != NULL ? place->path : "";
    if (place == NULL)
        return 0;
    if (name == NULL)
        return place->at.line;
    origin = &place->fields[field_index(table, name)];
    return origin->kind == CONF_FROM_DEFAULT ? place->at.line : origin->at.line;
}

static bool
is_name_char(char c)
{
    return char_is_alnum(c) || c == '_' || c == '-';
}

void
conf_step_print(const struct conf_step *step, struct buf *out)
{
    struct sv rest;

    if (step == NULL)
        return;
    conf_step_print(step->parent, out);
    if (step->name.p == NULL) {
        buf_printf(out, "[%zu]", step->index);
        return;
    }
    if (buf_length(out) > 0)
        buf_add_char(out, '.');
    rest = step->name;
    sv_take_while(&rest, is_name_char);
    if (rest.n == 0 && step->name.n > 0) {
        buf_add(out, step->name);
    } else {
        char room[CONF_QUOTE_MAX];

        /* A name with dots would read like several steps. */
        buf_add_str(out, conf_quote(step->name, room));
    }
}
