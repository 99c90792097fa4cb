/* The loaded object as YAML: block maps, one setting a line, short lists and
 * flags in brackets. */
#include "base/buf.h"
#include "conf/doc.h"
#include "conf/value.h"

struct printer {
    const struct conf_doc *doc;
    bool effective;
    struct buf *out;
};

/* What stands in front of a value: its key and where it came from. */
struct line {
    const char *key;
    struct conf_origin origin;
    unsigned indent;
};

static void print_struct(struct printer *p, const struct conf_table *table,
                         const void *object, unsigned indent);

static void
begin_line(struct printer *p, const struct line *line)
{
    buf_printf(p->out, "%*s", (int)line->indent, "");
    conf_string_print(sv_of(line->key), p->out);
    buf_add_char(p->out, ':');
}

static void
print_origin(const struct conf_origin *o, struct buf *out)
{
    buf_add_str(out, "  # ");
    if (o->kind == CONF_FROM_DEFAULT)
        buf_add_str(out, "default");
    else if (o->kind == CONF_FROM_ALIAS)
        buf_printf(out, "advanced setting %s, line %u", o->alias, o->at.line);
    else
        buf_printf(out, "%sline %u",
                   o->kind == CONF_FROM_BASE ? "inherited from " : "",
                   o->at.line);
    if (o->note != NULL)
        buf_printf(out, "; %s", o->note);
}

static void
end_line(struct printer *p, const struct line *line)
{
    const struct conf_origin *o = &line->origin;

    if (p->effective)
        print_origin(o, p->out);
    buf_add_char(p->out, '\n');
}

static void
array_of(const struct conf_field *field, const void *object, const char **array,
         size_t *count)
{
    memcpy(array, conf_member_const(field, object), sizeof *array);
    memcpy(count, (const char *)object + field->count_offset, sizeof *count);
}

static void
print_prefix(const struct net_prefix *prefix, struct buf *out)
{
    struct net_address address = {0};
    char room[NET_ADDRESS_TEXT];

    address.sa.sa_family = prefix->family;
    if (prefix->family == AF_INET)
        memcpy(&address.in.sin_addr, prefix->bytes, 4);
    else
        memcpy(&address.in6.sin6_addr, prefix->bytes, 16);
    buf_printf(out, "\"%s/%u\"", net_address_ip_text(&address, room),
               prefix->bits);
}

static void
print_ref(const struct conf_field *field, const struct conf_doc *doc,
          const void *entry, struct buf *out)
{
    const struct conf_table *root = doc->root;
    const char *name = field->word;

    for (size_t i = 0; entry != NULL && i < root->count; i++)
        if (strcmp(root->fields[i].name, field->target) == 0)
            memcpy(&name,
                   (const char *)entry + root->fields[i].table->name_offset,
                   sizeof name);
    conf_string_print(sv_of(name), out);
}

static void
print_pair(const char *pair, struct buf *out)
{
    struct sv rest = sv_of(pair);
    struct sv key = sv_take_until(&rest, '=');

    conf_string_print(key, out);
    buf_add_str(out, ": ");
    conf_string_print(rest, out);
}

static void
print_element(struct printer *p, const struct conf_field *field,
              const char *array, size_t i)
{
    const void *const *pointers = (const void *const *)(const void *)array;

    if (field->type == CONF_PREFIXES)
        print_prefix((const struct net_prefix *)(const void *)array + i,
                     p->out);
    else if (field->type == CONF_REFS)
        print_ref(field, p->doc, pointers[i], p->out);
    else if (field->type == CONF_PAIRS)
        print_pair(pointers[i], p->out);
    else
        conf_string_print(sv_of(pointers[i]), p->out);
}

static void
print_elements(struct printer *p, const struct conf_field *field,
               const void *object)
{
    const char *brackets = field->type == CONF_PAIRS ? "{}" : "[]";
    const char *array;
    size_t count;

    array_of(field, object, &array, &count);
    if (count == 0 && field->word != NULL) {
        buf_add_str(p->out, field->word);
        return;
    }
    buf_add_char(p->out, brackets[0]);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_str(p->out, ", ");
        print_element(p, field, array, i);
    }
    buf_add_char(p->out, brackets[1]);
}

static void
print_flags(const struct conf_field *field, const void *object, struct buf *out)
{
    unsigned flags;

    memcpy(&flags, conf_member_const(field, object), sizeof flags);
    for (const struct conf_name *n = field->names; n->name != NULL; n++)
        buf_printf(out, "%s%s: %s", n == field->names ? "{" : ", ", n->name,
                   (flags & n->value) != 0 ? "on" : "off");
    buf_add_char(out, '}');
}

static void
print_inline(struct printer *p, const struct conf_field *field,
             const void *object)
{
    const void *entry;

    if (conf_type_is_scalar(field->type)) {
        conf_value_print(field, object, p->out);
    } else if (field->type == CONF_FLAGS) {
        print_flags(field, object, p->out);
    } else if (field->type == CONF_REF) {
        memcpy(&entry, conf_member_const(field, object), sizeof entry);
        print_ref(field, p->doc, entry, p->out);
    } else {
        print_elements(p, field, object);
    }
}

static void
print_list_of_structs(struct printer *p, const struct conf_field *field,
                      const void *object, const struct line *line)
{
    const char *array;
    size_t count;

    array_of(field, object, &array, &count);
    begin_line(p, line);
    if (count == 0) {
        buf_printf(p->out, " %s", field->word != NULL ? field->word : "[]");
        end_line(p, line);
        return;
    }
    buf_add_char(p->out, '\n');
    for (size_t i = 0; i < count; i++) {
        size_t start = buf_length(p->out);
        unsigned indent = line->indent + 4;

        print_struct(p, field->table, array + i * field->table->size, indent);
        /* The first line of the element carries the dash. */
        if (buf_length(p->out) > start)
            buf_cstr(p->out)[start + indent - 2] = '-';
        else
            buf_printf(p->out, "%*s- {}\n", (int)indent - 2, "");
    }
}

static void print_field(struct printer *p, const struct conf_field *field,
                        const void *object, const struct line *line);

static void
print_nested(struct printer *p, const struct conf_table *table,
             const void *object, const struct line *line)
{
    size_t start;

    begin_line(p, line);
    buf_add_char(p->out, '\n');
    start = buf_length(p->out);
    print_struct(p, table, object, line->indent + 2);
    if (buf_length(p->out) > start)
        return;
    /* Nothing inside: the line break goes, an empty map comes. */
    p->out->end--;
    buf_add_str(p->out, " {}\n");
}

static bool
anything_given(const struct conf_table *table, const struct conf_place *place)
{
    if (place == NULL)
        return false;
    for (size_t i = 0; i < table->count; i++)
        if (place->fields[i].kind != CONF_FROM_DEFAULT)
            return true;
    return place->base != NULL;
}

static void
print_entry(struct printer *p, const struct conf_field *map, const char *entry,
            unsigned indent)
{
    const struct conf_table *table = map->table;
    const struct conf_place *place = conf_place_get(p->doc, table, entry);
    struct line line = {.indent = indent};

    memcpy(&line.key, entry + table->name_offset, sizeof line.key);
    if (!p->effective && map->has_default && strcmp(line.key, "default") == 0 &&
        !anything_given(table, place))
        return;
    if (!table->bare) {
        print_nested(p, table, entry, &line);
        return;
    }
    if (place != NULL)
        line.origin = place->fields[0];
    print_field(p, &table->fields[0], entry, &line);
}

static void
print_map(struct printer *p, const struct conf_field *field, const void *object,
          const struct line *line)
{
    const char *array;
    size_t count, start;

    array_of(field, object, &array, &count);
    begin_line(p, line);
    if (count == 0) {
        buf_add_str(p->out, " {}");
        end_line(p, line);
        return;
    }
    buf_add_char(p->out, '\n');
    start = buf_length(p->out);
    for (size_t i = 0; i < count; i++)
        print_entry(p, field, array + i * field->table->size, line->indent + 2);
    if (buf_length(p->out) == start) {
        p->out->end--;
        buf_add_str(p->out, " {}\n");
    }
}

static void
print_field(struct printer *p, const struct conf_field *field,
            const void *object, const struct line *line)
{
    if (field->type == CONF_STRUCT) {
        print_nested(p, field->table, conf_member_const(field, object), line);
    } else if (field->type == CONF_STRUCT_LIST) {
        print_list_of_structs(p, field, object, line);
    } else if (field->type == CONF_STRUCT_MAP) {
        print_map(p, field, object, line);
    } else {
        begin_line(p, line);
        buf_add_char(p->out, ' ');
        print_inline(p, field, object);
        end_line(p, line);
    }
}

static void
print_struct(struct printer *p, const struct conf_table *table,
             const void *object, unsigned indent)
{
    const struct conf_place *place = conf_place_get(p->doc, table, object);

    if (!p->effective && place != NULL && place->base != NULL) {
        buf_printf(p->out, "%*sinherit: ", (int)indent, "");
        conf_string_print(sv_of(place->base), p->out);
        buf_add_char(p->out, '\n');
    }
    for (size_t i = 0; i < table->count; i++) {
        struct line line = {.key = table->fields[i].name, .indent = indent};

        if (place != NULL)
            line.origin = place->fields[i];
        if (!p->effective && line.origin.kind != CONF_FROM_FILE)
            continue;
        print_field(p, &table->fields[i], object, &line);
    }
}

void
conf_print(const struct conf_doc *doc, bool effective, struct buf *out)
{
    struct printer p = {doc, effective, out};

    print_struct(&p, doc->root, doc->object, 0);
}

void
conf_print_value(const struct conf_doc *doc, const struct conf_table *table,
                 const void *object, const char *name, struct buf *out)
{
    struct printer p = {.doc = doc, .out = out};

    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->fields[i].name, name) == 0)
            print_inline(&p, &table->fields[i], object);
}
