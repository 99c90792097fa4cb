/* Mail flow: which policy a client gets, what it holds and where from, and
 * what is refused. */
#include "access/hat.h"
#include "access/rat.h"
#include "test_refuse.h"

#define HEAD                                                                   \
    "certificates: {mx: {chain: /c, key: /k}}\n"                               \
    "tls_profiles: {old: {versions: [TLSv1.0]}}\n"
#define LISTENER(type)                                                         \
    "listeners:\n  In:\n    type: " type "\n    address: \"127.0.0.1:25\"\n"

static const char sample[] = HEAD
    "mail_flow_policies:\n"
    "  default: {max_recipients_per_hour: 500, max_message_size: 20M}\n"
    "  PARTNER: {tls: required, verify_client: on, tls_profile: old}\n"
    "  SLOW: {max_message_size: 1M, max_recipients_per_message: 20}\n"
    "  BLOCKED: {behavior: reject, reject_text: Go away}\n"
    "  LIST: {tls_required_for: [Bob@Bank.example, .bank.example, "
    "safe.example]}\n" LISTENER(
        "public") "    certificates: [mx]\n"
                  "    domains: [example.org]\n"
                  "    rat: {boss@example.org: reject, gone@example.org: "
                  "{action: "
                  "reject, reject_text: Left}, .example.org: accept, "
                  "abuse@: {bypass_rate_limit: on}}\n"
                  "    relay_for: [10.0.0.0/8]\n"
                  "    max_connections_per_ip: 7\n"
                  "    max_message_size: 30M\n"
                  "    default_domain: Example.org\n"
                  "    domain_map: {old.example: example.org, .old.example: "
                  "example.net}\n"
                  "    hat:\n"
                  "      - {group: PARTNERS, senders: [192.0.2.0/24, "
                  ".partner.example], "
                  "policy: PARTNER}\n"
                  "      - {group: BAD, senders: [203.0.113.], dns_lists: "
                  "[bl.example.org], "
                  "policy: BLOCKED}\n"
                  "      - {group: LISTED, senders: [198.51.100.1-9], policy: "
                  "LIST}\n"
                  "      - {group: ALL, policy: SLOW}\n";

static struct settings *
must_load(const char *yaml)
{
    const struct settings_options options = {.revision = 1};
    struct err err = {0};
    struct settings *s = settings_load(sv_of(yaml), "t.yaml", &options, &err);

    if (s == NULL)
        fail_msg("%s", err.text);
    return s;
}

static const struct mail_flow_policy *
policy_for(const struct settings *s, const char *ip, const char *name)
{
    const struct listener_settings *listener = &s->listeners[0];
    struct hat_client client = {.name = sv_of(name)};
    struct net_address address;
    struct hat_match match;

    assert_true(net_address_parse(sv_of(ip), 0, &address));
    client.address = &address;
    hat_match(listener->hat_table, &client, &match);
    assert_true(match.row != HAT_NONE);
    return &listener->policies[match.policy];
}

static void
test_policies(void **state)
{
    struct settings *s = must_load(sample);
    const struct mail_flow_policy *p;

    (void)state;
    p = policy_for(s, "10.9.8.7", "");
    assert_string_equal(p->name, "RELAYED");
    assert_int_equal(p->behavior, BEHAVIOR_RELAY);
    assert_int_equal(p->max_recipients_per_hour, 500);
    p = policy_for(s, "192.0.2.9", "");
    assert_string_equal(p->name, "PARTNER");
    assert_int_equal(p->tls, RECEIVE_TLS_REQUIRED);
    assert_true(p->verify_client);
    assert_string_equal(p->tls_profile->name, "old");
    /* The listener is nearer than the policy "default". */
    assert_int_equal(p->max_message_size, 30 << 20);
    assert_int_equal(p->max_connections_per_ip, 7);
    p = policy_for(s, "8.8.8.8", "mx.partner.example");
    assert_string_equal(p->name, "PARTNER");
    p = policy_for(s, "203.0.113.80", "");
    assert_int_equal(p->behavior, BEHAVIOR_REJECT);
    assert_string_equal(p->reject_text, "Go away");
    p = policy_for(s, "8.8.8.8", "");
    assert_string_equal(p->name, "SLOW");
    assert_int_equal(p->max_message_size, 1 << 20);
    assert_int_equal(p->max_recipients_per_message, 20);
    assert_int_equal(p->tls, RECEIVE_TLS_PREFERRED);
    assert_string_equal(p->tls_profile->name, "default");
    settings_unref(s);
}

static void
test_addresses_that_need_tls(void **state)
{
    static const struct {
        const char *address;
        bool needs;
    } rows[] = {{"bob@bank.example", true},     {"BOB@BANK.example", true},
                {"ann@bank.example", false},    {"ann@x.bank.example", true},
                {"ann@safe.example", true},     {"ann@x.safe.example", false},
                {"ann@elsewhere.test", false},  {"", false},
                {"\"bob\"@bank.example", false}};
    struct settings *s = must_load(sample);
    const struct mail_flow_policy *p = policy_for(s, "198.51.100.9", "");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows) - 1; i++)
        assert_int_equal(settings_needs_tls(p, sv_of(rows[i].address)),
                         rows[i].needs);
    settings_unref(s);
}

static void
test_recipients(void **state)
{
    static const struct {
        const char *local, *domain;
        bool accept;
        uint32_t options;
    } rows[] = {{"ann", "example.org", true, 0},
                {"boss", "example.org", false, 0},
                {"gone", "example.org", false, RAT_OWN_REPLY},
                {"ann", "x.example.org", true, 0},
                {"ann", "example.net", false, 0},
                {"abuse", "example.net", true, RAT_BYPASS_RATE}};
    struct settings *s = must_load(sample);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rat_match match;

        rat_match(s->listeners[0].rat_table, sv_of(rows[i].local),
                  sv_of(rows[i].domain), &match);
        assert_int_equal(match.accept, rows[i].accept);
        assert_int_equal(match.options, rows[i].options);
    }
    assert_string_equal(s->listeners[0].default_domain, "example.org");
    assert_true(sv_is(settings_map_domain(&s->listeners[0], SV("old.example")),
                      "example.org"));
    assert_true(
        sv_is(settings_map_domain(&s->listeners[0], SV("a.b.old.example")),
              "example.net"));
    assert_true(sv_is(settings_map_domain(&s->listeners[0], SV("a.example")),
                      "a.example"));
    settings_unref(s);
}

static bool
has(const struct settings *s, const struct mail_flow_policy *p,
    const char *line)
{
    struct buf out = {0};
    bool found;

    settings_policy_print(s, p, &out);
    found = strstr(buf_cstr(&out), line) != NULL;
    if (!found)
        print_error("no \"%s\" in:\n%s", line, buf_cstr(&out));
    buf_fini(&out);
    return found;
}

static void
test_origins(void **state)
{
    struct settings *s = must_load(sample);
    const struct mail_flow_policy *p = policy_for(s, "192.0.2.9", "");

    (void)state;
    assert_true(has(s, p, "tls: required  # policy PARTNER\n"));
    assert_true(has(s, p, "tls_profile: old  # policy PARTNER\n"));
    assert_true(has(s, p, "max_message_size: 30M  # listener\n"));
    assert_true(has(s, p, "max_recipients_per_hour: 500  # policy default\n"));
    assert_true(has(s, p, "banner_code: 220  # default\n"));
    p = policy_for(s, "10.0.0.1", "");
    assert_true(has(s, p, "behavior: relay  # relay_for\n"));
    settings_unref(s);
}

static const struct row rows[] = {
    {"unknown policy",
     LISTENER("private") "    hat: [{group: ALL, policy: NONE}]\n",
     "t.yaml:5:32: listeners.In.hat[0].policy: \"NONE\" does not exist in "
     "mail_flow_policies (there is: default)"},
    {"sender text",
     LISTENER("public") "    domains: a.example\n"
                        "    hat:\n"
                        "      - {group: A, senders: [192.0.2.256], policy: "
                        "default}\n",
     "t.yaml:7:30: listeners.In.hat[0].senders[0]: sender \"192.0.2.256\" is "
     "no IPv4 address: four numbers from 0 to 255 without leading zeros are "
     "wanted; a partial address ends with a dot, as in 203.0.113."},
    {"row behind ALL",
     LISTENER("public") "    domains: a.example\n"
                        "    hat:\n"
                        "      - {group: ALL, policy: default}\n"
                        "      - {group: A, senders: [192.0.2.1], policy: "
                        "default}\n",
     "t.yaml:8:9: listeners.In.hat[1]: can never match: the row before it is "
     "for ALL"},
    {"no ALL",
     LISTENER("public") "    domains: a.example\n"
                        "    hat:\n"
                        "      - {group: A, senders: [192.0.2.1], policy: "
                        "default}\n",
     "t.yaml:7:7: listeners.In.hat: the last row must be for ALL; add {group: "
     "ALL, policy: ...} or set `default_policy`"},
    {"a row for nobody",
     LISTENER("public") "    domains: a.example\n"
                        "    hat:\n"
                        "      - {group: A, policy: default}\n"
                        "      - {group: ALL, policy: default}\n",
     "t.yaml:7:9: listeners.In.hat[0]: matches nobody; set `senders` or "
     "`dns_lists`"},
    {"open relay by the table",
     "mail_flow_policies: {R: {behavior: relay}}\n" LISTENER(
         "public") "    hat: [{group: ALL, policy: R}]\n",
     "t.yaml:6:32: listeners.In.hat[0].policy: R relays, and the row is for so "
     "many hosts that a public listener is an open relay: anybody could send "
     "mail to anybody through it; list your own hosts"},
    {"open relay by default",
     "mail_flow_policies: {R: {behavior: relay}}\n" LISTENER(
         "public") "    default_policy: R\n",
     "t.yaml:6:21: listeners.In.default_policy: R relays: for everybody that "
     "is an open relay"},
    {"open relay by recipients", LISTENER("public") "    rat: {ALL: accept}\n",
     "t.yaml:5:11: listeners.In.rat.ALL: accepting mail for everybody makes a "
     "public listener an open relay; list your domains"},
    {"continue at the end",
     "mail_flow_policies: {C: {behavior: continue}}\n" LISTENER(
         "public") "    domains: a.example\n    default_policy: C\n",
     "t.yaml:7:21: listeners.In.default_policy: C continues, and nothing comes "
     "after it"},
    {"tls without certificate",
     "mail_flow_policies: {T: {tls: required}}\n" LISTENER(
         "public") "    domains: a.example\n"
                   "    hat: [{group: ALL, policy: T}]\n",
     "t.yaml:7:32: listeners.In.hat[0].policy: T: TLS needs a certificate; set "
     "`certificates` of the listener, or `tls: no`"},
    {"verify without certificate",
     "mail_flow_policies: {T: {verify_client: on}}\n" LISTENER(
         "public") "    domains: a.example\n"
                   "    hat: [{group: ALL, policy: T}]\n",
     "t.yaml:7:32: listeners.In.hat[0].policy: T: verify_client needs TLS, and "
     "there is none"},
    {"recipient twice",
     LISTENER(
         "public") "    domains: a.example\n    rat: {A.example: reject}\n",
     NULL},
    {"recipient pattern", LISTENER("public") "    rat: {\"a b\": accept}\n",
     NULL},
    {"nothing would be accepted",
     LISTENER("public") "    rat: {a.example: reject}\n"
                        "    hat: [{group: ALL, policy: default}]\n",
     "t.yaml:6:10: listeners.In.hat: the listener would accept no mail; set "
     "`rat`, `domains`, or a policy with `behavior: relay`"},
    {"text of a reply",
     "mail_flow_policies: {T: {banner_text: \"\xc3\xa4\"}}\n",
     "t.yaml:1:39: mail_flow_policies.T.banner_text: \"??\" is not plain "
     "ASCII, "
     "as replies of SMTP must be"},
};

/* NULL: refused, with words that other tests look at. */
static void
check_refused(void **state)
{
    const struct row *r = *state;
    const struct settings_options options = {0};
    struct err err;

    if (r->message != NULL) {
        check(state);
        return;
    }
    assert_null(settings_load(sv_of(r->yaml), "t.yaml", &options, &err));
    assert_true(sv_starts_nocase(sv_of(err.text), SV("t.yaml:")));
}

static void
test_default_policy_instead_of_all(void **state)
{
    struct settings *s = must_load(
        LISTENER("public") "    domains: a.example\n"
                           "    default_policy: default\n"
                           "    hat:\n"
                           "      - {group: A, senders: [192.0.2.1], policy: "
                           "default}\n");

    (void)state;
    assert_string_equal(policy_for(s, "8.8.8.8", "")->name, "default");
    assert_int_equal(policy_for(s, "8.8.8.8", "")->tls, RECEIVE_TLS_NO);
    settings_unref(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_addresses_that_need_tls),
        cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_default_policy_instead_of_all),
    };
    int failed = cmocka_run_group_tests_name("flow", tests, NULL, NULL);

    return failed + RUN_ROWS("flow refusals", check_refused, rows);
}
