/* Connections that fail: peers that refuse, vanish, stall or do not read. */
#include "net/test_world.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

static void
check_no_common_version(void **state)
{
    struct tls_profile profile = {.versions = TLS_BIT_TLS11};
    struct err err = {0};
    struct tls_context *old =
        tls_context_new_client(&profile, NULL, ca.chain, &err);
    struct tls_context *all = client_tls;
    struct tls_profile newer = {.versions = TLS_BIT_TLS12 | TLS_BIT_TLS13};
    struct tls_context *strict =
        tls_context_new_server(&newer, &ec, 1, SV("v"), &err);

    (void)state;
    dial();
    run_until(both_connected);
    conn_start_tls_server(server.conn, strict);
    conn_start_tls_client(client.conn, old, SV(""), NULL);
    run_until(both_failed);
    assert_string_equal(tls_stage_name(client.failure.stage), "version");
    assert_string_equal(tls_stage_name(server.failure.stage), "version");
    assert_string_equal(client.failure.reason,
                        "peer sent alert: protocol version");
    tls_context_unref(old);
    tls_context_unref(strict);
    client_tls = all;
}

static void
check_refused_connect(void **state)
{
    struct net_address nobody = listen_address;

    (void)state;
    /* The port of a socket that is bound and does not listen. */
    acceptor_pause(acceptor, true);
    net_address_set_port(&nobody, 1);
    client.conn = conn_connect(loop, &nobody, NULL, on_event, &client);
    assert_int_equal(client.seen[CONN_ERROR], 0); /* never from inside */
    run_until(client_over);
    assert_string_equal(tls_stage_name(client.failure.stage), "connect");
    assert_string_equal(client.failure.reason, "connect: Connection refused");
}

static void
check_bad_local_address(void **state)
{
    struct net_address local;

    (void)state;
    assert_true(net_address_parse(SV("192.0.2.1"), 0, &local));
    client.conn =
        conn_connect(loop, &listen_address, &local, on_event, &client);
    assert_int_equal(client.seen[CONN_ERROR], 0);
    run_until(client_over);
    assert_string_equal(tls_stage_name(client.failure.stage), "connect");
    assert_non_null(strstr(client.failure.reason, "bind: "));
}

static void
check_vanish_in_handshake(void **state)
{
    int fd = dial_raw();

    (void)state;
    on_accepted = accept_tls;
    assert_int_equal(write(fd, "\x16\x03\x01\x02\x00\x01", 6), 6);
    run_for(5);
    close(fd);
    run_until(server_over);
    assert_string_equal(tls_stage_name(server.failure.stage), "io");
    assert_non_null(strstr(server.failure.reason, "during the TLS handshake"));
}

static void
reset_and_close(int fd)
{
    struct linger hard = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

static void
check_vanish_in_transfer(void **state)
{
    int fd = dial_raw();

    (void)state;
    run_for(5);
    server.hook = stream_hook;
    server.to_send = 50000000;
    conn_set_output_low(server.conn, 1000);
    pump(&server);
    run_for(10);
    reset_and_close(fd);
    run_until(server_over);
    assert_int_equal(server.seen[CONN_ERROR], 1);
    assert_string_equal(tls_stage_name(server.failure.stage), "io");
    run_for(5);
    assert_int_equal(server.seen[CONN_ERROR], 1); /* once */
}

/* The peer refuses and closes while we still write: its words come first. */
static void
check_last_words_are_read(void **state)
{
    int fd = dial_raw();

    (void)state;
    run_for(5);
    conn_pause(server.conn);
    assert_int_equal(write(fd, "550 go away\r\n", 13), 13);
    shutdown(fd, SHUT_RDWR);
    close(fd);
    run_for(5);
    conn_write(server.conn, SV("MAIL FROM:<a@b>\r\n"));
    run_for(5);
    conn_write(server.conn, SV("RCPT TO:<a@b>\r\n")); /* hits the reset */
    conn_resume(server.conn);
    run_until(server_over);
    assert_sv(buf_view(&server.in), "550 go away\r\n");
}

/* TLS that ends without close_notify is an end; cut inside a record too. */
static void
check_truncated_tls(void **state)
{
    (void)state;
    on_accepted = accept_tls;
    connect_tls(NULL);
    run_until(both_ready);
    conn_write(client.conn, SV("before"));
    run_for(5);
    conn_close(client.conn, 0); /* no close_notify */
    client.conn = NULL;
    run_until(server_over);
    assert_int_equal(server.seen[CONN_EOF], 1);
    assert_int_equal(server.seen[CONN_ERROR], 0);
    assert_sv(buf_view(&server.in), "before");
}

static void
check_timeouts(void **state)
{
    (void)state;
    dial();
    run_until(both_connected);
    conn_set_timeout(client.conn, 300);
    conn_write(server.conn, SV("traffic does not extend it"));
    run_for(100);
    assert_int_equal(client.seen[CONN_TIMEOUT], 0);
    conn_set_timeout(client.conn, 500); /* replaced */
    run_for(300);
    assert_int_equal(client.seen[CONN_TIMEOUT], 0);
    run_for(300);
    assert_int_equal(client.seen[CONN_TIMEOUT], 1);
    assert_string_equal(tls_stage_name(client.failure.stage), "timeout");
    conn_set_timeout(server.conn, 50);
    conn_set_timeout(server.conn, 0);
    run_for(100);
    assert_int_equal(server.seen[CONN_TIMEOUT], 0);
    conn_consume(server.conn, conn_input(server.conn).n);
    conn_start_tls_server(server.conn, server_tls);
    conn_set_timeout(server.conn, 10);
    run_for(100);
    assert_int_equal(server.seen[CONN_TIMEOUT], 1);
    assert_non_null(strstr(server.failure.reason, "TLS handshake"));
}

/* Closing with more queued than the kernel takes: the peer reads slowly and
 * gets it all; or it never reads and we do not wait for ever. */
static void
check_linger(void **state)
{
    static char big[3000000];
    int fd = dial_raw();
    size_t got = 0;
    ssize_t n;

    (void)state;
    run_for(5);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = stream_byte(i);
    conn_write(server.conn, (struct sv){big, sizeof big});
    conn_close(server.conn, 5000);
    server.conn = NULL;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 2000; i++) {
        run_for(1);
        while ((n = read(fd, big, sizeof big)) > 0)
            got += (size_t)n;
        if (n == 0)
            break;
    }
    assert_int_equal(got, sizeof big);
    close(fd);

    fd = dial_raw();
    run_for(5);
    conn_write(server.conn, (struct sv){big, sizeof big});
    conn_write(server.conn, (struct sv){big, sizeof big});
    conn_close(server.conn, 30);
    server.conn = NULL;
    run_for(60); /* the loop could not be freed if it were still there */
    close(fd);
}

/* A loop that ends does not wait for a closed connection to be flushed. */
static void
check_free_with_lingering(void **state)
{
    static char big[8000000];
    int fd = dial_raw();

    (void)state;
    run_for(5);
    conn_write(server.conn, (struct sv){big, sizeof big});
    conn_close(server.conn, 600000);
    server.conn = NULL;
    run_for(5);
    tear_down(NULL); /* would hang if it did wait */
    close(fd);
    set_up(NULL);
}

static void
check_no_descriptors(void **state)
{
    struct rlimit limit, low;
    int fd = dial_raw();

    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &low);
    run_for(20);
    assert_null(server.conn);
    setrlimit(RLIMIT_NOFILE, &limit);
    run_for(400);
    assert_non_null(server.conn);
    close(fd);
}

/* Peers cannot take the last descriptors: the process opens files with them. */
static void
check_reserved_descriptors(void **state)
{
    struct rlimit limit, low;
    int fd = dial_raw(), next = dup(fd);
    char byte;

    (void)state;
    close(next);
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = (rlim_t)next + 2;
    setrlimit(RLIMIT_NOFILE, &low);
    run_for(20);
    assert_null(server.conn);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    fd = dial_raw();
    run_for(20); /* it rests */
    assert_null(server.conn);
    setrlimit(RLIMIT_NOFILE, &limit);
    run_for(400);
    assert_non_null(server.conn);
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(check_no_common_version),
        WITH_WORLD(check_refused_connect),
        WITH_WORLD(check_bad_local_address),
        WITH_WORLD(check_vanish_in_handshake),
        WITH_WORLD(check_vanish_in_transfer),
        WITH_WORLD(check_last_words_are_read),
        WITH_WORLD(check_truncated_tls),
        WITH_WORLD(check_timeouts),
        WITH_WORLD(check_linger),
        WITH_WORLD(check_free_with_lingering),
        WITH_WORLD(check_no_descriptors),
        WITH_WORLD(check_reserved_descriptors),
    };

    return world_run("conn_faults", tests, COUNT_OF(tests));
}
