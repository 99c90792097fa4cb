#include "net/address.h"
#include "unit.h"

static const struct address_row {
    const char *name, *in;
    bool with_port;
    const char *text; /* NULL: must be refused */
} address_rows[] = {
    {"ipv4", "192.0.2.1", false, "192.0.2.1:25"},
    {"ipv6", "2001:DB8::1", false, "[2001:db8::1]:25"},
    {"ipv6 in brackets", "[2001:db8::1]", false, "[2001:db8::1]:25"},
    {"mapped becomes ipv4", "::ffff:192.0.2.1", false, "192.0.2.1:25"},
    {"empty", "", false, NULL},
    {"name", "mx.test", false, NULL},
    {"three parts", "192.0.2", false, NULL},
    {"leading zero", "192.0.02.1", false, NULL},
    {"number too large", "192.0.2.256", false, NULL},
    {"ipv4 in brackets", "[192.0.2.1]", false, NULL},
    {"blank behind", "192.0.2.1 ", false, NULL},
    {"zone", "fe80::1%eth0", false, NULL},
    {"half a bracket", "[2001:db8::1", false, NULL},
    {"double brackets", "[[::1]]", false, NULL},
    {"much too long", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb",
     false, NULL},
    {"ipv4 and port", "192.0.2.1:587", true, "192.0.2.1:587"},
    {"ipv6 and port", "[2001:db8::1]:587", true, "[2001:db8::1]:587"},
    {"port 0", "192.0.2.1:0", true, NULL},
    {"port too large", "192.0.2.1:65536", true, NULL},
    {"port largest", "192.0.2.1:65535", true, "192.0.2.1:65535"},
    {"no port", "192.0.2.1", true, NULL},
    {"empty port", "192.0.2.1:", true, NULL},
    {"signed port", "192.0.2.1:+25", true, NULL},
    {"ipv6 without brackets", "2001:db8::1:25", true, NULL},
    {"only port", ":25", true, NULL},
};

static void
check_address(void **state)
{
    const struct address_row *r = *state;
    struct net_address address;
    char text[NET_ADDRESS_TEXT];
    bool ok = r->with_port ? net_address_parse_port(sv_of(r->in), &address)
                           : net_address_parse(sv_of(r->in), 25, &address);

    assert_int_equal(ok, r->text != NULL);
    if (ok)
        assert_string_equal(net_address_text(&address, text), r->text);
    else
        assert_int_equal(address.sa.sa_family, AF_UNSPEC);
}

static const struct prefix_row {
    const char *name, *in;
    const char *inside, *outside;
    const char *error; /* part of the text; NULL: right */
} prefix_rows[] = {
    {"ipv4 /24", "192.0.2.0/24", "192.0.2.255", "192.0.3.0", NULL},
    {"ipv4 /25", "192.0.2.128/25", "192.0.2.128", "192.0.2.127", NULL},
    {"ipv4 /0", "0.0.0.0/0", "203.0.113.1", "2001:db8::1", NULL},
    {"ipv4 /32", "192.0.2.7/32", "192.0.2.7", "192.0.2.6", NULL},
    {"single ipv4", "192.0.2.7", "192.0.2.7", "192.0.2.8", NULL},
    {"ipv6 /32", "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::", NULL},
    {"ipv6 /0", "::/0", "2001:db8::1", "192.0.2.1", NULL},
    {"single ipv6", "2001:db8::1", "2001:db8::1", "2001:db8::2", NULL},
    {"mapped", "::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9", NULL},
    {"mapped too short", "::ffff:0.0.0.0/90", NULL, NULL, "from 96 to 128"},
    {"stray bits", "192.0.2.1/24", NULL, NULL, "\"192.0.2.0/24\" is"},
    {"stray bits, odd length", "192.0.2.64/25", NULL, NULL, "192.0.2.0/25"},
    {"length too large", "192.0.2.0/33", NULL, NULL, "from 0 to 32"},
    {"ipv6 length too large", "::/129", NULL, NULL, "from 0 to 128"},
    {"empty length", "192.0.2.0/", NULL, NULL, "wrong length"},
    {"two slashes", "192.0.2.0/24/24", NULL, NULL, "wrong length"},
    {"short form", "192.0.2/24", NULL, NULL, "no network"},
    {"name", "partner.test", NULL, NULL, "no network"},
    {"empty", "", NULL, NULL, "no network"},
};

static void
check_prefix(void **state)
{
    const struct prefix_row *r = *state;
    struct net_prefix prefix;
    struct net_address address;
    struct err err = {0};

    if (!net_prefix_parse(sv_of(r->in), &prefix, &err)) {
        assert_non_null(r->error);
        if (strstr(err.text, r->error) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", r->error, err.text);
        return;
    }
    assert_null(r->error);
    assert_true(net_address_parse(sv_of(r->inside), 1, &address));
    assert_true(net_prefix_contains(&prefix, &address));
    assert_true(net_address_parse(sv_of(r->outside), 1, &address));
    assert_false(net_prefix_contains(&prefix, &address));
}

static void
check_properties(void **state)
{
    struct net_address a, b;
    struct in6_addr mapped = {
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 9}}};
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(99), .sin6_addr = mapped};
    char text[NET_ADDRESS_TEXT];

    (void)state;
    net_address_from_sockaddr((struct sockaddr *)&in6, &a);
    assert_string_equal(net_address_text(&a, text), "127.0.0.9:99");
    assert_string_equal(net_address_ip_text(&a, text), "127.0.0.9");
    assert_int_equal(net_address_length(&a), sizeof(struct sockaddr_in));
    assert_true(net_address_is_loopback(&a));
    assert_true(net_address_parse(SV("127.0.0.9"), 1, &b));
    assert_true(net_address_same_ip(&a, &b));
    net_address_set_port(&b, 2525);
    assert_int_equal(net_address_port(&b), 2525);
    assert_true(net_address_parse(SV("::1"), 1, &b));
    assert_true(net_address_is_loopback(&b));
    assert_false(net_address_same_ip(&a, &b));
    assert_true(net_address_parse(SV("::"), 1, &b));
    assert_true(net_address_is_any(&b));
    b = (struct net_address){0};
    assert_false(net_address_is_any(&b));
    assert_false(net_address_same_ip(&b, &b));
    assert_string_equal(net_address_text(&b, text), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check_properties)};
    int failed = RUN_ROWS("address", check_address, address_rows);

    failed += RUN_ROWS("prefix", check_prefix, prefix_rows);
    return failed +
           cmocka_run_group_tests_name("properties", tests, NULL, NULL);
}
