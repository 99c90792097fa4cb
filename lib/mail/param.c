#include "mail/param.h"
#include "base/utf8.h"

static bool
is_keyword_char(char c)
{
    return char_is_alnum(c) || c == '-';
}

/* esmtp-value: printable without blank and "="; RFC 6531 section 3.3 adds
 * UTF-8, which the caller finds checked. */
static bool
is_value_char(char c)
{
    return (c > ' ' && c != 0x7f && c != '=') || (unsigned char)c > 0x7f;
}

static bool
take_value(struct sv *in, struct sv *value)
{
    *value = (struct sv){0};
    if (!sv_take_char(in, '='))
        return true;
    *value = sv_take_while(in, is_value_char);
    return value->n > 0 && utf8_valid(*value);
}

/* More than one blank in front is let pass: clients write it, and it can mean
 * nothing else. */
bool
mail_param_take(struct sv *in, struct sv *key, struct sv *value)
{
    struct sv rest = *in;
    struct sv found_key, found_value;

    if (!sv_take_char(&rest, ' '))
        return false;
    while (sv_take_char(&rest, ' '))
        ;
    found_key = sv_take_while(&rest, is_keyword_char);
    if (found_key.n == 0 || found_key.p[0] == '-' ||
        !take_value(&rest, &found_value) || (rest.n > 0 && rest.p[0] != ' '))
        return false;
    *key = found_key;
    *value = found_value;
    *in = rest;
    return true;
}

static bool
is_xchar(char c)
{
    return char_is_print(c) && c != ' ' && c != '+' && c != '=';
}

/* Upper-case digits only, RFC 3461 section 4. */
static int
hex_value(char c)
{
    if (char_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte behind a "+". */
static bool
take_hexchar(struct sv *text, char *out)
{
    int high, low, byte;

    if (text->n < 2)
        return false;
    high = hex_value(text->p[0]);
    low = hex_value(text->p[1]);
    byte = high * 16 + low;
    if (high < 0 || low < 0 || byte < 0x20 || byte == 0x7f)
        return false;
    *out = (char)byte;
    *text = sv_from(*text, 2);
    return true;
}

bool
mail_xtext_decode(struct sv text, char *out, size_t *length)
{
    size_t n = 0;

    while (text.n > 0) {
        char c = text.p[0];

        text = sv_from(text, 1);
        if (c == '+') {
            if (!take_hexchar(&text, &out[n]))
                return false;
        } else if (is_xchar(c)) {
            out[n] = c;
        } else {
            return false;
        }
        n++;
    }
    *length = n;
    return true;
}

void
mail_xtext_encode(struct sv text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        if (is_xchar(text.p[i]))
            buf_add_char(out, text.p[i]);
        else
            buf_printf(out, "+%02X", (unsigned char)text.p[i]);
    }
}
