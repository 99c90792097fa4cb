#include "base/err.h"
#include <errno.h>
#include <stdarg.h>

/* Adds what fits. */
static size_t
append(char *dst, size_t size, size_t at, const char *text)
{
    size_t n = strnlen(text, size - 1 - at);

    memcpy(dst + at, text, n);
    dst[at + n] = '\0';
    return at + n;
}

/* The texts may point into err->text, so the whole is made aside. */
static void
store(struct err *err, int code, const char *first, const char *second)
{
    char whole[sizeof err->text];
    size_t n = append(whole, sizeof whole, 0, first);

    if (second != NULL) {
        n = append(whole, sizeof whole, n, ": ");
        append(whole, sizeof whole, n, second);
    }
    memcpy(err->text, whole, sizeof whole);
    err->code = code;
}

static void
store_with_code(struct err *err, int code, const char *text)
{
    char system[128];

    /* The GNU form: returns the text, which may not be in the buffer. */
    store(err, code, text, strerror_r(code, system, sizeof system));
}

void
err_set(struct err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;

    if (err == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    store(err, 0, text, NULL);
}

void
err_sys(struct err *err, const char *fmt, ...)
{
    int code = errno;
    char text[sizeof err->text];
    va_list args;

    if (err == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    store_with_code(err, code, text);
    errno = code;
}

void
err_code(struct err *err, int code, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;

    if (err == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    store_with_code(err, code, text);
}

void
err_wrap(struct err *err, const char *fmt, ...)
{
    char what[sizeof err->text];
    va_list args;

    if (err == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    store(err, err->code, what, err->text);
}
