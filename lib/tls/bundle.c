#include "tls/bundle.h"
#include "tls/bundle_internal.h"
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>

struct tls_bundle *
tls_bundle_new(void)
{
    struct tls_bundle *bundle = mem_alloc(sizeof *bundle);

    bundle->certificates = sk_X509_new_null();
    if (bundle->certificates == NULL)
        abort(); /* out of memory, as everywhere */
    return bundle;
}

void
tls_bundle_free(struct tls_bundle *bundle)
{
    if (bundle == NULL)
        return;
    sk_X509_pop_free(bundle->certificates, X509_free);
    EVP_PKEY_free(bundle->key);
    mem_free(bundle);
}

size_t
tls_bundle_count(const struct tls_bundle *bundle)
{
    return (size_t)sk_X509_num(bundle->certificates);
}

bool
tls_bundle_has_key(const struct tls_bundle *bundle)
{
    return bundle->key != NULL;
}

size_t
tls_bundle_dropped(const struct tls_bundle *bundle)
{
    return bundle->dropped;
}

struct tls_certificate_facts *
tls_bundle_describe(const struct tls_bundle *bundle, size_t i)
{
    assert(i < tls_bundle_count(bundle));
    return tls_describe(sk_X509_value(bundle->certificates, (int)i));
}

/* The same certificate from two files counts once. */
static bool
is_known(const struct tls_bundle *bundle, const X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(bundle->certificates); i++) {
        if (X509_cmp(sk_X509_value(bundle->certificates, i), certificate) == 0)
            return true;
    }
    return false;
}

bool
bundle_add_certificate(struct tls_bundle *bundle, X509 *certificate,
                       const char *file, struct err *err)
{
    if (is_known(bundle, certificate)) {
        X509_free(certificate);
        return true;
    }
    if (tls_bundle_count(bundle) == TLS_BUNDLE_CERTIFICATES) {
        err_set(err, "%s: more than %d certificates", file,
                TLS_BUNDLE_CERTIFICATES);
        X509_free(certificate);
        return false;
    }
    if (sk_X509_push(bundle->certificates, certificate) == 0)
        abort();
    return true;
}

bool
bundle_add_key(struct tls_bundle *bundle, EVP_PKEY *key, const char *file,
               struct err *err)
{
    bool ok = true;

    if (bundle->key == NULL) {
        bundle->key = key;
        return true;
    }
    if (EVP_PKEY_eq(bundle->key, key) != 1) {
        err_set(err,
                "%s: a second private key; give the one that belongs to "
                "the certificate",
                file);
        ok = false;
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    return ok;
}

/* Settling ---------------------------------------------------------------- */

static bool
issued_another(const struct tls_bundle *bundle, X509 *candidate)
{
    for (int i = 0; i < sk_X509_num(bundle->certificates); i++) {
        X509 *other = sk_X509_value(bundle->certificates, i);

        if (other != candidate &&
            X509_check_issued(candidate, other) == X509_V_OK)
            return true;
    }
    return false;
}

static int
find_leaf(const struct tls_bundle *bundle)
{
    for (int i = 0; i < sk_X509_num(bundle->certificates); i++) {
        X509 *candidate = sk_X509_value(bundle->certificates, i);

        if (bundle->key != NULL
                ? X509_check_private_key(candidate, bundle->key) == 1
                : !issued_another(bundle, candidate))
            return i;
    }
    return bundle->key == NULL ? 0 : -1;
}

static int
find_issuer(const STACK_OF(X509) * candidates, X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(candidates); i++) {
        X509 *issuer = sk_X509_value(candidates, i);

        if (X509_check_issued(issuer, certificate) == X509_V_OK &&
            X509_verify(certificate, X509_get0_pubkey(issuer)) == 1)
            return i;
    }
    return -1;
}

/* Moves leaf and issuers, one above the other, to a new stack. */
static void
order(struct tls_bundle *bundle, int leaf)
{
    STACK_OF(X509) *rest = bundle->certificates;
    STACK_OF(X509) *ordered = sk_X509_new_null();

    if (ordered == NULL)
        abort();
    for (int next = leaf; next != -1;) {
        X509 *certificate = sk_X509_delete(rest, next);

        if (sk_X509_push(ordered, certificate) == 0)
            abort();
        next = X509_self_signed(certificate, 0) == 1
                   ? -1
                   : find_issuer(rest, certificate);
    }
    bundle->dropped = (size_t)sk_X509_num(rest);
    sk_X509_pop_free(rest, X509_free);
    bundle->certificates = ordered;
}

bool
tls_bundle_settle(struct tls_bundle *bundle, struct err *err)
{
    struct tls_certificate_facts *first;
    int leaf;

    if (tls_bundle_count(bundle) == 0) {
        err_set(err, "there is no certificate; wanted are PEM, DER, PKCS#7 or "
                     "PKCS#12 files with the certificate and its issuers");
        return false;
    }
    leaf = find_leaf(bundle);
    if (leaf >= 0)
        order(bundle, leaf);
    ERR_clear_error();
    if (leaf >= 0)
        return true;
    first = tls_bundle_describe(bundle, 0);
    err_set(err,
            "the private key belongs to none of the %zu certificates (the "
            "first is for %s); wanted is the key with which the certificate "
            "was requested",
            tls_bundle_count(bundle), first->subject);
    tls_certificate_facts_free(first);
    return false;
}
