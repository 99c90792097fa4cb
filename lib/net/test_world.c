#include "net/test_world.h"
#include "base/random.h"
#include "unit.h"
#include <unistd.h>

#define PATIENCE 20000 /* ms until a test that hangs fails */

struct tls_certificate_files ca, ec;
struct tls_context *server_tls, *client_tls;

/* The world of one test -------------------------------------------------- */

struct loop *loop;
int listen_fd;
struct net_address listen_address;
struct acceptor *acceptor;
struct side server, client;
void (*on_accepted)(struct side *side);

char
stream_byte(size_t at)
{
    return (char)(at * 31 + at / 4093);
}

static void
note_failure(struct side *side)
{
    side->failure = *conn_failure(side->conn);
}

void
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

void
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

void
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
    } else if (event == CONN_DATA) {
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

int
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

void
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

void
side_fini(struct side *side)
{
    if (side->conn != NULL)
        conn_close(side->conn, 0);
    side->conn = NULL;
    buf_fini(&side->in);
}

int
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

bool
both_ready(void)
{
    return client.seen[CONN_TLS_READY] && server.seen[CONN_TLS_READY];
}

bool
both_connected(void)
{
    return client.seen[CONN_CONNECTED] && server.conn != NULL;
}

bool
both_failed(void)
{
    return client.seen[CONN_ERROR] && server.seen[CONN_ERROR];
}

bool
client_over(void)
{
    return client.seen[CONN_EOF] || client.seen[CONN_ERROR];
}

bool
server_over(void)
{
    return server.seen[CONN_EOF] || server.seen[CONN_ERROR];
}

bool
server_has_echoed(void)
{
    return buf_length(&client.in) >= 5;
}

void
dial(void)
{
    client.conn = conn_connect(loop, &listen_address, NULL, on_event, &client);
}

void
accept_tls(struct side *side)
{
    conn_start_tls_server(side->conn, server_tls);
}

void
connect_tls(const struct tls_session_key *key)
{
    dial();
    run_until(both_connected);
    conn_start_tls_client(client.conn, client_tls, SV("mx.test"), key);
    if (!conn_is_tls(server.conn) && on_accepted == NULL)
        conn_start_tls_server(server.conn, server_tls);
}

void
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

bool
all_received(void)
{
    return client.received + 4 >= server.to_send &&
           server.received + 4 >= client.to_send;
}

static uint64_t wait_until_ms;

static bool
time_has_passed(void)
{
    return loop_now(loop) >= wait_until_ms;
}

void
run_for(uint64_t ms)
{
    wait_until_ms = loop_now(loop) + ms;
    run_until(time_has_passed);
}

int
dial_raw(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(
        connect(fd, &listen_address.sa, net_address_length(&listen_address)),
        0);
    return fd;
}

int
world_run(const char *name, const struct CMUnitTest *tests, size_t count)
{
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
    failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    return failed;
}
