/* Every version, strength and kind of key, in both roles, against the bare
 * library as a peer that speaks one version only and refuses nothing. */
#include "tls/stream.h"
#include "tls/test_pki.h"
#include "tls/tls_internal.h"
#include "unit.h"
#include <openssl/err.h>

static struct tls_certificate_files ec, rsa, toy;

static const struct version {
    const char *name;
    unsigned bit;
    int number;
} versions[] = {
    {"TLSv1", TLS_BIT_TLS10, TLS1_VERSION},
    {"TLSv1.1", TLS_BIT_TLS11, TLS1_1_VERSION},
    {"TLSv1.2", TLS_BIT_TLS12, TLS1_2_VERSION},
    {"TLSv1.3", TLS_BIT_TLS13, TLS1_3_VERSION},
};

#define ALL_VERSIONS                                                           \
    (TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13)

static const struct row {
    const char *name;
    unsigned versions;
    enum tls_strength strength;
} rows[] = {
    {"all, high", ALL_VERSIONS, TLS_HIGH},
    {"all, medium", ALL_VERSIONS, TLS_MEDIUM},
    {"all, low", ALL_VERSIONS, TLS_LOW},
    {"1.0 only", TLS_BIT_TLS10, TLS_MEDIUM},
    {"1.0 only, high", TLS_BIT_TLS10, TLS_HIGH},
    {"1.1 only", TLS_BIT_TLS11, TLS_MEDIUM},
    {"1.2 only", TLS_BIT_TLS12, TLS_HIGH},
    {"1.3 only", TLS_BIT_TLS13, TLS_HIGH},
    {"1.0 and 1.2", TLS_BIT_TLS10 | TLS_BIT_TLS12, TLS_MEDIUM},
    {"1.0 and 1.3", TLS_BIT_TLS10 | TLS_BIT_TLS13, TLS_MEDIUM},
    {"1.1 and 1.3", TLS_BIT_TLS11 | TLS_BIT_TLS13, TLS_LOW},
    {"1.2 and 1.3", TLS_BIT_TLS12 | TLS_BIT_TLS13, TLS_HIGH},
};

/* The peer ---------------------------------------------------------------- */

static SSL_CTX *
bare_ctx(bool server, const struct version *version,
         const struct tls_certificate_files *files)
{
    SSL_CTX *ctx =
        SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

    SSL_CTX_set_security_level(ctx, 0);
    assert_int_equal(SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0"), 1);
    assert_int_equal(SSL_CTX_set_min_proto_version(ctx, version->number), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, version->number), 1);
    if (server) {
        assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, files->chain),
                         1);
        assert_int_equal(
            SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM), 1);
    }
    return ctx;
}

struct pair {
    struct tls_stream *ours;
    SSL *bare;
    BIO *in, *out; /* owned by bare */
    enum tls_result result;
    struct tls_failure failure;
};

static void
on_emit(void *arg, struct sv ciphertext)
{
    struct pair *pair = arg;

    BIO_write(pair->in, ciphertext.p, (int)ciphertext.n);
}

static void
step_ours(struct pair *pair)
{
    char *bytes = NULL;
    long n = BIO_get_mem_data(pair->out, &bytes);
    struct sv in = {bytes, n > 0 ? (size_t)n : 0};

    if (pair->result == TLS_AGAIN)
        pair->result = tls_stream_handshake(pair->ours, &in, &pair->failure);
    (void)BIO_reset(pair->out);
}

/* True when both ends have finished. */
static bool
meet(struct tls_context *context, bool server, SSL_CTX *peer, struct pair *pair)
{
    int rc = 0;

    *pair = (struct pair){.bare = SSL_new(peer),
                          .in = BIO_new(BIO_s_mem()),
                          .out = BIO_new(BIO_s_mem()),
                          .result = TLS_AGAIN};
    SSL_set_bio(pair->bare, pair->in, pair->out);
    if (server) {
        SSL_set_connect_state(pair->bare);
        pair->ours = tls_stream_new_server(context, on_emit, pair);
    } else {
        SSL_set_accept_state(pair->bare);
        pair->ours =
            tls_stream_new_client(context, SV("mx.test"), NULL, on_emit, pair);
        step_ours(pair);
    }
    for (int i = 0; i < 8; i++) {
        if (rc != 1)
            rc = SSL_do_handshake(pair->bare);
        ERR_clear_error();
        step_ours(pair);
    }
    return rc == 1 && pair->result == TLS_OK;
}

static void
pair_fini(struct pair *pair)
{
    tls_stream_free(pair->ours);
    SSL_free(pair->bare);
}

/* Both roles -------------------------------------------------------------- */

static struct tls_context *
our_context(const struct row *r, bool server)
{
    const struct tls_certificate_files both[] = {ec, rsa};
    const struct tls_profile profile = {.versions = r->versions,
                                        .strength = r->strength};
    struct err err = {0};
    struct tls_context *context =
        server ? tls_context_new_server(&profile, both, 2, SV("x"), &err)
               : tls_context_new_client(&profile, NULL, NULL, &err);

    if (context == NULL)
        fail_msg("%s", err.text);
    return context;
}

static void
check_version(const struct row *r, struct tls_context *context, bool server,
              const struct version *version,
              const struct tls_certificate_files *files)
{
    SSL_CTX *peer = bare_ctx(!server, version, files);
    bool wanted = (r->versions & version->bit) != 0;
    struct pair pair;
    bool done = meet(context, server, peer, &pair);

    if (done != wanted)
        fail_msg("%s as %s: %s", version->name, server ? "server" : "client",
                 done ? "must not work" : pair.failure.reason);
    if (done)
        assert_string_equal(tls_stream_facts(pair.ours)->version,
                            version->name);
    else
        assert_int_equal(pair.failure.stage, STAGE_VERSION);
    pair_fini(&pair);
    SSL_CTX_free(peer);
}

static void
check_row(void **state)
{
    const struct row *r = *state;
    struct tls_context *server = our_context(r, true);
    struct tls_context *client = our_context(r, false);

    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        check_version(r, server, true, &versions[i], NULL);
        check_version(r, client, false, &versions[i], &ec);
        check_version(r, client, false, &versions[i], &rsa);
    }
    tls_context_unref(server);
    tls_context_unref(client);
}

/* Keys -------------------------------------------------------------------- */

/* No strength lets in a toy key of ours, and no list lowers the floor. */
static void
check_toy_key(void **state)
{
    static const char *const lists[] = {"", "ALL:@SECLEVEL=0"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        const struct tls_profile profile = {
            .versions = ALL_VERSIONS, .strength = TLS_LOW, .ciphers = lists[i]};
        struct err err = {0};

        assert_null(tls_context_new_server(&profile, &toy, 1, SV("x"), &err));
        assert_non_null(strstr(err.text, "key too small"));
    }
}

/* A peer's short key is no reason to break, but none to trust either. */
static void
check_peer_toy_key(void **state)
{
    const struct tls_profile profile = {.versions = TLS_BIT_TLS12,
                                        .strength = TLS_LOW};
    struct err err = {0};
    struct tls_context *client =
        tls_context_new_client(&profile, NULL, toy.chain, &err);
    SSL_CTX *peer = bare_ctx(true, &versions[2], &toy);
    struct pair pair;

    (void)state;
    assert_non_null(client);
    if (meet(client, false, peer, &pair))
        assert_int_equal(tls_stream_facts(pair.ours)->verdict, VERDICT_WEAK);
    pair_fini(&pair);
    SSL_CTX_free(peer);
    tls_context_unref(client);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_toy_key),
        cmocka_unit_test(check_peer_toy_key),
    };
    struct err err = {0};
    int failed;

    if (!tls_init(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    ec = pki_make(&(struct pki_options){.name = "ec", .names = "DNS:mx.test"});
    rsa = pki_make(&(struct pki_options){
        .name = "rsa", .type = "RSA", .names = "DNS:mx.test"});
    toy = pki_make(&(struct pki_options){
        .name = "toy", .type = "RSA768", .names = "DNS:mx.test"});
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + RUN_ROWS("matrix", check_row, rows);
}
