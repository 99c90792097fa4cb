/* What the answers to the two test names are taken for.  The answers are given
 * here: this file plays the resolver. */
#include "dns/validation.h"
#include "net/loop.h"
#include "unit.h"

enum { NONE = -1 }; /* the name is not tested */

struct row {
    const char *name;
    int good, bad; /* enum dns_state, or NONE */
    bool denial;   /* ABSENT is proven */
    const char *want, *words;
};

static const struct row *row;
static char told[400];

struct dns_query {
    void (*on_answer)(void *arg, const struct dns_answer *answer);
    void *arg;
    struct dns_answer answer;
};
static struct dns_query asked[2];
static size_t asked_count;

struct dns_query *
dns_lookup(struct dns_resolver *resolver, struct loop *loop, const char *name,
           enum dns_type type,
           void (*on_answer)(void *arg, const struct dns_answer *answer),
           void *arg)
{
    struct dns_query *query = &asked[asked_count++];
    int state = strcmp(name, "good") == 0 ? row->good : row->bad;

    (void)resolver;
    (void)loop;
    assert_int_equal(type, DNS_SOA);
    query->on_answer = on_answer;
    query->arg = arg;
    query->answer = (struct dns_answer){.state = (enum dns_state)state,
                                        .secure_denial = row->denial,
                                        .reason = "because"};
    return query;
}

void
dns_cancel(struct dns_query *query)
{
    (void)query;
    fail();
}

struct dns_resolver *
dns_resolver_ref(struct dns_resolver *resolver)
{
    return resolver;
}

void
dns_resolver_unref(struct dns_resolver *resolver)
{
    (void)resolver;
}

static void
on_result(void *arg, enum dns_validation_state state, const char *text)
{
    (void)arg;
    (void)state;
    snprintf(told, sizeof told, "%s", text);
}

static void
check(void **state)
{
    struct loop *loop = loop_new_manual(1000, 1000000);
    struct dns_validation_options options = {.loop = loop,
                                             .on_result = on_result};
    struct dns_validation *v;

    row = *state;
    options.signed_name = row->good == NONE ? "" : "good";
    options.bogus_name = row->bad == NONE ? "" : "bad";
    asked_count = 0;
    v = dns_validation_new(NULL, &options);
    for (size_t i = 0; i < asked_count; i++)
        asked[i].on_answer(asked[i].arg, &asked[i].answer);
    assert_string_equal(dns_validation_name(dns_validation_get(v)), row->want);
    if (strstr(told, row->words) == NULL)
        fail_msg("%s", told);
    assert_string_equal(told, dns_validation_text(v));
    dns_validation_free(v);
    loop_free(loop);
}

static const struct row rows[] = {
    {"as it should be", DNS_SECURE, DNS_BOGUS, false, "works", "works"},
    {"the second is silent", DNS_SECURE, DNS_ERROR, false, "works", "works"},
    {"the first is proven not to be", DNS_ABSENT, DNS_BOGUS, true, "works",
     "works"},
    {"the second alone", NONE, DNS_BOGUS, false, "works", "works"},
    {"silence", DNS_ERROR, DNS_ERROR, false, "untested", "because"},
    {"no anchor", DNS_INSECURE, DNS_INSECURE, false, "missing", "good"},
    {"records are lost", DNS_ABSENT, DNS_BOGUS, false, "missing", "good"},
    {"no anchor, the second alone", NONE, DNS_INSECURE, false, "missing",
     "bad"},
    {"a wrong clock", DNS_BOGUS, DNS_BOGUS, false, "fails", "clock"},
    {"a wrong clock, and a zone that was unsigned", DNS_BOGUS, DNS_INSECURE,
     false, "fails", "clock"},
    /* The zone's owner did something: no word against DANE. */
    {"the second was repaired", DNS_SECURE, DNS_SECURE, false, "broken",
     "dns.test_bogus"},
    {"the second was unsigned", DNS_SECURE, DNS_INSECURE, false, "broken",
     "dns.test_bogus"},
    {"repaired, the second alone", NONE, DNS_SECURE, false, "broken",
     "dns.test_bogus"},
    {"repaired, the first is silent", DNS_ERROR, DNS_SECURE, false, "broken",
     "dns.test_bogus"},
};

int
main(void)
{
    return RUN_ROWS("validation", check, rows);
}
