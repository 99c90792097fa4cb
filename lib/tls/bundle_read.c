/* What is in a file: PEM blocks of any kind, or one object in DER. */
#include "base/buf.h"
#include "tls/bundle_internal.h"
#include "tls/tls_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <sys/stat.h>
#include <unistd.h>

/* Above this somebody wants to keep us busy, not to protect a password. */
#define ITERATIONS_MAX 10000000

struct source {
    struct tls_bundle *bundle;
    const char *file;
    tls_ask_password *ask; /* may be NULL */
    void *arg;
    struct err *err;
};

static bool
damaged(const struct source *source, const char *what)
{
    err_library(source->err, "%s: %s cannot be read", source->file, what);
    return false;
}

static bool
ask(const struct source *source, char *dst, size_t size)
{
    if (source->ask != NULL &&
        source->ask(source->arg, source->file, dst, size))
        return true;
    err_set(source->err, "%s is encrypted and there is no password for it",
            source->file);
    return false;
}

static bool
take_certificate(const struct source *source, const unsigned char *der, long n)
{
    X509 *certificate = d2i_X509(NULL, &der, n);

    if (certificate == NULL)
        return damaged(source, "a certificate");
    return bundle_add_certificate(source->bundle, certificate, source->file,
                                  source->err);
}

static bool
take_stack(const struct source *source, const STACK_OF(X509) * certificates)
{
    for (int i = 0; i < sk_X509_num(certificates); i++) {
        X509 *certificate = sk_X509_value(certificates, i);

        X509_up_ref(certificate);
        if (!bundle_add_certificate(source->bundle, certificate, source->file,
                                    source->err))
            return false;
    }
    return true;
}

static bool
take_pkcs7(const struct source *source, const unsigned char *der, long n)
{
    PKCS7 *p7 = d2i_PKCS7(NULL, &der, n);
    const STACK_OF(X509) *certificates = NULL;
    bool ok;

    if (p7 == NULL)
        return damaged(source, "PKCS#7");
    if (PKCS7_type_is_signed(p7) && p7->d.sign != NULL)
        certificates = p7->d.sign->cert;
    else if (PKCS7_type_is_signedAndEnveloped(p7) &&
             p7->d.signed_and_enveloped != NULL)
        certificates = p7->d.signed_and_enveloped->cert;
    ok = take_stack(source, certificates);
    if (ok && sk_X509_num(certificates) <= 0) {
        err_set(source->err, "%s: the PKCS#7 holds no certificate",
                source->file);
        ok = false;
    }
    PKCS7_free(p7);
    return ok;
}

/* Keys -------------------------------------------------------------------- */

static bool
take_key(const struct source *source, const unsigned char *der, long n)
{
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, n);

    if (key == NULL)
        return damaged(source, "a private key");
    return bundle_add_key(source->bundle, key, source->file, source->err);
}

static bool
take_encrypted_key(const struct source *source, const unsigned char *der,
                   long n)
{
    X509_SIG *sealed = d2i_X509_SIG(NULL, &der, n);
    PKCS8_PRIV_KEY_INFO *open;
    char password[TLS_PASSWORD_MAX];
    EVP_PKEY *key = NULL;

    if (sealed == NULL)
        return damaged(source, "an encrypted private key");
    if (!ask(source, password, sizeof password)) {
        X509_SIG_free(sealed);
        return false;
    }
    open = PKCS8_decrypt(sealed, password, (int)strlen(password));
    OPENSSL_cleanse(password, sizeof password);
    X509_SIG_free(sealed);
    if (open != NULL)
        key = EVP_PKCS82PKEY(open);
    PKCS8_PRIV_KEY_INFO_free(open);
    if (key != NULL)
        return bundle_add_key(source->bundle, key, source->file, source->err);
    ERR_clear_error();
    err_set(source->err, "%s: wrong password for the private key",
            source->file);
    return false;
}

/* PKCS#12 ----------------------------------------------------------------- */

/* Windows and old gateways seal with RC2 and 3DES, which OpenSSL 3 keeps in its
 * provider "legacy".  It is loaded for this one object, not for the process. */
struct old_library {
    OSSL_LIB_CTX *ctx;
    OSSL_PROVIDER *standard, *legacy;
};

static struct old_library
old_library_open(void)
{
    struct old_library old = {.ctx = OSSL_LIB_CTX_new()};

    if (old.ctx == NULL)
        abort();
    old.standard = OSSL_PROVIDER_load(old.ctx, "default");
    old.legacy = OSSL_PROVIDER_try_load(old.ctx, "legacy", 1);
    ERR_clear_error();
    return old;
}

static void
old_library_close(const struct old_library *old)
{
    if (old->legacy != NULL)
        OSSL_PROVIDER_unload(old->legacy);
    if (old->standard != NULL)
        OSSL_PROVIDER_unload(old->standard);
    OSSL_LIB_CTX_free(old->ctx);
}

static PKCS12 *
read_pkcs12(OSSL_LIB_CTX *ctx, const unsigned char *der, long n)
{
    PKCS12 *p12 = PKCS12_init_ex(NID_pkcs7_data, ctx, NULL);
    BIO *bio = BIO_new_mem_buf(der, (int)n);
    PKCS12 *read = d2i_PKCS12_bio(bio, &p12);

    BIO_free(bio);
    return read; /* p12 itself, or NULL and p12 is freed */
}

static bool
iterations_are_sane(const struct source *source, const PKCS12 *p12)
{
    const ASN1_INTEGER *count = NULL;

    PKCS12_get0_mac(NULL, NULL, NULL, &count, p12);
    if (count == NULL || (ASN1_INTEGER_get(count) >= 0 &&
                          ASN1_INTEGER_get(count) <= ITERATIONS_MAX))
        return true;
    err_set(source->err, "%s: more than %d rounds of key derivation",
            source->file, ITERATIONS_MAX);
    return false;
}

/* Finds the password: none, the empty one, or one that somebody knows. */
static bool
open_pkcs12(const struct source *source, PKCS12 *p12, char *password,
            size_t size, const char **used)
{
    *used = NULL;
    password[0] = '\0';
    if (!PKCS12_mac_present(p12) || PKCS12_verify_mac(p12, NULL, 0) == 1)
        return true;
    *used = password;
    if (PKCS12_verify_mac(p12, "", 0) == 1)
        return true;
    if (!ask(source, password, size))
        return false;
    if (PKCS12_verify_mac(p12, password, -1) == 1)
        return true;
    err_set(source->err, "%s: wrong password, or the file is damaged",
            source->file);
    return false;
}

/* The key belongs to the library it was read with: move it to the usual one. */
static bool
adopt_key(const struct source *source, const EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int n = i2d_PrivateKey(key, &der);
    bool ok = n > 0 ? take_key(source, der, n)
                    : damaged(source, "the private key of the PKCS#12");

    if (n > 0)
        OPENSSL_clear_free(der, (size_t)n);
    return ok;
}

static bool
adopt_certificate(const struct source *source, const X509 *certificate)
{
    unsigned char *der = NULL;
    int n = i2d_X509(certificate, &der);
    bool ok = n > 0 ? take_certificate(source, der, n)
                    : damaged(source, "a certificate of the PKCS#12");

    OPENSSL_free(der);
    return ok;
}

static bool
unpack_pkcs12(const struct source *source, PKCS12 *p12)
{
    char password[TLS_PASSWORD_MAX];
    const char *used;
    EVP_PKEY *key = NULL;
    X509 *leaf = NULL;
    STACK_OF(X509) *others = NULL;
    bool ok;

    if (!iterations_are_sane(source, p12) ||
        !open_pkcs12(source, p12, password, sizeof password, &used)) {
        OPENSSL_cleanse(password, sizeof password);
        return false;
    }
    ok = PKCS12_parse(p12, used, &key, &leaf, &others) == 1 ||
         damaged(source, "the contents of the PKCS#12");
    OPENSSL_cleanse(password, sizeof password);
    ok = ok && (key == NULL || adopt_key(source, key)) &&
         (leaf == NULL || adopt_certificate(source, leaf));
    for (int i = 0; ok && i < sk_X509_num(others); i++)
        ok = adopt_certificate(source, sk_X509_value(others, i));
    EVP_PKEY_free(key);
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
    return ok;
}

static bool
take_pkcs12(const struct source *source, const unsigned char *der, long n)
{
    struct old_library old = old_library_open();
    PKCS12 *p12 = read_pkcs12(old.ctx, der, n);
    bool ok =
        p12 != NULL ? unpack_pkcs12(source, p12) : damaged(source, "PKCS#12");

    PKCS12_free(p12);
    ERR_clear_error();
    old_library_close(&old);
    return ok;
}

/* PEM --------------------------------------------------------------------- */

struct block {
    char *name, *header;
    unsigned char *bytes;
    long n;
};

static void
block_fini(struct block *block)
{
    OPENSSL_free(block->name);
    OPENSSL_free(block->header);
    if (block->bytes != NULL)
        OPENSSL_clear_free(block->bytes, (size_t)block->n);
    *block = (struct block){0};
}

/* What the library calls to get a password: arg is the source. */
static int
on_password(char *dst, int size, int writing, void *arg)
{
    const struct source *source = arg;

    (void)writing;
    return ask(source, dst, (size_t)size) ? (int)strlen(dst) : -1;
}

/* "Proc-Type: 4,ENCRYPTED", as keys were sealed before PKCS#8. */
static bool
open_old_block(struct source *source, struct block *block)
{
    EVP_CIPHER_INFO info;

    source->err->text[0] = '\0';
    if (PEM_get_EVP_CIPHER_INFO(block->header, &info) == 1 &&
        PEM_do_header(&info, block->bytes, &block->n, on_password, source) == 1)
        return true;
    if (source->err->text[0] == '\0')
        err_set(source->err, "%s: wrong password for the private key",
                source->file);
    ERR_clear_error();
    return false;
}

static bool
take_block(struct source *source, struct block *block)
{
    struct sv name = sv_of(block->name);

    if (sv_is(name, PEM_STRING_X509) || sv_is(name, PEM_STRING_X509_OLD) ||
        sv_is(name, PEM_STRING_X509_TRUSTED))
        return take_certificate(source, block->bytes, block->n);
    if (sv_is(name, PEM_STRING_PKCS7) || sv_is(name, PEM_STRING_PKCS7_SIGNED))
        return take_pkcs7(source, block->bytes, block->n);
    if (sv_is(name, PEM_STRING_PKCS8))
        return take_encrypted_key(source, block->bytes, block->n);
    if (sv_ends_nocase(name, SV("PRIVATE KEY")))
        return open_old_block(source, block) &&
               take_key(source, block->bytes, block->n);
    return true; /* parameters, requests, CRLs: nothing for us */
}

static bool
take_pem(struct source *source, struct sv bytes)
{
    BIO *bio = BIO_new_mem_buf(bytes.p, (int)bytes.n);
    struct block block = {0};
    bool ok = true;

    if (bio == NULL)
        abort();
    while (ok && PEM_read_bio(bio, &block.name, &block.header, &block.bytes,
                              &block.n) == 1) {
        ok = take_block(source, &block);
        block_fini(&block);
    }
    /* The end of the text is "no start line". */
    if (ok && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        ok = damaged(source, "a PEM block");
    BIO_free(bio);
    ERR_clear_error();
    return ok;
}

/* DER --------------------------------------------------------------------- */

/* One object of each kind is tried without side effects, then taken. */
static bool
take_der(const struct source *source, struct sv bytes)
{
    const unsigned char *der = (const unsigned char *)bytes.p, *p;
    long n = (long)bytes.n;
    void *probe;

    p = der;
    if ((probe = d2i_X509(NULL, &p, n)) != NULL) {
        X509_free(probe);
        return take_certificate(source, der, n);
    }
    p = der;
    if ((probe = d2i_PKCS12(NULL, &p, n)) != NULL) {
        PKCS12_free(probe);
        return take_pkcs12(source, der, n);
    }
    p = der;
    if ((probe = d2i_PKCS7(NULL, &p, n)) != NULL) {
        PKCS7_free(probe);
        return take_pkcs7(source, der, n);
    }
    p = der;
    if ((probe = d2i_X509_SIG(NULL, &p, n)) != NULL) {
        X509_SIG_free(probe);
        return take_encrypted_key(source, der, n);
    }
    p = der;
    if ((probe = d2i_AutoPrivateKey(NULL, &p, n)) != NULL) {
        EVP_PKEY_free(probe);
        return take_key(source, der, n);
    }
    err_set(source->err,
            "%s is neither PEM nor a certificate, PKCS#7, PKCS#12 or private "
            "key in DER",
            source->file);
    return false;
}

bool
tls_bundle_read(struct tls_bundle *bundle, struct sv bytes, const char *file,
                tls_ask_password *ask_password, void *arg, struct err *err)
{
    struct source source = {bundle, file, ask_password, arg, err};
    bool ok;

    if (bytes.n > TLS_BUNDLE_BYTES) {
        err_set(err, "%s is larger than %d bytes", file, TLS_BUNDLE_BYTES);
        return false;
    }
    ERR_clear_error();
    ok = bytes.n > 0 && memmem(bytes.p, bytes.n, "-----BEGIN ", 11) != NULL
             ? take_pem(&source, bytes)
             : take_der(&source, bytes);
    ERR_clear_error();
    return ok;
}

static bool
read_all(int fd, const char *file, struct buf *bytes, struct err *err)
{
    ssize_t n;

    do {
        char *room = buf_reserve(bytes, 65536);

        n = read(fd, room, 65536);
        if (n > 0)
            buf_grew(bytes, (size_t)n);
    } while ((n > 0 && buf_length(bytes) <= TLS_BUNDLE_BYTES) ||
             (n == -1 && errno == EINTR));
    if (n == -1)
        err_sys(err, "%s", file);
    return n != -1;
}

bool
tls_bundle_read_file(struct tls_bundle *bundle, const char *file,
                     tls_ask_password *ask_password, void *arg, struct err *err)
{
    struct buf bytes = {0};
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool ok;

    if (fd == -1) {
        err_sys(err, "%s", file);
        return false;
    }
    ok =
        read_all(fd, file, &bytes, err) &&
        tls_bundle_read(bundle, buf_view(&bytes), file, ask_password, arg, err);
    close(fd);
    if (bytes.cap > 0)
        OPENSSL_cleanse(bytes.p, bytes.cap); /* there may have been a key */
    buf_fini(&bytes);
    return ok;
}
