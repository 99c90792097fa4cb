/* BEFORE -n-> N -o-> NO -blank, comment-> AFTER; anything else: OTHER, for
 * good.  Comments may stand in BEFORE and behind NO, and end the word. */
#include "mail/tls_required.h"

enum state { BEFORE, N, NO, AFTER, OTHER };
enum { DEPTH_MAX = 1000 }; /* beyond, nobody means it */

static bool
is_folding(char c)
{
    return char_is_blank(c) || c == '\r' || c == '\n';
}

/* The word is over; only BEFORE, NO and AFTER may be followed by blanks. */
static enum state
end_word(enum state state)
{
    switch (state) {
    case BEFORE:
        return BEFORE;
    case NO:
    case AFTER:
        return AFTER;
    case N:
    case OTHER:
        break;
    }
    return OTHER;
}

static enum state
feed_letter(enum state state, char c)
{
    if (state == BEFORE && (c == 'N' || c == 'n'))
        return N;
    if (state == N && (c == 'O' || c == 'o'))
        return NO;
    return OTHER;
}

static void
feed_comment(struct tls_required_value *value, char c)
{
    if (value->quoted)
        value->quoted = false;
    else if (c == '\\')
        value->quoted = true;
    else if (c == '(')
        value->depth++;
    else if (c == ')')
        value->depth--;
    if (value->depth > DEPTH_MAX)
        value->state = OTHER;
}

void
tls_required_feed(struct tls_required_value *value, struct sv bytes)
{
    for (size_t i = 0; i < bytes.n && value->state != OTHER; i++) {
        char c = bytes.p[i];

        if (value->depth > 0) {
            feed_comment(value, c);
        } else if (c == '(') {
            value->depth = 1;
            value->state = (uint8_t)end_word(value->state);
        } else if (is_folding(c)) {
            value->state = (uint8_t)end_word(value->state);
        } else {
            value->state = (uint8_t)feed_letter(value->state, c);
        }
    }
}

bool
tls_required_is_no(const struct tls_required_value *value)
{
    return value->depth == 0 && (value->state == NO || value->state == AFTER);
}
