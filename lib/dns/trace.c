/* A look-up with the state of every alias on the way.  libunbound says how far
 * the whole of an answer can be trusted, so where that is not "secure" each
 * alias is asked for by itself, all at once; mostly they are in the cache. */
#include "dns/dns.h"

struct hop {
    struct dns_trace *trace;
    struct dns_query *query; /* NULL: not under way */
};

struct dns_trace {
    struct dns_resolver *resolver; /* reference */
    struct loop *loop;
    void (*on_answer)(void *arg, const struct dns_answer *answer);
    void *arg;
    struct dns_query *query; /* the first; NULL: answered */
    struct hop hops[DNS_ALIASES_MAX];
    size_t pending;
    /* A copy, with the data behind the records. */
    struct dns_answer answer;
    struct dns_record records[DNS_RECORDS_MAX];
    struct dns_alias aliases[DNS_ALIASES_MAX];
    uint8_t *data; /* owned */
};

static void
trace_free(struct dns_trace *trace)
{
    dns_resolver_unref(trace->resolver);
    mem_free(trace->data);
    mem_free(trace);
}

static void
keep(struct dns_trace *trace, const struct dns_answer *answer)
{
    size_t total = 0;

    trace->answer = *answer;
    for (size_t i = 0; i < answer->record_count; i++)
        total += answer->records[i].length;
    trace->data = mem_alloc(total);
    total = 0;
    for (size_t i = 0; i < answer->record_count; i++) {
        const struct dns_record *from = &answer->records[i];

        trace->records[i] =
            (struct dns_record){trace->data + total, from->length};
        if (from->length > 0)
            memcpy(trace->data + total, from->data, from->length);
        total += from->length;
    }
    if (answer->alias_count > 0)
        memcpy(trace->aliases, answer->aliases,
               answer->alias_count * sizeof *answer->aliases);
    trace->answer.records = trace->records;
    trace->answer.aliases = trace->aliases;
}

static void
on_hop(void *arg, const struct dns_answer *answer)
{
    struct hop *hop = arg;
    struct dns_trace *trace = hop->trace;

    hop->query = NULL;
    trace->aliases[hop - trace->hops].state = answer->state;
    if (--trace->pending > 0)
        return;
    trace->on_answer(trace->arg, &trace->answer);
    trace_free(trace);
}

static void
on_first(void *arg, const struct dns_answer *answer)
{
    struct dns_trace *trace = arg;

    trace->query = NULL;
    if (answer->alias_count == 0 || answer->aliases[0].state == DNS_SECURE) {
        trace->on_answer(trace->arg, answer);
        trace_free(trace);
        return;
    }
    keep(trace, answer);
    trace->pending = answer->alias_count;
    for (size_t i = 0; i < answer->alias_count; i++) {
        struct hop *hop = &trace->hops[i];

        hop->trace = trace;
        hop->query = dns_lookup(trace->resolver, trace->loop,
                                trace->aliases[i].name, DNS_CNAME, on_hop, hop);
    }
}

struct dns_trace *
dns_trace(struct dns_resolver *resolver, struct loop *loop, const char *name,
          enum dns_type type,
          void (*on_answer)(void *arg, const struct dns_answer *answer),
          void *arg)
{
    struct dns_trace *trace = mem_alloc(sizeof *trace);

    trace->resolver = dns_resolver_ref(resolver);
    trace->loop = loop;
    trace->on_answer = on_answer;
    trace->arg = arg;
    trace->query = dns_lookup(resolver, loop, name, type, on_first, trace);
    return trace;
}

void
dns_trace_cancel(struct dns_trace *trace)
{
    if (trace->query != NULL)
        dns_cancel(trace->query);
    for (size_t i = 0; i < COUNT_OF(trace->hops); i++)
        if (trace->hops[i].query != NULL)
            dns_cancel(trace->hops[i].query);
    trace_free(trace);
}
