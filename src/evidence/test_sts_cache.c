/* The cache of policies with a clock, DNS and policy hosts of our own.  The
 * fakes stand in for dns/, https/, the settings and the calls of the command
 * line; the file is a real one. */
#include "evidence/sts_internal.h"

#include "base/clock.h"
#include "unit.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { T0 = 1800000000, MINUTE = 60, HOUR = 3600, DAY = 86400 };
#define WEEK_POLICY                                                            \
    "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 604800\n"

/* --- The world
 * ------------------------------------------------------------------ */

static struct world {
    char state_dir[64];
    struct settings settings;
    struct loop *loop, *other; /* the main one; one of deliveries */
    struct sts_cache *cache;

    /* what the DNS says of every domain */
    enum dns_state dns;
    const char *txt;
    uint32_t ttl;
    /* what every policy host says */
    enum https_stage stage;
    long status;
    const char *policy;
    bool untyped, hold; /* … when it is let */

    size_t lookups, fetches, open, most_open;
    struct list held; /* struct https_call */
    char alert[600];
    bool raised;
    size_t alerts;
} world;

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

static void
release_held(void)
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

struct rpc_call {
    const char *method;
    json_t *params, *result;
    size_t items;
    char error[300];
};

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

/* --- Moving it
 * ---------------------------------------------------------------------- */

static void
on_alert(void *arg UNUSED, const char *key, bool raised, const char *text)
{
    assert_int_equal(strncmp(key, "sts", 3), 0);
    snprintf(world.alert, sizeof world.alert, "%s", text);
    world.raised = raised;
    world.alerts++;
}

static void
open_cache(void)
{
    struct err err = {0};

    world.cache = sts_cache_new(world.loop, &world.settings, NULL, &err);
    if (world.cache == NULL)
        fail_msg("%s", err.text);
    sts_cache_on_alert(world.cache, on_alert, NULL);
}

static void
settle(void)
{
    for (int i = 0; i < 4; i++) {
        loop_advance(world.loop, 0);
        loop_advance(world.other, 0);
    }
}

static void
pass(int64_t seconds)
{
    int64_t step = seconds > 2 * DAY ? 60 : seconds > 600 ? 10 : 1;

    for (int64_t s = 0; s < seconds; s += step) {
        clock_advance_ms((uint64_t)step * 1000);
        loop_advance(world.loop, (uint64_t)step * 1000);
        settle();
    }
}

static int
setup(void **state UNUSED)
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
    open_cache();
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

static int
teardown(void **state UNUSED)
{
    sts_cache_free(world.cache);
    settle();
    loop_free(world.loop);
    loop_free(world.other);
    remove_files();
    return 0;
}

static void
restart(void)
{
    sts_cache_free(world.cache);
    settle();
    open_cache();
}

struct seen {
    size_t calls;
    enum sts_state state;
    enum sts_mode mode;
    char id[STS_ID_MAX + 1];
    char mx[64];
    char reason[200];
    bool cached;
};

static void
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

static struct seen
look(const char *domain, bool fresh)
{
    struct seen seen = {0};

    sts_lookup(world.cache, world.other, domain, fresh, on_evidence, &seen);
    assert_int_equal(seen.calls, 0); /* never from inside */
    settle();
    assert_int_equal(seen.calls, 1);
    return seen;
}

static struct rpc_call
request(const char *method, const char *domain)
{
    struct rpc_call call = {.method = method, .params = json_object()};

    if (domain != NULL)
        json_object_set_new(call.params, "domain", json_string(domain));
    sts_request(world.cache, &call);
    settle();
    json_decref(call.params);
    return call;
}

static const char *
text(const struct rpc_call *call, const char *key)
{
    return json_string_value(json_object_get(call->result, key));
}

/* --- The first look-up
 * -------------------------------------------------------------- */

static const struct first_row {
    const char *name;
    enum dns_state dns;
    const char *txt;
    enum https_stage stage;
    long status;
    const char *policy;
    enum sts_state state;
    size_t fetches;
    const char *reason; /* stands in it */
} first_rows[] = {
    {"enforce", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200, WEEK_POLICY,
     STS_POLICY, 1, ""},
    {"signed", DNS_SECURE, "v=STSv1; id=1;", HTTPS_OK, 200, WEEK_POLICY,
     STS_POLICY, 1, ""},
    {"no record", DNS_ABSENT, NULL, HTTPS_OK, 200, WEEK_POLICY, STS_ABSENT, 0,
     ""},
    {"another record", DNS_INSECURE, "v=spf1 -all", HTTPS_OK, 200, WEEK_POLICY,
     STS_ABSENT, 0, "no TXT record begins with v=STSv1;"},
    {"invalid record", DNS_INSECURE, "v=STSv1; id=a-b;", HTTPS_OK, 200,
     WEEK_POLICY, STS_ABSENT, 0, "the id is not"},
    {"SERVFAIL", DNS_ERROR, NULL, HTTPS_OK, 200, WEEK_POLICY, STS_UNKNOWN, 0,
     "_mta-sts.a.test cannot be looked up: SERVFAIL"},
    {"bogus", DNS_BOGUS, "v=STSv1; id=1;", HTTPS_OK, 200, WEEK_POLICY,
     STS_UNKNOWN, 0, "bogus"},
    {"policy host down", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_CONNECT, 0, NULL,
     STS_UNFETCHED, 1, "connect: it went wrong"},
    {"wrong certificate", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_CERTIFICATE, 0,
     NULL, STS_UNFETCHED, 1, "certificate: it went wrong"},
    {"another status of success", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 203,
     WEEK_POLICY, STS_UNFETCHED, 1, "status: the server answers 203, not 200"},
    {"no policy", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200, "hello",
     STS_UNFETCHED, 1, "policy: line 1: it is not of the form"},
    {"testing", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200,
     "version: STSv1\nmode: testing\nmx: *.a.test\nmax_age: 86400", STS_POLICY,
     1, ""},
    {"none", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200,
     "version: STSv1\nmode: none\nmax_age: 86400", STS_ABSENT, 1,
     "the policy is of mode none"},
    {"age of 0", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200,
     "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0", STS_POLICY, 1,
     ""},
};

static void
test_first(void **state)
{
    const struct first_row *row = *state;
    struct seen seen;

    setup(NULL);
    world.dns = row->dns;
    world.txt = row->txt;
    world.stage = row->stage;
    world.status = row->status;
    world.policy = row->policy;
    seen = look("a.test", false);
    assert_string_equal(sts_state_name(seen.state), sts_state_name(row->state));
    if (strstr(seen.reason, row->reason) == NULL)
        fail_msg("%s", seen.reason);
    assert_int_equal(world.lookups, 1);
    assert_int_equal(world.fetches, row->fetches);
    assert_int_equal(seen.cached, row->state != STS_POLICY &&
                                      strcmp(row->name, "none") != 0);
    teardown(NULL);
}

/* --- What is remembered
 * ---------------------------------------------------------------- */

static void
test_warm(void **state UNUSED)
{
    struct seen seen = look("a.test", false);

    assert_false(seen.cached);
    for (int i = 0; i < 5; i++) {
        seen = look("a.test", false);
        assert_int_equal(seen.state, STS_POLICY);
        assert_true(seen.cached);
        assert_string_equal(seen.id, "one");
    }
    assert_int_equal(world.lookups, 1);
    assert_int_equal(world.fetches, 1);
    pass(5 * MINUTE + 1);
    seen = look("a.test", false);
    assert_int_equal(world.lookups, 2);
    assert_int_equal(world.fetches, 1);
    assert_true(seen.cached);
}

static void
test_ttl_bounds_memory(void **state UNUSED)
{
    world.ttl = 20;
    look("a.test", false);
    pass(19);
    look("a.test", false);
    assert_int_equal(world.lookups, 1);
    pass(2);
    look("a.test", false);
    assert_int_equal(world.lookups, 2);
    world.ttl = 0;
    pass(21);
    look("a.test", false);
    look("a.test", false);
    assert_int_equal(world.lookups, 4);
    assert_int_equal(world.fetches, 1);
}

static void
test_absence_is_remembered(void **state UNUSED)
{
    world.txt = NULL;
    look("a.test", false);
    look("a.test", false);
    assert_int_equal(world.lookups, 1);
    pass(10 * MINUTE);
    assert_null(sts_table_find(&world.cache->table, "a.test"));
}

static void
test_fresh_asks_again(void **state UNUSED)
{
    struct seen seen = look("a.test", false);

    world.txt = "v=STSv1; id=two;";
    world.policy = "version: STSv1\nmode: enforce\nmx: new.a.test\n"
                   "max_age: 86400\n";
    seen = look("a.test", false);
    assert_string_equal(seen.mx, "mx.a.test"); /* nobody has looked yet */
    seen = look("a.test", true);
    assert_string_equal(seen.mx, "new.a.test");
    assert_string_equal(seen.id, "two");
    assert_false(seen.cached);
    seen = look("a.test", true);
    assert_true(seen.cached);
    assert_int_equal(world.lookups, 3);
    assert_int_equal(world.fetches, 2);
}

/* --- Fail closed
 * ------------------------------------------------------------------------- */

static void
expect_policy_kept(const char *id)
{
    struct seen seen = look("a.test", true);

    assert_int_equal(seen.state, STS_POLICY);
    assert_string_equal(seen.id, id);
    assert_string_equal(seen.mx, "mx.a.test");
}

static void
test_record_vanishes(void **state UNUSED)
{
    look("a.test", false);
    world.txt = NULL;
    world.dns = DNS_ABSENT;
    expect_policy_kept("one");
    world.dns = DNS_ERROR;
    expect_policy_kept("one");
    world.dns = DNS_BOGUS;
    expect_policy_kept("one");
    world.dns = DNS_INSECURE;
    world.txt = "v=STSv1";
    expect_policy_kept("one");
    pass(6 * DAY);
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 1);
    /* a week after the last fetch that went well it ends */
    pass(DAY + 1);
    assert_int_equal(look("a.test", true).state, STS_ABSENT);
    world.dns = DNS_ERROR;
    assert_int_equal(look("a.test", true).state, STS_UNKNOWN);
}

static void
test_failed_fetch_keeps(void **state UNUSED)
{
    look("a.test", false);
    world.txt = "v=STSv1; id=two;";
    world.stage = HTTPS_TLS;
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 2);
    /* for this id there is a pause … */
    expect_policy_kept("one");
    pass(4 * MINUTE);
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 2);
    /* … and not for another … */
    world.txt = "v=STSv1; id=three;";
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 3);
    /* … and it ends */
    pass(5 * MINUTE);
    world.stage = HTTPS_OK;
    expect_policy_kept("three");
    assert_int_equal(world.fetches, 4);
}

static void
test_pause_without_policy(void **state UNUSED)
{
    struct seen seen;

    world.stage = HTTPS_TIMEOUT;
    look("a.test", false);
    seen = look("a.test", false);
    assert_int_equal(seen.state, STS_UNFETCHED);
    assert_string_equal(seen.id, "one");
    assert_string_equal(seen.reason, "timeout: it went wrong");
    look("a.test", true);
    assert_int_equal(world.fetches, 1);
    pass(5 * MINUTE + 1);
    look("a.test", false);
    assert_int_equal(world.fetches, 2);
}

static void
test_age_of_zero(void **state UNUSED)
{
    struct sts_evidence evidence;

    world.policy = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0";
    assert_int_equal(look("a.test", false).state, STS_POLICY);
    assert_true(sts_peek(world.cache, "a.test", &evidence));
    assert_null(evidence.policy);
    assert_int_equal(look("a.test", false).state, STS_POLICY);
    assert_int_equal(world.fetches, 2);
    /* It also ends what was there before. */
    world.txt = "v=STSv1; id=two;";
    world.policy = WEEK_POLICY;
    look("a.test", true);
    world.txt = "v=STSv1; id=three;";
    world.policy = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0";
    assert_int_equal(look("a.test", true).state, STS_POLICY);
    world.stage = HTTPS_TLS;
    assert_int_equal(look("a.test", false).state, STS_UNFETCHED);
}

static void
test_none_ends_it(void **state UNUSED)
{
    look("a.test", false);
    world.txt = "v=STSv1; id=two;";
    world.policy = "version: STSv1\nmode: none\nmax_age: 86400";
    assert_int_equal(look("a.test", true).state, STS_ABSENT);
    assert_int_equal(look("a.test", false).state, STS_ABSENT);
    assert_int_equal(world.fetches, 2);
    /* Nothing is refreshed for it and nobody is told when it ends. */
    world.stage = HTTPS_TLS;
    pass(2 * DAY);
    assert_int_equal(world.fetches, 2);
    assert_int_equal(world.alerts, 0);
}

/* --- Refresh
 * ---------------------------------------------------------------------------------
 */

static void
test_refreshed_daily(void **state UNUSED)
{
    struct sts_evidence evidence;

    look("a.test", false);
    pass(17 * HOUR);
    assert_int_equal(world.fetches, 1);
    pass(14 * HOUR);
    assert_int_equal(world.fetches, 2);
    pass(10 * DAY);
    assert_in_range(world.fetches, 9, 16);
    /* the same id, and yet it is good for a week from the last time on */
    assert_true(sts_peek(world.cache, "a.test", &evidence));
    assert_int_equal(evidence.state, STS_POLICY);
    assert_true(clock_wall_s() - evidence.fetched < 2 * DAY);
    sts_policy_unref(evidence.policy);
}

static void
test_refresh_sees_change(void **state UNUSED)
{
    look("a.test", false);
    world.policy = "version: STSv1\nmode: enforce\nmx: new.a.test\n"
                   "max_age: 604800\n";
    pass(31 * HOUR);
    assert_string_equal(look("a.test", false).mx, "new.a.test");
}

static void
test_alert_near_end(void **state UNUSED)
{
    look("a.test", false);
    world.stage = HTTPS_CONNECT;
    pass(5 * DAY);
    assert_int_equal(world.alerts, 0);
    pass(12 * HOUR);
    assert_int_equal(world.alerts, 1);
    assert_true(world.raised);
    assert_non_null(strstr(world.alert, "a.test ends in"));
    assert_non_null(strstr(world.alert, "connect: it went wrong"));
    world.stage = HTTPS_OK;
    pass(2 * HOUR);
    assert_int_equal(world.alerts, 2);
    assert_false(world.raised);
    pass(DAY);
    assert_int_equal(world.alerts, 2);
}

static void
test_alert_ends_with_policy(void **state UNUSED)
{
    look("a.test", false);
    world.dns = DNS_ERROR;
    pass(6 * DAY);
    assert_true(world.raised);
    assert_non_null(strstr(world.alert, "record: _mta-sts.a.test cannot"));
    pass(DAY + HOUR);
    assert_false(world.raised);
    assert_int_equal(look("a.test", false).state, STS_UNKNOWN);
}

/* A policy that nobody needs any more runs out in silence. */
static void
test_unused_runs_out(void **state UNUSED)
{
    look("a.test", false);
    world.cache->table.slots[0]->used -= STS_IN_USE_S;
    pass(8 * DAY);
    assert_int_equal(world.fetches, 1);
    assert_int_equal(world.alerts, 0);
    pass(8 * DAY);
    assert_null(sts_table_find(&world.cache->table, "a.test"));
}

/* --- Many at a time
 * ----------------------------------------------------------------------------
 */

static void
test_single_flight(void **state UNUSED)
{
    struct seen seen[20] = {0};

    world.hold = true;
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        sts_lookup(world.cache, i % 2 ? world.other : world.loop, "a.test",
                   i % 3 == 0, on_evidence, &seen[i]);
        settle();
    }
    release_held();
    settle();
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        assert_int_equal(seen[i].calls, 1);
        assert_int_equal(seen[i].state, STS_POLICY);
    }
    assert_int_equal(world.lookups, 1);
    assert_int_equal(world.fetches, 1);
}

static void
test_fetches_are_bounded(void **state UNUSED)
{
    struct seen seen[100] = {0};
    char domain[32];

    world.hold = true;
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        snprintf(domain, sizeof domain, "d%zu.test", i);
        sts_lookup(world.cache, world.other, domain, false, on_evidence,
                   &seen[i]);
    }
    settle();
    assert_int_equal(world.lookups, 100);
    assert_int_equal(world.open, STS_FETCHES);
    /* Nobody waits longer for a turn than a fetch may take. */
    pass(62);
    for (size_t i = STS_FETCHES; i < COUNT_OF(seen); i++) {
        assert_int_equal(seen[i].calls, 1);
        assert_string_equal(seen[i].reason,
                            "busy: too many policies are fetched");
    }
    release_held();
    settle();
    for (size_t i = 0; i < STS_FETCHES; i++)
        assert_int_equal(seen[i].state, STS_POLICY);
    assert_int_equal(world.most_open, STS_FETCHES);
    assert_int_equal(world.open, 0);
}

static void
test_turns(void **state UNUSED)
{
    struct seen seen[100] = {0};
    char domain[32];

    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        snprintf(domain, sizeof domain, "d%zu.test", i);
        sts_lookup(world.cache, world.other, domain, false, on_evidence,
                   &seen[i]);
    }
    for (int i = 0; i < 10; i++)
        settle();
    for (size_t i = 0; i < COUNT_OF(seen); i++)
        assert_int_equal(seen[i].state, STS_POLICY);
    assert_true(world.most_open <= STS_FETCHES);
}

static void
on_never(void *arg UNUSED, const struct sts_evidence *evidence UNUSED)
{
    fail_msg("an answer after the end");
}

/* Before it began, with the record, with the fetch, on the way back. */
static void
test_cancel(void **state UNUSED)
{
    struct sts_query *query;

    query =
        sts_lookup(world.cache, world.other, "a.test", false, on_never, NULL);
    sts_cancel(query);
    settle();
    world.hold = true;
    query =
        sts_lookup(world.cache, world.other, "b.test", false, on_never, NULL);
    settle();
    sts_cancel(query);
    release_held();
    settle();
    query =
        sts_lookup(world.cache, world.other, "c.test", false, on_never, NULL);
    for (int i = 0; i < 4; i++)
        loop_advance(world.loop, 0);
    sts_cancel(query);
    settle();
    query =
        sts_lookup(world.cache, world.other, "c.test", false, on_never, NULL);
    sts_cancel(query);
    settle();
    /* What they asked for is known all the same. */
    assert_true(look("a.test", false).cached);
    assert_true(look("b.test", false).cached);
    assert_true(look("c.test", false).cached);
}

static void
test_end_under_way(void **state UNUSED)
{
    struct rpc_call call = {.method = "sts.refresh",
                            .params = json_pack("{s:s}", "domain", "a.test")};

    world.hold = true;
    sts_request(world.cache, &call);
    settle();
    assert_null(call.result);
    restart();
    assert_non_null(call.result);
    json_decref(call.result);
    sts_request(world.cache, &call); /* not even begun */
    restart();
    assert_non_null(call.result);
    json_decref(call.result);
    json_decref(call.params);
}

static void
test_reload(void **state UNUSED)
{
    struct settings changed = world.settings;
    char bad[] = "bad", *authorities[1] = {bad};
    struct seen seen = {0};

    world.hold = true;
    sts_lookup(world.cache, world.other, "a.test", false, on_evidence, &seen);
    settle();
    assert_int_equal(world.fetches, 1);
    sts_cache_set(world.cache, &world.settings, NULL);
    assert_int_equal(world.fetches, 1);
    /* Under other rules it begins anew, … */
    changed.sts.allow_private_addresses = true;
    sts_cache_set(world.cache, &changed, NULL);
    assert_int_equal(world.fetches, 2);
    /* … and files that have gone leave it as it is. */
    changed.sts.allow_private_addresses = false;
    changed.sts.authorities = authorities;
    changed.sts.authority_count = 1;
    sts_cache_set(world.cache, &changed, NULL);
    release_held();
    settle();
    assert_int_equal(seen.state, STS_POLICY);
    sts_cache_set(world.cache, &world.settings, NULL);
}

static void
fill(size_t from, size_t to)
{
    char domain[32];

    for (size_t i = from; i < to; i++) {
        snprintf(domain, sizeof domain, "d%zu.test", i);
        look(domain, false);
    }
}

static void
test_longest_unused_go(void **state UNUSED)
{
    world.settings.sts.max_policies = 100;
    fill(0, 100);
    assert_int_equal(world.cache->table.kept.length, 100);
    json_decref(request("sts.pin", "d1.test").result);
    look("d0.test", false);
    fill(100, 110);
    assert_int_equal(world.cache->table.kept.length, 100);
    assert_non_null(sts_table_find(&world.cache->table, "d0.test"));
    assert_non_null(sts_table_find(&world.cache->table, "d1.test"));
    assert_null(sts_table_find(&world.cache->table, "d2.test"));
    assert_null(sts_table_find(&world.cache->table, "d11.test"));
    assert_non_null(sts_table_find(&world.cache->table, "d12.test"));
    restart();
    assert_int_equal(world.cache->table.kept.length, 100);
    assert_null(sts_table_find(&world.cache->table, "d2.test"));
}

/* --- On disk
 * ---------------------------------------------------------------------------------------
 */

static void
test_restart(void **state UNUSED)
{
    struct seen seen;

    look("a.test", false);
    world.policy = "version: STSv1\nmode: testing\nmx: *.b.test\nmx: c.test\n"
                   "max_age: 86400\n";
    look("b.test", false);
    world.dns = DNS_ERROR;
    restart();
    seen = look("a.test", false);
    assert_int_equal(seen.state, STS_POLICY);
    assert_int_equal(seen.mode, STS_MODE_ENFORCE);
    assert_string_equal(seen.id, "one");
    assert_true(seen.cached);
    seen = look("b.test", false);
    assert_int_equal(seen.mode, STS_MODE_TESTING);
    assert_string_equal(seen.mx, "*.b.test");
    /* Time goes on while nothing runs. */
    clock_advance_ms((uint64_t)2 * DAY * 1000);
    restart();
    assert_int_equal(look("b.test", false).state, STS_UNKNOWN);
    assert_int_equal(look("a.test", false).state, STS_POLICY);
}

static void
read_file(struct buf *bytes)
{
    char path[128];
    FILE *file;
    char *to;

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    file = fopen(path, "re");
    assert_non_null(file);
    to = buf_reserve(bytes, 1 << 20);
    buf_grew(bytes, fread(to, 1, 1 << 20, file));
    fclose(file);
}

static void
write_file(struct sv bytes)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, file), bytes.n);
    fclose(file);
}

/* Whatever is torn off or spoilt: the rest is there. */
static void
test_damage(void **state UNUSED)
{
    struct buf whole = {0};
    size_t n, most = 0;

    fill(0, 20);
    sts_cache_free(world.cache);
    settle();
    read_file(&whole);
    n = buf_length(&whole);
    for (size_t cut = 0; cut < n; cut += 37) {
        write_file(sv_slice(buf_view(&whole), 0, cut));
        open_cache();
        assert_in_range(world.cache->table.kept.length, most, most + 1);
        most = world.cache->table.kept.length;
        sts_cache_free(world.cache);
    }
    assert_in_range(most, 19, 20);
    for (size_t at = 0; at < n; at += 41) {
        write_file(buf_view(&whole));
        {
            struct buf spoilt = {0};

            buf_add(&spoilt, buf_view(&whole));
            spoilt.p[spoilt.start + at] ^= 0x10;
            write_file(buf_view(&spoilt));
            buf_fini(&spoilt);
        }
        open_cache();
        assert_in_range(world.cache->table.kept.length, 19, 20);
        sts_cache_free(world.cache);
        /* What was left has been written anew. */
        open_cache();
        assert_in_range(world.cache->table.kept.length, 19, 20);
        sts_cache_free(world.cache);
    }
    buf_fini(&whole);
    open_cache();
}

static uint64_t
file_size(void)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void
test_file_is_kept_small(void **state UNUSED)
{
    struct sts_entry *entry;
    size_t most = 0;

    fill(0, 50);
    entry = sts_table_find(&world.cache->table, "d0.test");
    for (int i = 0; i < 60000; i++) {
        pthread_mutex_lock(&world.cache->lock);
        sts_cache_save(world.cache, entry);
        pthread_mutex_unlock(&world.cache->lock);
        if (i % 2000 == 0) {
            assert_true(sts_file_sync(world.cache->file));
            if (file_size() > most)
                most = file_size();
        }
    }
    assert_true(sts_file_sync(world.cache->file));
    assert_in_range(most, 1 << 20, 6 << 20);
    restart();
    assert_int_equal(world.cache->table.kept.length, 50);
}

static void
test_unwritable(void **state UNUSED)
{
    struct err err = {0};
    struct sts_cache *other;
    char path[128];

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    sts_cache_free(world.cache);
    settle();
    remove(path);
    assert_int_equal(mkdir(path, 0700), 0);
    other = sts_cache_new(world.loop, &world.settings, NULL, &err);
    assert_null(other);
    assert_non_null(strstr(err.text, "policies"));
    rmdir(path);
    settle();
    open_cache();
}

/* --- The command line
 * -----------------------------------------------------------------------------------
 */

static void
test_show(void **state UNUSED)
{
    struct rpc_call call;
    json_t *fetches;

    call = request("sts.show", "a.test");
    assert_string_equal(call.error, "nothing is known of a.test");
    look("a.test", false);
    world.stage = HTTPS_TLS;
    for (int i = 0; i < 12; i++)
        json_decref(request("sts.refresh", "A.Test.").result);
    call = request("sts.show", "A.Test.");
    assert_string_equal(text(&call, "domain"), "a.test");
    assert_string_equal(text(&call, "state"), "policy");
    assert_string_equal(text(&call, "mode"), "enforce");
    assert_string_equal(text(&call, "reason"), "tls: it went wrong");
    assert_string_equal(text(&call, "fetched"), "2027-01-15T08:00:00Z");
    assert_string_equal(text(&call, "expires"), "2027-01-22T08:00:00Z");
    fetches = json_object_get(call.result, "fetches");
    assert_int_equal(json_array_size(fetches), STS_HISTORY);
    json_decref(call.result);
    call = request("sts.show", "not a domain");
    assert_string_equal(call.error, "\"not a domain\" is not a domain");
    call = request("sts.nonsense", "a.test");
    assert_non_null(strstr(call.error, "knows no call"));
}

static void
test_list(void **state UNUSED)
{
    struct rpc_call call;

    fill(0, 30);
    call = request("sts.list", NULL);
    assert_int_equal(call.items, 30);
    json_decref(call.result);
    call = (struct rpc_call){.method = "sts.list",
                             .params = json_pack("{s:i}", "limit", 7)};
    sts_request(world.cache, &call);
    assert_int_equal(call.items, 7);
    json_decref(call.result);
    json_decref(call.params);
}

static void
test_refresh_by_hand(void **state UNUSED)
{
    struct rpc_call call;

    world.stage = HTTPS_TLS;
    look("a.test", false);
    world.stage = HTTPS_OK;
    call = request("sts.refresh", "a.test"); /* no pause for it */
    assert_true(json_is_true(json_object_get(call.result, "renewed")));
    assert_string_equal(text(&call, "mode"), "enforce");
    json_decref(call.result);
    world.txt = NULL;
    call = request("sts.refresh", "a.test");
    assert_false(json_is_true(json_object_get(call.result, "renewed")));
    assert_string_equal(text(&call, "state"), "policy");
    json_decref(call.result);
}

static void
test_forget(void **state UNUSED)
{
    struct rpc_call call;

    look("a.test", false);
    call = request("sts.forget", "a.test");
    assert_non_null(call.result);
    json_decref(call.result);
    restart();
    call = request("sts.show", "a.test");
    assert_string_equal(call.error, "nothing is known of a.test");
    /* while it is fetched */
    world.hold = true;
    json_decref(request("sts.show", "a.test").result);
    {
        struct seen seen = {0};

        sts_lookup(world.cache, world.other, "a.test", false, on_evidence,
                   &seen);
        settle();
        json_decref(request("sts.forget", "a.test").result);
        release_held();
        settle();
        assert_int_equal(seen.calls, 1);
    }
}

static void
test_pin(void **state UNUSED)
{
    struct rpc_call call = request("sts.pin", "a.test");

    assert_string_equal(call.error, "no policy of a.test is in the cache");
    look("a.test", false);
    call = request("sts.pin", "a.test");
    assert_true(json_is_true(json_object_get(call.result, "pinned")));
    json_decref(call.result);
    restart();
    world.txt = "v=STSv1; id=two;";
    world.policy = "version: STSv1\nmode: none\nmax_age: 86400\n";
    pass(10 * DAY);
    assert_int_equal(look("a.test", true).state, STS_POLICY);
    assert_int_equal(world.fetches, 1);
    assert_int_equal(world.alerts, 0);
    call = (struct rpc_call){
        .method = "sts.pin",
        .params = json_pack("{s:s, s:b}", "domain", "a.test", "off", 1)};
    sts_request(world.cache, &call);
    assert_non_null(call.result);
    json_decref(call.result);
    json_decref(call.params);
    assert_int_equal(look("a.test", true).state, STS_ABSENT);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_warm),
        CASE(test_ttl_bounds_memory),
        CASE(test_absence_is_remembered),
        CASE(test_fresh_asks_again),
        CASE(test_record_vanishes),
        CASE(test_failed_fetch_keeps),
        CASE(test_pause_without_policy),
        CASE(test_age_of_zero),
        CASE(test_none_ends_it),
        CASE(test_refreshed_daily),
        CASE(test_refresh_sees_change),
        CASE(test_alert_near_end),
        CASE(test_alert_ends_with_policy),
        CASE(test_unused_runs_out),
        CASE(test_single_flight),
        CASE(test_fetches_are_bounded),
        CASE(test_turns),
        CASE(test_cancel),
        CASE(test_end_under_way),
        CASE(test_reload),
        CASE(test_longest_unused_go),
        CASE(test_restart),
        CASE(test_damage),
        CASE(test_file_is_kept_small),
        CASE(test_unwritable),
        CASE(test_show),
        CASE(test_list),
        CASE(test_refresh_by_hand),
        CASE(test_forget),
        CASE(test_pin),
    };

    return RUN_ROWS("first", test_first, first_rows) +
           cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
