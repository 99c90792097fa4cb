/* TLSA records as bytes and text, which of them are usable, chains that match
 * or do not, and streams to servers that have to match. */
#include "base/buf.h"
#include "tls/dane.h"
#include "tls/stream.h"
#include "tls/test_pki.h"
#include "tls/tls_internal.h"
#include "unit.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

#define D32 "0000000000000000000000000000000000000000000000000000000000000000"

/* --- Bytes ------------------------------------------------------------ */

static const struct parse_row {
    const char *name;
    const char *bytes;
    size_t length;
    bool good;
} parse_rows[] = {
    {"nothing", "", 0, false},
    {"one byte", "\3", 1, false},
    {"two bytes", "\3\1", 2, false},
    {"three bytes: no data", "\3\1\1", 3, false},
    {"one byte of data", "\3\1\1x", 4, true},
};

static void
check_parse(void **state)
{
    const struct parse_row *row = *state;
    /* Storage of exactly this size, so that a sanitizer sees a step beyond. */
    uint8_t *copy = mem_alloc_raw(row->length);
    struct tls_tlsa tlsa;

    memcpy(copy, row->bytes, row->length);
    assert_int_equal(tls_tlsa_parse(copy, row->length, &tlsa), row->good);
    if (row->good) {
        assert_int_equal(tlsa.usage, 3);
        assert_int_equal(tlsa.selector, 1);
        assert_int_equal(tlsa.matching, 1);
        assert_int_equal(tlsa.length, 1);
        assert_int_equal(tlsa.data[0], 'x');
    }
    mem_free(copy);
}

static void
test_parse_long(void **state)
{
    static uint8_t data[UINT16_MAX + 4] = {3, 0, 0};
    struct tls_tlsa tlsa;

    (void)state;
    assert_true(tls_tlsa_parse(data, UINT16_MAX + 3, &tlsa));
    assert_int_equal(tlsa.length, UINT16_MAX);
    assert_false(tls_tlsa_parse(data, UINT16_MAX + 4, &tlsa));
}

/* --- Text ------------------------------------------------------------- */

static const struct text_row {
    const char *name, *text;
    const char *printed; /* NULL: refused */
} text_rows[] = {
    {"plain", "3 1 1 00ff", "3 1 1 00ff"},
    {"upper case", "3 1 1 00FF", "3 1 1 00ff"},
    {"blanks between digits", " 2\t0  2 0 0 f f ", "2 0 2 00ff"},
    {"numbers that nobody uses", "255 254 253 ab", "255 254 253 ab"},
    {"no data", "3 1 1", NULL},
    {"only blanks", "3 1 1  ", NULL},
    {"half a byte", "3 1 1 abc", NULL},
    {"no digit", "3 1 1 zz", NULL},
    {"too large a number", "256 1 1 ab", NULL},
    {"a word", "DANE-EE 1 1 ab", NULL},
    {"nothing", "", NULL},
    {"run together", "3 1 1ab", NULL},
    {"longer than the room", "3 1 1 0011223344556677", NULL},
};

static void
check_text(void **state)
{
    const struct text_row *row = *state;
    struct tls_tlsa tlsa;
    uint8_t room[7];
    char out[64];

    assert_int_equal(
        tls_tlsa_from_text(sv_of(row->text), &tlsa, room, sizeof room),
        row->printed != NULL);
    if (row->printed == NULL)
        return;
    tls_tlsa_print(&tlsa, out, sizeof out);
    assert_string_equal(out, row->printed);
}

/* Every size of room gives a whole text, never one byte more. */
static void
test_print_sizes(void **state)
{
    static const uint8_t data[] = {0x01, 0x23, 0x45, 0x67};
    const struct tls_tlsa tlsa = {3, 1, 1, sizeof data, data};

    (void)state;
    for (size_t size = 1; size < 20; size++) {
        char *out = mem_alloc_raw(size);

        tls_tlsa_print(&tlsa, out, size);
        assert_true(strlen(out) < size);
        if (size > 14)
            assert_string_equal(out, "3 1 1 01234567");
        else if (size == 14)
            assert_string_equal(out, "3 1 1 0123…");
        mem_free(out);
    }
}

/* --- Use -------------------------------------------------------------- */

/* Data: hex, or the DER of a certificate ("leaf") or key ("leaf key"). */
static const struct use_row {
    const char *name;
    uint8_t usage, selector, matching;
    const char *data;
    bool usable;
} use_rows[] = {
    {"3 1 1", 3, 1, 1, D32, true},
    {"3 0 1", 3, 0, 1, D32, true},
    {"2 0 1", 2, 0, 1, D32, true},
    {"2 1 1", 2, 1, 1, D32, true},
    {"3 1 2", 3, 1, 2, D32 D32, true},
    {"2 0 2", 2, 0, 2, D32 D32, true},
    {"3 0 0", 3, 0, 0, "leaf", true},
    {"3 1 0", 3, 1, 0, "leaf key", true},
    {"2 0 0", 2, 0, 0, "root", true},
    {"2 1 0", 2, 1, 0, "root key", true},
    {"PKIX-TA", 0, 0, 1, D32, false},
    {"PKIX-EE", 1, 1, 1, D32, false},
    {"usage 4", 4, 1, 1, D32, false},
    {"usage 255", 255, 1, 1, D32, false},
    {"selector 2", 3, 2, 1, D32, false},
    {"selector 255", 3, 255, 1, D32, false},
    {"matching 3", 3, 1, 3, D32, false},
    {"matching 255", 3, 1, 255, D32, false},
    {"SHA-256 of 31 bytes", 3, 1, 1, "0011", false},
    {"SHA-256 of 64 bytes", 3, 1, 1, D32 D32, false},
    {"SHA-512 of 32 bytes", 3, 1, 2, D32, false},
    {"no certificate", 3, 0, 0, D32, false},
    {"a key where a certificate belongs", 3, 0, 0, "leaf key", false},
    {"a certificate where a key belongs", 3, 1, 0, "leaf", false},
    {"a certificate and more", 2, 0, 0, "leaf+", false},
    {"a key and more", 2, 1, 0, "leaf key+", false},
};

enum { DATA_MAX = 4096 };

static X509 *
certificate_of(const char *name)
{
    char file[64];
    X509 *x509;
    FILE *in;

    snprintf(file, sizeof file, "%s.pem", name);
    in = fopen(pki_path(file), "re");
    assert_non_null(in);
    x509 = PEM_read_X509(in, NULL, NULL, NULL);
    fclose(in);
    assert_non_null(x509);
    return x509;
}

/* What a selector means; the length. */
static size_t
select_bytes(const char *name, bool key, uint8_t *out)
{
    X509 *x509 = certificate_of(name);
    int n = key ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &out)
                : i2d_X509(x509, &out);

    X509_free(x509);
    assert_true(n > 0 && n < DATA_MAX);
    return (size_t)n;
}

static size_t
read_data(const char *text, uint8_t *out)
{
    struct sv in = sv_of(text), more = in;
    struct sv name = sv_take_while(&more, char_is_alpha);
    char word[32];
    size_t n;

    if (char_is_digit(text[0])) {
        struct tls_tlsa tlsa;
        char whole[300];

        snprintf(whole, sizeof whole, "0 0 0 %s", text);
        assert_true(tls_tlsa_from_text(sv_of(whole), &tlsa, out, DATA_MAX));
        return tlsa.length;
    }
    assert_true(sv_to_cstr(name, word, sizeof word));
    n = select_bytes(word, sv_take_prefix(&more, SV(" key")), out);
    return n + sv_take_char(&more, '+');
}

static void
check_use(void **state)
{
    const struct use_row *row = *state;
    uint8_t data[DATA_MAX] = {0};
    struct tls_tlsa tlsa = {row->usage, row->selector, row->matching, 0, data};
    const char *problem;

    tlsa.length = (uint16_t)read_data(row->data, data);
    problem = tls_tlsa_problem(&tlsa);
    assert_int_equal(problem == NULL, row->usable);
    if (problem != NULL)
        assert_true(strlen(problem) > 8);
}

/* --- Chains ----------------------------------------------------------- */

static void
make_files(void)
{
    const struct pki_options all[] = {
        {.name = "root", .is_ca = true, .days = 3650},
        {.name = "sub", .is_ca = true, .issuer = "root", .days = 3650},
        {.name = "stranger", .is_ca = true, .days = 3650},
        {.name = "leaf", .names = "DNS:mx.test", .issuer = "root"},
        {.name = "deep", .names = "DNS:mx.test", .issuer = "sub"},
        {.name = "wild", .names = "DNS:*.dom.test", .issuer = "root"},
        {.name = "partial", .names = "DNS:m*.dom.test", .issuer = "root"},
        {.name = "other", .names = "DNS:other.test", .issuer = "root"},
        {.name = "mx.test", .issuer = "root"}, /* a common name alone */
        {.name = "both", .names = "DNS:mx.test,DNS:*.mx.test"},
        {.name = "old", .names = "DNS:mx.test", .issuer = "root", .days = -1},
        {.name = "early",
         .names = "DNS:mx.test",
         .issuer = "root",
         .begins = 5},
        {.name = "client",
         .names = "DNS:mx.test",
         .issuer = "root",
         .purposes = "clientAuth"},
        {.name = "anyone",
         .names = "DNS:mx.test",
         .issuer = "root",
         .purposes = "clientAuth,serverAuth"},
        {.name = "self", .names = "DNS:mx.test"},
        {.name = "selfca", .names = "DNS:mx.test", .is_ca = true},
        {.name = "weak",
         .names = "DNS:mx.test",
         .type = "RSA768",
         .issuer = "root"},
        {.name = "noca", .issuer = "root", .days = 3650},
        {.name = "undernoca", .names = "DNS:mx.test", .issuer = "noca"},
        {.name = "oldsub", .is_ca = true, .issuer = "root", .days = -1},
        {.name = "underold", .names = "DNS:mx.test", .issuer = "oldsub"},
        {.name = "short",
         .is_ca = true,
         .issuer = "root",
         .days = 3650,
         .constraints = "critical,CA:TRUE,pathlen:0"},
        {.name = "undershort", .is_ca = true, .issuer = "short", .days = 3650},
        {.name = "toodeep", .names = "DNS:mx.test", .issuer = "undershort"},
        {.name = "rsa",
         .names = "DNS:mx.test",
         .type = "RSA",
         .issuer = "root"},
        {.name = "edwards",
         .names = "DNS:mx.test",
         .type = "ED25519",
         .issuer = "root"},
    };

    for (size_t i = 0; i < COUNT_OF(all); i++)
        (void)pki_make(&all[i]);
}

/* records: "3 1 1 leaf, 2 0 1 root"; "!leaf": a digest of something else. The
 * base domain is mx.test, unless `base` says other. */
static const struct chain_row {
    const char *name, *chain, *records;
    const char *base, *further; /* NULL: mx.test, none */
    int days;                   /* from now */
    bool matched;
    int usage, depth;
    const char *found; /* name that matched, or a part of the reason */
} chain_rows[] = {
    /* DANE-EE */
    {.name = "3 1 1",
     .chain = "leaf",
     .records = "3 1 1 leaf",
     .matched = true,
     .usage = 3},
    {.name = "3 0 1",
     .chain = "leaf",
     .records = "3 0 1 leaf",
     .matched = true,
     .usage = 3},
    {.name = "3 1 2",
     .chain = "leaf",
     .records = "3 1 2 leaf",
     .matched = true,
     .usage = 3},
    {.name = "3 0 2",
     .chain = "leaf",
     .records = "3 0 2 leaf",
     .matched = true,
     .usage = 3},
    {.name = "3 1 0",
     .chain = "leaf",
     .records = "3 1 0 leaf",
     .matched = true,
     .usage = 3},
    {.name = "3 0 0",
     .chain = "leaf",
     .records = "3 0 0 leaf",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 of RSA",
     .chain = "rsa",
     .records = "3 1 1 rsa",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 of Ed25519",
     .chain = "edwards",
     .records = "3 1 1 edwards",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 self-signed",
     .chain = "self",
     .records = "3 1 1 self",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 expired: dates do not count",
     .chain = "old",
     .records = "3 1 1 old",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 years later",
     .chain = "leaf",
     .records = "3 1 1 leaf",
     .days = 5000,
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 not yet valid",
     .chain = "early",
     .records = "3 1 1 early",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 other name: names do not count",
     .chain = "other",
     .records = "3 1 1 other",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 client purpose: does not count",
     .chain = "client",
     .records = "3 1 1 client",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 issuer missing",
     .chain = "deep",
     .records = "3 1 1 deep",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 and rubbish in the chain",
     .chain = "leaf stranger old",
     .records = "3 1 1 leaf",
     .matched = true,
     .usage = 3},
    {.name = "3 1 1 of another",
     .chain = "leaf",
     .records = "3 1 1 other",
     .found = "no TLSA record matches"},
    {.name = "3 1 1 of the issuer does not count",
     .chain = "leaf root",
     .records = "3 1 1 root",
     .found = "no TLSA record matches"},
    {.name = "3 0 1 of the key",
     .chain = "leaf",
     .records = "3 0 1 !leaf",
     .found = "no TLSA record matches"},
    {.name = "3 1 1 with a key that is too weak",
     .chain = "weak",
     .records = "3 1 1 weak",
     .found = "key too weak"},
    {.name = "rollover: old and new",
     .chain = "leaf",
     .records = "3 1 1 other, 3 1 1 leaf",
     .matched = true,
     .usage = 3},
    {.name = "rollover: neither",
     .chain = "leaf",
     .records = "3 1 1 other, 3 1 1 old",
     .found = "no TLSA record matches"},

    /* DANE-TA */
    {.name = "2 0 1",
     .chain = "leaf root",
     .records = "2 0 1 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 1 1",
     .chain = "leaf root",
     .records = "2 1 1 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 0 2",
     .chain = "leaf root",
     .records = "2 0 2 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 1 2 of RSA",
     .chain = "rsa root",
     .records = "2 1 2 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 0 1 at depth 2",
     .chain = "deep sub root",
     .records = "2 0 1 root",
     .matched = true,
     .usage = 2,
     .depth = 2,
     .found = "mx.test"},
    {.name = "2 0 1 in the middle, root not sent",
     .chain = "deep sub",
     .records = "2 0 1 sub",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 1 1 in the middle, root sent too",
     .chain = "deep sub root",
     .records = "2 1 1 sub",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "wrong order of the chain",
     .chain = "deep root sub",
     .records = "2 0 1 root",
     .matched = true,
     .usage = 2,
     .depth = 2,
     .found = "mx.test"},
    {.name = "wildcard",
     .chain = "wild root",
     .records = "2 0 1 root",
     .base = "mx.dom.test",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "*.dom.test"},
    {.name = "wildcard stands for one label",
     .chain = "wild root",
     .records = "2 0 1 root",
     .base = "a.b.dom.test",
     .found = "none of the names"},
    {.name = "wildcard with more in its label",
     .chain = "partial root",
     .records = "2 0 1 root",
     .base = "mx.dom.test",
     .found = "none of the names"},
    {.name = "common name where there is no other",
     .chain = "mx.test root",
     .records = "2 0 1 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "wrong name",
     .chain = "other root",
     .records = "2 0 1 root",
     .found = "none of the names"},
    {.name = "next-hop domain",
     .chain = "other root",
     .records = "2 0 1 root",
     .further = "other.test",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "other.test"},
    {.name = "name with a leading dot is none",
     .chain = "leaf root",
     .records = "2 0 1 root",
     .base = ".test",
     .found = "no valid name"},
    {.name = "no name",
     .chain = "leaf root",
     .records = "2 0 1 root",
     .base = "",
     .found = "no valid name"},
    {.name = "expired",
     .chain = "old root",
     .records = "2 0 1 root",
     .found = "expired"},
    {.name = "not yet valid",
     .chain = "early root",
     .records = "2 0 1 root",
     .found = "not yet valid"},
    {.name = "expired issuer",
     .chain = "underold oldsub root",
     .records = "2 0 1 root",
     .found = "expired"},
    {.name = "purpose of a client",
     .chain = "client root",
     .records = "2 0 1 root",
     .found = "certificate purpose"},
    {.name = "purpose of both",
     .chain = "anyone root",
     .records = "2 0 1 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "issuer is no authority",
     .chain = "undernoca noca root",
     .records = "2 0 1 root",
     .found = "invalid CA"},
    {.name = "path too long",
     .chain = "toodeep undershort short root",
     .records = "2 0 1 root",
     .found = "path length"},
    {.name = "path length above the anchor does not count",
     .chain = "toodeep undershort short root",
     .records = "2 0 1 undershort",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "anchor not sent, only its digest",
     .chain = "leaf",
     .records = "2 0 1 root",
     .found = "no TLSA record matches"},
    {.name = "anchor not sent, middle sent",
     .chain = "deep sub",
     .records = "2 0 1 root",
     .found = "no TLSA record matches"},
    {.name = "2 0 0 brings the anchor",
     .chain = "leaf",
     .records = "2 0 0 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 0 0 at depth 2",
     .chain = "deep sub",
     .records = "2 0 0 root",
     .matched = true,
     .usage = 2,
     .depth = 2,
     .found = "mx.test"},
    {.name = "2 0 0 and the anchor sent",
     .chain = "leaf root",
     .records = "2 0 0 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 1 0 brings the key",
     .chain = "leaf",
     .records = "2 1 0 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "2 1 0 at depth 2",
     .chain = "deep sub",
     .records = "2 1 0 root",
     .matched = true,
     .usage = 2,
     .depth = 2,
     .found = "mx.test"},
    {.name = "2 1 0 of a stranger",
     .chain = "leaf",
     .records = "2 1 0 stranger",
     .found = ""},
    {.name = "2 1 0, wrong name",
     .chain = "other",
     .records = "2 1 0 root",
     .found = "none of the names"},
    {.name = "2 0 0, expired",
     .chain = "old",
     .records = "2 0 0 root",
     .found = "expired"},
    {.name = "an anchor that did not sign",
     .chain = "leaf stranger",
     .records = "2 0 1 stranger",
     .found = ""},
    {.name = "an anchor must stand above the leaf",
     .chain = "leaf root",
     .records = "2 0 1 leaf",
     .found = ""},
    {.name = "self-signed leaf as anchor",
     .chain = "self",
     .records = "2 0 1 self",
     .found = ""},

    /* Several kinds */
    {.name = "EE fails, TA matches",
     .chain = "leaf root",
     .records = "3 1 1 other, 2 0 1 root",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "TA would fail by name, EE matches",
     .chain = "other root",
     .records = "2 0 1 root, 3 1 1 other",
     .matched = true,
     .usage = 3},
    {.name = "unusable ones are passed over",
     .chain = "leaf",
     .records = "1 1 1 leaf, 3 1 3 leaf, 3 2 1 leaf, 3 1 1 leaf",
     .matched = true,
     .usage = 3},
    {.name = "only unusable ones",
     .chain = "leaf root",
     .records = "1 1 1 leaf, 0 0 1 root",
     .found = "no usable TLSA record"},

    /* Digest agility, RFC 7671 section 9 */
    {.name = "the stronger digest alone counts",
     .chain = "leaf",
     .records = "3 1 1 leaf, 3 1 2 !leaf",
     .found = "no TLSA record matches"},
    {.name = "the weaker one is not looked at",
     .chain = "leaf",
     .records = "3 1 1 !leaf, 3 1 2 leaf",
     .matched = true,
     .usage = 3},
    {.name = "for each selector by itself",
     .chain = "leaf",
     .records = "3 0 1 leaf, 3 1 2 !leaf",
     .matched = true,
     .usage = 3},
    {.name = "for each usage by itself",
     .chain = "leaf root",
     .records = "2 1 1 root, 3 1 2 !leaf",
     .matched = true,
     .usage = 2,
     .depth = 1,
     .found = "mx.test"},
    {.name = "a full record counts beside",
     .chain = "leaf",
     .records = "3 1 0 leaf, 3 1 2 !leaf",
     .matched = true,
     .usage = 3},
    {.name = "a stronger digest of wrong length counts not",
     .chain = "leaf",
     .records = "3 1 1 leaf, 3 1 2 short",
     .matched = true,
     .usage = 3},
};

struct records {
    struct tls_tlsa tlsa[TLS_TLSA_MAX];
    uint8_t data[8][DATA_MAX];
    size_t count;
};

static uint16_t
digest(const EVP_MD *md, uint8_t *data, size_t n)
{
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned length;

    assert_int_equal(EVP_Digest(data, n, out, &length, md, NULL), 1);
    memcpy(data, out, length);
    return (uint16_t)length;
}

static unsigned
take_number(struct sv *in)
{
    uint32_t number = 0;

    while (sv_take_char(in, ' '))
        ;
    assert_true(sv_to_u32(sv_take_while(in, char_is_digit), &number));
    return number;
}

static void
add_record(struct sv text, struct records *records)
{
    struct tls_tlsa *tlsa = &records->tlsa[records->count];
    uint8_t *data = records->data[records->count++];
    char name[32];
    bool wrong;
    size_t n;

    tlsa->usage = (uint8_t)take_number(&text);
    tlsa->selector = (uint8_t)take_number(&text);
    tlsa->matching = (uint8_t)take_number(&text);
    tlsa->data = data;
    sv_take_char(&text, ' ');
    wrong = sv_take_char(&text, '!');
    assert_true(sv_to_cstr(text, name, sizeof name));
    n = select_bytes(strcmp(name, "short") == 0 ? "leaf" : name,
                     tlsa->selector == 1, data);
    data[n - 1] ^= wrong;
    tlsa->length = tlsa->matching == 0   ? (uint16_t)n
                   : tlsa->matching == 2 ? digest(EVP_sha512(), data, n)
                                         : digest(EVP_sha256(), data, n);
    if (strcmp(name, "short") == 0)
        tlsa->length = 10;
}

static void
read_records(const char *text, struct records *records)
{
    struct sv in = sv_of(text);

    records->count = 0;
    while (in.n > 0)
        add_record(sv_trim(sv_take_until(&in, ',')), records);
}

static void
read_chain(const char *names, struct buf *pem)
{
    struct sv in = sv_of(names);

    while (in.n > 0) {
        struct sv word = sv_take_until(&in, ' ');
        BIO *bio = BIO_new(BIO_s_mem());
        char name[32];
        X509 *x509;
        char *text;
        long n;

        assert_true(sv_to_cstr(word, name, sizeof name));
        x509 = certificate_of(name);
        PEM_write_bio_X509(bio, x509);
        n = BIO_get_mem_data(bio, &text);
        buf_add(pem, (struct sv){text, (size_t)n});
        BIO_free(bio);
        X509_free(x509);
    }
}

static void
check_chain(void **state)
{
    const struct chain_row *row = *state;
    static struct records records;
    struct tls_dane dane = {.tlsa = records.tlsa,
                            .base = row->base != NULL ? row->base : "mx.test"};
    struct tls_dane_facts facts;
    struct buf pem = {0};

    read_records(row->records, &records);
    read_chain(row->chain, &pem);
    dane.tlsa_count = records.count;
    if (row->further != NULL)
        dane.names[dane.name_count++] = row->further;
    if (tls_dane_verify(buf_view(&pem), &dane, time(NULL) + row->days * 86400L,
                        &facts) != row->matched)
        fail_msg("%s: %s", row->matched ? "no match" : "match", facts.reason);
    buf_fini(&pem);
    assert_true(facts.asked);
    assert_int_equal(facts.matched, row->matched);
    if (!row->matched) {
        if (strstr(facts.reason, row->found) == NULL)
            fail_msg("reason: %s", facts.reason);
        assert_true(facts.reason[0] != '\0');
        return;
    }
    assert_string_equal(facts.reason, "");
    assert_int_equal(facts.usage, row->usage);
    assert_int_equal(facts.depth, row->depth);
    assert_string_equal(facts.name, row->found != NULL ? row->found : "");
}

static void
test_no_chain(void **state)
{
    static struct records records;
    struct tls_dane dane = {.tlsa = records.tlsa, .base = "mx.test"};
    struct tls_dane_facts facts;

    (void)state;
    read_records("3 1 1 leaf", &records);
    dane.tlsa_count = records.count;
    assert_false(tls_dane_verify(SV(""), &dane, time(NULL), &facts));
    assert_non_null(strstr(facts.reason, "no certificate"));
    assert_false(tls_dane_verify(SV("-----BEGIN CERTIFICATE-----\nrubbish\n"
                                    "-----END CERTIFICATE-----\n"),
                                 &dane, time(NULL), &facts));
    assert_non_null(strstr(facts.reason, "no certificate"));
}

/* Of more than a hundred records the first hundred count. */
static void
test_many_records(void **state)
{
    static struct tls_tlsa many[TLS_TLSA_MAX + 1];
    static struct records records;
    struct tls_dane dane = {.tlsa = many, .base = "mx.test"};
    struct tls_dane_facts facts;
    struct buf pem = {0};

    (void)state;
    read_chain("leaf", &pem);
    read_records("3 1 1 leaf, 3 1 1 other", &records);
    for (size_t i = 0; i < TLS_TLSA_MAX; i++)
        many[i] = records.tlsa[1];
    many[TLS_TLSA_MAX] = records.tlsa[0];
    dane.tlsa_count = TLS_TLSA_MAX + 1;
    assert_false(tls_dane_verify(buf_view(&pem), &dane, time(NULL), &facts));
    many[TLS_TLSA_MAX - 1] = records.tlsa[0];
    assert_true(tls_dane_verify(buf_view(&pem), &dane, time(NULL), &facts));
    buf_fini(&pem);
}

/* --- Streams ---------------------------------------------------------- */

struct end {
    struct tls_stream *stream;
    struct buf to_peer;
    enum tls_result result;
    struct tls_failure failure;
};

static void
on_emit(void *arg, struct sv ciphertext)
{
    struct end *end = arg;

    buf_add(&end->to_peer, ciphertext);
}

static void
step(struct end *end, struct end *peer)
{
    struct sv in = buf_view(&peer->to_peer);

    if (end->result != TLS_AGAIN)
        return;
    end->result = tls_stream_handshake(end->stream, &in, &end->failure);
    buf_consume(&peer->to_peer, buf_length(&peer->to_peer) - in.n);
}

/* With TLS 1.3 the tickets come behind the handshake. */
static void
read_tickets(struct end *c, struct end *s)
{
    struct sv in = buf_view(&s->to_peer);
    char room[16];
    size_t n;

    assert_int_equal(
        tls_stream_read(c->stream, &in, room, sizeof room, &n, &c->failure),
        TLS_AGAIN);
}

static void
connect_ends(struct end *c, struct end *s)
{
    c->result = s->result = TLS_AGAIN;
    for (int i = 0; i < 10; i++) {
        step(c, s);
        step(s, c);
    }
    assert_int_equal(c->result, TLS_OK);
    assert_int_equal(s->result, TLS_OK);
    read_tickets(c, s);
}

static struct tls_context *
server_of(const char *name, unsigned versions)
{
    char chain[64], key[64];
    struct tls_profile profile = {.versions = versions, .strength = TLS_MEDIUM};
    struct tls_certificate_files files = {.name = name};
    struct tls_context *context;
    struct err err;

    snprintf(chain, sizeof chain, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    files.chain = pki_path(chain);
    files.key = pki_path(key);
    context = tls_context_new_server(&profile, &files, 1, SV("x"), &err);
    if (context == NULL)
        fail_msg("%s", err.text);
    return context;
}

/* Trusts the authority of all servers but those of strangers. */
static struct tls_context *
client_of(unsigned versions)
{
    struct tls_profile profile = {.versions = versions, .strength = TLS_MEDIUM};
    struct err err;
    struct tls_context *context =
        tls_context_new_client(&profile, NULL, pki_path("root.pem"), &err);

    if (context == NULL)
        fail_msg("%s", err.text);
    return context;
}

/* One connection; its facts are looked at inside. */
struct attempt {
    struct tls_context *client, *server;
    const char *records; /* NULL: without DANE */
    const struct tls_session_key *key;
    bool matched, resumed, verified;
};

static void
attempt(const struct attempt *a)
{
    static struct records records;
    struct tls_dane dane = {.tlsa = records.tlsa, .base = "mx.test"};
    struct end c = {0}, s = {0};
    const struct tls_facts *facts;

    if (a->records != NULL)
        read_records(a->records, &records);
    dane.tlsa_count = records.count;
    c.stream = tls_stream_new_client_dane(
        a->client, SV("elsewhere.test"), a->key,
        a->records != NULL ? &dane : NULL, on_emit, &c);
    s.stream = tls_stream_new_server(a->server, on_emit, &s);
    memset(&records, 0, sizeof records); /* the stream has what it needs */
    connect_ends(&c, &s);
    facts = tls_stream_facts(c.stream);
    assert_int_equal(facts->dane->asked, a->records != NULL);
    if (facts->dane->matched != a->matched)
        fail_msg("%s", facts->dane->reason);
    assert_int_equal(facts->resumed, a->resumed);
    assert_int_equal(facts->verify == TLS_VERIFY_OK, a->verified);
    assert_string_equal(facts->dane->reason[0] != '\0' ? "why" : "",
                        a->records != NULL && !a->matched ? "why" : "");
    if (facts->dane->matched)
        assert_true(facts->dane->usage >= 2);
    assert_string_equal(tls_stream_facts(s.stream)->server_name,
                        a->records != NULL ? "mx.test" : "elsewhere.test");
    assert_false(tls_stream_facts(s.stream)->dane->asked);
    tls_stream_free(c.stream);
    tls_stream_free(s.stream);
    buf_fini(&c.to_peer);
    buf_fini(&s.to_peer);
}

static const struct stream_row {
    const char *name, *server, *records;
    bool matched, verified;
} stream_rows[] = {
    {"DANE-EE", "leaf", "3 1 1 leaf", true, true},
    {"DANE-EE, self-signed", "self", "3 1 1 self", true, true},
    {"DANE-EE, expired", "old", "3 1 1 old", true, true},
    {"DANE-EE, other name", "other", "3 1 1 other", true, true},
    {"DANE-TA", "leaf", "2 0 1 root", true, true},
    {"DANE-TA, wrong name", "other", "2 0 1 root", false, false},
    {"DANE-TA, expired", "old", "2 0 1 root", false, false},
    {"the public authorities do not count", "leaf", "3 1 1 other", false,
     false},
    {"nor where no record is usable", "leaf", "1 1 1 leaf", false, false},
    {"without DANE they do", "leaf", NULL, false, true},
};

static void
check_stream(void **state)
{
    const struct stream_row *row = *state;

    for (unsigned version = TLS_BIT_TLS12; version <= TLS_BIT_TLS13;
         version <<= 1) {
        struct attempt a = {
            .client = client_of(version),
            .server = server_of(row->server, version),
            .records = row->records,
            .matched = row->matched,
            .verified = row->verified,
        };

        attempt(&a);
        tls_context_unref(a.client);
        tls_context_unref(a.server);
    }
}

/* A session is used again under the same records only; what did not match is
 * never kept; and with or without DANE are two worlds, even under one key. */
static void
check_resumption(unsigned version)
{
    const struct tls_session_key key = {{(uint8_t)version}};
    struct tls_context *client = client_of(version);
    struct tls_context *server = server_of("leaf", version);
    struct attempt ee = {client, server, "3 1 1 leaf", &key, true, false, true};
    struct attempt ta = {client, server, "2 0 1 root", &key, true, false, true};
    struct attempt wrong = {client, server, "3 1 1 other", &key,
                            false,  false,  false};
    struct attempt plain = {client, server, NULL, &key, false, false, true};

    tls_session_cache_clear();
    attempt(&ee);
    ee.resumed = true;
    attempt(&ee);
    attempt(&ee);
    attempt(&wrong);
    attempt(&wrong);
    ee.resumed = false; /* found to be another's, it was dropped */
    attempt(&ee);
    attempt(&ta);
    ta.resumed = true;
    attempt(&ta);
    attempt(&plain);
    plain.resumed = true;
    attempt(&plain);
    ee.resumed = false;
    attempt(&ee);
    tls_context_unref(client);
    tls_context_unref(server);
}

static void
test_resumption(void **state)
{
    (void)state;
    check_resumption(TLS_BIT_TLS12);
    check_resumption(TLS_BIT_TLS13);
}

/* The handshake breaks before a certificate was seen. */
static void
test_broken_handshake(void **state)
{
    static struct records records;
    struct tls_dane dane = {.tlsa = records.tlsa, .base = "mx.test"};
    struct tls_context *client = client_of(TLS_BIT_TLS13);
    struct end c = {.result = TLS_AGAIN};
    struct sv rubbish = SV("220 what do you want\r\n");

    (void)state;
    read_records("3 1 1 leaf", &records);
    dane.tlsa_count = records.count;
    c.stream =
        tls_stream_new_client_dane(client, SV(""), NULL, &dane, on_emit, &c);
    assert_int_equal(tls_stream_handshake(c.stream, &rubbish, &c.failure),
                     TLS_ERROR);
    assert_true(tls_stream_facts(c.stream)->dane->asked);
    assert_false(tls_stream_facts(c.stream)->dane->matched);
    assert_int_not_equal(tls_stream_facts(c.stream)->dane->reason[0], '\0');
    tls_stream_free(c.stream);
    buf_fini(&c.to_peer);
    tls_context_unref(client);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_long),
        cmocka_unit_test(test_print_sizes),
        cmocka_unit_test(test_no_chain),
        cmocka_unit_test(test_many_records),
        cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_broken_handshake),
    };
    struct err err;

    if (!tls_init(&err))
        return 1;
    make_files();
    return RUN_ROWS("tlsa_parse", check_parse, parse_rows) +
           RUN_ROWS("tlsa_text", check_text, text_rows) +
           RUN_ROWS("tlsa_use", check_use, use_rows) +
           RUN_ROWS("dane_chain", check_chain, chain_rows) +
           RUN_ROWS("dane_stream", check_stream, stream_rows) +
           cmocka_run_group_tests_name("dane", tests, NULL, NULL);
}
