/* Connections over loopback sockets, TCP and TLS, both ends in one loop. */
#include "base/random.h"
#include "net/test_world.h"
#include <sys/resource.h>
#include <unistd.h>

static struct tls_session_key session_key = {{7}};

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

int
main(void)
{
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
        WITH_WORLD(check_many),
    };

    return world_run("conn", tests, COUNT_OF(tests));
}
