#include "mail/address.h"
#include "unit.h"

#define L64 "1234567890123456789012345678901234567890123456789012345678901234"
#define L62 "12345678901234567890123456789012345678901234567890123456789012"
#define L63 "123456789012345678901234567890123456789012345678901234567890123"

static const struct path_row {
    const char *name, *in;
    enum mail_path_kind kind;
    const char *local, *domain; /* local == NULL: must be refused */
    const char *rest;           /* what is left behind the path */
} path_rows[] = {
    {"plain", "<ann@example.org>", 0, "ann", "example.org", ""},
    {"parameters follow", "<a@b> SIZE=1", 0, "a", "b", " SIZE=1"},
    {"every atext", "<!#$%&'*+-/=?^_`{|}~@b>", 0, "!#$%&'*+-/=?^_`{|}~", "b",
     ""},
    {"null reverse-path", "<>", MAIL_REVERSE_PATH, "", "", ""},
    {"null forward-path", "<>", MAIL_FORWARD_PATH, NULL, NULL, NULL},
    {"postmaster", "<PostMaster>", MAIL_FORWARD_PATH, "PostMaster", "", ""},
    {"postmaster as sender", "<postmaster>", MAIL_REVERSE_PATH, NULL, NULL,
     NULL},
    {"postmaster with domain", "<postmaster@b>", MAIL_FORWARD_PATH,
     "postmaster", "b", ""},
    {"longer than postmaster", "<postmasters>", MAIL_FORWARD_PATH, NULL, NULL,
     NULL},
    {"other bare local part", "<root>", MAIL_FORWARD_PATH, NULL, NULL, NULL},
    {"source route", "<@a.example,@b.example:ann@c.example>", 0, "ann",
     "c.example", ""},
    {"source route, no colon", "<@a.example ann@c.example>", 0, NULL, NULL,
     NULL},
    {"source route alone", "<@a.example>", 0, NULL, NULL, NULL},
    {"source route, bad domain", "<@-a:ann@c>", 0, NULL, NULL, NULL},
    {"source route before null", "<@a.example:>", 0, NULL, NULL, NULL},
    {"IPv4 literal", "<a@[192.0.2.1]>", 0, "a", "[192.0.2.1]", ""},
    {"IPv6 literal", "<a@[IPv6:2001:db8::1]>", 0, "a", "[IPv6:2001:db8::1]",
     ""},
    {"quoted string", "<\"a b\"@c>", 0, "\"a b\"", "c", ""},
    {"quoted at and bracket", "<\"a@b>\"@c>", 0, "\"a@b>\"", "c", ""},
    {"quoted pair", "<\"a\\\"b\\\\\"@c>", 0, "\"a\\\"b\\\\\"", "c", ""},
    {"empty quoted string", "<\"\"@c>", 0, "\"\"", "c", ""},
    {"utf-8 local part", "<j\xc3\xbcrgen@c>", 0, "j\xc3\xbcrgen", "c", ""},
    {"utf-8 domain",
     "<a@b\xc3\xbc"
     "cher.example>",
     0, "a",
     "b\xc3\xbc"
     "cher.example",
     ""},
    {"local part of 64", "<" L64 "@c>", 0, L64, "c", ""},
    {"local part of 65", "<" L64 "x@c>", 0, NULL, NULL, NULL},
    {"path of 256", "<" L62 "@" L63 "." L63 "." L63 ">", 0, L62,
     L63 "." L63 "." L63, ""},
    {"path of 257", "<" L62 "x@" L63 "." L63 "." L63 ">", 0, NULL, NULL, NULL},
    {"path within the limit", "<a@" L63 "." L63 "." L63 ".1>", 0, "a",
     L63 "." L63 "." L63 ".1", ""},
    {"path too long", "<" L64 "@" L63 "." L63 "." L63 ">", 0, NULL, NULL, NULL},
    {"no brackets", "ann@example.org", 0, NULL, NULL, NULL},
    {"no closing bracket", "<ann@example.org", 0, NULL, NULL, NULL},
    {"blank before the bracket", " <a@b>", 0, NULL, NULL, NULL},
    {"blank inside", "<a @b>", 0, NULL, NULL, NULL},
    {"two at signs", "<a@b@c>", 0, NULL, NULL, NULL},
    {"no domain", "<a@>", 0, NULL, NULL, NULL},
    {"no local part", "<@b>", 0, NULL, NULL, NULL},
    {"leading dot", "<.a@b>", 0, NULL, NULL, NULL},
    {"trailing dot in local part", "<a.@b>", 0, NULL, NULL, NULL},
    {"double dot", "<a..b@c>", 0, NULL, NULL, NULL},
    {"trailing dot in domain", "<a@b.>", 0, NULL, NULL, NULL},
    {"unclosed quote", "<\"a@b>", 0, NULL, NULL, NULL},
    {"text behind the quote", "<\"a\"b@c>", 0, NULL, NULL, NULL},
    {"escape at the end", "<\"a\\", 0, NULL, NULL, NULL},
    {"escaped 8-bit", "<\"\\\xc3\xbc\"@c>", 0, NULL, NULL, NULL},
    {"CR in quotes", "<\"a\rb\"@c>", 0, NULL, NULL, NULL},
    {"escaped LF", "<\"a\\\nb\"@c>", 0, NULL, NULL, NULL},
    {"tab in quotes", "<\"a\tb\"@c>", 0, NULL, NULL, NULL},
    {"latin-1", "<j\xfcrgen@c>", 0, NULL, NULL, NULL},
    {"overlong at sign",
     "<a\xc1\x80"
     "b@c>",
     0, NULL, NULL, NULL},
    {"C1 control", "<a\xc2\x9b@c>", 0, NULL, NULL, NULL},
    {"comment", "<a(b)@c>", 0, NULL, NULL, NULL},
    {"literal with garbage", "<a@[192.0.2.1]x>", 0, NULL, NULL, NULL},
    {"literal not closed", "<a@[192.0.2.1>", 0, NULL, NULL, NULL},
    {"empty", "", 0, NULL, NULL, NULL},
    {"bracket alone", "<", 0, NULL, NULL, NULL},
};

static void
check_path(void **state)
{
    const struct path_row *r = *state;
    struct sv in = sv_of(r->in);
    struct mail_path path;

    assert_int_equal(mail_path_take(&in, r->kind, &path), r->local != NULL);
    if (r->local == NULL) {
        assert_sv(in, r->in);
        return;
    }
    assert_sv(path.local, r->local);
    assert_sv(path.domain, r->domain);
    assert_sv(in, r->rest);
    assert_int_equal(path.literal, r->domain[0] == '[');
    assert_int_equal(path.utf8, strpbrk(r->in, "\xc3") != NULL);
}

static const struct canonical_row {
    const char *name, *in, *out; /* NULL: must be refused */
} canonical_rows[] = {
    {"lower case", "Mail.Example.ORG", "mail.example.org"},
    {"trailing dot", "example.org.", "example.org"},
    {"two trailing dots", "example.org..", NULL},
    {"dot alone", ".", NULL},
    {"empty", "", NULL},
    {"U-label",
     "B\xc3\xbc"
     "cher.example",
     "xn--bcher-kva.example"},
    {"upper-case U-label",
     "B\xc3\x9c"
     "CHER.example",
     "xn--bcher-kva.example"},
    {"sharp s stays", "fa\xc3\x9f.example", "xn--fa-hia.example"},
    {"A-label", "XN--BCHER-KVA.example", "xn--bcher-kva.example"},
    {"mixed labels",
     "xn--bcher-kva.b\xc3\xbc"
     "cher",
     "xn--bcher-kva.xn--bcher-kva"},
    {"ideographic full stop",
     "a\xe3\x80\x82"
     "b",
     "a.b"},
    {"full-width letters", "\xef\xbd\x81.example", "a.example"},
    {"character that maps to a slash", "\xe2\x84\x80.example", NULL},
    {"unassigned character", "\xf0\xaf\xbf\xbf.example", NULL},
    {"invalid utf-8", "\xff.example", NULL},
    {"IPv4 literal", "[192.0.2.1]", "[192.0.2.1]"},
    {"IPv6 literal", "[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"},
    {"broken literal", "[300.0.2.1]", NULL},
    {"blank", "a b", NULL},
};

static void
check_canonical(void **state)
{
    const struct canonical_row *r = *state;
    char out[MAIL_DOMAIN_MAX + 1] = "";

    assert_int_equal(mail_domain_canonical(sv_of(r->in), out), r->out != NULL);
    if (r->out != NULL)
        assert_string_equal(out, r->out);
}

static const struct domain_row {
    const char *name, *in;
    bool domain, literal;
} domain_rows[] = {
    {"name", "example.org", true, false},
    {"one label", "localhost", true, false},
    {"digits", "192.0.2.1", true, false},
    {"label of 63", L63 ".a", true, false},
    {"label of 64", L64 ".a", false, false},
    {"leading hyphen", "-a.b", false, false},
    {"trailing hyphen", "a-.b", false, false},
    {"hyphen alone", "-", false, false},
    {"inner hyphens", "a--b", true, false},
    {"underscore", "a_b.c", false, false},
    {"empty label", "a..b", false, false},
    {"leading dot", ".a", false, false},
    {"trailing dot", "a.", false, false},
    {"255 octets", L63 "." L63 "." L63 "." L63, true, false},
    {"256 octets",
     L63 "." L63 "." L63 "."
         "a."
         "12345678901234567890123456789012345678901234567890123456789012",
     false, false},
    {"IPv4", "[192.0.2.1]", false, true},
    {"IPv4 with leading zero", "[192.0.2.01]", false, false},
    {"IPv4 short", "[192.0.2]", false, false},
    {"IPv6", "[IPv6:::1]", false, true},
    {"IPv6, small tag", "[ipv6:::1]", false, true},
    {"IPv6 without tag", "[::1]", false, false},
    {"IPv6 with zone", "[IPv6:fe80::1%eth0]", false, false},
    {"IPv4 with IPv6 tag", "[IPv6:192.0.2.1]", false, false},
    {"IPv4-mapped", "[IPv6:::ffff:192.0.2.1]", false, true},
    {"general literal", "[x400:abc]", false, false},
    {"empty literal", "[]", false, false},
    {"bracket", "[", false, false},
    {"closing bracket missing", "[192.0.2.1", false, false},
};

static void
check_domain(void **state)
{
    const struct domain_row *r = *state;

    assert_int_equal(mail_domain_valid(sv_of(r->in)), r->domain);
    assert_int_equal(mail_literal_valid(sv_of(r->in)), r->literal);
}

static void
test_nul_is_refused(void **state UNUSED)
{
    struct sv in = SV("<a\0b@c>");
    char out[MAIL_DOMAIN_MAX + 1];
    struct mail_path path;

    assert_false(mail_path_take(&in, MAIL_REVERSE_PATH, &path));
    assert_false(mail_domain_valid(SV("a\0b")));
    assert_false(mail_domain_canonical(SV("a\0b"), out));
    assert_false(mail_literal_valid(SV("[192.0.2.1\0]")));
}

static void
test_mailbox(void **state UNUSED)
{
    struct mail_path path;

    assert_true(mail_mailbox_parse(SV("ann@example.org"), &path));
    assert_sv(path.mailbox, "ann@example.org");
    assert_false(mail_mailbox_parse(SV("ann@example.org "), &path));
    assert_false(mail_mailbox_parse(SV("<ann@example.org>"), &path));
    assert_false(mail_mailbox_parse(SV("ann"), &path));
    assert_false(mail_mailbox_parse(SV(""), &path));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nul_is_refused),
        cmocka_unit_test(test_mailbox),
    };

    return RUN_ROWS("mail_path", check_path, path_rows) +
           RUN_ROWS("mail_domain_canonical", check_canonical, canonical_rows) +
           RUN_ROWS("mail_domain_valid", check_domain, domain_rows) +
           cmocka_run_group_tests_name("mail_address", tests, NULL, NULL);
}
