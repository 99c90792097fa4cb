#include "evidence/sts.h"

struct sts_cache {
    struct loop *loop;
};

struct sts_query {
    struct task task;
    void (*on_evidence)(void *arg, const struct sts_evidence *evidence);
    void *arg;
    bool cancelled;
};

const char *
sts_state_name(enum sts_state state)
{
    static const char *const names[] = {"absent", "policy", "unknown",
                                        "unfetched", "off"};

    return names[state];
}

struct sts_cache *
sts_cache_new(struct loop *loop, struct settings *settings UNUSED,
              struct dns_resolver *resolver UNUSED, struct err *err UNUSED)
{
    struct sts_cache *cache = mem_alloc(sizeof *cache);

    cache->loop = loop;
    return cache;
}

void
sts_cache_set(struct sts_cache *cache UNUSED, struct settings *settings UNUSED,
              struct dns_resolver *resolver UNUSED)
{
}

void
sts_cache_on_alert(struct sts_cache *cache UNUSED,
                   void (*on_alert)(void *arg, const char *key, bool raised,
                                    const char *text) UNUSED,
                   void *arg UNUSED)
{
}

void
sts_cache_free(struct sts_cache *cache)
{
    mem_free(cache);
}

static void
run_answer(struct task *task)
{
    struct sts_query *query = CONTAINER_OF(task, struct sts_query, task);
    struct sts_evidence evidence = {.state = STS_ABSENT};

    if (!query->cancelled)
        query->on_evidence(query->arg, &evidence);
    mem_free(query);
}

struct sts_query *
sts_lookup(struct sts_cache *cache UNUSED, struct loop *loop,
           const char *domain UNUSED, bool fresh UNUSED,
           void (*on_evidence)(void *arg, const struct sts_evidence *evidence),
           void *arg)
{
    struct sts_query *query = mem_alloc(sizeof *query);

    query->task.run = run_answer;
    query->on_evidence = on_evidence;
    query->arg = arg;
    loop_post(loop, &query->task);
    return query;
}

void
sts_cancel(struct sts_query *query)
{
    query->cancelled = true;
}

bool
sts_peek(struct sts_cache *cache UNUSED, const char *domain UNUSED,
         struct sts_evidence *evidence)
{
    *evidence = (struct sts_evidence){.state = STS_ABSENT};
    return false;
}

void
sts_request(struct sts_cache *cache UNUSED, struct rpc_call *call)
{
    rpc_error(call, "the sender knows no call %s", rpc_method(call));
}
