#include "mail/content.h"
#include "unit.h"

static void
collect(void *arg, struct sv run)
{
    assert_true(run.n > 0);
    buf_add(arg, run);
}

/* What DATA decodes to.  rest: what stands behind the end; NULL: no end. */
static const struct data_row {
    const char *name;
    struct sv in;
    const char *rejecting, *normal; /* decoded; normal NULL: the same */
    const char *rest;
    unsigned flaws;
} data_rows[] = {
    {"plain", SV_INIT("a\r\nb\r\n.\r\n"), "a\r\nb\r\n", NULL, "", 0},
    {"empty message", SV_INIT(".\r\n"), "", NULL, "", 0},
    {"pipelined command", SV_INIT("a\r\n.\r\nQUIT\r\n"), "a\r\n", NULL,
     "QUIT\r\n", 0},
    {"stuffed dot", SV_INIT("..a\r\n...\r\n.\r\n"), ".a\r\n..\r\n", NULL, "",
     0},
    {"dot that was not stuffed", SV_INIT(".a\r\n.\r\n"), "a\r\n", NULL, "", 0},
    {"dot within a line", SV_INIT("a.\r\nb.c\r\n.\r\n"), "a.\r\nb.c\r\n", NULL,
     "", 0},
    {"no end", SV_INIT("a\r\n.\r"), "a\r\n", NULL, NULL, 0},
    {"end without its LF", SV_INIT("a\r\n."), "a\r\n", NULL, NULL, 0},
    {"LF . LF", SV_INIT("a\n.\nb\r\n.\r\n"), "a\n.\nb\r\n", "a\r\n.\r\nb\r\n",
     "", CONTENT_BARE_LF},
    {"LF . CRLF", SV_INIT("a\n.\r\nb\r\n.\r\n"), "a\n.\r\nb\r\n",
     "a\r\n.\r\nb\r\n", "", CONTENT_BARE_LF},
    {"CRLF . LF", SV_INIT("a\r\n.\nb\r\n.\r\n"), "a\r\n\nb\r\n",
     "a\r\n\r\nb\r\n", "", CONTENT_BARE_LF},
    {"CRLF . CR", SV_INIT("a\r\n.\rb\r\n.\r\n"), "a\r\n\rb\r\n",
     "a\r\n\r\nb\r\n", "", CONTENT_BARE_CR},
    {"CR . CR", SV_INIT("a\r.\rb\r\n.\r\n"), "a\r.\rb\r\n", "a\r\n.\r\nb\r\n",
     "", CONTENT_BARE_CR},
    {"CR . CRLF", SV_INIT("a\r.\r\nb\r\n.\r\n"), "a\r.\r\nb\r\n",
     "a\r\n.\r\nb\r\n", "", CONTENT_BARE_CR},
    {"CRLF . CR CRLF", SV_INIT("a\r\n.\r\r\nb\r\n.\r\n"), "a\r\n\r\r\nb\r\n",
     "a\r\n\r\n\r\nb\r\n", "", CONTENT_BARE_CR},
    {"CR CRLF . CRLF", SV_INIT("a\r\r\n.\r\nb"), "a\r\r\n", "a\r\n\r\n", "b",
     CONTENT_BARE_CR},
    {"LF CR . CRLF", SV_INIT("a\n\r.\r\nb\r\n.\r\n"), "a\n\r.\r\nb\r\n",
     "a\r\n\r\n.\r\nb\r\n", "", CONTENT_BARE_LF | CONTENT_BARE_CR},
    {"NUL before the dot", SV_INIT("a\r\n\0.\r\n.\r\n"), NULL, NULL, "",
     CONTENT_NUL},
    {"NUL after the dot", SV_INIT("a\r\n.\0\r\n.\r\n"), NULL, NULL, "",
     CONTENT_NUL},
    {"NUL between CR and LF", SV_INIT("a\r\n.\r\0\nb\r\n.\r\n"), NULL, NULL, "",
     CONTENT_NUL | CONTENT_BARE_CR | CONTENT_BARE_LF},
    {"8-bit", SV_INIT("\xff\xfe\r\n.\r\n"), "\xff\xfe\r\n", NULL, "", 0},
    {"tabs", SV_INIT("a\tb\tccccccc\tdddd\r\n.\r\n"), "a\tb\tccccccc\tdddd\r\n",
     NULL, "", 0},
    {"LF at the very beginning", SV_INIT("\n.\r\n.\r\n"), "\n.\r\n",
     "\r\n.\r\n", "", CONTENT_BARE_LF},
};

/* Decodes in pieces of `step` bytes; returns what was not used. */
static struct sv
decode(struct content_decoder *d, struct sv in, size_t step, struct buf *out)
{
    while (in.n > 0 && !d->ended) {
        struct sv piece = sv_slice(in, 0, step);
        size_t before = piece.n;

        content_decode(d, &piece, collect, out);
        in = sv_from(in, before - piece.n);
        assert_true(piece.n == 0 || d->ended);
    }
    return in;
}

static void
check_data_as(const struct data_row *r, enum content_newlines newlines,
              const char *expected)
{
    for (size_t step = 1; step <= r->in.n; step++) {
        struct content_decoder d;
        struct buf out = {0};
        struct sv rest;

        content_decoder_init(&d, true, newlines);
        rest = decode(&d, r->in, step, &out);
        if (expected != NULL)
            assert_sv(buf_view(&out), expected);
        assert_int_equal(d.ended, r->rest != NULL);
        assert_int_equal(d.flaws, r->flaws);
        if (r->rest != NULL)
            assert_sv(rest, r->rest);
        buf_fini(&out);
    }
}

static void
check_data(void **state)
{
    const struct data_row *r = *state;

    check_data_as(r, CONTENT_REJECT, r->rejecting);
    check_data_as(r, CONTENT_NORMALIZE,
                  r->normal != NULL ? r->normal : r->rejecting);
}

/* BDAT: no dots, no end; the true end is told. */
static const struct bdat_row {
    const char *name;
    struct sv in;
    const char *out; /* normalised */
    unsigned flaws;
} bdat_rows[] = {
    {"nothing", SV_INIT(""), "", 0},
    {"dots stay", SV_INIT(".\r\n..a\r\n"), ".\r\n..a\r\n", 0},
    {"last line without its end", SV_INIT("a\r\nb"), "a\r\nb\r\n", 0},
    {"lone CR at the end", SV_INIT("a\r"), "a\r\n", CONTENT_BARE_CR},
    {"LF at the end", SV_INIT("a\n"), "a\r\n", CONTENT_BARE_LF},
    {"CRLF CR", SV_INIT("a\r\n\r"), "a\r\n\r\n", CONTENT_BARE_CR},
    {"dot at the end", SV_INIT("a\r\n."), "a\r\n.\r\n", 0},
};

static void
check_bdat(void **state)
{
    const struct bdat_row *r = *state;

    for (size_t step = 1; step <= r->in.n + 1; step++) {
        struct content_decoder d;
        struct buf out = {0};

        content_decoder_init(&d, false, CONTENT_NORMALIZE);
        decode(&d, r->in, step, &out);
        content_decode_end(&d, collect, &out);
        assert_sv(buf_view(&out), r->out);
        assert_int_equal(d.flaws, r->flaws);
        buf_fini(&out);
    }
}

static void
test_long_line(void **state UNUSED)
{
    for (size_t n = 990; n < 1010; n++) {
        struct content_decoder d;
        struct buf in = {0}, out = {0};

        buf_printf(&in, "%0*d\r\n.\r\n", (int)n, 1);
        content_decoder_init(&d, true, CONTENT_REJECT);
        decode(&d, buf_view(&in), 7, &out);
        assert_int_equal(d.flaws, n > 998 ? CONTENT_LONG_LINE : 0);
        buf_fini(&in);
        buf_fini(&out);
    }
}

/* Nothing is read behind the end, also by a second call. */
static void
test_ended_stays(void **state UNUSED)
{
    struct content_decoder d;
    struct buf out = {0};
    struct sv in = SV(".\r\nRSET\r\n");

    content_decoder_init(&d, true, CONTENT_REJECT);
    content_decode(&d, &in, collect, &out);
    content_decode(&d, &in, collect, &out);
    assert_sv(in, "RSET\r\n");
    assert_int_equal(buf_length(&out), 0);
}

static const struct encode_row {
    const char *name, *in, *out; /* with the end */
} encode_rows[] = {
    {"plain", "a\r\nb\r\n", "a\r\nb\r\n.\r\n"},
    {"empty", "", ".\r\n"},
    {"dot at the start", ".a\r\n", "..a\r\n.\r\n"},
    {"dots only", ".\r\n..\r\n", "..\r\n...\r\n.\r\n"},
    {"dot within a line", "a.\r\n", "a.\r\n.\r\n"},
    {"no last line end", "a", "a\r\n.\r\n"},
    {"dot as last byte", "a\r\n.", "a\r\n..\r\n.\r\n"},
};

static void
check_encode(void **state)
{
    const struct encode_row *r = *state;
    size_t length = strlen(r->in);

    for (size_t step = 1; step <= length + 1; step++) {
        struct content_encoder e;
        struct buf out = {0};

        content_encoder_init(&e);
        for (size_t at = 0; at < length; at += step)
            content_encode(&e, sv_slice(sv_of(r->in), at, step), collect, &out);
        buf_add(&out, content_encode_end(&e));
        assert_sv(buf_view(&out), r->out);
        buf_fini(&out);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_ended_stays),
    };

    return RUN_ROWS("content DATA", check_data, data_rows) +
           RUN_ROWS("content BDAT", check_bdat, bdat_rows) +
           RUN_ROWS("content encode", check_encode, encode_rows) +
           cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
