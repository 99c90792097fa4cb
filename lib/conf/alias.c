/* Settings under another name: each becomes a node of the tree where it
 * belongs, with the place at which the alias stands.  So what is bound, checked
 * and printed knows one form only. */
#include "base/buf.h"
#include "conf/bind.h"

static bool
fail_entry(struct conf_binder *b, const struct conf_field *row,
           const struct conf_node *entry, struct conf_mark at)
{
    struct conf_step section = {NULL, sv_of(row->name), 0};
    struct conf_step step = {&section, entry->key, 0};

    return conf_bind_fail(b, at, &step);
}

static struct conf_node *
add_node(struct conf_binder *b, struct conf_node *parent, struct sv key,
         const struct conf_node *entry)
{
    struct conf_node *node = arena_alloc(&b->scratch, sizeof *node);

    node->kind = CONF_MAP;
    node->at = entry->at;
    node->key = arena_copy(&b->scratch, key);
    node->key_at = entry->key_at;
    node->alias = entry->key;
    if (parent->last != NULL)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    parent->count++;
    return node;
}

/* Said twice is fine as long as both say the same. */
static bool
check_same(struct conf_binder *b, const struct conf_field *row,
           const struct conf_node *entry, const struct conf_node *there,
           const struct conf_alias *alias)
{
    struct conf_step steps[CONF_ALIAS_STEPS] = {0};
    struct buf path = {0};
    char mine[CONF_QUOTE_MAX], other[CONF_QUOTE_MAX];

    if (there->kind == CONF_SCALAR && sv_is(there->text, alias->value))
        return true;
    for (size_t i = 0; i < alias->count; i++)
        steps[i] = (struct conf_step){i > 0 ? &steps[i - 1] : NULL,
                                      sv_of(alias->path[i]), 0};
    conf_step_print(&steps[alias->count - 1], &path);
    err_set(b->err,
            "means %s, but %s%s%.*s in line %u says %s; keep one of "
            "the two",
            conf_quote(sv_of(alias->value), mine), buf_cstr(&path),
            there->alias.n > 0 ? " by " : "", SV_ARG(there->alias),
            there->key_at.line,
            there->kind == CONF_SCALAR ? conf_quote(there->text, other)
                                       : conf_kind_name(there->kind));
    buf_fini(&path);
    return fail_entry(b, row, entry, entry->key_at);
}

static bool
insert(struct conf_binder *b, struct conf_node *tree,
       const struct conf_field *row, const struct conf_node *entry,
       const struct conf_alias *alias)
{
    struct conf_node *node = tree;

    for (size_t i = 0; i < alias->count; i++) {
        struct conf_node *next;

        /* What is no map here is refused when it is bound. */
        if (node->kind != CONF_MAP)
            return true;
        next = conf_tree_get(node, sv_of(alias->path[i]));
        if (next != NULL && i + 1 == alias->count)
            return check_same(b, row, entry, next, alias);
        if (next == NULL)
            next = add_node(b, node, sv_of(alias->path[i]), entry);
        node = next;
    }
    node->kind = CONF_SCALAR;
    node->text = arena_copy(&b->scratch, sv_of(alias->value));
    return true;
}

static bool
apply_entry(struct conf_binder *b, struct conf_node *tree,
            const struct conf_field *row, const struct conf_node *entry)
{
    struct conf_alias alias = {0};

    if (entry->kind != CONF_SCALAR || (entry->plain && entry->text.n == 0)) {
        struct conf_step section = {NULL, sv_of(row->name), 0};
        struct conf_step step = {&section, entry->key, 0};

        return conf_bind_wrong_kind(b, entry, &step, CONF_SCALAR);
    }
    if (!row->alias(&b->scope, entry->key, entry->text, &alias, b->err))
        return fail_entry(b, row, entry, entry->key_at);
    assert(alias.count > 0 && alias.count <= CONF_ALIAS_STEPS);
    return insert(b, tree, row, entry, &alias);
}

bool
conf_alias_apply(struct conf_binder *b, struct conf_node *tree)
{
    const struct conf_table *root = b->doc->root;

    for (size_t i = 0; i < root->count && tree->kind == CONF_MAP; i++) {
        const struct conf_field *row = &root->fields[i];
        const struct conf_node *section;

        if (row->alias == NULL)
            continue;
        section = conf_tree_get(tree, sv_of(row->name));
        if (section == NULL || section->kind != CONF_MAP)
            continue;
        for (const struct conf_node *c = section->first; c != NULL; c = c->next)
            if (!apply_entry(b, tree, row, c))
                return false;
    }
    return true;
}
