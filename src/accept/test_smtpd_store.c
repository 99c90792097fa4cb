/* What a session does when the spool is slow, stuck, full or failing, and when
 * a client does not read or asks for too much; with a spool in memory. */
#include "accept/smtpd.h"
#include "dialogue/fake_spool.h"
#include "unit.h"
#include <errno.h>

struct fixture {
    struct spool spool;
    struct smtpd_home home;
    struct loop *loop;
    struct settings *settings;
    struct listener *listener;
    struct listener_revision *revision;
    struct conn *conn;
    struct buf output;
    unsigned emptied;
};

static void
on_empty(void *arg)
{
    struct fixture *f = arg;

    f->emptied++;
}

static char closed_because[512]; /* the last smtpd.close */

static void
on_log(void *arg, struct sv line)
{
    (void)arg;
    if (memmem(line.p, line.n, "smtpd.close", 11) != NULL)
        snprintf(closed_because, sizeof closed_because, "%.*s", SV_ARG(line));
}

static void
send_text(struct fixture *f, const char *text)
{
    conn_fake_receive(f->conn, sv_of(text));
}

static void
connect_client(struct fixture *f)
{
    struct smtpd_admission admission = {0};
    struct net_address peer;
    const char *why;
    struct smtpd *s;

    assert_true(net_address_parse_port(SV("192.0.2.1:4000"), &peer));
    assert_true(listener_admit(f->revision, &why));
    s = smtpd_new(&f->home, listener_revision_ref(f->revision));
    f->conn = conn_fake(f->loop, &peer, smtpd_on_event, s);
    smtpd_start(s, f->conn, &admission);
}

static int
set_up(void **state)
{
    static const char yaml[] =
        "hostname: gw.test\nstate_dir: /nonexistent\n"
        "listeners:\n"
        "  A: {type: public, address: '192.0.2.25:25', domains: [a.test],\n"
        "      max_recipients_per_message: 100000}\n";
    const struct settings_options options = {.check_files = false};
    struct fixture *f = mem_alloc(sizeof *f);
    struct err err;

    log_capture(on_log, NULL);
    f->loop = loop_new_manual(1000, 1795305600);
    f->settings = settings_load(sv_of(yaml), "test", &options, &err);
    assert_non_null(f->settings);
    f->listener = listener_new("A");
    f->revision = listener_revision_new(f->listener, f->settings,
                                        &f->settings->listeners[0], NULL, &err);
    f->home = (struct smtpd_home){
        .loop = f->loop, .spool = &f->spool, .on_empty = on_empty, .arg = f};
    list_init(&f->home.sessions);
    connect_client(f);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    struct net_address peer;

    smtpd_home_drop(&f->home);
    loop_advance(f->loop, 0);
    assert_int_equal(f->spool.drafts, 0);
    assert_int_equal(f->listener->counts.open, 0);
    assert_true(net_address_parse_port(SV("192.0.2.1:4000"), &peer));
    assert_int_equal(
        rate_gauge_now(f->listener->clients, rate_key_of(&peer, 0)), 0);
    conn_fake_free(f->conn);
    listener_revision_unref(f->revision);
    listener_unref(f->listener);
    settings_unref(f->settings);
    buf_fini(&f->home.scratch);
    buf_fini(&f->output);
    buf_fini(&f->spool.content);
    loop_free(f->loop);
    mem_free(f);
    return 0;
}

/* The last line that the server wrote begins so. */
static void
expect_last(struct fixture *f, const char *start)
{
    struct sv view, line = {0};

    loop_advance(f->loop, 0);
    buf_reset(&f->output);
    conn_fake_take(f->conn, &f->output);
    view = buf_view(&f->output);
    while (view.n > 0)
        line = sv_take_until(&view, '\n');
    if (!sv_starts_nocase(line, sv_of(start)))
        fail_msg("expected \"%s\", came \"%.*s\"", start, SV_ARG(line));
}

static void
expect_nothing(struct fixture *f)
{
    loop_advance(f->loop, 0);
    buf_reset(&f->output);
    conn_fake_take(f->conn, &f->output);
    assert_int_equal(buf_length(&f->output), 0);
}

#define ENVELOPE                                                               \
    "EHLO c\r\nMAIL FROM:<x@b.test>\r\nRCPT TO:<y@a.test>\r\nDATA\r\n"

static void
commit_fails_451(void **state)
{
    struct fixture *f = *state;

    f->spool.fails = EIO;
    send_text(f, ENVELOPE "x\r\n.\r\n");
    expect_last(f, "451 4.3.0 ");
    assert_int_equal(f->spool.committed, 0);
    f->spool.fails = 0; /* the next message is a new one */
    send_text(f, "MAIL FROM:<x@b.test>\r\nRCPT TO:<y@a.test>\r\nDATA\r\n"
                 "x\r\n.\r\n");
    expect_last(f, "250 2.0.0 ok: message ");
    assert_int_equal(f->spool.committed, 1);
}

static void
commit_finds_disk_full_452(void **state)
{
    struct fixture *f = *state;

    f->spool.fails = ENOSPC;
    send_text(f, ENVELOPE "x\r\n.\r\n");
    expect_last(f, "452 4.3.1 ");
}

static void
no_reply_before_commit(void **state)
{
    struct fixture *f = *state;

    f->spool.is_stuck = true;
    send_text(f, ENVELOPE "x\r\n.\r\nNOOP\r\nQUIT\r\n");
    expect_last(f, "354 ");
    loop_advance(f->loop, 60000);
    expect_nothing(f);
    fake_finish(f->spool.last);
    expect_last(f, "221 ");
    assert_true(conn_fake_closed(f->conn));
    assert_int_equal(f->spool.committed, 1);
}

static void
stuck_commit_times_out(void **state)
{
    struct fixture *f = *state;

    f->spool.is_stuck = true;
    send_text(f, ENVELOPE "x\r\n.\r\n");
    loop_advance(f->loop, 300000);
    expect_last(f, "421 4.3.0 ");
    assert_int_equal(f->spool.drafts, 0);
}

static void
session_limit_waits_for_commit(void **state)
{
    struct fixture *f = *state;

    /* Two hours: the commit is under way when they are over. */
    send_text(f, "EHLO c\r\n");
    for (int i = 0; i < 29; i++) {
        loop_advance(f->loop, 240000);
        send_text(f, "NOOP\r\n");
    }
    f->spool.is_stuck = true;
    send_text(f, ENVELOPE "x\r\n.\r\n");
    expect_last(f, "354 ");
    loop_advance(f->loop, 240500);
    expect_nothing(f);
    fake_finish(f->spool.last);
    expect_last(f, "250 2.0.0 ok: message ");
    loop_advance(f->loop, 1000);
    expect_last(f, "421 4.4.2 Exceeded ");
}

static void
slow_spool_stops_reading(void **state)
{
    struct fixture *f = *state;
    uint64_t length;

    send_text(f, ENVELOPE);
    f->spool.is_slow = true;
    send_text(f, "one\r\n");
    length = spool_draft_length(f->spool.last);
    send_text(f, "two\r\n.\r\n");
    assert_int_equal(spool_draft_length(f->spool.last), length);
    f->spool.is_slow = false;
    fake_room(f->spool.last);
    expect_last(f, "250 2.0.0 ok: message ");
    assert_int_equal(f->spool.committed, 1);
}

static void
slow_spool_while_chunks_come(void **state)
{
    struct fixture *f = *state;

    f->spool.is_slow = true;
    send_text(f, "EHLO c\r\nMAIL FROM:<x@b.test>\r\nRCPT TO:<y@a.test>\r\n"
                 "BDAT 3\r\nabcBDAT 3\r\ndefBDAT 2 LAST\r\n\r\nNOOP\r\n");
    expect_last(f, "250 2.0.0 3 octets");
    fake_room(f->spool.last);
    expect_last(f, "250 2.0.0 6 octets");
    fake_room(f->spool.last);
    expect_last(f, "250 2.0.0 ok");
    assert_int_equal(f->spool.committed, 1);
}

static void
full_spool_refuses_mail(void **state)
{
    struct fixture *f = *state;

    f->spool.refuses = true;
    send_text(f, "EHLO c\r\nMAIL FROM:<x@b.test>\r\n");
    expect_last(f, "452 4.3.1 queue full");
    f->spool.refuses = false;
    send_text(f, "MAIL FROM:<x@b.test>\r\n");
    expect_last(f, "250 2.1.0 ");
}

static void
lost_peer_drops_the_draft(void **state)
{
    struct fixture *f = *state;

    send_text(f, ENVELOPE "half a message\r\n");
    assert_int_equal(f->spool.drafts, 1);
    conn_fake_eof(f->conn);
    assert_int_equal(f->spool.drafts, 0);
    assert_int_equal(f->spool.committed, 0);
}

static void
shutdown_drops_a_stuck_commit(void **state)
{
    struct fixture *f = *state;

    f->spool.is_stuck = true;
    send_text(f, ENVELOPE "x\r\n.\r\n");
    smtpd_home_drain(&f->home);
    assert_int_equal(f->emptied, 0);
    smtpd_home_drop(&f->home);
    assert_int_equal(f->spool.drafts, 0);
}

static void
drain_waits_for_the_commit(void **state)
{
    struct fixture *f = *state;

    f->spool.is_stuck = true;
    send_text(f, ENVELOPE "x\r\n.\r\n");
    smtpd_home_drain(&f->home);
    fake_finish(f->spool.last);
    expect_last(f, "421 4.3.2 ");
    assert_int_equal(f->spool.committed, 1);
    assert_int_equal(f->emptied, 1);
}

static void
greedy_sender_is_throttled(void **state)
{
    struct fixture *f = *state;
    struct buf text = {0};
    size_t replies = 0;
    struct sv view;

    /* More replies than are held at once: all come, in order. */
    send_text(f, "EHLO c\r\nMAIL FROM:<x@b.test>\r\n");
    for (int i = 0; i < 600; i++)
        buf_printf(&text, "RCPT TO:<%060d@a.test>\r\n", i);
    conn_fake_receive(f->conn, buf_view(&text));
    loop_advance(f->loop, 0);
    conn_fake_take(f->conn, &f->output);
    view = buf_view(&f->output);
    while (view.n > 0)
        replies += sv_take_until(&view, '\n').p[3] == ' ';
    assert_int_equal(replies, 1 + 1 + 1 + 600);
    buf_fini(&text);
}

/* A MAIL and so many RCPT, whose replies are more than are held. */
static void
ask_for_much(struct fixture *f, int recipients)
{
    struct buf text = {0};

    send_text(f, "EHLO c\r\nMAIL FROM:<x@b.test>\r\n");
    for (int i = 0; i < recipients; i++)
        buf_printf(&text, "RCPT TO:<%060d@a.test>\r\n", i);
    conn_fake_receive(f->conn, buf_view(&text));
    buf_fini(&text);
}

static void
peer_that_reads_nothing_times_out(void **state)
{
    struct fixture *f = *state;

    conn_fake_stall(f->conn, true);
    ask_for_much(f, 600);
    assert_int_equal(conn_output_pending(f->conn) / 1024, 16);
    loop_advance(f->loop, 119000);
    assert_false(conn_fake_closed(f->conn));
    /* More commands are not progress. */
    send_text(f, "NOOP\r\n");
    loop_advance(f->loop, 2000);
    assert_true(conn_fake_closed(f->conn));
    assert_non_null(strstr(closed_because, "reason=write-timeout"));
    expect_nothing(f); /* nobody is there for a 421 */
}

static void
peer_that_reads_late_goes_on(void **state)
{
    struct fixture *f = *state;

    conn_fake_stall(f->conn, true);
    ask_for_much(f, 600);
    loop_advance(f->loop, 119000);
    conn_fake_stall(f->conn, false);
    expect_last(f, "250 2.1.5 ");
    assert_int_equal(conn_output_pending(f->conn), 0);
    /* The limit of commands counts again. */
    loop_advance(f->loop, 299000);
    assert_false(conn_fake_closed(f->conn));
    loop_advance(f->loop, 2000);
    expect_last(f, "421 4.4.2 Connection timed out");
}

/* Recipients with all that belongs to them fit a record of the spool. */
static void
large_envelope_is_refused(void **state)
{
    enum { ORCPT = 480, MANY = 20000 };
    struct fixture *f = *state;
    char orcpt[ORCPT + 1], reply[128];
    size_t taken = 0;

    memset(orcpt, 'a', ORCPT);
    orcpt[ORCPT] = '\0';
    send_text(f, "EHLO c\r\nMAIL FROM:<x@b.test>\r\n");
    for (; taken < MANY; taken++) {
        char line[1024];

        snprintf(line, sizeof line, "RCPT TO:<%060zu@a.test> ORCPT=x;%s\r\n",
                 taken, orcpt);
        buf_reset(&f->output);
        conn_fake_receive(f->conn, sv_of(line));
        loop_advance(f->loop, 0);
        conn_fake_take(f->conn, &f->output);
        snprintf(reply, sizeof reply, "%s", buf_cstr(&f->output));
        if (reply[0] != '2' && taken > 0)
            break;
    }
    assert_non_null(strstr(reply, "452 4.5.3 Too many recipients"));
    assert_in_range(taken, 12000, 16000); /* 8 MiB of about 600 each */
    send_text(f, "DATA\r\nx\r\n.\r\n");
    expect_last(f, "250 2.0.0 ok: message ");
    assert_int_equal(f->spool.committed, 1);
}

static void
session_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct smtpd) < 600);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commit_fails_451),
        TEST(commit_finds_disk_full_452),
        TEST(no_reply_before_commit),
        TEST(stuck_commit_times_out),
        TEST(session_limit_waits_for_commit),
        TEST(slow_spool_stops_reading),
        TEST(slow_spool_while_chunks_come),
        TEST(full_spool_refuses_mail),
        TEST(lost_peer_drops_the_draft),
        TEST(shutdown_drops_a_stuck_commit),
        TEST(drain_waits_for_the_commit),
        TEST(greedy_sender_is_throttled),
        TEST(peer_that_reads_nothing_times_out),
        TEST(peer_that_reads_late_goes_on),
        TEST(large_envelope_is_refused),
        cmocka_unit_test(session_is_small),
    };

    return cmocka_run_group_tests_name("smtpd and spool", tests, NULL, NULL);
}
