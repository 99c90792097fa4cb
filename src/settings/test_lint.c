/* What is warned of, and what is not.  Certificates are in
 * tests/e2e/test_lint.py. */
#include "base/buf.h"
#include "settings/lint.h"
#include "tls/bundle.h"
#include "unit.h"
#include <time.h>
#include <unistd.h>

struct row {
    const char *name;
    const char *yaml;     /* behind HEAD, so it begins in line 3 */
    const char *findings; /* "line path: what [code]", a line each */
};

/* No old versions, so that only what a row is about is found. */
#define HEAD                                                                   \
    "node: gw1\n"                                                              \
    "certificates: {mx: {chain: mx.pem, key: mx.key}}\n"
#define MODERN "tls_profiles: {default: {versions: [TLSv1.2, TLSv1.3]}}\n"
#define LISTENER(more)                                                         \
    "listeners:\n"                                                             \
    "  In: {type: public, address: \"127.0.0.1:25\", domains: example.org, "   \
    "certificates: mx" more "}\n"
#define POLICIES                                                               \
    "mail_flow_policies: {P: {tls: required}, B: {behavior: reject}}\n"

static const struct row rows[] = {
    {"nothing", MODERN LISTENER(""), ""},
    {"required of all", MODERN LISTENER(", tls: required"),
     "5 listeners.In.tls: TLS is required of everybody (policy default) on a "
     "public listener [tls-required-of-all]\n"},
    {"required of all by a policy",
     MODERN POLICIES LISTENER(", hat: [{group: ALL, policy: P}]"),
     "6 listeners.In.tls: TLS is required of everybody (policy P) on a public "
     "listener [tls-required-of-all]\n"},
    {"required of a partner",
     MODERN POLICIES LISTENER(", default_policy: default, hat: [{group: A, "
                              "senders: 192.0.2.1, policy: P}]"),
     ""},
    {"required on a private listener",
     MODERN "listeners: {In: {type: private, address: \"127.0.0.1:25\", "
            "relay_for: 127.0.0.0/8, certificates: mx, tls: required}}\n",
     ""},
    {"required by implicit TLS",
     MODERN "listeners: {In: {type: public, address: \"tls://127.0.0.1:465\", "
            "domains: example.org, certificates: mx}}\n",
     ""},
    {"old versions", LISTENER(""),
     "1 tls_profiles.default.versions: TLSv1.0, TLSv1.1 on [old-versions]\n"},
    {"old versions by the node",
     MODERN LISTENER("") "servers: {gw1: {tls_versions: {TLSv1.0: on}}}\n",
     "3 tls_profiles.default.versions: TLSv1.0 on for receiving "
     "[old-versions]\n"},
    {"old versions off by the node, on for sending",
     LISTENER("") "advanced: {SSLMethodTLSv1_0: 0, SSLMethodTLSv1_1: 0}\n",
     "1 tls_profiles.default.versions: TLSv1.0, TLSv1.1 on for sending "
     "[old-versions]\n"},
    {"a profile that nobody uses",
     "tls_profiles: {default: {versions: [TLSv1.3]}, x: {strength: "
     "low}}\n" LISTENER(""),
     ""},
    {"a profile of one destination",
     "tls_profiles: {default: {versions: [TLSv1.3]}, x: {versions: "
     "[TLSv1.1, TLSv1.3]}}\n" LISTENER(
         "") "destinations: {a.example: {tls_profile: x}}\n",
     "3 tls_profiles.x.versions: TLSv1.1 on for sending [old-versions]\n"},
    {"weak list",
     "tls_profiles: {default: {versions: [TLSv1.2], ciphers: "
     "\"ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA\"}}\n" LISTENER(""),
     "3 tls_profiles.default.ciphers: weak ciphers: AES128-SHA "
     "[weak-ciphers]\n"},
    {"dead row",
     MODERN POLICIES LISTENER(", default_policy: default, hat: [{group: A, "
                              "senders: 10.0.0.0/8, policy: B}, {group: C, "
                              "senders: [10.1.0.0/16], policy: P}]"),
     "6 listeners.In.hat[1]: group C never matches: A comes before it "
     "[hat-never-matches]\n"},
    {"dead sender",
     MODERN POLICIES LISTENER(", default_policy: default, hat: [{group: A, "
                              "senders: 10.0.0.0/8, policy: B}, {group: C, "
                              "senders: [10.1.0.0/16, 192.0.2.1], policy: P}]"),
     "6 listeners.In.hat[1]: 10.1.0.0/16 of group C never matches: A comes "
     "before it [hat-never-matches]\n"},
    {"dead behind relay_for",
     MODERN POLICIES LISTENER(
         ", relay_for: 10.0.0.0/8, default_policy: default, hat: [{group: C, "
         "senders: 10.1.1.1, policy: B}]"),
     "6 listeners.In.hat[0]: group C never matches: RELAYLIST comes before it "
     "[hat-never-matches]\n"},
    {"recipients",
     MODERN LISTENER(", rat: {b@example.org: accept, a@: accept}"),
     "5 listeners.In.rat.\"b@example.org\": b@example.org has no effect: "
     "example.org says the same [rat-no-effect]\n"
     "5 listeners.In.rat.\"a@\": a@ is accepted in every domain of the world "
     "[open-relay]\n"},
    {"clear text", MODERN LISTENER("") "destinations: {a.example: {tls: no}}\n",
     "6 destinations.\"a.example\".tls: mail to a.example never goes over TLS "
     "[clear-text]\n"},
    {"clear text to all, said once",
     MODERN LISTENER("") "destinations: {default: {tls: no}, a.example: {}}\n",
     "6 destinations.default.tls: mail to everybody never goes over TLS "
     "[clear-text]\n"},
    {"fallback",
     MODERN LISTENER("") "destinations: {a.example: {fallback: "
                         "next-attempt}}\n",
     "6 destinations.\"a.example\".fallback: after a failed handshake mail to "
     "a.example goes in clear text [fallback]\n"},
    {"fallback without meaning",
     MODERN LISTENER("") "destinations: {a.example: {tls: required, fallback: "
                         "next-attempt}}\n",
     ""},
    {"verified MX",
     MODERN LISTENER("") "destinations: {a.example: {tls: required-verify}}\n",
     "6 destinations.\"a.example\".tls: the certificate is verified for the "
     "name of the MX host [verified-name-unproven]\n"},
    {"verified route",
     MODERN LISTENER("") "destinations: {a.example: {tls: required-verify}}\n"
                         "routes: {a.example: mail.a.example}\n",
     ""},
};

static void
check(void **state)
{
    const struct settings_options load = {.check_files = false};
    const struct lint_options options = {.files = false};
    const struct row *r = *state;
    struct buf yaml = {0}, found = {0};
    struct settings *settings;
    struct lint lint;
    struct err err;

    buf_printf(&yaml, HEAD "%s", r->yaml);
    settings = settings_load(buf_view(&yaml), "t.yaml", &load, &err);
    if (settings == NULL)
        fail_msg("%s", err.text);
    settings_lint(settings, &options, &lint);
    for (size_t i = 0; i < lint.count; i++)
        buf_printf(&found, "%u %s: %s [%s]\n", lint.findings[i].line,
                   lint.findings[i].path, lint.findings[i].what,
                   lint_name(lint.findings[i].code));
    assert_string_equal(buf_cstr(&found), r->findings);
    lint_fini(&lint);
    settings_unref(settings);
    buf_fini(&yaml);
    buf_fini(&found);
}

/* The clock is the caller's, so an expired certificate needs no waiting. */
static void
test_time(void **state)
{
    static const struct {
        int64_t days; /* from now */
        const char *what;
    } times[] = {
        {-5, "the certificate is not valid yet"},
        {50, NULL},
        {85, "the certificate ends in 4 days"},
        {89, "the certificate ends in 0 days"},
        {90, "the certificate has expired 1 day ago"},
        {92, "the certificate has expired 3 days ago"},
    };
    static const char *const names[] = {"gw1.example.org"};
    const struct tls_create_options create = {.key_type = "ec256",
                                              .names = names,
                                              .name_count = 1,
                                              .subject = "",
                                              .days = 90};
    const struct settings_options load = {.check_files = false};
    char folder[] = "/tmp/waxgate-lint-XXXXXX";
    char chain[64], key[64];
    struct tls_bundle *bundle = tls_bundle_new();
    struct settings *settings;
    struct buf yaml = {0};
    struct err err;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(chain, sizeof chain, "%s/c.pem", folder);
    snprintf(key, sizeof key, "%s/c.key", folder);
    assert_true(tls_bundle_create_key(bundle, "ec256", &err));
    assert_true(tls_bundle_self_sign(bundle, &create, &err));
    assert_true(tls_bundle_write(bundle, chain, key,
                                 &(struct tls_write_options){0}, &err));
    tls_bundle_free(bundle);
    buf_printf(&yaml,
               "hostname: gw1.example.org\n" MODERN
               "certificates: {c: {chain: %s, key: %s}}\n"
               "listeners: {In: {type: private, address: \"127.0.0.1:25\", "
               "relay_for: 127.0.0.0/8, certificates: c}}\n",
               chain, key);
    settings = settings_load(buf_view(&yaml), "t.yaml", &load, &err);
    assert_non_null(settings);
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        /* Half a day on, so that seconds that pass change no day. */
        const struct lint_options options = {
            .files = true,
            .now = (int64_t)time(NULL) + times[i].days * 86400 + 43200};
        struct lint lint;

        settings_lint(settings, &options, &lint);
        assert_int_equal(lint.count, times[i].what != NULL);
        if (times[i].what != NULL)
            assert_string_equal(lint.findings[0].what, times[i].what);
        lint_fini(&lint);
    }
    settings_unref(settings);
    buf_fini(&yaml);
    unlink(chain);
    unlink(key);
    rmdir(folder);
}

/* Every warning can say everything. */
static void
test_texts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LINT_COUNT; i++) {
        assert_true(strlen(lint_name(i)) > 0);
        assert_true(strlen(lint_why(i)) > 0);
        assert_true(strlen(lint_better(i)) > 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts),
                                       cmocka_unit_test(test_time)};

    return RUN_ROWS("lint", check, rows) +
           cmocka_run_group_tests_name("texts", tests, NULL, NULL);
}
