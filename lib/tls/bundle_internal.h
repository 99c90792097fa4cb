/* tls/bundle_internal.h - what the files of the bundle share. */
#ifndef TLS_BUNDLE_INTERNAL_H
#define TLS_BUNDLE_INTERNAL_H
#include "tls/bundle.h"
#include <openssl/evp.h>
#include <openssl/x509.h>

struct tls_bundle {
    STACK_OF(X509) * certificates; /* owned, each too */
    EVP_PKEY *key;                 /* owned; NULL: none yet */
    size_t dropped;
};

/* Both take over what they are given, also when they refuse. */
bool bundle_add_certificate(struct tls_bundle *bundle, X509 *certificate,
                            const char *file, struct err *err);
bool bundle_add_key(struct tls_bundle *bundle, EVP_PKEY *key, const char *file,
                    struct err *err);
#endif
