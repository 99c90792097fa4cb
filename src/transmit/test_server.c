#include "transmit/test_server.h"
#include "tls/test_pki.h"
#include "unit.h"
#include <arpa/inet.h>
#include <unistd.h>

struct peer {
    struct server *server;
    struct conn *conn;
    struct link link;
    bool data;
    uint64_t bdat; /* octets still to come */
    unsigned messages;
    struct content_decoder decoder;
};

static void
say(struct peer *peer, const char *text)
{
    struct sv rest = sv_of(text);

    conn_write(peer->conn, rest);
    conn_write(peer->conn, SV("\r\n"));
}

static void
drop(struct peer *peer)
{
    list_remove(&peer->server->peers, &peer->link);
    conn_close(peer->conn, 1000);
    mem_free(peer);
}

static void
say_ehlo(struct peer *peer)
{
    const struct behaviour *how = peer->server->how;
    struct sv rest = sv_of(how->ehlo);

    say(peer, "250-mx.test");
    while (rest.n > 0) {
        conn_write(peer->conn, SV("250-"));
        conn_write(peer->conn, sv_take_until(&rest, '\n'));
        conn_write(peer->conn, SV("\r\n"));
    }
    if (how->starttls != NULL && !conn_is_tls(peer->conn))
        say(peer, "250-STARTTLS");
    say(peer, "250 HELP");
}

static void
taken(struct peer *peer)
{
    const char *done = peer->server->how->done;

    peer->messages++;
    peer->server->messages++;
    if (peer->server->how->silent)
        return;
    say(peer, done != NULL ? done : "250 2.0.0 taken");
}

/* False: the peer is gone, or speaks TLS now. */
static bool
obey(struct peer *peer, struct sv line)
{
    const struct behaviour *how = peer->server->how;

    if (sv_starts_nocase(line, SV("EHLO"))) {
        say_ehlo(peer);
    } else if (sv_starts_nocase(line, SV("STARTTLS"))) {
        say(peer, how->starttls);
        if (how->broken_tls) {
            conn_write(peer->conn, SV(""));
        } else if (how->starttls[0] == '2') {
            conn_start_tls_server(peer->conn, peer->server->tls);
            return false;
        }
    } else if (sv_starts_nocase(line, SV("MAIL"))) {
        if (how->close_after != 0 && peer->messages >= how->close_after) {
            drop(peer);
            return false;
        }
        if (line.n > 11 && sv_ends_nocase(line, SV(" REQUIRETLS\r")))
            peer->server->requiretls++;
        say(peer, "250 2.1.0 ok");
    } else if (sv_starts_nocase(line, SV("RCPT"))) {
        say(peer, how->rcpt != NULL ? how->rcpt : "250 2.1.5 ok");
    } else if (sv_starts_nocase(line, SV("DATA"))) {
        say(peer, "354 go");
        peer->data = true;
        content_decoder_init(&peer->decoder, true, CONTENT_REJECT);
    } else if (sv_take_prefix_nocase(&line, SV("BDAT "))) {
        if (!sv_to_u64(sv_take_until(&line, ' '), &peer->bdat))
            abort();
    } else if (sv_starts_nocase(line, SV("QUIT"))) {
        say(peer, "221 bye");
        drop(peer);
        return false;
    } else if (how->broken_tls) {
        conn_write(peer->conn, SV("this is not TLS\r\n"));
        drop(peer);
        return false;
    } else {
        say(peer, "250 ok");
    }
    return true;
}

static void
ignore(void *arg, struct sv run)
{
    (void)arg;
    (void)run;
}

static void
read_data(struct peer *peer)
{
    struct sv in = conn_input(peer->conn);
    size_t before = in.n;

    content_decode(&peer->decoder, &in, ignore, NULL);
    conn_consume(peer->conn, before - in.n);
    if (peer->decoder.ended) {
        peer->data = false;
        taken(peer);
    }
}

static void
read_bdat(struct peer *peer)
{
    size_t n = conn_input(peer->conn).n;

    if (n > peer->bdat)
        n = (size_t)peer->bdat;
    conn_consume(peer->conn, n);
    peer->bdat -= n;
    if (peer->bdat == 0)
        taken(peer);
}

static void
on_input(struct peer *peer)
{
    for (;;) {
        struct sv in = conn_input(peer->conn);
        char line[1024];
        size_t lf;

        if (in.n == 0)
            return;
        if (peer->bdat > 0) {
            read_bdat(peer);
            continue;
        }
        if (peer->data) {
            read_data(peer);
            continue;
        }
        lf = sv_index(in, '\n');
        if (lf == SV_NONE || lf >= sizeof line) {
            if (!peer->server->how->broken_tls)
                return;
            lf = in.n - 1;
        }
        if (lf >= sizeof line)
            lf = sizeof line - 1;
        memcpy(line, in.p, lf);
        conn_consume(peer->conn, lf + 1);
        if (!obey(peer, (struct sv){line, lf}))
            return;
    }
}

static void
on_event(void *owner, struct conn *conn, enum conn_event event)
{
    struct peer *peer = owner;

    (void)conn;
    if (event == CONN_DATA)
        on_input(peer);
    else if (event != CONN_TLS_READY)
        drop(peer);
}

static void
on_accept(void *arg, int fd, const struct net_address *from)
{
    struct server *server = arg;
    struct peer *peer = mem_alloc(sizeof *peer);

    bool full = server->how->peers_max > 0 &&
                server->peers.length >= server->how->peers_max;

    server->connections++;
    peer->server = server;
    peer->conn = conn_accept(server->loop, fd, from, on_event, peer);
    list_push_back(&server->peers, &peer->link);
    if (full)
        say(peer, "421 4.7.0 too many");
    else
        say(peer, server->how->greeting != NULL ? server->how->greeting
                                                : "220 mx.test ESMTP");
}

static void
make_tls(struct server *server)
{
    const struct tls_profile profile = {
        .versions = server->how->old_tls ? TLS_BIT_TLS10 | TLS_BIT_TLS11
                                         : TLS_BIT_TLS12 | TLS_BIT_TLS13,
        .strength = server->how->old_tls ? TLS_LOW : TLS_MEDIUM,
        .ciphers = "",
        .groups = ""};
    struct tls_certificate_files files = {.name = server->how->certificate};
    char chain[64], key[64];
    struct err err;

    snprintf(chain, sizeof chain, "%s.pem", files.name);
    snprintf(key, sizeof key, "%s.key", files.name);
    files.chain = pki_path(chain);
    files.key = pki_path(key);
    server->tls = tls_context_new_server(&profile, &files, 1, SV("test"), &err);
    if (server->tls == NULL)
        fail_msg("%s", err.text);
}

void
server_start(struct server *server, struct loop *loop, const char *ip,
             const struct behaviour *how)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t length = sizeof in;

    *server = (struct server){.loop = loop, .how = how};
    list_init(&server->peers);
    assert_int_equal(inet_pton(AF_INET, ip, &in.sin_addr), 1);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&in, sizeof in), 0);
    getsockname(server->fd, (struct sockaddr *)&in, &length);
    server->port = ntohs(in.sin_port);
    if (how->certificate != NULL)
        make_tls(server);
    if (how->down)
        return;
    assert_int_equal(listen(server->fd, 64), 0);
    server->acceptor = acceptor_new(loop, server->fd, on_accept, server);
}

void
server_stop(struct server *server)
{
    if (server->acceptor != NULL)
        acceptor_free(server->acceptor);
    close(server->fd);
    while (!list_empty(&server->peers))
        drop(CONTAINER_OF(list_first(&server->peers), struct peer, link));
    tls_context_unref(server->tls);
}

void
server_drop(struct server *server)
{
    drop(CONTAINER_OF(list_first(&server->peers), struct peer, link));
}
