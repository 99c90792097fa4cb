/* The way to TLSA records where nothing is signed, look-ups that fail, and
 * queries that are given up at any moment.  Signed zones are real ones:
 * tests/e2e/test_dane_show.py. */
#include "dns/test_dns_server.h"
#include "evidence/dane_count.h"
#include "unit.h"

static const struct test_dns_record records[] = {
    {"mx.test", DNS_A, "192.0.2.1", 0},
    {"_25._tcp.mx.test", DNS_TLSA, "\\#030101ab", 0},
    {"alias.test", DNS_CNAME, "mx.test", 0},
    {"_25._tcp.alias.test", DNS_TLSA, "\\#030101ab", 0},
    {"no-a.test", DNS_TXT, "nothing else", 0},
    {"broken.test", DNS_A, NULL, 2},
    {"broken.test", DNS_AAAA, NULL, 2},
    {"half.test", DNS_A, "192.0.2.1", 0},
    {"half.test", DNS_AAAA, NULL, 2},
    {"silent.test", DNS_A, NULL, -1},
    {"silent.test", DNS_AAAA, NULL, -1},
    {"bad-alias.test", DNS_CNAME, "broken.test", 0},
    {0},
};

static const struct row {
    const char *name, *host;
    enum dane_state state;
    const char *reason; /* a part of it */
    uint64_t timeout_ms;
} rows[] = {
    {"unsigned", "mx.test", DANE_INSECURE, "not signed", 10000},
    {"unsigned alias", "alias.test", DANE_INSECURE, "neither", 10000},
    {"no address", "no-a.test", DANE_INSECURE, "not signed", 10000},
    {"no such name", "gone.test", DANE_INSECURE, "not signed", 10000},
    {"one family fails, the other is unsigned", "half.test", DANE_INSECURE,
     "not signed", 10000},
    {"SERVFAIL", "broken.test", DANE_FAILED, "SERVFAIL", 10000},
    {"alias to SERVFAIL", "bad-alias.test", DANE_FAILED, "SERVFAIL", 10000},
    {"no answer", "silent.test", DANE_FAILED, "timed out", 300},
};

static struct test_dns_server *server;

static struct dns_resolver *
make_resolver(struct loop *loop, uint64_t timeout_ms)
{
    char address[32];
    char *resolvers[1] = {address};
    const struct dns_options options = {
        .resolvers = resolvers, .resolver_count = 1, .timeout_ms = timeout_ms};
    struct dns_resolver *resolver;
    struct err err;

    snprintf(address, sizeof address, "%s", test_dns_server_address(server));
    resolver = dns_resolver_new(loop, &options, &err);
    assert_non_null(resolver);
    return resolver;
}

struct wait {
    struct loop *loop;
    struct dane_evidence *evidence;
};

static void
on_evidence(void *arg, struct dane_evidence *evidence)
{
    struct wait *wait = arg;

    assert_null(wait->evidence);
    wait->evidence = evidence;
    loop_stop(wait->loop);
}

static void
finish_loop(struct loop *loop)
{
    loop_stop(loop); /* what was posted at the end still runs */
    loop_run(loop);
    loop_free(loop);
}

static uint64_t
tlsa_questions(void)
{
    struct dns_counts counts;
    uint64_t n = 0;

    dns_counts_read(&counts);
    for (size_t i = 0; i < DNS_TYPE_COUNT; i++)
        for (size_t s = 0; counts.types[i] == DNS_TLSA && s < DNS_STATE_COUNT;
             s++)
            n += counts.answers[i][s];
    return n;
}

static void
check(void **state)
{
    const struct row *row = *state;
    struct err err;
    struct wait wait = {.loop = loop_new(&err)};
    struct dns_resolver *resolver = make_resolver(wait.loop, row->timeout_ms);

    dane_lookup(resolver, wait.loop, row->host, 25, DNS_INSECURE, on_evidence,
                &wait);
    assert_null(wait.evidence); /* never from inside */
    loop_run(wait.loop);
    assert_string_equal(dane_state_name(wait.evidence->state),
                        dane_state_name(row->state));
    if (strstr(wait.evidence->reason, row->reason) == NULL)
        fail_msg("%s", wait.evidence->reason);
    assert_string_equal(wait.evidence->host, row->host);
    assert_string_equal(wait.evidence->base, "");
    assert_false(wait.evidence->mx_secure);
    assert_int_equal(wait.evidence->tlsa_count, 0);
    /* Name servers of unsigned zones are not asked for such records. */
    assert_int_equal(tlsa_questions(), 0);
    dane_evidence_unref(wait.evidence);
    dns_resolver_unref(resolver);
    finish_loop(wait.loop);
}

static void
on_never(void *arg, struct dane_evidence *evidence)
{
    (void)arg;
    (void)evidence;
    fail_msg("a query that was given up answered");
}

static void
on_pause(struct timer *timer)
{
    loop_stop(timer->loop);
}

static void
test_cancel(void **state)
{
    struct err err;
    struct wait wait = {.loop = loop_new(&err)};
    struct dns_resolver *resolver = make_resolver(wait.loop, 10000);

    (void)state;
    for (uint64_t ms = 0; ms < 12; ms++) {
        struct dane_query *query = dane_lookup(
            resolver, wait.loop, "silent.test", 25, DNS_SECURE, on_never, NULL);
        struct timer pause;

        timer_init(&pause, wait.loop, on_pause);
        timer_arm(&pause, ms);
        loop_run(wait.loop);
        timer_fini(&pause);
        dane_cancel(query);
    }
    dns_resolver_unref(resolver);
    finish_loop(wait.loop);
}

static void
test_references(void **state)
{
    struct err err;
    struct wait wait = {.loop = loop_new(&err)};
    struct dns_resolver *resolver = make_resolver(wait.loop, 10000);

    (void)state;
    dane_lookup(resolver, wait.loop, "mx.test", 25, DNS_SECURE, on_evidence,
                &wait);
    loop_run(wait.loop);
    assert_true(wait.evidence->mx_secure);
    assert_ptr_equal(dane_evidence_ref(wait.evidence), wait.evidence);
    dane_evidence_unref(wait.evidence);
    assert_string_equal(wait.evidence->host, "mx.test");
    dane_evidence_unref(wait.evidence);
    dane_evidence_unref(NULL);
    dns_resolver_unref(resolver);
    finish_loop(wait.loop);
}

static json_int_t
count(const char *group, const char *key)
{
    json_t *all = dane_count_json();
    json_t *value = json_object_get(all, group);
    json_int_t number =
        json_integer_value(key != NULL ? json_object_get(value, key) : value);

    json_decref(all);
    return number;
}

static void
test_counters(void **state)
{
    const struct tls_dane_facts unasked = {0}, wrong = {.asked = true},
                                ee = {true, true, .usage = 3},
                                ta = {true, true, .usage = 2};

    (void)state;
    dane_count_match(&unasked);
    dane_count_match(&wrong);
    dane_count_match(&ee);
    dane_count_match(&ee);
    dane_count_match(&ta);
    assert_int_equal(count("matched", "DANE-EE"), 2);
    assert_int_equal(count("matched", "DANE-TA"), 1);
    assert_int_equal(count("mismatched", NULL), 1);
    assert_int_equal(count("lookups", "failed"), 3); /* of the rows */
    assert_true(count("lookups", "insecure") >= 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_counters),
    };
    int failed;

    server = test_dns_server_new(records);
    failed = RUN_ROWS("dane_lookup", check, rows) +
             cmocka_run_group_tests_name("dane_more", tests, NULL, NULL);
    test_dns_server_free(server);
    return failed;
}
