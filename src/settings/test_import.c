/* Exports of other products: the exact report, and what is written. */
#include "base/buf.h"
#include "settings/import.h"
#include "settings/settings.h"
#include "unit.h"

#define REG "Windows Registry Editor Version 5.00\r\n\r\n"
#define KEY "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Marshal\\MailMarshal"

struct row {
    const char *name;
    const char *text;
    const char *report;
    const char *fragment;
};

static const struct row rows[] = {
    {"nothing", "", "0 taken, 0 ignored, 0 refused\n", ""},
    {"list",
     "Name,Type,Value\n"
     "SSLMethodTLSv1_0,Integer,0\n"
     "Servers.GW1.SSLMethodTLSv1_1,integer,1\n",
     "line 2: SSLMethodTLSv1_0: taken as "
     "servers.default.tls_versions.TLSv1.0: off\n"
     "line 3: Servers.GW1.SSLMethodTLSv1_1: taken as "
     "servers.gw1.tls_versions.TLSv1.1: on\n"
     "2 taken, 0 ignored, 0 refused\n",
     "advanced:\n"
     "  SSLMethodTLSv1_0: 0\n"
     "  Servers.GW1.SSLMethodTLSv1_1: 1\n"},
    {"assignments",
     "# comment\n"
     "Sender.SSLMethodTLSv1.0 = 0\n"
     "; comment\n"
     "Sender.TLSCipherList = ALL:!aDH:!ADH:!aNULL:!RC4:@STRENGTH\n",
     "line 2: Sender.SSLMethodTLSv1.0: taken as "
     "sender.tls_versions.TLSv1.0: off\n"
     "line 4: Sender.TLSCipherList: taken as sender.tls_ciphers: "
     "ALL:!aDH:!ADH:!aNULL:!RC4:@STRENGTH\n"
     "2 taken, 0 ignored, 0 refused\n",
     "advanced:\n"
     "  Sender.SSLMethodTLSv1_0: 0\n"
     "  Sender.TLSCipherList: \"ALL:!aDH:!ADH:!aNULL:!RC4:@STRENGTH\"\n"},
    {"quotes and tabs",
     "\"Sender.SSLMethodSSLv3\",\"Integer\",\"0\"\n"
     "SSLMethodSSLv3\tInteger\t0\n",
     "line 1: Sender.SSLMethodSSLv3: taken as "
     "sender.tls_versions.SSLv3: off\n"
     "line 2: SSLMethodSSLv3: taken as servers.default.tls_versions.SSLv3: "
     "off\n"
     "2 taken, 0 ignored, 0 refused\n",
     "advanced:\n"
     "  Sender.SSLMethodSSLv3: 0\n"
     "  SSLMethodSSLv3: 0\n"},
    {"ciphers with commas", "TLSCipherList,String,AES256-SHA,AES128-SHA\n",
     "line 1: TLSCipherList: taken as servers.default.tls_ciphers: "
     "AES256-SHA,AES128-SHA\n"
     "1 taken, 0 ignored, 0 refused\n",
     "advanced:\n"
     "  TLSCipherList: \"AES256-SHA,AES128-SHA\"\n"},
    {"names that are not here",
     "Sender.EnableDANE,Boolean,True\n"
     "Receiver.MaxThreads,Integer,5\n",
     "line 1: Sender.EnableDANE: taken as destinations.default.dane: "
     "opportunistic\n"
     "line 2: Receiver.MaxThreads: ignored because Waxgate has no such "
     "setting\n"
     "1 taken, 1 ignored, 0 refused\n",
     "advanced:\n"
     "  Sender.EnableDANE: \"True\"\n"},
    {"values that are wrong",
     "SSLMethodTLSv1_0 = 2\n"
     "SSLMethodTLSv1_1,String,1\n"
     "TLSCipherStrength = best\n"
     "nonsense\n"
     "SSLMethodTLSv1_2,1\n",
     "line 1: SSLMethodTLSv1_0: refused: must be 0 or 1, not \"2\"\n"
     "line 2: SSLMethodTLSv1_1: refused because it is Integer, not String\n"
     "line 3: TLSCipherStrength: refused: \"best\" is none of: High, "
     "Medium, Low\n"
     "line 4: nonsense: refused because it is neither Name,Type,Value nor "
     "Name = Value\n"
     "line 5: SSLMethodTLSv1_2: refused: must be 0 or 1, not \"\"\n"
     "0 taken, 0 ignored, 5 refused\n",
     ""},
    {"the same twice",
     "SSLMethodTLSv1.0 = 0\n"
     "SSLMethodTLSv1_0 = 0\n"
     "sslmethodtlsv1_0 = 1\n",
     "line 1: SSLMethodTLSv1.0: taken as "
     "servers.default.tls_versions.TLSv1.0: off\n"
     "line 2: SSLMethodTLSv1_0: ignored because line 1 says the same\n"
     "line 3: sslmethodtlsv1_0: refused because line 1 sets the same to "
     "another value\n"
     "1 taken, 1 ignored, 1 refused\n",
     "advanced:\n"
     "  SSLMethodTLSv1_0: 0\n"},
    {"registry",
     REG KEY
     "\\Default\\Receiver]\r\n"
     "\"SSLMethodTLSv1.0\"=dword:00000000\r\n"
     "\"SSLMethodTLSv1_1\"=dword:00000001\r\n" KEY "\\Default\\Sender]\r\n"
     "\"TLSCipherList\"=\"ALL:!DH:!aNULL\"\r\n" KEY "\\Servers\\GW2]\r\n"
     "\"SSLMethodSSLv3\"=dword:0\r\n",
     "line 4: SSLMethodTLSv1.0: taken as "
     "servers.default.tls_versions.TLSv1.0: off\n"
     "line 5: SSLMethodTLSv1_1: taken as "
     "servers.default.tls_versions.TLSv1.1: on\n"
     "line 7: Sender.TLSCipherList: taken as sender.tls_ciphers: "
     "ALL:!DH:!aNULL\n"
     "line 9: Servers.GW2.SSLMethodSSLv3: taken as "
     "servers.gw2.tls_versions.SSLv3: off\n"
     "4 taken, 0 ignored, 0 refused\n",
     "advanced:\n"
     "  SSLMethodTLSv1_0: 0\n"
     "  SSLMethodTLSv1_1: 1\n"
     "  Sender.TLSCipherList: \"ALL:!DH:!aNULL\"\n"
     "  Servers.GW2.SSLMethodSSLv3: 0\n"},
    {"registry, other data",
     REG "[HKEY_CURRENT_USER\\Software\\Other]\n"
         "\"SSLMethodTLSv1_0\"=dword:00000000\n" KEY "]\n"
         "@=\"x\"\n"
         "\"Blob\"=hex:01,\\\n"
         "  02\n"
         "\"SSLMethodTLSv1_0\"=-\n"
         "\"SSLMethodTLSv1_1\"=dword:zz\n"
         "\"SSLMethodTLSv1_2\"=word\n"
         "SSLMethodTLSv1_3=1\n"
         "[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Marshal\\MailMarshal]\n"
         "\"SSLMethodTLSv1_3\"=dword:1\n",
     "line 4: SSLMethodTLSv1_0: ignored because its key is not one of "
     "MailMarshal\n"
     "line 6: @: ignored because the nameless value of a key is no setting\n"
     "line 7: Blob: ignored because binary values hold none of these "
     "settings\n"
     "line 9: SSLMethodTLSv1_0: ignored because it only deletes a value\n"
     "line 10: SSLMethodTLSv1_1: refused because dword: needs up to 8 "
     "hexadecimal digits\n"
     "line 11: SSLMethodTLSv1_2: refused because it is neither dword: nor "
     "text in quotes\n"
     "line 12: SSLMethodTLSv1_3=1: refused because it is not "
     "\"name\"=value\n"
     "line 14: SSLMethodTLSv1_3: ignored because its key is not one of "
     "MailMarshal\n"
     "0 taken, 5 ignored, 3 refused\n",
     ""},
    {"sslconfig",
     "sslconfig settings:\n"
     "  GUI HTTPS method:  tlsv1/tlsv1.2\n"
     "  Inbound SMTP ciphers: MEDIUM:HIGH:-SSLv2:-aNULL:!RC4:@STRENGTH:"
     "-EXPORT\n"
     "  Outbound SMTP method:  tlsv1_0/tlsv1_2\n",
     "line 2: GUI HTTPS method: ignored because Waxgate has no web interface "
     "of its own here\n"
     "line 3: TLSCipherList: taken as servers.default.tls_ciphers: "
     "MEDIUM:HIGH:-SSLv2:-aNULL:!RC4:@STRENGTH:-EXPORT\n"
     "line 4: Sender.SSLMethodSSLv2: taken as "
     "sender.tls_versions.SSLv2: off\n"
     "line 4: Sender.SSLMethodSSLv3: taken as "
     "sender.tls_versions.SSLv3: off\n"
     "line 4: Sender.SSLMethodTLSv1_0: taken as "
     "sender.tls_versions.TLSv1.0: on\n"
     "line 4: Sender.SSLMethodTLSv1_1: taken as "
     "sender.tls_versions.TLSv1.1: off\n"
     "line 4: Sender.SSLMethodTLSv1_2: taken as "
     "sender.tls_versions.TLSv1.2: on\n"
     "line 4: Sender.SSLMethodTLSv1_3: taken as "
     "sender.tls_versions.TLSv1.3: off\n"
     "7 taken, 1 ignored, 0 refused\n",
     "advanced:\n"
     "  TLSCipherList: \"MEDIUM:HIGH:-SSLv2:-aNULL:!RC4:@STRENGTH:"
     "-EXPORT\"\n"
     "  Sender.SSLMethodSSLv2: 0\n"
     "  Sender.SSLMethodSSLv3: 0\n"
     "  Sender.SSLMethodTLSv1_0: 1\n"
     "  Sender.SSLMethodTLSv1_1: 0\n"
     "  Sender.SSLMethodTLSv1_2: 1\n"
     "  Sender.SSLMethodTLSv1_3: 0\n"},
    {"sslconfig, unknown method", "Inbound SMTP method: tlsv1.2/dtls\n",
     "line 1: Inbound SMTP method: refused because it holds a method that is "
     "not known\n"
     "0 taken, 0 ignored, 1 refused\n",
     ""},
    {"bytes that would disturb a terminal", "a\x1b[2J\x80 = 1\n",
     "line 1: a?[2J?: ignored because Waxgate has no such setting\n"
     "0 taken, 1 ignored, 0 refused\n",
     ""},
};

static void
check_text(struct sv text, const struct row *r)
{
    struct buf out = {0};
    struct import import;
    struct err err;

    if (!import_read(text, &import, &err))
        fail_msg("%s", err.text);
    import_report(&import, &out);
    assert_string_equal(buf_cstr(&out), r->report);
    buf_reset(&out);
    import_fragment(&import, &out);
    assert_string_equal(buf_cstr(&out), r->fragment);
    import_fini(&import);
    buf_fini(&out);
}

static void
check(void **state)
{
    const struct row *r = *state;

    check_text(sv_of(r->text), r);
}

/* The same in UTF-16LE with its mark. */
static void
check_utf16(void **state)
{
    const struct row *r = *state;
    struct buf wide = {0};

    buf_add_str(&wide, "\xff\xfe");
    for (const char *c = r->text; *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80)
            buf_add(&wide, SV("\x80\x00"));
        else
            buf_add(&wide, (struct sv){(const char[]){*c, 0}, 2});
    }
    if (strstr(r->text, "\x80") == NULL)
        check_text(buf_view(&wide), r);
    buf_fini(&wide);
}

struct bad_row {
    const char *name;
    struct sv bytes;
    const char *message;
};

static const struct bad_row bad_rows[] = {
    {"big endian", SV_INIT("\xfe\xff\0a"),
     "is UTF-16 with the high byte first; save it as UTF-8"},
    {"half a unit", SV_INIT("\xff\xfe\x61\x00\x62"),
     "ends within a character of UTF-16"},
    {"lone high surrogate", SV_INIT("\xff\xfe\x00\xd8\x61\x00"),
     "not valid UTF-16 at byte 2"},
    {"lone low surrogate", SV_INIT("\xff\xfe\x61\x00\x00\xdc"),
     "not valid UTF-16 at byte 4"},
    {"no mark", SV_INIT("a\0b\0"),
     "holds zero bytes: not a text, or UTF-16 without its byte order mark"},
};

static void
check_bad(void **state)
{
    const struct bad_row *r = *state;
    struct import import;
    struct err err;

    assert_false(import_read(r->bytes, &import, &err));
    assert_string_equal(err.text, r->message);
}

struct candidate_row {
    const char *name;
    const char *yaml; /* before LISTENERS */
    const char *import;
    const char *result; /* before LISTENERS, or "…" and what stands behind */
    const char *message;
};

#define LISTENERS                                                              \
    "listeners: {In: {type: private, address: \"127.0.0.1:25\", "              \
    "relay_for: 127.0.0.0/8}}\n"

static const struct candidate_row candidates[] = {
    {"no section", "# mine\nnode: a # here\n" LISTENERS,
     "SSLMethodTLSv1.0 = 0\n",
     "# mine\nnode: a # here\n" LISTENERS
     "\nadvanced:\n  SSLMethodTLSv1_0: 0\n",
     NULL},
    {"nothing to add", LISTENERS, "", LISTENERS, NULL},
    {"into the section",
     "advanced:\n    # old\n    SSLMethodTLSv1_1: 0\n" LISTENERS,
     "SSLMethodTLSv1.0 = 0\nSSLMethodTLSv1.1 = 0\n",
     "advanced:\n    # old\n    SSLMethodTLSv1_0: 0\n"
     "    SSLMethodTLSv1_1: 0\n" LISTENERS,
     NULL},
    {"section in one line", "advanced: {SSLMethodTLSv1_1: 0}\n" LISTENERS,
     "SSLMethodTLSv1.0 = 0\n", NULL,
     "t.yaml: line 1: write the section advanced with one setting in a line, "
     "so that others can be added"},
    {"there with another value", "advanced:\n  SSLMethodTLSv1_1: 1\n" LISTENERS,
     "SSLMethodTLSv1.1 = 0\n", NULL,
     "t.yaml: advanced.SSLMethodTLSv1_1 is there with another value than in "
     "line 1 of what is imported; remove one of the two"},
    {"against the tree", LISTENERS "sender: {tls_versions: {TLSv1.1: on}}\n",
     "Sender.SSLMethodTLSv1.1 = 0\n", NULL,
     "with the imported settings: t.yaml:5:3: "
     "advanced.\"Sender.SSLMethodTLSv1_1\": means \"off\", but "
     "sender.tls_versions.\"TLSv1.1\" in line 2 says \"on\"; keep one of the "
     "two"},
    {"configuration that is wrong already", "nodes: a\n", "", NULL,
     "t.yaml:1:1: nodes: there is no such setting; did you mean \"node\"?"},
};

static void
check_candidate(void **state)
{
    const struct candidate_row *r = *state;
    struct buf out = {0};
    struct import import;
    struct err err;
    bool ok;

    assert_true(import_read(sv_of(r->import), &import, &err));
    ok = import_candidate(&import, sv_of(r->yaml), "t.yaml", &out, &err);
    if (r->message != NULL) {
        assert_false(ok);
        assert_string_equal(err.text, r->message);
    } else {
        if (!ok)
            fail_msg("%s", err.text);
        assert_string_equal(buf_cstr(&out), r->result);
    }
    import_fini(&import);
    buf_fini(&out);
}

static void
test_bounds(void **state)
{
    struct buf text = {0}, report = {0};
    struct import import;
    struct err err;

    (void)state;
    for (int i = 0; i <= IMPORT_SETTINGS_MAX; i++)
        buf_printf(&text, "Servers.n%d.SSLMethodTLSv1_0 = 0\n", i);
    assert_true(import_read(buf_view(&text), &import, &err));
    assert_int_equal(import.setting_count, IMPORT_SETTINGS_MAX);
    assert_int_equal(import.refused, 1);
    import_fini(&import);
    buf_reset(&text);
    for (int i = 0; i <= IMPORT_LINES_MAX; i++)
        buf_add_str(&text, "a=1\n");
    assert_false(import_read(buf_view(&text), &import, &err));
    assert_string_equal(err.text, "has more than 20000 lines");
    memset(buf_reserve(&text, IMPORT_TEXT_MAX), ' ', IMPORT_TEXT_MAX);
    buf_grew(&text, IMPORT_TEXT_MAX);
    assert_false(import_read(buf_view(&text), &import, &err));
    assert_string_equal(err.text, "is larger than 4194304 bytes");
    buf_fini(&text);
    buf_fini(&report);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds)};

    return RUN_ROWS("formats", check, rows) +
           RUN_ROWS("formats in UTF-16", check_utf16, rows) +
           RUN_ROWS("files that cannot be read", check_bad, bad_rows) +
           RUN_ROWS("candidates", check_candidate, candidates) +
           cmocka_run_group_tests_name("bounds", tests, NULL, NULL);
}
