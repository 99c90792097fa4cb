/* Dot transparency: any split of the input gives the same content, flaws and
 * end; the end is where a plain search finds it; content without flaws comes
 * back from encoding and decoding.  The first byte picks the mode and the size
 * of the pieces. */
#include "mail/content.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
collect(void *arg, struct sv run)
{
    assert(run.n > 0);
    buf_add(arg, run);
}

struct result {
    struct content_decoder decoder;
    struct buf out;
    size_t used;
};

static struct result
decode(struct sv in, bool dots, enum content_newlines newlines, size_t step)
{
    struct result r = {0};

    content_decoder_init(&r.decoder, dots, newlines);
    while (r.used < in.n && !r.decoder.ended) {
        struct sv piece = sv_slice(in, r.used, step);
        size_t before = piece.n;

        content_decode(&r.decoder, &piece, collect, &r.out);
        assert(piece.n == 0 || r.decoder.ended);
        r.used += before - piece.n;
    }
    if (!dots)
        content_decode_end(&r.decoder, collect, &r.out);
    return r;
}

/* Offset behind CRLF.CRLF, a leading .CRLF counting too; 0: not there. */
static size_t
find_end(struct sv in)
{
    if (sv_starts_nocase(in, SV(".\r\n")))
        return 3;
    for (size_t i = 0; i + 5 <= in.n; i++) {
        if (memcmp(in.p + i, "\r\n.\r\n", 5) == 0)
            return i + 5;
    }
    return 0;
}

/* No byte of the content may look like a line end without being one. */
static void
check_line_ends(struct sv out)
{
    for (size_t i = 0; i < out.n; i++) {
        if (out.p[i] == '\n')
            assert(i > 0 && out.p[i - 1] == '\r');
        if (out.p[i] == '\r' && i + 1 < out.n)
            assert(out.p[i + 1] == '\n');
    }
}

static void
check_encoding(struct sv content, size_t step)
{
    struct content_encoder encoder;
    struct buf wire = {0};
    struct result back;

    content_encoder_init(&encoder);
    for (size_t at = 0; at < content.n; at += step)
        content_encode(&encoder, sv_slice(content, at, step), collect, &wire);
    buf_add(&wire, content_encode_end(&encoder));
    assert(find_end(buf_view(&wire)) == buf_length(&wire));
    back = decode(buf_view(&wire), true, CONTENT_REJECT, step);
    assert(back.decoder.ended && back.used == buf_length(&wire));
    assert(sv_eq(sv_slice(buf_view(&back.out), 0, content.n), content));
    assert(buf_length(&back.out) - content.n == (encoder.line_start ? 0 : 2));
    buf_fini(&back.out);
    buf_fini(&wire);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool dots = size > 0 && data[0] & 1;
    enum content_newlines newlines =
        size > 0 && data[0] & 2 ? CONTENT_NORMALIZE : CONTENT_REJECT;
    size_t step = size > 0 ? (size_t)(data[0] >> 2) + 1 : 1;
    struct sv in = sv_from((struct sv){(const char *)data, size}, 1);
    struct result whole = decode(in, dots, newlines, in.n + 1);
    struct result split = decode(in, dots, newlines, step);
    bool clean = !(whole.decoder.flaws & (CONTENT_BARE_CR | CONTENT_BARE_LF));

    assert(sv_eq(buf_view(&whole.out), buf_view(&split.out)));
    assert(whole.decoder.flaws == split.decoder.flaws);
    assert(whole.used == split.used);
    if (dots) {
        size_t end = find_end(in);

        assert(whole.decoder.ended == (end > 0));
        assert(whole.used == (end > 0 ? end : in.n));
    }
    if (clean || newlines == CONTENT_NORMALIZE) {
        check_line_ends(buf_view(&whole.out));
        check_encoding(buf_view(&whole.out), step);
    }
    buf_fini(&whole.out);
    buf_fini(&split.out);
    return 0;
}
