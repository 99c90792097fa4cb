/* OpenSSL's DANE with the rules of mail: RFC 7672 section 3.
 *
 * The library sorts the records itself so that of several digests of one usage
 * and selector only the strongest counts (RFC 7671 section 9), takes a trust
 * anchor from a full record when the server does not send it, and, told so
 * here, looks at nothing but the record with DANE-EE (RFC 7671 section 5.1:
 * neither names nor dates). */
#include "tls/dane.h"
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

void
dane_use(SSL_CTX *ctx)
{
    if (SSL_CTX_dane_enable(ctx) != 1)
        abort(); /* out of memory, or without the digests that tls_init() saw */
    SSL_CTX_dane_set_flags(ctx, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
}

/* --- What is asked ---------------------------------------------------- */

static void
add_part(EVP_MD_CTX *digest, const void *bytes, size_t n)
{
    uint32_t length = (uint32_t)n;

    if (EVP_DigestUpdate(digest, &length, sizeof length) != 1 ||
        EVP_DigestUpdate(digest, bytes, n) != 1)
        abort(); /* tls_init() has tried SHA-256 */
}

static void
mark_fill(const struct tls_dane *dane, struct dane_mark *mark)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        abort();
    for (size_t i = 0; i < dane->tlsa_count; i++) {
        const struct tls_tlsa *tlsa = &dane->tlsa[i];
        const uint8_t head[] = {tlsa->usage, tlsa->selector, tlsa->matching};

        add_part(digest, head, sizeof head);
        add_part(digest, tlsa->data, tlsa->length);
    }
    add_part(digest, dane->base, strlen(dane->base));
    for (size_t i = 0; i < dane->name_count; i++)
        add_part(digest, dane->names[i], strlen(dane->names[i]));
    if (EVP_DigestFinal_ex(digest, mark->digest, NULL) != 1)
        abort();
    EVP_MD_CTX_free(digest);
}

static bool
add_records(SSL *ssl, const struct tls_dane *dane)
{
    size_t added = 0;

    for (size_t i = 0; i < dane->tlsa_count && i < TLS_TLSA_MAX; i++) {
        const struct tls_tlsa *tlsa = &dane->tlsa[i];

        if (tls_tlsa_problem(tlsa) == NULL &&
            SSL_dane_tlsa_add(ssl, tlsa->usage, tlsa->selector, tlsa->matching,
                              tlsa->data, tlsa->length) == 1)
            added++;
    }
    ERR_clear_error();
    return added > 0;
}

/* RFC 7672 section 3.2.3: DNS names, the common name only without one. */
static bool
add_names(SSL *ssl, const struct tls_dane *dane)
{
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (size_t i = 0; i < dane->name_count && i < TLS_DANE_NAMES_MAX; i++)
        if (SSL_add1_host(ssl, dane->names[i]) != 1)
            return false;
    return true;
}

/* A leading dot would be leave for every name below. */
static bool
are_names(const struct tls_dane *dane)
{
    if (dane->base[0] == '\0' || dane->base[0] == '.')
        return false;
    for (size_t i = 0; i < dane->name_count && i < TLS_DANE_NAMES_MAX; i++)
        if (dane->names[i][0] == '\0' || dane->names[i][0] == '.')
            return false;
    return true;
}

/* NULL, or why nothing can match.  Without a record the library would fall
 * back to the public authorities: the caller must not ask it then. */
static const char *
ask(SSL *ssl, const struct tls_dane *dane)
{
    const char *problem = NULL;

    ERR_clear_error();
    if (!are_names(dane))
        problem = "no valid name to verify";
    else if (SSL_dane_enable(ssl, dane->base) != 1 || !add_names(ssl, dane))
        problem = "the TLS library takes the names not";
    else if (!add_records(ssl, dane))
        problem = "no usable TLSA record";
    ERR_clear_error();
    return problem;
}

void
dane_ask(struct tls_stream *stream, const struct tls_dane *dane)
{
    struct dane_check *check = mem_alloc(sizeof *check);

    stream->dane = check;
    stream->facts.dane = &check->facts;
    check->facts.asked = true;
    mark_fill(dane, &check->mark);
    check->problem = ask(stream->ssl, dane);
    snprintf(check->facts.reason, sizeof check->facts.reason, "%s",
             check->problem != NULL ? check->problem
                                    : "the handshake did not come so far");
}

/* --- What came out ---------------------------------------------------- */

static void
explain(long error, struct tls_dane_facts *facts)
{
    const char *text = X509_verify_cert_error_string(error);

    if (error == X509_V_ERR_DANE_NO_MATCH)
        text = "no TLSA record matches a certificate of the server";
    else if (error == X509_V_ERR_HOSTNAME_MISMATCH)
        text = "the certificate is for none of the names that DANE-TA demands";
    snprintf(facts->reason, sizeof facts->reason, "%s", text);
}

/* From the verification that ssl has just made, or that was put into it. */
static void
read_result(SSL *ssl, struct tls_dane_facts *facts)
{
    long error = SSL_get_verify_result(ssl);
    const char *name = SSL_get0_peername(ssl);
    EVP_PKEY *key = NULL;
    int depth = SSL_get0_dane_authority(ssl, NULL, &key);

    if (depth < 0) {
        explain(error != X509_V_OK ? error : X509_V_ERR_DANE_NO_MATCH, facts);
        return;
    }
    SSL_get0_dane_tlsa(ssl, &facts->usage, &facts->selector, &facts->matching,
                       NULL, NULL);
    facts->matched = true;
    /* The bare key of "2 1 0" stands above what it has signed. */
    facts->depth = key != NULL ? depth + 1 : depth;
    facts->reason[0] = '\0';
    snprintf(facts->name, sizeof facts->name, "%s", name != NULL ? name : "");
}

/* A resumed handshake shows no certificate.  It counts as matched because only
 * sessions that matched are kept, each with the digest of the very records and
 * names it was checked against, and one is offered only where these are the
 * same (sessions.c): the server proves by it that it is the one that was
 * authenticated then. */
void
dane_fill(struct tls_stream *stream)
{
    struct dane_check *check = stream->dane;

    if (check == NULL || check->problem != NULL)
        return;
    if (SSL_session_reused(stream->ssl) == 1)
        check->facts = check->remembered;
    else if (SSL_get0_peer_certificate(stream->ssl) != NULL)
        read_result(stream->ssl, &check->facts);
}

/* --- Without a connection --------------------------------------------- */

static STACK_OF(X509) * read_chain(struct sv pem)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(pem.p, (int)(pem.n > INT_MAX ? 0 : pem.n));
    X509 *x509;

    if (chain == NULL || bio == NULL)
        abort();
    while (sk_X509_num(chain) < TLS_TLSA_MAX &&
           (x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
        if (sk_X509_push(chain, x509) == 0)
            abort();
    BIO_free(bio);
    ERR_clear_error();
    return chain;
}

/* What the library does with the chain of a server, but for the time. */
static long
verify_chain(SSL *ssl, STACK_OF(X509) * chain, int64_t now)
{
    X509_STORE_CTX *store = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;
    long error;

    if (store == NULL ||
        X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)),
                            sk_X509_value(chain, 0), chain) != 1)
        abort();
    param = X509_STORE_CTX_get0_param(store);
    X509_VERIFY_PARAM_set_auth_level(param, SSL_get_security_level(ssl));
    X509_STORE_CTX_set0_dane(store, SSL_get0_dane(ssl));
    if (X509_STORE_CTX_set_default(store, "ssl_server") != 1 ||
        X509_VERIFY_PARAM_set1(param, SSL_get0_param(ssl)) != 1)
        abort();
    X509_VERIFY_PARAM_set_time(param, (time_t)now);
    error = X509_verify_cert(store) == 1 ? X509_V_OK
                                         : X509_STORE_CTX_get_error(store);
    X509_VERIFY_PARAM_move_peername(SSL_get0_param(ssl), param);
    X509_STORE_CTX_free(store);
    ERR_clear_error();
    return error;
}

static void
check(SSL *ssl, STACK_OF(X509) * chain, const struct tls_dane *dane,
      int64_t now, struct tls_dane_facts *facts)
{
    const char *problem = ask(ssl, dane);

    *facts = (struct tls_dane_facts){.asked = true};
    if (sk_X509_num(chain) <= 0)
        problem = "there is no certificate in the chain";
    if (problem != NULL) {
        snprintf(facts->reason, sizeof facts->reason, "%s", problem);
        return;
    }
    SSL_set_verify_result(ssl, verify_chain(ssl, chain, now));
    read_result(ssl, facts);
}

/* One that never connects; revocation lists and authorities of destinations
 * are none of its business. */
static SSL *
checker_new(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;

    if (ctx == NULL)
        abort(); /* out of memory, as everywhere */
    dane_use(ctx);
    ssl = SSL_new(ctx); /* takes a reference */
    if (ssl == NULL)
        abort();
    SSL_CTX_free(ctx);
    return ssl;
}

bool
tls_dane_verify(struct sv chain_pem, const struct tls_dane *dane, int64_t now,
                struct tls_dane_facts *facts)
{
    STACK_OF(X509) *chain = read_chain(chain_pem);
    SSL *ssl = checker_new();

    check(ssl, chain, dane, now, facts);
    SSL_free(ssl);
    sk_X509_pop_free(chain, X509_free);
    return facts->matched;
}

bool
tls_stream_dane_try(const struct tls_stream *stream,
                    const struct tls_dane *dane, struct tls_dane_facts *facts)
{
    SSL *ssl = checker_new();

    assert(!stream->context->server);
    SSL_set_security_level(ssl, SSL_get_security_level(stream->ssl));
    check(ssl, SSL_get_peer_cert_chain(stream->ssl), dane, (int64_t)time(NULL),
          facts);
    SSL_free(ssl);
    return facts->matched;
}
