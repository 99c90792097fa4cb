/* Sessions are counted by day, domain and policy, and come back as a report. */
#include "record/counts.h"

#include "record/database.h"
#include "unit.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct store *store;
static struct arena arena;

enum { NOON = 43200 };
static const int64_t today = 20779; /* 2026-11-22 */

static int
set_up(void **state)
{
    struct err err = {0};
    bool damaged;

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-counts-XXXXXX");
    assert_non_null(mkdtemp(dir));
    store = database_open(dir, today, &damaged, &err);
    assert_non_null(store);
    assert_false(damaged);
    arena_init(&arena, 4096);
    return 0;
}

static void
remove_files(void)
{
    static const char *const names[] = {
        "record.db",         "record.db-wal",         "record.db-shm",
        "record.db.damaged", "record.db.damaged-wal", "record.db.damaged-shm"};
    char path[128];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static int
tear_down(void **state)
{
    (void)state;
    arena_fini(&arena);
    store_close(store);
    remove_files();
    return 0;
}

static struct ledger_session
session_of(const char *domain, enum ledger_policy policy,
           enum ledger_tls_result result)
{
    return (struct ledger_session){
        .ended_us = (day_start(today) + NOON) * 1000000,
        .domain = sv_of(domain),
        .policy = policy,
        .result = result,
        .host = SV("mx.example.org"),
        .ip = SV("192.0.2.1"),
        .local_ip = SV("192.0.2.9"),
    };
}

static void
count(const struct ledger_session *session)
{
    struct err err = {0};

    assert_true(store_begin(store, &err));
    assert_true(counts_add(store, session, &err));
    assert_true(store_commit(store, &err));
}

static struct tlsrpt_report
load(int64_t day, const char *domain)
{
    struct tlsrpt_report report = {0};
    struct err err = {0};

    assert_true(counts_load(store, day, domain, &arena, &report, &err));
    return report;
}

static void
successes_and_failures(void **state)
{
    struct ledger_session good =
        session_of("example.org", LEDGER_POLICY_STS, TLS_RESULT_OK);
    struct ledger_session bad =
        session_of("example.org", LEDGER_POLICY_STS, TLS_RESULT_EXPIRED);
    struct tlsrpt_report report;

    (void)state;
    good.policy_id = bad.policy_id = SV("1");
    good.policy_text = bad.policy_text = SV("version: STSv1\nmode: testing");
    bad.reason = SV("ended yesterday");
    count(&good);
    count(&good);
    count(&bad);
    count(&bad);
    bad.enforced = true; /* no other kind for the report */
    count(&bad);
    report = load(today, "example.org");
    assert_int_equal(report.policy_count, 1);
    assert_sv(report.policies[0].type, "sts");
    assert_sv(report.policies[0].text, "version: STSv1\nmode: testing");
    assert_int_equal(report.policies[0].succeeded, 2);
    assert_int_equal(report.policies[0].failed, 3);
    assert_int_equal(report.policies[0].failure_count, 1);
    assert_int_equal(report.policies[0].failures[0].sessions, 3);
    assert_sv(report.policies[0].failures[0].result, "certificate-expired");
    assert_sv(report.policies[0].failures[0].reason, "ended yesterday");
    assert_int_equal(load(today, "example.net").policy_count, 0);
}

static void
a_policy_that_changes_is_two(void **state)
{
    struct ledger_session session =
        session_of("example.org", LEDGER_POLICY_STS, TLS_RESULT_OK);
    struct tlsrpt_report report;

    (void)state;
    session.policy_id = SV("1");
    session.policy_text = SV("mode: testing");
    count(&session);
    session.policy_text = (struct sv){0}; /* the same as before */
    count(&session);
    session.policy_id = SV("2");
    session.policy_text = SV("mode: enforce");
    count(&session);
    session.policy = LEDGER_POLICY_NONE;
    session.policy_id = session.policy_text = (struct sv){0};
    count(&session);
    report = load(today, "example.org");
    assert_int_equal(report.policy_count, 3);
    assert_int_equal(report.policies[0].succeeded, 2);
    assert_int_equal(report.policies[1].succeeded, 1);
    assert_sv(report.policies[2].type, "no-policy-found");
}

/* TLSA records belong to a host: without its text a session goes to what was
 * known of that host. */
static void
tlsa_of_two_hosts(void **state)
{
    struct ledger_session session =
        session_of("example.org", LEDGER_POLICY_TLSA, TLS_RESULT_OK);
    struct tlsrpt_report report;

    (void)state;
    session.host = SV("mx1.example.org");
    session.policy_text = SV("3 1 1 AA");
    count(&session);
    session.host = SV("mx2.example.org");
    session.policy_text = SV("3 1 1 BB");
    count(&session);
    session.host = SV("mx1.example.org");
    session.policy_text = (struct sv){0};
    count(&session);
    report = load(today, "example.org");
    assert_int_equal(report.policy_count, 2);
    assert_int_equal(report.policies[0].succeeded, 2);
    assert_int_equal(report.policies[1].succeeded, 1);
}

/* The session that told what the policy says was lost; a later one does. */
static void
a_lost_text_is_made_up_for(void **state)
{
    struct ledger_session session =
        session_of("example.org", LEDGER_POLICY_TLSA, TLS_RESULT_OK);
    struct tlsrpt_report report;

    (void)state;
    session.policy_id = SV("0a0b");
    count(&session);
    session.policy_id = SV("0c0d");
    count(&session);
    session.policy_text = SV("3 1 1 CC");
    count(&session);
    session.policy_id = SV("0a0b");
    session.policy_text = SV("3 1 1 AA");
    count(&session);
    report = load(today, "example.org");
    assert_int_equal(report.policy_count, 2);
    assert_sv(report.policies[0].text, "3 1 1 AA");
    assert_int_equal(report.policies[0].succeeded, 2);
    assert_sv(report.policies[1].text, "3 1 1 CC");
    assert_int_equal(report.policies[1].succeeded, 2);
}

static void
days_are_utc(void **state)
{
    struct ledger_session session =
        session_of("example.org", LEDGER_POLICY_NONE, TLS_RESULT_OK);

    (void)state;
    session.ended_us = day_start(today) * 1000000;
    count(&session);
    session.ended_us--;
    count(&session);
    assert_int_equal(load(today, "example.org").policies[0].succeeded, 1);
    assert_int_equal(load(today - 1, "example.org").policies[0].succeeded, 1);
}

/* A peer that says something else each time fills no disk. */
static void
kinds_are_bounded(void **state)
{
    struct ledger_session session =
        session_of("example.org", LEDGER_POLICY_NONE, TLS_RESULT_NOT_SUPPORTED);
    struct tlsrpt_report report;
    uint64_t sum = 0;
    char reason[32];

    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(reason, sizeof reason, "refused %d", i);
        session.reason = sv_of(reason);
        count(&session);
    }
    report = load(today, "example.org");
    assert_int_equal(report.policies[0].failed, 300);
    assert_in_range(report.policies[0].failure_count, 100, 102);
    for (size_t i = 0; i < report.policies[0].failure_count; i++)
        sum += report.policies[0].failures[i].sessions;
    assert_int_equal(sum, 300);
}

static void
policies_are_bounded(void **state)
{
    struct ledger_session session =
        session_of("example.org", LEDGER_POLICY_STS, TLS_RESULT_OK);
    struct tlsrpt_report report;
    char id[32];

    (void)state;
    for (int i = 0; i < 150; i++) {
        snprintf(id, sizeof id, "id%d", i);
        session.policy_id = session.policy_text = sv_of(id);
        count(&session);
    }
    report = load(today, "example.org");
    assert_int_equal(report.policy_count, 101);
    assert_int_equal(report.policies[100].succeeded, 50);
}

static void
old_days_are_forgotten(void **state)
{
    struct ledger_session session =
        session_of("example.org", LEDGER_POLICY_NONE, TLS_RESULT_NOT_SUPPORTED);
    struct err err = {0};

    (void)state;
    count(&session);
    assert_true(database_forget_before(store, today, 0, &err));
    assert_int_equal(load(today, "example.org").policy_count, 1);
    assert_true(database_forget_before(store, today + 1, 0, &err));
    assert_int_equal(load(today, "example.org").policy_count, 0);
}

static void
a_damaged_database_begins_anew(void **state)
{
    char path[128];
    struct err err = {0};
    int64_t first;
    bool damaged;
    int fd;

    (void)state;
    store_close(store);
    snprintf(path, sizeof path, "%s/record.db", dir);
    fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "garbage garbage garbage", 23, 0), 23);
    close(fd);
    store = database_open(dir, today, &damaged, &err);
    assert_non_null(store);
    assert_true(damaged);
    assert_true(database_first_day(store, &first, &err));
    assert_int_equal(first, today);
}

/* Removed by hand: what may have been reported is not counted once more. */
static void
a_new_database_begins_today(void **state)
{
    struct err err = {0};
    int64_t first;
    bool damaged;

    (void)state;
    assert_true(database_first_day(store, &first, &err));
    assert_int_equal(first, today);
    store_close(store);
    store = database_open(dir, today + 3, &damaged, &err);
    assert_true(database_first_day(store, &first, &err));
    assert_int_equal(first, today); /* only when it is made */
    store_close(store);
    remove_files();
    assert_int_equal(mkdir(dir, 0700), 0);
    store = database_open(dir, today + 3, &damaged, &err);
    assert_non_null(store);
    assert_false(damaged);
    assert_true(database_first_day(store, &first, &err));
    assert_int_equal(first, today + 3);
}

/* Damage that is met while it is open. */
static void
set_aside_while_it_works(void **state)
{
    struct err err = {0};
    char path[128];
    bool damaged;

    (void)state;
    store_close(store);
    assert_true(database_set_aside(dir, &err));
    snprintf(path, sizeof path, "%s/record.db.damaged", dir);
    assert_int_equal(access(path, F_OK), 0);
    store = database_open(dir, today, &damaged, &err);
    assert_non_null(store);
    assert_false(damaged);
}

static void
days_have_names(void **state)
{
    char text[DAY_TEXT];
    int64_t day = 0;

    (void)state;
    assert_string_equal(day_text(today, text), "2026-11-22");
    assert_true(day_parse(SV("2026-11-22"), &day));
    assert_int_equal(day, today);
    assert_false(day_parse(SV("2026-02-30"), &day));
    assert_false(day_parse(SV("2026-2-3"), &day));
    assert_false(day_parse(SV("yesterday"), &day));
    assert_false(day_parse(SV("2026-11-221"), &day));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(successes_and_failures),
        TEST(a_policy_that_changes_is_two),
        TEST(tlsa_of_two_hosts),
        TEST(days_are_utc),
        TEST(kinds_are_bounded),
        TEST(policies_are_bounded),
        TEST(old_days_are_forgotten),
        TEST(a_damaged_database_begins_anew),
        TEST(a_new_database_begins_today),
        TEST(set_aside_while_it_works),
        TEST(days_have_names),
        TEST(a_lost_text_is_made_up_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
