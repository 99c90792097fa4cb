/* TLS contexts and streams: both ends in memory, no sockets. */
#include "base/buf.h"
#include "tls/stream.h"
#include "tls/test_pki.h"
#include "tls/tls_internal.h"
#include "unit.h"
#include <openssl/ssl.h>
#include <sys/stat.h>

#define ALL_VERSIONS                                                           \
    (TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13)

static struct tls_certificate_files ca, ec, rsa, other, wild, expired, client;

static void
make_files(void)
{
    ca = pki_make(&(struct pki_options){.name = "ca", .is_ca = true});
    ec = pki_make(&(struct pki_options){
        .name = "ec", .names = "DNS:mx.test,DNS:MX2.test", .issuer = "ca"});
    rsa = pki_make(&(struct pki_options){.name = "rsa",
                                         .type = "RSA",
                                         .names = "DNS:mx.test,DNS:mx2.test",
                                         .issuer = "ca"});
    other = pki_make(&(struct pki_options){
        .name = "other", .names = "DNS:other.test", .type = "ED25519"});
    wild = pki_make(&(struct pki_options){
        .name = "wild", .names = "DNS:*.wild.test", .issuer = "ca"});
    expired = pki_make(&(struct pki_options){
        .name = "expired", .names = "DNS:mx.test", .issuer = "ca", .days = -1});
    client = pki_make(&(struct pki_options){.name = "client"});
}

/* Pairs of streams ------------------------------------------------------- */

struct end {
    struct tls_stream *stream;
    struct buf to_peer;
    enum tls_result result;
    struct tls_failure failure;
};

static void
on_emit(void *arg, struct sv ciphertext)
{
    struct end *end = arg;

    buf_add(&end->to_peer, ciphertext);
}

static void
step(struct end *end, struct end *peer)
{
    struct sv in = buf_view(&peer->to_peer);

    if (end->result != TLS_AGAIN)
        return;
    end->result = tls_stream_handshake(end->stream, &in, &end->failure);
    buf_consume(&peer->to_peer, buf_length(&peer->to_peer) - in.n);
}

static void
shake_hands(struct end *c, struct end *s)
{
    c->result = s->result = TLS_AGAIN;
    for (int i = 0; i < 10; i++) {
        step(c, s);
        step(s, c);
    }
}

/* Reads what is there, post-handshake messages included. */
static enum tls_result
receive(struct end *end, struct end *peer, char *dst, size_t size, size_t *n)
{
    struct sv in = buf_view(&peer->to_peer);
    enum tls_result result =
        tls_stream_read(end->stream, &in, dst, size, n, &end->failure);

    buf_consume(&peer->to_peer, buf_length(&peer->to_peer) - in.n);
    return result;
}

static void
end_fini(struct end *end)
{
    tls_stream_free(end->stream);
    buf_fini(&end->to_peer);
    *end = (struct end){0};
}

static struct tls_profile
profile_of(unsigned versions)
{
    return (struct tls_profile){.versions = versions,
                                .strength = TLS_MEDIUM,
                                .ciphers = "",
                                .groups = ""};
}

static struct tls_context *
server_of(const struct tls_profile *profile,
          const struct tls_certificate_files *files, size_t count,
          const char *id)
{
    struct err err = {0};
    struct tls_context *context =
        tls_context_new_server(profile, files, count, sv_of(id), &err);

    if (context == NULL)
        fail_msg("%s", err.text);
    return context;
}

static struct tls_context *
client_of(const struct tls_profile *profile,
          const struct tls_certificate_files *files)
{
    struct err err = {0};
    struct tls_context *context =
        tls_context_new_client(profile, files, ca.chain, &err);

    if (context == NULL)
        fail_msg("%s", err.text);
    return context;
}

static void
connect_ends(struct end *c, struct tls_context *cc, struct end *s,
             struct tls_context *sc, const char *sni,
             const struct tls_session_key *key)
{
    c->stream = tls_stream_new_client(cc, sv_of(sni), key, on_emit, c);
    s->stream = tls_stream_new_server(sc, on_emit, s);
    shake_hands(c, s);
}

/* Versions and ciphers --------------------------------------------------- */

static const struct handshake_row {
    const char *name;
    unsigned client, server;
    const char *client_ciphers, *server_ciphers;
    const char *version; /* NULL: must fail */
    enum tls_stage client_stage, server_stage;
} handshake_rows[] = {
    {"TLS 1.0", TLS_BIT_TLS10, ALL_VERSIONS, "", "", "TLSv1", 0, 0},
    {"TLS 1.1", TLS_BIT_TLS11, ALL_VERSIONS, "", "", "TLSv1.1", 0, 0},
    {"TLS 1.2", TLS_BIT_TLS12, ALL_VERSIONS, "", "", "TLSv1.2", 0, 0},
    {"TLS 1.3", TLS_BIT_TLS13, ALL_VERSIONS, "", "", "TLSv1.3", 0, 0},
    {"highest wins", ALL_VERSIONS, ALL_VERSIONS, "", "", "TLSv1.3", 0, 0},
    {"hole in the middle", TLS_BIT_TLS12, TLS_BIT_TLS11 | TLS_BIT_TLS13, "", "",
     NULL, STAGE_VERSION, STAGE_VERSION},
    {"around a hole", TLS_BIT_TLS11 | TLS_BIT_TLS12,
     TLS_BIT_TLS11 | TLS_BIT_TLS13, "", "", "TLSv1.1", 0, 0},
    {"old client, new server", TLS_BIT_TLS10, TLS_BIT_TLS13, "", "", NULL,
     STAGE_VERSION, STAGE_VERSION},
    {"new client, old server", TLS_BIT_TLS13, TLS_BIT_TLS10, "", "", NULL,
     STAGE_VERSION, STAGE_VERSION},
    {"no common cipher 1.2", TLS_BIT_TLS12, TLS_BIT_TLS12,
     "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", NULL,
     STAGE_CIPHER, STAGE_CIPHER},
    {"no common cipher 1.3", TLS_BIT_TLS13, TLS_BIT_TLS13,
     "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", NULL, STAGE_CIPHER,
     STAGE_CIPHER},
    {"lists of both kinds", ALL_VERSIONS, ALL_VERSIONS,
     "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256", "", "TLSv1.3", 0, 0},
};

static void
check_handshake(void **state)
{
    const struct handshake_row *r = *state;
    struct tls_profile cp = profile_of(r->client), sp = profile_of(r->server);
    struct tls_context *cc, *sc;
    struct end c = {0}, s = {0};

    cp.ciphers = r->client_ciphers;
    sp.ciphers = r->server_ciphers;
    cc = client_of(&cp, NULL);
    sc = server_of(&sp, (struct tls_certificate_files[]){rsa, ec}, 2, "x");
    connect_ends(&c, cc, &s, sc, "mx.test", NULL);
    if (r->version != NULL) {
        assert_int_equal(c.result, TLS_OK);
        assert_int_equal(s.result, TLS_OK);
        assert_string_equal(tls_stream_facts(c.stream)->version, r->version);
        assert_string_equal(tls_stream_facts(s.stream)->version, r->version);
        assert_string_equal(tls_stream_facts(s.stream)->server_name, "mx.test");
        assert_int_equal(tls_stream_facts(c.stream)->verify, TLS_VERIFY_OK);
        assert_true(tls_stream_facts(c.stream)->bits >= 128);
    } else {
        assert_int_equal(c.result, TLS_ERROR);
        assert_int_equal(s.result, TLS_ERROR);
        if (c.failure.stage != r->client_stage ||
            s.failure.stage != r->server_stage)
            fail_msg("client: %s, server: %s", c.failure.reason,
                     s.failure.reason);
        assert_string_equal(tls_stage_name(c.failure.stage),
                            tls_stage_name(r->client_stage));
        assert_string_equal(tls_stage_name(s.failure.stage),
                            tls_stage_name(r->server_stage));
        assert_true(strlen(s.failure.reason) > 3);
    }
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(cc);
    tls_context_unref(sc);
}

/* Settings that must be refused ------------------------------------------ */

static const struct refused_row {
    const char *name;
    struct tls_profile profile;
    const char *text; /* in the error */
} refused_rows[] = {
    {"SSLv2", {.versions = TLS_BIT_SSL2 | TLS_BIT_TLS12}, "SSLv2 is not in"},
    {"SSLv3", {.versions = TLS_BIT_SSL3 | TLS_BIT_TLS12}, "SSLv3 is not in"},
    {"no version", {.versions = 0}, "no TLS version"},
    {"unknown cipher",
     {.versions = TLS_BIT_TLS12, .ciphers = "NO-SUCH"},
     "NO-SUCH"},
    {"only anonymous",
     {.versions = TLS_BIT_TLS12, .ciphers = "aNULL"},
     "aNULL"},
    {"only unencrypted",
     {.versions = TLS_BIT_TLS12, .ciphers = "eNULL"},
     "eNULL"},
    {"unknown 1.3 suite",
     {.versions = TLS_BIT_TLS13, .ciphers = "TLS_NO_SUCH"},
     "TLS_NO_SUCH"},
    {"nothing for 1.2",
     {.versions = TLS_BIT_TLS12, .ciphers = "TLS_AES_128_GCM_SHA256"},
     "below TLS 1.3"},
    {"unknown group", {.versions = TLS_BIT_TLS12, .groups = "X1"}, "groups"},
};

static void
check_refused(void **state)
{
    const struct refused_row *r = *state;
    struct err err = {0};

    assert_null(tls_context_new_client(&r->profile, NULL, NULL, &err));
    if (strstr(err.text, r->text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", r->text, err.text);
}

/* Certificate files ------------------------------------------------------ */

static void
expect_check_error(const char *chain, const char *key, const char *text)
{
    struct tls_certificate_files files = {
        .name = "mx", .chain = chain, .key = key};
    struct err err = {0};

    assert_false(tls_certificate_check(&files, &err));
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void
check_certificate_files(void **state)
{
    struct err err = {0};

    (void)state;
    assert_true(tls_certificate_check(&ec, &err));
    assert_true(tls_certificate_check(&rsa, &err));
    assert_true(tls_certificate_check(&other, &err));
    assert_true(tls_certificate_check(&expired, &err));

    expect_check_error("/nonexistent/a.pem", ec.key, "No such file");
    expect_check_error(ec.chain, "/nonexistent/a.key", "No such file");
    expect_check_error("", ec.key, "no chain file is named");
    expect_check_error(ec.key, ec.key, "must hold PEM certificates");
    pki_write("no.key", ec.chain, NULL);
    expect_check_error(ec.chain, pki_path("no.key"),
                       "must hold a PEM private key");
    expect_check_error(ec.chain, rsa.key, "does not belong");
    pki_write("reversed.pem", ca.chain, ec.chain);
    expect_check_error(pki_path("reversed.pem"), ec.key,
                       "must be the first of the file");
    pki_write("stranger.pem", ec.chain, other.chain);
    expect_check_error(pki_path("stranger.pem"), ec.key, "did not issue");
    pki_write("open.key", ec.key, NULL);
    assert_int_equal(chmod(pki_path("open.key"), 0644), 0);
    expect_check_error(ec.chain, pki_path("open.key"), "open to every user");
    assert_int_equal(chmod(pki_path("open.key"), 0640), 0);
    assert_true(tls_certificate_check(
        &(struct tls_certificate_files){
            .name = "mx", .chain = ec.chain, .key = pki_path("open.key")},
        &err));
}

/* Choice of certificate -------------------------------------------------- */

static const struct sni_row {
    const char *name, *sni, *ciphers, *subject;
} sni_rows[] = {
    {"default without SNI", "", "", "CN=ec"},
    {"default for a stranger", "stranger.test", "", "CN=ec"},
    {"twin of other key type", "mx.test", "ECDHE-RSA-AES128-GCM-SHA256",
     "CN=rsa"},
    {"exact, other case", "OTHER.test", "", "CN=other"},
    {"wildcard", "a.wild.test", "", "CN=wild"},
    {"wildcard is one label", "a.b.wild.test", "", "CN=ec"},
    {"wildcard is not none", "wild.test", "", "CN=ec"},
    {"trailing dot", "other.test.", "", "CN=other"},
};

static void
check_sni(void **state)
{
    const struct sni_row *r = *state;
    struct tls_profile cp = profile_of(TLS_BIT_TLS12);
    struct tls_profile sp = profile_of(ALL_VERSIONS);
    struct tls_context *cc, *sc;
    struct end c = {0}, s = {0};

    cp.ciphers = r->ciphers;
    cc = client_of(&cp, NULL);
    sc = server_of(&sp, (struct tls_certificate_files[]){ec, rsa, other, wild},
                   4, "x");
    connect_ends(&c, cc, &s, sc, r->sni, NULL);
    assert_int_equal(c.result, TLS_OK);
    assert_string_equal(tls_stream_facts(c.stream)->peer_subject, r->subject);
    assert_string_equal(tls_stream_facts(s.stream)->server_name, r->sni);
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(cc);
    tls_context_unref(sc);
}

/* Verification is a fact, not a failure ---------------------------------- */

static void
check_verify(void **state)
{
    static const struct {
        const struct tls_certificate_files *files;
        enum tls_verify verify;
        const char *reason;
    } rows[] = {
        {&ec, TLS_VERIFY_OK, ""},
        {&expired, TLS_VERIFY_FAILED, "certificate has expired"},
        {&other, TLS_VERIFY_FAILED, "self-signed certificate"},
    };
    struct tls_profile profile = profile_of(ALL_VERSIONS);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tls_context *cc = client_of(&profile, NULL);
        struct tls_context *sc = server_of(&profile, rows[i].files, 1, "x");
        struct end c = {0}, s = {0};
        const struct tls_facts *facts;

        connect_ends(&c, cc, &s, sc, "", NULL);
        facts = tls_stream_facts(c.stream);
        assert_int_equal(c.result, TLS_OK);
        assert_int_equal(facts->verify, rows[i].verify);
        assert_string_equal(facts->verify_reason, rows[i].reason);
        assert_true(facts->has_peer_certificate);
        assert_int_equal(strlen(facts->peer_sha256), 64);
        assert_string_equal(facts->group, "x25519");
        end_fini(&c);
        end_fini(&s);
        tls_context_unref(cc);
        tls_context_unref(sc);
    }
}

/* Resumption ------------------------------------------------------------- */

static time_t ahead_s;

/* In place of the C library's, for OpenSSL too. */
time_t
time(time_t *now)
{
    struct timespec real;

    clock_gettime(CLOCK_REALTIME, &real);
    if (now != NULL)
        *now = real.tv_sec + ahead_s;
    return real.tv_sec + ahead_s;
}

static bool
resumes(struct tls_context *cc, struct tls_context *sc,
        const struct tls_session_key *key)
{
    struct end c = {0}, s = {0};
    char bytes[64];
    size_t n;
    bool resumed;

    connect_ends(&c, cc, &s, sc, "mx.test", key);
    assert_int_equal(c.result, TLS_OK);
    assert_int_equal(s.result, TLS_OK);
    assert_int_equal(receive(&c, &s, bytes, sizeof bytes, &n), TLS_AGAIN);
    resumed = tls_stream_facts(c.stream)->resumed;
    assert_int_equal(resumed, tls_stream_facts(s.stream)->resumed);
    assert_int_equal(tls_stream_facts(c.stream)->verify, TLS_VERIFY_OK);
    assert_string_equal(tls_stream_facts(c.stream)->peer_subject, "CN=ec");
    end_fini(&c);
    end_fini(&s);
    return resumed;
}

/* The same files may have another content by now. */
static void
check_resumption_after_reload(void **state)
{
    const unsigned *versions = *state;
    struct tls_profile profile = profile_of(versions[0]);
    struct tls_context *old = client_of(&profile, NULL);
    struct tls_context *new = client_of(&profile, NULL);
    struct tls_context *sc = server_of(&profile, &ec, 1, "one");
    struct tls_session_key key = {{3}};

    tls_session_cache_clear();
    assert_false(resumes(old, sc, &key));
    assert_true(resumes(old, sc, &key));
    assert_false(resumes(new, sc, &key));
    assert_true(resumes(new, sc, &key));
    assert_false(resumes(old, sc, &key)); /* one that still runs */
    assert_false(resumes(new, sc, &key));
    tls_context_unref(old);
    tls_context_unref(new);
    tls_context_unref(sc);
}

/* Each resumption gives a new ticket, but no new look at the certificate. */
static void
check_resumption_ends(void **state)
{
    const unsigned *versions = *state;
    struct tls_profile profile = profile_of(versions[0]);
    struct tls_context *cc = client_of(&profile, NULL);
    struct tls_context *sc = server_of(&profile, &ec, 1, "one");
    struct tls_session_key key = {{4}};

    tls_session_cache_clear();
    assert_false(resumes(cc, sc, &key));
    for (int hour = 1; hour < 24; hour++) {
        ahead_s += 3600;
        assert_true(resumes(cc, sc, &key));
    }
    ahead_s += 3600;
    assert_false(resumes(cc, sc, &key));
    assert_true(resumes(cc, sc, &key));
    ahead_s = 0;
    tls_session_cache_clear();
    tls_context_unref(cc);
    tls_context_unref(sc);
}

static void
check_resumption(void **state)
{
    const unsigned *versions = *state;
    struct tls_profile profile = profile_of(versions[0]);
    struct tls_context *cc = client_of(&profile, NULL);
    struct tls_context *sc = server_of(&profile, &ec, 1, "one");
    struct tls_context *stricter = server_of(&profile, &ec, 1, "two");
    struct tls_context *reloaded = server_of(&profile, &ec, 1, "one");
    struct tls_session_key a = {{1}}, b = {{2}};

    tls_session_cache_clear();
    assert_false(resumes(cc, sc, &a));
    assert_true(resumes(cc, sc, &a));
    assert_true(resumes(cc, reloaded, &a));
    assert_false(resumes(cc, sc, &b));       /* another decision */
    assert_false(resumes(cc, sc, NULL));     /* none wanted */
    assert_false(resumes(cc, stricter, &a)); /* another listener */

    tls_session_cache_clear();
    assert_false(resumes(cc, sc, &a));
    tls_ticket_keys_rotate();
    tls_ticket_keys_rotate();
    assert_true(resumes(cc, sc, &a)); /* two keys back */
    tls_session_cache_clear();
    assert_false(resumes(cc, sc, &a));
    for (int i = 0; i < 3; i++)
        tls_ticket_keys_rotate();
    assert_false(resumes(cc, sc, &a)); /* its key is gone */

    tls_session_cache_limit(1);
    assert_true(resumes(cc, sc, &a));
    assert_false(resumes(cc, sc, &b)); /* pushes a out */
    assert_false(resumes(cc, sc, &a));
    tls_session_cache_limit(0);
    assert_false(resumes(cc, sc, &a));
    assert_false(resumes(cc, sc, &a));
    tls_session_cache_limit(10000);
    tls_context_unref(cc);
    tls_context_unref(sc);
    tls_context_unref(stricter);
    tls_context_unref(reloaded);
}

/* Client certificates ---------------------------------------------------- */

/* A server that insists on a client certificate, made with the library itself:
 * our own contexts cannot do that yet. */
struct strict_server {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
};

static void
strict_init(struct strict_server *server)
{
    server->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_chain_file(server->ctx, ec.chain),
                     1);
    assert_int_equal(
        SSL_CTX_use_PrivateKey_file(server->ctx, ec.key, SSL_FILETYPE_PEM), 1);
    SSL_CTX_load_verify_file(server->ctx, client.chain);
    SSL_CTX_set_verify(server->ctx,
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    server->ssl = SSL_new(server->ctx);
    server->in = BIO_new(BIO_s_mem());
    server->out = BIO_new(BIO_s_mem());
    SSL_set_bio(server->ssl, server->in, server->out);
    SSL_set_accept_state(server->ssl);
}

static void
strict_step(struct strict_server *server, struct end *c, struct buf *to_client)
{
    char bytes[8192];
    int n;

    if (buf_length(&c->to_peer) > 0)
        BIO_write(server->in, buf_view(&c->to_peer).p,
                  (int)buf_length(&c->to_peer));
    buf_reset(&c->to_peer);
    if (SSL_do_handshake(server->ssl) == 1)
        SSL_read(server->ssl, bytes, sizeof bytes);
    while ((n = BIO_read(server->out, bytes, sizeof bytes)) > 0)
        buf_add(to_client, (struct sv){bytes, (size_t)n});
}

static void
strict_shake(struct strict_server *server, struct end *c)
{
    struct buf to_client = {0};
    char bytes[64];

    c->result = TLS_AGAIN;
    for (int i = 0; i < 6 && c->result != TLS_ERROR; i++) {
        struct sv in = buf_view(&to_client);
        size_t n;

        if (c->result == TLS_AGAIN)
            c->result = tls_stream_handshake(c->stream, &in, &c->failure);
        if (c->result == TLS_OK &&
            tls_stream_read(c->stream, &in, bytes, sizeof bytes, &n,
                            &c->failure) == TLS_ERROR)
            c->result = TLS_ERROR;
        buf_reset(&to_client);
        strict_step(server, c, &to_client);
    }
    buf_fini(&to_client);
}

static void
strict_fini(struct strict_server *server)
{
    SSL_free(server->ssl);
    SSL_CTX_free(server->ctx);
}

static void
check_client_certificate(void **state)
{
    const unsigned *versions = *state;
    struct tls_profile profile = profile_of(versions[0]);

    for (int with = 0; with < 2; with++) {
        struct tls_context *cc = client_of(&profile, with ? &client : NULL);
        struct strict_server server;
        struct end c = {0};

        strict_init(&server);
        c.stream = tls_stream_new_client(cc, SV(""), NULL, on_emit, &c);
        strict_shake(&server, &c);
        assert_true(tls_stream_facts(c.stream)->certificate_requested);
        if (with) {
            assert_int_equal(c.result, TLS_OK);
        } else {
            assert_int_equal(c.result, TLS_ERROR);
            assert_string_equal(tls_stage_name(c.failure.stage),
                                "client-certificate-requested");
            assert_non_null(strstr(c.failure.reason, "peer sent alert: "));
        }
        strict_fini(&server);
        end_fini(&c);
        tls_context_unref(cc);
    }
}

/* Data ------------------------------------------------------------------- */

static void
check_data(void **state)
{
    const unsigned *versions = *state;
    struct tls_profile profile = profile_of(versions[0]);
    struct tls_context *cc = client_of(&profile, NULL);
    struct tls_context *sc = server_of(&profile, &ec, 1, "x");
    struct end c = {0}, s = {0};
    size_t size = 300000, got = 0, n = 0;
    char *sent = mem_alloc(size), *came = mem_alloc(size + TLS_RECORD);

    for (size_t i = 0; i < size; i++)
        sent[i] = (char)(i * 7 + i / 251);
    connect_ends(&c, cc, &s, sc, "", NULL);
    assert_int_equal(c.result, TLS_OK);
    assert_int_equal(
        tls_stream_write(c.stream, (struct sv){sent, size}, &c.failure),
        TLS_OK);
    tls_stream_shutdown(c.stream);
    tls_stream_shutdown(c.stream); /* once only */
    for (size_t part = 1; buf_length(&c.to_peer) > 0; part = part * 3 + 1) {
        struct sv in = sv_slice(buf_view(&c.to_peer), 0, part);
        size_t before = in.n;

        s.result = tls_stream_read(s.stream, &in, came + got,
                                   size + TLS_RECORD - got, &n, &s.failure);
        got += n;
        buf_consume(&c.to_peer, before - in.n);
        if (s.result != TLS_AGAIN)
            break;
    }
    assert_int_equal(s.result, TLS_EOF);
    assert_int_equal(got, size);
    assert_memory_equal(sent, came, size);
    mem_free(sent);
    mem_free(came);
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(cc);
    tls_context_unref(sc);
}

/* Every byte for itself, in both directions. */
static void
check_bytewise(void **state)
{
    const unsigned *versions = *state;
    struct tls_profile profile = profile_of(versions[0]);
    struct tls_context *cc = client_of(&profile, &client);
    struct tls_context *sc = server_of(&profile, &rsa, 1, "x");
    struct end ends[2] = {{.result = TLS_AGAIN}, {.result = TLS_AGAIN}};
    struct sv nothing = {0};

    ends[0].stream =
        tls_stream_new_client(cc, SV("mx.test"), NULL, on_emit, &ends[0]);
    ends[1].stream = tls_stream_new_server(sc, on_emit, &ends[1]);
    ends[0].result =
        tls_stream_handshake(ends[0].stream, &nothing, &ends[0].failure);
    for (int i = 0; i < 20000 && (ends[0].result == TLS_AGAIN ||
                                  ends[1].result == TLS_AGAIN);
         i++) {
        struct end *to = &ends[i % 2], *from = &ends[1 - i % 2];
        struct sv in = sv_slice(buf_view(&from->to_peer), 0, 1);

        if (in.n == 0 || to->result != TLS_AGAIN)
            continue;
        to->result = tls_stream_handshake(to->stream, &in, &to->failure);
        buf_consume(&from->to_peer, 1 - in.n);
    }
    assert_int_equal(ends[0].result, TLS_OK);
    assert_int_equal(ends[1].result, TLS_OK);
    end_fini(&ends[0]);
    end_fini(&ends[1]);
    tls_context_unref(cc);
    tls_context_unref(sc);
}

static void
check_garbage(void **state)
{
    struct tls_profile profile = profile_of(ALL_VERSIONS);
    struct tls_context *sc = server_of(&profile, &ec, 1, "x");
    struct tls_context *cc = client_of(&profile, NULL);
    struct end c = {0}, s = {0};
    struct sv in = SV("EHLO client.test\r\n");
    char bytes[64];
    size_t n;

    (void)state;
    s.stream = tls_stream_new_server(sc, on_emit, &s);
    assert_int_equal(tls_stream_handshake(s.stream, &in, &s.failure),
                     TLS_ERROR);
    assert_int_equal(s.failure.stage, STAGE_HANDSHAKE);
    end_fini(&s);

    /* A damaged record behind the handshake breaks the connection. */
    connect_ends(&c, cc, &s, sc, "", NULL);
    assert_int_equal(tls_stream_write(c.stream, SV("hello"), &c.failure),
                     TLS_OK);
    c.to_peer.p[c.to_peer.end - 1] ^= 1;
    assert_int_equal(receive(&s, &c, bytes, sizeof bytes, &n), TLS_ERROR);
    assert_int_equal(n, 0);
    assert_int_equal(s.failure.stage, STAGE_IO);
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(sc);
    tls_context_unref(cc);
}

/* No list brings suites without encryption or authentication. */
static void
check_ciphers(void **state)
{
    static const struct tls_profile profiles[] = {
        {.versions = ALL_VERSIONS, .strength = TLS_HIGH},
        {.versions = ALL_VERSIONS, .strength = TLS_MEDIUM},
        {.versions = ALL_VERSIONS, .strength = TLS_LOW},
        {.versions = ALL_VERSIONS, .ciphers = "ALL:PSK"},
    };
    int count_before = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(profiles); i++) {
        struct tls_context *context = client_of(&profiles[i], NULL);
        STACK_OF(SSL_CIPHER) *list = SSL_CTX_get_ciphers(context->ctx[0]);
        int count = sk_SSL_CIPHER_num(list);

        assert_string_equal(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(list, 0)),
                            "TLS_AES_256_GCM_SHA384");
        assert_true(i == 3 || count > count_before); /* a minimum */
        count_before = count;
        for (int n = 0; n < count; n++) {
            const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(list, n);
            int auth = SSL_CIPHER_get_auth_nid(cipher);

            assert_true(SSL_CIPHER_get_bits(cipher, NULL) >= 128);
            assert_true(auth != NID_auth_null && auth != NID_auth_psk &&
                        auth != NID_auth_srp);
        }
        tls_context_unref(context);
    }
}

/* Old versions lower the level for themselves only. */
static void
check_short_keys(void **state)
{
    struct tls_certificate_files weak = pki_make(&(struct pki_options){
        .name = "weak", .type = "RSA1024", .names = "DNS:mx.test"});
    struct tls_profile profile = {.versions = ALL_VERSIONS,
                                  .strength = TLS_HIGH};
    struct err err = {0};

    (void)state;
    assert_true(tls_certificate_check(&weak, &err));
    assert_null(tls_context_new_server(&profile, &weak, 1, SV("x"), &err));
    assert_non_null(strstr(err.text, "certificate weak: "));
    assert_non_null(strstr(err.text, "key too small"));
    profile.strength = TLS_LOW;
    tls_context_unref(server_of(&profile, &weak, 1, "x"));
}

/* A client that wants to renegotiate is told no and served on. */
static void
check_no_renegotiation(void **state)
{
    struct tls_profile profile = profile_of(TLS_BIT_TLS12);
    struct tls_context *cc = client_of(&profile, NULL);
    struct tls_context *sc = server_of(&profile, &ec, 1, "x");
    struct end c = {0}, s = {0};
    char bytes[64];
    size_t n;

    (void)state;
    connect_ends(&c, cc, &s, sc, "", NULL);
    SSL_clear_options(c.stream->ssl, SSL_OP_NO_RENEGOTIATION);
    assert_int_equal(SSL_renegotiate(c.stream->ssl), 1);
    SSL_do_handshake(c.stream->ssl);
    assert_true(buf_length(&c.to_peer) > 0);
    assert_int_equal(receive(&s, &c, bytes, sizeof bytes, &n), TLS_AGAIN);
    assert_int_equal(tls_stream_write(s.stream, SV("still here"), &s.failure),
                     TLS_OK);
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(cc);
    tls_context_unref(sc);
}

/* Changes of the traffic key are followed, also many of them. */
static void
check_key_update(void **state)
{
    struct tls_profile profile = profile_of(TLS_BIT_TLS13);
    struct tls_context *cc = client_of(&profile, NULL);
    struct tls_context *sc = server_of(&profile, &ec, 1, "x");
    struct end c = {0}, s = {0};
    char bytes[64];
    size_t n;

    (void)state;
    connect_ends(&c, cc, &s, sc, "", NULL);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(
            SSL_key_update(c.stream->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(tls_stream_write(c.stream, SV("up"), &c.failure),
                         TLS_OK);
        assert_int_equal(receive(&s, &c, bytes, sizeof bytes, &n), TLS_AGAIN);
        assert_int_equal(n, 2);
        assert_int_equal(tls_stream_write(s.stream, SV("down"), &s.failure),
                         TLS_OK);
        assert_int_equal(receive(&c, &s, bytes, sizeof bytes, &n), TLS_AGAIN);
        assert_int_equal(n, 4);
    }
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(cc);
    tls_context_unref(sc);
}

static void
check_trust_errors(void **state)
{
    struct tls_profile profile = profile_of(TLS_BIT_TLS13);
    struct err err = {0};

    (void)state;
    assert_null(
        tls_context_new_client(&profile, NULL, "/nonexistent/ca.pem", &err));
    assert_string_equal(err.text, "trusted certificates in "
                                  "/nonexistent/ca.pem: "
                                  "No such file or directory");
    assert_null(tls_context_new_client(&profile, NULL, ec.key, &err));
    assert_non_null(strstr(err.text, "trusted certificates in "));
    assert_null(tls_context_new_server(&profile, NULL, 0, SV("x"), &err));
    assert_non_null(strstr(err.text, "at least one certificate"));
}

static void
check_names(void **state)
{
    struct tls_failure failure;

    (void)state;
    assert_string_equal(tls_stage_name(STAGE_NOT_OFFERED),
                        "starttls-not-offered");
    assert_string_equal(tls_verify_name(TLS_VERIFY_FAILED), "failed");
    for (int i = 0; i < TLS_STAGE_COUNT; i++)
        assert_true(strlen(tls_stage_sentence((enum tls_stage)i)) > 5);
    tls_failure_set(&failure, STAGE_IO, "a\r\nb%c", 0x7f);
    assert_string_equal(failure.reason, "a??b?");
}

int
main(void)
{
    static unsigned v12 = TLS_BIT_TLS12, v13 = TLS_BIT_TLS13,
                    v10 = TLS_BIT_TLS10;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_names),
        cmocka_unit_test(check_certificate_files),
        cmocka_unit_test(check_verify),
        cmocka_unit_test(check_trust_errors),
        cmocka_unit_test(check_garbage),
        cmocka_unit_test(check_ciphers),
        cmocka_unit_test(check_short_keys),
        cmocka_unit_test(check_no_renegotiation),
        cmocka_unit_test(check_key_update),
        {"resumption after a reload 1.2", check_resumption_after_reload, NULL,
         NULL, &v12},
        {"resumption after a reload 1.3", check_resumption_after_reload, NULL,
         NULL, &v13},
        {"resumption ends", check_resumption_ends, NULL, NULL, &v13},
        {"resumption 1.0", check_resumption, NULL, NULL, &v10},
        {"resumption 1.2", check_resumption, NULL, NULL, &v12},
        {"resumption 1.3", check_resumption, NULL, NULL, &v13},
        {"client certificate 1.2", check_client_certificate, NULL, NULL, &v12},
        {"client certificate 1.3", check_client_certificate, NULL, NULL, &v13},
        {"bytewise 1.2", check_bytewise, NULL, NULL, &v12},
        {"bytewise 1.3", check_bytewise, NULL, NULL, &v13},
        {"data 1.0", check_data, NULL, NULL, &v10},
        {"data 1.2", check_data, NULL, NULL, &v12},
        {"data 1.3", check_data, NULL, NULL, &v13},
    };
    struct err err = {0};
    int failed;

    if (!tls_init(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    make_files();
    failed = cmocka_run_group_tests_name("tls", tests, NULL, NULL);
    failed += RUN_ROWS("handshake", check_handshake, handshake_rows);
    failed += RUN_ROWS("refused", check_refused, refused_rows);
    failed += RUN_ROWS("sni", check_sni, sni_rows);
    tls_session_cache_clear();
    return failed;
}
