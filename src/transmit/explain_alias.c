/* The state of each alias by itself, which only matters to people: a signed
 * alias into an unsigned zone shows as insecure in the answer as a whole. */
#include "transmit/explain_internal.h"

struct alias_trace {
    struct question *question;
    struct dns_trace *trace; /* running, or NULL */
    json_t *lookup;          /* of the route's trace; reference */
};

static void
finish(struct question *q)
{
    if (--q->pending == 0)
        q->on_aliases(q);
}

static void
on_answer(void *arg, const struct dns_answer *answer)
{
    struct alias_trace *alias = arg;
    json_t *list = json_object_get(alias->lookup, "aliases");

    alias->trace = NULL;
    for (size_t i = 0; i < answer->alias_count &&
                       answer->alias_count == json_array_size(list);
         i++)
        json_object_set_new(
            json_array_get(list, i), "state",
            json_string(dns_state_name(answer->aliases[i].state)));
    finish(alias->question);
}

static enum dns_type
type_of(const json_t *lookup)
{
    const char *type = json_string_value(json_object_get(lookup, "type"));

    if (strcmp(type, "MX") == 0)
        return DNS_MX;
    return strcmp(type, "A") == 0 ? DNS_A : DNS_AAAA;
}

static bool
is_unclear(const json_t *lookup)
{
    const char *state = json_string_value(json_object_get(lookup, "state"));

    return json_array_size(json_object_get(lookup, "aliases")) > 0 &&
           strcmp(state, dns_state_name(DNS_SECURE)) != 0;
}

void
explain_find_aliases(struct question *q, void (*then)(struct question *q))
{
    json_t *lookups = json_object_get(q->route->trace, "lookups");
    json_t *lookup;
    size_t i;

    q->on_aliases = then;
    q->pending = 1;
    q->aliases =
        mem_alloc_array(json_array_size(lookups) + 1, sizeof *q->aliases);
    json_array_foreach(lookups, i, lookup)
    {
        struct alias_trace *alias = &q->aliases[q->alias_count];

        if (!is_unclear(lookup))
            continue;
        q->alias_count++;
        q->pending++;
        alias->question = q;
        alias->lookup = json_incref(lookup);
        alias->trace =
            dns_trace(q->revision->resolver, q->explainer->loop,
                      json_string_value(json_object_get(lookup, "name")),
                      type_of(lookup), on_answer, alias);
    }
    finish(q);
}

void
explain_drop_aliases(struct question *q)
{
    for (size_t i = 0; i < q->alias_count; i++) {
        if (q->aliases[i].trace != NULL)
            dns_trace_cancel(q->aliases[i].trace);
        json_decref(q->aliases[i].lookup);
    }
    mem_free(q->aliases);
}
