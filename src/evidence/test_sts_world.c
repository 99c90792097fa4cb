#include "evidence/test_sts_world.h"

#include <unistd.h>

/* --- The world ---------------------------------------------------------- */

struct world world;

struct dns_query {
    struct task task;
    bool cancelled;
    void (*on_answer)(void *arg, const struct dns_answer *answer);
    void *arg;
};

static void
run_dns(struct task *task)
{
    struct dns_query *query = CONTAINER_OF(task, struct dns_query, task);
    uint8_t bytes[256];
    struct dns_record record = {bytes, 0};
    struct dns_answer answer = {.state = world.dns, .ttl = world.ttl};

    if (world.txt != NULL &&
        (world.dns == DNS_SECURE || world.dns == DNS_INSECURE)) {
        size_t n = strlen(world.txt), half = n / 2;

        /* in two strings, which make one text */
        bytes[0] = (uint8_t)half;
        memcpy(bytes + 1, world.txt, half);
        bytes[half + 1] = (uint8_t)(n - half);
        memcpy(bytes + half + 2, world.txt + half, n - half);
        record.length = n + 2;
        answer.records = &record;
        answer.record_count = 1;
    }
    if (world.dns == DNS_ERROR)
        snprintf(answer.reason, sizeof answer.reason, "SERVFAIL");
    if (!query->cancelled)
        query->on_answer(query->arg, &answer);
    mem_free(query);
}

struct dns_query *
dns_lookup(struct dns_resolver *resolver UNUSED, struct loop *loop,
           const char *name, enum dns_type type,
           void (*on_answer)(void *arg, const struct dns_answer *answer),
           void *arg)
{
    struct dns_query *query = mem_alloc(sizeof *query);

    assert_int_equal(type, DNS_TXT);
    assert_int_equal(strncmp(name, "_mta-sts.", 9), 0);
    assert_ptr_equal(loop, world.loop);
    world.lookups++;
    query->task.run = run_dns;
    query->on_answer = on_answer;
    query->arg = arg;
    loop_post(loop, &query->task);
    return query;
}

void
dns_cancel(struct dns_query *query)
{
    query->cancelled = true;
}

struct dns_resolver *
dns_resolver_ref(struct dns_resolver *resolver)
{
    return resolver;
}

void
dns_resolver_unref(struct dns_resolver *resolver UNUSED)
{
}

struct https_call {
    struct task task;
    struct link held;
    bool cancelled;
    void (*on_answer)(void *arg, const struct https_answer *answer);
    void *arg;
};
struct https_client {
    struct list calls;
};

const char *
https_stage_name(enum https_stage stage)
{
#define AS_HTTPS_TEXT(name, text) text,
    static const char *const names[] = {HTTPS_STAGES(AS_HTTPS_TEXT)};

    return names[stage];
}

struct https_client *
https_client_new(struct loop *loop UNUSED, const struct https_options *options,
                 struct err *err)
{
    struct https_client *client;

    if (options->authority_count > 0 &&
        strcmp(options->authorities[0], "bad") == 0) {
        err_set(err, "no such file");
        return NULL;
    }
    client = mem_alloc(sizeof *client);
    return client;
}

static void
drop_held(void)
{
    struct link *link;

    while ((link = list_pop_front(&world.held)) != NULL) {
        mem_free(CONTAINER_OF(link, struct https_call, held));
        world.open--;
    }
}

void
https_client_free(struct https_client *client)
{
    if (client != NULL)
        drop_held();
    mem_free(client);
}

static void
run_https(struct task *task)
{
    struct https_call *call = CONTAINER_OF(task, struct https_call, task);
    struct https_answer answer = {
        .stage = world.stage,
        .status = world.status,
        .untyped = world.untyped,
    };

    if (world.stage == HTTPS_OK)
        answer.body = sv_of(world.policy);
    else
        snprintf(answer.reason, sizeof answer.reason, "it went wrong");
    if (!call->cancelled) {
        world.open--;
        call->on_answer(call->arg, &answer);
    }
    mem_free(call);
}

struct https_call *
https_send(struct https_client *client UNUSED,
           struct dns_resolver *resolver UNUSED,
           const struct https_request *request,
           void (*on_answer)(void *arg, const struct https_answer *answer),
           void *arg)
{
    struct https_call *call = mem_alloc(sizeof *call);

    assert_int_equal(strncmp(request->url, "https://mta-sts.", 16), 0);
    assert_non_null(strstr(request->url, "/.well-known/mta-sts.txt"));
    assert_string_equal(request->media_type, "text/plain");
    assert_int_equal(request->max_body, 65536);
    world.fetches++;
    if (++world.open > world.most_open)
        world.most_open = world.open;
    call->task.run = run_https;
    call->on_answer = on_answer;
    call->arg = arg;
    if (world.hold)
        list_push_back(&world.held, &call->held);
    else
        loop_post(world.loop, &call->task);
    return call;
}

void
world_release(void)
{
    struct link *link;

    world.hold = false;
    while ((link = list_pop_front(&world.held)) != NULL)
        loop_post(world.loop,
                  &CONTAINER_OF(link, struct https_call, held)->task);
}

void
https_cancel(struct https_call *call)
{
    world.open--;
    if (link_on_list(&call->held)) {
        list_remove(&world.held, &call->held);
        mem_free(call);
    } else {
        call->cancelled = true;
    }
}

struct settings *
settings_ref(struct settings *settings)
{
    return settings;
}

void
settings_unref(struct settings *settings UNUSED)
{
}

const char *
rpc_method(const struct rpc_call *call)
{
    return call->method;
}

const json_t *
rpc_params(const struct rpc_call *call)
{
    return call->params;
}

void
rpc_item(struct rpc_call *call, json_t *item)
{
    call->items++;
    json_decref(item);
}

size_t
rpc_pending(const struct rpc_call *call UNUSED)
{
    return 0;
}

void
rpc_on_low(struct rpc_call *call UNUSED, void (*on_low)(void *arg), void *arg)
{
    on_low(arg);
}

bool
rpc_gone(const struct rpc_call *call UNUSED)
{
    return false;
}

void
rpc_result(struct rpc_call *call, json_t *result)
{
    call->result = result;
}

void
rpc_error(struct rpc_call *call, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(call->error, sizeof call->error, fmt, args);
    va_end(args);
}

/* --- Moving it ---------------------------------------------------------- */

static void
on_alert(void *arg UNUSED, const char *key, bool raised, const char *text)
{
    assert_int_equal(strncmp(key, "sts", 3), 0);
    snprintf(world.alert, sizeof world.alert, "%s", text);
    world.raised = raised;
    world.alerts++;
}

void
world_open_cache(void)
{
    struct err err = {0};

    world.cache = sts_cache_new(world.loop, &world.settings, NULL, &err);
    if (world.cache == NULL)
        fail_msg("%s", err.text);
    sts_cache_on_alert(world.cache, on_alert, NULL);
}

void
world_settle(void)
{
    for (int i = 0; i < 4; i++) {
        loop_advance(world.loop, 0);
        loop_advance(world.other, 0);
    }
}

void
world_pass(int64_t seconds)
{
    int64_t step = seconds > 2 * DAY ? 60 : seconds > 600 ? 10 : 1;

    for (int64_t s = 0; s < seconds; s += step) {
        clock_advance_ms((uint64_t)step * 1000);
        loop_advance(world.loop, (uint64_t)step * 1000);
        world_settle();
    }
}

int
world_open(void **state UNUSED)
{
    world = (struct world){
        .dns = DNS_INSECURE,
        .txt = "v=STSv1; id=one;",
        .ttl = 3600,
        .stage = HTTPS_OK,
        .status = 200,
        .policy = WEEK_POLICY,
    };
    snprintf(world.state_dir, sizeof world.state_dir,
             "/tmp/waxgate-sts.XXXXXX");
    assert_non_null(mkdtemp(world.state_dir));
    world.settings.state_dir = world.state_dir;
    world.settings.sts = (struct sts_settings){
        .refresh = (uint64_t)DAY * 1000,
        .fetch_timeout = 60000,
        .failure_pause = 300000,
        .max_policies = 1000,
    };
    list_init(&world.held);
    clock_freeze(1000000, T0);
    world.loop = loop_new_manual(1000000, T0);
    world.other = loop_new_manual(1000000, T0);
    world_open_cache();
    return 0;
}

static void
remove_files(void)
{
    static const char *const names[] = {"sts/policies", "sts/policies.new",
                                        "sts", ""};
    char path[128];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", world.state_dir, names[i]);
        remove(path);
    }
}

int
world_close(void **state UNUSED)
{
    sts_cache_free(world.cache);
    world_settle();
    loop_free(world.loop);
    loop_free(world.other);
    remove_files();
    return 0;
}

void
world_restart(void)
{
    sts_cache_free(world.cache);
    world_settle();
    world_open_cache();
}

void
on_evidence(void *arg, const struct sts_evidence *evidence)
{
    struct seen *seen = arg;

    seen->calls++;
    seen->state = evidence->state;
    seen->cached = evidence->cached;
    memcpy(seen->id, evidence->id, sizeof seen->id);
    memcpy(seen->reason, evidence->reason, sizeof seen->reason);
    assert_int_equal(evidence->policy != NULL, evidence->state == STS_POLICY);
    if (evidence->policy != NULL) {
        seen->mode = evidence->policy->mode;
        snprintf(seen->mx, sizeof seen->mx, "%s",
                 evidence->policy->pattern_count > 0
                     ? evidence->policy->patterns[0]
                     : "");
    }
}

struct seen
look(const char *domain, bool fresh)
{
    struct seen seen = {0};

    sts_lookup(world.cache, world.other, domain, fresh, on_evidence, &seen);
    assert_int_equal(seen.calls, 0); /* never from inside */
    world_settle();
    assert_int_equal(seen.calls, 1);
    return seen;
}

struct rpc_call
request(const char *method, const char *domain)
{
    struct rpc_call call = {.method = method, .params = json_object()};

    if (domain != NULL)
        json_object_set_new(call.params, "domain", json_string(domain));
    sts_request(world.cache, &call);
    world_settle();
    json_decref(call.params);
    return call;
}

const char *
text(const struct rpc_call *call, const char *key)
{
    return json_string_value(json_object_get(call->result, key));
}
