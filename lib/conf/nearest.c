/* The name nearest to a mistyped one, by edit distance. */
#include "conf/value.h"

enum { WORD_MAX = 64 };

static unsigned
smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein distance without regard to case; two rows of the matrix. */
static unsigned
distance(struct sv a, struct sv b)
{
    unsigned rows[2][WORD_MAX + 1];
    unsigned *before = rows[0], *now = rows[1];

    for (size_t j = 0; j <= b.n; j++)
        before[j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *swap = before;

        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned change = char_lower(a.p[i - 1]) != char_lower(b.p[j - 1]);

            now[j] =
                smallest(before[j - 1] + change, before[j] + 1, now[j - 1] + 1);
        }
        before = now;
        now = swap;
    }
    return before[b.n];
}

void
conf_nearest_try(struct conf_nearest *nearest, const char *candidate)
{
    struct sv other = sv_of(candidate);
    size_t longer;
    unsigned d;

    if (nearest->word.n > WORD_MAX || other.n > WORD_MAX)
        return;
    longer = nearest->word.n > other.n ? nearest->word.n : other.n;
    d = distance(nearest->word, other);
    /* "warn" for "warning" */
    if (nearest->word.n >= 3 && sv_starts_nocase(other, nearest->word))
        d = 1;
    if (d > 1 && d > longer / 3)
        return;
    /* One letter of one or two says nothing. */
    if (d >= longer)
        return;
    if (nearest->best == NULL || d < nearest->distance) {
        nearest->best = candidate;
        nearest->distance = d;
    }
}

void
conf_nearest_say(const struct conf_nearest *nearest, struct err *err)
{
    char before[sizeof err->text];

    if (nearest->best == NULL || err == NULL)
        return;
    memcpy(before, err->text, sizeof before);
    err_set(err, "%s; did you mean \"%s\"?", before, nearest->best);
}
