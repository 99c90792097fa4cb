#include "dns/validation.h"
#include "base/clock.h"
#include "dns/dns_internal.h"

enum { DAY_MS = 24 * 3600 * 1000, RETRY_MS = 600 * 1000 };

struct test {
    struct dns_validation *validation;
    struct dns_query *query; /* NULL: not under way */
    char name[256];          /* "": is not made */
    enum dns_state state;
    bool proven; /* with ABSENT */
    char reason[160];
};

struct dns_validation {
    struct dns_resolver *resolver; /* reference */
    struct dns_validation_options options;
    struct test signed_test, bogus_test;
    struct timer timer;
    enum dns_validation_state state;
    int64_t time;
    char text[400];
};

static const char *const names[] = {
    [VALIDATION_OFF] = "off",         [VALIDATION_RUNNING] = "running",
    [VALIDATION_WORKS] = "works",     [VALIDATION_UNTESTED] = "untested",
    [VALIDATION_MISSING] = "missing", [VALIDATION_FAILS] = "fails",
    [VALIDATION_BROKEN] = "broken",
};

const char *
dns_validation_name(enum dns_validation_state state)
{
    return names[state];
}

bool
dns_validation_is_bad(enum dns_validation_state state)
{
    return state == VALIDATION_MISSING || state == VALIDATION_FAILS ||
           state == VALIDATION_BROKEN;
}

/* --- What the answers mean -------------------------------------------- */

static bool
is_made(const struct test *test)
{
    return test->name[0] != '\0';
}

/* The answer is genuine: signed data, or signed proof that there is none. */
static bool
is_secure(const struct test *test)
{
    return test->state == DNS_SECURE ||
           (test->state == DNS_ABSENT && test->proven);
}

static bool
has_answer(const struct test *test)
{
    return is_made(test) && test->state != DNS_ERROR;
}

static bool
resolves(const struct test *test)
{
    return is_made(test) &&
           (test->state == DNS_SECURE || test->state == DNS_INSECURE);
}

static enum dns_validation_state
judge(const struct test *signed_test, const struct test *bogus)
{
    if (has_answer(signed_test) && signed_test->state == DNS_BOGUS)
        return VALIDATION_FAILS;
    if (has_answer(signed_test) && !is_secure(signed_test))
        return VALIDATION_MISSING;
    /* Without an anchor everything is insecure. */
    if (resolves(bogus) && bogus->state == DNS_INSECURE &&
        !has_answer(signed_test))
        return VALIDATION_MISSING;
    if (resolves(bogus))
        return VALIDATION_BROKEN;
    if (has_answer(signed_test) ||
        (!is_made(signed_test) && has_answer(bogus) &&
         bogus->state == DNS_BOGUS))
        return VALIDATION_WORKS;
    return VALIDATION_UNTESTED;
}

#define SAY(v, ...) snprintf((v)->text, sizeof(v)->text, __VA_ARGS__)

static void
explain(struct dns_validation *v)
{
    const struct test *good = &v->signed_test, *bad = &v->bogus_test;
    const struct test *silent = is_made(good) ? good : bad;

    switch (v->state) {
    case VALIDATION_BROKEN:
        SAY(v,
            "the test of DNSSEC validation is broken: %.80s resolves although "
            "its signature should be wrong; either it is wrong no longer "
            "(then set dns.test_bogus to another name), or forged answers are "
            "accepted",
            bad->name);
        break;
    case VALIDATION_FAILS:
        SAY(v,
            "DNSSEC validation fails: %.80s should validate, but: %s; mail to "
            "signed domains waits (is the clock right, and the trust anchor "
            "current?)",
            good->name, good->reason);
        break;
    case VALIDATION_MISSING:
        SAY(v,
            "DNS answers are not validated: %.80s came without a valid "
            "signature; DANE is not available (is there a trust anchor, and do "
            "the resolvers pass on DNSSEC records?)",
            has_answer(good) ? good->name : bad->name);
        break;
    case VALIDATION_UNTESTED:
        SAY(v, "DNSSEC validation could not be tested: %.80s: %s", silent->name,
            silent->reason);
        break;
    case VALIDATION_WORKS:
        SAY(v, "DNSSEC validation works");
        break;
    case VALIDATION_OFF:
        SAY(v, "DNSSEC validation is not tested");
        break;
    case VALIDATION_RUNNING:
        SAY(v, "DNSSEC validation is being tested");
        break;
    }
}

/* --- The tests -------------------------------------------------------- */

static uint64_t
pause_of(const struct dns_validation *v)
{
    if (v->state == VALIDATION_WORKS)
        return v->options.interval_ms;
    return v->options.retry_ms;
}

static void
finish(struct dns_validation *v)
{
    enum dns_validation_state state = judge(&v->signed_test, &v->bogus_test);

    /* No answer is no news. */
    if (state != VALIDATION_UNTESTED || !dns_validation_is_bad(v->state)) {
        v->state = state;
        explain(v);
    }
    v->time = clock_wall_s();
    timer_arm(&v->timer, pause_of(v));
    v->options.on_result(v->options.arg, v->state, v->text);
}

static void
on_answer(void *arg, const struct dns_answer *answer)
{
    struct test *test = arg;
    struct dns_validation *v = test->validation;

    test->query = NULL;
    test->state = answer->state;
    test->proven = answer->secure_denial;
    snprintf(test->reason, sizeof test->reason, "%s", answer->reason);
    if (v->signed_test.query == NULL && v->bogus_test.query == NULL)
        finish(v);
}

static void
begin(struct dns_validation *v, struct test *test)
{
    test->validation = v;
    if (is_made(test))
        test->query = dns_lookup(v->resolver, v->options.loop, test->name,
                                 DNS_SOA, on_answer, test);
}

static void
begin_both(struct dns_validation *v)
{
    begin(v, &v->signed_test);
    begin(v, &v->bogus_test);
}

static void
on_timer(struct timer *timer)
{
    begin_both(CONTAINER_OF(timer, struct dns_validation, timer));
}

struct dns_validation *
dns_validation_new(struct dns_resolver *resolver,
                   const struct dns_validation_options *options)
{
    struct dns_validation *v = mem_alloc(sizeof *v);

    v->resolver = dns_resolver_ref(resolver);
    v->options = *options;
    if (v->options.interval_ms == 0)
        v->options.interval_ms = DAY_MS;
    if (v->options.retry_ms == 0)
        v->options.retry_ms = RETRY_MS;
    snprintf(v->signed_test.name, sizeof v->signed_test.name, "%s",
             options->signed_name);
    snprintf(v->bogus_test.name, sizeof v->bogus_test.name, "%s",
             options->bogus_name);
    v->options.signed_name = v->signed_test.name;
    v->options.bogus_name = v->bogus_test.name;
    timer_init(&v->timer, options->loop, on_timer);
    if (is_made(&v->signed_test) || is_made(&v->bogus_test))
        v->state = VALIDATION_RUNNING;
    explain(v);
    begin_both(v);
    return v;
}

void
dns_validation_free(struct dns_validation *v)
{
    if (v == NULL)
        return;
    if (v->signed_test.query != NULL)
        dns_cancel(v->signed_test.query);
    if (v->bogus_test.query != NULL)
        dns_cancel(v->bogus_test.query);
    timer_fini(&v->timer);
    dns_resolver_unref(v->resolver);
    mem_free(v);
}

enum dns_validation_state
dns_validation_get(const struct dns_validation *v)
{
    return v->state;
}

const char *
dns_validation_text(const struct dns_validation *v)
{
    return v->text;
}

int64_t
dns_validation_time(const struct dns_validation *v)
{
    return v->time;
}
