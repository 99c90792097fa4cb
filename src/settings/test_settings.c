/* What a good configuration becomes: defaults, inheritance, look-ups, and the
 * way back to text. */
#include "access/rat.h"
#include "base/buf.h"
#include "settings/settings.h"
#include "unit.h"
#include <stdlib.h>
#include <unistd.h>

static const char sample[] =
    "node: gw1\n"
    "hostname: GW1.Example.ORG\n"
    "state_dir: state\n"
    "loops: 3\n"
    "log: {path: logs/gate.log, level: debug, format: json}\n"
    "certificates:\n"
    "  mx: {chain: mx.pem, key: /keys/mx.key}\n"
    "  out: {chain: out.pem, key: out.key}\n"
    "tls_profiles:\n"
    "  strict: {inherit: modern, versions: {TLSv1.2: off}}\n"
    "  modern: {versions: {TLSv1.0: off, TLSv1.1: off}, strength: high}\n"
    "listeners:\n"
    "  In:\n"
    "    type: public\n"
    "    address: \"[::1]:25\"\n"
    "    certificates: [mx, out]\n"
    "    tls_profile: strict\n"
    "    domains: [example.org, .Example.NET, a.example]\n"
    "    max_message_size: 20M\n"
    "    proxy_protocol: [192.0.2.0/24, \"2001:db8::/32\"]\n"
    "    timeouts: {command: 90s}\n"
    "  Plain: {type: private, address: \"127.0.0.1:25\", relay_for: "
    "10.0.0.0/8}\n"
    "  Wrapped:\n"
    "    type: private\n"
    "    address: \"tls://127.0.0.1:465\"\n"
    "    certificates: mx\n"
    "    relay_for: [10.0.0.0/8]\n"
    "routes:\n"
    "  example.org: [{host: m1.example.org, weight: 3}, m2.example.org:26]\n"
    "  .example.org: \"[2001:db8::1]:2525\"\n"
    "  deep.b.example.org: 2001:db8::2\n"
    "  direct.example: mx\n"
    "  default: {host: smart.example, mx: on}\n"
    "bounce_profiles:\n"
    "  slow: {max_time_in_queue: 5d, delay_warning: 4h}\n"
    "destinations:\n"
    "  partner.example: {tls: required-verify, bounce_profile: slow}\n"
    "  default: {max_connections: 20, client_certificate: out}\n"
    "  .partner.example: {client_certificate: none, max_connections: 1}\n"
    "delivery: {timeouts: {greeting: 61s}}\n"
    "spool: {max_messages: 5, min_free: 1G}\n"
    "dns:\n"
    "  resolvers: [192.0.2.53, \"127.0.0.1@5353\"]\n"
    "  stub_zones: {Example.org: 127.0.0.1@5353}\n";

static struct settings *
must_load(const char *yaml)
{
    const struct settings_options options = {.revision = 7};
    struct err err = {0};
    struct settings *s =
        settings_load(sv_of(yaml), "/etc/w/t.yaml", &options, &err);

    if (s == NULL)
        fail_msg("%s", err.text);
    return s;
}

static void
test_values(void **state)
{
    struct settings *s = must_load(sample);

    (void)state;
    assert_int_equal(s->revision, 7);
    assert_string_equal(s->source, "/etc/w/t.yaml");
    assert_string_equal(s->node, "gw1");
    assert_string_equal(s->hostname, "gw1.example.org");
    assert_string_equal(s->state_dir, "/etc/w/state");
    assert_string_equal(s->log.path, "/etc/w/logs/gate.log");
    assert_int_equal(s->log.level, LOG_DEBUG);
    assert_int_equal(s->log.format, LOG_JSON);
    assert_int_equal(s->loops, 3);
    assert_string_equal(s->certificates[0].chain, "/etc/w/mx.pem");
    assert_string_equal(s->certificates[0].key, "/keys/mx.key");
    assert_int_equal(s->deliver_timeouts.greeting, 61000);
    assert_int_equal(s->deliver_timeouts.data_done, 600000);
    assert_int_equal(s->spool.max_messages, 5);
    assert_int_equal(s->spool.max_bytes, 0);
    assert_int_equal(s->spool.min_free, 1 << 30);
    assert_string_equal(s->dns.resolvers[1], "127.0.0.1@5353");
    assert_string_equal(s->dns.stub_zones[0], "example.org=127.0.0.1@5353");
    settings_unref(s);
}

static void
test_listeners(void **state)
{
    struct settings *s = must_load(sample);
    const struct listener_settings *in = &s->listeners[0];
    const struct listener_settings *plain = &s->listeners[1];
    const struct listener_settings *wrapped = &s->listeners[2];

    (void)state;
    assert_int_equal(s->listener_count, 3);
    assert_string_equal(in->name, "In");
    assert_false(in->implicit_tls);
    assert_int_equal(net_address_port(&in->address), 25);
    assert_ptr_equal(in->certificates[1], &s->certificates[1]);
    assert_string_equal(in->tls_profile->name, "strict");
    assert_int_equal(in->tls, RECEIVE_TLS_PREFERRED);
    assert_int_equal(in->max_message_size, 20 << 20);
    assert_int_equal(in->max_connections, 1000);
    assert_int_equal(in->proxy_protocol_count, 2);
    assert_int_equal(in->timeouts.command, 90000);
    assert_int_equal(in->timeouts.session, 7200000);
    assert_int_equal(plain->tls, RECEIVE_TLS_NO);
    assert_int_equal(plain->timeouts.command, 300000);
    assert_int_equal(plain->proxy_protocol_count, 0);
    assert_true(wrapped->implicit_tls);
    assert_int_equal(wrapped->tls, RECEIVE_TLS_REQUIRED);
    settings_unref(s);
}

/* "strict" stands before the entry that it inherits from. */
static void
test_profiles(void **state)
{
    struct settings *s = must_load(sample);
    const unsigned all =
        TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13;

    (void)state;
    assert_int_equal(s->tls_profile_count, 3);
    assert_string_equal(s->tls_profiles[0].name, "default");
    assert_int_equal(s->tls_profiles[0].profile.versions, all);
    assert_int_equal(s->tls_profiles[0].profile.strength, TLS_MEDIUM);
    assert_string_equal(s->tls_profiles[1].name, "strict");
    assert_int_equal(s->tls_profiles[1].profile.versions, TLS_BIT_TLS13);
    assert_int_equal(s->tls_profiles[1].profile.strength, TLS_HIGH);
    assert_string_equal(s->tls_profiles[1].profile.ciphers, "");
    assert_int_equal(s->tls_profiles[2].profile.versions,
                     TLS_BIT_TLS12 | TLS_BIT_TLS13);
    settings_unref(s);
}

static void
test_destinations(void **state)
{
    struct settings *s = must_load(sample);
    const struct destination_settings *d;

    (void)state;
    assert_string_equal(s->destinations[0].domain, "default");
    d = settings_destination(s, SV("nowhere.example"));
    assert_ptr_equal(d, &s->destinations[0]);
    assert_int_equal(d->max_connections, 20);
    assert_string_equal(d->client_certificate->name, "out");
    assert_int_equal(d->bounce_profile->max_time_in_queue, 72 * 3600000);

    d = settings_destination(s, SV("partner.example"));
    assert_int_equal(d->tls, DELIVER_TLS_REQUIRED_VERIFY);
    assert_int_equal(d->max_connections, 20);
    assert_string_equal(d->client_certificate->name, "out");
    assert_int_equal(d->bounce_profile->delay_warning, 4 * 3600000);
    assert_int_equal(d->bounce_profile->max_retry, 3600000);

    d = settings_destination(s, SV("a.b.partner.example"));
    assert_string_equal(d->domain, ".partner.example");
    assert_null(d->client_certificate);
    assert_int_equal(d->max_messages_per_connection, 50);
    settings_unref(s);
}

static void
test_routes(void **state)
{
    struct settings *s = must_load(sample);
    const struct route_settings *r = settings_route(s, SV("example.org"));

    (void)state;
    assert_int_equal(r->hop_count, 2);
    assert_string_equal(r->hops[0].host, "m1.example.org");
    assert_int_equal(r->hops[0].port, 25);
    assert_int_equal(r->hops[0].weight, 3);
    assert_string_equal(r->hops[1].host, "m2.example.org");
    assert_int_equal(r->hops[1].port, 26);
    r = settings_route(s, SV("a.b.example.org"));
    assert_string_equal(r->hops[0].host, "2001:db8::1");
    assert_int_equal(r->hops[0].port, 2525);
    r = settings_route(s, SV("deep.b.example.org"));
    assert_string_equal(r->hops[0].host, "2001:db8::2");
    assert_int_equal(r->hops[0].port, 25);
    assert_null(settings_route(s, SV("direct.example")));
    r = settings_route(s, SV("other.example"));
    assert_true(r->hops[0].mx);
    settings_unref(s);
}

static bool
accepts(const struct listener_settings *listener, const char *domain)
{
    struct rat_match match;

    rat_match(listener->rat_table, SV("ann"), sv_of(domain), &match);
    return match.accept;
}

static void
test_accepted_domains(void **state)
{
    static const struct {
        const char *domain;
        bool accepted;
    } rows[] = {
        {"example.org", true},
        {"a.example.org", false},
        {"example.net", false},
        {"a.example.net", true},
        {"b.a.example.net", true},
        {"a.example", true},
        {"", false},
        {"xexample.net", false},
    };
    struct settings *s = must_load(sample);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(accepts(&s->listeners[0], rows[i].domain),
                         rows[i].accepted);
        assert_false(accepts(&s->listeners[1], rows[i].domain));
    }
    settings_unref(s);
}

static void
test_computed_defaults(void **state)
{
    struct settings *s =
        must_load("listeners: {In: {type: private, address: \"127.0.0.1:25\","
                  " relay_for: [127.0.0.0/8]}}\n");

    (void)state;
    assert_true(s->hostname[0] != '\0');
    assert_true(s->node[0] != '\0');
    assert_true(s->loops >= 1);
    assert_string_equal(s->user, "");
    assert_string_equal(s->state_dir, "/var/lib/waxgate");
    assert_string_equal(s->log.path, "-");
    assert_int_equal(s->destination_count, 1);
    assert_null(s->destinations[0].client_certificate);
    assert_null(settings_route(s, SV("example.org")));
    settings_unref(s);
}

static void
test_built_in(void **state)
{
    const struct settings_options options = {.check_files = false};
    struct settings *s;
    struct err err = {0};
    char here[4096];
    char *resolved;

    (void)state;
    s = settings_load(sv_of(settings_default_yaml), "", &options, &err);
    assert_non_null(s);
    assert_string_equal(s->source, "");
    resolved = getcwd(here, sizeof here);
    assert_non_null(resolved);
    assert_memory_equal(s->state_dir, here, strlen(here));
    assert_string_equal(s->state_dir + strlen(here), "/state");
    assert_int_equal(s->listener_count, 3);
    assert_true(accepts(&s->listeners[0], "example.org"));
    settings_unref(s);
}

static void
print(const struct settings *s, bool effective, struct buf *out)
{
    buf_reset(out);
    settings_print(s, effective, out);
}

/* Takes the comments, which tell lines of the other text. */
static void
drop_comments(struct buf *text)
{
    struct sv rest = buf_view(text);
    struct buf out = {0};

    while (rest.n > 0) {
        struct sv line = sv_take_until(&rest, '\n');
        size_t mark = sv_index(line, '#');

        buf_add(&out, mark == SV_NONE ? line : sv_slice(line, 0, mark));
        buf_add_char(&out, '\n');
    }
    buf_fini(text);
    *text = out;
}

static void
check_round_trip(const char *yaml, bool effective)
{
    struct buf first = {0}, printed = {0}, second = {0};
    struct settings *s = must_load(yaml), *t;

    print(s, true, &first);
    print(s, effective, &printed);
    t = must_load(buf_cstr(&printed));
    print(t, true, &second);
    drop_comments(&first);
    drop_comments(&second);
    assert_string_equal(buf_cstr(&first), buf_cstr(&second));
    settings_unref(s);
    settings_unref(t);
    buf_fini(&first);
    buf_fini(&printed);
    buf_fini(&second);
}

static void
test_round_trip(void **state)
{
    (void)state;
    check_round_trip(sample, true);
    check_round_trip(sample, false);
    check_round_trip(settings_default_yaml, true);
    check_round_trip(settings_default_yaml, false);
}

static void
test_origins(void **state)
{
    static const char *const lines[] = {
        "node: gw1  # line 1\n",
        "drain_timeout: 30s  # default\n",
        "    strength: high  # inherited from line 11\n",
        "    max_connections: 20  # line 38\n",
        "    max_connections: 20  # inherited from line 38\n",
        "      command: 90s  # line 21\n",
        "    - host: m1.example.org  # line 29\n",
        "    fallback: before-220  # default\n",
    };
    struct settings *s = must_load(sample);
    struct buf out = {0};

    (void)state;
    print(s, true, &out);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (strstr(buf_cstr(&out), lines[i]) == NULL)
            fail_msg("missing: %s", lines[i]);
    buf_fini(&out);
    settings_unref(s);
}

static void
test_references(void **state)
{
    struct settings *s = must_load(sample);
    struct settings *same = settings_ref(s);

    (void)state;
    assert_ptr_equal(s, same);
    settings_unref(s);
    assert_string_equal(same->node, "gw1");
    settings_unref(same);
    settings_unref(NULL);
}

static void
test_missing_file(void **state)
{
    const struct settings_options options = {.check_files = false};
    struct err err;

    (void)state;
    assert_null(settings_load_file("/nonexistent/w.yaml", &options, &err));
    assert_string_equal(err.text,
                        "/nonexistent/w.yaml: open: No such file or directory");
    assert_null(settings_load_file("/", &options, &err));
    assert_string_equal(err.text, "/: read: Is a directory");
}

static void
test_missing_certificate(void **state)
{
    const struct settings_options options = {.check_files = true};
    struct err err;

    (void)state;
    assert_null(settings_load(sv_of(sample), "/etc/w/t.yaml", &options, &err));
    assert_string_equal(err.text,
                        "/etc/w/t.yaml:7:3: certificates.mx: certificate mx: "
                        "chain file /etc/w/mx.pem: No such file or directory");
}

/* What only the user of the profile refuses. */
static void
test_unusable_profile(void **state)
{
    const struct settings_options options = {.check_files = true};
    struct err err;

    (void)state;
    assert_null(settings_load(
        SV("tls_profiles: {p: {ciphers: aNULL}}\n"
           "listeners: {In: {type: private, address: \"127.0.0.1:25\","
           " relay_for: [127.0.0.0/8]}}\n"),
        "t.yaml", &options, &err));
    assert_non_null(strstr(err.text, "t.yaml:1:29: tls_profiles.p.ciphers: "
                                     "cipher list element \"aNULL\""));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_accepted_domains),
        cmocka_unit_test(test_computed_defaults),
        cmocka_unit_test(test_built_in),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_missing_certificate),
        cmocka_unit_test(test_unusable_profile),
    };

    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
