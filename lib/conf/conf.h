/* conf/conf.h - settings described once, in field tables.
 *
 * A row says name, type, unit, default, bounds, meaning and reload effect of
 * one member of a struct.  From the rows come the YAML parser, the checks with
 * line and column, the effective form with the origin of every value, and the
 * reference manual.  A setting without a row does not exist.
 *
 * A default is written as text and goes through the same parser as the file,
 * so what the manual prints is what the program does.
 *
 * Tables and the strings in them must stay valid as long as what was loaded
 * with them.  Loading is all or nothing: on failure there is one message,
 * "file:line:column: path.in.the.tree: what is wrong and what would be right",
 * and the object must not be used.
 *
 * YAML is taken as maps, lists and text only: anchors, aliases, tags and
 * several documents in one file are refused, as are files beyond the bounds
 * below. */
#ifndef CONF_CONF_H
#define CONF_CONF_H
#include "base/arena.h"
#include "base/err.h"
#include "base/sv.h"
#include "net/address.h"

struct buf;

enum {
    CONF_TEXT_MAX = 1 << 20,  /* bytes of YAML */
    CONF_DEPTH_MAX = 32,      /* maps and lists inside each other */
    CONF_NODES_MAX = 100000,  /* values in all */
    CONF_STRING_MAX = 4096,   /* bytes of one string, where a row has no max */
    CONF_ENTRIES_MAX = 10000, /* of one map or list, likewise */
};

enum conf_type {
    CONF_BOOL,     /* bool: on off true false yes no */
    CONF_U16,      /* uint16_t */
    CONF_U32,      /* uint32_t */
    CONF_U64,      /* uint64_t */
    CONF_SIZE,     /* uint64_t, bytes; K, M and G are powers of 1024 */
    CONF_DURATION, /* uint64_t, milliseconds; needs a unit: ms s m h d */
    CONF_STRING,   /* char * */
    CONF_PATH,     /* char *; made absolute from the file's directory */
    CONF_ENUM,     /* an enum, by the names in the row */
    CONF_FLAGS,    /* unsigned; {name: on, …} changes, [name, …] replaces */
    CONF_ADDRESS,  /* struct net_address with a port */
    CONF_PREFIXES, /* list of struct net_prefix */
    CONF_STRINGS,  /* list of char * */
    CONF_PAIRS,    /* map of strings, kept as a list of "key=value" */
    CONF_REF,      /* pointer to an entry of a map in the root table */
    CONF_REFS,     /* list of such pointers */
    CONF_STRUCT,   /* nested struct */
    CONF_STRUCT_LIST, /* list of structs */
    CONF_STRUCT_MAP,  /* the same with a name for each */
};

/* When a changed value takes effect. */
enum conf_effect {
    CONF_AT_RELOAD,   /* at once, for everything */
    CONF_NEW_SESSION, /* at reload, for connections made after it */
    CONF_AT_RESTART,
};

/* What unset values of a map's entry fall back to. */
enum conf_inherit {
    CONF_INHERIT_NONE,    /* the defaults of the rows */
    CONF_INHERIT_DEFAULT, /* the entry "default" */
    CONF_INHERIT_NAMED,   /* the entry that `inherit: NAME` names, if any */
};

struct conf_name {
    const char *name; /* NULL ends the list */
    unsigned value;
};

struct conf_scope {
    struct arena *arena;   /* lives as long as the object */
    const char *directory; /* relative paths start here */
};

/* Checks a string and gives the form that is kept; err says what is wrong,
 * without file and path: `"a..b" is not a domain name`. */
typedef bool conf_canonical(const struct conf_scope *scope, struct sv text,
                            char **kept, struct err *err);

/* What an entry under another name stands for: a setting by its path from the
 * root, through maps only. */
enum { CONF_ALIAS_STEPS = 4 };
struct conf_alias {
    const char *path[CONF_ALIAS_STEPS]; /* valid like scope->arena */
    size_t count;
    const char *value; /* as it would stand in the file */
};
/* err says what is wrong with name or value, without file and path. */
typedef bool conf_alias_resolve(const struct conf_scope *scope, struct sv name,
                                struct sv value, struct conf_alias *alias,
                                struct err *err);

struct conf_table;

struct conf_field {
    const char *name;
    enum conf_type type;
    enum conf_effect effect;
    size_t offset;        /* of the member */
    size_t count_offset;  /* lists and maps: of the size_t beside the pointer */
    const char *dflt;     /* as in the file; NULL: zero, empty or no entry */
    const char *dflt_doc; /* for the manual where the program computes it */
    /* Bounds of the number; of the length of a string; of the count of a list
     * or map.  max 0: that of the type. */
    uint64_t min, max;
    /* A word that may stand instead of the value: for numbers it means
     * word_value (which is taken too, whatever the bounds), for strings and
     * paths itself, for a reference NULL, for a list the empty one. */
    const char *word;
    uint64_t word_value;
    const char *prefix;             /* CONF_ADDRESS: "tls://" in front … */
    size_t prefix_offset;           /* … sets this bool */
    const struct conf_name *names;  /* CONF_ENUM, CONF_FLAGS */
    conf_canonical *canonical;      /* strings, elements, pairs; or NULL */
    const char *target;             /* CONF_REF: a map in the root table that
                                     * stands above */
    const struct conf_table *table; /* CONF_STRUCT… */
    /* Root table, maps of strings: every entry also sets what it stands for.
     * Where the file says something else there, it is refused. */
    conf_alias_resolve *alias;
    const char *unit; /* for the manual, after the bounds */
    const char *doc;  /* sentences, Markdown */
    bool required;
    bool has_default; /* CONF_STRUCT_MAP: "default" always exists, as [0] */
};

struct conf_table {
    const char *doc;   /* about the section, Markdown */
    const char *entry; /* entries of a map: what the manual calls the name,
                        * "NAME" or "DOMAIN" */
    const struct conf_field *fields;
    size_t count;
    size_t size;                    /* of the struct */
    bool named;                     /* the name of an entry is kept … */
    size_t name_offset;             /* … in this char * */
    conf_canonical *name_canonical; /* NULL: letters, digits and "_.-" */
    enum conf_inherit inherit;      /* of entries of a map */
    bool bare; /* the struct is written as the value of its only field */
    /* A short form of the struct as one word, or NULL; short_doc shows it. */
    bool (*from_text)(const struct conf_scope *scope, struct sv text,
                      void *object, struct err *err);
    const char *short_doc;
};

/* Offset of a member, refused by the compiler unless it has that type. */
/* NOLINTBEGIN(bugprone-macro-parentheses): a member takes none */
#define CONF_OFFSET(type, member, wanted)                                      \
    _Generic(((type *)0)->member, wanted : offsetof(type, member))
/* NOLINTEND(bugprone-macro-parentheses) */
#define CONF_ROWS(rows) .fields = (rows), .count = COUNT_OF(rows)

struct conf_source {
    struct sv text;
    const char *name;      /* in messages */
    const char *directory; /* absolute */
};

/* What is known about a loaded object besides its values: where each of them
 * stood. */
struct conf_doc;

/* Fills object (root->size bytes) with strings and arrays from arena.  NULL on
 * failure.  The document borrows arena and object; free it before them. */
MUST_USE struct conf_doc *conf_load(const struct conf_table *root, void *object,
                                    const struct conf_source *source,
                                    struct arena *arena, struct err *err);
void conf_doc_free(struct conf_doc *doc); /* NULL is fine */

/* True where the file (or an entry it inherits from) sets the field `name` of
 * a struct inside the loaded object. */
bool conf_given(const struct conf_doc *doc, const struct conf_table *table,
                const void *object, const char *name);
/* The same without what it inherits: this entry says so itself. */
bool conf_given_here(const struct conf_doc *doc, const struct conf_table *table,
                     const void *object, const char *name);

/* For checks after loading: sets err to "file:line:column: path: text" with
 * the place of that field, or of its struct when the field was not given or
 * name is NULL.
 * Returns false. */
bool conf_refuse(const struct conf_doc *doc, const struct conf_table *table,
                 const void *object, const char *name, struct err *err,
                 const char *fmt, ...) PRINTF_LIKE(6, 7);

/* Adds to the origin that conf_print() shows for a field: "changed by …". The
 * text is copied. */
void conf_note(struct conf_doc *doc, const struct conf_table *table,
               const void *object, const char *name, const char *note);

/* Line of a field in the file, of its struct when the field was not given or
 * name is NULL; *path (may be NULL) is that of the struct.  0: nowhere. */
unsigned conf_line(const struct conf_doc *doc, const struct conf_table *table,
                   const void *object, const char *name, const char **path);

/* The object as YAML that loads to the same values: what was given, or with
 * effective everything, each with a comment that says where it came from. */
void conf_print(const struct conf_doc *doc, bool effective, struct buf *out);
/* The value of one field of a struct that has the table's shape, also of one
 * that was not loaded; not for nested structs. */
void conf_print_value(const struct conf_doc *doc,
                      const struct conf_table *table, const void *object,
                      const char *name, struct buf *out);

/* The reference of a table and all below it, as Markdown. */
void conf_manual(const struct conf_table *root, struct buf *out);

/* For conf_canonical functions.  The path is taken from scope->directory. */
char *conf_path_absolute(const struct conf_scope *scope, struct sv path);
/* In quotes, made printable and cut to what fits a message; room holds
 * CONF_QUOTE_MAX bytes.  Returns room. */
#define CONF_QUOTE_MAX 80
const char *conf_quote(struct sv text, char *room);
#endif
