/* The decision itself.  Each step may raise what the steps before it asked for;
 * none lowers it.  A step that refuses the server ends it. */
#include "transmit/decide.h"
#include "transmit/decide_internal.h"
#include "transmit/tls_sentence.h"

/* What each setting of a destination asks for. */
static const struct rule {
    enum tls_floor floor;
    enum tls_authentication authentication;
    bool hosted; /* the mail domain is a good name too, and the first */
    enum tls_why why;
} rules[] = {
    [DELIVER_TLS_NO] = {FLOOR_CLEAR, AUTH_NONE, false, WHY_CONTROL_NO},
    [DELIVER_TLS_PREFERRED] = {FLOOR_OPPORTUNISTIC, AUTH_NONE, false,
                               WHY_CONTROL_PREFERRED},
    [DELIVER_TLS_REQUIRED] = {FLOOR_ENCRYPTED, AUTH_NONE, false,
                              WHY_CONTROL_REQUIRED},
    [DELIVER_TLS_PREFERRED_VERIFY] = {FLOOR_OPPORTUNISTIC, AUTH_PREFERRED,
                                      false, WHY_CONTROL_PREFERRED_VERIFY},
    [DELIVER_TLS_REQUIRED_VERIFY] = {FLOOR_VERIFIED, AUTH_REQUIRED, false,
                                     WHY_CONTROL_REQUIRED_VERIFY},
    [DELIVER_TLS_REQUIRED_VERIFY_HOSTED] = {FLOOR_VERIFIED, AUTH_REQUIRED, true,
                                            WHY_CONTROL_HOSTED},
};

struct deciding {
    const struct tls_evidence *evidence;
    struct tls_decision *decision;
    bool optional; /* TLS-Required: No is in force */
};

static void
note(struct deciding *d, enum tls_why why)
{
    assert(d->decision->why_count < TLS_WHYS_MAX);
    d->decision->whys[d->decision->why_count++] = why;
}

/* `who` decides, for this reason. */
static void
settle_by(struct deciding *d, enum tls_authority who, enum tls_why why)
{
    note(d, why);
    d->decision->authority = who;
    d->decision->reason = tls_why_sentence(why);
}

static void
raise_to(struct deciding *d, enum tls_floor floor)
{
    struct tls_decision *decision = d->decision;

    if (decision->floor < floor)
        decision->floor = floor;
    if (floor == FLOOR_VERIFIED)
        decision->authentication = AUTH_REQUIRED;
    if (decision->floor != FLOOR_OPPORTUNISTIC)
        decision->fallback = FALLBACK_NEVER;
}

/* A reason that already stands in the list is not noted twice. */
static void
refuse(struct deciding *d, enum tls_stage stage, enum tls_why why,
       struct mail_status status)
{
    struct tls_refusal *refusal = &d->decision->refusal;

    d->decision->usable = false;
    d->decision->reason = tls_why_sentence(why);
    refusal->stage = stage;
    refusal->why = why;
    refusal->code = 451;
    refusal->status = status;
    tls_why_print(d->evidence, why, refusal->sentence,
                  sizeof refusal->sentence);
}

/* --- The floor ------------------------------------------------------------ */

static bool
is_optional(unsigned demands)
{
    return (demands & ENVELOPE_TLS_OPTIONAL) != 0 &&
           (demands & ENVELOPE_REQUIRETLS) == 0;
}

static void
keep_evidence(struct deciding *d)
{
    const struct sts_evidence *sts = d->evidence->sts;
    struct tls_decision *decision = d->decision;

    if (d->evidence->dane != NULL)
        decision->dane_state = d->evidence->dane->state;
    if (sts == NULL)
        return;
    decision->sts_state = sts->state;
    if (sts->state != STS_POLICY)
        return;
    decision->sts_mode = sts->policy->mode;
    memcpy(decision->sts_id, sts->id, sizeof decision->sts_id);
}

static void
follow_control(struct deciding *d)
{
    const struct destination_settings *control = d->evidence->control;
    const struct rule *rule = &rules[control->tls];
    bool by_default =
        control->domain == NULL || strcmp(control->domain, "default") == 0;

    *d->decision = (struct tls_decision){
        .usable = true,
        .floor = rule->floor,
        .authentication = rule->authentication,
        .fallback = rule->floor == FLOOR_OPPORTUNISTIC ? control->fallback
                                                       : FALLBACK_NEVER,
        .control = control,
        .policy = LEDGER_POLICY_NONE,
        .dane_state = DANE_OFF,
        .sts_state = STS_OFF,
    };
    keep_evidence(d);
    settle_by(d, by_default ? AUTHORITY_DEFAULT : AUTHORITY_CONTROL, rule->why);
}

/* A demand decides only where it asks for more than what was there. */
static void
demand(struct deciding *d, enum tls_floor floor, enum tls_why why)
{
    if (d->decision->floor < floor)
        settle_by(d, AUTHORITY_MESSAGE, why);
    else
        note(d, why);
    raise_to(d, floor);
}

/* Who sent it wants it to arrive even in clear text: then a failed handshake
 * leads there too, unless the settings never allow that. */
static void
follow_optional(struct deciding *d)
{
    if (!d->optional) {
        note(d, WHY_MESSAGE_OVERRULED);
        return;
    }
    note(d, WHY_MESSAGE_OPTIONAL);
    if (d->decision->floor == FLOOR_OPPORTUNISTIC &&
        d->decision->fallback != FALLBACK_NEVER)
        d->decision->fallback = FALLBACK_NEXT_ATTEMPT;
}

static void
follow_message(struct deciding *d)
{
    unsigned demands = d->evidence->demands;

    if (demands & ENVELOPE_TLS_OPTIONAL)
        follow_optional(d);
    if (demands & ENVELOPE_TLS_REQUIRED)
        demand(d, FLOOR_ENCRYPTED, WHY_MESSAGE_REQUIRED);
    if (demands & ENVELOPE_TLS_VERIFIED)
        demand(d, FLOOR_VERIFIED, WHY_MESSAGE_VERIFIED);
    if (demands & ENVELOPE_REQUIRETLS) {
        demand(d, FLOOR_VERIFIED, WHY_REQUIRETLS);
        d->decision->requiretls = true;
        d->decision->tls12 = true;
    }
}

/* --- DANE ----------------------------------------------------------------- */

static bool
is_mandatory(const struct tls_evidence *evidence)
{
    return evidence->control->dane == DANE_MANDATORY;
}

/* TLS is tried at all. */
static bool
wants_tls(const struct tls_evidence *evidence)
{
    return evidence->control->tls != DELIVER_TLS_NO || is_mandatory(evidence) ||
           (evidence->demands & (ENVELOPE_REQUIRETLS | ENVELOPE_TLS_REQUIRED |
                                 ENVELOPE_TLS_VERIFIED)) != 0;
}

/* Only what a setting or the message says; false: DANE is out of question. */
static bool
may_use_dane(const struct tls_evidence *evidence)
{
    if (is_mandatory(evidence))
        return true;
    return evidence->control->dane == DANE_OPPORTUNISTIC &&
           (evidence->demands & ENVELOPE_IGNORE_DANE) == 0 &&
           !is_optional(evidence->demands);
}

static bool
dane_applies(const struct tls_evidence *evidence)
{
    if (!evidence->by_mx || evidence->host_is_literal)
        return false;
    return evidence->mx_state == DNS_SECURE ||
           (evidence->control->dane_insecure_mx && !is_mandatory(evidence));
}

bool
decide_wants_dane(const struct tls_evidence *evidence)
{
    return wants_tls(evidence) && may_use_dane(evidence) &&
           dane_applies(evidence);
}

bool
decide_wants_sts(const struct tls_evidence *evidence)
{
    return evidence->by_mx && evidence->control->mta_sts &&
           wants_tls(evidence) && !is_optional(evidence->demands);
}

static bool
sts_is(const struct tls_evidence *evidence, enum sts_mode mode)
{
    return decide_wants_sts(evidence) && evidence->sts != NULL &&
           evidence->sts->state == STS_POLICY &&
           evidence->sts->policy->mode == mode;
}

static void
use_records(struct deciding *d)
{
    settle_by(d, AUTHORITY_DANE, WHY_DANE_USABLE);
    raise_to(d, FLOOR_VERIFIED);
    d->decision->method = METHOD_DANE;
    d->decision->dane = d->evidence->dane;
    d->decision->policy = LEDGER_POLICY_TLSA;
}

/* RFC 7672 section 2.2: TLS without authentication. */
static void
use_presence(struct deciding *d)
{
    if (d->decision->floor < FLOOR_ENCRYPTED)
        settle_by(d, AUTHORITY_DANE, WHY_DANE_UNUSABLE);
    else
        note(d, WHY_DANE_UNUSABLE);
    raise_to(d, FLOOR_ENCRYPTED);
    d->decision->policy = LEDGER_POLICY_TLSA;
}

static enum tls_why
why_no_records(const struct tls_evidence *evidence)
{
    if (!evidence->by_mx || evidence->host_is_literal)
        return WHY_ROUTE;
    if (!dane_applies(evidence))
        return WHY_DANE_INSECURE_MX;
    if (evidence->dane == NULL)
        return WHY_DANE_UNASKED;
    switch (evidence->dane->state) {
    case DANE_INSECURE:
        return WHY_DANE_INSECURE;
    case DANE_ABSENT:
        return WHY_DANE_ABSENT;
    case DANE_UNUSABLE:
        return WHY_DANE_UNUSABLE;
    case DANE_USABLE:
        return WHY_DANE_INSECURE_MX;
    case DANE_FAILED:
        return WHY_DANE_FAILED;
    case DANE_OFF:
        break;
    }
    return WHY_DANE_UNASKED;
}

/* Records of a server of which nobody proves that it is the domain's. */
static bool
is_insecure_mx(const struct tls_evidence *evidence)
{
    return evidence->mx_state != DNS_SECURE || !evidence->dane->mx_secure;
}

static bool
waits_for_policy(const struct tls_evidence *evidence)
{
    return decide_wants_sts(evidence) && evidence->sts != NULL &&
           evidence->sts->state == STS_UNKNOWN &&
           evidence->attempt <= evidence->sts_defers;
}

/* Whoever forges an MX record brings records of his own along: they raise what
 * is asked of a server, but replace neither the authorities by which it would
 * have to be verified otherwise nor a policy that may be hidden from us. */
static bool
records_yield(const struct deciding *d)
{
    const struct tls_evidence *evidence = d->evidence;

    return is_insecure_mx(evidence) &&
           (d->decision->authentication == AUTH_REQUIRED ||
            sts_is(evidence, STS_MODE_ENFORCE) || waits_for_policy(evidence));
}

static void
follow_records(struct deciding *d)
{
    const struct tls_evidence *evidence = d->evidence;

    switch (evidence->dane->state) {
    case DANE_USABLE:
        if (records_yield(d)) {
            note(d, WHY_DANE_YIELDS);
            return;
        }
        if (is_insecure_mx(evidence))
            note(d, WHY_DANE_INSECURE_MX);
        use_records(d);
        break;
    case DANE_UNUSABLE:
        use_presence(d);
        break;
    case DANE_FAILED:
        settle_by(d, AUTHORITY_DANE, WHY_DANE_FAILED);
        d->decision->policy = LEDGER_POLICY_TLSA;
        refuse(d, STAGE_DANE, WHY_DANE_FAILED, (struct mail_status){4, 7, 5});
        break;
    case DANE_OFF:
    case DANE_INSECURE:
    case DANE_ABSENT:
        note(d, why_no_records(evidence));
        break;
    }
}

static void
put_in_front(const char *words, char (*sentence)[TLS_WHY_TEXT])
{
    char rest[TLS_WHY_TEXT];

    memcpy(rest, *sentence, sizeof rest);
    snprintf(*sentence, sizeof *sentence, "%s%.*s", words,
             (int)(sizeof rest - 1 - strlen(words)), rest);
}

/* `mandatory` knows nothing between usable, proven records and no delivery. */
static void
follow_mandatory(struct deciding *d)
{
    const struct tls_evidence *evidence = d->evidence;
    const struct dane_evidence *dane = evidence->dane;
    bool by_default = d->decision->authority == AUTHORITY_DEFAULT;

    settle_by(d, by_default ? AUTHORITY_DEFAULT : AUTHORITY_CONTROL,
              WHY_DANE_MANDATORY);
    raise_to(d, FLOOR_VERIFIED);
    if (dane_applies(evidence) && dane != NULL && dane->state == DANE_USABLE &&
        !is_insecure_mx(evidence)) {
        use_records(d);
        return;
    }
    d->decision->policy = LEDGER_POLICY_TLSA;
    note(d, why_no_records(evidence));
    refuse(d, STAGE_DANE, why_no_records(evidence),
           (struct mail_status){4, 7, 5});
    put_in_front("DANE is mandatory: ", &d->decision->refusal.sentence);
}

static void
follow_dane(struct deciding *d)
{
    const struct tls_evidence *evidence = d->evidence;

    if (is_mandatory(evidence)) {
        follow_mandatory(d);
    } else if (!evidence->by_mx) {
        note(d, WHY_ROUTE);
    } else if (!may_use_dane(evidence)) {
        if (evidence->demands & ENVELOPE_IGNORE_DANE)
            note(d, WHY_MESSAGE_IGNORES_DANE);
        else if (evidence->control->dane == DANE_NO)
            note(d, WHY_DANE_OFF);
    } else if (!dane_applies(evidence) || evidence->dane == NULL) {
        note(d, why_no_records(evidence));
    } else {
        follow_records(d);
    }
}

/* --- MTA-STS -------------------------------------------------------------- */

static bool
is_listed(const struct tls_evidence *evidence)
{
    return !evidence->host_is_literal &&
           sts_policy_lists(evidence->sts->policy, evidence->host);
}

static void
follow_enforce(struct deciding *d)
{
    struct tls_decision *decision = d->decision;

    settle_by(d, AUTHORITY_STS, WHY_STS_ENFORCE);
    decision->policy = LEDGER_POLICY_STS;
    if (!is_listed(d->evidence)) {
        note(d, WHY_STS_UNLISTED);
        refuse(d, STAGE_STS_MX, WHY_STS_UNLISTED,
               (struct mail_status){4, 7, 5});
        return;
    }
    raise_to(d, FLOOR_VERIFIED);
    decision->sts_use = STS_USE_ENFORCED;
    decision->tls12 = true; /* RFC 8461 section 4.2 with RFC 8996 */
}

static void
follow_testing(struct deciding *d)
{
    note(d, WHY_STS_TESTING);
    d->decision->policy = LEDGER_POLICY_STS;
    d->decision->sts_use = STS_USE_NOTED;
    d->decision->sts_unlisted = !is_listed(d->evidence);
    if (d->decision->sts_unlisted)
        note(d, WHY_STS_UNLISTED);
}

static void
follow_policy(struct deciding *d)
{
    switch (d->evidence->sts->policy->mode) {
    case STS_MODE_NONE:
        note(d, WHY_STS_ABSENT);
        break;
    case STS_MODE_TESTING:
        follow_testing(d);
        break;
    case STS_MODE_ENFORCE:
        follow_enforce(d);
        break;
    }
}

/* Somebody may be hiding a policy from us: mail waits, but not for ever. */
static void
follow_unknown(struct deciding *d)
{
    const struct tls_evidence *evidence = d->evidence;

    note(d, WHY_STS_UNKNOWN);
    if (!waits_for_policy(evidence)) {
        note(d, WHY_STS_GIVEN_UP);
        return;
    }
    d->decision->authority = AUTHORITY_STS;
    refuse(d, STAGE_DNS, WHY_STS_UNKNOWN, (struct mail_status){4, 4, 3});
}

static void
follow_sts(struct deciding *d)
{
    const struct tls_evidence *evidence = d->evidence;
    enum sts_state state =
        evidence->sts != NULL ? evidence->sts->state : STS_OFF;

    if (d->decision->method == METHOD_DANE) {
        if (state == STS_POLICY)
            note(d, WHY_STS_YIELDS);
        return;
    }
    if (!decide_wants_sts(evidence)) {
        if (!evidence->control->mta_sts)
            note(d, WHY_STS_OFF);
        return;
    }
    switch (state) {
    case STS_OFF:
        note(d, WHY_STS_OFF);
        break;
    case STS_ABSENT:
        note(d, WHY_STS_ABSENT);
        break;
    case STS_POLICY:
        follow_policy(d);
        break;
    case STS_UNKNOWN:
        follow_unknown(d);
        break;
    case STS_UNFETCHED:
        note(d, WHY_STS_UNFETCHED);
        d->decision->policy = LEDGER_POLICY_STS;
        break;
    }
}

/* --- The rest ------------------------------------------------------------- */

/* RFC 8689 section 4.2.1, items 1 and 2. */
static bool
is_proven(const struct tls_evidence *evidence)
{
    if (!evidence->by_mx || evidence->mx_state == DNS_SECURE)
        return true;
    return evidence->sts != NULL && evidence->sts->state == STS_POLICY &&
           is_listed(evidence);
}

static void
check_requiretls(struct deciding *d)
{
    if (!d->decision->requiretls || is_proven(d->evidence))
        return;
    note(d, WHY_MX_UNPROVEN);
    refuse(d, STAGE_STS_MX, WHY_MX_UNPROVEN, (struct mail_status){4, 7, 5});
}

/* Not for literals, and not for ".example.org": the certificate check would
 * take a leading dot as leave for any name below. */
static bool
is_name(const char *domain)
{
    return domain[0] != '\0' && domain[0] != '[' && domain[0] != '.';
}

/* Mail by a route is about the entry of `destinations` that applies; "default"
 * is no name that a certificate could have. */
static bool
is_mail_domain(const char *domain)
{
    return is_name(domain) && strcmp(domain, "default") != 0;
}

static void
put_name(char (*name)[256], const char *text)
{
    size_t n = strnlen(text, sizeof *name - 1);

    memcpy(*name, text, n);
    (*name)[n] = '\0';
}

/* RFC 7672 sections 3.2.2 and 8.1: the base domain, and the domain of the mail
 * where a signed MX record ties the two together. */
static void
set_dane_names(const struct tls_evidence *evidence,
               struct tls_decision *decision)
{
    put_name(&decision->server_name, evidence->dane->base);
    put_name(&decision->names[0], evidence->dane->base);
    if (!is_insecure_mx(evidence) && is_mail_domain(evidence->domain) &&
        strcmp(evidence->domain, evidence->dane->base) != 0)
        put_name(&decision->names[1], evidence->domain);
}

/* Under an enforced policy only the server's own name will do (RFC 8461 section
 * 4.2); the same for REQUIRETLS. */
static void
set_names(const struct tls_evidence *evidence, struct tls_decision *decision)
{
    bool hosted = rules[evidence->control->tls].hosted &&
                  decision->sts_use != STS_USE_ENFORCED &&
                  !decision->requiretls;
    size_t n = 0;

    if (hosted && is_mail_domain(evidence->domain))
        put_name(&decision->names[n++], evidence->domain);
    if (evidence->host_is_literal || !is_name(evidence->host))
        return; /* an address is no DNS name, and SNI may not carry one
                 * (RFC 6066 section 3) */
    put_name(&decision->names[n], evidence->host);
    put_name(&decision->server_name, evidence->host);
}

void
decide(const struct tls_evidence *evidence, struct tls_decision *decision)
{
    struct deciding d = {
        .evidence = evidence,
        .decision = decision,
        .optional = is_optional(evidence->demands),
    };

    follow_control(&d);
    follow_message(&d);
    if (wants_tls(evidence)) {
        follow_dane(&d);
        if (decision->usable)
            follow_sts(&d);
        if (decision->usable)
            check_requiretls(&d);
    }
    if (decision->method == METHOD_DANE)
        set_dane_names(evidence, decision);
    else if (decision->floor != FLOOR_CLEAR)
        set_names(evidence, decision);
    decide_key(evidence, decision);
}
