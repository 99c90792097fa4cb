#include "base/sv.h"

struct sv
sv_of(const char *text)
{
    return (struct sv){text, text != NULL ? strlen(text) : 0};
}

struct sv
sv_from(struct sv view, size_t start)
{
    return sv_slice(view, start, view.n);
}

struct sv
sv_slice(struct sv view, size_t start, size_t length)
{
    size_t rest;

    if (start >= view.n)
        return (struct sv){0};
    rest = view.n - start;
    return (struct sv){view.p + start, length < rest ? length : rest};
}

struct sv
sv_trim(struct sv view)
{
    while (view.n > 0 && char_is_blank(view.p[0]))
        view = sv_from(view, 1);
    while (view.n > 0 && char_is_blank(view.p[view.n - 1]))
        view.n--;
    return view;
}

bool
sv_eq(struct sv a, struct sv b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
sv_eq_nocase(struct sv a, struct sv b)
{
    return a.n == b.n && sv_starts_nocase(a, b);
}

bool
sv_is(struct sv view, const char *text)
{
    return sv_eq(view, sv_of(text));
}

bool
sv_is_nocase(struct sv view, const char *text)
{
    return sv_eq_nocase(view, sv_of(text));
}

bool
sv_starts_nocase(struct sv view, struct sv prefix)
{
    if (view.n < prefix.n)
        return false;
    for (size_t i = 0; i < prefix.n; i++) {
        if (char_lower(view.p[i]) != char_lower(prefix.p[i]))
            return false;
    }
    return true;
}

bool
sv_ends_nocase(struct sv view, struct sv suffix)
{
    if (view.n < suffix.n)
        return false;
    return sv_starts_nocase(sv_from(view, view.n - suffix.n), suffix);
}

int
sv_compare(struct sv a, struct sv b)
{
    size_t common = a.n < b.n ? a.n : b.n;
    int order = common > 0 ? memcmp(a.p, b.p, common) : 0;

    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

size_t
sv_index(struct sv view, char c)
{
    const char *at = view.n > 0 ? memchr(view.p, c, view.n) : NULL;

    return at != NULL ? (size_t)(at - view.p) : SV_NONE;
}

size_t
sv_last_index(struct sv view, char c)
{
    const char *at = view.n > 0 ? memrchr(view.p, c, view.n) : NULL;

    return at != NULL ? (size_t)(at - view.p) : SV_NONE;
}

bool
sv_has(struct sv view, char c)
{
    return sv_index(view, c) != SV_NONE;
}

bool
sv_take_char(struct sv *in, char c)
{
    if (in->n == 0 || in->p[0] != c)
        return false;
    *in = sv_from(*in, 1);
    return true;
}

bool
sv_take_prefix(struct sv *in, struct sv prefix)
{
    if (!sv_eq(sv_slice(*in, 0, prefix.n), prefix))
        return false;
    *in = sv_from(*in, prefix.n);
    return true;
}

bool
sv_take_prefix_nocase(struct sv *in, struct sv prefix)
{
    if (!sv_starts_nocase(*in, prefix))
        return false;
    *in = sv_from(*in, prefix.n);
    return true;
}

struct sv
sv_take_while(struct sv *in, bool (*wanted)(char c))
{
    struct sv taken = *in;
    size_t n = 0;

    while (n < in->n && wanted(in->p[n]))
        n++;
    taken.n = n;
    *in = sv_from(*in, n);
    return taken;
}

struct sv
sv_take_until(struct sv *in, char c)
{
    struct sv taken = *in;
    size_t at = sv_index(*in, c);

    if (at == SV_NONE) {
        *in = (struct sv){0};
        return taken;
    }
    taken.n = at;
    *in = sv_from(*in, at + 1);
    return taken;
}

bool
sv_to_u64(struct sv view, uint64_t *value)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < view.n; i++) {
        if (!char_is_digit(view.p[i]) ||
            __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, view.p[i] - '0', &sum))
            return false;
    }
    if (view.n == 0)
        return false;
    *value = sum;
    return true;
}

bool
sv_to_u32(struct sv view, uint32_t *value)
{
    uint64_t wide;

    if (!sv_to_u64(view, &wide) || wide > UINT32_MAX)
        return false;
    *value = (uint32_t)wide;
    return true;
}

bool
sv_to_cstr(struct sv view, char *dst, size_t dst_size)
{
    if (view.n >= dst_size || sv_has(view, '\0'))
        return false;
    if (view.n > 0)
        memcpy(dst, view.p, view.n);
    dst[view.n] = '\0';
    return true;
}

char *
sv_dup(struct sv view)
{
    char *copy = mem_alloc_raw(view.n + 1);

    if (view.n > 0)
        memcpy(copy, view.p, view.n);
    copy[view.n] = '\0';
    return copy;
}

void
sv_lower_into(struct sv view, char *dst)
{
    for (size_t i = 0; i < view.n; i++)
        dst[i] = char_lower(view.p[i]);
}

bool
char_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
char_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool
char_is_alnum(char c)
{
    return char_is_alpha(c) || char_is_digit(c);
}

bool
char_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool
char_is_hex(char c)
{
    return char_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool
char_is_print(char c)
{
    return c >= 0x20 && c <= 0x7e;
}

char
char_lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        c = (char)(c + ('a' - 'A'));
    return c;
}

char
char_upper(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - ('a' - 'A'));
    return c;
}
