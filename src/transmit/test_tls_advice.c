/* What follows from a failure, and the least change that would help: the same
 * decisions as delivery makes, over everything that a server may do. */
#include "transmit/tls_advice.h"
#include "unit.h"

static char name_of_server[] = "DNS:mx1.example.test";
static char name_of_domain[] = "DNS:example.test";
static char wildcard[] = "DNS:*.EXAMPLE.test";
static char other_name[] = "DNS:other.test";
static char issuer[] = "CN=Own CA";

#define CERTIFICATE(variable, text)                                            \
    static char *variable##_names[] = {text};                                  \
    static const struct tls_certificate_facts variable = {                     \
        .issuer = issuer,                                                      \
        .names = variable##_names,                                             \
        .name_count = 1,                                                       \
        .spki_sha256 = "00ff"}
CERTIFICATE(for_server, name_of_server);
CERTIFICATE(for_domain, name_of_domain);
CERTIFICATE(for_all, wildcard);
CERTIFICATE(for_other, other_name);

static const char *const mx1_only[] = {"mx1.example.test"};
static struct sts_policy policy = {
    .mode = STS_MODE_ENFORCE, .pattern_count = 1, .patterns = mx1_only};
static const struct sts_evidence enforced = {.state = STS_POLICY,
                                             .policy = &policy};
static const struct tls_tlsa record = {3, 1, 1, 0, NULL};
static const struct dane_evidence usable = {.state = DANE_USABLE,
                                            .mx_secure = true,
                                            .base = "mx1.example.test",
                                            .tlsa = &record,
                                            .tlsa_count = 1};
static const struct dane_evidence failed = {.state = DANE_FAILED};

struct world {
    enum deliver_tls tls;
    enum tls_fallback fallback;
    enum deliver_dane dane_level;
    unsigned demands;
    const struct sts_evidence *sts;
    const struct dane_evidence *dane;
};

static void
decide_in(const struct world *world, struct destination_settings *control,
          struct tls_evidence *evidence, struct tls_decision *decision)
{
    static char domain[] = "example.test";

    *control = (struct destination_settings){
        .domain = domain,
        .tls = world->tls,
        .fallback = world->fallback,
        .dane = world->dane_level,
        .mta_sts = true,
    };
    *evidence = (struct tls_evidence){
        .domain = "example.test",
        .host = "mx1.example.test",
        .by_mx = true,
        .mx_state = world->dane != NULL ? DNS_SECURE : DNS_INSECURE,
        .control = control,
        .sts = world->sts,
        .dane = world->dane,
        .demands = world->demands,
        .attempt = 1,
    };
    decide(evidence, decision);
}

/* --- Consequences --------------------------------------------------------- */

static const struct consequence_row {
    const char *name;
    struct world world;
    /* not offered, refused, handshake, chain, name, expired, DANE */
    const char *expected;
} consequences[] = {
    {"no TLS",
     {.tls = DELIVER_TLS_NO},
     "clear clear clear clear clear clear "
     "clear"},
    {"preferred",
     {.tls = DELIVER_TLS_PREFERRED, .fallback = FALLBACK_BEFORE_220},
     "clear clear not-here encrypted encrypted encrypted encrypted"},
    {"preferred, never in clear text after a failure",
     {.tls = DELIVER_TLS_PREFERRED, .fallback = FALLBACK_NEVER},
     "clear not-here not-here encrypted encrypted encrypted encrypted"},
    {"preferred, clear text next time",
     {.tls = DELIVER_TLS_PREFERRED, .fallback = FALLBACK_NEXT_ATTEMPT},
     "clear clear clear-next encrypted encrypted encrypted encrypted"},
    {"preferred-verify",
     {.tls = DELIVER_TLS_PREFERRED_VERIFY, .fallback = FALLBACK_BEFORE_220},
     "clear clear not-here encrypted encrypted encrypted encrypted"},
    {"required",
     {.tls = DELIVER_TLS_REQUIRED},
     "not-here not-here not-here encrypted encrypted encrypted encrypted"},
    {"required-verify",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY},
     "not-here not-here not-here not-here not-here not-here not-here"},
    {"MTA-STS",
     {.tls = DELIVER_TLS_PREFERRED,
      .fallback = FALLBACK_NEXT_ATTEMPT,
      .sts = &enforced},
     "not-here not-here not-here not-here not-here not-here not-here"},
    {"DANE",
     {.tls = DELIVER_TLS_PREFERRED,
      .fallback = FALLBACK_NEXT_ATTEMPT,
      .dane_level = DANE_OPPORTUNISTIC,
      .dane = &usable},
     "not-here not-here not-here not-here not-here not-here not-here"},
    {"TLSA records that cannot be looked up",
     {.tls = DELIVER_TLS_PREFERRED,
      .fallback = FALLBACK_NEXT_ATTEMPT,
      .dane_level = DANE_OPPORTUNISTIC,
      .dane = &failed},
     "not-here not-here not-here not-here not-here not-here not-here"},
    {"TLS-Required: No",
     {.tls = DELIVER_TLS_PREFERRED,
      .fallback = FALLBACK_BEFORE_220,
      .demands = ENVELOPE_TLS_OPTIONAL,
      .sts = &enforced},
     "clear clear clear-next encrypted encrypted encrypted encrypted"},
};

static void
check_consequence(void **state)
{
    static const enum tls_stage stages[] = {
        STAGE_NOT_OFFERED, STAGE_REFUSED, STAGE_HANDSHAKE, STAGE_CHAIN,
        STAGE_NAME,        STAGE_EXPIRED, STAGE_DANE};
    const struct consequence_row *row = *state;
    struct destination_settings control;
    struct tls_evidence evidence;
    struct tls_decision decision;
    char text[200];
    size_t n = 0;

    decide_in(&row->world, &control, &evidence, &decision);
    for (size_t i = 0; i < COUNT_OF(stages); i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n, "%s%s", i > 0 ? " " : "",
            tls_consequence_name(tls_consequence(&decision, stages[i])));
    assert_string_equal(text, row->expected);
}

/* --- Advice --------------------------------------------------------------- */

static const struct advice_row {
    const char *name;
    struct world world;
    struct tls_observation seen;
    const char *change; /* the last one; NULL: nothing is wrong; "": none */
} advices[] = {
    {"all is well",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY},
     {.verdict = VERDICT_OK, .peer = &for_server},
     NULL},
    {"a wildcard will do",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY},
     {.verdict = VERDICT_OK, .peer = &for_all},
     NULL},
    {"the name of the domain",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY},
     {.verdict = VERDICT_OK, .peer = &for_domain},
     "tls: required-verify-hosted"},
    {"another name",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY},
     {.verdict = VERDICT_OK, .peer = &for_other},
     "tls: required"},
    {"an unknown authority",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY_HOSTED},
     {.verdict = VERDICT_UNTRUSTED, .peer = &for_server},
     "tls: required"},
    {"expired, MTA-STS",
     {.tls = DELIVER_TLS_PREFERRED, .sts = &enforced},
     {.verdict = VERDICT_EXPIRED, .peer = &for_server},
     "mta_sts: off"},
    {"expired, MTA-STS and required-verify",
     {.tls = DELIVER_TLS_REQUIRED_VERIFY, .sts = &enforced},
     {.verdict = VERDICT_EXPIRED, .peer = &for_server},
     "tls: required, mta_sts: off"},
    {"no STARTTLS",
     {.tls = DELIVER_TLS_REQUIRED},
     {.failure = {.stage = STAGE_NOT_OFFERED}},
     "tls: preferred"},
    {"no STARTTLS, as allowed",
     {.tls = DELIVER_TLS_PREFERRED},
     {.failure = {.stage = STAGE_NOT_OFFERED}},
     NULL},
    {"no STARTTLS, REQUIRETLS",
     {.tls = DELIVER_TLS_PREFERRED,
      .demands = ENVELOPE_REQUIRETLS,
      .sts = &enforced},
     {.failure = {.stage = STAGE_NOT_OFFERED}},
     ""},
    {"a failed handshake",
     {.tls = DELIVER_TLS_PREFERRED, .fallback = FALLBACK_BEFORE_220},
     {.failure = {.stage = STAGE_HANDSHAKE}},
     "tls: preferred, fallback: next-attempt"},
    {"a TLSA record that does not match",
     {.tls = DELIVER_TLS_PREFERRED,
      .dane_level = DANE_OPPORTUNISTIC,
      .dane = &usable},
     {.verdict = VERDICT_UNTRUSTED, .peer = &for_server, .dane_asked = true},
     "dane: no"},
    {"a TLSA record that matches",
     {.tls = DELIVER_TLS_PREFERRED,
      .dane_level = DANE_OPPORTUNISTIC,
      .dane = &usable},
     {.verdict = VERDICT_OK,
      .peer = &for_other,
      .dane_asked = true,
      .dane_matched = true},
     NULL},
    {"TLSA records that cannot be looked up",
     {.tls = DELIVER_TLS_PREFERRED,
      .dane_level = DANE_OPPORTUNISTIC,
      .dane = &failed},
     {.verdict = VERDICT_NONE},
     "dane: no"},
};

static void
check_advice(void **state)
{
    const struct advice_row *row = *state;
    struct destination_settings control;
    struct tls_evidence evidence;
    struct tls_decision decision;
    char expected[200];
    const char *change;
    json_t *advice;
    size_t n;

    decide_in(&row->world, &control, &evidence, &decision);
    assert_int_equal(tls_observed_good(&decision, &row->seen),
                     row->change == NULL);
    advice = tls_advice(&evidence, &decision, &row->seen);
    n = json_array_size(advice);
    assert_int_equal(n == 0, row->change == NULL);
    if (n > 0) {
        change = json_string_value(
            json_object_get(json_array_get(advice, n - 1), "change"));
        snprintf(expected, sizeof expected,
                 "destinations: {\"example.test\": {%s}}", row->change);
        assert_string_equal(change != NULL ? change : "",
                            row->change[0] != '\0' ? expected : "");
    }
    json_decref(advice);
}

int
main(void)
{
    int failures = RUN_ROWS("tls_consequence", check_consequence, consequences);

    return failures + RUN_ROWS("tls_advice", check_advice, advices);
}
