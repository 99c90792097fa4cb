/* base/utf8.h - UTF-8 as RFC 3629 has it: no overlong forms, no surrogates,
 * nothing above U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include "base/sv.h"

/* Length of the well-formed character at the front of view and its number, or
 * 0 when there is none (the view is empty, or its first byte begins nothing
 * valid). */
size_t utf8_decode(struct sv view, uint32_t *code_point);

/* Every byte belongs to a well-formed character; the empty view is valid. */
bool utf8_valid(struct sv view);
#endif
