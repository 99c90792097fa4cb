/* Routes against a name server on loopback. */
#include "dns/test_dns_server.h"
#include "transmit/route_internal.h"
#include "unit.h"

static const char yaml[] =
    "hostname: gw.test\n"
    "state_dir: state\n"
    "listeners:\n"
    "  In: {type: public, address: \"203.0.113.9:25\", domains: [gw.test]}\n"
    "  Local: {type: public, address: \"127.0.0.1:2525\", domains: [gw.test]}\n"
    "routes:\n"
    "  literal.test: \"192.0.2.7:2526\"\n"
    "  named.test: [{host: plain.test, port: 26}]\n"
    "  mx.test: [{host: many.test, port: 25, mx: on}]\n"
    "  order.test:\n"
    "    - {host: 192.0.2.31, port: 25, priority: 20}\n"
    "    - {host: 192.0.2.30, port: 25, priority: 10}\n"
    "  lost.test: [{host: gone.test, port: 25}]\n"
    "  self.test: \"127.0.0.1:2525\"\n"
    "  near.test: \"127.0.0.1:2526\"\n"
    "destinations:\n"
    "  v4.test: {ip_preference: require-v4}\n"
    "  v4first.test: {ip_preference: prefer-v4}\n"
    "  v6.test: {ip_preference: require-v6}\n";

static const struct test_dns_record records[] = {
    {"plain.test", DNS_A, "192.0.2.1", 0},
    {"many.test", DNS_MX, "30 c.many.test", 0},
    {"many.test", DNS_MX, "10 a.many.test", 0},
    {"many.test", DNS_MX, "20 b.many.test", 0},
    {"a.many.test", DNS_A, "192.0.2.10", 0},
    {"a.many.test", DNS_AAAA, "2001:db8::10", 0},
    {"b.many.test", DNS_A, "192.0.2.11", 0},
    {"c.many.test", DNS_CNAME, "plain.test", 0},
    {"alias.test", DNS_CNAME, "many.test", 0},
    {"null.test", DNS_MX, "0 .", 0},
    {"localhost-mx.test", DNS_MX, "0 localhost", 0},
    {"halfnull.test", DNS_MX, "0 .", 0},
    {"halfnull.test", DNS_MX, "10 plain.test", 0},
    {"noaddress.test", DNS_MX, "10 none.test", 0},
    {"none.test", DNS_TXT, "x", 0},
    {"loop-mx.test", DNS_MX, "10 lo.test", 0},
    {"lo.test", DNS_A, "127.0.0.5", 0},
    {"zero.test", DNS_A, "0.0.0.0", 0},
    {"backup.test", DNS_MX, "10 b.many.test", 0},
    {"backup.test", DNS_MX, "20 gw.test", 0},
    {"backup.test", DNS_MX, "20 plain.test", 0},
    {"backup.test", DNS_MX, "30 a.many.test", 0},
    {"gw.test", DNS_A, "192.0.2.99", 0},
    {"ours.test", DNS_MX, "10 hidden.test", 0},
    {"ours.test", DNS_MX, "20 plain.test", 0},
    {"hidden.test", DNS_A, "203.0.113.9", 0},
    {"alias-of-us.test", DNS_MX, "10 aka.test", 0},
    {"aka.test", DNS_CNAME, "gw.test", 0},
    {"broken.test", DNS_MX, NULL, 2},
    {"brokenhost.test", DNS_MX, "10 nohost.test", 0},
    {"nohost.test", DNS_A, NULL, 2},
    {"nohost.test", DNS_AAAA, NULL, 2},
    {"halfbroken.test", DNS_MX, "10 nohost.test", 0},
    {"halfbroken.test", DNS_MX, "20 plain.test", 0},
    {"bad.test", DNS_MX, "\\#000a03612e6200", 0},
    {"v4.test", DNS_MX, "10 a.many.test", 0},
    {"v4first.test", DNS_MX, "10 a.many.test", 0},
    {"v6.test", DNS_MX, "10 a.many.test", 0},
    {0},
};

static const struct row {
    const char *name, *key, *domain, *expected;
} rows[] = {
    {"no MX: the domain itself", "plain.test", "plain.test",
     "ok plain.test=192.0.2.1:25"},
    {"by preference, IPv6 first, an MX that is an alias", "many.test",
     "many.test",
     "ok a.many.test=[2001:db8::10]:25 a.many.test=192.0.2.10:25 "
     "b.many.test=192.0.2.11:25 c.many.test=192.0.2.1:25"},
    {"domain that is an alias", "alias.test", "alias.test",
     "ok a.many.test=[2001:db8::10]:25 a.many.test=192.0.2.10:25 "
     "b.many.test=192.0.2.11:25 c.many.test=192.0.2.1:25"},
    {"null MX", "null.test", "null.test", "null-mx"},
    {"MX localhost is a null MX", "localhost-mx.test", "localhost-mx.test",
     "null-mx"},
    {"null MX beside another", "halfnull.test", "halfnull.test",
     "ok plain.test=192.0.2.1:25"},
    {"no such domain", "gone.test", "gone.test", "none"},
    {"MX without address", "noaddress.test", "noaddress.test", "none"},
    {"MX on loopback", "loop-mx.test", "loop-mx.test", "none"},
    {"address 0.0.0.0", "zero.test", "zero.test", "none"},
    {"ourselves by name: equal and worse go", "backup.test", "backup.test",
     "ok b.many.test=192.0.2.11:25"},
    {"ourselves by address, the best", "ours.test", "ours.test", "loop"},
    {"ourselves by alias", "alias-of-us.test", "alias-of-us.test", "loop"},
    {"MX look-up fails", "broken.test", "broken.test", "temporary"},
    {"address look-up fails", "brokenhost.test", "brokenhost.test",
     "temporary"},
    {"one address look-up fails", "halfbroken.test", "halfbroken.test",
     "ok plain.test=192.0.2.1:25 incomplete"},
    {"malformed MX", "bad.test", "bad.test", "none"},
    {"require-v4", "v4.test", "v4.test", "ok a.many.test=192.0.2.10:25"},
    {"prefer-v4", "v4first.test", "v4first.test",
     "ok a.many.test=192.0.2.10:25 a.many.test=[2001:db8::10]:25"},
    {"require-v6", "v6.test", "v6.test", "ok a.many.test=[2001:db8::10]:25"},
    {"literal", "[192.0.2.5]", "[192.0.2.5]", "ok [192.0.2.5]=192.0.2.5:25"},
    {"IPv6 literal", "[ipv6:2001:db8::5]", "[ipv6:2001:db8::5]",
     "ok [ipv6:2001:db8::5]=[2001:db8::5]:25"},
    {"loopback literal", "[127.0.0.1]", "[127.0.0.1]", "none"},
    {"literal that is ours", "[203.0.113.9]", "[203.0.113.9]", "loop"},
    {"literal of another kind", "[x400:foo]", "[x400:foo]", "none"},
    {"static by address", "route:literal.test/literal.test", "",
     "ok 192.0.2.7=192.0.2.7:2526"},
    {"static by name", "route:named.test/named.test", "",
     "ok plain.test=192.0.2.1:26"},
    {"static by MX", "route:mx.test/mx.test", "",
     "ok a.many.test=[2001:db8::10]:25 a.many.test=192.0.2.10:25 "
     "b.many.test=192.0.2.11:25 c.many.test=192.0.2.1:25"},
    {"static by priority", "route:order.test/order.test", "",
     "ok 192.0.2.30=192.0.2.30:25 192.0.2.31=192.0.2.31:25"},
    {"static to nowhere waits for the administrator",
     "route:lost.test/lost.test", "", "temporary"},
    {"static to our own listener waits, too", "route:self.test/self.test", "",
     "temporary"},
    {"static to another server on loopback", "route:near.test/near.test", "",
     "ok 127.0.0.1=127.0.0.1:2526"},
    {"route that is gone", "route:old.test/old.test", "", "temporary"},
};

struct outcome {
    struct loop *loop;
    char text[2048];
};

static struct test_dns_server *server;

static const char *const results[] = {
    [ROUTE_OK] = "ok",     [ROUTE_TEMPORARY] = "temporary",
    [ROUTE_NONE] = "none", [ROUTE_NULL_MX] = "null-mx",
    [ROUTE_LOOP] = "loop",
};

static void
on_route(void *arg, struct route *route)
{
    struct outcome *outcome = arg;
    size_t n = (size_t)snprintf(outcome->text, sizeof outcome->text, "%s",
                                results[route->result]);
    char text[NET_ADDRESS_TEXT];

    for (size_t i = 0; i < route->target_count; i++)
        n += (size_t)snprintf(
            outcome->text + n, sizeof outcome->text - n, " %s=%s",
            route->targets[i].host,
            net_address_text(&route->targets[i].address, text));
    if (route->incomplete && route->result == ROUTE_OK)
        n += (size_t)snprintf(outcome->text + n, sizeof outcome->text - n,
                              " incomplete");
    if (route->result != ROUTE_OK || route->incomplete)
        assert_int_not_equal(route->reason[0], '\0');
    route_free(route);
    loop_stop(outcome->loop);
}

static struct settings *
make_settings(void)
{
    static const struct settings_options options = {.revision = 1};
    struct err err;
    struct settings *settings = settings_load(sv_of(yaml), "", &options, &err);

    if (settings == NULL)
        fail_msg("%s", err.text);
    return settings;
}

static struct dns_resolver *
make_resolver(struct loop *loop)
{
    char address[32];
    char *resolvers[1] = {address};
    struct dns_options options = {
        .resolvers = resolvers, .resolver_count = 1, .timeout_ms = 5000};
    struct err err;
    struct dns_resolver *resolver;

    snprintf(address, sizeof address, "%s", test_dns_server_address(server));
    resolver = dns_resolver_new(loop, &options, &err);
    assert_non_null(resolver);
    return resolver;
}

static struct destination
make_destination(const char *key, const char *domain)
{
    const char *slash = strchr(key, '/');

    return (struct destination){
        .key = mem_strdup(key),
        .domain = mem_strdup(domain),
        .policy_domain = sv_of(slash != NULL ? slash + 1 : domain),
    };
}

static void
finish_loop(struct loop *loop)
{
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
}

static void
check(void **state)
{
    const struct row *row = *state;
    struct err err;
    struct outcome outcome = {.loop = loop_new(&err)};
    struct settings *settings = make_settings();
    struct dns_resolver *resolver = make_resolver(outcome.loop);
    struct destination destination = make_destination(row->key, row->domain);

    route_find(resolver, outcome.loop, settings, &destination, on_route,
               &outcome);
    assert_int_equal(outcome.text[0], '\0'); /* never from inside */
    loop_run(outcome.loop);
    assert_string_equal(outcome.text, row->expected);
    dns_resolver_unref(resolver);
    settings_unref(settings);
    mem_free(destination.key);
    mem_free(destination.domain);
    finish_loop(outcome.loop);
}

/* --- The trace ------------------------------------------------------------ */

static void
add_text(struct outcome *outcome, const char *text)
{
    size_t n = strlen(outcome->text);

    snprintf(outcome->text + n, sizeof outcome->text - n, "%s%s",
             n > 0 ? "; " : "", text);
}

/* "name TYPE state: records" and "host: why it is left out". */
static void
on_traced(void *arg, struct route *route)
{
    struct outcome *outcome = arg;
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(route->trace, "lookups"), i, item)
    {
        char *found = json_dumps(json_object_get(item, "records"),
                                 JSON_COMPACT | JSON_ENCODE_ANY);
        char text[300];

        snprintf(text, sizeof text, "%s %s %s%s%s",
                 json_string_value(json_object_get(item, "name")),
                 json_string_value(json_object_get(item, "type")),
                 json_string_value(json_object_get(item, "state")),
                 found != NULL ? " " : "", found != NULL ? found : "");
        free(found);
        add_text(outcome, text);
    }
    json_array_foreach(json_object_get(route->trace, "servers"), i, item)
    {
        const json_t *why = json_object_get(item, "removed");
        char text[300];

        snprintf(text, sizeof text, "%s: %s",
                 json_string_value(json_object_get(item, "host")),
                 why != NULL ? json_string_value(why) : "tried");
        add_text(outcome, text);
    }
    route_free(route);
    loop_stop(outcome->loop);
}

static void
test_trace(void **state)
{
    struct err err;
    struct outcome outcome = {.loop = loop_new(&err)};
    struct settings *settings = make_settings();
    struct dns_resolver *resolver = make_resolver(outcome.loop);
    struct destination destination =
        make_destination("backup.test", "backup.test");

    (void)state;
    route_keep_trace(route_find(resolver, outcome.loop, settings, &destination,
                                on_traced, &outcome));
    loop_run(outcome.loop);
    assert_non_null(
        strstr(outcome.text, "backup.test MX insecure [\"10 b.many.test\",\""));
    assert_non_null(strstr(outcome.text,
                           "b.many.test A insecure [\"192.0.2.11\"]; "
                           "b.many.test AAAA absent; "));
    assert_non_null(strstr(outcome.text, "b.many.test: tried"));
    assert_non_null(strstr(outcome.text, "gw.test: it is this server"));
    assert_non_null(strstr(outcome.text, "plain.test: it is no better than "
                                         "this server"));
    assert_non_null(strstr(outcome.text, "a.many.test: it is no better than "
                                         "this server"));
    dns_resolver_unref(resolver);
    settings_unref(settings);
    mem_free(destination.key);
    mem_free(destination.domain);
    finish_loop(outcome.loop);
}

static void
on_never(void *arg, struct route *route)
{
    (void)arg;
    (void)route;
    fail_msg("a cancelled query answered");
}

static void
test_cancel(void **state)
{
    static const char *const domains[] = {"many.test", "[192.0.2.5]",
                                          "broken.test"};
    struct err err;
    struct loop *loop = loop_new(&err);
    struct settings *settings = make_settings();
    struct dns_resolver *resolver = make_resolver(loop);

    (void)state;
    for (size_t i = 0; i < 30; i++) {
        struct destination destination =
            make_destination(domains[i % 3], domains[i % 3]);

        route_cancel(
            route_find(resolver, loop, settings, &destination, on_never, NULL));
        mem_free(destination.key);
        mem_free(destination.domain);
    }
    dns_resolver_unref(resolver);
    settings_unref(settings);
    finish_loop(loop);
}

/* Of two hops of one priority, the one of thrice the weight comes first about
 * three times as often; another priority never. */
static void
test_weights(void **state)
{
    char a[] = "a", b[] = "b", c[] = "c";
    const struct route_hop hops[] = {
        {.host = c, .priority = 2, .weight = 1000},
        {.host = a, .priority = 1, .weight = 1},
        {.host = b, .priority = 1, .weight = 3},
    };
    size_t order[3], first_b = 0;

    (void)state;
    for (int i = 0; i < 4000; i++) {
        route_order_hops(hops, 3, order);
        assert_int_equal(order[2], 0);
        assert_int_equal(order[0] + order[1], 3);
        first_b += order[0] == 2;
    }
    assert_in_range(first_b, 2700, 3300);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_weights),
    };
    int failed;

    server = test_dns_server_new(records);
    failed = RUN_ROWS("route", check, rows) +
             cmocka_run_group_tests_name("route_more", tests, NULL, NULL);
    test_dns_server_free(server);
    return failed;
}
