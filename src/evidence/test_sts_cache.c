/* The cache of policies: what it answers, keeps, refreshes and forgets. */
#include "evidence/test_sts_world.h"

#include <sys/stat.h>
#include <unistd.h>

/* --- The first look-up -------------------------------------------------- */

static const struct first_row {
    const char *name;
    enum dns_state dns;
    const char *txt;
    enum https_stage stage;
    long status;
    const char *policy;
    enum sts_state state;
    size_t fetches;
    const char *reason; /* stands in it */
} first_rows[] = {
    {"enforce", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200, WEEK_POLICY,
     STS_POLICY, 1, ""},
    {"signed", DNS_SECURE, "v=STSv1; id=1;", HTTPS_OK, 200, WEEK_POLICY,
     STS_POLICY, 1, ""},
    {"no record", DNS_ABSENT, NULL, HTTPS_OK, 200, WEEK_POLICY, STS_ABSENT, 0,
     ""},
    {"another record", DNS_INSECURE, "v=spf1 -all", HTTPS_OK, 200, WEEK_POLICY,
     STS_ABSENT, 0, "no TXT record begins with v=STSv1;"},
    {"invalid record", DNS_INSECURE, "v=STSv1; id=a-b;", HTTPS_OK, 200,
     WEEK_POLICY, STS_ABSENT, 0, "the id is not"},
    {"SERVFAIL", DNS_ERROR, NULL, HTTPS_OK, 200, WEEK_POLICY, STS_UNKNOWN, 0,
     "_mta-sts.a.test cannot be looked up: SERVFAIL"},
    {"bogus", DNS_BOGUS, "v=STSv1; id=1;", HTTPS_OK, 200, WEEK_POLICY,
     STS_UNKNOWN, 0, "bogus"},
    {"policy host down", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_CONNECT, 0, NULL,
     STS_UNFETCHED, 1, "connect: it went wrong"},
    {"wrong certificate", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_CERTIFICATE, 0,
     NULL, STS_UNFETCHED, 1, "certificate: it went wrong"},
    {"another status of success", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 203,
     WEEK_POLICY, STS_UNFETCHED, 1, "status: the server answers 203, not 200"},
    {"no policy", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200, "hello",
     STS_UNFETCHED, 1, "policy: line 1: it is not of the form"},
    {"testing", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200,
     "version: STSv1\nmode: testing\nmx: *.a.test\nmax_age: 86400", STS_POLICY,
     1, ""},
    {"none", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200,
     "version: STSv1\nmode: none\nmax_age: 86400", STS_ABSENT, 1,
     "the policy is of mode none"},
    {"age of 0", DNS_INSECURE, "v=STSv1; id=1;", HTTPS_OK, 200,
     "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0", STS_POLICY, 1,
     ""},
};

static void
test_first(void **state)
{
    const struct first_row *row = *state;
    struct seen seen;

    world_open(NULL);
    world.dns = row->dns;
    world.txt = row->txt;
    world.stage = row->stage;
    world.status = row->status;
    world.policy = row->policy;
    seen = look("a.test", false);
    assert_string_equal(sts_state_name(seen.state), sts_state_name(row->state));
    if (strstr(seen.reason, row->reason) == NULL)
        fail_msg("%s", seen.reason);
    assert_int_equal(world.lookups, 1);
    assert_int_equal(world.fetches, row->fetches);
    assert_int_equal(seen.cached, row->state != STS_POLICY &&
                                      strcmp(row->name, "none") != 0);
    world_close(NULL);
}

/* --- What is remembered ------------------------------------------------- */

static void
test_warm(void **state UNUSED)
{
    struct seen seen = look("a.test", false);

    assert_false(seen.cached);
    for (int i = 0; i < 5; i++) {
        seen = look("a.test", false);
        assert_int_equal(seen.state, STS_POLICY);
        assert_true(seen.cached);
        assert_string_equal(seen.id, "one");
    }
    assert_int_equal(world.lookups, 1);
    assert_int_equal(world.fetches, 1);
    world_pass(5 * MINUTE + 1);
    seen = look("a.test", false);
    assert_int_equal(world.lookups, 2);
    assert_int_equal(world.fetches, 1);
    assert_true(seen.cached);
}

static void
test_ttl_bounds_memory(void **state UNUSED)
{
    world.ttl = 20;
    look("a.test", false);
    world_pass(19);
    look("a.test", false);
    assert_int_equal(world.lookups, 1);
    world_pass(2);
    look("a.test", false);
    assert_int_equal(world.lookups, 2);
    world.ttl = 0;
    world_pass(21);
    look("a.test", false);
    look("a.test", false);
    assert_int_equal(world.lookups, 4);
    assert_int_equal(world.fetches, 1);
}

static void
test_absence_is_remembered(void **state UNUSED)
{
    world.txt = NULL;
    look("a.test", false);
    look("a.test", false);
    assert_int_equal(world.lookups, 1);
    world_pass(10 * MINUTE);
    assert_null(sts_table_find(&world.cache->table, "a.test"));
}

static void
test_fresh_asks_again(void **state UNUSED)
{
    struct seen seen = look("a.test", false);

    world.txt = "v=STSv1; id=two;";
    world.policy = "version: STSv1\nmode: enforce\nmx: new.a.test\n"
                   "max_age: 86400\n";
    seen = look("a.test", false);
    assert_string_equal(seen.mx, "mx.a.test"); /* nobody has looked yet */
    seen = look("a.test", true);
    assert_string_equal(seen.mx, "new.a.test");
    assert_string_equal(seen.id, "two");
    assert_false(seen.cached);
    seen = look("a.test", true);
    assert_true(seen.cached);
    assert_int_equal(world.lookups, 3);
    assert_int_equal(world.fetches, 2);
}

/* --- Fail closed -------------------------------------------------------- */

static void
expect_policy_kept(const char *id)
{
    struct seen seen = look("a.test", true);

    assert_int_equal(seen.state, STS_POLICY);
    assert_string_equal(seen.id, id);
    assert_string_equal(seen.mx, "mx.a.test");
}

static void
test_record_vanishes(void **state UNUSED)
{
    look("a.test", false);
    world.txt = NULL;
    world.dns = DNS_ABSENT;
    expect_policy_kept("one");
    world.dns = DNS_ERROR;
    expect_policy_kept("one");
    world.dns = DNS_BOGUS;
    expect_policy_kept("one");
    world.dns = DNS_INSECURE;
    world.txt = "v=STSv1";
    expect_policy_kept("one");
    world_pass(6 * DAY);
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 1);
    /* a week after the last fetch that went well it ends */
    world_pass(DAY + 1);
    assert_int_equal(look("a.test", true).state, STS_ABSENT);
    world.dns = DNS_ERROR;
    assert_int_equal(look("a.test", true).state, STS_UNKNOWN);
}

static void
test_failed_fetch_keeps(void **state UNUSED)
{
    look("a.test", false);
    world.txt = "v=STSv1; id=two;";
    world.stage = HTTPS_TLS;
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 2);
    /* for this id there is a pause … */
    expect_policy_kept("one");
    world_pass(4 * MINUTE);
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 2);
    /* … and not for another … */
    world.txt = "v=STSv1; id=three;";
    expect_policy_kept("one");
    assert_int_equal(world.fetches, 3);
    /* … and it ends */
    world_pass(5 * MINUTE);
    world.stage = HTTPS_OK;
    expect_policy_kept("three");
    assert_int_equal(world.fetches, 4);
}

static void
test_pause_without_policy(void **state UNUSED)
{
    struct seen seen;

    world.stage = HTTPS_TIMEOUT;
    look("a.test", false);
    seen = look("a.test", false);
    assert_int_equal(seen.state, STS_UNFETCHED);
    assert_string_equal(seen.id, "one");
    assert_string_equal(seen.reason, "timeout: it went wrong");
    look("a.test", true);
    assert_int_equal(world.fetches, 1);
    world_pass(5 * MINUTE + 1);
    look("a.test", false);
    assert_int_equal(world.fetches, 2);
}

static void
test_age_of_zero(void **state UNUSED)
{
    struct sts_evidence evidence;

    world.policy = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0";
    assert_int_equal(look("a.test", false).state, STS_POLICY);
    assert_true(sts_peek(world.cache, "a.test", &evidence));
    assert_null(evidence.policy);
    assert_int_equal(look("a.test", false).state, STS_POLICY);
    assert_int_equal(world.fetches, 2);
    /* It also ends what was there before. */
    world.txt = "v=STSv1; id=two;";
    world.policy = WEEK_POLICY;
    look("a.test", true);
    world.txt = "v=STSv1; id=three;";
    world.policy = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0";
    assert_int_equal(look("a.test", true).state, STS_POLICY);
    world.stage = HTTPS_TLS;
    assert_int_equal(look("a.test", false).state, STS_UNFETCHED);
}

static void
test_none_ends_it(void **state UNUSED)
{
    look("a.test", false);
    world.txt = "v=STSv1; id=two;";
    world.policy = "version: STSv1\nmode: none\nmax_age: 86400";
    assert_int_equal(look("a.test", true).state, STS_ABSENT);
    assert_int_equal(look("a.test", false).state, STS_ABSENT);
    assert_int_equal(world.fetches, 2);
    /* Nothing is refreshed for it and nobody is told when it ends. */
    world.stage = HTTPS_TLS;
    world_pass(2 * DAY);
    assert_int_equal(world.fetches, 2);
    assert_int_equal(world.alerts, 0);
}

/* --- Refresh ------------------------------------------------------------ */

static void
test_refreshed_daily(void **state UNUSED)
{
    struct sts_evidence evidence;

    look("a.test", false);
    world_pass(17 * HOUR);
    assert_int_equal(world.fetches, 1);
    world_pass(14 * HOUR);
    assert_int_equal(world.fetches, 2);
    world_pass(10 * DAY);
    assert_in_range(world.fetches, 9, 16);
    /* the same id, and yet it is good for a week from the last time on */
    assert_true(sts_peek(world.cache, "a.test", &evidence));
    assert_int_equal(evidence.state, STS_POLICY);
    assert_true(clock_wall_s() - evidence.fetched < 2 * DAY);
    sts_policy_unref(evidence.policy);
}

static void
test_refresh_sees_change(void **state UNUSED)
{
    look("a.test", false);
    world.policy = "version: STSv1\nmode: enforce\nmx: new.a.test\n"
                   "max_age: 604800\n";
    world_pass(31 * HOUR);
    assert_string_equal(look("a.test", false).mx, "new.a.test");
}

static void
test_alert_near_end(void **state UNUSED)
{
    look("a.test", false);
    world.stage = HTTPS_CONNECT;
    world_pass(5 * DAY);
    assert_int_equal(world.alerts, 0);
    world_pass(12 * HOUR);
    assert_int_equal(world.alerts, 1);
    assert_true(world.raised);
    assert_non_null(strstr(world.alert, "a.test ends in"));
    assert_non_null(strstr(world.alert, "connect: it went wrong"));
    world.stage = HTTPS_OK;
    world_pass(2 * HOUR);
    assert_int_equal(world.alerts, 2);
    assert_false(world.raised);
    world_pass(DAY);
    assert_int_equal(world.alerts, 2);
}

static void
test_alert_ends_with_policy(void **state UNUSED)
{
    look("a.test", false);
    world.dns = DNS_ERROR;
    world_pass(6 * DAY);
    assert_true(world.raised);
    assert_non_null(strstr(world.alert, "record: _mta-sts.a.test cannot"));
    world_pass(DAY + HOUR);
    assert_false(world.raised);
    assert_int_equal(look("a.test", false).state, STS_UNKNOWN);
}

/* A policy that nobody needs any more runs out in silence. */
static void
test_unused_runs_out(void **state UNUSED)
{
    look("a.test", false);
    world.cache->table.slots[0]->used -= STS_IN_USE_S;
    world_pass(8 * DAY);
    assert_int_equal(world.fetches, 1);
    assert_int_equal(world.alerts, 0);
    world_pass(8 * DAY);
    assert_null(sts_table_find(&world.cache->table, "a.test"));
}

/* --- Many at a time ----------------------------------------------------- */

static void
test_single_flight(void **state UNUSED)
{
    struct seen seen[20] = {0};

    world.hold = true;
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        sts_lookup(world.cache, i % 2 ? world.other : world.loop, "a.test",
                   i % 3 == 0, on_evidence, &seen[i]);
        world_settle();
    }
    world_release();
    world_settle();
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        assert_int_equal(seen[i].calls, 1);
        assert_int_equal(seen[i].state, STS_POLICY);
    }
    assert_int_equal(world.lookups, 1);
    assert_int_equal(world.fetches, 1);
}

static void
test_fetches_are_bounded(void **state UNUSED)
{
    struct seen seen[100] = {0};
    char domain[32];

    world.hold = true;
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        snprintf(domain, sizeof domain, "d%zu.test", i);
        sts_lookup(world.cache, world.other, domain, false, on_evidence,
                   &seen[i]);
    }
    world_settle();
    assert_int_equal(world.lookups, 100);
    assert_int_equal(world.open, STS_FETCHES);
    /* Nobody waits longer for a turn than a fetch may take. */
    world_pass(62);
    for (size_t i = STS_FETCHES; i < COUNT_OF(seen); i++) {
        assert_int_equal(seen[i].calls, 1);
        assert_int_equal(seen[i].state, STS_UNKNOWN);
        assert_string_equal(seen[i].reason,
                            "too many policies are being fetched");
    }
    world_release();
    world_settle();
    for (size_t i = 0; i < STS_FETCHES; i++)
        assert_int_equal(seen[i].state, STS_POLICY);
    assert_int_equal(world.most_open, STS_FETCHES);
    assert_int_equal(world.open, 0);
}

static void
test_turns(void **state UNUSED)
{
    struct seen seen[100] = {0};
    char domain[32];

    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        snprintf(domain, sizeof domain, "d%zu.test", i);
        sts_lookup(world.cache, world.other, domain, false, on_evidence,
                   &seen[i]);
    }
    for (int i = 0; i < 10; i++)
        world_settle();
    for (size_t i = 0; i < COUNT_OF(seen); i++)
        assert_int_equal(seen[i].state, STS_POLICY);
    assert_true(world.most_open <= STS_FETCHES);
}

static void
on_never(void *arg UNUSED, const struct sts_evidence *evidence UNUSED)
{
    fail_msg("an answer after the end");
}

/* Before it began, with the record, with the fetch, on the way back. */
static void
test_cancel(void **state UNUSED)
{
    struct sts_query *query;

    query =
        sts_lookup(world.cache, world.other, "a.test", false, on_never, NULL);
    sts_cancel(query);
    world_settle();
    world.hold = true;
    query =
        sts_lookup(world.cache, world.other, "b.test", false, on_never, NULL);
    world_settle();
    sts_cancel(query);
    world_release();
    world_settle();
    query =
        sts_lookup(world.cache, world.other, "c.test", false, on_never, NULL);
    for (int i = 0; i < 4; i++)
        loop_advance(world.loop, 0);
    sts_cancel(query);
    world_settle();
    query =
        sts_lookup(world.cache, world.other, "c.test", false, on_never, NULL);
    sts_cancel(query);
    world_settle();
    /* What they asked for is known all the same. */
    assert_true(look("a.test", false).cached);
    assert_true(look("b.test", false).cached);
    assert_true(look("c.test", false).cached);
}

static void
test_end_under_way(void **state UNUSED)
{
    struct rpc_call call = {.method = "sts.refresh",
                            .params = json_pack("{s:s}", "domain", "a.test")};

    world.hold = true;
    sts_request(world.cache, &call);
    world_settle();
    assert_null(call.result);
    world_restart();
    assert_non_null(call.result);
    json_decref(call.result);
    sts_request(world.cache, &call); /* not even begun */
    world_restart();
    assert_non_null(call.result);
    json_decref(call.result);
    json_decref(call.params);
}

static void
test_reload(void **state UNUSED)
{
    struct settings changed = world.settings;
    char bad[] = "bad", *authorities[1] = {bad};
    struct seen seen = {0};

    world.hold = true;
    sts_lookup(world.cache, world.other, "a.test", false, on_evidence, &seen);
    world_settle();
    assert_int_equal(world.fetches, 1);
    sts_cache_set(world.cache, &world.settings, NULL);
    assert_int_equal(world.fetches, 1);
    /* Under other rules it begins anew, … */
    changed.sts.allow_private_addresses = true;
    sts_cache_set(world.cache, &changed, NULL);
    assert_int_equal(world.fetches, 2);
    /* … and files that have gone leave it as it is. */
    changed.sts.allow_private_addresses = false;
    changed.sts.authorities = authorities;
    changed.sts.authority_count = 1;
    sts_cache_set(world.cache, &changed, NULL);
    world_release();
    world_settle();
    assert_int_equal(seen.state, STS_POLICY);
    sts_cache_set(world.cache, &world.settings, NULL);
}

/* A process that starts again goes on, with what all believe. */
static void
test_restart_without_files(void **state UNUSED)
{
    char bad[] = "bad", *authorities[1] = {bad};

    world.settings.sts.authorities = authorities;
    world.settings.sts.authority_count = 1;
    world_restart();
    assert_non_null(world.cache);
    assert_int_equal(look("a.test", false).state, STS_POLICY);
    world.settings.sts.authorities = NULL;
    world.settings.sts.authority_count = 0;
    world_restart();
}

static void
fill(size_t from, size_t to)
{
    char domain[32];

    for (size_t i = from; i < to; i++) {
        snprintf(domain, sizeof domain, "d%zu.test", i);
        look(domain, false);
    }
}

static void
test_longest_unused_go(void **state UNUSED)
{
    world.settings.sts.max_policies = 100;
    fill(0, 100);
    assert_int_equal(world.cache->table.kept.length, 100);
    json_decref(request("sts.pin", "d1.test").result);
    look("d0.test", false);
    fill(100, 110);
    assert_int_equal(world.cache->table.kept.length, 100);
    assert_non_null(sts_table_find(&world.cache->table, "d0.test"));
    assert_non_null(sts_table_find(&world.cache->table, "d1.test"));
    assert_null(sts_table_find(&world.cache->table, "d2.test"));
    assert_null(sts_table_find(&world.cache->table, "d11.test"));
    assert_non_null(sts_table_find(&world.cache->table, "d12.test"));
    world_restart();
    assert_int_equal(world.cache->table.kept.length, 100);
    assert_null(sts_table_find(&world.cache->table, "d2.test"));
}

/* Domains that only announce a policy push out few that have one. */
static void
test_policyless_go_first(void **state UNUSED)
{
    world.settings.sts.max_policies = 100;
    fill(0, 90);
    world.stage = HTTPS_TIMEOUT;
    fill(100, 300);
    assert_int_equal(world.cache->table.kept.length, 90);
    assert_int_equal(world.cache->table.policyless.length, 10);
    assert_non_null(sts_table_find(&world.cache->table, "d299.test"));
    assert_non_null(sts_table_find(&world.cache->table, "d290.test"));
    assert_null(sts_table_find(&world.cache->table, "d289.test"));
    world.stage = HTTPS_OK;
    fill(90, 100);
    assert_int_equal(world.cache->table.kept.length, 94);
    assert_int_equal(world.cache->table.policyless.length, 6);
    world_restart();
    assert_int_equal(world.cache->table.policyless.length, 6);
}

/* Where nothing that is kept can go, what is not kept can. */
static void
test_all_pinned(void **state UNUSED)
{
    struct sts_table *table = &world.cache->table;
    char domain[32];

    fill(0, 20);
    LIST_FOREACH (link, &table->kept)
        CONTAINER_OF(link, struct sts_entry, used_link)->pinned = true;
    assert_null(sts_table_surplus(table, 10));
    for (size_t i = 0; i <= STS_PASSING; i++) {
        snprintf(domain, sizeof domain, "p%zu.test", i);
        sts_table_add(table, domain);
    }
    assert_string_equal(sts_table_surplus(table, 10)->domain, "p0.test");
}

/* --- On disk ------------------------------------------------------------ */

static void
test_restart(void **state UNUSED)
{
    struct seen seen;

    look("a.test", false);
    world.policy = "version: STSv1\nmode: testing\nmx: *.b.test\nmx: c.test\n"
                   "max_age: 86400\n";
    look("b.test", false);
    world.dns = DNS_ERROR;
    world_restart();
    seen = look("a.test", false);
    assert_int_equal(seen.state, STS_POLICY);
    assert_int_equal(seen.mode, STS_MODE_ENFORCE);
    assert_string_equal(seen.id, "one");
    assert_true(seen.cached);
    seen = look("b.test", false);
    assert_int_equal(seen.mode, STS_MODE_TESTING);
    assert_string_equal(seen.mx, "*.b.test");
    /* Time goes on while nothing runs. */
    clock_advance_ms((uint64_t)2 * DAY * 1000);
    world_restart();
    assert_int_equal(look("b.test", false).state, STS_UNKNOWN);
    assert_int_equal(look("a.test", false).state, STS_POLICY);
}

static void
read_file(struct buf *bytes)
{
    char path[128];
    FILE *file;
    char *to;

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    file = fopen(path, "re");
    assert_non_null(file);
    to = buf_reserve(bytes, 1 << 20);
    buf_grew(bytes, fread(to, 1, 1 << 20, file));
    fclose(file);
}

static void
write_file(struct sv bytes)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, file), bytes.n);
    fclose(file);
}

/* Whatever is torn off or spoilt: the rest is there. */
static void
test_damage(void **state UNUSED)
{
    struct buf whole = {0};
    size_t n, most = 0;

    fill(0, 20);
    sts_cache_free(world.cache);
    world_settle();
    read_file(&whole);
    n = buf_length(&whole);
    for (size_t cut = 0; cut < n; cut += 37) {
        write_file(sv_slice(buf_view(&whole), 0, cut));
        world_open_cache();
        assert_in_range(world.cache->table.kept.length, most, most + 1);
        most = world.cache->table.kept.length;
        sts_cache_free(world.cache);
    }
    assert_in_range(most, 19, 20);
    for (size_t at = 0; at < n; at += 41) {
        write_file(buf_view(&whole));
        {
            struct buf spoilt = {0};

            buf_add(&spoilt, buf_view(&whole));
            spoilt.p[spoilt.start + at] ^= 0x10;
            write_file(buf_view(&spoilt));
            buf_fini(&spoilt);
        }
        world_open_cache();
        assert_in_range(world.cache->table.kept.length, 19, 20);
        sts_cache_free(world.cache);
        /* What was left has been written anew. */
        world_open_cache();
        assert_in_range(world.cache->table.kept.length, 19, 20);
        sts_cache_free(world.cache);
    }
    buf_fini(&whole);
    world_open_cache();
}

static uint64_t
file_size(void)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void
test_file_is_kept_small(void **state UNUSED)
{
    struct sts_entry *entry;
    size_t most = 0;

    fill(0, 50);
    entry = sts_table_find(&world.cache->table, "d0.test");
    for (int i = 0; i < 60000; i++) {
        pthread_mutex_lock(&world.cache->lock);
        sts_cache_save(world.cache, entry);
        pthread_mutex_unlock(&world.cache->lock);
        if (i % 2000 == 0) {
            assert_true(sts_file_sync(world.cache->file));
            if (file_size() > most)
                most = file_size();
        }
    }
    assert_true(sts_file_sync(world.cache->file));
    assert_in_range(most, 1 << 20, 6 << 20);
    world_restart();
    assert_int_equal(world.cache->table.kept.length, 50);
}

static void
test_unwritable(void **state UNUSED)
{
    struct err err = {0};
    struct sts_cache *other;
    char path[128];

    snprintf(path, sizeof path, "%s/sts/policies", world.state_dir);
    sts_cache_free(world.cache);
    world_settle();
    remove(path);
    assert_int_equal(mkdir(path, 0700), 0);
    other = sts_cache_new(world.loop, &world.settings, NULL, &err);
    assert_null(other);
    assert_non_null(strstr(err.text, "policies"));
    rmdir(path);
    world_settle();
    world_open_cache();
}

/* --- The command line --------------------------------------------------- */

static void
test_show(void **state UNUSED)
{
    struct rpc_call call;
    json_t *fetches;

    call = request("sts.show", "a.test");
    assert_string_equal(call.error, "nothing is known of a.test");
    look("a.test", false);
    world.stage = HTTPS_TLS;
    for (int i = 0; i < 12; i++)
        json_decref(request("sts.refresh", "A.Test.").result);
    call = request("sts.show", "A.Test.");
    assert_string_equal(text(&call, "domain"), "a.test");
    assert_string_equal(text(&call, "state"), "policy");
    assert_string_equal(text(&call, "mode"), "enforce");
    assert_string_equal(text(&call, "reason"), "tls: it went wrong");
    assert_string_equal(text(&call, "fetched"), "2027-01-15T08:00:00Z");
    assert_string_equal(text(&call, "expires"), "2027-01-22T08:00:00Z");
    fetches = json_object_get(call.result, "fetches");
    assert_int_equal(json_array_size(fetches), STS_HISTORY);
    json_decref(call.result);
    call = request("sts.show", "not a domain");
    assert_string_equal(call.error, "\"not a domain\" is not a domain");
    call = request("sts.nonsense", "a.test");
    assert_non_null(strstr(call.error, "knows no call"));
}

static void
test_list(void **state UNUSED)
{
    struct rpc_call call;

    fill(0, 30);
    call = request("sts.list", NULL);
    assert_int_equal(call.items, 30);
    json_decref(call.result);
    call = (struct rpc_call){.method = "sts.list",
                             .params = json_pack("{s:i}", "limit", 7)};
    sts_request(world.cache, &call);
    assert_int_equal(call.items, 7);
    json_decref(call.result);
    json_decref(call.params);
}

static void
test_refresh_by_hand(void **state UNUSED)
{
    struct rpc_call call;

    world.stage = HTTPS_TLS;
    look("a.test", false);
    world.stage = HTTPS_OK;
    call = request("sts.refresh", "a.test"); /* no pause for it */
    assert_true(json_is_true(json_object_get(call.result, "renewed")));
    assert_string_equal(text(&call, "mode"), "enforce");
    json_decref(call.result);
    world.txt = NULL;
    call = request("sts.refresh", "a.test");
    assert_false(json_is_true(json_object_get(call.result, "renewed")));
    assert_string_equal(text(&call, "state"), "policy");
    json_decref(call.result);
}

static void
test_forget(void **state UNUSED)
{
    struct rpc_call call;

    look("a.test", false);
    call = request("sts.forget", "a.test");
    assert_non_null(call.result);
    json_decref(call.result);
    world_restart();
    call = request("sts.show", "a.test");
    assert_string_equal(call.error, "nothing is known of a.test");
    /* while it is fetched */
    world.hold = true;
    json_decref(request("sts.show", "a.test").result);
    {
        struct seen seen = {0};

        sts_lookup(world.cache, world.other, "a.test", false, on_evidence,
                   &seen);
        world_settle();
        json_decref(request("sts.forget", "a.test").result);
        world_release();
        world_settle();
        assert_int_equal(seen.calls, 1);
    }
}

static void
test_pin(void **state UNUSED)
{
    struct rpc_call call = request("sts.pin", "a.test");

    assert_string_equal(call.error, "no policy of a.test is in the cache");
    look("a.test", false);
    call = request("sts.pin", "a.test");
    assert_true(json_is_true(json_object_get(call.result, "pinned")));
    json_decref(call.result);
    world_restart();
    world.txt = "v=STSv1; id=two;";
    world.policy = "version: STSv1\nmode: none\nmax_age: 86400\n";
    world_pass(10 * DAY);
    assert_int_equal(look("a.test", true).state, STS_POLICY);
    assert_int_equal(world.fetches, 1);
    assert_int_equal(world.alerts, 0);
    call = (struct rpc_call){
        .method = "sts.pin",
        .params = json_pack("{s:s, s:b}", "domain", "a.test", "off", 1)};
    sts_request(world.cache, &call);
    assert_non_null(call.result);
    json_decref(call.result);
    json_decref(call.params);
    assert_int_equal(look("a.test", true).state, STS_ABSENT);
}

#define CASE(test)                                                             \
    cmocka_unit_test_setup_teardown(test, world_open, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_warm),
        CASE(test_ttl_bounds_memory),
        CASE(test_absence_is_remembered),
        CASE(test_fresh_asks_again),
        CASE(test_record_vanishes),
        CASE(test_failed_fetch_keeps),
        CASE(test_pause_without_policy),
        CASE(test_age_of_zero),
        CASE(test_none_ends_it),
        CASE(test_refreshed_daily),
        CASE(test_refresh_sees_change),
        CASE(test_alert_near_end),
        CASE(test_alert_ends_with_policy),
        CASE(test_unused_runs_out),
        CASE(test_single_flight),
        CASE(test_fetches_are_bounded),
        CASE(test_turns),
        CASE(test_cancel),
        CASE(test_end_under_way),
        CASE(test_reload),
        CASE(test_restart_without_files),
        CASE(test_longest_unused_go),
        CASE(test_policyless_go_first),
        CASE(test_all_pinned),
        CASE(test_restart),
        CASE(test_damage),
        CASE(test_file_is_kept_small),
        CASE(test_unwritable),
        CASE(test_show),
        CASE(test_list),
        CASE(test_refresh_by_hand),
        CASE(test_forget),
        CASE(test_pin),
    };

    return RUN_ROWS("first", test_first, first_rows) +
           cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
