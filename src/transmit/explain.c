/* The way of a question:
 *
 *   address ─▶ destination ─▶ route ─▶ evidence of each server ─▶ decisions
 *                               │                                    │
 *                           route.show                      explain ◀┴▶
 * tls.check
 *
 * A question that takes too long is answered with an error, one whose caller
 * has gone away is dropped. */
#include "transmit/explain.h"
#include "mail/address.h"
#include "transmit/explain_internal.h"

enum {
    QUESTIONS_MAX = 100,
    WATCH_MS = 250,
    LOOKUP_LIMIT_MS = 60000, /* policy fetches included */
    CHECK_LIMIT_MS = 300000,
};

/* --- The end -------------------------------------------------------------- */

static void
cancel(struct question *q)
{
    if (q->route_query != NULL)
        route_cancel(q->route_query);
    if (q->sts_query != NULL)
        sts_cancel(q->sts_query);
    for (size_t i = 0; i < q->host_count; i++)
        if (q->hosts[i].query != NULL)
            dane_cancel(q->hosts[i].query);
}

void
question_end(struct question *q)
{
    cancel(q);
    explain_drop_aliases(q);
    tls_check_free(q->check);
    dane_show_free(q->show);
    timer_fini(&q->watch);
    for (size_t i = 0; i < q->host_count; i++)
        dane_evidence_unref(q->hosts[i].dane);
    sts_policy_unref(q->sts.policy);
    route_free(q->route);
    revision_unref(q->revision);
    mem_free(q->destination.key);
    mem_free(q->destination.domain);
    list_remove(&q->explainer->questions, &q->link);
    mem_free(q);
}

static void
fail(struct question *q, const char *why)
{
    rpc_error(q->call, "%s", why);
    question_end(q);
}

static void
on_watch(struct timer *timer)
{
    struct question *q = CONTAINER_OF(timer, struct question, watch);
    bool late = loop_now(q->explainer->loop) >= q->limit;

    timer_arm(timer, WATCH_MS);
    if (rpc_gone(q->call))
        fail(q, "gone");
    else if (late && q->check != NULL)
        tls_check_stop(q->check);
    else if (late && q->show != NULL)
        dane_show_stop(q->show);
    else if (late)
        fail(q, "the look-ups took too long");
}

/* --- Answers -------------------------------------------------------------- */

static json_t *
hosts_json(const struct question *q)
{
    json_t *list = json_array();

    for (size_t i = 0; i < q->host_count; i++)
        json_array_append_new(list, explain_host_json(&q->hosts[i]));
    return list;
}

static void
answer(struct question *q)
{
    json_t *json = explain_route_json(q);

    if (q->kind == QUESTION_EXPLAIN) {
        json_object_set_new(json, "demands", explain_demands_json(q->demands));
        json_object_set_new(json, "control", explain_control_json(q));
        json_object_set_new(json, "mta_sts", explain_sts_json(q));
        json_object_set_new(json, "hosts", hosts_json(q));
        json_object_set_new(json, "queue", explain_queue_json(q));
    }
    rpc_result(q->call, json);
    question_end(q);
}

/* --- Evidence ------------------------------------------------------------- */

static void
decide_hosts(struct question *q)
{
    for (size_t i = 0; i < q->host_count; i++) {
        struct question_host *host = &q->hosts[i];

        host->evidence.sts = q->has_sts ? &q->sts : NULL;
        host->evidence.dane = host->dane;
        decide(&host->evidence, &host->decision);
    }
}

static void
looked_up(struct question *q)
{
    if (--q->pending > 0)
        return;
    decide_hosts(q);
    if (q->kind == QUESTION_CHECK)
        tls_check_start(q);
    else if (q->kind == QUESTION_DANE)
        dane_show_start(q);
    else
        answer(q);
}

static void
on_sts(void *arg, const struct sts_evidence *evidence)
{
    struct question *q = arg;

    q->sts_query = NULL;
    q->sts = *evidence;
    if (evidence->policy != NULL)
        q->sts.policy = sts_policy_ref(evidence->policy);
    q->has_sts = true;
    looked_up(q);
}

static void
on_dane(void *arg, struct dane_evidence *evidence)
{
    struct question_host *host = arg;

    host->query = NULL;
    host->dane = evidence;
    looked_up(host->question);
}

static void
look_up_host(struct question_host *host)
{
    struct question *q = host->question;
    const struct route_target *target = host->target;

    /* Who asks for the records sees them though DANE is off. */
    if (q->kind == QUESTION_DANE ? target->literal
                                 : !decide_wants_dane(&host->evidence))
        return;
    q->pending++;
    host->query = dane_lookup(q->revision->resolver, q->explainer->loop,
                              target->host, net_address_port(&target->address),
                              target->mx_state, on_dane, host);
}

static bool
wants_sts(const struct question *q)
{
    bool wants = false;

    /* The policy is of the recipients' domain, so servers of a route have none
     * (RFC 8461 section 3.4). */
    if (q->destination.domain[0] == '\0' || q->kind == QUESTION_DANE)
        return false;
    for (size_t i = 0; i < q->host_count; i++)
        wants |= decide_wants_sts(&q->hosts[i].evidence);
    return wants && q->explainer->cache != NULL;
}

static void
look_up(struct question *q)
{
    q->pending = 1;
    for (size_t i = 0; i < q->host_count; i++)
        look_up_host(&q->hosts[i]);
    if (wants_sts(q)) {
        q->pending++;
        /* Delivery looks a policy up anew before a failure is final. */
        q->sts_query =
            sts_lookup(q->explainer->cache, q->explainer->loop, q->domain,
                       q->kind == QUESTION_CHECK, on_sts, q);
    }
    looked_up(q);
}

/* --- The route ------------------------------------------------------------ */

static void
add_host(struct question *q, const struct route_target *target)
{
    struct question_host *host = &q->hosts[q->host_count++];

    host->question = q;
    host->target = target;
    host->evidence = (struct tls_evidence){
        .domain = q->policy_domain,
        .host = target->host,
        .host_is_literal = target->literal,
        .by_mx = target->by_mx,
        .mx_state = target->mx_state,
        .control = q->control,
        .demands = q->demands,
        .attempt = 1,
        .sts_defers = q->revision->settings->sts.dns_failure_defers,
        .now = loop_wall_us(q->explainer->loop) / 1000000,
    };
}

static bool
same_server(const struct route_target *a, const struct route_target *b)
{
    return strcmp(a->host, b->host) == 0 &&
           net_address_port(&a->address) == net_address_port(&b->address);
}

static void
gather_hosts(struct question *q)
{
    for (size_t i = 0; i < q->route->target_count; i++) {
        struct route_target *target = &q->route->targets[i];

        if (q->port != 0)
            net_address_set_port(&target->address, q->port);
        if (q->host_count == 0 ||
            !same_server(q->hosts[q->host_count - 1].target, target)) {
            if (q->host_count == ROUTE_HOSTS_MAX)
                return;
            add_host(q, target);
        }
        q->hosts[q->host_count - 1].target_count++;
    }
}

static void
on_aliases(struct question *q)
{
    if (q->kind == QUESTION_ROUTE) {
        answer(q);
        return;
    }
    gather_hosts(q);
    look_up(q);
}

static void
on_route(void *arg, struct route *route)
{
    struct question *q = arg;

    q->route_query = NULL;
    q->route = route;
    explain_find_aliases(q, on_aliases);
}

/* As the queue does it for a recipient's domain (queue_domain.c). */
static void
set_destination(struct question *q)
{
    const struct settings *settings = q->revision->settings;
    /* TLSA records belong to the servers by MX, also where a route is used. */
    const struct route_settings *rule =
        q->kind == QUESTION_DANE ? NULL
                                 : settings_route(settings, sv_of(q->domain));
    bool is_static = rule != NULL && rule->hop_count > 0;
    struct buf key = {0};

    q->rule = rule;
    q->control = settings_destination(settings, sv_of(q->domain));
    if (is_static)
        buf_printf(&key, "route:%s/%s", rule->domain, q->control->domain);
    else
        buf_add_str(&key, q->domain);
    q->destination.key = sv_dup(buf_view(&key));
    q->destination.domain = mem_strdup(is_static ? "" : q->domain);
    q->policy_domain = is_static ? q->control->domain : q->domain;
    q->destination.policy_domain = sv_of(q->policy_domain);
    q->destination.demands = q->demands;
    buf_fini(&key);
}

/* --- The question --------------------------------------------------------- */

static bool
take_port(struct sv *text, uint16_t *port)
{
    size_t end = text->n;
    uint32_t number;

    while (end > 0 && char_is_digit(text->p[end - 1]))
        end--;
    if (end == text->n || end == 0 || text->p[end - 1] != ':')
        return false;
    if (!sv_to_u32(sv_from(*text, end), &number) || number == 0 ||
        number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    text->n = end - 1;
    return true;
}

static bool
set_domain(struct question *q, struct sv text)
{
    size_t at = text.n;

    if (q->kind == QUESTION_CHECK || q->kind == QUESTION_DANE)
        (void)take_port(&text, &q->port);
    at = text.n;
    while (at > 0 && text.p[at - 1] != '@')
        at--;
    text = sv_from(text, at);
    if (text.n > 0 && text.p[text.n - 1] == '.')
        text.n--;
    if (text.n > 0 && text.p[0] == '[' ? !mail_literal_valid(text)
                                       : !mail_domain_valid(text))
        return false;
    return text.n > 0 && mail_domain_canonical(text, q->domain);
}

static bool
set_demands(struct question *q, struct sv names)
{
    while (names.n > 0) {
        struct sv name = sv_trim(sv_take_until(&names, ','));

        sv_take_char(&names, ',');
        if (!envelope_tls_add(name, &q->demands))
            return false;
    }
    return true;
}

static const char *
text_param(const struct rpc_call *call, const char *key)
{
    const char *text =
        json_string_value(json_object_get(rpc_params(call), key));

    return text != NULL ? text : "";
}

static void
start(struct question *q)
{
    q->route_query =
        route_find(q->revision->resolver, q->explainer->loop,
                   q->revision->settings, &q->destination, on_route, q);
    route_keep_trace(q->route_query);
    timer_arm(&q->watch, WATCH_MS);
}

static struct question *
question_new(struct explainer *explainer, struct rpc_call *call,
             enum question_kind kind)
{
    struct question *q = mem_alloc(sizeof *q);

    q->explainer = explainer;
    q->call = call;
    q->kind = kind;
    q->revision = revision_ref(explainer->delivery->current);
    q->limit = loop_now(explainer->loop) +
               (kind == QUESTION_CHECK ? CHECK_LIMIT_MS : LOOKUP_LIMIT_MS);
    timer_init(&q->watch, explainer->loop, on_watch);
    list_push_back(&explainer->questions, &q->link);
    return q;
}

static void
ask(struct explainer *explainer, struct rpc_call *call, enum question_kind kind)
{
    struct question *q = question_new(explainer, call, kind);

    if (!set_domain(q, sv_of(text_param(call, "address")))) {
        fail(q, "neither a domain nor an address");
    } else if (!set_demands(q, sv_of(text_param(call, "demands")))) {
        fail(q, "there is no such demand; there are requiretls, tls-optional, "
                "tls-required, tls-verified and ignore-dane");
    } else {
        set_destination(q);
        start(q);
    }
}

static const struct {
    const char *method;
    enum question_kind kind;
} methods[] = {{"route.show", QUESTION_ROUTE},
               {"explain", QUESTION_EXPLAIN},
               {"tls.check", QUESTION_CHECK},
               {"dane.show", QUESTION_DANE}};

bool
explainer_knows(const char *method)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (strcmp(method, methods[i].method) == 0)
            return true;
    return false;
}

void
explainer_request(struct explainer *explainer, struct rpc_call *call)
{
    if (explainer->questions.length >= QUESTIONS_MAX) {
        rpc_error(call, "too many such questions are being answered");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (strcmp(rpc_method(call), methods[i].method) == 0)
            ask(explainer, call, methods[i].kind);
}

struct explainer *
explainer_new(struct loop *loop, struct delivery *delivery,
              struct sts_cache *cache)
{
    struct explainer *explainer = mem_alloc(sizeof *explainer);

    explainer->loop = loop;
    explainer->delivery = delivery;
    explainer->cache = cache;
    list_init(&explainer->questions);
    list_init(&explainer->closing);
    return explainer;
}

void
explainer_free(struct explainer *explainer)
{
    struct link *link;

    if (explainer == NULL)
        return;
    while ((link = list_first(&explainer->questions)) != NULL)
        fail(CONTAINER_OF(link, struct question, link),
             "the sender is being stopped");
    while ((link = list_first(&explainer->closing)) != NULL)
        client_free(client_of_link(link));
    mem_free(explainer);
}
