/* base/err.h - an operational error with the chain of what was being done.
 * A function that can fail returns false and fills *err; callers on the way up
 * add context with err_wrap().  It reads from the outside in:
 * "commit message 2: rename tmp.2 to 2: No such file or directory".
 * Logged once, where it is handled. */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include "base/base.h"

struct err {
    int code;       /* errno of the cause, 0 where there is none */
    char text[512]; /* NUL-terminated; what does not fit is cut */
};

/* Each overwrites what err held. err may be NULL: then nothing happens. */
void err_set(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Adds ": " and the text of errno, and keeps errno in err->code. */
void err_sys(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for a code in hand (positive errno value). */
void err_code(struct err *err, int code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Puts "what: " before the text. */
void err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
#endif
