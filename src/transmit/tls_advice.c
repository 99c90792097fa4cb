#include "transmit/tls_advice.h"
#include "base/buf.h"

bool
tls_names_include(const struct tls_certificate_facts *peer, const char *name)
{
    for (size_t i = 0; peer != NULL && i < peer->name_count; i++) {
        struct sv rest = sv_of(peer->names[i]);
        char pattern[256];

        if (!sv_take_prefix(&rest, SV("DNS:")) || rest.n >= sizeof pattern)
            continue;
        sv_lower_into(rest, pattern);
        pattern[rest.n] = '\0';
        if (sts_pattern_matches(pattern, name))
            return true;
    }
    return false;
}

static bool
names_match(const struct tls_decision *decision,
            const struct tls_observation *observation)
{
    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0' &&
            tls_names_include(observation->peer, decision->names[i]))
            return true;
    return false;
}

enum tls_stage
tls_observed_stage(const struct tls_decision *decision,
                   const struct tls_observation *observation)
{
    if (decision->method == METHOD_DANE)
        return observation->dane_matched ? STAGE_NONE : STAGE_DANE;
    if (observation->verdict == VERDICT_EXPIRED ||
        observation->verdict == VERDICT_NOT_YET_VALID)
        return STAGE_EXPIRED;
    if (observation->verdict != VERDICT_OK)
        return STAGE_CHAIN;
    return names_match(decision, observation) ? STAGE_NONE : STAGE_NAME;
}

bool
tls_observed_good(const struct tls_decision *decision,
                  const struct tls_observation *observation)
{
    enum tls_stage stage = observation->failure.stage;

    if (stage == STAGE_NONE && decision->usable &&
        decision->floor != FLOOR_CLEAR)
        stage = tls_observed_stage(decision, observation);
    if (stage == STAGE_NONE)
        return decision->usable;
    return tls_consequence(decision, stage) != CONSEQUENCE_NOT_HERE;
}

/* --- Changes here --------------------------------------------------------- */

static bool
hosted(struct destination_settings *control)
{
    bool fits = control->tls == DELIVER_TLS_REQUIRED_VERIFY;

    control->tls = DELIVER_TLS_REQUIRED_VERIFY_HOSTED;
    return fits;
}

static bool
opportunistic_dane(struct destination_settings *control)
{
    bool fits = control->dane == DANE_MANDATORY;

    control->dane = DANE_OPPORTUNISTIC;
    return fits;
}

static bool
unverified(struct destination_settings *control)
{
    bool fits = control->tls == DELIVER_TLS_REQUIRED_VERIFY ||
                control->tls == DELIVER_TLS_REQUIRED_VERIFY_HOSTED;

    control->tls = DELIVER_TLS_REQUIRED;
    return fits;
}

static bool
unverified_without_dane(struct destination_settings *control)
{
    bool fits = unverified(control) && control->dane == DANE_MANDATORY;

    control->dane = DANE_OPPORTUNISTIC;
    return fits;
}

static bool
no_policy(struct destination_settings *control)
{
    bool fits = control->mta_sts;

    control->mta_sts = false;
    return fits;
}

static bool
no_dane(struct destination_settings *control)
{
    bool fits = control->dane != DANE_NO;

    control->dane = DANE_NO;
    return fits;
}

static bool
preferred(struct destination_settings *control)
{
    bool fits =
        control->tls != DELIVER_TLS_PREFERRED && control->tls != DELIVER_TLS_NO;

    control->tls = DELIVER_TLS_PREFERRED;
    if (control->fallback == FALLBACK_NEVER)
        control->fallback = FALLBACK_BEFORE_220;
    return fits;
}

static bool
next_attempt(struct destination_settings *control)
{
    bool fits = control->fallback != FALLBACK_NEXT_ATTEMPT;

    control->tls = DELIVER_TLS_PREFERRED;
    control->fallback = FALLBACK_NEXT_ATTEMPT;
    return fits;
}

static bool
no_dane_no_policy(struct destination_settings *control)
{
    bool fits = no_dane(control) && control->mta_sts;

    control->mta_sts = false;
    return fits;
}

static bool
no_dane_unverified(struct destination_settings *control)
{
    return no_dane(control) && unverified(control);
}

static bool
no_policy_unverified(struct destination_settings *control)
{
    return no_policy(control) && unverified(control);
}

static bool
without_tls(struct destination_settings *control)
{
    control->dane = DANE_NO;
    control->tls = DELIVER_TLS_NO;
    return true;
}

/* From the smallest loss to the largest. */
static const struct change {
    bool (*apply)(struct destination_settings *control); /* false: not a change
                                                          * of these settings */
    const char *text; /* in braces behind the domain */
    const char *effect;
} changes[] = {
    {hosted, "tls: required-verify-hosted",
     "a certificate for the mail domain is accepted too"},
    {opportunistic_dane, "dane: opportunistic",
     "mail also goes to servers without usable TLSA records"},
    {unverified, "tls: required",
     "mail is encrypted, but nobody checks for whom"},
    {unverified_without_dane, "tls: required, dane: opportunistic",
     "mail is encrypted, but nobody checks for whom"},
    {no_policy, "mta_sts: off",
     "the domain's own policy is ignored: an attacker may redirect mail"},
    {no_dane, "dane: no",
     "the domain's TLSA records are ignored: an attacker may take its place"},
    {no_policy_unverified, "tls: required, mta_sts: off",
     "the domain's own policy is ignored, and nobody checks for whom mail is "
     "encrypted"},
    {no_dane_unverified, "tls: required, dane: no",
     "the domain's TLSA records are ignored, and nobody checks for whom mail "
     "is encrypted"},
    {no_dane_no_policy, "dane: no, mta_sts: off",
     "everything that the domain says of its servers is ignored"},
    {preferred, "tls: preferred", "mail may go in clear text"},
    {next_attempt, "tls: preferred, fallback: next-attempt",
     "mail goes in clear text when TLS has failed"},
    {without_tls, "tls: no, dane: no", "mail goes in clear text"},
};

static const struct change *
find_change(const struct tls_evidence *evidence,
            const struct tls_observation *observation)
{
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        struct destination_settings control = *evidence->control;
        struct tls_evidence changed = *evidence;
        struct tls_decision decision;

        if (!changes[i].apply(&control))
            continue;
        changed.control = &control;
        decide(&changed, &decision);
        if (tls_observed_good(&decision, observation))
            return &changes[i];
    }
    return NULL;
}

static void
add(json_t *list, const char *where, const char *change, const char *text)
{
    json_t *json = json_pack("{s:s,s:s}", "where", where, "text", text);

    if (change != NULL)
        json_object_set_new(json, "change", json_string(change));
    json_array_append_new(list, json);
}

static void
advise_change(json_t *list, const struct tls_evidence *evidence,
              const struct tls_observation *observation)
{
    const struct change *change = find_change(evidence, observation);
    struct buf text = {0};

    if (change == NULL) {
        add(list, "here", NULL,
            evidence->demands != 0
                ? "no setting helps against what the message itself demands"
                : "no setting would help");
        return;
    }
    buf_printf(&text, "destinations: {\"%s\": {%s}}", evidence->domain,
               change->text);
    add(list, "here", buf_cstr(&text), change->effect);
    buf_fini(&text);
}

/* --- What the server should mend ------------------------------------------ */

static void
advise_certificate(json_t *list, const struct tls_decision *decision,
                   const struct tls_observation *observation,
                   enum tls_stage stage)
{
    const struct tls_certificate_facts *peer = observation->peer;
    struct buf text = {0};

    if (stage == STAGE_NAME)
        buf_printf(&text, "its certificate needs the name %s",
                   decision->names[0][0] != '\0' ? decision->names[0]
                                                 : "of the server");
    else if (stage == STAGE_EXPIRED)
        buf_add_str(&text, "its certificate must be renewed");
    else if (stage == STAGE_DANE)
        buf_printf(&text,
                   "its certificate and its TLSA records must agree, as with "
                   "\"3 1 1 %s\"",
                   peer != NULL ? peer->spki_sha256 : "");
    else
        buf_add_str(&text, "it must send a certificate of a known authority, "
                           "with all that leads there");
    add(list, "server", NULL, buf_cstr(&text));
    buf_fini(&text);
}

/* Who issued it may be known to the administrator, if not to the system. */
static void
advise_authority(json_t *list, const struct tls_evidence *evidence,
                 const struct tls_observation *observation)
{
    struct buf change = {0}, text = {0};

    if (observation->peer == NULL)
        return;
    buf_printf(&change, "destinations: {\"%s\": {authorities: [FILE]}}",
               evidence->domain);
    buf_printf(&text, "FILE holds the certificate of %s, if you trust it",
               observation->peer->issuer);
    add(list, "here", buf_cstr(&change), buf_cstr(&text));
    buf_fini(&change);
    buf_fini(&text);
}

static void
advise_connection(json_t *list, const struct tls_evidence *evidence,
                  enum tls_stage stage)
{
    char change[400];

    switch ((int)stage) {
    case STAGE_NOT_OFFERED:
    case STAGE_REFUSED:
        add(list, "server", NULL, "it must offer STARTTLS");
        break;
    case STAGE_CLIENT_CERTIFICATE:
        snprintf(change, sizeof change,
                 "destinations: {\"%.255s\": {client_certificate: NAME}}",
                 evidence->domain);
        add(list, "here", change,
            "NAME is one of `certificates` that the server accepts");
        break;
    case STAGE_STS_MX:
        add(list, "server", NULL,
            "the domain's MTA-STS policy must list the server, or its MX "
            "records must not");
        break;
    default:
        break;
    }
}

json_t *
tls_advice(const struct tls_evidence *evidence,
           const struct tls_decision *decision,
           const struct tls_observation *observation)
{
    json_t *list = json_array();
    enum tls_stage stage = observation->failure.stage;

    if (tls_observed_good(decision, observation))
        return list;
    if (!decision->usable) {
        advise_connection(list, evidence, decision->refusal.stage);
    } else if (stage != STAGE_NONE) {
        advise_connection(list, evidence, stage);
    } else {
        stage = tls_observed_stage(decision, observation);
        advise_certificate(list, decision, observation, stage);
        if (stage == STAGE_CHAIN)
            advise_authority(list, evidence, observation);
    }
    advise_change(list, evidence, observation);
    return list;
}
