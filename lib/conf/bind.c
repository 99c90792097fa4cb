#include "conf/bind.h"
#include "base/buf.h"
#include <stdarg.h>

bool
conf_bind_fail(struct conf_binder *b, struct conf_mark at,
               const struct conf_step *step)
{
    struct buf path = {0};

    conf_step_print(step, &path);
    if (buf_length(&path) > 0)
        err_wrap(b->err, "%s:%u:%u: %s", b->doc->name, at.line, at.column,
                 buf_cstr(&path));
    else
        err_wrap(b->err, "%s:%u:%u", b->doc->name, at.line, at.column);
    buf_fini(&path);
    return false;
}

bool
conf_bind_refuse(struct conf_binder *b, const struct conf_node *node,
                 const struct conf_step *step, const char *fmt, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    err_set(b->err, "%s", buf_cstr(&text));
    buf_fini(&text);
    return conf_bind_fail(b, node->at, step);
}

bool
conf_bind_wrong_kind(struct conf_binder *b, const struct conf_node *node,
                     const struct conf_step *step, enum conf_kind wanted)
{
    if (node->kind == CONF_SCALAR && node->plain && node->text.n == 0)
        return conf_bind_refuse(b, node, step,
                                "has no value; give it one or remove it");
    return conf_bind_refuse(b, node, step, "must be %s, not %s",
                            conf_kind_name(wanted), conf_kind_name(node->kind));
}

/* Single values */

static bool
bind_scalar(struct conf_binder *b, const struct conf_field *field,
            const struct conf_node *node, void *object,
            const struct conf_step *step)
{
    if (node->kind != CONF_SCALAR ||
        (node->plain && node->text.n == 0 && !b->in_defaults))
        return conf_bind_wrong_kind(b, node, step, CONF_SCALAR);
    if (conf_value_parse(field, &b->scope, node->text, object, b->err))
        return true;
    return conf_bind_fail(b, node->at, step);
}

static const struct conf_name *
flag_find(struct conf_binder *b, const struct conf_field *field, struct sv name)
{
    struct conf_nearest nearest = {.word = name};
    char room[CONF_QUOTE_MAX];
    struct buf names = {0};

    for (const struct conf_name *n = field->names; n->name != NULL; n++) {
        if (sv_is(name, n->name)) {
            buf_fini(&names);
            return n;
        }
        conf_nearest_try(&nearest, n->name);
        buf_printf(&names, "%s%s", n == field->names ? "" : ", ", n->name);
    }
    err_set(b->err, "%s is none of: %s", conf_quote(name, room),
            buf_cstr(&names));
    conf_nearest_say(&nearest, b->err);
    buf_fini(&names);
    return NULL;
}

/* {name: on, name: off}: the others stay as they are. */
static bool
bind_flag_changes(struct conf_binder *b, const struct conf_field *field,
                  const struct conf_node *node, unsigned *flags,
                  const struct conf_step *step)
{
    for (const struct conf_node *c = node->first; c != NULL; c = c->next) {
        struct conf_step inner = {step, c->key, 0};
        const struct conf_name *flag = flag_find(b, field, c->key);
        bool on;

        if (flag == NULL)
            return conf_bind_fail(b, c->key_at, step);
        if (c->kind != CONF_SCALAR)
            return conf_bind_wrong_kind(b, c, &inner, CONF_SCALAR);
        if (!conf_bool_parse(c->text, &on, b->err))
            return conf_bind_fail(b, c->at, &inner);
        *flags = on ? *flags | flag->value : *flags & ~flag->value;
    }
    return true;
}

/* [name, name]: these and no others. */
static bool
bind_flag_list(struct conf_binder *b, const struct conf_field *field,
               const struct conf_node *node, unsigned *flags,
               const struct conf_step *step)
{
    *flags = 0;
    for (const struct conf_node *c = node->first; c != NULL; c = c->next) {
        const struct conf_name *flag;

        if (c->kind != CONF_SCALAR)
            return conf_bind_wrong_kind(b, c, step, CONF_SCALAR);
        flag = flag_find(b, field, c->text);
        if (flag == NULL)
            return conf_bind_fail(b, c->at, step);
        *flags |= flag->value;
    }
    return true;
}

static bool
bind_flags(struct conf_binder *b, const struct conf_field *field,
           const struct conf_node *node, void *object,
           const struct conf_step *step)
{
    unsigned *flags = conf_member(field, object);

    if (node->kind == CONF_MAP)
        return bind_flag_changes(b, field, node, flags, step);
    if (node->kind == CONF_LIST)
        return bind_flag_list(b, field, node, flags, step);
    return conf_bind_refuse(b, node, step,
                            "must be a map {NAME: on} or a list [NAME], not a "
                            "single value");
}

/* Structs */

static bool
bind_member(struct conf_binder *b, const struct conf_field *field,
            const struct conf_node *node, void *object,
            const struct conf_step *step)
{
    switch (field->type) {
    case CONF_FLAGS:
        return bind_flags(b, field, node, object, step);
    case CONF_PREFIXES:
        return conf_bind_prefixes(b, field, node, object, step);
    case CONF_STRINGS:
        return conf_bind_strings(b, field, node, object, step);
    case CONF_PAIRS:
        return conf_bind_pairs(b, field, node, object, step);
    case CONF_REF:
        return conf_bind_ref(b, field, node, object, step);
    case CONF_REFS:
        return conf_bind_refs(b, field, node, object, step);
    case CONF_STRUCT:
        return conf_bind_struct(b, field->table, node,
                                conf_member(field, object), step);
    case CONF_STRUCT_LIST:
        return conf_bind_struct_list(b, field, node, object, step);
    case CONF_STRUCT_MAP:
        return conf_bind_map(b, field, node, object, step);
    case CONF_BOOL:
    case CONF_U16:
    case CONF_U32:
    case CONF_U64:
    case CONF_SIZE:
    case CONF_DURATION:
    case CONF_STRING:
    case CONF_PATH:
    case CONF_ENUM:
    case CONF_ADDRESS:
        return bind_scalar(b, field, node, object, step);
    }
    abort();
}

static const struct conf_field *
find_field(const struct conf_table *table, struct sv name)
{
    for (size_t i = 0; i < table->count; i++)
        if (sv_is(name, table->fields[i].name))
            return &table->fields[i];
    return NULL;
}

static bool
check_keys(struct conf_binder *b, const struct conf_table *table,
           const struct conf_node *node, const struct conf_step *step)
{
    for (const struct conf_node *c = node->first; c != NULL; c = c->next) {
        struct conf_nearest nearest = {.word = c->key};
        struct conf_step inner = {step, c->key, 0};

        if (find_field(table, c->key) != NULL ||
            (table->inherit == CONF_INHERIT_NAMED && sv_is(c->key, "inherit")))
            continue;
        for (size_t i = 0; i < table->count; i++)
            conf_nearest_try(&nearest, table->fields[i].name);
        err_set(b->err, "there is no such setting");
        conf_nearest_say(&nearest, b->err);
        return conf_bind_fail(b, c->key_at, &inner);
    }
    return true;
}

/* A map that always has the entry "default" is made also when the file does
 * not mention it. */
static bool
bind_missing(struct conf_binder *b, const struct conf_table *table,
             const struct conf_field *field, const struct conf_node *node,
             void *object, const struct conf_step *step)
{
    const struct conf_place *place = conf_place_get(b->doc, table, object);
    struct conf_step inner = {step, sv_of(field->name), 0};
    struct conf_node none = {.kind = CONF_MAP, .at = node->at};

    if (field->type == CONF_STRUCT_MAP && field->has_default)
        return conf_bind_map(b, field, &none, object, &inner);
    if (field->required &&
        place->fields[field - table->fields].kind == CONF_FROM_DEFAULT)
        return conf_bind_refuse(b, node, &inner, "is required");
    return true;
}

static struct conf_origin
origin_of(struct conf_binder *b, const struct conf_node *node)
{
    if (node->alias.n == 0)
        return (struct conf_origin){.kind = CONF_FROM_FILE, .at = node->at};
    return (struct conf_origin){.kind = CONF_FROM_ALIAS,
                                .at = node->key_at,
                                .alias =
                                    arena_cstr(b->doc->arena, node->alias)};
}

static bool
bind_fields(struct conf_binder *b, const struct conf_table *table,
            const struct conf_node *node, void *object,
            const struct conf_step *step)
{
    struct conf_place *place = conf_place_make(b->doc, table, object);

    for (size_t i = 0; i < table->count; i++) {
        const struct conf_field *field = &table->fields[i];
        const struct conf_node *child = conf_tree_get(node, sv_of(field->name));
        struct conf_step inner = {step, sv_of(field->name), 0};

        if (child == NULL) {
            if (!bind_missing(b, table, field, node, object, step))
                return false;
            continue;
        }
        if (!bind_member(b, field, child, object, &inner))
            return false;
        place->fields[i] = origin_of(b, child);
    }
    return true;
}

static struct conf_place *
place_here(struct conf_binder *b, const struct conf_table *table,
           const struct conf_node *node, const void *object,
           const struct conf_step *step)
{
    struct conf_place *place = conf_place_make(b->doc, table, object);
    struct buf path = {0};

    conf_step_print(step, &path);
    place->path = arena_cstr(b->doc->arena, buf_view(&path));
    place->at = node->key.p != NULL ? node->key_at : node->at;
    buf_fini(&path);
    return place;
}

/* The short form does not say which fields it sets: those that now differ
 * from the default. */
static void
mark_changed(struct conf_binder *b, struct conf_place *place,
             const struct conf_table *table, const struct conf_node *node,
             const void *object)
{
    const void *defaults = conf_bind_defaults(b, table);
    struct buf is = {0}, was = {0};

    for (size_t i = 0; i < table->count; i++) {
        assert(conf_type_is_scalar(table->fields[i].type));
        buf_reset(&is);
        buf_reset(&was);
        conf_value_print(&table->fields[i], object, &is);
        conf_value_print(&table->fields[i], defaults, &was);
        if (!sv_eq(buf_view(&is), buf_view(&was)))
            place->fields[i] =
                (struct conf_origin){.kind = CONF_FROM_FILE, .at = node->at};
    }
    buf_fini(&is);
    buf_fini(&was);
}

bool
conf_bind_struct(struct conf_binder *b, const struct conf_table *table,
                 const struct conf_node *node, void *object,
                 const struct conf_step *step)
{
    struct conf_place *place = place_here(b, table, node, object, step);

    if (table->bare) {
        place->fields[0] =
            (struct conf_origin){.kind = CONF_FROM_FILE, .at = node->at};
        return bind_member(b, &table->fields[0], node, object, step);
    }
    if (node->kind == CONF_SCALAR && node->text.n > 0 &&
        table->from_text != NULL) {
        if (!table->from_text(&b->scope, node->text, object, b->err))
            return conf_bind_fail(b, node->at, step);
        mark_changed(b, place, table, node, object);
        return true;
    }
    if (node->kind != CONF_MAP)
        return conf_bind_wrong_kind(b, node, step, CONF_MAP);
    return check_keys(b, table, node, step) &&
           bind_fields(b, table, node, object, step);
}

/* Defaults */

/* Plain words need no YAML parser. */
static struct conf_node *
default_node(struct conf_binder *b, const char *text)
{
    struct conf_node *node;

    if (text[0] == '{' || text[0] == '[')
        return conf_tree_parse(&b->scratch, sv_of(text), "default", b->err);
    node = arena_alloc(&b->scratch, sizeof *node);
    node->text = sv_of(text);
    node->plain = true;
    return node;
}

static void
bind_default(struct conf_binder *b, const struct conf_field *field,
             void *object)
{
    struct conf_step step = {NULL, sv_of(field->name), 0};
    struct conf_node *node;

    if (field->type == CONF_STRUCT) {
        memcpy(conf_member(field, object), conf_bind_defaults(b, field->table),
               field->table->size);
        return;
    }
    if (field->dflt == NULL) {
        char *nothing = arena_cstr(b->doc->arena, SV(""));

        if (field->type == CONF_STRING || field->type == CONF_PATH)
            memcpy(conf_member(field, object), &nothing, sizeof nothing);
        return;
    }
    node = default_node(b, field->dflt);
    if (node == NULL || !bind_member(b, field, node, object, &step)) {
        /* The table contradicts itself: a bug, and every test finds it. */
        fprintf(stderr, "bad default: %s\n", b->err->text);
        abort();
    }
}

const void *
conf_bind_defaults(struct conf_binder *b, const struct conf_table *table)
{
    const uintptr_t id = (uintptr_t)table;
    struct sv key = {(const char *)&id, sizeof id};
    void *object = map_get(&b->defaults, key);
    bool before = b->in_defaults;

    if (object != NULL)
        return object;
    object = arena_alloc(b->doc->arena, table->size);
    b->in_defaults = true;
    for (size_t i = 0; i < table->count; i++)
        bind_default(b, &table->fields[i], object);
    b->in_defaults = before;
    map_put(&b->defaults, key, object);
    return object;
}

static bool
load_tree(struct conf_binder *b, struct sv text)
{
    struct conf_doc *doc = b->doc;
    struct conf_node *tree =
        conf_tree_parse(&b->scratch, text, doc->name, b->err);

    if (tree == NULL || !conf_alias_apply(b, tree))
        return false;
    memcpy(doc->object, conf_bind_defaults(b, doc->root), doc->root->size);
    return conf_bind_struct(b, doc->root, tree, doc->object, NULL);
}

struct conf_doc *
conf_load(const struct conf_table *root, void *object,
          const struct conf_source *source, struct arena *arena,
          struct err *err)
{
    struct err local; /* the binder reads what it has written */
    struct conf_binder b = {.err = &local};
    struct conf_doc *doc = arena_alloc(arena, sizeof *doc);
    bool ok;

    doc->arena = arena;
    doc->name = arena_cstr(arena, sv_of(source->name));
    doc->root = root;
    doc->object = object;
    b.doc = doc;
    b.scope =
        (struct conf_scope){arena, arena_cstr(arena, sv_of(source->directory))};
    arena_init(&b.scratch, 16384);
    ok = load_tree(&b, source->text);
    map_fini(&b.defaults);
    map_fini(&b.entries);
    arena_fini(&b.scratch);
    if (ok)
        return doc;
    err_set(err, "%s", local.text);
    conf_doc_free(doc);
    return NULL;
}
