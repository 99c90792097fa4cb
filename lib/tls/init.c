#include "tls/tls_internal.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

static bool
digest_works(const char *name, struct err *err)
{
    unsigned char value[EVP_MAX_MD_SIZE];
    EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
    bool ok = md != NULL && EVP_Digest("wax", 3, value, NULL, md, NULL) == 1;

    EVP_MD_free(md);
    if (!ok)
        err_library(err, "digest %s of %s does not work", name,
                    OpenSSL_version(OPENSSL_VERSION));
    return ok;
}

static bool
cipher_works(const char *name, struct err *err)
{
    static const unsigned char zeros[64];
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = cipher != NULL && ctx != NULL &&
              EVP_EncryptInit_ex2(ctx, cipher, zeros, zeros, NULL) == 1;

    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    if (!ok)
        err_library(err, "cipher %s of %s does not work", name,
                    OpenSSL_version(OPENSSL_VERSION));
    return ok;
}

bool
tls_init(struct err *err)
{
    static const char *const digests[] = {"SHA256", "SHA384", "SHA512", "SHA1"};
    static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM",
                                          "AES-256-CBC"};
    bool ok = true;

    if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS |
                             OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
                         NULL) != 1) {
        err_library(err, "start of %s", OpenSSL_version(OPENSSL_VERSION));
        return false;
    }
    ERR_clear_error();
    for (size_t i = 0; ok && i < COUNT_OF(digests); i++)
        ok = digest_works(digests[i], err);
    for (size_t i = 0; ok && i < COUNT_OF(ciphers); i++)
        ok = cipher_works(ciphers[i], err);
    if (ok && RAND_status() != 1) {
        err_library(err, "random generator of the TLS library");
        ok = false;
    }
    return ok;
}
