/* What was negotiated, taken from the library once the handshake is over. */
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static void
copy_printable(struct sv text, char *dst, size_t size)
{
    size_t n = text.n < size - 1 ? text.n : size - 1;

    for (size_t i = 0; i < n; i++)
        dst[i] = (char)(char_is_print(text.p[i]) ? text.p[i] : '?');
    dst[n] = '\0';
}

void
facts_set_server_name(struct tls_facts *facts, struct sv name)
{
    copy_printable(name, facts->server_name, sizeof facts->server_name);
}

/* "CN=mx.example.org,O=Example", control characters escaped (RFC 2253). */
static void
name_text(const X509_NAME *name, char *dst, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long n;

    dst[0] = '\0';
    if (bio == NULL)
        return;
    X509_NAME_print_ex(bio, name, 0,
                       XN_FLAG_RFC2253 & ~ASN1_STRFLGS_UTF8_CONVERT);
    n = BIO_get_mem_data(bio, &text);
    if (n > 0)
        copy_printable((struct sv){text, (size_t)n}, dst, size);
    BIO_free(bio);
}

static void
digest_text(const X509 *x509, char *dst, size_t size)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    dst[0] = '\0';
    if (X509_digest(x509, EVP_sha256(), digest, &length) != 1)
        return;
    for (size_t i = 0; i < length; i++)
        snprintf(dst + 2 * i, size - 2 * i, "%02x", digest[i]);
}

/* The library stores the result with the session; what time changed since then
 * is looked at again. */
static void
fill_verify(const SSL *ssl, const X509 *x509, struct tls_facts *facts)
{
    long result = SSL_get_verify_result(ssl);

    if (result == X509_V_OK && facts->resumed &&
        X509_cmp_current_time(X509_get0_notAfter(x509)) < 0)
        result = X509_V_ERR_CERT_HAS_EXPIRED;
    facts->verify = result == X509_V_OK ? TLS_VERIFY_OK : TLS_VERIFY_FAILED;
    if (result != X509_V_OK)
        copy_printable(sv_of(X509_verify_cert_error_string(result)),
                       facts->verify_reason, sizeof facts->verify_reason);
}

static void
fill_peer(const SSL *ssl, struct tls_facts *facts)
{
    const X509 *x509 = SSL_get0_peer_certificate(ssl);

    facts->has_peer_certificate = x509 != NULL;
    if (x509 == NULL)
        return;
    name_text(X509_get_subject_name(x509), facts->peer_subject,
              sizeof facts->peer_subject);
    name_text(X509_get_issuer_name(x509), facts->peer_issuer,
              sizeof facts->peer_issuer);
    digest_text(x509, facts->peer_sha256, sizeof facts->peer_sha256);
    fill_verify(ssl, x509, facts);
}

static const char *
group_name(SSL *ssl)
{
    /* Without a session the library's call reads through a null pointer. */
    int group =
        SSL_get_session(ssl) == NULL ? 0 : (int)SSL_get_negotiated_group(ssl);
    const char *name = group == 0 ? NULL : SSL_group_to_name(ssl, group);

    return name != NULL ? name : "";
}

void
facts_fill(struct tls_stream *stream)
{
    struct tls_facts *facts = &stream->facts;
    const SSL_CIPHER *cipher = SSL_get_current_cipher(stream->ssl);

    facts->version = SSL_get_version(stream->ssl);
    facts->cipher = cipher != NULL ? SSL_CIPHER_get_name(cipher) : "";
    facts->bits = cipher != NULL ? SSL_CIPHER_get_bits(cipher, NULL) : 0;
    facts->resumed = SSL_session_reused(stream->ssl) == 1;
    facts->group = group_name(stream->ssl);
    fill_peer(stream->ssl, facts);
    ERR_clear_error();
}

bool
tls_stream_matches_name(const struct tls_stream *stream, struct sv name)
{
    X509 *x509 = SSL_get1_peer_certificate(stream->ssl);
    unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                     X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    bool matches = x509 != NULL && name.n > 0 && name.p[0] != '.' &&
                   X509_check_host(x509, name.p, name.n, flags, NULL) == 1;

    X509_free(x509);
    ERR_clear_error();
    return matches;
}
