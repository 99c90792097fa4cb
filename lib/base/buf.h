/* base/buf.h - a growable run of bytes that the holder owns.
 * For building text and for input that must be kept; consuming from the front
 * costs nothing until the next addition. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include "base/sv.h"
#include <stdarg.h>

struct buf {
    char *p;      /* owned */
    size_t start; /* bytes consumed from the front */
    size_t end;   /* end of the contents */
    size_t cap;
};

/* A zeroed struct buf is an empty buffer. */
void buf_fini(struct buf *buf);  /* frees; the buffer is empty and usable */
void buf_reset(struct buf *buf); /* empties, keeps the memory */

struct sv buf_view(const struct buf *buf); /* valid until the next addition */
size_t buf_length(const struct buf *buf);

void buf_add(struct buf *buf, struct sv view);
void buf_add_char(struct buf *buf, char c);
void buf_add_str(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *buf, const char *fmt, va_list args)
    PRINTF_LIKE(2, 0);
/* Room for at least n more bytes; write them there, then buf_grew(). */
char *buf_reserve(struct buf *buf, size_t n);
void buf_grew(struct buf *buf, size_t n);
void buf_consume(struct buf *buf, size_t n); /* n <= buf_length() */
char *buf_cstr(struct buf *buf); /* contents with a NUL behind; borrowed */
#endif
