/* Who may connect, and who may send where. */
#include "accept/listener.h"
#include "accept/relay.h"
#include "unit.h"

static const char yaml[] =
    "hostname: gw.test\nstate_dir: /nonexistent\n"
    "mail_flow_policies: {default: {max_handshakes_per_second: 2,\n"
    "                               max_recipients_per_hour: 3,\n"
    "                         max_invalid_recipients_per_hour: 2}}\n"
    "listeners:\n"
    "  A: {type: public, address: '192.0.2.25:25', max_connections: 3,\n"
    "      max_handshakes_per_second: 3,\n"
    "      max_connections_per_ip: 2, proxy_protocol: [203.0.113.0/24],\n"
    "      domains: [.sub.a.test, a.test],\n"
    "      relay_for: [198.51.100.0/24, '2001:db8::/32']}\n"
    "  B: {type: private, address: '192.0.2.25:26', relay_for: [0.0.0.0/0]}\n";

static struct settings *settings;

static struct net_address
address(const char *text)
{
    struct net_address result;

    assert_true(net_address_parse(sv_of(text), 1000, &result));
    return result;
}

static struct listener_revision *
make_revision(void)
{
    struct listener *listener = listener_new("A");
    struct err err;
    struct listener_revision *revision = listener_revision_new(
        listener, settings, &settings->listeners[0], NULL, &err);

    assert_non_null(revision);
    listener_unref(listener);
    return revision;
}

static void
limits_connections(void **state)
{
    struct listener_revision *r = make_revision();
    const char *why = NULL;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(listener_admit(r, &why));
    assert_false(listener_admit(r, &why));
    assert_string_equal(why, "Too many connections to this listener");
    assert_int_equal(r->listener->counts.throttled, 1);
    listener_dismiss(r);
    assert_true(listener_admit(r, &why));
    assert_int_equal(r->listener->counts.open, 3);
    listener_revision_unref(r);
}

static const struct mail_flow_policy *
policy_of(const struct listener_revision *r, const struct net_address *client)
{
    struct hat_client facts = {.address = client};
    struct hat_match match;

    return listener_policy(r, &facts, &match);
}

static bool
admits(struct listener_revision *r, const struct net_address *client)
{
    const char *why = NULL;

    return listener_admit_client(r, client, policy_of(r, client), &why);
}

static void
limits_each_client(void **state)
{
    struct listener_revision *r = make_revision();
    struct net_address one = address("192.0.2.1");
    struct net_address two = address("2001:db8::1");
    const char *why = NULL;

    (void)state;
    assert_true(admits(r, &one));
    assert_true(admits(r, &one));
    assert_false(listener_admit_client(r, &one, policy_of(r, &one), &why));
    assert_string_equal(why, "Too many connections from your host");
    assert_int_equal(r->listener->counts.throttled, 1);
    assert_true(admits(r, &two));
    listener_dismiss_client(r, &one);
    assert_true(admits(r, &one));
    listener_dismiss_client(r, &one);
    listener_dismiss_client(r, &one);
    listener_dismiss_client(r, &two);
    listener_revision_unref(r);
}

static void
limits_handshakes(void **state)
{
    struct listener_revision *r = make_revision();
    struct net_address one = address("192.0.2.1");
    struct net_address two = address("192.0.2.2");
    const struct mail_flow_policy *policy = policy_of(r, &one);

    (void)state;
    assert_true(listener_admit_handshake(r, &one, policy, 1000));
    assert_true(listener_admit_handshake(r, &one, policy, 1000));
    assert_false(listener_admit_handshake(r, &one, policy, 1000));
    assert_true(listener_admit_handshake(r, &two, policy, 1000));
    /* The limit of all; and what was refused has not counted for it. */
    assert_false(listener_admit_handshake(r, &two, policy, 1000));
    assert_int_equal(r->listener->counts.tls_throttled, 2);
    assert_int_equal(r->listener->counts.throttled, 0);
    assert_true(listener_admit_handshake(r, &one, policy, 3000));
    listener_revision_unref(r);
}

static void
limits_recipients(void **state)
{
    struct listener_revision *r = make_revision();
    struct net_address one = address("192.0.2.1");
    const struct mail_flow_policy *policy = policy_of(r, &one);

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(listener_admit_recipient(r, &one, policy, 1000));
    assert_false(listener_admit_recipient(r, &one, policy, 1000));
    assert_true(listener_admit_recipient(r, &one, policy, 3 * 3600 * 1000));
    listener_revision_unref(r);
}

static void
suspects_harvest(void **state UNUSED)
{
    struct listener_revision *r = make_revision();
    struct net_address one = address("192.0.2.1");
    struct net_address other = address("192.0.2.2");
    const struct mail_flow_policy *policy = policy_of(r, &one);
    const uint64_t hour = 3600 * 1000, start = 10 * hour;

    for (int i = 0; i < 2; i++) {
        assert_false(listener_suspects_harvest(r, &one, policy, start));
        listener_count_invalid(r, &one, policy, start);
    }
    assert_true(listener_suspects_harvest(r, &one, policy, start));
    assert_false(listener_suspects_harvest(r, &other, policy, start));
    for (int i = 0; i < 100; i++) /* on and on */
        listener_count_invalid(r, &one, policy, start + hour / 2);
    assert_true(listener_suspects_harvest(r, &one, policy, start + hour / 2));
    assert_false(listener_suspects_harvest(r, &one, policy, start + 2 * hour));
    listener_revision_unref(r);
}

/* Once 30 days before, daily in the last 14 days, each certificate by itself.
 */
static void
notes_endings(void **state UNUSED)
{
    struct listener_revision *r = make_revision();
    const int64_t day = 86400, end = 20000 * day;
    const struct tls_certificate_facts one = {.not_after = end, .sha256 = "aa"};
    const struct tls_certificate_facts other = {.not_after = end,
                                                .sha256 = "bb"};

    assert_int_equal(listener_note_ending(r, &one, end - 31 * day), EXPIRY_FAR);
    assert_int_equal(listener_note_ending(r, &one, end - 29 * day),
                     EXPIRY_30_DAYS);
    assert_int_equal(listener_note_ending(r, &one, end - 28 * day), EXPIRY_FAR);
    assert_int_equal(listener_note_ending(r, &other, end - 28 * day),
                     EXPIRY_30_DAYS);
    assert_int_equal(listener_note_ending(r, &one, end - 5 * day),
                     EXPIRY_7_DAYS);
    assert_int_equal(listener_note_ending(r, &one, end - 5 * day + 3600),
                     EXPIRY_FAR);
    assert_int_equal(listener_note_ending(r, &one, end + day), EXPIRY_OVER);
    assert_int_equal(listener_note_ending(r, &one, end + day + 60), EXPIRY_FAR);
    listener_revision_unref(r);
}

static void
wants_proxy_header_from_some(void **state)
{
    struct listener_revision *r = make_revision();
    struct net_address proxy = address("203.0.113.9");
    struct net_address other = address("192.0.2.1");

    (void)state;
    assert_true(listener_wants_proxy(r, &proxy));
    assert_false(listener_wants_proxy(r, &other));
    listener_revision_unref(r);
}

static const struct relay_row {
    const char *name;
    const char *client, *domain;
    int listener;
    enum relay_verdict verdict;
} relay_rows[] = {
    {"our domain", "192.0.2.1", "a.test", 0, RELAY_LOCAL},
    {"below a suffix", "192.0.2.1", "x.sub.a.test", 0, RELAY_LOCAL},
    {"the suffix itself", "192.0.2.1", "sub.a.test", 0, RELAY_DENIED},
    {"another domain", "192.0.2.1", "b.test", 0, RELAY_DENIED},
    {"ours as a suffix of a word", "192.0.2.1", "xa.test", 0, RELAY_DENIED},
    {"our client", "198.51.100.200", "b.test", 0, RELAY_TRUSTED},
    {"our client in IPv6", "2001:db8::5", "b.test", 0, RELAY_TRUSTED},
    {"nearly our client", "198.51.101.1", "b.test", 0, RELAY_DENIED},
    {"our client to our domain", "198.51.100.1", "a.test", 0, RELAY_LOCAL},
    {"our client to a literal", "198.51.100.1", "[192.0.2.3]", 0,
     RELAY_TRUSTED},
    {"a stranger to a literal", "192.0.2.1", "[192.0.2.3]", 0, RELAY_DENIED},
    {"all of IPv4", "192.0.2.1", "b.test", 1, RELAY_TRUSTED},
    {"IPv6 is not all of IPv4", "2001:db8::5", "b.test", 1, RELAY_DENIED},
};

static void
decides_relay(void **state)
{
    const struct relay_row *row = *state;
    const struct listener_settings *listener =
        &settings->listeners[row->listener];
    struct net_address client = address(row->client);
    struct hat_client who = {.address = &client};
    struct hat_match match;
    struct relay_facts facts = {
        .listener = listener,
        .local = SV("ann"),
        .domain = sv_of(row->domain),
    };
    const struct rat_entry_settings *row_of_table;

    hat_match(listener->hat_table, &who, &match);
    facts.policy = &listener->policies[match.policy];
    assert_int_equal(relay_decide(&facts, &row_of_table), row->verdict);
}

static void
postmaster_has_a_domain(void **state)
{
    (void)state;
    assert_string_equal(
        relay_postmaster_domain(&settings->listeners[0], "gw.test"), "a.test");
    assert_string_equal(
        relay_postmaster_domain(&settings->listeners[1], "gw.test"), "gw.test");
}

int
main(void)
{
    const struct settings_options options = {.check_files = false};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_connections),
        cmocka_unit_test(limits_each_client),
        cmocka_unit_test(limits_handshakes),
        cmocka_unit_test(limits_recipients),
        cmocka_unit_test(suspects_harvest),
        cmocka_unit_test(notes_endings),
        cmocka_unit_test(wants_proxy_header_from_some),
        cmocka_unit_test(postmaster_has_a_domain),
    };
    struct err err;
    int failed;

    settings = settings_load(sv_of(yaml), "test", &options, &err);
    if (settings == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    failed = cmocka_run_group_tests_name("listener", tests, NULL, NULL);
    failed += RUN_ROWS("relay", decides_relay, relay_rows);
    settings_unref(settings);
    return failed;
}
