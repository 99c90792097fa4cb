/* Lists and references.  A list of one may be written as its element. */
#include "base/buf.h"
#include "conf/bind.h"

/* The elements of a node as a chain: a list's children, or the node itself.
 * False where the kinds do not fit. */
struct elements {
    const struct conf_node *first;
    size_t count;
    bool single; /* first is the node itself: its siblings do not belong */
};

static bool
elements_of(struct conf_binder *b, const struct conf_field *field,
            const struct conf_node *node, const struct conf_step *step,
            struct elements *out)
{
    *out = (struct elements){0};
    if (node->kind == CONF_LIST)
        *out = (struct elements){node->first, node->count, false};
    else if (node->kind == CONF_SCALAR && field->word != NULL &&
             sv_is(node->text, field->word))
        return true;
    else if ((node->kind == CONF_SCALAR && node->text.n > 0) ||
             (node->kind == CONF_MAP && field->type == CONF_STRUCT_LIST))
        *out = (struct elements){node, 1, true};
    else
        return conf_bind_wrong_kind(b, node, step, CONF_LIST);
    return conf_bind_count(b, field, out->count, node, step);
}

static const struct conf_node *
element_next(const struct elements *e, const struct conf_node *node)
{
    return e->single ? NULL : node->next;
}

static struct conf_step
element_step(const struct elements *e, const struct conf_step *step, size_t i)
{
    if (e->single)
        return *step;
    return (struct conf_step){step, {0}, i};
}

bool
conf_bind_count(struct conf_binder *b, const struct conf_field *field,
                size_t count, const struct conf_node *node,
                const struct conf_step *step)
{
    size_t max = field->max != 0 ? (size_t)field->max : CONF_ENTRIES_MAX;

    if (count > max)
        return conf_bind_refuse(
            b, node, step, "has %zu entries; %zu are the most", count, max);
    if (count < field->min)
        return conf_bind_refuse(b, node, step, "needs at least %zu %s",
                                (size_t)field->min,
                                field->min == 1 ? "entry" : "entries");
    return true;
}

void
conf_bind_store_array(const struct conf_field *field, void *object, void *array,
                      size_t count)
{
    memcpy(conf_member(field, object), &array, sizeof array);
    memcpy((char *)object + field->count_offset, &count, sizeof count);
}

/* Texts */

static bool
string_element(struct conf_binder *b, const struct conf_field *field,
               const struct conf_node *node, char **kept,
               const struct conf_step *step)
{
    if (node->kind != CONF_SCALAR)
        return conf_bind_wrong_kind(b, node, step, CONF_SCALAR);
    if (node->text.n == 0)
        return conf_bind_refuse(b, node, step, "must not be empty");
    if (conf_string_parse(field, &b->scope, node->text, kept, b->err))
        return true;
    return conf_bind_fail(b, node->at, step);
}

bool
conf_bind_strings(struct conf_binder *b, const struct conf_field *field,
                  const struct conf_node *node, void *object,
                  const struct conf_step *step)
{
    struct elements e;
    char **array;
    size_t n = 0;

    if (!elements_of(b, field, node, step, &e))
        return false;
    array = arena_alloc(b->doc->arena, e.count * sizeof *array);
    for (const struct conf_node *c = e.first; c != NULL && n < e.count;
         c = element_next(&e, c), n++) {
        struct conf_step inner = element_step(&e, step, n);

        if (!string_element(b, field, c, &array[n], &inner))
            return false;
    }
    conf_bind_store_array(field, object, array, n);
    return true;
}

bool
conf_bind_pairs(struct conf_binder *b, const struct conf_field *field,
                const struct conf_node *node, void *object,
                const struct conf_step *step)
{
    char **array;
    size_t n = 0;

    if (node->kind != CONF_MAP)
        return conf_bind_wrong_kind(b, node, step, CONF_MAP);
    if (!conf_bind_count(b, field, node->count, node, step))
        return false;
    array = arena_alloc(b->doc->arena, node->count * sizeof *array);
    for (const struct conf_node *c = node->first; c != NULL; c = c->next) {
        struct conf_step inner = {step, c->key, 0};
        struct conf_node pair = *c;

        if (c->kind == CONF_SCALAR)
            pair.text = arena_printf(&b->scratch, "%.*s=%.*s", SV_ARG(c->key),
                                     SV_ARG(c->text));
        if (!string_element(b, field, &pair, &array[n++], &inner))
            return false;
    }
    conf_bind_store_array(field, object, array, n);
    return true;
}

bool
conf_bind_prefixes(struct conf_binder *b, const struct conf_field *field,
                   const struct conf_node *node, void *object,
                   const struct conf_step *step)
{
    struct elements e;
    struct net_prefix *array;
    size_t n = 0;

    if (!elements_of(b, field, node, step, &e))
        return false;
    array = arena_alloc(b->doc->arena, e.count * sizeof *array);
    for (const struct conf_node *c = e.first; c != NULL;
         c = element_next(&e, c)) {
        struct conf_step inner = element_step(&e, step, n);

        if (c->kind != CONF_SCALAR)
            return conf_bind_wrong_kind(b, c, &inner, CONF_SCALAR);
        if (!net_prefix_parse(c->text, &array[n++], b->err))
            return conf_bind_fail(b, c->at, &inner);
    }
    conf_bind_store_array(field, object, array, n);
    return true;
}

/* References */

const struct conf_field *
conf_bind_target(const struct conf_binder *b, const char *name)
{
    const struct conf_table *root = b->doc->root;

    for (size_t i = 0; i < root->count; i++)
        if (strcmp(root->fields[i].name, name) == 0)
            return &root->fields[i];
    abort(); /* a row names a map that is not in the root table */
}

void *
conf_bind_entry(const struct conf_binder *b, struct sv map, struct sv name)
{
    struct buf key = {0};
    void *entry;

    buf_add(&key, map);
    buf_add_char(&key, '.');
    buf_add(&key, name);
    entry = map_get(&b->entries, buf_view(&key));
    buf_fini(&key);
    return entry;
}

/* Says which names there are: the administrator is looking for one. */
static bool
refuse_dangling(struct conf_binder *b, const struct conf_field *target,
                const struct conf_node *node, const struct conf_step *step)
{
    enum { NAMES_MAX = 8 };
    struct conf_nearest nearest = {.word = node->text};
    const struct conf_table *table = target->table;
    const char *entries;
    size_t count;
    struct buf names = {0};
    char room[CONF_QUOTE_MAX];

    memcpy(&entries, (char *)b->doc->object + target->offset, sizeof entries);
    memcpy(&count, (char *)b->doc->object + target->count_offset, sizeof count);
    for (size_t i = 0; i < count; i++) {
        const char *name;

        memcpy(&name, entries + i * table->size + table->name_offset,
               sizeof name);
        conf_nearest_try(&nearest, name);
        if (i < NAMES_MAX)
            buf_printf(&names, "%s%s", i == 0 ? "" : ", ", name);
        else if (i == NAMES_MAX)
            buf_add_str(&names, ", ...");
    }
    err_set(b->err, "%s does not exist in %s (there %s%s)",
            conf_quote(node->text, room), target->name,
            count == 0   ? "are none"
            : count == 1 ? "is: "
                         : "are: ",
            buf_cstr(&names));
    conf_nearest_say(&nearest, b->err);
    buf_fini(&names);
    return conf_bind_fail(b, node->at, step);
}

static bool
ref_find(struct conf_binder *b, const struct conf_field *field,
         const struct conf_node *node, const struct conf_step *step,
         void **entry)
{
    if (node->kind != CONF_SCALAR || (node->plain && node->text.n == 0))
        return conf_bind_wrong_kind(b, node, step, CONF_SCALAR);
    *entry = conf_bind_entry(b, sv_of(field->target), node->text);
    if (*entry != NULL)
        return true;
    return refuse_dangling(b, conf_bind_target(b, field->target), node, step);
}

bool
conf_bind_ref(struct conf_binder *b, const struct conf_field *field,
              const struct conf_node *node, void *object,
              const struct conf_step *step)
{
    void *entry = NULL;

    if (node->kind != CONF_SCALAR || field->word == NULL ||
        !sv_is(node->text, field->word))
        if (!ref_find(b, field, node, step, &entry))
            return false;
    memcpy(conf_member(field, object), &entry, sizeof entry);
    return true;
}

bool
conf_bind_refs(struct conf_binder *b, const struct conf_field *field,
               const struct conf_node *node, void *object,
               const struct conf_step *step)
{
    struct elements e;
    void **array;
    size_t n = 0;

    if (!elements_of(b, field, node, step, &e))
        return false;
    array = arena_alloc(b->doc->arena, e.count * sizeof *array);
    for (const struct conf_node *c = e.first; c != NULL;
         c = element_next(&e, c)) {
        struct conf_step inner = element_step(&e, step, n);

        if (!ref_find(b, field, c, &inner, &array[n++]))
            return false;
    }
    conf_bind_store_array(field, object, array, n);
    return true;
}

bool
conf_bind_struct_list(struct conf_binder *b, const struct conf_field *field,
                      const struct conf_node *node, void *object,
                      const struct conf_step *step)
{
    const struct conf_table *table = field->table;
    struct elements e;
    char *array;
    size_t n = 0;

    if (!elements_of(b, field, node, step, &e))
        return false;
    array = arena_alloc(b->doc->arena, e.count * table->size);
    for (const struct conf_node *c = e.first; c != NULL;
         c = element_next(&e, c), n++) {
        struct conf_step inner = element_step(&e, step, n);
        void *element = array + n * table->size;

        memcpy(element, conf_bind_defaults(b, table), table->size);
        if (!conf_bind_struct(b, table, c, element, &inner))
            return false;
    }
    conf_bind_store_array(field, object, array, n);
    return true;
}
