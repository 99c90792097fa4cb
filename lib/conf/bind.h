/* conf/bind.h - from the tree of text to the structs.  Private to lib/conf.
 * bind.c has structs and single values, bind_list.c lists and references,
 * bind_map.c named entries and inheritance. */
#ifndef CONF_BIND_H
#define CONF_BIND_H
#include "conf/doc.h"
#include "conf/value.h"

struct conf_binder {
    struct conf_doc *doc;
    struct conf_scope scope;
    struct arena scratch; /* the tree; gone when loading ends */
    struct map defaults;  /* by table: a struct of its defaults */
    struct map entries;   /* by "section.name": what references find */
    bool in_defaults;     /* the text of a row is being read, not the file */
    struct err *err;
};

/* Puts file, line, column and path before the text in b->err.  Returns
 * false. */
bool conf_bind_fail(struct conf_binder *b, struct conf_mark at,
                    const struct conf_step *step);
/* err_set() and conf_bind_fail() in one. */
bool conf_bind_refuse(struct conf_binder *b, const struct conf_node *node,
                      const struct conf_step *step, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* "must be a list, not a map", or that it is empty. */
bool conf_bind_wrong_kind(struct conf_binder *b, const struct conf_node *node,
                          const struct conf_step *step, enum conf_kind wanted);

/* object holds defaults or what it inherits; what node gives replaces it. */
MUST_USE bool conf_bind_struct(struct conf_binder *b,
                               const struct conf_table *table,
                               const struct conf_node *node, void *object,
                               const struct conf_step *step);
/* A struct with the defaults of its rows; to be copied, never changed. */
const void *conf_bind_defaults(struct conf_binder *b,
                               const struct conf_table *table);

/* One member of object each. */
#define CONF_BIND_MEMBER(name)                                                 \
    MUST_USE bool name(struct conf_binder *b, const struct conf_field *field,  \
                       const struct conf_node *node, void *object,             \
                       const struct conf_step *step)
CONF_BIND_MEMBER(conf_bind_strings);
CONF_BIND_MEMBER(conf_bind_pairs);
CONF_BIND_MEMBER(conf_bind_prefixes);
CONF_BIND_MEMBER(conf_bind_ref);
CONF_BIND_MEMBER(conf_bind_refs);
CONF_BIND_MEMBER(conf_bind_struct_list);
CONF_BIND_MEMBER(conf_bind_map);

/* Puts into the tree what rows with an alias function stand for. */
MUST_USE bool conf_alias_apply(struct conf_binder *b, struct conf_node *tree);

/* Checks the number of entries against the row. */
MUST_USE bool conf_bind_count(struct conf_binder *b,
                              const struct conf_field *field, size_t count,
                              const struct conf_node *node,
                              const struct conf_step *step);
void conf_bind_store_array(const struct conf_field *field, void *object,
                           void *array, size_t count);
/* The row of a map in the root table. */
const struct conf_field *conf_bind_target(const struct conf_binder *b,
                                          const char *name);
/* The entry of a bound map, NULL where there is none. */
void *conf_bind_entry(const struct conf_binder *b, struct sv map,
                      struct sv name);
#endif
