#include "conf/tree.h"
#include "conf/conf.h"
#include <yaml.h>

struct reader {
    struct arena *arena;
    const char *name;
    struct err *err;
    yaml_parser_t yaml;
    yaml_event_t event; /* owned by the reader until the next one */
    bool has_event;
    unsigned depth;
    size_t nodes;
};

static struct conf_mark
mark_of(yaml_mark_t at)
{
    return (struct conf_mark){(uint32_t)at.line + 1, (uint32_t)at.column + 1};
}

static bool
fail(struct reader *r, struct conf_mark at, const char *text)
{
    err_set(r->err, "%s:%u:%u: %s", r->name, at.line, at.column, text);
    return false;
}

static bool
fail_syntax(struct reader *r)
{
    const yaml_parser_t *y = &r->yaml;
    struct conf_mark at = mark_of(y->problem_mark);
    const char *problem = y->problem != NULL ? y->problem : "cannot be read";

    if (y->error == YAML_READER_ERROR) {
        err_set(r->err, "%s: not valid YAML: %s at byte %zu", r->name, problem,
                y->problem_offset);
        return false;
    }
    if (y->context != NULL)
        err_set(r->err, "%s:%u:%u: not valid YAML: %s %s", r->name, at.line,
                at.column, y->context, problem);
    else
        err_set(r->err, "%s:%u:%u: not valid YAML: %s", r->name, at.line,
                at.column, problem);
    return false;
}

static void
drop_event(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
}

static bool
next_event(struct reader *r)
{
    drop_event(r);
    if (!yaml_parser_parse(&r->yaml, &r->event))
        return fail_syntax(r);
    r->has_event = true;
    return true;
}

/* What the three node events carry besides their content must be absent. */
static bool
check_plain(struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct conf_mark at = mark_of(r->event.start_mark);

    if (anchor != NULL)
        return fail(r, at, "YAML anchors are not supported");
    if (tag != NULL)
        return fail(r, at, "YAML tags are not supported");
    return true;
}

static struct sv
keep_scalar(struct reader *r)
{
    return arena_copy(r->arena,
                      (struct sv){(const char *)r->event.data.scalar.value,
                                  r->event.data.scalar.length});
}

static struct conf_node *read_node(struct reader *r);

static void
append(struct conf_node *parent, struct conf_node *child)
{
    if (parent->last != NULL)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
}

static bool
read_list(struct reader *r, struct conf_node *list)
{
    for (;;) {
        struct conf_node *child;

        if (!next_event(r))
            return false;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        child = read_node(r);
        if (child == NULL)
            return false;
        append(list, child);
    }
}

struct keyed {
    const struct conf_node *node;
};

static int
compare_keys(const void *a, const void *b)
{
    const struct conf_node *x = ((const struct keyed *)a)->node;
    const struct conf_node *y = ((const struct keyed *)b)->node;
    int order = sv_compare(x->key, y->key);

    if (order != 0)
        return order;
    if (x->key_at.line != y->key_at.line)
        return x->key_at.line < y->key_at.line ? -1 : 1;
    return x->key_at.column < y->key_at.column ? -1 : 1;
}

/* Sorting finds them in n log n: a file may hold a hundred thousand keys. */
static bool
check_duplicates(struct reader *r, const struct conf_node *map)
{
    struct keyed *sorted;
    bool ok = true;
    size_t n = 0;

    if (map->count < 2)
        return true;
    sorted = mem_alloc_array(map->count, sizeof *sorted);
    for (struct conf_node *c = map->first; c != NULL; c = c->next)
        sorted[n++].node = c;
    qsort(sorted, n, sizeof *sorted, compare_keys);
    for (size_t i = 1; ok && i < n; i++) {
        char room[CONF_QUOTE_MAX];

        if (!sv_eq(sorted[i - 1].node->key, sorted[i].node->key))
            continue;
        err_set(r->err,
                "%s:%u:%u: %s stands here a second time (first in line "
                "%u)",
                r->name, sorted[i].node->key_at.line,
                sorted[i].node->key_at.column,
                conf_quote(sorted[i].node->key, room),
                sorted[i - 1].node->key_at.line);
        ok = false;
    }
    mem_free(sorted);
    return ok;
}

static bool
read_map(struct reader *r, struct conf_node *map)
{
    for (;;) {
        struct conf_mark at;
        struct conf_node *child;
        struct sv key;

        if (!next_event(r))
            return false;
        at = mark_of(r->event.start_mark);
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return check_duplicates(r, map);
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail(r, at, "a key must be a word");
        if (!check_plain(r, r->event.data.scalar.anchor,
                         r->event.data.scalar.tag))
            return false;
        key = keep_scalar(r);
        if (!next_event(r))
            return false;
        child = read_node(r);
        if (child == NULL)
            return false;
        child->key = key;
        child->key_at = at;
        append(map, child);
    }
}

static bool
read_scalar(struct reader *r, struct conf_node *node)
{
    if (!check_plain(r, r->event.data.scalar.anchor, r->event.data.scalar.tag))
        return false;
    node->text = keep_scalar(r);
    node->plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return true;
}

static bool
read_nested(struct reader *r, struct conf_node *node)
{
    bool is_list = r->event.type == YAML_SEQUENCE_START_EVENT;
    bool ok;

    if (!check_plain(r,
                     is_list ? r->event.data.sequence_start.anchor
                             : r->event.data.mapping_start.anchor,
                     is_list ? r->event.data.sequence_start.tag
                             : r->event.data.mapping_start.tag))
        return false;
    if (r->depth == CONF_DEPTH_MAX)
        return fail(r, node->at, "maps and lists are nested too deep");
    r->depth++;
    node->kind = is_list ? CONF_LIST : CONF_MAP;
    ok = is_list ? read_list(r, node) : read_map(r, node);
    r->depth--;
    return ok;
}

/* The node that the event in hand begins. */
static struct conf_node *
read_node(struct reader *r)
{
    struct conf_node *node = arena_alloc(r->arena, sizeof *node);

    node->at = mark_of(r->event.start_mark);
    if (++r->nodes > CONF_NODES_MAX) {
        fail(r, node->at, "the file holds too many values");
        return NULL;
    }
    if (r->event.type == YAML_ALIAS_EVENT) {
        fail(r, node->at, "YAML aliases are not supported");
        return NULL;
    }
    if (r->event.type == YAML_SCALAR_EVENT)
        return read_scalar(r, node) ? node : NULL;
    return read_nested(r, node) ? node : NULL;
}

static struct conf_node *
read_stream(struct reader *r)
{
    struct conf_node *root;

    do {
        if (!next_event(r))
            return NULL;
        if (r->event.type == YAML_STREAM_END_EVENT) {
            root = arena_alloc(r->arena, sizeof *root);
            root->kind = CONF_MAP;
            root->at = (struct conf_mark){1, 1};
            return root;
        }
    } while (r->event.type == YAML_STREAM_START_EVENT ||
             r->event.type == YAML_DOCUMENT_START_EVENT);

    root = read_node(r);
    if (root == NULL)
        return NULL;
    do {
        if (!next_event(r))
            return NULL;
        if (r->event.type == YAML_DOCUMENT_START_EVENT) {
            fail(r, mark_of(r->event.start_mark),
                 "a second YAML document begins here; the file may hold one");
            return NULL;
        }
    } while (r->event.type != YAML_STREAM_END_EVENT);
    return root;
}

struct conf_node *
conf_tree_parse(struct arena *arena, struct sv text, const char *name,
                struct err *err)
{
    struct reader r = {.arena = arena, .name = name, .err = err};
    struct conf_node *root;

    if (text.n > CONF_TEXT_MAX) {
        err_set(err, "%s: is larger than %d bytes", name, CONF_TEXT_MAX);
        return NULL;
    }
    if (!yaml_parser_initialize(&r.yaml))
        abort(); /* only for want of memory */
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(
        &r.yaml, (const unsigned char *)(text.n > 0 ? text.p : ""), text.n);
    root = read_stream(&r);
    drop_event(&r);
    yaml_parser_delete(&r.yaml);
    return root;
}

struct conf_node *
conf_tree_get(const struct conf_node *map, struct sv key)
{
    for (struct conf_node *c = map->first; c != NULL; c = c->next)
        if (sv_eq(c->key, key))
            return c;
    return NULL;
}

const char *
conf_kind_name(enum conf_kind kind)
{
    switch (kind) {
    case CONF_SCALAR:
        return "a single value";
    case CONF_LIST:
        return "a list";
    case CONF_MAP:
        return "a map";
    }
    abort();
}
