/* The connection in memory behaves like a real one. */
#include "base/buf.h"
#include "net/conn.h"
#include "unit.h"

static struct loop *loop;
static struct conn *conn;
static struct buf seen, out;
static bool pause_at_data, close_at_data;

static void
on_event(void *owner, struct conn *c, enum conn_event event)
{
    static const char letters[] = "CRDLETX";

    (void)owner;
    buf_add_char(&seen, letters[event]);
    if (event == CONN_DATA && pause_at_data)
        conn_pause(c);
    if (event == CONN_DATA && close_at_data) {
        conn_write(c, SV("bye"));
        conn_close(c, 1000);
    }
}

static int
set_up(void **state)
{
    struct net_address peer;

    (void)state;
    loop = loop_new_manual(0, 0);
    pause_at_data = close_at_data = false;
    assert_true(net_address_parse(SV("192.0.2.1"), 25, &peer));
    conn = conn_fake(loop, &peer, on_event, NULL);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    conn_fake_free(conn);
    loop_free(loop);
    buf_fini(&seen);
    buf_fini(&out);
    return 0;
}

static void
expect(const char *events, const char *output)
{
    conn_fake_take(conn, &out);
    assert_sv(buf_view(&seen), events);
    assert_sv(buf_view(&out), output);
    buf_reset(&out);
}

static void
check_io(void **state)
{
    (void)state;
    conn_fake_receive(conn, SV("EH"));
    conn_fake_receive(conn, SV("LO"));
    assert_sv(conn_input(conn), "EHLO");
    conn_consume(conn, 3);
    assert_sv(conn_input(conn), "O");
    conn_write(conn, SV("250 ok"));
    loop_advance(loop, 0);
    conn_fake_eof(conn);
    expect("DDE", "250 ok");
    assert_false(conn_fake_closed(conn));
}

static void
check_pause(void **state)
{
    (void)state;
    pause_at_data = true;
    conn_fake_receive(conn, SV("a"));
    conn_fake_receive(conn, SV("b"));
    conn_fake_eof(conn);
    expect("D", "");
    pause_at_data = false;
    conn_resume(conn);
    loop_advance(loop, 0);
    expect("DDE", "");
    assert_sv(conn_input(conn), "ab");
}

static void
check_close(void **state)
{
    (void)state;
    close_at_data = true;
    conn_fake_receive(conn, SV("QUIT"));
    assert_true(conn_fake_closed(conn));
    conn_write(conn, SV("too late"));
    conn_fake_receive(conn, SV("more"));
    loop_advance(loop, 5000);
    expect("D", "bye");
}

static void
check_timeout(void **state)
{
    (void)state;
    conn_set_timeout(conn, 300000);
    loop_advance(loop, 299999);
    expect("", "");
    conn_set_timeout(conn, 300000);
    loop_advance(loop, 299999);
    expect("", "");
    loop_advance(loop, 1);
    expect("T", "");
    assert_int_equal(conn_failure(conn)->stage, STAGE_TIMEOUT);
}

static void
check_tls(void **state)
{
    struct tls_facts facts = {.version = "TLSv1.3", .cipher = "X", .group = ""};

    (void)state;
    assert_null(conn_tls(conn));
    conn_write(conn, SV("220 go"));
    conn_start_tls_server(conn, NULL);
    conn_write(conn, SV("inside"));
    loop_advance(loop, 0);
    expect("", "220 go");
    assert_false(conn_is_tls(conn));
    conn_fake_tls_ready(conn, &facts);
    expect("R", "inside");
    assert_true(conn_is_tls(conn));
    assert_string_equal(conn_tls(conn)->version, "TLSv1.3");
}

static void
check_injected(void **state)
{
    (void)state;
    conn_fake_receive(conn, SV("RSET"));
    conn_start_tls_server(conn, NULL);
    loop_advance(loop, 0);
    expect("DX", "");
    assert_int_equal(conn_failure(conn)->stage, STAGE_INJECTED);
    assert_int_equal(conn_input(conn).n, 0);
}

int
main(void)
{
#define WITH_FAKE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FAKE(check_io),    WITH_FAKE(check_pause),
        WITH_FAKE(check_close), WITH_FAKE(check_timeout),
        WITH_FAKE(check_tls),   WITH_FAKE(check_injected),
    };

    return cmocka_run_group_tests_name("conn_fake", tests, NULL, NULL);
}
