/* Look-ups against a name server on loopback; and what is cancelled, comes too
 * late or is asked from another loop. */
#include "dns/test_dns_server.h"
#include "net/address.h"
#include "unit.h"
#include <pthread.h>
#include <unistd.h>

static const struct test_dns_record records[] = {
    {"plain.test", DNS_A, "192.0.2.1", 0},
    {"plain.test", DNS_A, "192.0.2.2", 0},
    {"plain.test", DNS_MX, "10 MX.plain.test", 0},
    {"alias.test", DNS_CNAME, "plain.test", 0},
    {"twice.test", DNS_CNAME, "alias.test", 0},
    {"nowhere.test", DNS_CNAME, "gone.test", 0},
    {"text.test", DNS_TXT, "v=STSv1; id=1", 0},
    {"key.test", DNS_TLSA, "\\#030101ab", 0},
    {"broken.test", DNS_A, NULL, 2},
    {"silent.test", DNS_A, NULL, -1},
    {0},
};

static const struct row {
    const char *name, *lookup;
    enum dns_type type;
    enum dns_state state;
    bool nxdomain;
    size_t count;
    const char *canonical;
    uint64_t timeout_ms;
    size_t aliases;
} rows[] = {
    {"records", "plain.test", DNS_A, DNS_INSECURE, false, 2, "plain.test", 0,
     0},
    {"case does not matter", "PLAIN.test", DNS_MX, DNS_INSECURE, false, 1,
     "plain.test", 0, 0},
    {"alias", "alias.test", DNS_A, DNS_INSECURE, false, 2, "plain.test", 0, 1},
    {"two aliases", "twice.test", DNS_A, DNS_INSECURE, false, 2, "plain.test",
     0, 2},
    {"alias of nothing", "nowhere.test", DNS_A, DNS_ABSENT, true, 0,
     "gone.test", 0, 1},
    {"the alias itself", "alias.test", DNS_CNAME, DNS_INSECURE, false, 1,
     "alias.test", 0, 0},
    {"text", "text.test", DNS_TXT, DNS_INSECURE, false, 1, "text.test", 0, 0},
    {"TLSA", "key.test", DNS_TLSA, DNS_INSECURE, false, 1, "key.test", 0, 0},
    {"no such type", "plain.test", DNS_AAAA, DNS_ABSENT, false, 0, NULL, 0, 0},
    {"no such name", "gone.test", DNS_A, DNS_ABSENT, true, 0, NULL, 0, 0},
    {"SERVFAIL", "broken.test", DNS_A, DNS_ERROR, false, 0, NULL, 0, 0},
    {"no answer", "silent.test", DNS_A, DNS_ERROR, false, 0, NULL, 300, 0},
};

struct wait {
    struct loop *loop;
    const struct row *row;
    size_t answers;
};

static struct test_dns_server *server;

static struct dns_resolver *
make_resolver(struct loop *loop, uint64_t timeout_ms)
{
    char address[32];
    char *resolvers[1] = {address};
    struct dns_options options = {
        .resolvers = resolvers, .resolver_count = 1, .timeout_ms = timeout_ms};
    struct err err;
    struct dns_resolver *resolver;

    snprintf(address, sizeof address, "%s", test_dns_server_address(server));
    resolver = dns_resolver_new(loop, &options, &err);
    assert_non_null(resolver);
    return resolver;
}

/* Each leads to the next, the first from what was asked. */
static void
check_chain(const struct row *row, const struct dns_answer *answer)
{
    assert_int_equal(answer->alias_count, row->aliases);
    for (size_t i = 0; i < answer->alias_count; i++) {
        assert_string_equal(answer->aliases[i].name,
                            i == 0 ? row->lookup
                                   : answer->aliases[i - 1].target);
        assert_int_equal(answer->aliases[i].state, DNS_INSECURE);
    }
    if (answer->alias_count > 0)
        assert_string_equal(answer->aliases[answer->alias_count - 1].target,
                            answer->name);
}

static void
on_answer(void *arg, const struct dns_answer *answer)
{
    struct wait *wait = arg;
    const struct row *row = wait->row;

    assert_string_equal(dns_state_name(answer->state),
                        dns_state_name(row->state));
    assert_int_equal(answer->nxdomain, row->nxdomain);
    assert_int_equal(answer->record_count, row->count);
    if (row->canonical != NULL)
        assert_string_equal(answer->name, row->canonical);
    if (row->state == DNS_ERROR)
        assert_int_not_equal(answer->reason[0], '\0');
    assert_int_equal(answer->timed_out, row->timeout_ms != 0);
    check_chain(row, answer);
    wait->answers++;
    loop_stop(wait->loop);
}

static void
finish_loop(struct loop *loop)
{
    /* What was posted at the end: the resolver's removal, libuv's closing. */
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
}

static void
check(void **state)
{
    struct err err;
    struct wait wait = {.loop = loop_new(&err), .row = *state};
    struct dns_resolver *resolver = make_resolver(
        wait.loop, wait.row->timeout_ms ? wait.row->timeout_ms : 10000);

    dns_lookup(resolver, wait.loop, wait.row->lookup, wait.row->type, on_answer,
               &wait);
    assert_int_equal(wait.answers, 0); /* never from inside */
    loop_run(wait.loop);
    assert_int_equal(wait.answers, 1);
    dns_resolver_unref(resolver);
    finish_loop(wait.loop);
}

static void on_never(void *arg, const struct dns_answer *answer);

/* The same by dns_trace(), which asks for every alias once more; and cancelled
 * at any moment of that. */
static void
check_trace(void **state)
{
    struct err err;
    struct wait wait = {.loop = loop_new(&err), .row = *state};
    struct dns_resolver *resolver = make_resolver(
        wait.loop, wait.row->timeout_ms ? wait.row->timeout_ms : 10000);
    struct dns_counts before, after;

    dns_counts_read(&before);
    for (int i = 0; i < 4; i++)
        dns_trace_cancel(dns_trace(resolver, wait.loop, wait.row->lookup,
                                   wait.row->type, on_never, NULL));
    dns_trace(resolver, wait.loop, wait.row->lookup, wait.row->type, on_answer,
              &wait);
    assert_int_equal(wait.answers, 0); /* never from inside */
    loop_run(wait.loop);
    assert_int_equal(wait.answers, 1);
    dns_counts_read(&after);
    assert_true(after.total_us > before.total_us);
    assert_int_equal(after.timed_out - before.timed_out,
                     wait.row->timeout_ms != 0);
    dns_resolver_unref(resolver);
    finish_loop(wait.loop);
}

/* --- Cancelling ---------------------------------------------------------- */

static void
on_never(void *arg, const struct dns_answer *answer)
{
    (void)arg;
    (void)answer;
    fail_msg("a cancelled look-up answered");
}

/* Cancelled at once, while the answer is on its way, and after a time-out was
 * set; the resolver goes while the last of them is still out. */
static void
test_cancel(void **state)
{
    static const struct row plain = {
        "plain", "plain.test", DNS_A, DNS_INSECURE, false, 2, NULL, 0, 0};
    struct err err;
    struct wait wait = {.loop = loop_new(&err), .row = &plain};
    struct dns_resolver *resolver = make_resolver(wait.loop, 10000);

    (void)state;
    for (int i = 0; i < 200; i++) {
        struct dns_query *query = dns_lookup(resolver, wait.loop, "plain.test",
                                             DNS_A, on_never, NULL);

        if (i % 3 == 0)
            usleep(200);
        dns_cancel(query);
    }
    dns_lookup(resolver, wait.loop, "plain.test", DNS_A, on_answer, &wait);
    dns_resolver_unref(resolver);
    loop_run(wait.loop);
    assert_int_equal(wait.answers, 1);
    finish_loop(wait.loop);
}

/* --- Another loop --------------------------------------------------------- */

struct other {
    struct wait wait;
    struct dns_resolver *resolver;
    struct loop *main;
};

static void *
run_other(void *arg)
{
    struct other *other = arg;

    dns_lookup(other->resolver, other->wait.loop, "plain.test", DNS_A,
               on_answer, &other->wait);
    loop_run(other->wait.loop);
    loop_stop(other->main);
    return NULL;
}

static void
test_other_loop(void **state)
{
    static const struct row plain = {
        "plain", "plain.test", DNS_A, DNS_INSECURE, false, 2, NULL, 0, 0};
    struct err err;
    struct other other = {.main = loop_new(&err),
                          .wait = {.loop = loop_new(&err), .row = &plain}};
    pthread_t thread;

    (void)state;
    other.resolver = make_resolver(other.main, 10000);
    pthread_create(&thread, NULL, run_other, &other);
    loop_run(other.main);
    pthread_join(thread, NULL);
    assert_int_equal(other.wait.answers, 1);
    dns_resolver_unref(other.resolver);
    finish_loop(other.main);
    finish_loop(other.wait.loop);
}

/* --- Options -------------------------------------------------------------- */

static void
test_bad_options(void **state)
{
    char bad[] = "not an address", stub[] = "zone-without-address";
    char anchor[] = "/nonexistent/root.key";
    char *list[1];
    struct dns_options options = {.timeout_ms = 1000};
    struct err err;
    struct loop *loop = loop_new(&err);

    (void)state;
    list[0] = bad;
    options.resolvers = list;
    options.resolver_count = 1;
    assert_null(dns_resolver_new(loop, &options, &err));
    assert_non_null(strstr(err.text, bad));
    options.resolver_count = 0;
    list[0] = stub;
    options.stub_zones = list;
    options.stub_zone_count = 1;
    assert_null(dns_resolver_new(loop, &options, &err));
    assert_non_null(strstr(err.text, stub));
    options.stub_zone_count = 0;
    list[0] = anchor;
    options.trust_anchors = list;
    options.trust_anchor_count = 1;
    assert_null(dns_resolver_new(loop, &options, &err));
    assert_non_null(strstr(err.text, anchor));
    finish_loop(loop);
}

/* A stub zone answers beside whatever else is asked. */
static void
test_stub_zone(void **state)
{
    static const struct row plain = {
        "plain", "plain.test", DNS_A, DNS_INSECURE, false, 2, NULL, 0, 0};
    char entry[64];
    char *stubs[1] = {entry};
    struct dns_options options = {
        .stub_zones = stubs, .stub_zone_count = 1, .timeout_ms = 10000};
    struct err err;
    struct wait wait = {.loop = loop_new(&err), .row = &plain};
    struct dns_resolver *resolver;

    (void)state;
    snprintf(entry, sizeof entry, "test=%s", test_dns_server_address(server));
    resolver = dns_resolver_new(wait.loop, &options, &err);
    assert_non_null(resolver);
    dns_lookup(resolver, wait.loop, "plain.test", DNS_A, on_answer, &wait);
    loop_run(wait.loop);
    assert_int_equal(wait.answers, 1);
    dns_resolver_unref(resolver);
    finish_loop(wait.loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_other_loop),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_stub_zone),
    };
    int failed;

    server = test_dns_server_new(records);
    failed = RUN_ROWS("dns", check, rows) +
             RUN_ROWS("dns_trace", check_trace, rows) +
             cmocka_run_group_tests_name("dns_life", tests, NULL, NULL);
    test_dns_server_free(server);
    return failed;
}
