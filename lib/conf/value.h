/* conf/value.h - single values as text, both ways.  Private to lib/conf.
 * Messages stand without place and path; the caller puts them in front. */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H
#include "conf/conf.h"

/* Numbers, strings, enums and addresses: parses text into the member of
 * object that the row describes. */
MUST_USE bool conf_value_parse(const struct conf_field *field,
                               const struct conf_scope *scope, struct sv text,
                               void *object, struct err *err);
/* The same member as YAML. */
void conf_value_print(const struct conf_field *field, const void *object,
                      struct buf *out);

/* A string with the row's bounds, control bytes refused and the row's
 * canonical form taken; also for the elements of lists. */
MUST_USE bool conf_string_parse(const struct conf_field *field,
                                const struct conf_scope *scope, struct sv text,
                                char **kept, struct err *err);
/* Plain where any YAML reader takes that as the same text, else in quotes. */
void conf_string_print(struct sv text, struct buf *out);
void conf_number_print(enum conf_type type, uint64_t value, struct buf *out);

MUST_USE bool conf_bool_parse(struct sv text, bool *value, struct err *err);
/* "1..1000000 or unlimited" for numbers, "" where the row has no bounds. */
void conf_bounds_print(const struct conf_field *field, struct buf *out);
bool conf_type_is_number(enum conf_type type);
bool conf_type_is_scalar(enum conf_type type);

/* Member access by offset. */
void *conf_member(const struct conf_field *field, void *object);
const void *conf_member_const(const struct conf_field *field,
                              const void *object);

/* For "did you mean": keeps the candidate nearest to a mistyped word. */
struct conf_nearest {
    struct sv word;
    const char *best; /* NULL: none is near */
    unsigned distance;
};
void conf_nearest_try(struct conf_nearest *nearest, const char *candidate);
/* Adds `; did you mean "x"?` to err where something was near. */
void conf_nearest_say(const struct conf_nearest *nearest, struct err *err);
#endif
