#include "base/utf8.h"

/* RFC 3629 section 4: the first byte tells the length and, for a few, a
 * narrower range of the second byte. */
static const struct form {
    unsigned char first, last; /* of the first byte */
    unsigned char length;      /* bytes of the character */
    unsigned char second_min;  /* of the second byte */
    unsigned char second_max;
} forms[] = {
    {0x00, 0x7f, 1, 0x00, 0x00}, {0xc2, 0xdf, 2, 0x80, 0xbf},
    {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf},
    {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct form *
form_of(unsigned char first)
{
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (first >= forms[i].first && first <= forms[i].last)
            return &forms[i];
    }
    return NULL;
}

size_t
utf8_decode(struct sv view, uint32_t *code_point)
{
    const unsigned char *p = (const unsigned char *)view.p;
    const struct form *form = view.n > 0 ? form_of(p[0]) : NULL;
    uint32_t value;

    if (form == NULL || view.n < form->length)
        return 0;
    if (form->length > 1 &&
        (p[1] < form->second_min || p[1] > form->second_max))
        return 0;
    value = form->length == 1 ? p[0] : p[0] & (0xffu >> (form->length + 1));
    for (size_t i = 1; i < form->length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3fu);
    }
    *code_point = value;
    return form->length;
}

bool
utf8_valid(struct sv view)
{
    uint32_t code_point;

    while (view.n > 0) {
        size_t n = utf8_decode(view, &code_point);

        if (n == 0)
            return false;
        view = sv_from(view, n);
    }
    return true;
}
