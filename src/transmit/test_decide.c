#include "base/arena.h"
#include "base/buf.h"
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

/* --- Hard ones, told whole --------------------------------------------------
 */

static const uint8_t one[32] = {1}, two[32] = {2};
static const struct tls_tlsa record_one = {3, 1, 1, 32, one};
static const struct tls_tlsa record_two = {3, 1, 1, 32, two};

static const char *const exact[] = {"mx.y.test"}, *const wild[] = {"*.y.test"},
                         *const deep[] = {"*.mx.y.test"},
                         *const top[] = {"y.test"};
static struct sts_policy enforce = {STS_MODE_ENFORCE, 86400, 1, exact};
static struct sts_policy enforce_wild = {STS_MODE_ENFORCE, 86400, 1, wild};
static struct sts_policy enforce_deep = {STS_MODE_ENFORCE, 86400, 1, deep};
static struct sts_policy enforce_top = {STS_MODE_ENFORCE, 86400, 1, top};
static struct sts_policy testing = {STS_MODE_TESTING, 86400, 1, exact};
static struct sts_policy testing_deep = {STS_MODE_TESTING, 86400, 1, deep};
static struct sts_policy none = {.mode = STS_MODE_NONE, .max_age = 86400};

#define STS(mode)                                                              \
    &(const struct sts_evidence)                                               \
    {                                                                          \
        .state = STS_POLICY, .policy = (mode), .id = "7", .fetched = 1000      \
    }
#define NO_STS(kind, words)                                                    \
    &(const struct sts_evidence)                                               \
    {                                                                          \
        .state = (kind), .reason = words                                       \
    }
#define TLSA_AT(kind, secure, name)                                            \
    &(const struct dane_evidence)                                              \
    {                                                                          \
        .state = (kind), .mx_secure = (secure), .base = name,                  \
        .reason = "SERVFAIL", .tlsa = &record_one, .tlsa_count = 1             \
    }
#define TLSA(kind, secure) TLSA_AT(kind, secure, "mx.y.test")
struct wish { /* what differs from `tls: no` and the defaults */
    enum deliver_tls tls;
    bool mandatory, no_dane, no_sts, no_insecure_mx;
};

static struct destination_settings
control_of(struct wish wish)
{
    return (struct destination_settings){
        .tls = wish.tls,
        .tls_profile = &profile,
        .fallback = FALLBACK_BEFORE_220,
        .dane = wish.mandatory ? DANE_MANDATORY
                : wish.no_dane ? DANE_NO
                               : DANE_OPPORTUNISTIC,
        .mta_sts = !wish.no_sts,
        .dane_insecure_mx = !wish.no_insecure_mx,
    };
}

static const struct hard {
    const char *name;
    struct wish wish;
    unsigned demands;
    enum dns_state mx_state;
    const struct dane_evidence *dane;
    const struct sts_evidence *sts;
    uint32_t attempt;
    const char *expected;
} hard[] = {
    {"nothing is known",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     NULL,
     1,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred dane-not-asked sts-off"},
    {"DANE under preferred: the base domain and that of the mail",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA_AT(DANE_USABLE, true, "host.z.test"),
     NO_STS(STS_ABSENT, ""),
     1,
     "verified required dane by dane; host.z.test; host.z.test y.test; "
     "control-preferred dane-usable"},
    {"DANE by an unsigned MX record: the base domain alone",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     NO_STS(STS_ABSENT, ""),
     1,
     "verified required dane by dane; mx.y.test; mx.y.test; "
     "control-preferred dane-insecure-mx dane-usable"},
    {"the domain is its own server",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA_AT(DANE_USABLE, true, "y.test"),
     NULL,
     1,
     "verified required dane by dane; y.test; y.test; "
     "control-preferred dane-usable"},
    {"DANE and an enforced policy: DANE decides",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA(DANE_USABLE, true),
     STS(&enforce_deep),
     1,
     "verified required dane by dane; mx.y.test; mx.y.test y.test; "
     "control-preferred dane-usable sts-yields"},
    {"forged MX record with records of its own: the policy decides",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     STS(&enforce_deep),
     1,
     "refused sts-mx by mta-sts; the MTA-STS policy of y.test "
     "(enforce, id 7, fetched 3 h ago) does not list mx.y.test; "
     "control-preferred dane-yields sts-enforce sts-unlisted"},
    {"forged MX record with records of its own: the authorities decide",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY_HOSTED},
     0,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     NO_STS(STS_ABSENT, ""),
     1,
     "verified required pkix by default; mx.y.test; y.test mx.y.test; "
     "control-required-verify-hosted dane-yields sts-absent"},
    {"forged MX record, and the message demands a verified server",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_TLS_VERIFIED,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     NO_STS(STS_ABSENT, ""),
     1,
     "verified required pkix by message; mx.y.test; mx.y.test; "
     "control-preferred message-tls-verified dane-yields sts-absent"},
    {"forged MX record, and the policy is hidden: mail waits",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     NO_STS(STS_UNKNOWN, "SERVFAIL"),
     1,
     "refused dns by mta-sts; whether there is an MTA-STS policy cannot be "
     "found out (y.test: SERVFAIL); control-preferred dane-yields sts-unknown"},
    {"unsigned MX record, and the policy is hidden for too long",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     NO_STS(STS_UNKNOWN, "SERVFAIL"),
     9,
     "verified required dane by dane; mx.y.test; mx.y.test; "
     "control-preferred dane-insecure-mx dane-usable"},
    {"a policy does not rescue a failed look-up of TLSA records",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA(DANE_FAILED, true),
     STS(&enforce),
     1,
     "refused dane by dane; the server's TLSA records cannot be looked up "
     "(mx.y.test: SERVFAIL); control-preferred dane-failed"},
    {"unusable records and no policy: TLS, whoever is there",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA(DANE_UNUSABLE, true),
     NO_STS(STS_ABSENT, ""),
     1,
     "encrypted none pkix by dane; mx.y.test; mx.y.test; "
     "control-preferred dane-unusable sts-absent"},
    {"unusable records and a policy: it authenticates",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA(DANE_UNUSABLE, true),
     STS(&enforce),
     1,
     "verified required pkix by mta-sts tls12 sts; mx.y.test; mx.y.test; "
     "control-preferred dane-unusable sts-enforce"},
    {"unusable records and a policy being tested: TLS is mandatory",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA(DANE_UNUSABLE, true),
     STS(&testing),
     1,
     "encrypted none pkix by dane noted; mx.y.test; mx.y.test; "
     "control-preferred dane-unusable sts-testing"},
    {"mandatory knows no unusable records",
     {.tls = DELIVER_TLS_REQUIRED, .mandatory = true},
     0,
     DNS_SECURE,
     TLSA(DANE_UNUSABLE, true),
     STS(&enforce),
     1,
     "refused dane by default; DANE is mandatory: none of the server's TLSA "
     "records is usable: "
     "TLS is mandatory (mx.y.test: SERVFAIL); control-required "
     "control-dane-mandatory dane-unusable"},
    {"mandatory knows no unsigned MX record",
     {.tls = DELIVER_TLS_REQUIRED, .mandatory = true},
     0,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     NULL,
     1,
     "refused dane by default; DANE is mandatory: the server's name came from "
     "an unsigned MX "
     "record (mx.y.test: SERVFAIL); control-required control-dane-mandatory "
     "dane-insecure-mx"},
    {"mandatory although TLS is off",
     {.tls = DELIVER_TLS_NO, .mandatory = true},
     0,
     DNS_SECURE,
     TLSA(DANE_USABLE, true),
     NULL,
     1,
     "verified required dane by dane; mx.y.test; mx.y.test y.test; control-no "
     "control-dane-mandatory dane-usable"},
    {"mandatory although a rule ignores DANE",
     {.tls = DELIVER_TLS_PREFERRED, .mandatory = true},
     ENVELOPE_IGNORE_DANE | ENVELOPE_TLS_OPTIONAL,
     DNS_SECURE,
     TLSA(DANE_FAILED, true),
     NULL,
     1,
     "refused dane by default; DANE is mandatory: the server's TLSA records "
     "cannot be looked up "
     "(mx.y.test: SERVFAIL); control-preferred message-tls-optional "
     "control-dane-mandatory dane-failed"},
    {"no TLS: neither DANE nor the policy counts",
     {.tls = DELIVER_TLS_NO},
     0,
     DNS_SECURE,
     TLSA(DANE_USABLE, true),
     STS(&enforce),
     1,
     "clear none pkix by default; ; ; control-no"},
    {"no TLS, but the message demands it: then both count again",
     {.tls = DELIVER_TLS_NO},
     ENVELOPE_TLS_REQUIRED,
     DNS_SECURE,
     TLSA(DANE_ABSENT, true),
     STS(&enforce),
     1,
     "verified required pkix by mta-sts tls12 sts; mx.y.test; mx.y.test; "
     "control-no message-tls-required dane-absent sts-enforce"},
    {"a wildcard stands for one label",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     STS(&enforce_wild),
     1,
     "verified required pkix by mta-sts tls12 sts; mx.y.test; mx.y.test; "
     "control-preferred dane-not-asked sts-enforce"},
    {"the domain's own name lists no other server",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     STS(&enforce_top),
     1,
     "refused sts-mx by mta-sts; the MTA-STS policy of y.test "
     "(enforce, id 7, fetched 3 h ago) does not list mx.y.test; "
     "control-preferred dane-not-asked sts-enforce sts-unlisted"},
    {"under a policy the domain is no good name for the server",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY_HOSTED},
     0,
     DNS_INSECURE,
     NULL,
     STS(&enforce),
     1,
     "verified required pkix by mta-sts tls12 sts; mx.y.test; mx.y.test; "
     "control-required-verify-hosted dane-not-asked sts-enforce"},
    {"tested, and the server is not on the list: only noted",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     STS(&testing_deep),
     1,
     "opportunistic none pkix by default noted unlisted; mx.y.test; mx.y.test; "
     "control-preferred dane-not-asked sts-testing sts-unlisted"},
    {"tested: the settings stay in force",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY_HOSTED},
     0,
     DNS_INSECURE,
     NULL,
     STS(&testing),
     1,
     "verified required pkix by default noted; mx.y.test; y.test mx.y.test; "
     "control-required-verify-hosted dane-not-asked sts-testing"},
    {"a policy of mode none",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     STS(&none),
     1,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred dane-not-asked sts-absent"},
    {"MTA-STS is off",
     {.tls = DELIVER_TLS_PREFERRED, .no_sts = true},
     0,
     DNS_INSECURE,
     NULL,
     STS(&enforce),
     1,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred dane-not-asked sts-off"},
    {"the TXT record is hidden: the mail waits",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     NO_STS(STS_UNKNOWN, "time-out"),
     3,
     "refused dns by mta-sts; whether there is an MTA-STS policy cannot be "
     "found out (y.test: time-out); control-preferred dane-not-asked "
     "sts-unknown"},
    {"… but not for ever",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     NO_STS(STS_UNKNOWN, "time-out"),
     4,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred dane-not-asked sts-unknown sts-given-up"},
    {"… and not where DANE decides",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_SECURE,
     TLSA(DANE_USABLE, true),
     NO_STS(STS_UNKNOWN, "time-out"),
     1,
     "verified required dane by dane; mx.y.test; mx.y.test y.test; "
     "control-preferred dane-usable"},
    {"… and not where the message does not mind",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_TLS_OPTIONAL,
     DNS_INSECURE,
     NULL,
     NO_STS(STS_UNKNOWN, "time-out"),
     1,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred message-tls-optional"},
    {"a policy that could not be fetched counts as none",
     {.tls = DELIVER_TLS_PREFERRED},
     0,
     DNS_INSECURE,
     NULL,
     NO_STS(STS_UNFETCHED, "404"),
     1,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred dane-not-asked sts-unfetched"},
    {"TLS-Required: No under an enforced policy and DANE",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_TLS_OPTIONAL,
     DNS_SECURE,
     TLSA(DANE_FAILED, true),
     STS(&enforce_deep),
     1,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred message-tls-optional"},
    {"TLS-Required: No does not lower what the settings demand",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY},
     ENVELOPE_TLS_OPTIONAL,
     DNS_SECURE,
     TLSA(DANE_FAILED, true),
     STS(&enforce_deep),
     1,
     "verified required pkix by default; mx.y.test; mx.y.test; "
     "control-required-verify message-tls-optional"},
    {"TLS-Required: No beside REQUIRETLS",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_TLS_OPTIONAL | ENVELOPE_REQUIRETLS,
     DNS_SECURE,
     TLSA(DANE_ABSENT, true),
     NO_STS(STS_ABSENT, ""),
     1,
     "verified required pkix by message tls12 requiretls; mx.y.test; "
     "mx.y.test; control-preferred message-tls-optional-overruled "
     "message-requiretls dane-absent sts-absent"},
    {"REQUIRETLS and nothing that proves the server",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_REQUIRETLS,
     DNS_INSECURE,
     NULL,
     NO_STS(STS_ABSENT, ""),
     1,
     "refused sts-mx by message; neither DNSSEC nor MTA-STS proves that "
     "mx.y.test is a server of y.test; control-preferred message-requiretls "
     "dane-not-asked sts-absent mx-unproven"},
    {"REQUIRETLS: records by an unsigned MX record prove nothing",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_REQUIRETLS,
     DNS_INSECURE,
     TLSA(DANE_USABLE, false),
     NO_STS(STS_ABSENT, ""),
     1,
     "refused sts-mx by message; neither DNSSEC nor MTA-STS proves that "
     "mx.y.test is a server of y.test; control-preferred message-requiretls "
     "dane-yields sts-absent mx-unproven"},
    {"REQUIRETLS: a policy proves it",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_REQUIRETLS,
     DNS_INSECURE,
     NULL,
     STS(&enforce),
     1,
     "verified required pkix by mta-sts tls12 requiretls sts; mx.y.test; "
     "mx.y.test; control-preferred message-requiretls dane-not-asked "
     "sts-enforce"},
    {"REQUIRETLS: one that is being tested, too",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_REQUIRETLS,
     DNS_INSECURE,
     NULL,
     STS(&testing),
     1,
     "verified required pkix by message tls12 requiretls noted; mx.y.test; "
     "mx.y.test; control-preferred message-requiretls dane-not-asked "
     "sts-testing"},
    {"REQUIRETLS where TLS is off, by DANE",
     {.tls = DELIVER_TLS_NO},
     ENVELOPE_REQUIRETLS,
     DNS_SECURE,
     TLSA(DANE_USABLE, true),
     NULL,
     1,
     "verified required dane by dane tls12 requiretls; mx.y.test; mx.y.test "
     "y.test; control-no message-requiretls dane-usable"},
    {"a rule ignores DANE: the policy decides",
     {.tls = DELIVER_TLS_PREFERRED},
     ENVELOPE_IGNORE_DANE,
     DNS_SECURE,
     TLSA(DANE_FAILED, true),
     STS(&enforce),
     1,
     "verified required pkix by mta-sts tls12 sts; mx.y.test; mx.y.test; "
     "control-preferred message-ignores-dane sts-enforce"},
    {"required-verify is satisfied by DANE",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY},
     0,
     DNS_SECURE,
     TLSA(DANE_USABLE, true),
     NULL,
     1,
     "verified required dane by dane; mx.y.test; mx.y.test y.test; "
     "control-required-verify dane-usable"},
    {"dane: no",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY, .no_dane = true},
     0,
     DNS_SECURE,
     TLSA(DANE_USABLE, true),
     NULL,
     1,
     "verified required pkix by default; mx.y.test; mx.y.test; "
     "control-required-verify dane-off sts-off"},
    {"dane_insecure_mx: no",
     {.tls = DELIVER_TLS_PREFERRED, .no_insecure_mx = true},
     0,
     DNS_INSECURE,
     TLSA(DANE_FAILED, false),
     NULL,
     1,
     "opportunistic none pkix by default; mx.y.test; mx.y.test; "
     "control-preferred dane-insecure-mx sts-off"},
};

static void
tell(const struct tls_decision *d, struct buf *out)
{
    if (!d->usable)
        buf_printf(out, "refused %s by %s; %s;",
                   tls_stage_name(d->refusal.stage),
                   tls_authority_name(d->authority), d->refusal.sentence);
    else
        buf_printf(out, "%s %s %s by %s%s%s%s%s%s; %s; %s%s%s;",
                   tls_floor_name(d->floor),
                   tls_authentication_name(d->authentication),
                   tls_method_name(d->method), tls_authority_name(d->authority),
                   d->tls12 ? " tls12" : "", d->requiretls ? " requiretls" : "",
                   d->sts_use == STS_USE_ENFORCED ? " sts" : "",
                   d->sts_use == STS_USE_NOTED ? " noted" : "",
                   d->sts_unlisted ? " unlisted" : "", d->server_name,
                   d->names[0], d->names[1][0] != '\0' ? " " : "", d->names[1]);
    for (size_t i = 0; i < d->why_count; i++)
        buf_printf(out, " %s", tls_why_name(d->whys[i]));
}

static void
check_hard(void **state)
{
    const struct hard *h = *state;
    struct destination_settings control = control_of(h->wish);
    struct tls_evidence evidence = {.domain = "y.test",
                                    .host = "mx.y.test",
                                    .by_mx = true,
                                    .mx_state = h->mx_state,
                                    .control = &control,
                                    .sts = h->sts,
                                    .dane = h->dane,
                                    .demands = h->demands,
                                    .attempt = h->attempt,
                                    .sts_defers = 3,
                                    .now = 1000 + 3 * 3600};
    struct tls_decision decision;
    struct buf text = {0};

    decide(&evidence, &decision);
    tell(&decision, &text);
    assert_string_equal(buf_cstr(&text), h->expected);
    buf_fini(&text);
}

/* Servers that the settings name belong to nobody's policy. */
static void
test_route(void **state)
{
    struct destination_settings control =
        control_of((struct wish){.tls = DELIVER_TLS_PREFERRED});
    struct tls_evidence evidence = {.domain = "y.test",
                                    .host = "hub.test",
                                    .mx_state = DNS_SECURE,
                                    .control = &control,
                                    .sts = STS(&enforce),
                                    .dane = TLSA(DANE_USABLE, true),
                                    .attempt = 1};
    struct tls_decision decision;

    (void)state;
    assert_false(decide_wants_sts(&evidence) || decide_wants_dane(&evidence));
    decide(&evidence, &decision);
    assert_true(decision.usable);
    assert_int_equal(decision.floor, FLOOR_OPPORTUNISTIC);
    evidence.demands = ENVELOPE_REQUIRETLS;
    decide(&evidence, &decision);
    assert_true(decision.usable); /* the administrator vouches for the name */
    assert_int_equal(decision.method, METHOD_PKIX);
    control.dane = DANE_MANDATORY;
    decide(&evidence, &decision);
    assert_false(decision.usable);
    assert_int_equal(decision.refusal.why, WHY_ROUTE);
}

/* What is not in the decision's own fields is in the key all the same. */
static void
test_evidence_key(void **state)
{
    struct destination_settings control =
        control_of((struct wish){.tls = DELIVER_TLS_PREFERRED});
    struct dane_evidence dane = *TLSA(DANE_USABLE, true);
    struct sts_evidence sts = *STS(&enforce);
    struct tls_evidence evidence = {.domain = "y.test",
                                    .host = "mx.y.test",
                                    .by_mx = true,
                                    .mx_state = DNS_SECURE,
                                    .control = &control,
                                    .dane = &dane};
    struct tls_decision a, b;

    (void)state;
    decide(&evidence, &a);
    dane.tlsa = &record_two;
    decide(&evidence, &b);
    assert_memory_not_equal(&a.key, &b.key, sizeof a.key);

    evidence.dane = NULL;
    evidence.sts = &sts;
    decide(&evidence, &a);
    snprintf(sts.id, sizeof sts.id, "8");
    decide(&evidence, &b);
    assert_memory_not_equal(&a.key, &b.key, sizeof a.key);
    snprintf(sts.id, sizeof sts.id, "7");
    sts.policy = &enforce_wild;
    decide(&evidence, &b);
    assert_memory_not_equal(&a.key, &b.key, sizeof a.key);
    sts.policy = &enforce;
    decide(&evidence, &b);
    assert_memory_equal(&a.key, &b.key, sizeof a.key);
}

static void
test_facts(void **state)
{
    struct destination_settings control =
        control_of((struct wish){.tls = DELIVER_TLS_PREFERRED});
    struct tls_evidence evidence = {.domain = "y.test",
                                    .host = "mx.y.test",
                                    .by_mx = true,
                                    .mx_state = DNS_INSECURE,
                                    .control = &control,
                                    .sts = STS(&enforce),
                                    .dane = TLSA(DANE_ABSENT, false)};
    struct tls_decision decision;
    struct ledger_tls facts;
    struct arena arena;

    (void)state;
    arena_init(&arena, 256);
    decide(&evidence, &decision);
    decide_facts(&decision, &arena, &facts);
    assert_sv(facts.authority, "mta-sts");
    assert_sv(facts.floor, "verified");
    assert_sv(facts.reasons, "control-preferred dane-absent sts-enforce");
    assert_sv(facts.dane, "absent");
    assert_sv(facts.sts, "enforce 7");
    arena_fini(&arena);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_evidence_key),
        cmocka_unit_test(test_facts),
    };

    return RUN_ROWS("decide", check, rows) +
           RUN_ROWS("decide_hard", check_hard, hard) +
           cmocka_run_group_tests_name("decide_key", tests, NULL, NULL);
}
