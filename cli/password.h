/* cli/password.h - passwords that never stand in the list of processes nor in
 * a shell's history: from a file, or from the terminal without echo. */
#ifndef CLI_PASSWORD_H
#define CLI_PASSWORD_H
#include "base/err.h"

struct password_source {
    const char *file; /* first line of it; NULL: ask at the terminal */
    struct err err;   /* why there was none; "" when nobody asked */
};
/* prompt: what is asked for, "password of x.p12". At most size - 1 bytes;
 * false: source->err says why. */
MUST_USE bool password_get(struct password_source *source, const char *prompt,
                           char *dst, size_t size);
/* The same, asked twice at a terminal so that a slip of the finger does not
 * lock a key away for ever. */
MUST_USE bool password_get_new(struct password_source *source,
                               const char *prompt, char *dst, size_t size);
#endif
