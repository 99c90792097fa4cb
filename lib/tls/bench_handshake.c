/* bench_handshake - CPU time of a full TLS handshake, each side alone, through
 * lib/tls and through the bare library with the same certificate, in memory.
 *
 *   bench_handshake [HANDSHAKES] [EC|RSA] */
#include "base/buf.h"
#include "tls/stream.h"
#include "tls/test_pki.h"
#include <openssl/ssl.h>
#include <time.h>

struct side {
    struct tls_stream *stream;
    SSL *ssl;
    struct buf to_peer;
    double seconds; /* all handshakes together */
};

static double
cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_handshake: %s\n", what);
    exit(1);
}

static void
on_emit(void *arg, struct sv ciphertext)
{
    struct side *side = arg;

    buf_add(&side->to_peer, ciphertext);
}

static bool
step_ours(struct side *side, struct side *peer)
{
    struct sv in = buf_view(&peer->to_peer);
    struct tls_failure failure;
    double start = cpu_seconds();
    enum tls_result result = tls_stream_handshake(side->stream, &in, &failure);

    side->seconds += cpu_seconds() - start;
    must(result != TLS_ERROR, failure.reason);
    buf_consume(&peer->to_peer, buf_length(&peer->to_peer) - in.n);
    return result == TLS_OK;
}

static void
shake_ours(struct tls_context *server, struct tls_context *client,
           struct side *s, struct side *c)
{
    bool done = false;
    double start = cpu_seconds();

    c->stream = tls_stream_new_client(client, SV("mx.test"), NULL, on_emit, c);
    c->seconds += cpu_seconds() - start;
    start = cpu_seconds();
    s->stream = tls_stream_new_server(server, on_emit, s);
    s->seconds += cpu_seconds() - start;
    while (!done) {
        step_ours(c, s);
        done = step_ours(s, c);
    }
    start = cpu_seconds();
    tls_stream_free(c->stream);
    c->seconds += cpu_seconds() - start;
    start = cpu_seconds();
    tls_stream_free(s->stream);
    s->seconds += cpu_seconds() - start;
    buf_reset(&s->to_peer);
    buf_reset(&c->to_peer);
}

static bool
step_bare(struct side *side)
{
    double start = cpu_seconds();
    int rc = SSL_do_handshake(side->ssl);

    side->seconds += cpu_seconds() - start;
    must(rc == 1 || SSL_get_error(side->ssl, rc) == SSL_ERROR_WANT_READ,
         "bare handshake");
    return rc == 1;
}

static void
shake_bare(SSL_CTX *server, SSL_CTX *client, struct side *s, struct side *c)
{
    BIO *a, *b;
    bool done = false;
    double start;

    must(BIO_new_bio_pair(&a, 65536, &b, 65536) == 1, "pair");
    start = cpu_seconds();
    c->ssl = SSL_new(client);
    SSL_set_bio(c->ssl, a, a);
    SSL_set_connect_state(c->ssl);
    c->seconds += cpu_seconds() - start;
    start = cpu_seconds();
    s->ssl = SSL_new(server);
    SSL_set_bio(s->ssl, b, b);
    SSL_set_accept_state(s->ssl);
    s->seconds += cpu_seconds() - start;
    while (!done) {
        step_bare(c);
        done = step_bare(s);
    }
    start = cpu_seconds();
    SSL_free(c->ssl);
    c->seconds += cpu_seconds() - start;
    start = cpu_seconds();
    SSL_free(s->ssl);
    s->seconds += cpu_seconds() - start;
}

static void
report(const char *what, const struct side *s, const struct side *c,
       size_t count)
{
    printf("%-14s server %.3f ms, client %.3f ms\n", what,
           1e3 * s->seconds / (double)count, 1e3 * c->seconds / (double)count);
}

static void
bench_ours(const struct tls_certificate_files *files, size_t count,
           const struct tls_trust *trust, const char *what)
{
    const struct tls_profile profile = {.versions = TLS_BIT_TLS13,
                                        .strength = TLS_MEDIUM};
    struct err err;
    struct tls_context *server =
        tls_context_new_server(&profile, files, 1, SV("bench"), &err);
    struct tls_context *client = tls_context_new_client_options(
        &(struct tls_client_options){.profile = &profile, .trust = trust},
        &err);
    struct side s = {0}, c = {0};

    must(server != NULL && client != NULL, err.text);
    for (size_t i = 0; i < count; i++)
        shake_ours(server, client, &s, &c);
    report(what, &s, &c, count);
    buf_fini(&s.to_peer);
    buf_fini(&c.to_peer);
    tls_context_unref(server);
    tls_context_unref(client);
}

static void
bench_bare(const struct tls_certificate_files *files, size_t count)
{
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    struct side s = {0}, c = {0};

    SSL_CTX_set_num_tickets(server, 1);
    must(SSL_CTX_use_certificate_chain_file(server, files->chain) == 1 &&
             SSL_CTX_use_PrivateKey_file(server, files->key,
                                         SSL_FILETYPE_PEM) == 1,
         files->chain);
    for (size_t i = 0; i < count; i++)
        shake_bare(server, client, &s, &c);
    report("bare library", &s, &c, count);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

int
main(int argc, char **argv)
{
    uint32_t count = 1000;
    struct tls_certificate_files files;
    struct err err = {0};

    must(argc < 2 || sv_to_u32(sv_of(argv[1]), &count), "a number is wanted");
    must(tls_init(&err), err.text);
    (void)pki_make(&(struct pki_options){.name = "ca", .is_ca = true});
    files = pki_make(&(struct pki_options){.name = "mx",
                                           .type = argc > 2 ? argv[2] : "RSA",
                                           .names = "DNS:mx.test",
                                           .issuer = "ca"});
    for (int i = 0; i < 2; i++) {
        bench_bare(&files, count);
        bench_ours(&files, count, NULL, "lib/tls");
    }
    return 0;
}
