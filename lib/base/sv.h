/* base/sv.h - string views: a borrowed run of bytes.
 * A view owns nothing and may hold any byte, NUL among them; it is valid as
 * long as what it points into.  The sv_take_ functions parse from the left:
 * they move *in past what they took, or leave it untouched and say no. */
#ifndef BASE_SV_H
#define BASE_SV_H
#include "base/base.h"

struct sv {
    const char *p; /* may be NULL when n is 0 */
    size_t n;
};

/* A view of a string literal. */
#define SV(literal) ((struct sv){"" literal, sizeof(literal) - 1})
/* The same where static data is initialised: C wants constants there. */
#define SV_INIT(literal)                                                       \
    {                                                                          \
        "" literal, sizeof(literal) - 1                                        \
    }

/* For printf: "%.*s", SV_ARG(view).  Only for views known to be below 2 GiB. */
#define SV_ARG(view) (int)(view).n, (view).n == 0 ? "" : (view).p

struct sv sv_of(const char *text);               /* NULL gives the empty view */
struct sv sv_from(struct sv view, size_t start); /* start beyond end: empty */
struct sv sv_slice(struct sv view, size_t start, size_t length);
struct sv sv_trim(struct sv view); /* without blanks and tabs at both ends */

bool sv_eq(struct sv a, struct sv b);
bool sv_eq_nocase(struct sv a, struct sv b); /* ASCII letters only */
bool sv_is(struct sv view, const char *text);
bool sv_is_nocase(struct sv view, const char *text);
bool sv_starts_nocase(struct sv view, struct sv prefix);
bool sv_ends_nocase(struct sv view, struct sv suffix);
int sv_compare(struct sv a, struct sv b); /* bytewise, like memcmp */

#define SV_NONE SIZE_MAX
size_t sv_index(struct sv view, char c); /* first c, or SV_NONE */
size_t sv_last_index(struct sv view, char c);
bool sv_has(struct sv view, char c);

bool sv_take_char(struct sv *in, char c);
bool sv_take_prefix(struct sv *in, struct sv prefix);
bool sv_take_prefix_nocase(struct sv *in, struct sv prefix);
struct sv sv_take_while(struct sv *in, bool (*wanted)(char c));
/* What stands before the first c; *in is left behind that c.  Without a c the
 * whole view is taken and *in becomes empty. */
struct sv sv_take_until(struct sv *in, char c);

/* Decimal digits only, no sign, no blanks, at least one digit, no overflow. */
MUST_USE bool sv_to_u64(struct sv view, uint64_t *value);
MUST_USE bool sv_to_u32(struct sv view, uint32_t *value);

/* Copies into dst with a NUL; false when it does not fit or holds a NUL. */
MUST_USE bool sv_to_cstr(struct sv view, char *dst, size_t dst_size);
char *sv_dup(struct sv view); /* NUL-terminated heap copy, caller frees */
void sv_lower_into(struct sv view, char *dst); /* dst holds view.n bytes */

/* ASCII classes; unlike <ctype.h> they know no locale and take any char. */
bool char_is_alpha(char c);
bool char_is_digit(char c);
bool char_is_alnum(char c);
bool char_is_blank(char c); /* space and tab */
bool char_is_hex(char c);
bool char_is_print(char c); /* 0x20..0x7e */
char char_lower(char c);
char char_upper(char c);
#endif
