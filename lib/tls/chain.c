/* The certificates that a peer sent, for views. */
#include "tls/tls_internal.h"
#include <openssl/x509.h>

size_t
tls_stream_chain(const struct tls_stream *stream,
                 struct tls_certificate_facts **chain, size_t max)
{
    STACK_OF(X509) *sent = SSL_get_peer_cert_chain(stream->ssl);
    X509 *leaf = SSL_get0_peer_certificate(stream->ssl);
    size_t n = 0;

    if (leaf != NULL && max > 0)
        chain[n++] = tls_describe(leaf);
    /* A server's stack holds no leaf, a client's does. */
    for (int i = 0; i < sk_X509_num(sent) && n < max; i++)
        if (leaf == NULL || X509_cmp(leaf, sk_X509_value(sent, i)) != 0)
            chain[n++] = tls_describe(sk_X509_value(sent, i));
    return n;
}
