/* settings/lint_internal.h - the parts of the lint. */
#ifndef SETTINGS_LINT_INTERNAL_H
#define SETTINGS_LINT_INTERNAL_H
#include "settings/lint.h"
#include "settings/tables.h"

struct linter {
    const struct settings *settings;
    const struct lint_options *options;
    struct lint *lint;
};

/* Where something stands: a struct inside settings, and the row or NULL. */
struct lint_place {
    const struct conf_table *table;
    const void *object;
    const char *row;
};

void lint_add(const struct linter *l, enum lint_code code,
              const struct lint_place *place, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

void lint_certificates(const struct linter *l); /* lint_certificate.c */
void lint_profiles(const struct linter *l);     /* lint_profile.c */
void lint_access(const struct linter *l);       /* lint_access.c */
#endif
