/* A line ends at LF, with or without the CR before it: the content that the
 * receiver lets through has CRLF only, and a reader of the spool must agree
 * with the counter of the receiver whatever the bytes. */
#include "mail/header.h"
#include "base/utf8.h"

enum { FOLD_AT = 78, LINE_MAX_OCTETS = 998 };

/* A line with its end; the last one may have none. */
static struct sv
take_line(struct sv *in)
{
    struct sv line = *in;
    size_t lf = sv_index(*in, '\n');

    if (lf != SV_NONE)
        line.n = lf + 1;
    *in = sv_from(*in, line.n);
    return line;
}

static bool
is_empty_line(struct sv line)
{
    return sv_is(line, "\r\n") || sv_is(line, "\n");
}

static bool
is_continuation(struct sv in)
{
    return in.n > 0 && char_is_blank(in.p[0]);
}

/* RFC 5322 section 3.6.8: printable, no blank, no colon.  Blanks before the
 * colon are obsolete syntax (section 4.5.8). */
static bool
split_name(struct sv line, struct sv *name)
{
    size_t colon = sv_index(line, ':');

    if (colon == SV_NONE || is_continuation(line))
        return false;
    *name = sv_trim(sv_slice(line, 0, colon));
    for (size_t i = 0; i < name->n; i++) {
        if (!char_is_print(name->p[i]) || name->p[i] == ' ')
            return false;
    }
    return name->n > 0;
}

static struct sv
without_line_end(struct sv text)
{
    if (text.n > 0 && text.p[text.n - 1] == '\n')
        text.n--;
    if (text.n > 0 && text.p[text.n - 1] == '\r')
        text.n--;
    return text;
}

bool
mail_field_next(struct sv *in, struct mail_field *field)
{
    while (in->n > 0) {
        struct sv start = *in;
        struct sv line = take_line(in);

        if (is_empty_line(line))
            return false;
        if (!split_name(line, &field->name))
            continue;
        while (is_continuation(*in))
            take_line(in);
        field->whole = sv_slice(start, 0, start.n - in->n);
        field->value = without_line_end(
            sv_from(field->whole, sv_index(field->whole, ':') + 1));
        return true;
    }
    return false;
}

size_t
mail_header_length(struct sv message)
{
    struct sv rest = message;

    while (rest.n > 0 && !is_empty_line(take_line(&rest)))
        ;
    return message.n - rest.n;
}

static bool
is_not_line_end(char c)
{
    return c != '\r' && c != '\n';
}

void
mail_unfold(struct sv value, struct buf *out)
{
    while (value.n > 0 &&
           (char_is_blank(value.p[0]) || !is_not_line_end(value.p[0])))
        value = sv_from(value, 1);
    while (value.n > 0 && (char_is_blank(value.p[value.n - 1]) ||
                           !is_not_line_end(value.p[value.n - 1])))
        value.n--;
    while (value.n > 0) {
        buf_add(out, sv_take_while(&value, is_not_line_end));
        value = sv_from(value, 1);
    }
}

static bool
is_not_blank(char c)
{
    return !char_is_blank(c);
}

/* At most max bytes from the front of word, not ending within a character. */
static struct sv
take_piece(struct sv *word, size_t max)
{
    struct sv piece = sv_slice(*word, 0, max);

    if (piece.n < word->n) {
        size_t n = piece.n;

        while (n > 1 && n > piece.n - 3 &&
               ((unsigned char)word->p[n] & 0xc0) == 0x80)
            n--;
        if (((unsigned char)word->p[n] & 0xc0) != 0x80)
            piece.n = n;
    }
    *word = sv_from(*word, piece.n);
    return piece;
}

static void
write_clean(struct buf *out, struct sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c < 0x20 || c == 0x7f)
            buf_add_char(out, '?');
        else
            buf_add_char(out, text.p[i]);
    }
}

/* One blank and the word, on a new line where it does not fit; a word that no
 * line can hold is broken.  *column is the length of the current line. */
static void
write_word(struct buf *out, struct sv word, size_t *column, bool first)
{
    while (word.n > 0) {
        struct sv piece = take_piece(&word, LINE_MAX_OCTETS - 1);

        if (*column + 1 + piece.n > (first ? LINE_MAX_OCTETS : FOLD_AT)) {
            buf_add_str(out, "\r\n");
            *column = 0;
        }
        buf_add_char(out, ' ');
        write_clean(out, piece);
        *column += 1 + piece.n;
        first = false;
    }
}

void
mail_field_write(struct buf *out, const char *name, struct sv value)
{
    size_t column = strlen(name) + 1;
    bool first = true;

    buf_add_str(out, name);
    buf_add_char(out, ':');
    while (value.n > 0) {
        struct sv word;

        sv_take_while(&value, char_is_blank);
        word = sv_take_while(&value, is_not_blank);
        write_word(out, word, &column, first);
        first = false;
    }
    buf_add_str(out, "\r\n");
}

void
mail_counter_init(struct mail_counter *counter)
{
    *counter = (struct mail_counter){.in_header = true, .line_is_name = true};
}

/* The name as far as it has come: blanks at its end count as one, so that a
 * name with blanks before the colon fits the buffer. */
static void
feed_name(struct mail_counter *counter, char c)
{
    unsigned n = counter->name_length;
    bool after_blank = n > 0 && counter->name[n - 1] == ' ';

    if (char_is_blank(c) && after_blank)
        return;
    if ((char_is_blank(c) && n == 0) || after_blank ||
        n == sizeof counter->name) {
        counter->line_is_name = false;
        return;
    }
    if (char_is_blank(c))
        c = ' ';
    counter->name[counter->name_length++] = c;
}

static void
end_name(struct mail_counter *counter)
{
    struct sv name = sv_trim((struct sv){counter->name, counter->name_length});

    counter->line_is_name = false;
    if (sv_is_nocase(name, "Received"))
        counter->received++;
}

static void
end_line(struct mail_counter *counter)
{
    bool lone_cr = counter->column == 1 && counter->name_length == 1 &&
                   counter->name[0] == '\r';

    if (counter->column == 0 || lone_cr)
        counter->in_header = false;
    counter->line_is_name = true;
    counter->name_length = counter->column = 0;
}

static bool
has_eight_bit(struct sv bytes)
{
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t word;
    unsigned last = 0;

    size_t i = 0;

    for (; bytes.n - i >= sizeof word; i += sizeof word) {
        memcpy(&word, bytes.p + i, sizeof word);
        if (word & tops)
            return true;
    }
    for (; i < bytes.n; i++)
        last |= (unsigned char)bytes.p[i];
    return last > 0x7f;
}

/* One byte of the start of a line, while it may still be a name, or the rest of
 * the line as far as it is there.  Returns how many bytes that was. */
static size_t
feed_header(struct mail_counter *counter, struct sv bytes)
{
    char c = bytes.p[0];

    if (c == '\n') {
        end_line(counter);
        return 1;
    }
    if (counter->column < 2)
        counter->column++;
    if (!counter->line_is_name) {
        size_t lf = sv_index(bytes, '\n');

        return lf != SV_NONE ? lf : bytes.n;
    }
    if (c == ':')
        end_name(counter);
    else
        feed_name(counter, c);
    return 1;
}

void
mail_counter_feed(struct mail_counter *counter, struct sv bytes)
{
    struct sv rest = bytes;
    struct sv header;

    while (rest.n > 0 && counter->in_header)
        rest = sv_from(rest, feed_header(counter, rest));
    header = sv_slice(bytes, 0, bytes.n - rest.n);
    counter->header_bytes += header.n;
    counter->header_utf8 = counter->header_utf8 || has_eight_bit(header);
    counter->eight_bit =
        counter->eight_bit || counter->header_utf8 || has_eight_bit(rest);
}
