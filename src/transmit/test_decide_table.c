/* decide() against a second telling of the rules, over everything that can be
 * combined.  The model below is written as a list of statements about the
 * result, not as steps; where both agree for every combination neither has a
 * case that the other forgot.  A row is a setting, a set of demands and a state
 * of the TLSA records; within it all the rest is varied. */
#include "transmit/decide.h"
#include "unit.h"

static char no_text[] = "";
static struct tls_profile_settings profile = {
    .name = no_text,
    .profile = {.versions = TLS_BIT_TLS12, .ciphers = "", .groups = ""}};

static const uint8_t digest_bytes[32] = {7};
static const struct tls_tlsa record = {3, 1, 1, 32, digest_bytes};

enum sts_case {
    STS_NOT_ASKED,
    STS_NONE,
    STS_HIDDEN,
    STS_LOST,
    STS_TESTED,
    STS_TESTED_ELSEWHERE,
    STS_ENFORCED,
    STS_ENFORCED_ELSEWHERE,
    STS_CASES
};
enum where { BY_SIGNED_MX, BY_UNSIGNED_MX, BY_ROUTE, WHERES };

struct facts {
    enum deliver_tls tls;
    enum deliver_dane dane_setting;
    bool insecure_mx, mta_sts, late;
    enum tls_fallback fallback;
    unsigned demands;
    int dane; /* enum dane_state, -1: not asked */
    enum sts_case sts;
    enum where where;
};

/* --- The model ------------------------------------------------------------ */

struct expected {
    bool usable;
    enum tls_stage stage;
    enum tls_floor floor;
    enum tls_authentication authentication;
    enum tls_method method;
    enum tls_sts_use sts_use;
    bool tls12, requiretls;
    enum tls_fallback fallback;
    enum ledger_policy policy;
};

static enum tls_floor
highest(enum tls_floor a, enum tls_floor b)
{
    return a > b ? a : b;
}

static enum tls_floor
floor_of_settings(enum deliver_tls tls)
{
    if (tls == DELIVER_TLS_NO)
        return FLOOR_CLEAR;
    if (tls == DELIVER_TLS_PREFERRED || tls == DELIVER_TLS_PREFERRED_VERIFY)
        return FLOOR_OPPORTUNISTIC;
    return tls == DELIVER_TLS_REQUIRED ? FLOOR_ENCRYPTED : FLOOR_VERIFIED;
}

static enum tls_floor
floor_of_message(unsigned demands)
{
    if (demands & (ENVELOPE_REQUIRETLS | ENVELOPE_TLS_VERIFIED))
        return FLOOR_VERIFIED;
    return demands & ENVELOPE_TLS_REQUIRED ? FLOOR_ENCRYPTED : FLOOR_CLEAR;
}

static bool
has_policy(enum sts_case sts, bool listed, bool unlisted)
{
    return (listed && (sts == STS_TESTED || sts == STS_ENFORCED)) ||
           (unlisted &&
            (sts == STS_TESTED_ELSEWHERE || sts == STS_ENFORCED_ELSEWHERE));
}

static struct expected
model(const struct facts *f)
{
    enum tls_floor settings = floor_of_settings(f->tls);
    enum tls_floor message = floor_of_message(f->demands);
    bool requiretls = (f->demands & ENVELOPE_REQUIRETLS) != 0;
    bool optional = (f->demands & ENVELOPE_TLS_OPTIONAL) != 0 && !requiretls;
    bool mandatory = f->dane_setting == DANE_MANDATORY;
    bool by_mx = f->where != BY_ROUTE, is_signed = f->where == BY_SIGNED_MX;
    bool tls = settings > FLOOR_CLEAR || message > FLOOR_CLEAR || mandatory;
    bool enforced = f->sts == STS_ENFORCED || f->sts == STS_ENFORCED_ELSEWHERE;
    bool dane = tls && by_mx && f->dane_setting == DANE_OPPORTUNISTIC &&
                !(f->demands & ENVELOPE_IGNORE_DANE) && !optional &&
                (is_signed || f->insecure_mx);
    bool sts = tls && by_mx && f->mta_sts && !optional;
    bool waits = sts && f->sts == STS_HIDDEN && !f->late;
    bool verified = highest(settings, message) == FLOOR_VERIFIED;
    bool by_dane =
        f->dane == DANE_USABLE &&
        (is_signed ? mandatory || dane
                   : dane && !verified && !waits && !(sts && enforced));
    bool proven = !by_mx || is_signed || has_policy(f->sts, true, false);
    struct expected e = {.usable = true, .stage = STAGE_NONE};

    /* Which servers may not be used. */
    if (mandatory && !by_dane)
        e.stage = STAGE_DANE;
    else if (dane && f->dane == DANE_FAILED)
        e.stage = STAGE_DANE;
    else if (!by_dane && waits)
        e.stage = STAGE_DNS;
    else if (!by_dane && sts && f->sts == STS_ENFORCED_ELSEWHERE)
        e.stage = STAGE_STS_MX;
    else if (requiretls && !proven)
        e.stage = STAGE_STS_MX;
    e.usable = e.stage == STAGE_NONE;

    /* How much a usable one has to prove. */
    e.floor = highest(settings, message);
    if (mandatory || by_dane || (sts && f->sts == STS_ENFORCED))
        e.floor = FLOOR_VERIFIED;
    if (dane && f->dane == DANE_UNUSABLE)
        e.floor = highest(e.floor, FLOOR_ENCRYPTED);
    e.authentication = e.floor == FLOOR_VERIFIED                ? AUTH_REQUIRED
                       : f->tls == DELIVER_TLS_PREFERRED_VERIFY ? AUTH_PREFERRED
                                                                : AUTH_NONE;
    e.method = by_dane ? METHOD_DANE : METHOD_PKIX;
    if (!by_dane && sts && f->sts == STS_ENFORCED)
        e.sts_use = STS_USE_ENFORCED;
    if (!by_dane && sts &&
        (f->sts == STS_TESTED || f->sts == STS_TESTED_ELSEWHERE))
        e.sts_use = STS_USE_NOTED;
    e.requiretls = requiretls;
    e.tls12 = requiretls || e.sts_use == STS_USE_ENFORCED;
    e.fallback = FALLBACK_NEVER;
    if (e.floor == FLOOR_OPPORTUNISTIC)
        e.fallback = optional && f->fallback != FALLBACK_NEVER
                         ? FALLBACK_NEXT_ATTEMPT
                         : f->fallback;

    /* Under which policy it is told. */
    e.policy = LEDGER_POLICY_NONE;
    if (by_dane || mandatory ||
        (dane && (f->dane == DANE_FAILED || f->dane == DANE_UNUSABLE)))
        e.policy = LEDGER_POLICY_TLSA;
    if (!by_dane && !mandatory && sts && e.stage != STAGE_DANE &&
        (f->sts == STS_LOST || has_policy(f->sts, true, true)))
        e.policy = LEDGER_POLICY_STS;
    return e;
}

/* --- The evidence ----------------------------------------------------------
 */

static struct sts_policy *
policy_of(enum sts_case sts)
{
    static const char *const here[] = {"mx.y.test"}, *const elsewhere[] = {
                                                         "*.mx.y.test"};
    static struct sts_policy policies[STS_CASES] = {
        [STS_TESTED] = {STS_MODE_TESTING, 86400, 1, here},
        [STS_TESTED_ELSEWHERE] = {STS_MODE_TESTING, 86400, 1, elsewhere},
        [STS_ENFORCED] = {STS_MODE_ENFORCE, 86400, 1, here},
        [STS_ENFORCED_ELSEWHERE] = {STS_MODE_ENFORCE, 86400, 1, elsewhere},
    };

    return &policies[sts];
}

static struct sts_evidence
sts_of(enum sts_case sts)
{
    static const enum sts_state states[STS_CASES] = {
        STS_OFF,    STS_ABSENT, STS_UNKNOWN, STS_UNFETCHED,
        STS_POLICY, STS_POLICY, STS_POLICY,  STS_POLICY,
    };
    struct sts_evidence evidence = {.state = states[sts], .id = "1"};

    if (evidence.state == STS_POLICY)
        evidence.policy = policy_of(sts);
    return evidence;
}

static void
decide_by(const struct facts *f, struct tls_decision *decision)
{
    struct destination_settings control = {
        .tls = f->tls,
        .dane = f->dane_setting,
        .dane_insecure_mx = f->insecure_mx,
        .mta_sts = f->mta_sts,
        .fallback = f->fallback,
        .tls_profile = &profile,
    };
    struct dane_evidence dane = {
        .state = (enum dane_state)(f->dane < 0 ? 0 : f->dane),
        .mx_secure = f->where == BY_SIGNED_MX,
        .base = "mx.y.test",
        .tlsa = &record,
        .tlsa_count = 1,
    };
    struct sts_evidence sts = sts_of(f->sts);

    decide(
        &(const struct tls_evidence){
            .domain = "y.test",
            .host = "mx.y.test",
            .by_mx = f->where != BY_ROUTE,
            .mx_state = f->where == BY_UNSIGNED_MX ? DNS_INSECURE : DNS_SECURE,
            .control = &control,
            .sts = f->sts == STS_NOT_ASKED ? NULL : &sts,
            .dane = f->dane < 0 ? NULL : &dane,
            .demands = f->demands,
            .attempt = f->late ? 4 : 3,
            .sts_defers = 3},
        decision);
}

/* --- Rows ------------------------------------------------------------------
 */

static const char *const tls_names[] = {"no",
                                        "preferred",
                                        "required",
                                        "preferred-verify",
                                        "required-verify",
                                        "required-verify-hosted"};
static const struct demands {
    const char *name;
    unsigned bits;
} demands[] = {
    {"nothing", 0},
    {"REQUIRETLS", ENVELOPE_REQUIRETLS},
    {"TLS-Required: No", ENVELOPE_TLS_OPTIONAL},
    {"both", ENVELOPE_REQUIRETLS | ENVELOPE_TLS_OPTIONAL},
    {"TLS", ENVELOPE_TLS_REQUIRED},
    {"TLS, and No", ENVELOPE_TLS_REQUIRED | ENVELOPE_TLS_OPTIONAL},
    {"verified", ENVELOPE_TLS_VERIFIED},
    {"verified, and No", ENVELOPE_TLS_VERIFIED | ENVELOPE_TLS_OPTIONAL},
    {"no DANE", ENVELOPE_IGNORE_DANE},
    {"no DANE, REQUIRETLS", ENVELOPE_IGNORE_DANE | ENVELOPE_REQUIRETLS},
    {"no DANE, verified", ENVELOPE_IGNORE_DANE | ENVELOPE_TLS_VERIFIED},
    {"a report", ENVELOPE_TLS_REPORT | ENVELOPE_TLS_OPTIONAL},
};
static const struct tlsa {
    const char *name;
    int state;
} tlsas[] = {
    {"not asked", -1},       {"insecure", DANE_INSECURE},
    {"absent", DANE_ABSENT}, {"unusable", DANE_UNUSABLE},
    {"usable", DANE_USABLE}, {"failed", DANE_FAILED},
};

static struct row {
    const char *name;
    char text[120];
    struct facts facts;
} rows[COUNT_OF(tls_names) * COUNT_OF(demands) * COUNT_OF(tlsas)];

static void
fill_rows(void)
{
    size_t n = 0;

    for (size_t t = 0; t < COUNT_OF(tls_names); t++)
        for (size_t d = 0; d < COUNT_OF(demands); d++)
            for (size_t a = 0; a < COUNT_OF(tlsas); a++) {
                struct row *row = &rows[n++];

                row->name = row->text;
                snprintf(row->text, sizeof row->text,
                         "%s, the message wants %s, TLSA %s", tls_names[t],
                         demands[d].name, tlsas[a].name);
                row->facts = (struct facts){.tls = (enum deliver_tls)t,
                                            .demands = demands[d].bits,
                                            .dane = tlsas[a].state};
            }
}

static void
assert_as_model(const struct facts *f)
{
    struct expected e = model(f);
    struct tls_decision d;

    decide_by(f, &d);
    if (d.usable != e.usable)
        print_message("dane=%d mx=%d sts=%d where=%d late=%d\n",
                      (int)f->dane_setting, f->insecure_mx, (int)f->sts,
                      (int)f->where, f->late);
    assert_int_equal(d.usable, e.usable);
    assert_int_equal(d.usable ? STAGE_NONE : d.refusal.stage, e.stage);
    assert_int_equal(d.policy, e.policy);
    assert_true(d.why_count > 0 && d.reason[0] != '\0');
    if (!d.usable) {
        assert_int_equal(d.refusal.code, 451);
        assert_int_equal(d.refusal.status.class, 4);
        assert_int_not_equal(d.refusal.sentence[0], '\0');
        return;
    }
    assert_int_equal(d.floor, e.floor);
    assert_int_equal(d.authentication, e.authentication);
    assert_int_equal(d.method, e.method);
    assert_int_equal(d.sts_use, e.sts_use);
    assert_int_equal(d.tls12, e.tls12);
    assert_int_equal(d.requiretls, e.requiretls);
    assert_int_equal(d.fallback, e.fallback);
    assert_true((d.dane != NULL) == (d.method == METHOD_DANE));
}

/* What holds whatever else is the case. */
static void
assert_sound(const struct facts *f)
{
    struct tls_decision d;

    decide_by(f, &d);
    if (!d.usable)
        return;
    assert_true(d.floor >= floor_of_settings(f->tls));
    assert_true(d.floor >= floor_of_message(f->demands));
    if (highest(floor_of_settings(f->tls), floor_of_message(f->demands)) ==
            FLOOR_VERIFIED &&
        f->where == BY_UNSIGNED_MX)
        assert_int_equal(d.method, METHOD_PKIX);
    if (d.floor == FLOOR_VERIFIED)
        assert_true(d.authentication == AUTH_REQUIRED &&
                    d.names[0][0] != '\0' && d.fallback == FALLBACK_NEVER);
    if (d.floor == FLOOR_CLEAR)
        assert_true(d.server_name[0] == '\0' && d.names[0][0] == '\0');
}

static void
check(void **state)
{
    struct facts f = ((const struct row *)*state)->facts;

    for (int dane = 0; dane < 3; dane++)
        for (int bits = 0; bits < 8; bits++)
            for (int sts = 0; sts < STS_CASES; sts++)
                for (int where = 0; where < WHERES; where++)
                    for (int fallback = 0; fallback < 3; fallback++) {
                        f.dane_setting = (enum deliver_dane)dane;
                        f.insecure_mx = bits & 1;
                        f.mta_sts = bits & 2;
                        f.late = bits & 4;
                        f.sts = (enum sts_case)sts;
                        f.where = (enum where)where;
                        f.fallback = (enum tls_fallback)fallback;
                        assert_as_model(&f);
                        assert_sound(&f);
                    }
}

int
main(void)
{
    fill_rows();
    return RUN_ROWS("decide", check, rows);
}
