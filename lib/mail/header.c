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
    *counter = (struct mail_counter){.in_header = true};
}

/* The fields that are looked at, so that the names of others are not. */
static bool
begins_known_name(char c)
{
    return c == 'R' || c == 'r' || c == 'T' || c == 't';
}

/* What the first byte of a line says.  Returns how many bytes that used. */
static size_t
begin_line(struct mail_counter *counter, char c)
{
    if (char_is_blank(c)) {
        counter->at = counter->in_value ? COUNTER_VALUE : COUNTER_REST;
        return 0;
    }
    counter->in_value = false;
    if (c == '\n') {
        counter->in_header = false;
        return 1;
    }
    if (c == '\r') {
        counter->at = COUNTER_CR;
        return 1;
    }
    counter->name_length = 0;
    counter->at = begins_known_name(c) ? COUNTER_NAME : COUNTER_REST;
    return 0;
}

static size_t
after_cr(struct mail_counter *counter, char c)
{
    counter->at = COUNTER_REST;
    if (c != '\n')
        return 0;
    counter->in_header = false;
    return 1;
}

static void
end_name(struct mail_counter *counter)
{
    struct sv name = sv_trim((struct sv){counter->name, counter->name_length});

    counter->at = COUNTER_REST;
    if (sv_is_nocase(name, "Received")) {
        counter->received++;
    } else if (sv_is_nocase(name, "TLS-Required")) {
        counter->tls_required++;
        counter->tls_value = (struct tls_required_value){0};
        counter->in_value = true;
        counter->at = COUNTER_VALUE;
    }
}

/* The name as far as it has come: blanks at its end (obsolete syntax, RFC 5322
 * section 4.5.8) count as one, so that they fit the buffer. */
static void
add_to_name(struct mail_counter *counter, char c)
{
    unsigned n = counter->name_length;
    bool after_blank = n > 0 && counter->name[n - 1] == ' ';

    if (char_is_blank(c) && after_blank)
        return;
    if (after_blank || n == sizeof counter->name) {
        counter->at = COUNTER_REST;
        return;
    }
    counter->name[counter->name_length++] = char_is_blank(c) ? ' ' : c;
}

static size_t
feed_name(struct mail_counter *counter, struct sv bytes)
{
    size_t i = 0;

    while (i < bytes.n && counter->at == COUNTER_NAME) {
        char c = bytes.p[i];

        if (c == '\n') {
            counter->at = COUNTER_REST;
            break;
        }
        i++;
        if (c == ':')
            end_name(counter);
        else
            add_to_name(counter, c);
    }
    return i;
}

/* Up to the end of the line, or as much of it as is there. */
static size_t
feed_rest(struct mail_counter *counter, struct sv bytes)
{
    size_t lf = sv_index(bytes, '\n');
    size_t length = lf != SV_NONE ? lf + 1 : bytes.n;

    if (counter->at == COUNTER_VALUE)
        tls_required_feed(&counter->tls_value, sv_slice(bytes, 0, length));
    if (lf != SV_NONE)
        counter->at = COUNTER_LINE;
    return length;
}

static size_t
feed_header(struct mail_counter *counter, struct sv bytes)
{
    switch (counter->at) {
    case COUNTER_LINE:
        return begin_line(counter, bytes.p[0]);
    case COUNTER_CR:
        return after_cr(counter, bytes.p[0]);
    case COUNTER_NAME:
        return feed_name(counter, bytes);
    case COUNTER_VALUE:
    case COUNTER_REST:
        break;
    }
    return feed_rest(counter, bytes);
}

/* Blocks of words without a branch inside, which the compiler makes wide
 * instructions of. */
static bool
has_eight_bit(struct sv bytes)
{
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t words[16], seen;
    unsigned last = 0;
    size_t i = 0;

    for (; bytes.n - i >= sizeof words; i += sizeof words) {
        memcpy(words, bytes.p + i, sizeof words);
        seen = 0;
        for (size_t k = 0; k < COUNT_OF(words); k++)
            seen |= words[k];
        if (seen & tops)
            return true;
    }
    for (; i < bytes.n; i++)
        last |= (unsigned char)bytes.p[i];
    return last > 0x7f;
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

bool
mail_counter_tls_optional(const struct mail_counter *counter)
{
    return counter->tls_required == 1 &&
           tls_required_is_no(&counter->tls_value);
}
