/* What came of one server, as JSON. */
#include "mail/date.h"
#include "transmit/tls_check_internal.h"
#include "transmit/tls_sentence.h"

const char *
probe_result_name(enum probe_result result)
{
    static const char *const names[PROBE_RESULT_COUNT] = {
        [PROBE_WAITING] = "waiting",     [PROBE_VERIFIED] = "verified",
        [PROBE_ENCRYPTED] = "encrypted", [PROBE_CLEAR] = "clear",
        [PROBE_NOT_HERE] = "not-here",   [PROBE_UNREACHED] = "unreached",
    };

    return names[result];
}

static json_t *
certificate_json(const struct tls_certificate_facts *facts)
{
    char from[MAIL_DATE_TEXT], until[MAIL_DATE_TEXT];
    json_t *names = json_array();

    for (size_t i = 0; i < facts->name_count; i++)
        json_array_append_new(names, json_string(facts->names[i]));
    return json_pack("{s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:i,s:s,s:s,s:s,s:b,s:b}",
                     "subject", facts->subject, "issuer", facts->issuer,
                     "serial", facts->serial, "names", names, "not_before",
                     mail_date_iso(facts->not_before, from), "not_after",
                     mail_date_iso(facts->not_after, until), "key_type",
                     facts->key_type, "key_bits", facts->key_bits, "signature",
                     facts->signature, "sha256", facts->sha256, "spki_sha256",
                     facts->spki_sha256, "ca", facts->is_ca, "self_signed",
                     facts->self_signed);
}

static json_t *
chain_json(const struct probe *probe)
{
    json_t *list = json_array();

    for (size_t i = 0; i < probe->chain_count; i++)
        json_array_append_new(list, certificate_json(probe->chain[i]));
    return list;
}

/* The name that was tried, and whether the certificate has it. */
static json_t *
names_json(const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    json_t *list = json_array();

    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0')
            json_array_append_new(
                list,
                json_pack(
                    "{s:s,s:b}", "name", decision->names[i], "matches",
                    tls_names_include(probe->seen.peer, decision->names[i])));
    return list;
}

static const char *
sts_verdict(const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    const char *host = probe->target->host;
    bool good = probe->seen.verdict == VERDICT_OK &&
                tls_names_include(probe->seen.peer, host);

    if (!decision->usable && decision->refusal.stage == STAGE_STS_MX)
        return "not listed";
    if (decision->sts_use == STS_USE_NONE)
        return "not used";
    if (decision->sts_unlisted)
        return "not listed (testing)";
    if (decision->sts_use == STS_USE_NOTED)
        return good ? "ok (testing)" : "failed (testing)";
    return good ? "ok" : "failed";
}

static const char *
dane_verdict(const struct probe *probe)
{
    if (probe->host->decision.method != METHOD_DANE)
        return "not used";
    return probe->seen.dane_matched ? "ok" : "failed";
}

/* Each mechanism by itself, whether it counts here or not. */
static json_t *
verdicts_json(const struct probe *probe)
{
    return json_pack("{s:s,s:s,s:o,s:s,s:s}", "chain",
                     tls_verdict_name(probe->seen.verdict), "chain_text",
                     tls_verdict_sentence(probe->seen.verdict), "names",
                     names_json(probe), "mta_sts", sts_verdict(probe), "dane",
                     dane_verdict(probe));
}

/* Borrowed names of the decision. */
static size_t
wanted_names(const struct tls_decision *decision, const char **names)
{
    size_t count = 0;

    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0')
            names[count++] = decision->names[i];
    return count;
}

static void
set_sentence(json_t *json, const struct probe *probe,
             const struct tls_failure *failure)
{
    const struct question_host *host = probe->host;
    const struct tls_decision *decision = &host->decision;
    const char *names[COUNT_OF(decision->names)];
    const struct tls_sentence facts = {
        .failure = failure,
        .host = probe->target->host,
        .domain = host->question->domain,
        .peer = probe->seen.peer,
        .verdict = probe->seen.verdict,
        .names = names,
        .name_count = wanted_names(decision, names),
        .dane = decision->method == METHOD_DANE ? host->dane : NULL,
        .sts = decision->sts_use != STS_USE_NONE ? host->evidence.sts : NULL,
        .demand = decision->reason,
        .now_s = host->evidence.now,
    };
    char text[TLS_SENTENCE_TEXT];

    json_object_set_new(
        json, "failure",
        json_pack("{s:s,s:s,s:s}", "stage", tls_stage_name(failure->stage),
                  "reason", failure->reason, "text",
                  tls_explain_sentence(&facts, text, sizeof text)));
}

/* What ended it, or what did not matter. */
static struct tls_failure
failure_of(const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    struct tls_failure failure = probe->seen.failure;
    enum tls_stage stage;

    if (failure.stage != STAGE_NONE || probe->tls == NULL)
        return failure;
    stage = tls_observed_stage(decision, &probe->seen);
    if (stage != STAGE_NONE && decision->authentication != AUTH_NONE)
        tls_failure_set(&failure, stage, "%s",
                        stage == STAGE_NAME
                            ? "none of its names is one that would do"
                            : tls_verdict_sentence(probe->seen.verdict));
    return failure;
}

static void
set_refusal(json_t *json, const struct tls_refusal *refusal)
{
    json_object_set_new(json, "failure",
                        json_pack("{s:s,s:s,s:s}", "stage",
                                  tls_stage_name(refusal->stage), "reason",
                                  tls_why_name(refusal->why), "text",
                                  refusal->sentence));
}

static json_t *
advice_json(const struct probe *probe)
{
    json_t *list = probe->result == PROBE_NOT_HERE
                       ? tls_advice(&probe->host->evidence,
                                    &probe->host->decision, &probe->seen)
                       : json_array();

    if (probe->helps != NULL)
        json_array_insert(list, 0, probe->helps);
    return list;
}

static void
set_outcome(json_t *json, const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    struct tls_failure failure = failure_of(probe);

    json_object_set_new(json, "result",
                        json_string(probe_result_name(probe->result)));
    json_object_set_new(json, "delivers",
                        json_boolean(probe->result == PROBE_VERIFIED ||
                                     probe->result == PROBE_ENCRYPTED ||
                                     probe->result == PROBE_CLEAR));
    if (!decision->usable)
        set_refusal(json, &decision->refusal);
    else if (failure.stage != STAGE_NONE)
        set_sentence(json, probe, &failure);
    json_object_set_new(json, "advice", advice_json(probe));
}

json_t *
probe_json(const struct probe *probe)
{
    const struct route_target *target = probe->target;
    struct loop *loop = probe->host->question->explainer->loop;
    char ip[NET_ADDRESS_TEXT];
    json_t *json = json_pack(
        "{s:s,s:s,s:i,s:i,s:I,s:O,s:O,s:o}", "host", target->host, "ip",
        net_address_ip_text(&target->address, ip), "port",
        net_address_port(&target->address), "preference", target->preference,
        "ms", (json_int_t)(loop_now(loop) - probe->begun), "steps",
        probe->steps, "ehlo", probe->ehlo, "decision",
        explain_decision_json(probe->host));

    json_object_set_new(json, "try", json_integer((json_int_t)probe->number));
    if (probe->tls != NULL) {
        json_object_set(json, "tls", probe->tls);
        json_object_set_new(json, "chain", chain_json(probe));
        json_object_set_new(json, "verdicts", verdicts_json(probe));
    }
    set_outcome(json, probe);
    return json;
}
