/* settings/import_internal.h - between the formats (import_text.c) and the
 * judge (import.c). */
#ifndef SETTINGS_IMPORT_INTERNAL_H
#define SETTINGS_IMPORT_INTERNAL_H
#include "settings/import.h"

/* A line as a format understands it. */
struct import_item {
    unsigned line;
    struct sv scope; /* what the registry key adds: "Sender.", "Servers.x." */
    struct sv name;
    struct sv type; /* "Integer"; empty: not said */
    struct sv value;
    const char *ignore; /* reason why it is none of ours, or NULL */
    const char *refuse; /* reason why it cannot be read, or NULL */
};
void import_add(struct import *import, const struct import_item *item);

/* bytes as UTF-8 in the arena, without byte order mark. */
MUST_USE bool import_decode(struct arena *arena, struct sv bytes,
                            struct sv *text, struct err *err);
/* Calls import_add() for every line with something in it. */
MUST_USE bool import_parse(struct import *import, struct sv text,
                           struct err *err);
#endif
