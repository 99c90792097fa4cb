/* cli/explain.h - what route.c, explain.c and tls_check.c print alike. */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H
#include "cli.h"

/* Members of an object; "" and 0 where there is none. */
const char *explain_text(const json_t *object, const char *key);
int64_t explain_number(const json_t *object, const char *key);
bool explain_flag(const json_t *object, const char *key);
/* Elements of an array of texts with ", " between; NULL: fallback.  Into room,
 * cut to fit. */
const char *explain_join(const json_t *list, const char *fallback, char *room,
                         size_t size);

/* Control characters become "?". */
void explain_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The answer of `route.show`: rule, look-ups, servers, order of trying. */
void explain_print_route(const json_t *answer);
/* "MTA-STS: enforce, id …" */
void explain_print_sts(const json_t *sts);

/* The address and --demand of the command as params; NULL: complained. */
json_t *explain_params(struct cli *cli);
#endif
