/* A proof from the authority that a certificate is not revoked, stapled to the
 * handshake (RFC 6066 section 8).  It comes from a file that somebody else
 * renews; what is not fresh and good is not sent, and no handshake fails for
 * want of it. */
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <time.h>

#define STAPLE_BYTES 65536
#define CLOCK_SKEW 300 /* seconds the responder's clock may be ahead */

void
staple_fini(struct staple *staple)
{
    OPENSSL_free(staple->der);
    *staple = (struct staple){0};
}

static int64_t
seconds_of(const ASN1_GENERALIZEDTIME *time)
{
    struct tm tm;

    return time != NULL && ASN1_TIME_to_tm(time, &tm) == 1 ? timegm(&tm) : 0;
}

static bool
read_der(const char *path, struct staple *staple, struct err *err)
{
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        err_sys(err, "%s", path);
        return false;
    }
    staple->der = OPENSSL_malloc(STAPLE_BYTES);
    if (staple->der == NULL)
        abort(); /* out of memory, as everywhere */
    staple->n = fread(staple->der, 1, STAPLE_BYTES, file);
    fclose(file);
    return true;
}

static OCSP_BASICRESP *
parse(const struct staple *staple, const char *path, struct err *err)
{
    const unsigned char *der = staple->der;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &der, (long)staple->n);
    OCSP_BASICRESP *basic = NULL;

    if (response == NULL)
        err_library(err, "%s is no OCSP response in DER", path);
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        err_set(err, "%s: the authority gave no answer (%s)", path,
                OCSP_response_status_str(OCSP_response_status(response)));
    else if ((basic = OCSP_response_get1_basic(response)) == NULL)
        err_library(err, "%s", path);
    OCSP_RESPONSE_free(response);
    return basic;
}

/* Signed by the issuer, or by whom the issuer has appointed. */
static bool
is_signed(OCSP_BASICRESP *basic, const struct certificate *certificate,
          const char *path, struct err *err)
{
    X509_STORE *store = X509_STORE_new();
    bool ok;

    if (store == NULL)
        abort();
    for (int i = 0; i < sk_X509_num(certificate->chain); i++)
        X509_STORE_add_cert(store, sk_X509_value(certificate->chain, i));
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    ok = OCSP_basic_verify(basic, certificate->chain, store, 0) == 1;
    if (!ok)
        err_library(err, "%s is not signed by the issuer of the certificate",
                    path);
    X509_STORE_free(store);
    return ok;
}

/* The authority chooses the digest with which it names certificates. */
static bool
is_about(OCSP_SINGLERESP *single, const struct certificate *certificate)
{
    OCSP_CERTID *theirs = OCSP_CERTID_dup(OCSP_SINGLERESP_get0_id(single));
    ASN1_OBJECT *digest = NULL;
    OCSP_CERTID *ours;
    bool same;

    if (theirs == NULL)
        abort();
    OCSP_id_get0_info(NULL, &digest, NULL, NULL, theirs);
    ours = OCSP_cert_to_id(EVP_get_digestbyobj(digest), certificate->leaf,
                           sk_X509_value(certificate->chain, 0));
    same = ours != NULL && OCSP_id_cmp(ours, theirs) == 0;
    OCSP_CERTID_free(ours);
    OCSP_CERTID_free(theirs);
    return same;
}

static bool
judge(OCSP_SINGLERESP *single, struct staple *staple, const char *path,
      struct err *err)
{
    ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
    int status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);

    staple->from = seconds_of(from) - CLOCK_SKEW;
    staple->until = seconds_of(until);
    staple->revoked = status == V_OCSP_CERTSTATUS_REVOKED;
    if (status != V_OCSP_CERTSTATUS_GOOD)
        err_set(err, "%s says that the certificate is %s", path,
                OCSP_cert_status_str(status));
    else if (!staple_is_fresh(staple, time(NULL)))
        err_set(err, "%s is not fresh: fetch a new one from the authority",
                path);
    else
        return true;
    return false;
}

static bool
check(OCSP_BASICRESP *basic, const struct certificate *certificate,
      struct staple *staple, const char *path, struct err *err)
{
    if (!is_signed(basic, certificate, path, err))
        return false;
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);

        if (is_about(single, certificate))
            return judge(single, staple, path, err);
    }
    err_set(err, "%s is about another certificate", path);
    return false;
}

bool
staple_load(struct staple *staple, const struct certificate *certificate,
            const char *path, struct err *err)
{
    OCSP_BASICRESP *basic;
    bool ok;

    *staple = (struct staple){0};
    if (sk_X509_num(certificate->chain) == 0) {
        err_set(err,
                "%s cannot be checked: the chain file lacks the certificate "
                "of the issuer",
                path);
        return false;
    }
    ERR_clear_error();
    basic = read_der(path, staple, err) ? parse(staple, path, err) : NULL;
    ok = basic != NULL && check(basic, certificate, staple, path, err);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    if (!ok) {
        bool revoked = staple->revoked;

        staple_fini(staple);
        staple->revoked = revoked;
    }
    return ok;
}

bool
staple_is_fresh(const struct staple *staple, int64_t now)
{
    return staple->n > 0 && now >= staple->from && now < staple->until;
}

/* The one of the certificate that this handshake uses. */
static const struct staple *
find_staple(const struct tls_context *context, const SSL *ssl)
{
    const X509 *leaf = SSL_get_certificate(ssl);

    for (size_t i = 0; i < context->ctx_count; i++) {
        if (context->certificates[i].leaf == leaf)
            return &context->certificates[i].staple;
    }
    return NULL;
}

static int
on_status_request(SSL *ssl, void *arg)
{
    const struct staple *staple = find_staple(arg, ssl);
    unsigned char *copy;

    if (staple == NULL || !staple_is_fresh(staple, time(NULL)))
        return SSL_TLSEXT_ERR_NOACK;
    copy = OPENSSL_memdup(staple->der, staple->n); /* the library frees it */
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->n);
    return SSL_TLSEXT_ERR_OK;
}

void
staples_use(SSL_CTX *ctx, struct tls_context *context)
{
    SSL_CTX_set_tlsext_status_cb(ctx, on_status_request);
    SSL_CTX_set_tlsext_status_arg(ctx, context);
}

bool
tls_staple_check(const struct tls_certificate_files *files, struct err *err)
{
    struct tls_staple_period period;

    return tls_staple_period_of(files, &period, err);
}

bool
tls_staple_period_of(const struct tls_certificate_files *files,
                     struct tls_staple_period *period, struct err *err)
{
    struct certificate certificate;
    struct staple staple;
    bool ok;

    *period = (struct tls_staple_period){0};
    if (!certificate_load(files, &certificate, err))
        return false;
    ok = staple_load(&staple, &certificate, files->ocsp, err);
    *period =
        (struct tls_staple_period){staple.from, staple.until, staple.revoked};
    if (!ok)
        err_wrap(err, "certificate %s: OCSP response", files->name);
    staple_fini(&staple);
    certificate_fini(&certificate);
    return ok;
}
