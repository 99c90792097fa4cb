/* conf/tree.h - YAML as a tree of maps, lists and text, with the place of
 * each.  Private to lib/conf.
 *
 * Bounded in size, depth and number of nodes; anchors, aliases, tags, further
 * documents and keys that are not text are refused, duplicate keys too. */
#ifndef CONF_TREE_H
#define CONF_TREE_H
#include "base/arena.h"
#include "base/err.h"
#include "base/sv.h"

enum conf_kind { CONF_SCALAR, CONF_LIST, CONF_MAP };

struct conf_mark {
    uint32_t line, column; /* from 1 */
};

struct conf_node {
    enum conf_kind kind;
    struct conf_mark at;
    struct sv text; /* of a scalar */
    bool plain;     /* a scalar without quotes */
    struct sv key;  /* of a member of a map */
    struct conf_mark key_at;
    struct sv alias; /* what put it there under another name; empty: the file
                      * has it here */
    struct conf_node *first, *last; /* children */
    struct conf_node *next;         /* sibling */
    size_t count;                   /* of children */
};

/* The tree and its texts live in arena.  An empty file is an empty map.  name
 * is for messages.  NULL on failure. */
MUST_USE struct conf_node *conf_tree_parse(struct arena *arena, struct sv text,
                                           const char *name, struct err *err);

/* NULL where the map has no such key. */
struct conf_node *conf_tree_get(const struct conf_node *map, struct sv key);

const char *conf_kind_name(enum conf_kind kind); /* "a list" */
#endif
