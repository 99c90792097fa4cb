#include "base/buf.h"

void
buf_fini(struct buf *buf)
{
    mem_free(buf->p);
    *buf = (struct buf){0};
}

void
buf_reset(struct buf *buf)
{
    buf->start = buf->end = 0;
}

struct sv
buf_view(const struct buf *buf)
{
    if (buf->start == buf->end)
        return (struct sv){0};
    return (struct sv){buf->p + buf->start, buf->end - buf->start};
}

size_t
buf_length(const struct buf *buf)
{
    return buf->end - buf->start;
}

char *
buf_reserve(struct buf *buf, size_t n)
{
    size_t length = buf_length(buf);
    size_t needed;

    if (buf->p != NULL && buf->cap - buf->end >= n)
        return buf->p + buf->end;
    if (__builtin_add_overflow(length, n, &needed))
        abort();
    /* The contents move only after a quarter of the memory was consumed, or
     * when the memory grows: the cost stays linear in the input. */
    if (buf->p != NULL && buf->start > 0)
        memmove(buf->p, buf->p + buf->start, length);
    buf->start = 0;
    buf->end = length;
    if (buf->p == NULL || needed > buf->cap - buf->cap / 4) {
        size_t cap = buf->cap < 32 ? 64 : buf->cap * 2;

        buf->cap = cap > needed ? cap : needed;
        buf->p = mem_resize(buf->p, buf->cap);
    }
    return buf->p + buf->end;
}

void
buf_grew(struct buf *buf, size_t n)
{
    assert(n <= buf->cap - buf->end);
    buf->end += n;
}

void
buf_add(struct buf *buf, struct sv view)
{
    if (view.n == 0)
        return;
    memcpy(buf_reserve(buf, view.n), view.p, view.n);
    buf_grew(buf, view.n);
}

void
buf_add_char(struct buf *buf, char c)
{
    *buf_reserve(buf, 1) = c;
    buf_grew(buf, 1);
}

void
buf_add_str(struct buf *buf, const char *text)
{
    buf_add(buf, sv_of(text));
}

void
buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    buf_vprintf(buf, fmt, args);
    va_end(args);
}

void
buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
    va_list again;
    int length;
    char *at;

    va_copy(again, args);
    length = vsnprintf(NULL, 0, fmt, args);
    assert(length >= 0);
    at = buf_reserve(buf, (size_t)length + 1);
    vsnprintf(at, (size_t)length + 1, fmt, again);
    va_end(again);
    buf_grew(buf, (size_t)length);
}

void
buf_consume(struct buf *buf, size_t n)
{
    assert(n <= buf_length(buf));
    buf->start += n;
    if (buf->start == buf->end)
        buf_reset(buf);
}

char *
buf_cstr(struct buf *buf)
{
    *buf_reserve(buf, 1) = '\0';
    return buf->p + buf->start;
}
