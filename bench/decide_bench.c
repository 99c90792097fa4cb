/* decide_bench - what a TLS decision costs.  Prints nanoseconds a decision, the
 * best of some rounds: the machine has other work, and only what it can do is
 * of interest. */
#include "base/clock.h"
#include "transmit/decide.h"

enum { ROUNDS = 400, TURNS = 2000 };

static char no_text[] = "", cipher_list[] = "ECDHE+AESGCM:!aNULL";
static char store[] = "/etc/waxgate/partners.pem", *stores[] = {store};
static struct tls_profile_settings profile = {
    .name = no_text,
    .profile = {.versions = TLS_BIT_TLS12 | TLS_BIT_TLS13,
                .ciphers = cipher_list,
                .groups = no_text},
};

/* Best of the rounds, in nanoseconds. */
static double
measure(const struct tls_evidence *evidence)
{
    uint64_t best = UINT64_MAX;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_mono_us(), took;

        for (unsigned i = 0; i < TURNS; i++) {
            struct tls_decision decision;

            decide(evidence, &decision);
            __asm__ volatile("" : : "r"(&decision) : "memory");
        }
        took = clock_mono_us() - start;
        if (took < best)
            best = took;
    }
    return (double)best * 1000 / TURNS;
}

static struct sts_policy *
parse(const char *text)
{
    char reason[160];
    struct sts_policy *policy = sts_policy_parse(sv_of(text), reason);

    if (policy != NULL)
        return policy;
    fprintf(stderr, "decide_bench: %s\n", reason);
    exit(1);
}

int
main(void)
{
    static const uint8_t digest[32] = {1};
    const struct tls_tlsa record = {3, 1, 1, sizeof digest, digest};
    struct destination_settings control = {
        .tls = DELIVER_TLS_PREFERRED,
        .dane = DANE_OPPORTUNISTIC,
        .dane_insecure_mx = true,
        .mta_sts = true,
        .tls_profile = &profile,
        .groups = no_text,
        .authorities = stores,
        .authority_count = 1,
        .system_authorities = true,
        .session_tickets = true,
        .tls13 = true,
    };
    struct sts_policy *policy =
        parse("version: STSv1\nmode: enforce\nmx: mail.example.org\n"
              "mx: *.mx.example.org\nmax_age: 604800\n");
    struct sts_evidence sts = {
        .state = STS_POLICY, .policy = policy, .id = "20260101T000000Z"};
    struct dane_evidence dane = {.state = DANE_USABLE,
                                 .mx_secure = true,
                                 .base = "mx1.mx.example.org",
                                 .host = "mx1.mx.example.org",
                                 .tlsa = &record,
                                 .tlsa_count = 1};
    struct tls_evidence evidence = {
        .domain = "example.org",
        .host = "mx1.mx.example.org",
        .by_mx = true,
        .mx_state = DNS_SECURE,
        .control = &control,
        .attempt = 1,
        .now = 1767225600,
    };

    printf("no policy:        %5.0f ns\n", measure(&evidence));
    evidence.sts = &sts;
    printf("MTA-STS:          %5.0f ns\n", measure(&evidence));
    evidence.dane = &dane;
    printf("DANE and MTA-STS: %5.0f ns\n", measure(&evidence));
    evidence.demands = ENVELOPE_REQUIRETLS;
    printf("… and REQUIRETLS: %5.0f ns\n", measure(&evidence));
    evidence.demands = 0;
    evidence.dane = NULL;
    evidence.host = "elsewhere.example.org";
    printf("not listed:       %5.0f ns\n", measure(&evidence));
    sts_policy_unref(policy);
    return 0;
}
