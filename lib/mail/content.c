/* States of the decoder, by what came last:
 *
 *   BEGIN    CRLF or nothing: a dot here is transparency or the end
 *   FRESH    a bare CR or LF that became CRLF: a line begins, but a dot here is
 *            content, because only a true CRLF makes an end of data
 *   TEXT     anything else
 *   CR       a CR that is still to be judged
 *   DOT      BEGIN and a dot, which is never handed on
 *   DOT_CR   DOT and a CR: an LF now is the end
 *
 * A run grows over everything that goes out as it came in; it is handed on
 * where something must be left out or put in, and at the end of the input. */
#include "mail/content.h"

enum state { BEGIN, FRESH, TEXT, CR, DOT, DOT_CR };

#define LINE_MAX_OCTETS 998 /* RFC 5322 section 2.1.1 */

struct decoding {
    struct content_decoder *d;
    const char *run, *p, *end;
    bool cr_held; /* state CR, and the CR is not part of the run */
    void (*emit)(void *arg, struct sv run);
    void *arg;
};

void
content_decoder_init(struct content_decoder *decoder, bool dots,
                     enum content_newlines newlines)
{
    *decoder = (struct content_decoder){
        .newlines = newlines, .dots = dots, .state = BEGIN};
}

static void
emit_run(struct decoding *x, const char *to)
{
    if (to > x->run)
        x->emit(x->arg, (struct sv){x->run, (size_t)(to - x->run)});
}

static void
count_columns(struct content_decoder *d, size_t n)
{
    uint32_t room = LINE_MAX_OCTETS + 1 - d->column;

    d->column += n < room ? (uint32_t)n : room;
    if (d->column > LINE_MAX_OCTETS)
        d->flaws |= CONTENT_LONG_LINE;
}

static void
line_ended(struct content_decoder *d, enum state state)
{
    d->state = (uint8_t)state;
    d->column = 0;
}

/* Bytes at the start of the input that are above CR, eight at a time: there is
 * no CR, LF or NUL among them. */
static const char *
skip_text(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;

    for (; end - p >= 8; p += 8) {
        memcpy(&word, p, sizeof word);
        if ((word - ones * ('\r' + 1)) & ~word & ones * 0x80)
            break;
    }
    while (p < end && *p != '\r' && *p != '\n' && *p != '\0')
        p++;
    return p;
}

/* A line end that is not CRLF, of which the run holds the last `ran` bytes. */
static void
bare_newline(struct decoding *x, unsigned flaw, size_t ran)
{
    x->d->flaws |= flaw;
    if (x->d->newlines == CONTENT_NORMALIZE) {
        emit_run(x, x->p - ran);
        x->emit(x->arg, SV("\r\n"));
        x->run = x->p;
        line_ended(x->d, FRESH);
    } else {
        count_columns(x->d, 1);
        x->d->state = TEXT;
    }
}

static void
at_begin(struct decoding *x)
{
    if (x->d->dots && *x->p == '.') {
        emit_run(x, x->p);
        x->run = ++x->p;
        x->d->state = DOT;
    } else {
        x->d->state = TEXT;
    }
}

static void
at_text(struct decoding *x)
{
    const char *special = skip_text(x->p, x->end);

    count_columns(x->d, (size_t)(special - x->p));
    if (special > x->p)
        x->d->state = TEXT;
    x->p = special;
    if (special == x->end)
        return;
    x->p++;
    if (*special == '\r') {
        x->d->state = CR;
        x->cr_held = false;
    } else if (*special == '\n') {
        bare_newline(x, CONTENT_BARE_LF, 1);
    } else {
        x->d->flaws |= CONTENT_NUL;
        count_columns(x->d, 1);
        x->d->state = TEXT;
    }
}

static void
at_cr(struct decoding *x)
{
    bool line_end = *x->p == '\n';

    if (line_end)
        line_ended(x->d, BEGIN);
    else
        bare_newline(x, CONTENT_BARE_CR, x->cr_held ? 0 : 1);
    if (x->cr_held && (line_end || x->d->newlines == CONTENT_REJECT))
        x->emit(x->arg, SV("\r"));
    if (line_end)
        x->p++;
    x->cr_held = false;
}

/* The dot is gone; a CR after it belongs to the end of data if LF follows. */
static void
at_dot(struct decoding *x)
{
    if (*x->p == '\r') {
        x->run = ++x->p;
        x->d->state = DOT_CR;
    } else {
        x->d->state = TEXT;
    }
}

static void
at_dot_cr(struct decoding *x)
{
    if (*x->p == '\n') {
        x->run = ++x->p;
        x->d->ended = true;
    } else {
        x->d->state = CR;
        x->cr_held = true;
    }
}

static void
step(struct decoding *x)
{
    switch ((enum state)x->d->state) {
    case BEGIN:
        at_begin(x);
        break;
    case FRESH:
    case TEXT:
        at_text(x);
        break;
    case CR:
        at_cr(x);
        break;
    case DOT:
        at_dot(x);
        break;
    case DOT_CR:
        at_dot_cr(x);
        break;
    }
}

void
content_decode(struct content_decoder *decoder, struct sv *in,
               void (*emit)(void *arg, struct sv run), void *arg)
{
    struct decoding x = {
        .d = decoder, .run = in->p, .p = in->p, .emit = emit, .arg = arg};

    if (in->n == 0)
        return;
    x.end = in->p + in->n;
    x.cr_held = decoder->state == CR;
    while (x.p < x.end && !decoder->ended)
        step(&x);
    /* A CR at the very end waits for what follows. */
    emit_run(&x, decoder->state == CR && !x.cr_held ? x.p - 1 : x.p);
    *in = sv_from(*in, (size_t)(x.p - in->p));
}

void
content_decode_end(struct content_decoder *decoder,
                   void (*emit)(void *arg, struct sv run), void *arg)
{
    if (decoder->state == CR)
        decoder->flaws |= CONTENT_BARE_CR;
    if (decoder->state == CR || decoder->state == TEXT)
        emit(arg, SV("\r\n"));
    line_ended(decoder, BEGIN);
}

void
content_encoder_init(struct content_encoder *encoder)
{
    *encoder = (struct content_encoder){.line_start = true};
}

/* Where the next line begins: behind the next CRLF, or the end.  The encoder
 * learns which. */
static const char *
next_line(struct content_encoder *encoder, const char *p, const char *end)
{
    const char *from = p;

    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));

        if (lf == NULL)
            break;
        p = lf + 1;
        if (lf > from ? lf[-1] == '\r' : encoder->last_cr) {
            encoder->line_start = true;
            encoder->last_cr = false;
            return p;
        }
    }
    encoder->line_start = false;
    encoder->last_cr = end[-1] == '\r';
    return end;
}

void
content_encode(struct content_encoder *encoder, struct sv in,
               void (*emit)(void *arg, struct sv run), void *arg)
{
    const char *run = in.p, *p = in.p, *end;

    if (in.n == 0)
        return;
    end = in.p + in.n;
    while (p < end) {
        if (encoder->line_start && *p == '.') {
            if (p > run)
                emit(arg, (struct sv){run, (size_t)(p - run)});
            emit(arg, SV("."));
            run = p;
        }
        p = next_line(encoder, p, end);
    }
    emit(arg, (struct sv){run, (size_t)(end - run)});
}

struct sv
content_encode_end(const struct content_encoder *encoder)
{
    return encoder->line_start ? SV(".\r\n") : SV("\r\n.\r\n");
}
