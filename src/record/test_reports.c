/* Reports through their states, notices through their intervals; the clock is
 * a number here. */
#include "record/counts.h"
#include "record/database.h"
#include "record/notice_text.h"
#include "record/report_table.h"
#include "record/troubles.h"
#include "unit.h"
#include <unistd.h>

enum { HOUR = 3600, DAY = 86400 };
static const int64_t today = 20779; /* 2026-11-22 */

static char dir[64];
static struct store *store;
static struct arena arena;

static int
set_up(void **state)
{
    struct err err = {0};
    bool damaged;

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-reports-XXXXXX");
    assert_non_null(mkdtemp(dir));
    store = database_open(dir, today, &damaged, &err);
    assert_non_null(store);
    arena_init(&arena, 16384);
    return 0;
}

static int
tear_down(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[128];

    (void)state;
    arena_fini(&arena);
    store_close(store);
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        snprintf(path, sizeof path, "%s/record.db%s", dir, ends[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static void
count(int64_t day, const char *domain)
{
    const struct ledger_session session = {
        .ended_us = (day_start(day) + 12 * HOUR) * 1000000,
        .domain = sv_of(domain),
    };
    struct err err = {0};

    assert_true(counts_add(store, &session, &err));
}

static void
plan(int64_t now, uint32_t spread_s)
{
    const struct report_plan made = {.today = day_of(now),
                                     .now = now,
                                     .spread_s = spread_s,
                                     .submitter = "me.example"};
    struct err err = {0};

    assert_true(report_table_plan(store, &made, &err));
}

static struct report_row
get(int64_t day, const char *domain)
{
    struct report_row row;

    assert_true(report_table_get(store, day, domain, &arena, &row));
    return row;
}

/* --- Planning ------------------------------------------------------------- */

static void
only_days_that_are_over(void **state)
{
    struct report_row row;

    (void)state;
    count(today, "a.example");
    plan(day_start(today) + DAY - 1, 4 * HOUR);
    assert_false(report_table_get(store, today, "a.example", &arena, &row));
    plan(day_start(today + 1), 4 * HOUR);
    row = get(today, "a.example");
    assert_string_equal(row.state, REPORT_PLANNED);
    assert_in_range(row.due, day_start(today + 1),
                    day_start(today + 1) + 4 * HOUR + 60);
    assert_int_equal(row.tries, 0);
}

static void
spread_over_the_time(void **state)
{
    int64_t least = INT64_MAX, most = 0;
    char domain[32];

    (void)state;
    for (int i = 0; i < 60; i++) {
        snprintf(domain, sizeof domain, "d%d.example", i);
        count(today, domain);
    }
    plan(day_start(today + 1), 4 * HOUR);
    for (int i = 0; i < 60; i++) {
        int64_t due;

        snprintf(domain, sizeof domain, "d%d.example", i);
        due = get(today, domain).due;
        least = due < least ? due : least;
        most = due > most ? due : most;
    }
    assert_true(most - least > 2 * HOUR); /* but for one chance in 10^15 */
}

/* Down at midnight: soon, and not all at the same moment. */
static void
late_reports_go_soon(void **state)
{
    int64_t now = day_start(today + 3) + 17 * HOUR;
    struct report_row row;

    (void)state;
    count(today, "a.example");
    plan(now, 4 * HOUR);
    row = get(today, "a.example");
    assert_in_range(row.due, now, now + 300);
}

static void
the_id_stays(void **state)
{
    int64_t now = day_start(today + 1);
    struct report_row first, other;
    struct err err = {0};

    (void)state;
    count(today, "a.example");
    count(today, "b.example");
    plan(now, 0);
    first = get(today, "a.example");
    other = get(today, "b.example");
    assert_non_null(strstr(first.report_id, "@me.example"));
    assert_string_not_equal(first.report_id, other.report_id);
    plan(now + 10, 0);
    assert_true(report_table_note(store, &first, REPORT_PLANNED, "SERVFAIL",
                                  now, now + 300, &err));
    assert_true(report_table_again(store, today, "a.example", now + 500, &err));
    assert_string_equal(get(today, "a.example").report_id, first.report_id);
}

/* --- Sending -------------------------------------------------------------- */

static struct tlsrpt_record
record_of(const char *text)
{
    struct tlsrpt_record record;
    struct err err = {0};

    assert_true(tlsrpt_record_parse(sv_of(text), &arena, &record, &err));
    return record;
}

static void
start(int64_t now)
{
    struct tlsrpt_record record =
        record_of("v=TLSRPTv1;rua=mailto:a@b.c,https://b.c/r,mailto:a@b.c");
    struct report_row rows[4];
    struct err err = {0};

    count(today, "a.example");
    plan(now, 0);
    assert_int_equal(report_table_due(store, now, &arena, rows, 4), 1);
    assert_true(report_table_start(store, &rows[0], now, "{}", &record, &err));
    assert_int_equal(report_table_due(store, now, &arena, rows, 4), 0);
}

static void
note(const struct target_row *row, const char *state, int64_t now)
{
    struct err err = {0};
    bool claimed;

    assert_true(report_table_claim(store, row, now + 300, &claimed, &err));

    assert_true(report_table_note_target(store, row, state, "said so", now,
                                         now + 300, &err));
}

static void
every_target_until_one_accepts(void **state)
{
    int64_t now = day_start(today + 1);
    struct target_row targets[4];

    (void)state;
    start(now);
    assert_int_equal(report_table_due_targets(store, now, &arena, targets, 4),
                     2); /* the same address twice is one */
    assert_string_equal(targets[0].report.content, "{}");
    note(&targets[0], TARGET_WAITING, now);
    assert_int_equal(report_table_due_targets(store, now, &arena, targets, 4),
                     1);
    note(&targets[0], TARGET_ACCEPTED, now);
    assert_string_equal(get(today, "a.example").state, REPORT_SENDING);
    assert_int_equal(
        report_table_due_targets(store, now + 300, &arena, targets, 4), 1);
    assert_int_equal(targets[0].tries, 1);
    assert_int_equal(targets[0].report.first_try, now);
    note(&targets[0], TARGET_FAILED, now + 300);
    assert_string_equal(get(today, "a.example").state, REPORT_SENT);
}

/* Killed in the middle of a try: it counts, and the next one waits. */
static void
a_try_counts_before_it_is_made(void **state)
{
    int64_t now = day_start(today + 1);
    struct target_row targets[4];
    struct err err = {0};
    bool claimed;

    (void)state;
    start(now);
    assert_int_equal(report_table_due_targets(store, now, &arena, targets, 1),
                     1);
    assert_true(report_table_claim(store, targets, now + 60, &claimed, &err));
    assert_true(claimed);
    assert_int_equal(report_table_due_targets(store, now, &arena, targets, 4),
                     1);
    assert_int_equal(
        report_table_due_targets(store, now + 60, &arena, targets, 4), 2);
    assert_int_equal(targets[0].tries + targets[1].tries, 1);
    assert_string_equal(targets[0].answer, "");
    note(&targets[0], TARGET_FAILED, now);
    assert_true(report_table_claim(store, targets, now + 60, &claimed, &err));
    assert_false(claimed); /* it has ended */
}

static void
forgotten_during_its_lookup(void **state)
{
    int64_t now = day_start(today + 1);
    struct tlsrpt_record record = record_of("v=TLSRPTv1;rua=mailto:a@b.c");
    struct report_row row;
    struct target_row target;
    struct err err = {0};

    (void)state;
    count(today, "a.example");
    plan(now, 0);
    row = get(today, "a.example");
    assert_true(database_forget_before(store, today + 1, 0, &err));
    assert_true(report_table_start(store, &row, now, "{}", &record, &err));
    assert_int_equal(
        report_table_targets(store, today, "a.example", &arena, &target, 1), 0);
}

static void
failed_when_none_accepts(void **state)
{
    int64_t now = day_start(today + 1);
    struct target_row targets[4];
    struct report_row row;

    (void)state;
    start(now);
    assert_int_equal(report_table_due_targets(store, now, &arena, targets, 4),
                     2);
    note(&targets[0], TARGET_FAILED, now);
    note(&targets[1], TARGET_FAILED, now);
    row = get(today, "a.example");
    assert_string_equal(row.state, REPORT_FAILED);
    assert_string_equal(row.error, "said so");
}

static void
again_by_hand(void **state)
{
    int64_t now = day_start(today + 1);
    struct target_row targets[4];
    struct report_row row;
    struct err err = {0};

    (void)state;
    start(now);
    assert_true(report_table_again(store, today, "a.example", now + 9, &err));
    row = get(today, "a.example");
    assert_string_equal(row.state, REPORT_PLANNED);
    assert_string_equal(row.content, "{}"); /* frozen for good */
    assert_int_equal(row.first_try, 0);
    assert_int_equal(
        report_table_targets(store, today, "a.example", &arena, targets, 4), 0);
    assert_false(report_table_again(store, today, "b.example", now, &err));
    assert_string_equal(err.text, "");
}

/* An attempt was under way: it says nothing about what is tried from now on. */
static void
again_during_an_attempt(void **state)
{
    int64_t now = day_start(today + 1);
    struct target_row targets[4];
    struct report_row row;
    struct err err = {0};

    (void)state;
    start(now);
    assert_int_equal(report_table_due_targets(store, now, &arena, targets, 4),
                     2);
    assert_true(report_table_again(store, today, "a.example", now + 9, &err));
    note(&targets[0], TARGET_ACCEPTED, now + 10);
    note(&targets[1], TARGET_FAILED, now + 10);
    row = get(today, "a.example");
    assert_string_equal(row.state, REPORT_PLANNED);
    assert_string_equal(row.error, "");
    assert_int_equal(report_table_due(store, now + 9, &arena, &row, 1), 1);
}

static void
back_off_grows_to_its_limit(void **state)
{
    (void)state;
    assert_in_range(report_back_off(1, DAY), 300, 375);
    assert_in_range(report_back_off(2, DAY), 600, 750);
    assert_in_range(report_back_off(3, DAY), 1200, 1500);
    assert_in_range(report_back_off(50, DAY), 7200, 9000);
    assert_in_range(report_back_off(1, 60), 6, 8);
}

/* --- Notices ---------------------------------------------------------------
 */

static const struct ledger_session expired = {
    .ended_us = 1795305600000000,
    .domain = SV_INIT("a.example"),
    .policy = LEDGER_POLICY_STS,
    .result = TLS_RESULT_EXPIRED,
    .stage = STAGE_EXPIRED,
    .host = SV_INIT("mx.a.example"),
    .reason = SV_INIT("ended on Monday"),
};

static void
trouble(const struct ledger_session *session)
{
    struct err err = {0};

    assert_true(troubles_add(store, session, &err));
}

static void
which_sessions_concern(void **state)
{
    struct ledger_session session = expired;

    (void)state;
    assert_true(troubles_concern(&session));
    session.policy = LEDGER_POLICY_NONE;
    assert_false(troubles_concern(&session));
    session.policy = LEDGER_POLICY_TLSA;
    session.result = TLS_RESULT_OK;
    assert_false(troubles_concern(&session));
}

static void
one_notice_in_an_interval(void **state)
{
    const char *domains[4];
    struct trouble rows[TROUBLES_MAX];
    struct err err = {0};
    size_t n;

    (void)state;
    assert_int_equal(troubles_domains(store, 1000, &arena, domains, 4), 0);
    trouble(&expired);
    trouble(&expired);
    assert_int_equal(troubles_domains(store, 1000, &arena, domains, 4), 1);
    n = troubles_load(store, "a.example", &arena, rows, TROUBLES_MAX);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].sessions, 2);
    assert_true(troubles_told(store, "a.example", 2000, &err));
    trouble(&expired); /* while the mail is on its way */
    assert_true(troubles_clear(store, "a.example", rows, n, &err));
    assert_int_equal(troubles_domains(store, 1999, &arena, domains, 4), 0);
    assert_int_equal(troubles_domains(store, 2000, &arena, domains, 4), 1);
    n = troubles_load(store, "a.example", &arena, rows, TROUBLES_MAX);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].sessions, 1);
    assert_true(troubles_clear(store, "a.example", rows, n, &err));
    assert_int_equal(troubles_domains(store, 9999, &arena, domains, 4), 0);
}

static void
who_waits_longest_is_told_first(void **state)
{
    struct ledger_session later = expired;
    const char *domains[4];

    (void)state;
    later.ended_us += 1000000;
    later.domain = SV("0.example");
    trouble(&later);
    trouble(&expired);
    assert_int_equal(troubles_domains(store, 1000, &arena, domains, 1), 1);
    assert_string_equal(domains[0], "a.example");
    assert_int_equal(troubles_domains(store, 1000, &arena, domains, 4), 2);
}

/* When somebody was told stays known for an interval that is longer than what
 * else is kept; troubles that nobody can be told of go. */
static void
old_troubles_are_forgotten(void **state)
{
    int64_t day = day_of(expired.ended_us / 1000000);
    const char *domains[4];
    struct err err = {0};

    (void)state;
    trouble(&expired);
    assert_true(troubles_told(store, "a.example", 2000, &err));
    assert_true(database_forget_before(store, day, 2000, &err));
    assert_int_equal(troubles_domains(store, 1999, &arena, domains, 4), 0);
    assert_int_equal(troubles_domains(store, 2000, &arena, domains, 4), 1);
    assert_true(database_forget_before(store, day, 2001, &err));
    assert_int_equal(troubles_domains(store, 1999, &arena, domains, 4), 1);
    assert_true(database_forget_before(store, day + 1, 0, &err));
    assert_int_equal(troubles_domains(store, 9999, &arena, domains, 4), 0);
}

static void
kinds_of_trouble_are_bounded(void **state)
{
    struct ledger_session session = expired;
    struct trouble rows[TROUBLES_MAX];
    uint64_t sum = 0;
    char reason[32];
    size_t n;

    (void)state;
    for (int i = 0; i < 200; i++) {
        snprintf(reason, sizeof reason, "reason %d", i);
        session.reason = sv_of(reason);
        trouble(&session);
    }
    n = troubles_load(store, "a.example", &arena, rows, TROUBLES_MAX);
    assert_true(n < TROUBLES_MAX);
    for (size_t i = 0; i < n; i++)
        sum += rows[i].sessions;
    assert_int_equal(sum, 200);
}

static void
what_a_notice_says(void **state)
{
    static const char *const lines[] = {
        "From: Waxgate <tls@me.example>\r\n",
        "To: boss@me.example, other@me.example\r\n",
        "Subject: TLS failure: a.example (MTA-STS, enforce): 3 connections\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "\r\n2 connections: the certificate has expired\r\n"
        "  Server:     mx.a.example\r\n"
        "  Policy:     MTA-STS, enforce\r\n"
        "  Stage:      certificate-expired\r\n"
        "  Reason:     ended on Monday\r\n"
        "  Result:     certificate-expired\r\n"
        "  First:      2026-11-22 00:00:00 UTC\r\n"
        "  Last:       2026-11-22 01:00:00 UTC\r\n"
        "  Mail:       was not given to this server",
        "\r\n1 connection: no TLSA record matches what the server presented\r\n"
        "  Server:     b?cc: evil\r\n"
        "  Policy:     DANE\r\n"
        "  Result:     tlsa-invalid\r\n",
        "  waxgate queue list --destination a.example\r\n",
        "  waxgate tls-check a.example\r\n",
        "1440 minutes",
    };
    static const struct trouble troubles[] = {
        {"sts", "certificate-expired", "certificate-expired", "mx.a.example",
         "ended on Monday", true, 2, 1795305600, 1795309200},
        {"tlsa", "tlsa-invalid", "none", "b\ncc: evil", "", true, 1, 1795305600,
         1795305600},
    };
    char *recipients[] = {(char[]){"boss@me.example"},
                          (char[]){"other@me.example"}};
    const struct notice notice = {
        .from = "tls@me.example",
        .recipients = recipients,
        .recipient_count = 2,
        .hostname = "gw.me.example",
        .domain = "a.example",
        .unique = "notice-1",
        .troubles = troubles,
        .trouble_count = 2,
        .interval_s = DAY,
        .wall_s = 1795309300,
    };
    struct buf out = {0};

    (void)state;
    notice_write(&notice, &out);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (strstr(buf_cstr(&out), lines[i]) == NULL)
            fail_msg("no %s in:\n%s", lines[i], buf_cstr(&out));
    assert_null(strstr(buf_cstr(&out), "\ncc:"));
    buf_fini(&out);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(only_days_that_are_over),
        TEST(spread_over_the_time),
        TEST(late_reports_go_soon),
        TEST(the_id_stays),
        TEST(every_target_until_one_accepts),
        TEST(a_try_counts_before_it_is_made),
        TEST(forgotten_during_its_lookup),
        TEST(failed_when_none_accepts),
        TEST(again_by_hand),
        TEST(again_during_an_attempt),
        TEST(back_off_grows_to_its_limit),
        TEST(which_sessions_concern),
        TEST(one_notice_in_an_interval),
        TEST(who_waits_longest_is_told_first),
        TEST(old_troubles_are_forgotten),
        TEST(kinds_of_trouble_are_bounded),
        cmocka_unit_test(what_a_notice_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
