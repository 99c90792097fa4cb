#include "transmit/decide.h"
#include "unit.h"

static const struct row {
    const char *name;
    enum deliver_tls tls;
    const char *domain, *host;
    bool literal;
    const char *floor;
    enum tls_authentication authentication;
    const char *sni, *first, *second;
    enum tls_fallback fallback;
} rows[] = {
    {"no", DELIVER_TLS_NO, "y.test", "mx.test", false, "clear", AUTH_NONE, "",
     "", "", FALLBACK_NEVER},
    {"preferred", DELIVER_TLS_PREFERRED, "y.test", "mx.test", false,
     "opportunistic", AUTH_NONE, "mx.test", "mx.test", "",
     FALLBACK_NEXT_ATTEMPT},
    {"required", DELIVER_TLS_REQUIRED, "y.test", "mx.test", false, "encrypted",
     AUTH_NONE, "mx.test", "mx.test", "", FALLBACK_NEVER},
    {"preferred-verify", DELIVER_TLS_PREFERRED_VERIFY, "y.test", "mx.test",
     false, "opportunistic", AUTH_PREFERRED, "mx.test", "mx.test", "",
     FALLBACK_NEXT_ATTEMPT},
    {"required-verify", DELIVER_TLS_REQUIRED_VERIFY, "y.test", "mx.test", false,
     "verified", AUTH_REQUIRED, "mx.test", "mx.test", "", FALLBACK_NEVER},
    {"hosted: the mail domain first", DELIVER_TLS_REQUIRED_VERIFY_HOSTED,
     "y.test", "mx.test", false, "verified", AUTH_REQUIRED, "mx.test", "y.test",
     "mx.test", FALLBACK_NEVER},
    {"literal: no SNI and no name", DELIVER_TLS_REQUIRED_VERIFY, "[192.0.2.1]",
     "[192.0.2.1]", true, "verified", AUTH_REQUIRED, "", "", "",
     FALLBACK_NEVER},
    {"hosted by address: only the mail domain",
     DELIVER_TLS_REQUIRED_VERIFY_HOSTED, "y.test", "192.0.2.1", true,
     "verified", AUTH_REQUIRED, "", "y.test", "", FALLBACK_NEVER},
    {"hosted without a domain", DELIVER_TLS_REQUIRED_VERIFY_HOSTED, "",
     "mx.test", false, "verified", AUTH_REQUIRED, "mx.test", "mx.test", "",
     FALLBACK_NEVER},
    {"a pattern is no name", DELIVER_TLS_REQUIRED_VERIFY_HOSTED, ".y.test",
     "mx.test", false, "verified", AUTH_REQUIRED, "mx.test", "mx.test", "",
     FALLBACK_NEVER},
};

static char no_text[] = "";
static struct tls_profile_settings profile = {
    .name = no_text,
    .profile = {.versions = TLS_BIT_TLS12, .ciphers = "", .groups = ""}};

static void
check(void **state)
{
    const struct row *row = *state;
    struct destination_settings control = {.tls = row->tls,
                                           .tls_profile = &profile,
                                           .fallback = FALLBACK_NEXT_ATTEMPT};
    struct tls_evidence evidence = {.domain = row->domain,
                                    .host = row->host,
                                    .host_is_literal = row->literal,
                                    .control = &control};
    struct tls_decision decision;

    decide(&evidence, &decision);
    assert_string_equal(tls_floor_name(decision.floor), row->floor);
    assert_int_equal(decision.authentication, row->authentication);
    assert_string_equal(decision.server_name, row->sni);
    assert_string_equal(decision.names[0], row->first);
    assert_string_equal(decision.names[1], row->second);
    assert_int_equal(decision.fallback, row->fallback);
    assert_ptr_equal(decision.control, &control);
    assert_int_not_equal(decision.reason[0], '\0');
}

/* Each change of anything gives another key; the same again the same. */
static void
test_key(void **state)
{
    char name[] = "own", file[] = "own.pem";
    struct certificate_settings own = {
        .name = name, .chain = file, .key = file, .ocsp = file};
    char groups[] = "P-256", *files[] = {file};
    struct tls_profile_settings other = profile, both = profile;
    struct destination_settings controls[] = {
        {.tls = DELIVER_TLS_PREFERRED, .tls_profile = &profile},
        {.tls = DELIVER_TLS_REQUIRED, .tls_profile = &profile},
        {.tls = DELIVER_TLS_REQUIRED_VERIFY, .tls_profile = &profile},
        {.tls = DELIVER_TLS_PREFERRED, .tls_profile = &other},
        {.tls = DELIVER_TLS_PREFERRED,
         .tls_profile = &profile,
         .client_certificate = &own},
        {.tls = DELIVER_TLS_PREFERRED,
         .tls_profile = &profile,
         .fallback = FALLBACK_NEXT_ATTEMPT},
        {.tls = DELIVER_TLS_PREFERRED, .tls_profile = &both},
        {.tls = DELIVER_TLS_PREFERRED, .tls_profile = &both, .tls13 = true},
        {.tls = DELIVER_TLS_PREFERRED,
         .tls_profile = &profile,
         .session_tickets = true},
        {.tls = DELIVER_TLS_PREFERRED,
         .tls_profile = &profile,
         .groups = groups},
        {.tls = DELIVER_TLS_PREFERRED,
         .tls_profile = &profile,
         .system_authorities = true},
        {.tls = DELIVER_TLS_PREFERRED,
         .tls_profile = &profile,
         .authorities = files,
         .authority_count = 1},
        {.tls = DELIVER_TLS_PREFERRED,
         .tls_profile = &profile,
         .revocation_lists = files,
         .revocation_list_count = 1},
    };
    static const char *const hosts[] = {"a.test", "b.test"};
    struct tls_decision decisions[COUNT_OF(controls) * 2], again;
    size_t n = 0;

    (void)state;
    both.profile.versions |= TLS_BIT_TLS13;
    both.profile.ciphers = "HIGH";
    other.profile.ciphers = "ECDHE+AESGCM";
    for (size_t i = 0; i < COUNT_OF(controls); i++)
        for (size_t j = 0; j < COUNT_OF(hosts); j++) {
            struct tls_evidence evidence = {
                .domain = "y.test", .host = hosts[j], .control = &controls[i]};

            decide(&evidence, &decisions[n]);
            decide(&evidence, &again);
            assert_memory_equal(&again.key, &decisions[n].key,
                                sizeof again.key);
            n++;
        }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(&decisions[i].key, &decisions[j].key,
                                    sizeof again.key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_key)};

    return RUN_ROWS("decide", check, rows) +
           cmocka_run_group_tests_name("decide_key", tests, NULL, NULL);
}
