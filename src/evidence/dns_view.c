#include "evidence/dns_view.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "dns/validation.h"
#include "evidence/dane_count.h"
#include "mail/address.h"

enum { RECORD_TEXT = 4096 };

struct dns_view {
    struct loop *loop;
    void (*on_alert)(void *arg, const char *key, bool raised, const char *text);
    void *arg;
    struct dns_resolver *resolver;     /* reference; NULL before the first */
    struct dns_validation *validation; /* owned; NULL before the first */
    enum dns_validation_state said;    /* in the log */
    struct list lookups;               /* running */
};

struct lookup {
    struct dns_view *view;
    struct link link;
    struct rpc_call *call;
    struct dns_trace *trace;
    enum dns_type type;
    uint64_t begun; /* us */
    char name[256];
};

/* --- Answers as JSON -------------------------------------------------- */

static void
set_text(json_t *object, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(object, key, json_string(text));
}

static json_t *
aliases_json(const struct dns_answer *answer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < answer->alias_count; i++) {
        const struct dns_alias *alias = &answer->aliases[i];

        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "name", alias->name,
                                        "target", alias->target, "state",
                                        dns_state_name(alias->state)));
    }
    return list;
}

static json_t *
records_json(enum dns_type type, const struct dns_answer *answer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < answer->record_count; i++) {
        char text[RECORD_TEXT];

        dns_record_print(type, &answer->records[i], text, sizeof text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

json_t *
dns_answer_json(const char *name, enum dns_type type,
                const struct dns_answer *answer)
{
    json_t *object =
        json_pack("{s:s, s:s, s:s}", "name", name, "type", dns_type_name(type),
                  "state", dns_state_name(answer->state));

    set_text(object, "reason", answer->reason);
    if (answer->state == DNS_ABSENT) {
        json_object_set_new(object, "nxdomain", json_boolean(answer->nxdomain));
        json_object_set_new(object, "secure_denial",
                            json_boolean(answer->secure_denial));
    }
    if (strcmp(answer->name, name) != 0)
        set_text(object, "canonical", answer->name);
    if (answer->alias_count > 0)
        json_object_set_new(object, "aliases", aliases_json(answer));
    json_object_set_new(object, "ttl", json_integer(answer->ttl));
    json_object_set_new(object, "records", records_json(type, answer));
    return object;
}

/* --- dns.lookup ------------------------------------------------------- */

static void
on_answer(void *arg, const struct dns_answer *answer)
{
    struct lookup *lookup = arg;
    json_t *object = dns_answer_json(lookup->name, lookup->type, answer);
    uint64_t us = clock_mono_us() - lookup->begun;

    json_object_set_new(object, "ms", json_real((double)us / 1000));
    rpc_result(lookup->call, object);
    list_remove(&lookup->view->lookups, &lookup->link);
    mem_free(lookup);
}

/* Names with "_" or other letters than those of hosts are asked for as they
 * are, lower-case; what is no ASCII becomes A-labels. */
static bool
canonical_name(const char *text, char *name, size_t size)
{
    struct sv in = sv_of(text);
    bool ascii = true;
    char domain[MAIL_DOMAIN_MAX + 1];

    if (in.n > 1 && in.p[in.n - 1] == '.')
        in.n--;
    if (in.n == 0 || in.n > MAIL_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        ascii = ascii && (uint8_t)in.p[i] < 128;
        if ((uint8_t)in.p[i] <= ' ' || in.p[i] == 127)
            return false;
    }
    if (!ascii && !mail_domain_canonical(in, domain))
        return false;
    if (!ascii)
        in = sv_of(domain);
    sv_lower_into(in, name);
    name[in.n] = '\0';
    return in.n < size;
}

static const char *
param(const struct rpc_call *call, const char *key)
{
    const char *text =
        json_string_value(json_object_get(rpc_params(call), key));

    return text != NULL ? text : "";
}

static void
call_lookup(struct dns_view *view, struct rpc_call *call)
{
    struct lookup *lookup;
    enum dns_type type;
    char name[256];

    if (!dns_type_find(sv_of(param(call, "type")), &type)) {
        rpc_error(call,
                  "unknown type \"%.20s\": A, AAAA, CNAME, MX, NS, PTR, "
                  "SOA, TLSA or TXT",
                  param(call, "type"));
        return;
    }
    if (!canonical_name(param(call, "name"), name, sizeof name)) {
        rpc_error(call, "\"%.100s\" is no domain name", param(call, "name"));
        return;
    }
    lookup = mem_alloc(sizeof *lookup);
    lookup->view = view;
    lookup->call = call;
    lookup->type = type;
    lookup->begun = clock_mono_us();
    snprintf(lookup->name, sizeof lookup->name, "%s", name);
    list_push_back(&view->lookups, &lookup->link);
    lookup->trace = dns_trace(view->resolver, view->loop, lookup->name, type,
                              on_answer, lookup);
}

/* --- dns.status ------------------------------------------------------- */

static json_t *
number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* "MX": {"secure": 3, …}: those that were asked for. */
static json_t *
answers_json(const struct dns_counts *counts, uint64_t *total)
{
    json_t *by_type = json_object();

    for (size_t i = 0; i < DNS_TYPE_COUNT; i++) {
        json_t *states = json_object();
        uint64_t of_type = 0;

        for (size_t s = 0; s < DNS_STATE_COUNT; s++) {
            json_object_set_new(states, dns_state_name((enum dns_state)s),
                                number(counts->answers[i][s]));
            of_type += counts->answers[i][s];
        }
        if (of_type > 0)
            json_object_set(by_type, dns_type_name(counts->types[i]), states);
        json_decref(states);
        *total += of_type;
    }
    return by_type;
}

static json_t *
times_json(const struct dns_counts *counts)
{
    json_t *times = json_object();

    for (size_t i = 0; i < DNS_TIME_COUNT; i++) {
        char key[32] = "more";

        if (i < DNS_TIME_COUNT - 1)
            snprintf(key, sizeof key, "%u", dns_time_limits[i]);
        json_object_set_new(times, key, number(counts->times[i]));
    }
    return times;
}

static json_t *
validation_json(const struct dns_view *view)
{
    const struct dns_validation *validation = view->validation;

    return json_pack("{s:s, s:s, s:I}", "state",
                     dns_validation_name(dns_validation_get(validation)),
                     "text", dns_validation_text(validation), "tested",
                     (json_int_t)dns_validation_time(validation));
}

static void
call_status(struct dns_view *view, struct rpc_call *call)
{
    json_t *object = json_object();
    struct dns_counts counts;
    uint64_t total = 0;
    json_t *answers;

    dns_counts_read(&counts);
    answers = answers_json(&counts, &total);
    json_object_set_new(
        object, "validation",
        json_string(dns_validation_name(dns_validation_get(view->validation))));
    json_object_set_new(object, "lookups", number(total));
    json_object_set_new(object, "within_1ms", number(counts.times[0]));
    json_object_set_new(object, "timed_out", number(counts.timed_out));
    json_object_set_new(object, "mean_us",
                        number(total > 0 ? counts.total_us / total : 0));
    json_object_set_new(object, "validation_test", validation_json(view));
    json_object_set_new(object, "answers", answers);
    json_object_set_new(object, "times_ms", times_json(&counts));
    json_object_set_new(object, "dane", dane_count_json());
    rpc_result(call, object);
}

void
dns_view_request(struct dns_view *view, struct rpc_call *call)
{
    const char *method = rpc_method(call);

    if (strcmp(method, "dns.lookup") == 0)
        call_lookup(view, call);
    else if (strcmp(method, "dns.status") == 0)
        call_status(view, call);
    else
        rpc_error(call, "there is no method \"%s\"", method);
}

/* --- Validation ------------------------------------------------------- */

static void
on_validation(void *arg, enum dns_validation_state state, const char *text)
{
    struct dns_view *view = arg;
    bool bad = dns_validation_is_bad(state);

    if (state != view->said)
        log_event(NULL, bad ? LOG_ERROR : LOG_INFO, "dns.validation",
                  LOG_STR("state", dns_validation_name(state)),
                  LOG_STR("text", text));
    view->said = state;
    if (view->on_alert != NULL)
        view->on_alert(view->arg, "dns.validation", bad, text);
}

struct dns_view *
dns_view_new(struct loop *loop,
             void (*on_alert)(void *arg, const char *key, bool raised,
                              const char *text),
             void *arg)
{
    struct dns_view *view = mem_alloc(sizeof *view);

    view->loop = loop;
    view->on_alert = on_alert;
    view->arg = arg;
    list_init(&view->lookups);
    return view;
}

static void
break_off(struct dns_view *view, const char *why)
{
    while (view->lookups.length > 0) {
        struct lookup *lookup =
            CONTAINER_OF(list_first(&view->lookups), struct lookup, link);

        dns_trace_cancel(lookup->trace);
        rpc_error(lookup->call, "%s", why);
        list_remove(&view->lookups, &lookup->link);
        mem_free(lookup);
    }
}

void
dns_view_set(struct dns_view *view, const struct dns_settings *settings,
             struct dns_resolver *resolver)
{
    const struct dns_validation_options options = {
        .loop = view->loop,
        .signed_name = settings->test_signed,
        .bogus_name = settings->test_bogus,
        .on_result = on_validation,
        .arg = view,
    };

    dns_validation_free(view->validation);
    dns_resolver_unref(view->resolver);
    view->resolver = dns_resolver_ref(resolver);
    view->validation = dns_validation_new(resolver, &options);
    if (dns_validation_get(view->validation) == VALIDATION_OFF &&
        view->on_alert != NULL)
        view->on_alert(view->arg, "dns.validation", false,
                       dns_validation_text(view->validation));
}

void
dns_view_free(struct dns_view *view)
{
    if (view == NULL)
        return;
    break_off(view, "the sender is ending");
    dns_validation_free(view->validation);
    dns_resolver_unref(view->resolver);
    mem_free(view);
}
