/* Connections over loopback sockets, TCP and TLS, both ends in one loop. */
#include "base/buf.h"
#include "base/random.h"
#include "net/conn.h"
#include "tls/test_pki.h"
#include "unit.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATIENCE 20000 /* ms until a test that hangs fails */
#define ALL_VERSIONS                                                           \
    (TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13)

static struct tls_certificate_files ca, ec;
static struct tls_context *server_tls, *client_tls;

/* The world of one test -------------------------------------------------- */

struct side {
    struct conn *conn;
    unsigned seen[7]; /* by enum conn_event */
    struct buf in;
    struct tls_failure failure;
    char version[16];
    bool resumed, echo, hold; /* hold: leave input where it is */
    void (*hook)(struct side *side, enum conn_event event);
    size_t to_send, sent; /* of a stream of known bytes */
    size_t received;      /* of such a stream; checked */
    bool mismatch;
};

static struct loop *loop;
static int listen_fd;
static struct net_address listen_address;
static struct acceptor *acceptor;
static struct side server, client;
static void (*on_accepted)(struct side *side);

static char
stream_byte(size_t at)
{
    return (char)(at * 31 + at / 4093);
}

static void
note_failure(struct side *side)
{
    side->failure = *conn_failure(side->conn);
}

static void
pump(struct side *side)
{
    char bytes[40000];

    while (side->sent < side->to_send &&
           conn_output_pending(side->conn) <= 65536) {
        size_t n = 1 + random_below(sizeof bytes);

        if (n > side->to_send - side->sent)
            n = side->to_send - side->sent;
        for (size_t i = 0; i < n; i++)
            bytes[i] = stream_byte(side->sent + i);
        conn_write(side->conn, (struct sv){bytes, n});
        side->sent += n;
    }
}

static void
take_stream(struct side *side)
{
    struct sv in = conn_input(side->conn);
    /* An uneven share, so that rests are kept in all sizes. */
    size_t n = in.n > 3 ? in.n - random_below(4) : in.n;

    for (size_t i = 0; i < n; i++)
        side->mismatch |= in.p[i] != stream_byte(side->received + i);
    side->received += n;
    conn_consume(side->conn, n);
}

static void
on_event(void *owner, struct conn *conn, enum conn_event event)
{
    struct side *side = owner;

    assert_ptr_equal(side->conn, conn);
    side->seen[event]++;
    if (event == CONN_ERROR || event == CONN_TIMEOUT)
        note_failure(side);
    if (event == CONN_TLS_READY) {
        snprintf(side->version, sizeof side->version, "%s",
                 conn_tls(conn)->version);
        side->resumed = conn_tls(conn)->resumed;
    }
    if (side->hook != NULL) {
        side->hook(side, event);
    } else if (event == CONN_DATA && !side->hold) {
        struct sv in = conn_input(conn);

        if (side->echo)
            conn_write(conn, in);
        buf_add(&side->in, in);
        conn_consume(conn, in.n);
    }
}

static void
on_accept(void *arg, int fd, const struct net_address *peer)
{
    (void)arg;
    if (server.conn != NULL) {
        close(fd);
        return;
    }
    server.conn = conn_accept(loop, fd, peer, on_event, &server);
    if (on_accepted != NULL)
        on_accepted(&server);
}

static void
open_listener(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t length = sizeof in;

    in.sin_addr.s_addr = htonl(0x7f000001);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listen_fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(listen_fd, 1024), 0);
    getsockname(listen_fd, (struct sockaddr *)&in, &length);
    net_address_from_sockaddr((struct sockaddr *)&in, &listen_address);
}

static int
set_up(void **state)
{
    struct err err = {0};

    (void)state;
    loop = loop_new(&err);
    open_listener();
    acceptor = acceptor_new(loop, listen_fd, on_accept, NULL);
    server = client = (struct side){0};
    on_accepted = NULL;
    return 0;
}

/* Running until something is so ------------------------------------------ */

static bool (*goal)(void);
static struct timer look;
static uint64_t give_up;

static void
on_look(struct timer *timer)
{
    if (goal() || loop_now(loop) > give_up)
        loop_stop(loop);
    else
        timer_arm(timer, 1);
}

static void
run_until(bool (*reached)(void))
{
    goal = reached;
    give_up = loop_now(loop) + PATIENCE;
    timer_init(&look, loop, on_look);
    timer_arm(&look, 0);
    loop_run(loop);
    timer_fini(&look);
    if (!reached())
        fail_msg("nothing more happens");
}

static void
side_fini(struct side *side)
{
    if (side->conn != NULL)
        conn_close(side->conn, 0);
    side->conn = NULL;
    buf_fini(&side->in);
}

static int
tear_down(void **state)
{
    (void)state;
    side_fini(&client);
    side_fini(&server);
    acceptor_free(acceptor);
    loop_free(loop);
    close(listen_fd);
    tls_session_cache_clear();
    return 0;
}

static bool
both_ready(void)
{
    return client.seen[CONN_TLS_READY] && server.seen[CONN_TLS_READY];
}

static bool
both_connected(void)
{
    return client.seen[CONN_CONNECTED] && server.conn != NULL;
}

static bool
both_failed(void)
{
    return client.seen[CONN_ERROR] && server.seen[CONN_ERROR];
}

static bool
client_over(void)
{
    return client.seen[CONN_EOF] || client.seen[CONN_ERROR];
}

static bool
server_over(void)
{
    return server.seen[CONN_EOF] || server.seen[CONN_ERROR];
}

static bool
server_has_echoed(void)
{
    return buf_length(&client.in) >= 5;
}

static void
dial(void)
{
    client.conn = conn_connect(loop, &listen_address, NULL, on_event, &client);
}

static void
accept_tls(struct side *side)
{
    conn_start_tls_server(side->conn, server_tls);
}

static struct tls_session_key session_key = {{7}};

static void
connect_tls(const struct tls_session_key *key)
{
    dial();
    run_until(both_connected);
    conn_start_tls_client(client.conn, client_tls, SV("mx.test"), key);
    if (!conn_is_tls(server.conn) && on_accepted == NULL)
        conn_start_tls_server(server.conn, server_tls);
}

/* Tests ------------------------------------------------------------------ */

static void
check_echo_tcp(void **state)
{
    char text[NET_ADDRESS_TEXT];

    (void)state;
    server.echo = true;
    dial();
    conn_write(client.conn, SV("early")); /* before it is connected */
    run_until(server_has_echoed);
    assert_sv(buf_view(&client.in), "early");
    assert_int_equal(client.seen[CONN_CONNECTED], 1);
    assert_int_equal(server.seen[CONN_CONNECTED], 0);
    assert_string_equal(net_address_ip_text(conn_local(client.conn), text),
                        "127.0.0.1");
    assert_int_equal(net_address_port(conn_peer(server.conn)),
                     net_address_port(conn_local(client.conn)));
    assert_int_equal(net_address_port(conn_local(server.conn)),
                     net_address_port(&listen_address));
    assert_false(conn_is_tls(client.conn));
    conn_write(client.conn, SV("last words"));
    conn_close(client.conn, 1000);
    client.conn = NULL;
    run_until(server_over);
    assert_int_equal(server.seen[CONN_EOF], 1);
    assert_int_equal(server.seen[CONN_ERROR], 0);
    assert_sv(buf_view(&server.in), "earlylast words");
}

static void
check_echo_tls(void **state)
{
    (void)state;
    server.echo = true;
    on_accepted = accept_tls;
    connect_tls(NULL);
    conn_write(client.conn, SV("hello")); /* waits for the handshake */
    run_until(server_has_echoed);
    assert_sv(buf_view(&client.in), "hello");
    assert_string_equal(client.version, "TLSv1.3");
    assert_string_equal(conn_tls(server.conn)->server_name, "mx.test");
    assert_int_equal(conn_tls(client.conn)->verify, TLS_VERIFY_OK);
    assert_int_equal(client.seen[CONN_TLS_READY], 1);
    assert_int_equal(conn_output_pending(server.conn), 0);
    conn_write(client.conn, SV("bye"));
    conn_close(client.conn, 1000);
    client.conn = NULL;
    run_until(server_over);
    assert_int_equal(server.seen[CONN_EOF], 1);
    assert_sv(buf_view(&server.in), "hellobye");
}

/* A small STARTTLS dialogue, as SMTP has it. */
static void
server_starttls_hook(struct side *side, enum conn_event event)
{
    struct sv in = conn_input(side->conn);

    if (event != CONN_DATA)
        return;
    if (!conn_is_tls(side->conn) && sv_starts_nocase(in, SV("STARTTLS\r\n"))) {
        conn_consume(side->conn, 10);
        conn_write(side->conn, SV("220 go\r\n"));
        conn_start_tls_server(side->conn, server_tls);
        return;
    }
    buf_add(&side->in, in);
    conn_write(side->conn, in);
    conn_consume(side->conn, in.n);
}

static void
client_starttls_hook(struct side *side, enum conn_event event)
{
    struct sv in = conn_input(side->conn);

    if (event == CONN_CONNECTED)
        conn_write(side->conn, SV("STARTTLS\r\n"));
    if (event == CONN_TLS_READY)
        conn_write(side->conn, SV("EHLO inside\r\n"));
    if (event != CONN_DATA)
        return;
    if (!conn_is_tls(side->conn)) {
        assert_sv(sv_slice(in, 0, 8), "220 go\r\n");
        conn_consume(side->conn, 8);
        conn_start_tls_client(side->conn, client_tls, SV("mx.test"), NULL);
        return;
    }
    buf_add(&side->in, in);
    conn_consume(side->conn, in.n);
}

static void
check_starttls(void **state)
{
    (void)state;
    server.hook = server_starttls_hook;
    client.hook = client_starttls_hook;
    dial();
    run_until(server_has_echoed);
    assert_sv(buf_view(&client.in), "EHLO inside\r\n");
    assert_sv(buf_view(&server.in), "EHLO inside\r\n");
}

static void
inject_hook(struct side *side, enum conn_event event)
{
    if (event == CONN_CONNECTED)
        conn_write(side->conn, SV("STARTTLS\r\nRSET\r\nMAIL FROM:<>\r\n"));
}

/* Clear text in the packet of STARTTLS is never seen inside. */
static void
check_injected(void **state)
{
    (void)state;
    server.hook = server_starttls_hook;
    client.hook = inject_hook;
    dial();
    run_until(server_over);
    assert_int_equal(server.seen[CONN_ERROR], 1);
    assert_int_equal(server.seen[CONN_TLS_READY], 0);
    assert_string_equal(tls_stage_name(server.failure.stage),
                        "starttls-injected");
    assert_int_equal(buf_length(&server.in), 0);
}

static void
inject_late_hook(struct side *side, enum conn_event event)
{
    if (event == CONN_CONNECTED)
        conn_write(side->conn, SV("STARTTLS\r\n"));
    if (event == CONN_DATA) {
        conn_consume(side->conn, conn_input(side->conn).n);
        conn_write(side->conn, SV("MAIL FROM:<>\r\n"));
    }
}

/* The same in a packet of its own: it is taken for a handshake and is none. */
static void
check_injected_late(void **state)
{
    (void)state;
    server.hook = server_starttls_hook;
    client.hook = inject_late_hook;
    dial();
    run_until(server_over);
    assert_string_equal(tls_stage_name(server.failure.stage), "handshake");
    assert_int_equal(buf_length(&server.in), 0);
}

static void
server_injects_hook(struct side *side, enum conn_event event)
{
    if (event != CONN_DATA)
        return;
    conn_consume(side->conn, conn_input(side->conn).n);
    conn_write(side->conn, SV("220 go\r\n250 injected\r\n"));
}

static void
check_injected_to_client(void **state)
{
    (void)state;
    server.hook = server_injects_hook;
    client.hook = client_starttls_hook;
    dial();
    run_until(client_over);
    assert_string_equal(tls_stage_name(client.failure.stage),
                        "starttls-injected");
}

static void
behind_header_hook(struct side *side, enum conn_event event)
{
    if (event == CONN_DATA && !conn_is_tls(side->conn)) {
        conn_consume(side->conn, 7);
        conn_start_tls_server_with_input(side->conn, server_tls);
    } else if (event == CONN_DATA) {
        struct sv in = conn_input(side->conn);

        conn_write(side->conn, in);
        conn_consume(side->conn, in.n);
    }
}

/* A PROXY header and the ClientHello in one packet. */
static void
check_tls_behind_header(void **state)
{
    (void)state;
    server.hook = behind_header_hook;
    dial();
    conn_write(client.conn, SV("HEADER\n"));
    /* The state of a connection that is not up yet holds the TLS back. */
    run_until(both_connected);
    conn_start_tls_client(client.conn, client_tls, SV(""), NULL);
    conn_write(client.conn, SV("hello"));
    run_until(server_has_echoed);
    assert_sv(buf_view(&client.in), "hello");
}

static void
check_resumption(void **state)
{
    (void)state;
    on_accepted = accept_tls;
    for (int i = 0; i < 3; i++) {
        connect_tls(&session_key);
        run_until(both_ready);
        assert_int_equal(client.resumed, i > 0);
        assert_int_equal(server.resumed, i > 0);
        /* The ticket is behind the handshake: an exchange brings it. */
        server.echo = true;
        conn_write(client.conn, SV("hello"));
        run_until(server_has_echoed);
        side_fini(&client);
        side_fini(&server);
        server = client = (struct side){0};
    }
}

/* Big transfers ---------------------------------------------------------- */

static void
stream_hook(struct side *side, enum conn_event event)
{
    if (event == CONN_DATA)
        take_stream(side);
    if (event == CONN_OUTPUT_LOW)
        pump(side);
    if (event == CONN_DATA && random_below(4) == 0) {
        conn_pause(side->conn);
        conn_resume(side->conn);
    }
}

static bool
all_received(void)
{
    return client.received + 4 >= server.to_send &&
           server.received + 4 >= client.to_send;
}

static void
transfer_both_ways(size_t size)
{
    client.hook = server.hook = stream_hook;
    client.to_send = server.to_send = size;
    conn_set_output_low(client.conn, 16384);
    conn_set_output_low(server.conn, 16384);
    pump(&client);
    pump(&server);
    run_until(all_received);
    assert_false(client.mismatch);
    assert_false(server.mismatch);
    assert_true(client.seen[CONN_OUTPUT_LOW] > 2);
}

static void
check_transfer_tcp(void **state)
{
    (void)state;
    dial();
    run_until(both_connected);
    transfer_both_ways(20000000);
}

static void
check_transfer_tls(void **state)
{
    (void)state;
    on_accepted = accept_tls;
    connect_tls(NULL);
    run_until(both_ready);
    transfer_both_ways(10000000);
}

static bool
server_is_full(void)
{
    return server.seen[CONN_DATA] > 0;
}

static uint64_t wait_until_ms;

static bool
time_has_passed(void)
{
    return loop_now(loop) >= wait_until_ms;
}

static void
run_for(uint64_t ms)
{
    wait_until_ms = loop_now(loop) + ms;
    run_until(time_has_passed);
}

static void
pause_hook(struct side *side, enum conn_event event)
{
    if (event == CONN_DATA)
        conn_pause(side->conn);
}

/* A paused reader stops the writer; nothing is lost when it goes on. */
static void
check_backpressure(void **state)
{
    size_t pending;

    (void)state;
    dial();
    run_until(both_connected);
    server.hook = pause_hook;
    client.hook = stream_hook;
    client.to_send = 30000000;
    conn_set_output_low(client.conn, 1000);
    pump(&client);
    run_until(server_is_full);
    run_for(50);
    pending = conn_output_pending(client.conn);
    assert_true(pending <= 65536 + 40000 && client.sent < client.to_send);
    assert_int_equal(server.seen[CONN_DATA], 1);
    assert_true(conn_input(server.conn).n <= 65536);
    server.hook = stream_hook;
    conn_resume(server.conn);
    run_until(all_received);
    assert_false(server.mismatch);
}

/* One peer writes byte by byte and in odd pieces through a raw socket. */
static void
check_tiny_pieces(void **state)
{
    struct net_address a = listen_address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int sent = 0;

    (void)state;
    server.echo = true;
    assert_int_equal(connect(fd, &a.sa, net_address_length(&a)), 0);
    while (sent < 300) {
        size_t n = 1 + random_below(3);
        char bytes[3];

        for (size_t i = 0; i < n; i++)
            bytes[i] = stream_byte((size_t)sent + i);
        assert_int_equal(write(fd, bytes, n), n);
        sent += (int)n;
        if (sent % 5 == 0)
            run_for(1);
    }
    run_for(5);
    assert_int_equal(buf_length(&server.in), sent);
    for (int i = 0; i < sent; i++)
        assert_int_equal(buf_view(&server.in).p[i], stream_byte((size_t)i));
    close(fd);
    run_until(server_over);
}

/* Failures --------------------------------------------------------------- */

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

static int
dial_raw(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(
        connect(fd, &listen_address.sa, net_address_length(&listen_address)),
        0);
    return fd;
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
    conn_set_timeout(client.conn, 30);
    conn_write(server.conn, SV("traffic does not extend it"));
    run_for(20);
    assert_int_equal(client.seen[CONN_TIMEOUT], 0);
    conn_set_timeout(client.conn, 40); /* replaced */
    run_for(25);
    assert_int_equal(client.seen[CONN_TIMEOUT], 0);
    run_for(30);
    assert_int_equal(client.seen[CONN_TIMEOUT], 1);
    assert_string_equal(tls_stage_name(client.failure.stage), "timeout");
    conn_set_timeout(server.conn, 20);
    conn_set_timeout(server.conn, 0);
    run_for(30);
    assert_int_equal(server.seen[CONN_TIMEOUT], 0);
    conn_start_tls_server(server.conn, server_tls);
    conn_set_timeout(server.conn, 10);
    run_for(20);
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

/* Many ------------------------------------------------------------------- */

#define MANY 1000
static struct side many_servers[MANY], many_clients[MANY];
static size_t many_accepted;

static void
on_accept_many(void *arg, int fd, const struct net_address *peer)
{
    struct side *side = &many_servers[many_accepted++];

    (void)arg;
    side->echo = true;
    side->conn = conn_accept(loop, fd, peer, on_event, side);
}

static bool
many_echoed(void)
{
    for (size_t i = 0; i < MANY; i++) {
        if (buf_length(&many_clients[i].in) < 5)
            return false;
    }
    return true;
}

static void
check_many(void **state)
{
    struct rlimit limit;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * MANY + 100)
        skip();
    acceptor_free(acceptor);
    acceptor = acceptor_new(loop, listen_fd, on_accept_many, NULL);
    many_accepted = 0;
    for (size_t i = 0; i < MANY; i++) {
        many_clients[i].conn = conn_connect(loop, &listen_address, NULL,
                                            on_event, &many_clients[i]);
        conn_write(many_clients[i].conn, SV("hello"));
    }
    run_until(many_echoed);
    assert_int_equal(many_accepted, MANY);
    for (size_t i = 0; i < MANY; i++) {
        side_fini(&many_clients[i]);
        side_fini(&many_servers[i]);
    }
}

/* Out of descriptors the acceptor rests instead of spinning and goes on when
 * there are some again. */
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

int
main(void)
{
#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(check_echo_tcp),
        WITH_WORLD(check_echo_tls),
        WITH_WORLD(check_starttls),
        WITH_WORLD(check_injected),
        WITH_WORLD(check_injected_late),
        WITH_WORLD(check_injected_to_client),
        WITH_WORLD(check_tls_behind_header),
        WITH_WORLD(check_resumption),
        WITH_WORLD(check_transfer_tcp),
        WITH_WORLD(check_transfer_tls),
        WITH_WORLD(check_backpressure),
        WITH_WORLD(check_tiny_pieces),
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
        WITH_WORLD(check_many),
        WITH_WORLD(check_no_descriptors),
    };
    struct tls_profile profile = {.versions = ALL_VERSIONS,
                                  .strength = TLS_MEDIUM};
    struct err err = {0};
    int failed;

    if (!tls_init(&err))
        return 1;
    ca = pki_make(&(struct pki_options){.name = "ca", .is_ca = true});
    ec = pki_make(&(struct pki_options){
        .name = "ec", .names = "DNS:mx.test", .issuer = "ca"});
    server_tls = tls_context_new_server(&profile, &ec, 1, SV("one"), &err);
    client_tls = tls_context_new_client(&profile, NULL, ca.chain, &err);
    assert(server_tls != NULL && client_tls != NULL);
    failed = cmocka_run_group_tests_name("conn", tests, NULL, NULL);
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    return failed;
}
