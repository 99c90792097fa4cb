/* What was negotiated, taken from the library once the handshake is over. */
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

void
stream_set_server_name(struct tls_stream *stream, struct sv name)
{
    mem_free(stream->server_name);
    stream->server_name = sv_dup(sv_slice(name, 0, 255));
    for (char *c = stream->server_name; *c != '\0'; c++) {
        if (!char_is_print(*c))
            *c = '?';
    }
    stream->facts.server_name = stream->server_name;
}

/* Where TLSA records were asked for, they alone decide, also when the library
 * had none of them to ask (RFC 7672 section 2.1): dates with DANE-EE are not
 * looked at. */
static void
fill_dane_verify(const SSL *ssl, struct tls_facts *facts)
{
    long result = SSL_get_verify_result(ssl);

    if (facts->dane->matched) {
        facts->verdict = VERDICT_OK;
        facts->verify = TLS_VERIFY_OK;
        return;
    }
    facts->verdict =
        result != X509_V_OK ? verdict_of(result) : VERDICT_UNTRUSTED;
    facts->verify = TLS_VERIFY_FAILED;
    facts->verify_reason = facts->dane->reason;
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
    facts->verdict = verdict_of(result);
    facts->verify = result == X509_V_OK ? TLS_VERIFY_OK : TLS_VERIFY_FAILED;
    if (result != X509_V_OK)
        facts->verify_reason = X509_verify_cert_error_string(result);
}

static void
fill_peer(struct tls_stream *stream)
{
    struct tls_facts *facts = &stream->facts;
    X509 *x509 = SSL_get0_peer_certificate(stream->ssl);

    facts->has_peer_certificate = x509 != NULL;
    if (x509 == NULL)
        return;
    stream->peer = tls_describe(x509);
    facts->peer = stream->peer;
    facts->peer_subject = stream->peer->subject;
    facts->peer_issuer = stream->peer->issuer;
    facts->peer_sha256 = stream->peer->sha256;
    if (stream->dane != NULL)
        fill_dane_verify(stream->ssl, facts);
    else
        fill_verify(stream->ssl, x509, facts);
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
    dane_fill(stream);
    fill_peer(stream);
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
