/* What a server finds out about its clients' certificates, and the other way
 * round; stapled responses; files that change. */
#include "base/buf.h"
#include "tls/stream.h"
#include "tls/test_pki.h"
#include "tls/tls_internal.h"
#include "unit.h"
#include <sys/stat.h>
#include <unistd.h>

static const struct tls_profile v12 = {.versions = TLS_BIT_TLS12,
                                       .strength = TLS_MEDIUM};
static const struct tls_profile v13 = {.versions = TLS_BIT_TLS13,
                                       .strength = TLS_MEDIUM};

static struct tls_certificate_files server_files;

static void
make_files(void)
{
    (void)pki_make(&(struct pki_options){.name = "ca", .is_ca = true});
    (void)pki_make(&(struct pki_options){.name = "stranger", .is_ca = true});
    server_files = pki_make(&(struct pki_options){
        .name = "mx", .names = "DNS:mx.test", .issuer = "ca"});
    (void)pki_make(&(struct pki_options){
        .name = "good", .names = "DNS:c.test", .issuer = "ca"});
    (void)pki_make(
        &(struct pki_options){.name = "old", .issuer = "ca", .days = -1});
    (void)pki_make(
        &(struct pki_options){.name = "early", .issuer = "ca", .begins = 5});
    (void)pki_make(&(struct pki_options){.name = "self"});
    (void)pki_make(
        &(struct pki_options){.name = "foreign", .issuer = "stranger"});
    (void)pki_make(&(struct pki_options){.name = "revoked", .issuer = "ca"});
    (void)pki_make(&(struct pki_options){
        .name = "server-only", .issuer = "ca", .purposes = "serverAuth"});
    (void)pki_make(&(struct pki_options){
        .name = "mail-only", .issuer = "ca", .purposes = "emailProtection"});
    (void)pki_crl("ca", "revoked", 10);
    (void)pki_crl("ca", NULL, -1);
}

static struct tls_certificate_files
files_of(const char *name)
{
    char chain[64], key[64];

    snprintf(chain, sizeof chain, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    return (struct tls_certificate_files){
        .name = name, .chain = pki_path(chain), .key = pki_path(key)};
}

/* Both ends in memory ----------------------------------------------------- */

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
    assert_int_equal(c->result, TLS_OK);
    assert_int_equal(s->result, TLS_OK);
}

static void
end_fini(struct end *end)
{
    tls_stream_free(end->stream);
    buf_fini(&end->to_peer);
}

static struct tls_context *
must_context(struct tls_context *context, const struct err *err)
{
    if (context == NULL)
        fail_msg("%s", err->text);
    return context;
}

/* Client certificates ----------------------------------------------------- */

static const struct row {
    const char *name, *certificate; /* NULL: none is shown */
    bool accept_server_eku, crl, old_crl, trust_leaf;
    enum tls_verdict verdict;
} rows[] = {
    {.name = "good", .certificate = "good", .verdict = VERDICT_OK},
    {.name = "none", .verdict = VERDICT_NONE},
    {.name = "expired", .certificate = "old", .verdict = VERDICT_EXPIRED},
    {.name = "not yet valid",
     .certificate = "early",
     .verdict = VERDICT_NOT_YET_VALID},
    {.name = "self-signed",
     .certificate = "self",
     .verdict = VERDICT_SELF_SIGNED},
    {.name = "untrusted",
     .certificate = "foreign",
     .verdict = VERDICT_UNTRUSTED},
    {.name = "revoked",
     .certificate = "revoked",
     .crl = true,
     .verdict = VERDICT_REVOKED},
    {.name = "revoked, nobody looks",
     .certificate = "revoked",
     .verdict = VERDICT_OK},
    {.name = "not revoked",
     .certificate = "good",
     .crl = true,
     .verdict = VERDICT_OK},
    {.name = "list out of date",
     .certificate = "good",
     .old_crl = true,
     .verdict = VERDICT_CRL},
    {.name = "server only",
     .certificate = "server-only",
     .verdict = VERDICT_PURPOSE},
    {.name = "server only, accepted",
     .certificate = "server-only",
     .accept_server_eku = true,
     .verdict = VERDICT_OK},
    {.name = "for mail only",
     .certificate = "mail-only",
     .accept_server_eku = true,
     .verdict = VERDICT_PURPOSE},
    {.name = "the very certificate is trusted",
     .certificate = "foreign",
     .trust_leaf = true,
     .verdict = VERDICT_OK},
    {.name = "self-signed and trusted",
     .certificate = "self",
     .trust_leaf = true,
     .verdict = VERDICT_OK},
};

static struct tls_context *
asking_server(const struct row *r, const struct tls_profile *profile)
{
    const char *trust[2] = {pki_path("ca.pem"), NULL};
    const char *crl = pki_path(r->old_crl ? "ca.crl" : "ca.bad.crl");
    struct tls_trust whom = {.files = trust,
                             .file_count = 1,
                             .crls = &crl,
                             .crl_count = r->crl || r->old_crl ? 1 : 0};
    struct err err = {0};

    if (r->trust_leaf) {
        trust[1] = files_of(r->certificate).chain;
        whom.file_count = 2;
    }
    return must_context(tls_context_new_server_options(
                            &(struct tls_server_options){
                                .profile = profile,
                                .certificates = &server_files,
                                .certificate_count = 1,
                                .session_id = SV("test"),
                                .request_certificate = true,
                                .client_trust = &whom,
                                .accept_server_eku = r->accept_server_eku,
                            },
                            &err),
                        &err);
}

static struct tls_context *
showing_client(const struct row *r, const struct tls_profile *profile)
{
    struct tls_certificate_files files;
    const char *ca = pki_path("ca.pem");
    const struct tls_trust whom = {.files = &ca, .file_count = 1};
    struct err err = {0};

    if (r->certificate != NULL)
        files = files_of(r->certificate);
    return must_context(
        tls_context_new_client_options(
            &(struct tls_client_options){
                .profile = profile,
                .certificate = r->certificate != NULL ? &files : NULL,
                .trust = &whom},
            &err),
        &err);
}

static void
meet(const struct row *r, const struct tls_profile *profile)
{
    struct tls_context *server = asking_server(r, profile);
    struct tls_context *client = showing_client(r, profile);
    struct end c = {0}, s = {0};
    const struct tls_facts *facts;

    c.stream = tls_stream_new_client(client, SV("mx.test"), NULL, on_emit, &c);
    s.stream = tls_stream_new_server(server, on_emit, &s);
    shake_hands(&c, &s);
    facts = tls_stream_facts(s.stream);
    assert_string_equal(tls_verdict_name(facts->verdict),
                        tls_verdict_name(r->verdict));
    assert_int_equal(facts->verify, r->verdict == VERDICT_NONE ? TLS_VERIFY_NONE
                                    : r->verdict == VERDICT_OK
                                        ? TLS_VERIFY_OK
                                        : TLS_VERIFY_FAILED);
    assert_int_equal(facts->has_peer_certificate, r->certificate != NULL);
    assert_int_equal(facts->peer != NULL, r->certificate != NULL);
    assert_int_equal(facts->verify_reason[0] != '\0',
                     facts->verify == TLS_VERIFY_FAILED);
    assert_true(tls_stream_facts(c.stream)->certificate_requested);
    assert_int_equal(tls_stream_facts(c.stream)->verdict, VERDICT_OK);
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(server);
    tls_context_unref(client);
}

static void
check_client(void **state)
{
    meet(*state, &v12);
    meet(*state, &v13);
}

static void
check_peer_facts(void **state)
{
    static const struct row r = {.certificate = "good"};
    struct tls_context *server = asking_server(&r, &v13);
    struct tls_context *client = showing_client(&r, &v13);
    struct end c = {0}, s = {0};
    const struct tls_certificate_facts *peer;

    (void)state;
    c.stream = tls_stream_new_client(client, SV("mx.test"), NULL, on_emit, &c);
    s.stream = tls_stream_new_server(server, on_emit, &s);
    shake_hands(&c, &s);
    peer = tls_stream_facts(s.stream)->peer;
    assert_non_null(peer);
    assert_string_equal(peer->subject, "CN=good");
    assert_string_equal(peer->issuer, "CN=ca");
    assert_int_equal(peer->name_count, 1);
    assert_string_equal(peer->names[0], "DNS:c.test");
    assert_int_equal(strlen(peer->sha256), 64);
    assert_int_equal(strlen(peer->spki_sha256), 64);
    assert_string_equal(peer->key_type, "EC P-256");
    assert_true(peer->not_after > peer->not_before);
    assert_false(peer->self_signed);
    assert_string_equal(tls_stream_facts(s.stream)->server_name, "mx.test");
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(server);
    tls_context_unref(client);
}

/* Missing or wrong files are refused by name. */
static void
check_bad_trust(void **state)
{
    const char *absent = pki_path("absent.pem");
    const struct tls_trust trusts[] = {
        {.files = &absent, .file_count = 1},
        {.system = true, .crls = &absent, .crl_count = 1},
        {.system = true,
         .crls = (const char *[]){server_files.chain},
         .crl_count = 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(trusts); i++) {
        struct err err = {0};

        assert_null(tls_context_new_client_options(
            &(struct tls_client_options){.profile = &v13, .trust = &trusts[i]},
            &err));
        assert_non_null(strstr(err.text, ".pem"));
    }
}

/* The system's store is one for all, and put anew when its file changed. */
static void
check_system_trust(void **state)
{
    struct err err;
    X509_STORE *first, *second, *third;

    (void)state;
    pki_write("system.pem", pki_path("ca.pem"), NULL);
    assert_int_equal(setenv("SSL_CERT_FILE", pki_path("system.pem"), 1), 0);
    first = trust_store(NULL, &err);
    second = trust_store(&(struct tls_trust){.system = true}, &err);
    assert_ptr_equal(first, second);
    assert_int_equal(tls_trust_system_size(), 1);
    assert_int_equal(unlink(pki_path("system.pem")), 0);
    pki_write("system.pem", pki_path("ca.pem"), pki_path("stranger.pem"));
    third = trust_store(NULL, &err);
    assert_ptr_not_equal(first, third);
    assert_int_equal(tls_trust_system_size(), 2);
    X509_STORE_free(first);
    X509_STORE_free(second);
    X509_STORE_free(third);
    unsetenv("SSL_CERT_FILE");
}

/* Stapling ---------------------------------------------------------------- */

/* What the client gets; -1: nothing. */
static long
stapled_length(const char *response)
{
    struct tls_certificate_files files = server_files;
    struct err err = {0};
    struct tls_context *server, *client;
    struct end c = {0}, s = {0};
    const unsigned char *bytes;
    long length;

    files.ocsp = response;
    server = must_context(
        tls_context_new_server(&v13, &files, 1, SV("test"), &err), &err);
    client = must_context(
        tls_context_new_client(&v13, NULL, pki_path("ca.pem"), &err), &err);
    c.stream = tls_stream_new_client(client, SV(""), NULL, on_emit, &c);
    s.stream = tls_stream_new_server(server, on_emit, &s);
    SSL_set_tlsext_status_type(c.stream->ssl, TLSEXT_STATUSTYPE_ocsp);
    shake_hands(&c, &s);
    length = SSL_get_tlsext_status_ocsp_resp(c.stream->ssl, &bytes);
    end_fini(&c);
    end_fini(&s);
    tls_context_unref(server);
    tls_context_unref(client);
    return length;
}

static void
expect_staple_error(const char *response, const char *text)
{
    struct tls_certificate_files files = server_files;
    struct err err = {0};

    files.ocsp = response;
    assert_false(tls_staple_check(&files, &err));
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in: %s", text, err.text);
}

static void
check_stapling(void **state)
{
    struct tls_certificate_files files = server_files;
    struct err err = {0};

    (void)state;
    files.ocsp = pki_ocsp("ca", "mx", true, 3600);
    assert_true(tls_staple_check(&files, &err));
    assert_true(stapled_length(files.ocsp) > 100);
    assert_int_equal(stapled_length(NULL), -1);
    assert_int_equal(stapled_length(pki_ocsp("ca", "mx", true, -60)), -1);
    expect_staple_error(pki_path("mx.ocsp"), "not fresh");
    assert_int_equal(stapled_length(pki_ocsp("ca", "mx", false, 3600)), -1);
    expect_staple_error(pki_path("mx.ocsp"), "revoked");
    assert_int_equal(stapled_length(pki_ocsp("ca", "good", true, 3600)), -1);
    expect_staple_error(pki_path("good.ocsp"), "another certificate");
    expect_staple_error(pki_ocsp("stranger", "foreign", true, 3600),
                        "not signed by the issuer");
    expect_staple_error(server_files.key, "no OCSP response");
    expect_staple_error(pki_path("absent.ocsp"), "No such file");
    assert_int_equal(stapled_length(pki_path("absent.ocsp")), -1);
}

/* Reload ------------------------------------------------------------------ */

static void
check_changed_files(void **state)
{
    struct tls_certificate_files files = {
        .name = "copy",
        .chain = pki_path("copy.pem"),
        .key = pki_path("copy.key"),
        .ocsp = pki_path("copy.ocsp"),
    };
    struct err err = {0};
    struct tls_context *context;

    (void)state;
    pki_write("copy.pem", server_files.chain, NULL);
    pki_write("copy.key", server_files.key, NULL);
    context = must_context(
        tls_context_new_server(&v13, &files, 1, SV("test"), &err), &err);
    assert_false(tls_context_files_changed(context));
    pki_write("copy.ocsp", server_files.chain, NULL);
    assert_true(tls_context_files_changed(context)); /* it was not there */
    assert_int_equal(unlink(files.ocsp), 0);
    assert_false(tls_context_files_changed(context));
    pki_write("next.pem", server_files.chain, NULL);
    assert_int_equal(rename(pki_path("next.pem"), files.chain), 0);
    assert_true(tls_context_files_changed(context));
    tls_context_unref(context);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_peer_facts),
        cmocka_unit_test(check_bad_trust),
        cmocka_unit_test(check_system_trust),
        cmocka_unit_test(check_stapling),
        cmocka_unit_test(check_changed_files),
    };
    struct err err = {0};
    int failed;

    if (!tls_init(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    make_files();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + RUN_ROWS("client certificate", check_client, rows);
}
