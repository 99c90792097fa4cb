#include "mail/envelope.h"
#include "unit.h"

static void
test_round_trip(void **state UNUSED)
{
    struct envelope_recipient to[] = {
        {.address = SV_INIT("ann@example.org"),
         .domain = SV_INIT("example.org"),
         .orcpt = SV_INIT("rfc822;ann+2Bx@example.org"),
         .notify = NOTIFY_SUCCESS | NOTIFY_DELAY},
        {.address = SV_INIT("\"b c\"@[192.0.2.1]"),
         .domain = SV_INIT("[192.0.2.1]")},
    };
    struct envelope in = {
        .queue_id = SV_INIT("B4d3dcb910000"),
        .sender = SV_INIT("s@client.example"),
        .envid = SV_INIT("QQ314159"),
        .ret = RET_HDRS,
        .body = BODY_8BITMIME,
        .smtputf8 = true,
        .header_utf8 = true,
        .client_address = SV_INIT("2001:db8::1"),
        .client_name = SV_INIT("client.example"),
        .session = SV_INIT("7f"),
        .listener = SV_INIT("mx"),
        .tls_version = SV_INIT("TLSv1.3"),
        .tls_cipher = SV_INIT("TLS_AES_256_GCM_SHA384"),
        .tls_demands = ENVELOPE_REQUIRETLS | ENVELOPE_TLS_REPORT,
        .header_bytes = 0x01020304,
        .recipients = to,
        .recipient_count = COUNT_OF(to),
    };
    struct buf bytes = {0}, again = {0};
    struct envelope out;
    struct arena arena;
    struct err err;

    arena_init(&arena, 1024);
    envelope_encode(&in, &bytes);
    assert_true(envelope_decode(buf_view(&bytes), &arena, &out, &err));
    assert_true(sv_eq(out.sender, in.sender));
    assert_true(sv_eq(out.tls_cipher, in.tls_cipher));
    assert_int_equal(out.ret, RET_HDRS);
    assert_int_equal(out.body, BODY_8BITMIME);
    assert_true(out.smtputf8 && out.header_utf8 && !out.eight_bit);
    assert_int_equal(out.header_bytes, 0x01020304);
    assert_int_equal(out.tls_demands, in.tls_demands);
    assert_int_equal(out.recipient_count, 2);
    assert_true(sv_eq(out.recipients[0].orcpt, to[0].orcpt));
    assert_int_equal(out.recipients[0].notify, to[0].notify);
    assert_true(sv_eq(out.recipients[1].address, to[1].address));
    assert_int_equal(out.recipients[1].orcpt.n, 0);
    envelope_encode(&out, &again);
    assert_true(sv_eq(buf_view(&bytes), buf_view(&again)));
    /* Every cut is found, except one between two items. */
    for (size_t n = 0; n < buf_length(&bytes); n++) {
        struct sv cut = sv_slice(buf_view(&bytes), 0, n);

        if (envelope_decode(cut, &arena, &out, &err)) {
            buf_reset(&again);
            envelope_encode(&out, &again);
            assert_true(sv_eq(buf_view(&again), cut) ||
                        buf_length(&again) == n);
        }
    }
    buf_fini(&bytes);
    buf_fini(&again);
    arena_fini(&arena);
}

static const struct row {
    const char *name;
    struct sv in;
    bool ok;
} rows[] = {
    {"nothing", SV_INIT(""), true},
    {"unknown tag", SV_INIT("\xfe\0\3\0abc"), true},
    {"empty recipient", SV_INIT("\x20\0\0\0"), true},
    {"half a head", SV_INIT("\1\0\3"), false},
    {"length beyond the end", SV_INIT("\1\0\4\0abc"), false},
    {"longest length",
     SV_INIT("\1\0\xff\xff"
             "abc"),
     false},
    {"reserved byte set", SV_INIT("\1\1\0\0"), false},
    {"ORCPT before any recipient", SV_INIT("\x22\0\1\0x"), false},
    {"NOTIFY before any recipient", SV_INIT("\x23\0\1\0\1"), false},
    {"NOTIFY too long", SV_INIT("\x20\0\0\0\x23\0\2\0\1\0"), false},
    {"NOTIFY unknown bit", SV_INIT("\x20\0\0\0\x23\0\1\0\x10"), false},
    {"RET out of range", SV_INIT("\4\0\1\0\3"), false},
    {"RET empty", SV_INIT("\4\0\0\0"), false},
    {"BODY out of range", SV_INIT("\5\0\1\0\2"), false},
    {"TLS demands", SV_INIT("\x0e\0\1\0\x3f"), true},
    {"TLS demand unknown", SV_INIT("\x0e\0\1\0\x40"), false},
    {"TLS demands empty", SV_INIT("\x0e\0\0\0"), false},
    {"TLS demands too long", SV_INIT("\x0e\0\2\0\1\0"), false},
    {"HEADER_BYTES short", SV_INIT("\7\0\3\0\1\2\3"), false},
};

/* Records of earlier versions have no such item: no demand. */
static void
test_without_demands(void **state UNUSED)
{
    struct sv old = SV("\2\0\3\0a@b\x20\0\3\0c@d");
    struct envelope out;
    struct buf again = {0};
    struct arena arena;
    struct err err;

    arena_init(&arena, 256);
    assert_true(envelope_decode(old, &arena, &out, &err));
    assert_int_equal(out.tls_demands, 0);
    envelope_encode(&out, &again);
    assert_true(sv_eq(buf_view(&again), old));
    buf_fini(&again);
    arena_fini(&arena);
}

static void
test_demand_names(void **state UNUSED)
{
    char text[ENVELOPE_TLS_TEXT];
    unsigned all = 0;
    struct sv rest;

    assert_string_equal(envelope_tls_text(0, text), "");
    assert_string_equal(envelope_tls_text(ENVELOPE_TLS_OPTIONAL, text),
                        "tls-optional");
    assert_string_equal(envelope_tls_text(63, text),
                        "requiretls,tls-optional,tls-required,tls-verified,"
                        "ignore-dane,tls-report");
    for (rest = sv_of(text); rest.n > 0;)
        assert_true(envelope_tls_add(sv_take_until(&rest, ','), &all));
    assert_int_equal(all, 63);
    assert_false(envelope_tls_add(SV("tls"), &all));
    assert_false(envelope_tls_add(SV(""), &all));
}

static void
check(void **state)
{
    const struct row *r = *state;
    struct envelope out;
    struct arena arena;
    struct err err = {0};

    arena_init(&arena, 256);
    assert_int_equal(envelope_decode(r->in, &arena, &out, &err), r->ok);
    assert_int_equal(err.text[0] == '\0', r->ok);
    arena_fini(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_without_demands),
        cmocka_unit_test(test_demand_names),
    };

    return RUN_ROWS("envelope_decode", check, rows) +
           cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}
