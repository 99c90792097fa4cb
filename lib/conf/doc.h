/* conf/doc.h - where each value of a loaded object stood.  Private to
 * lib/conf.
 *
 * A place belongs to one struct of the object; nested structs have their own.
 * A struct that the file does not mention has none: all of it is default. */
#ifndef CONF_DOC_H
#define CONF_DOC_H
#include "base/map.h"
#include "conf/conf.h"
#include "conf/tree.h"

enum conf_origin_kind {
    CONF_FROM_DEFAULT,
    CONF_FROM_FILE,
    CONF_FROM_BASE,
    CONF_FROM_ALIAS,
};

struct conf_origin {
    enum conf_origin_kind kind;
    struct conf_mark at;
    const char *alias; /* CONF_FROM_ALIAS: its name */
    const char *note;  /* or NULL */
};

struct conf_place {
    const char *path; /* "listeners.In" */
    struct conf_mark at;
    const char *base;            /* what `inherit` names, or NULL */
    struct conf_origin fields[]; /* one for each row of the table */
};

struct conf_doc {
    struct arena *arena;
    const char *name; /* of the file */
    const struct conf_table *root;
    void *object;
    struct map places; /* by {object, table}: a struct and its first member
                        * have the same address */
};

struct conf_place *conf_place_get(const struct conf_doc *doc,
                                  const struct conf_table *table,
                                  const void *object);
/* An existing one keeps its fields: they are what was inherited. */
struct conf_place *conf_place_make(struct conf_doc *doc,
                                   const struct conf_table *table,
                                   const void *object);
/* object was copied from base: its values come from where base's came. */
void conf_place_inherit(struct conf_doc *doc, const struct conf_table *table,
                        const void *object, const void *base);

/* A step on the way from the root, kept on the stack of the binder. */
struct conf_step {
    const struct conf_step *parent;
    struct sv name; /* empty: index counts */
    size_t index;
};
void conf_step_print(const struct conf_step *step, struct buf *out);
#endif
