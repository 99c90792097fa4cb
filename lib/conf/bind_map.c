/* Named entries: unique names, the entry "default", inheritance. */
#include "base/buf.h"
#include "conf/bind.h"

struct item {
    const struct conf_node *node;
    char *name; /* as kept */
    void *object;
    enum { ITEM_NEW, ITEM_BUSY, ITEM_DONE } state;
};

struct entries {
    struct conf_binder *b;
    const struct conf_table *table;
    const struct conf_step *step;
    struct item *items; /* in scratch */
    size_t count;
    struct map by_name; /* struct item */
};

static bool
is_name_char(char c)
{
    return char_is_alnum(c) || c == '_' || c == '.' || c == '-';
}

/* Names stand in logs, messages and paths. */
static bool
plain_name(const struct conf_scope *scope, struct sv text, char **kept,
           struct err *err)
{
    struct sv rest = text;
    char room[CONF_QUOTE_MAX];

    sv_take_while(&rest, is_name_char);
    if (text.n == 0 || text.n > 64 || rest.n > 0) {
        err_set(err,
                "%s is not a name (1 to 64 letters, digits, \"_\", \".\" and "
                "\"-\")",
                conf_quote(text, room));
        return false;
    }
    *kept = arena_cstr(scope->arena, text);
    return true;
}

static bool
add_item(struct entries *e, const struct conf_node *node, void *object)
{
    struct conf_binder *b = e->b;
    struct item *item = &e->items[e->count++];
    conf_canonical *canonical = e->table->name_canonical;
    const struct item *former;
    char room[CONF_QUOTE_MAX];

    if (canonical == NULL)
        canonical = plain_name;
    *item = (struct item){.node = node, .object = object};
    if (!canonical(&b->scope, node->key, &item->name, b->err))
        return conf_bind_fail(b, node->key_at, e->step);
    former = map_put(&e->by_name, sv_of(item->name), item);
    if (former == NULL)
        return true;
    err_set(b->err, "%s is the same as %s in line %u",
            conf_quote(node->key, room), former->name,
            former->node->key_at.line);
    return conf_bind_fail(b, node->key_at, e->step);
}

static void
publish(struct conf_binder *b, const struct conf_step *step,
        const struct item *item)
{
    struct buf key = {0};

    conf_step_print(step, &key);
    buf_add_char(&key, '.');
    buf_add_str(&key, item->name);
    map_put(&b->entries, buf_view(&key), item->object);
    buf_fini(&key);
}

static bool bind_item(struct entries *e, struct item *item);

/* What `inherit: NAME` names, bound; *base stays NULL without it. */
static bool
named_base(struct entries *e, struct item *item, struct item **base)
{
    const struct conf_node *node = conf_tree_get(item->node, SV("inherit"));
    struct conf_step entry = {e->step, sv_of(item->name), 0};
    struct conf_step inner = {&entry, SV("inherit"), 0};
    struct conf_nearest nearest;
    char room[CONF_QUOTE_MAX];

    if (node == NULL)
        return true;
    if (node->kind != CONF_SCALAR)
        return conf_bind_wrong_kind(e->b, node, &inner, CONF_SCALAR);
    *base = map_get(&e->by_name, node->text);
    if (*base == NULL) {
        nearest = (struct conf_nearest){.word = node->text};
        for (size_t i = 0; i < e->count; i++)
            conf_nearest_try(&nearest, e->items[i].name);
        err_set(e->b->err, "there is no entry %s",
                conf_quote(node->text, room));
        conf_nearest_say(&nearest, e->b->err);
        return conf_bind_fail(e->b, node->at, &inner);
    }
    if ((*base)->state == ITEM_BUSY)
        return conf_bind_refuse(e->b, node, &inner,
                                "%s inherits from %s: a circle", (*base)->name,
                                item->name);
    return bind_item(e, *base);
}

static bool
find_base(struct entries *e, struct item *item, struct item **base)
{
    *base = NULL;
    if (e->table->inherit == CONF_INHERIT_DEFAULT && item != &e->items[0])
        *base = &e->items[0];
    if (e->table->inherit == CONF_INHERIT_NAMED && item->node->kind == CONF_MAP)
        return named_base(e, item, base);
    return true;
}

static bool
bind_item(struct entries *e, struct item *item)
{
    struct conf_binder *b = e->b;
    const struct conf_table *table = e->table;
    struct conf_step step = {e->step, sv_of(item->name), 0};
    struct item *base;

    if (item->state == ITEM_DONE)
        return true;
    item->state = ITEM_BUSY;
    if (!find_base(e, item, &base))
        return false;
    if (base != NULL) {
        memcpy(item->object, base->object, table->size);
        conf_place_inherit(b->doc, table, item->object, base->object);
    } else {
        memcpy(item->object, conf_bind_defaults(b, table), table->size);
    }
    memcpy((char *)item->object + table->name_offset, &item->name,
           sizeof item->name);
    if (!conf_bind_struct(b, table, item->node, item->object, &step))
        return false;
    if (base != NULL && table->inherit == CONF_INHERIT_NAMED)
        conf_place_make(b->doc, table, item->object)->base = base->name;
    item->state = ITEM_DONE;
    publish(b, e->step, item);
    return true;
}

/* "default" goes first, made up where the file has none. */
static bool
add_default(struct entries *e, const struct conf_node *map, void *object,
            const struct conf_node **used)
{
    struct conf_node *none;

    *used = conf_tree_get(map, SV("default"));
    if (*used != NULL)
        return add_item(e, *used, object);
    none = arena_alloc(&e->b->scratch, sizeof *none);
    none->kind = CONF_MAP;
    none->at = map->at;
    none->key = SV("default");
    none->key_at = map->at;
    return add_item(e, none, object);
}

static bool
bind_all(struct entries *e, const struct conf_field *field,
         const struct conf_node *node, char *array)
{
    const struct conf_node *first = NULL;
    size_t size = e->table->size;

    if (field->has_default && !add_default(e, node, array, &first))
        return false;
    for (const struct conf_node *c = node->first; c != NULL; c = c->next)
        if (c != first && !add_item(e, c, array + e->count * size))
            return false;
    for (size_t i = 0; i < e->count; i++)
        if (!bind_item(e, &e->items[i]))
            return false;
    return true;
}

bool
conf_bind_map(struct conf_binder *b, const struct conf_field *field,
              const struct conf_node *node, void *object,
              const struct conf_step *step)
{
    struct entries e = {.b = b, .table = field->table, .step = step};
    char *array;
    bool ok;

    /* Inheritance from "default" needs one. */
    assert(field->table->inherit != CONF_INHERIT_DEFAULT || field->has_default);
    if (node->kind != CONF_MAP)
        return conf_bind_wrong_kind(b, node, step, CONF_MAP);
    if (!conf_bind_count(b, field, node->count, node, step))
        return false;
    e.items = arena_alloc(&b->scratch, (node->count + 1) * sizeof *e.items);
    array = arena_alloc(b->doc->arena, (node->count + 1) * e.table->size);
    ok = bind_all(&e, field, node, array);
    map_fini(&e.by_name);
    if (ok)
        conf_bind_store_array(field, object, array, e.count);
    return ok;
}
