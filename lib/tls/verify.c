/* The chain of a peer is checked and the result kept as a fact.  The handshake
 * always goes on: what the result means is a decision of the policy, which can
 * tell the peer the reason in a reply. */
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>

static const struct {
    int error; /* X509_V_ERR_… */
    enum tls_verdict verdict;
} verdicts[] = {
    {X509_V_OK, VERDICT_OK},
    {X509_V_ERR_CERT_HAS_EXPIRED, VERDICT_EXPIRED},
    {X509_V_ERR_CERT_NOT_YET_VALID, VERDICT_NOT_YET_VALID},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, VERDICT_SELF_SIGNED},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, VERDICT_UNTRUSTED},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, VERDICT_UNTRUSTED},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, VERDICT_UNTRUSTED},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, VERDICT_UNTRUSTED},
    {X509_V_ERR_CERT_UNTRUSTED, VERDICT_UNTRUSTED},
    {X509_V_ERR_CERT_REJECTED, VERDICT_UNTRUSTED},
    {X509_V_ERR_DANE_NO_MATCH, VERDICT_UNTRUSTED},
    {X509_V_ERR_CERT_REVOKED, VERDICT_REVOKED},
    {X509_V_ERR_INVALID_PURPOSE, VERDICT_PURPOSE},
    {X509_V_ERR_HOSTNAME_MISMATCH, VERDICT_NAME},
    {X509_V_ERR_EE_KEY_TOO_SMALL, VERDICT_WEAK},
    {X509_V_ERR_CA_KEY_TOO_SMALL, VERDICT_WEAK},
    {X509_V_ERR_CA_MD_TOO_WEAK, VERDICT_WEAK},
    {X509_V_ERR_CRL_HAS_EXPIRED, VERDICT_CRL},
    {X509_V_ERR_CRL_NOT_YET_VALID, VERDICT_CRL},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, VERDICT_CRL},
};

enum tls_verdict
verdict_of(long error)
{
    for (size_t i = 0; i < COUNT_OF(verdicts); i++) {
        if (verdicts[i].error == error)
            return verdicts[i].verdict;
    }
    return VERDICT_INVALID;
}

/* Public authorities stop issuing certificates for clients, so partners can
 * only show those of their servers (RFC 5280 section 4.2.1.12). */
static bool
is_server_certificate(X509_STORE_CTX *store)
{
    X509 *x509 = X509_STORE_CTX_get_current_cert(store);
    bool is_issuer = X509_STORE_CTX_get_error_depth(store) > 0;

    return x509 != NULL &&
           X509_check_purpose(x509, X509_PURPOSE_SSL_SERVER, is_issuer) == 1;
}

static bool
is_tolerated(X509_STORE_CTX *store, const struct tls_context *context)
{
    int error = X509_STORE_CTX_get_error(store);

    /* Lists are given for some authorities, not for all there are. */
    if (error == X509_V_ERR_UNABLE_TO_GET_CRL)
        return true;
    return error == X509_V_ERR_INVALID_PURPOSE && context->accept_server_eku &&
           is_server_certificate(store);
}

static int
on_step(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl =
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

    if (ok)
        return 1;
    if (!is_tolerated(store, stream_of(ssl)->context))
        return 0; /* the first reason is the one that is told */
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static int
on_chain(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    if (X509_verify_cert(store) != 1 &&
        X509_STORE_CTX_get_error(store) == X509_V_OK)
        X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
    ERR_clear_error();
    return 1;
}

void
verify_use(SSL_CTX *ctx, bool request)
{
    SSL_CTX_set_cert_verify_callback(ctx, on_chain, NULL);
    SSL_CTX_set_verify(ctx, request ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       on_step);
}
