/* One look-up.  Three parties may end it: libunbound with an answer (on the
 * resolver's loop), the time-out and the owner's dns_cancel() (both on the
 * owner's loop).  `lock` decides who was first; the struct goes when neither
 * libunbound nor the owner's loop can reach it any more. */
#include "base/clock.h"
#include "dns/dns_internal.h"

struct dns_query {
    struct dns_resolver *resolver; /* reference */
    struct loop *loop;             /* the owner's */
    void (*on_answer)(void *arg, const struct dns_answer *answer);
    void *arg;
    pthread_mutex_t lock;
    int async_id;
    bool with_unbound;        /* its callback will still come */
    bool with_owner;          /* the owner still wants the answer */
    bool posted;              /* task is on its way to the owner's loop */
    int error;                /* of libunbound */
    struct ub_result *result; /* owned */
    struct task task;
    struct timer timer;
    enum dns_type type;
    uint64_t begun; /* us on the monotonic clock */
    char name[256];
};

/* Called with the lock held; releases it. */
static void
release(struct dns_query *query)
{
    bool used = query->with_unbound || query->with_owner || query->posted;

    pthread_mutex_unlock(&query->lock);
    if (used)
        return;
    ub_resolve_free(query->result);
    dns_resolver_unref(query->resolver);
    pthread_mutex_destroy(&query->lock);
    mem_free(query);
}

static void
canonical_name(const char *from, char *to, size_t size)
{
    size_t n = strlen(from);

    if (n > 0 && from[n - 1] == '.')
        n--;
    if (n >= size)
        n = size - 1;
    sv_lower_into((struct sv){from, n}, to);
    to[n] = '\0';
}

static void
set_reason(struct dns_answer *answer, enum dns_state state, const char *text)
{
    answer->state = state;
    snprintf(answer->reason, sizeof answer->reason, "%s", text);
}

static const char *
rcode_text(int rcode)
{
    static const char *const names[] = {
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
    };

    if (rcode < 0 || (size_t)rcode >= COUNT_OF(names))
        return "unexpected response code";
    return names[rcode];
}

static void
read_records(const struct ub_result *result, struct dns_record *records,
             struct dns_answer *answer)
{
    size_t n = 0;

    for (; n < DNS_RECORDS_MAX && result->data[n] != NULL; n++)
        records[n] = (struct dns_record){
            .data = (const uint8_t *)result->data[n],
            .length = (size_t)result->len[n],
        };
    answer->records = records;
    answer->record_count = n;
}

static void
read_aliases(const struct ub_result *result, const char *name,
             struct dns_alias *aliases, struct dns_answer *answer)
{
    char start[256];
    size_t count = 0;

    canonical_name(name, start, sizeof start);
    if (result->answer_packet == NULL || result->answer_len <= 0)
        return;
    if (!dns_packet_aliases(result->answer_packet, (size_t)result->answer_len,
                            start, aliases, &count)) {
        set_reason(answer, DNS_ERROR,
                   "the chain of aliases is too long, circular or malformed");
        return;
    }
    for (size_t i = 0; i < count; i++)
        aliases[i].state = result->secure ? DNS_SECURE : DNS_INSECURE;
    answer->aliases = aliases;
    answer->alias_count = count;
}

static void
read_result(const struct ub_result *result, struct dns_record *records,
            struct dns_answer *answer)
{
    answer->ttl = (uint32_t)result->ttl;
    if (result->canonname != NULL)
        canonical_name(result->canonname, answer->name, sizeof answer->name);
    if (result->bogus) {
        set_reason(answer, DNS_BOGUS,
                   result->why_bogus != NULL ? result->why_bogus : "bogus");
    } else if (result->nxdomain || (result->rcode == 0 && !result->havedata)) {
        answer->state = DNS_ABSENT;
        answer->nxdomain = result->nxdomain;
        answer->secure_denial = result->secure;
    } else if (result->rcode != 0) {
        set_reason(answer, DNS_ERROR, rcode_text(result->rcode));
    } else {
        answer->state = result->secure ? DNS_SECURE : DNS_INSECURE;
        read_records(result, records, answer);
    }
}

/* There is a result. */
static void
read_all(const struct dns_query *query, struct dns_record *records,
         struct dns_alias *aliases, struct dns_answer *answer)
{
    const struct ub_result *result = query->result;

    read_result(result, records, answer);
    /* Who asks for an alias has it in the records. */
    if (answer->state != DNS_ERROR && answer->state != DNS_BOGUS &&
        query->type != DNS_CNAME)
        read_aliases(result, query->name, aliases, answer);
}

/* Tells the owner; error_text: there is no result because of this. */
static void
tell(struct dns_query *query, const char *error_text, bool timed_out)
{
    struct dns_record records[DNS_RECORDS_MAX];
    struct dns_alias aliases[DNS_ALIASES_MAX];
    struct dns_answer answer = {.state = DNS_ERROR};

    timer_disarm(&query->timer);
    timer_fini(&query->timer);
    canonical_name(query->name, answer.name, sizeof answer.name);
    if (error_text != NULL)
        set_reason(&answer, DNS_ERROR, error_text);
    else
        read_all(query, records, aliases, &answer);
    answer.timed_out = timed_out;
    dns_count(query->type, answer.state, timed_out,
              clock_mono_us() - query->begun);
    query->on_answer(query->arg, &answer);
}

/* The owner is told (or has cancelled) on its loop; only there with_owner
 * changes. */
static void
run_answer(struct task *task)
{
    struct dns_query *query = CONTAINER_OF(task, struct dns_query, task);

    if (query->with_owner)
        tell(query,
             query->error != 0 || query->result == NULL
                 ? ub_strerror(query->error)
                 : NULL,
             false);
    pthread_mutex_lock(&query->lock);
    query->with_owner = false;
    query->posted = false;
    release(query);
}

static void
on_result(void *arg, int error, struct ub_result *result)
{
    struct dns_query *query = arg;

    pthread_mutex_lock(&query->lock);
    query->with_unbound = false;
    query->error = error;
    query->result = result;
    if (query->with_owner) {
        query->posted = true;
        loop_post(query->loop, &query->task);
    }
    release(query);
}

/* Takes the query back from libunbound where it has not answered yet. */
static void
abandon(struct dns_query *query)
{
    pthread_mutex_lock(&query->lock);
    query->with_owner = false;
    if (query->with_unbound) {
        int id = query->async_id;

        /* Not under the lock: libunbound has its own, and its callback takes
         * ours.  Our posted mark keeps the struct meanwhile. */
        query->posted = true;
        pthread_mutex_unlock(&query->lock);
        bool taken = ub_cancel(query->resolver->ub, id) == 0;
        pthread_mutex_lock(&query->lock);
        query->posted = false;
        if (taken)
            query->with_unbound = false;
    }
    release(query);
}

static void
on_timeout(struct timer *timer)
{
    struct dns_query *query = CONTAINER_OF(timer, struct dns_query, timer);
    bool answered;

    pthread_mutex_lock(&query->lock);
    answered = query->posted; /* in the same moment */
    pthread_mutex_unlock(&query->lock);
    if (answered)
        return;
    tell(query, "timed out", true);
    abandon(query);
}

void
dns_cancel(struct dns_query *query)
{
    timer_disarm(&query->timer);
    timer_fini(&query->timer);
    abandon(query);
}

static struct dns_query *
query_new(struct dns_resolver *resolver, struct loop *loop, const char *name,
          enum dns_type type,
          void (*on_answer)(void *arg, const struct dns_answer *answer),
          void *arg)
{
    struct dns_query *query = mem_alloc(sizeof *query);

    query->resolver = dns_resolver_ref(resolver);
    query->loop = loop;
    query->on_answer = on_answer;
    query->arg = arg;
    query->task.run = run_answer;
    query->with_owner = true;
    query->type = type;
    query->begun = clock_mono_us();
    snprintf(query->name, sizeof query->name, "%s", name);
    pthread_mutex_init(&query->lock, NULL);
    timer_init(&query->timer, loop, on_timeout);
    timer_arm(&query->timer, resolver->timeout_ms);
    return query;
}

static struct dns_query *
query_start(struct dns_query *query)
{
    int error;

    /* The answer may come on the other thread before the id is known. */
    pthread_mutex_lock(&query->lock);
    query->with_unbound = true;
    error = ub_resolve_async(query->resolver->ub, query->name, (int)query->type,
                             1, query, on_result, &query->async_id);
    if (error != 0) {
        query->with_unbound = false;
        query->error = error;
        query->posted = true;
        loop_post(query->loop, &query->task);
    }
    pthread_mutex_unlock(&query->lock);
    return query;
}

struct dns_query *
dns_lookup(struct dns_resolver *resolver, struct loop *loop, const char *name,
           enum dns_type type,
           void (*on_answer)(void *arg, const struct dns_answer *answer),
           void *arg)
{
    return query_start(query_new(resolver, loop, name, type, on_answer, arg));
}
