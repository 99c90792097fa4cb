/* What is known, as JSON.  Members that have nothing to say are left out. */
#include "mail/date.h"
#include "transmit/explain_internal.h"

static void
set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_object_set_new(object, key, json_string(text));
}

static void
set_flag(json_t *object, const char *key, bool value)
{
    if (value)
        json_object_set_new(object, key, json_true());
}

/* --- The route ------------------------------------------------------------ */

static json_t *
hops_json(const struct route_settings *rule)
{
    json_t *list = json_array();

    for (size_t i = 0; i < rule->hop_count; i++) {
        const struct route_hop *hop = &rule->hops[i];
        json_t *json =
            json_pack("{s:s,s:i,s:I,s:I}", "host", hop->host, "port", hop->port,
                      "priority", (json_int_t)hop->priority, "weight",
                      (json_int_t)hop->weight);

        set_flag(json, "mx", hop->mx);
        json_array_append_new(list, json);
    }
    return list;
}

/* Which rule decides; "routes" names the entry of the settings, also one that
 * says "by MX". */
static void
set_rule(json_t *json, const struct question *q)
{
    bool is_static = q->destination.domain[0] == '\0';
    const char *rule = "mx";

    if (is_static)
        rule =
            strcmp(q->rule->domain, "default") == 0 ? "default-route" : "route";
    else if (q->domain[0] == '[')
        rule = "literal";
    json_object_set_new(json, "rule", json_string(rule));
    if (q->rule != NULL)
        set_text(json, "route", q->rule->domain);
    if (is_static)
        json_object_set_new(json, "hops", hops_json(q->rule));
}

static json_t *
targets_json(const struct route *route)
{
    json_t *list = json_array();

    for (size_t i = 0; i < route->target_count; i++) {
        const struct route_target *target = &route->targets[i];
        char ip[NET_ADDRESS_TEXT];

        json_array_append_new(
            list, json_pack("{s:s,s:s,s:i,s:i,s:s,s:s}", "host", target->host,
                            "ip", net_address_ip_text(&target->address, ip),
                            "port", net_address_port(&target->address),
                            "preference", target->preference, "mx_state",
                            dns_state_name(target->mx_state), "address_state",
                            dns_state_name(target->address_state)));
    }
    return list;
}

json_t *
explain_route_json(const struct question *q)
{
    static const char *const results[] = {
        [ROUTE_OK] = "ok",          [ROUTE_TEMPORARY] = "temporary",
        [ROUTE_NONE] = "no-server", [ROUTE_NULL_MX] = "null-mx",
        [ROUTE_LOOP] = "loop",
    };
    const struct route *route = q->route;
    struct buf preference = {0}, origin = {0};
    json_t *json = json_pack("{s:s,s:s}", "domain", q->domain, "destination",
                             q->destination.key);

    set_rule(json, q);
    settings_destination_print(q->revision->settings, q->control,
                               "ip_preference", &preference, &origin);
    json_object_set_new(json, "ip_preference",
                        json_string(buf_cstr(&preference)));
    json_object_set_new(json, "ip_preference_from",
                        json_string(buf_cstr(&origin)));
    buf_fini(&preference);
    buf_fini(&origin);
    json_object_set_new(json, "result", json_string(results[route->result]));
    set_text(json, "reason", route->reason);
    set_flag(json, "incomplete",
             route->result == ROUTE_OK && route->incomplete);
    if (route->trace != NULL)
        json_object_update(json, route->trace);
    json_object_set_new(json, "targets", targets_json(route));
    return json;
}

/* --- The settings --------------------------------------------------------- */

json_t *
explain_control_json(const struct question *q)
{
    static const char *const rows[] = {"tls",
                                       "dane",
                                       "dane_insecure_mx",
                                       "mta_sts",
                                       "fallback",
                                       "tls_profile",
                                       "tls13",
                                       "groups",
                                       "retry_classic",
                                       "authorities",
                                       "system_authorities",
                                       "client_certificate",
                                       "bounce_profile"};
    json_t *values = json_array();
    struct buf value = {0}, origin = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_reset(&value);
        buf_reset(&origin);
        settings_destination_print(q->revision->settings, q->control, rows[i],
                                   &value, &origin);
        json_array_append_new(
            values, json_pack("{s:s,s:s,s:s}", "name", rows[i], "value",
                              buf_cstr(&value), "from", buf_cstr(&origin)));
    }
    buf_fini(&value);
    buf_fini(&origin);
    return json_pack("{s:s,s:o}", "entry", q->control->domain, "values",
                     values);
}

json_t *
explain_demands_json(unsigned demands)
{
    char room[ENVELOPE_TLS_TEXT];

    return json_string(envelope_tls_text(demands, room));
}

/* When a message that cannot be sent is tried again, and given back. */
json_t *
explain_queue_json(const struct question *q)
{
    const struct bounce_profile_settings *profile = q->control->bounce_profile;
    const char *sender =
        json_string_value(json_object_get(rpc_params(q->call), "sender"));
    bool nobody = sender != NULL && strcmp(sender, "<>") == 0;

    /* To the empty sender nothing is returned (RFC 5321 section 4.5.5). */
    return json_pack("{s:b,s:s,s:I,s:I,s:I,s:I}", "returned", !nobody,
                     "bounce_profile", profile->name, "first_retry_s",
                     (json_int_t)(profile->first_retry / 1000), "max_retry_s",
                     (json_int_t)(profile->max_retry / 1000), "max_retries",
                     (json_int_t)profile->max_retries, "max_time_in_queue_s",
                     (json_int_t)(profile->max_time_in_queue / 1000));
}

/* --- MTA-STS -------------------------------------------------------------- */

static void
set_date(json_t *object, const char *key, int64_t seconds)
{
    char text[MAIL_DATE_TEXT];

    json_object_set_new(object, key, json_string(mail_date_iso(seconds, text)));
}

static void
set_policy(json_t *json, const struct sts_evidence *sts, int64_t now)
{
    json_t *patterns = json_array();

    for (size_t i = 0; i < sts->policy->pattern_count; i++)
        json_array_append_new(patterns, json_string(sts->policy->patterns[i]));
    json_object_set_new(json, "mode",
                        json_string(sts_mode_name(sts->policy->mode)));
    set_text(json, "id", sts->id);
    set_date(json, "fetched", sts->fetched);
    json_object_set_new(json, "age_s", json_integer(now - sts->fetched));
    set_date(json, "until", sts->fetched + sts->policy->max_age);
    json_object_set_new(json, "source",
                        json_string(sts->cached ? "cache" : "fetched now"));
    json_object_set_new(json, "mx", patterns);
}

json_t *
explain_sts_json(const struct question *q)
{
    const struct sts_evidence *sts = &q->sts;
    json_t *json;

    if (!q->has_sts)
        return json_pack("{s:s}", "state", "not looked up");
    json = json_pack("{s:s}", "state", sts_state_name(sts->state));
    if (sts->policy != NULL)
        set_policy(json, sts, loop_wall_us(q->explainer->loop) / 1000000);
    set_text(json, "reason", sts->reason);
    return json;
}

/* --- DANE ----------------------------------------------------------------- */

static json_t *
records_json(const struct dane_evidence *dane)
{
    json_t *list = json_array();

    for (size_t i = 0; i < dane->tlsa_count; i++) {
        const char *problem = tls_tlsa_problem(&dane->tlsa[i]);
        char text[200];
        json_t *json;

        tls_tlsa_print(&dane->tlsa[i], text, sizeof text);
        json = json_pack("{s:s,s:b}", "tlsa", text, "usable", problem == NULL);
        set_text(json, "problem", problem);
        json_array_append_new(list, json);
    }
    return list;
}

json_t *
explain_dane_json(const struct dane_evidence *dane)
{
    json_t *json;

    if (dane == NULL)
        return json_pack("{s:s}", "state", "not looked up");
    json = json_pack("{s:s,s:b}", "state", dane_state_name(dane->state),
                     "mx_secure", dane->mx_secure);
    set_text(json, "base", dane->base);
    set_text(json, "reason", dane->reason);
    if (dane->tlsa_count > 0) {
        json_object_set_new(json, "ttl", json_integer(dane->ttl));
        json_object_set_new(json, "records", records_json(dane));
    }
    return json;
}

/* --- The decision --------------------------------------------------------- */

static json_t *
whys_json(const struct question_host *host)
{
    json_t *list = json_array();

    for (size_t i = 0; i < host->decision.why_count; i++) {
        enum tls_why why = host->decision.whys[i];
        char text[TLS_WHY_TEXT];

        tls_why_print(&host->evidence, why, text, sizeof text);
        json_array_append_new(list, json_pack("{s:s,s:s}", "name",
                                              tls_why_name(why), "text", text));
    }
    return list;
}

static json_t *
names_json(const struct tls_decision *decision)
{
    json_t *list = json_array();

    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0')
            json_array_append_new(list, json_string(decision->names[i]));
    return list;
}

static const char *
sts_use_name(enum tls_sts_use use)
{
    static const char *const names[] = {
        [STS_USE_NONE] = "none",
        [STS_USE_NOTED] = "noted",
        [STS_USE_ENFORCED] = "enforced",
    };

    return names[use];
}

static const char *
fallback_name(enum tls_fallback fallback)
{
    static const char *const names[] = {
        [FALLBACK_NEVER] = "never",
        [FALLBACK_BEFORE_220] = "before-220",
        [FALLBACK_NEXT_ATTEMPT] = "next-attempt",
    };

    return names[fallback];
}

static void
set_hop(json_t *json, const struct tls_decision *decision)
{
    json_object_update_new(
        json, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:o}", "floor",
                        tls_floor_name(decision->floor), "authentication",
                        tls_authentication_name(decision->authentication),
                        "method", tls_method_name(decision->method), "fallback",
                        fallback_name(decision->fallback), "mta_sts",
                        sts_use_name(decision->sts_use), "server_name",
                        decision->server_name, "names", names_json(decision)));
    set_flag(json, "tls12", decision->tls12);
    set_flag(json, "requiretls", decision->requiretls);
}

json_t *
explain_decision_json(const struct question_host *host)
{
    const struct tls_decision *decision = &host->decision;
    json_t *json = json_pack(
        "{s:b,s:s,s:s}", "usable", decision->usable, "authority",
        tls_authority_name(decision->authority), "reason", decision->reason);

    if (decision->usable)
        set_hop(json, decision);
    else
        json_object_set_new(json, "refusal",
                            json_pack("{s:s,s:s,s:i,s:s}", "stage",
                                      tls_stage_name(decision->refusal.stage),
                                      "why",
                                      tls_why_name(decision->refusal.why),
                                      "code", decision->refusal.code, "text",
                                      decision->refusal.sentence));
    json_object_set_new(json, "whys", whys_json(host));
    return json;
}

/* --- If the server fails -------------------------------------------------- */

/* TLSA records take the place of authorities, names and dates. */
static bool
is_asked(const struct tls_decision *decision, enum tls_stage stage)
{
    bool by_records = decision->method == METHOD_DANE;

    if (stage == STAGE_DANE)
        return by_records;
    return !by_records || (stage != STAGE_CHAIN && stage != STAGE_NAME &&
                           stage != STAGE_EXPIRED);
}

static json_t *
failures_json(const struct question_host *host)
{
    static const enum tls_stage stages[] = {
        STAGE_NOT_OFFERED, STAGE_REFUSED, STAGE_HANDSHAKE, STAGE_CHAIN,
        STAGE_NAME,        STAGE_EXPIRED, STAGE_DANE,
    };
    json_t *list = json_array();

    for (size_t i = 0; i < COUNT_OF(stages); i++) {
        enum tls_consequence what = tls_consequence(&host->decision, stages[i]);

        if (!is_asked(&host->decision, stages[i]))
            continue;
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s}", "stage", tls_stage_name(stages[i]),
                            "text", tls_stage_sentence(stages[i]),
                            "consequence", tls_consequence_name(what)));
    }
    return list;
}

/* The server that is tried after this one; NULL: none. */
static const char *
next_host(const struct question_host *host)
{
    const struct question *q = host->question;
    size_t i = (size_t)(host - q->hosts);

    return i + 1 < q->host_count ? q->hosts[i + 1].target->host : NULL;
}

static json_t *
addresses_json(const struct question_host *host)
{
    json_t *list = json_array();

    for (size_t i = 0; i < host->target_count; i++) {
        char text[NET_ADDRESS_TEXT];

        json_array_append_new(list, json_string(net_address_ip_text(
                                        &host->target[i].address, text)));
    }
    return list;
}

json_t *
explain_host_json(const struct question_host *host)
{
    const struct route_target *target = host->target;
    json_t *json = json_pack(
        "{s:s,s:i,s:i,s:s,s:s,s:o,s:o,s:o}", "host", target->host, "port",
        net_address_port(&target->address), "preference", target->preference,
        "mx_state", dns_state_name(target->mx_state), "address_state",
        dns_state_name(target->address_state), "addresses",
        addresses_json(host), "dane", explain_dane_json(host->dane), "decision",
        explain_decision_json(host));

    set_text(json, "next", next_host(host));
    if (host->decision.usable && host->decision.floor != FLOOR_CLEAR)
        json_object_set_new(json, "failures", failures_json(host));
    return json;
}
