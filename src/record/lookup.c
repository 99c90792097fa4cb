#include "record/lookup.h"

struct lookup {
    struct dns_query *query;
    void (*on_result)(void *arg, const struct lookup_result *result);
    void *arg;
    struct arena arena;
};

static void
lookup_free(struct lookup *lookup)
{
    arena_fini(&lookup->arena);
    mem_free(lookup);
}

/* Malformed data is no record of ours. */
static size_t
take_texts(const struct dns_answer *answer, struct arena *arena,
           struct sv *texts)
{
    enum { TEXT_MAX = 4096 };
    char room[TEXT_MAX];
    size_t count = 0;

    for (size_t i = 0; i < answer->record_count; i++) {
        struct sv text;

        if (dns_txt_parse(&answer->records[i], room, sizeof room, &text))
            texts[count++] = arena_copy(arena, text);
    }
    return count;
}

static void
read_records(struct lookup *lookup, const struct dns_answer *answer,
             struct lookup_result *result)
{
    struct sv texts[DNS_RECORDS_MAX];
    size_t count = take_texts(answer, &lookup->arena, texts);
    struct err err = {0};

    if (!tlsrpt_record_choose(texts, count, &lookup->arena, &result->record,
                              &err)) {
        snprintf(result->reason, sizeof result->reason, "%.290s", err.text);
        return;
    }
    if (result->record.target_count == 0) {
        snprintf(result->reason, sizeof result->reason,
                 "the record names no address of a scheme that is known");
        return;
    }
    result->outcome = LOOKUP_FOUND;
    for (size_t i = 0; i < count; i++)
        if (tlsrpt_record_is(texts[i]))
            result->text = arena_cstr(&lookup->arena, texts[i]);
}

static void
on_answer(void *arg, const struct dns_answer *answer)
{
    struct lookup *lookup = arg;
    struct lookup_result result = {.outcome = LOOKUP_NONE, .text = ""};

    switch (answer->state) {
    case DNS_SECURE:
    case DNS_INSECURE:
        read_records(lookup, answer, &result);
        break;
    case DNS_ABSENT:
        snprintf(result.reason, sizeof result.reason,
                 "there is no record of TLS reporting");
        break;
    case DNS_BOGUS:
    case DNS_ERROR:
        result.outcome = LOOKUP_FAILED;
        snprintf(result.reason, sizeof result.reason, "DNS: %s: %s",
                 dns_state_name(answer->state), answer->reason);
        break;
    }
    lookup->on_result(lookup->arg, &result);
    lookup_free(lookup);
}

struct lookup *
lookup_start(struct dns_resolver *resolver, struct loop *loop,
             const char *domain,
             void (*on_result)(void *arg, const struct lookup_result *result),
             void *arg)
{
    struct lookup *lookup = mem_alloc(sizeof *lookup);
    char name[300];

    arena_init(&lookup->arena, 4096);
    lookup->on_result = on_result;
    lookup->arg = arg;
    snprintf(name, sizeof name, "_smtp._tls.%s", domain);
    lookup->query =
        dns_lookup(resolver, loop, name, DNS_TXT, on_answer, lookup);
    return lookup;
}

void
lookup_cancel(struct lookup *lookup)
{
    dns_cancel(lookup->query);
    lookup_free(lookup);
}
