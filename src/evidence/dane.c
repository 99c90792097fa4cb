/* RFC 7672 section 2.2, as a way through three steps:
 *
 *   1. A and AAAA of the host.  Secure: step 3, with the expanded name first
 *      where the host is an alias.
 *   2. Insecure, and an alias: the alias record by itself.  Secure: step 3 with
 *      the host's own name.  Anything else is the end: name servers of unsigned
 *      zones often fail when asked for TLSA records, so they are not asked.
 *   3. TLSA of each base in turn, until one has some.
 *
 * Whatever is bogus or without an answer ends it as FAILED: who could block or
 * forge an answer must not switch DANE off by it. */
#include "evidence/dane.h"
#include "evidence/dane_count.h"
#include <stdatomic.h>

enum { TEXT = 256 };

struct family {
    struct dane_query *owner;
    struct dns_query *query; /* NULL: not under way */
    const char *label;       /* "A" */
    bool answered, alias;
    enum dns_state state; /* SECURE also for a proven absence */
    char name[TEXT];      /* expanded */
    char reason[160];
    uint32_t ttl;
};

struct dane_query {
    struct dns_resolver *resolver; /* reference */
    struct loop *loop;
    void (*on_evidence)(void *arg, struct dane_evidence *evidence);
    void *arg;
    char host[TEXT];
    uint16_t port;
    bool mx_secure;
    uint32_t ttl; /* the least of what was used */
    struct family a, aaaa;
    struct dns_query *query; /* of step 2 or 3; NULL: not under way */
    char bases[2][TEXT];     /* TLSA base domains, the first preferred */
    size_t base_count, base_at;
    bool unsigned_records; /* a base had TLSA records without signature */
};

struct shared {
    atomic_size_t references;
    struct tls_tlsa *tlsa; /* owned */
    uint8_t *data;         /* owned: behind tlsa */
    struct dane_evidence evidence;
};

static const char *const state_names[] = {
    [DANE_OFF] = "off",       [DANE_INSECURE] = "insecure",
    [DANE_ABSENT] = "absent", [DANE_UNUSABLE] = "unusable",
    [DANE_USABLE] = "usable", [DANE_FAILED] = "failed",
};

const char *
dane_state_name(enum dane_state state)
{
    return state_names[state];
}

/* --- Evidence --------------------------------------------------------- */

static struct shared *
shared_of(struct dane_evidence *evidence)
{
    return CONTAINER_OF(evidence, struct shared, evidence);
}

struct dane_evidence *
dane_evidence_ref(struct dane_evidence *evidence)
{
    atomic_fetch_add(&shared_of(evidence)->references, 1);
    return evidence;
}

void
dane_evidence_unref(struct dane_evidence *evidence)
{
    struct shared *shared;

    if (evidence == NULL)
        return;
    shared = shared_of(evidence);
    if (atomic_fetch_sub(&shared->references, 1) != 1)
        return;
    mem_free(shared->tlsa);
    mem_free(shared->data);
    mem_free(shared);
}

static struct dane_evidence *
evidence_new(const struct dane_query *query, enum dane_state state)
{
    struct shared *shared = mem_alloc(sizeof *shared);
    struct dane_evidence *evidence = &shared->evidence;

    atomic_init(&shared->references, 1);
    evidence->state = state;
    evidence->mx_secure = query->mx_secure;
    evidence->ttl = query->ttl == UINT32_MAX ? 0 : query->ttl;
    snprintf(evidence->host, sizeof evidence->host, "%s", query->host);
    return evidence;
}

/* --- The end ---------------------------------------------------------- */

static void
query_free(struct dane_query *query)
{
    dns_resolver_unref(query->resolver);
    mem_free(query);
}

static void
finish(struct dane_query *query, struct dane_evidence *evidence)
{
    dane_count_lookup(evidence->state);
    query->on_evidence(query->arg, evidence);
    query_free(query);
}

static void PRINTF_LIKE(3, 4)
    finish_because(struct dane_query *query, enum dane_state state,
                   const char *fmt, ...)
{
    struct dane_evidence *evidence = evidence_new(query, state);
    va_list args;

    va_start(args, fmt);
    vsnprintf(evidence->reason, sizeof evidence->reason, fmt, args);
    va_end(args);
    if (query->base_count > 0)
        snprintf(evidence->base, sizeof evidence->base, "%s",
                 query->bases[query->base_count - 1]);
    finish(query, evidence);
}

/* --- Step 3: TLSA ----------------------------------------------------- */

/* Copies the records, which live as long as the answer.  Those that are too
 * short to be any (RFC 6698 section 2.1) are not kept; how many were usable. */
static size_t
take_records(const struct dns_answer *answer, struct shared *shared)
{
    size_t total = 0, usable = 0;

    for (size_t i = 0; i < answer->record_count; i++)
        total += answer->records[i].length;
    shared->data = mem_alloc(total);
    shared->tlsa = mem_alloc_array(answer->record_count, sizeof *shared->tlsa);
    total = 0;
    for (size_t i = 0; i < answer->record_count; i++) {
        const struct dns_record *record = &answer->records[i];
        struct tls_tlsa *tlsa = &shared->tlsa[shared->evidence.tlsa_count];

        if (!tls_tlsa_parse(record->data, record->length, tlsa))
            continue;
        memcpy(shared->data + total, tlsa->data, tlsa->length);
        tlsa->data = shared->data + total;
        total += tlsa->length;
        usable += tls_tlsa_problem(tlsa) == NULL;
        shared->evidence.tlsa_count++;
    }
    shared->evidence.tlsa = shared->tlsa;
    return usable;
}

static void
finish_with_records(struct dane_query *query, const struct dns_answer *answer)
{
    struct dane_evidence *evidence = evidence_new(query, DANE_USABLE);
    size_t usable = take_records(answer, shared_of(evidence));

    snprintf(evidence->base, sizeof evidence->base, "%s",
             query->bases[query->base_at]);
    if (usable == 0) {
        const char *why = evidence->tlsa_count > 0
                              ? tls_tlsa_problem(&evidence->tlsa[0])
                              : "too short to be a TLSA record";

        evidence->state = DANE_UNUSABLE;
        snprintf(evidence->reason, sizeof evidence->reason,
                 "none of the %zu TLSA records is usable: %s",
                 answer->record_count, why);
    }
    finish(query, evidence);
}

static void look_up_tlsa(struct dane_query *query);

static void
next_base(struct dane_query *query)
{
    if (++query->base_at < query->base_count)
        look_up_tlsa(query);
    else if (query->unsigned_records)
        finish_because(query, DANE_INSECURE, "the TLSA records are not signed");
    else
        finish_because(query, DANE_ABSENT, "there are no TLSA records");
}

static void
on_tlsa(void *arg, const struct dns_answer *answer)
{
    struct dane_query *query = arg;

    query->query = NULL;
    if (answer->ttl < query->ttl)
        query->ttl = answer->ttl;
    switch (answer->state) {
    case DNS_SECURE:
        finish_with_records(query, answer);
        break;
    case DNS_INSECURE: /* by an alias into an unsigned zone */
        query->unsigned_records = true;
        next_base(query);
        break;
    case DNS_ABSENT:
        next_base(query);
        break;
    case DNS_BOGUS:
    case DNS_ERROR:
        finish_because(query, DANE_FAILED, "TLSA of _%u._tcp.%.60s: %s",
                       query->port, query->bases[query->base_at],
                       answer->reason);
        break;
    }
}

static void
look_up_tlsa(struct dane_query *query)
{
    char name[TEXT + 16];

    snprintf(name, sizeof name, "_%u._tcp.%s", query->port,
             query->bases[query->base_at]);
    query->query = dns_lookup(query->resolver, query->loop, name, DNS_TLSA,
                              on_tlsa, query);
}

static void
add_base(struct dane_query *query, const char *name)
{
    if (query->base_count > 0 && strcmp(query->bases[0], name) == 0)
        return;
    snprintf(query->bases[query->base_count++], TEXT, "%s", name);
}

/* --- Step 2: the alias by itself -------------------------------------- */

static void
on_alias(void *arg, const struct dns_answer *answer)
{
    struct dane_query *query = arg;

    query->query = NULL;
    if (answer->ttl < query->ttl)
        query->ttl = answer->ttl;
    if (answer->state == DNS_SECURE) {
        add_base(query, query->host);
        look_up_tlsa(query);
    } else if (answer->state == DNS_BOGUS || answer->state == DNS_ERROR) {
        finish_because(query, DANE_FAILED, "alias %.60s: %s", query->host,
                       answer->reason);
    } else {
        finish_because(query, DANE_INSECURE,
                       "neither the server's name nor its addresses are "
                       "signed");
    }
}

/* --- Step 1: addresses ------------------------------------------------ */

static const struct family *
family_in(const struct dane_query *query, enum dns_state state)
{
    if (query->a.state == state)
        return &query->a;
    return query->aaaa.state == state ? &query->aaaa : NULL;
}

static void
go_on_secure(struct dane_query *query, const struct family *family)
{
    if (family->alias)
        add_base(query, family->name);
    add_base(query, query->host);
    look_up_tlsa(query);
}

/* One family is enough (RFC 7672 section 2.2.2): the zone of the other is the
 * same. */
static void
judge_addresses(struct dane_query *query)
{
    const struct family *secure = family_in(query, DNS_SECURE);
    const struct family *bogus = family_in(query, DNS_BOGUS);
    const struct family *insecure = family_in(query, DNS_INSECURE);
    const struct family *error = family_in(query, DNS_ERROR);

    if (secure != NULL)
        go_on_secure(query, secure);
    else if (bogus != NULL || (insecure == NULL && error != NULL))
        finish_because(query, DANE_FAILED, "%s of %.60s: %s",
                       bogus != NULL ? bogus->label : error->label, query->host,
                       bogus != NULL ? bogus->reason : error->reason);
    else if (query->a.alias || query->aaaa.alias)
        query->query = dns_lookup(query->resolver, query->loop, query->host,
                                  DNS_CNAME, on_alias, query);
    else
        finish_because(query, DANE_INSECURE,
                       "the server's addresses are not signed");
}

static void
on_addresses(void *arg, const struct dns_answer *answer)
{
    struct family *family = arg;
    struct dane_query *query = family->owner;

    family->query = NULL;
    family->answered = true;
    family->alias = answer->alias_count > 0;
    family->state = answer->state;
    if (answer->state == DNS_ABSENT)
        family->state = answer->secure_denial ? DNS_SECURE : DNS_INSECURE;
    snprintf(family->name, sizeof family->name, "%s", answer->name);
    snprintf(family->reason, sizeof family->reason, "%s", answer->reason);
    if (answer->ttl < query->ttl)
        query->ttl = answer->ttl;
    if (query->a.answered && query->aaaa.answered)
        judge_addresses(query);
}

static void
look_up_family(struct dane_query *query, struct family *family,
               enum dns_type type, const char *label)
{
    family->owner = query;
    family->label = label;
    family->query = dns_lookup(query->resolver, query->loop, query->host, type,
                               on_addresses, family);
}

struct dane_query *
dane_lookup(struct dns_resolver *resolver, struct loop *loop, const char *host,
            uint16_t port, enum dns_state mx_state,
            void (*on_evidence)(void *arg, struct dane_evidence *evidence),
            void *arg)
{
    struct dane_query *query = mem_alloc(sizeof *query);

    query->resolver = dns_resolver_ref(resolver);
    query->loop = loop;
    query->on_evidence = on_evidence;
    query->arg = arg;
    query->port = port;
    query->mx_secure = mx_state == DNS_SECURE;
    query->ttl = UINT32_MAX;
    snprintf(query->host, sizeof query->host, "%s", host);
    look_up_family(query, &query->a, DNS_A, "A");
    look_up_family(query, &query->aaaa, DNS_AAAA, "AAAA");
    return query;
}

void
dane_cancel(struct dane_query *query)
{
    struct dns_query *running[] = {query->a.query, query->aaaa.query,
                                   query->query};

    for (size_t i = 0; i < COUNT_OF(running); i++)
        if (running[i] != NULL)
            dns_cancel(running[i]);
    query_free(query);
}
