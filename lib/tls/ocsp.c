#include "tls/ocsp.h"

#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

/* The first responder that HTTP reaches; "": none. */
static char *
responder_of(X509 *leaf)
{
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(leaf);
    char *found = NULL;

    for (int i = 0; found == NULL && i < sk_OPENSSL_STRING_num(urls); i++) {
        struct sv url = sv_of(sk_OPENSSL_STRING_value(urls, i));

        if (sv_starts_nocase(url, SV("http://")) ||
            sv_starts_nocase(url, SV("https://")))
            found = sv_dup(url);
    }
    X509_email_free(urls);
    return found != NULL ? found : mem_strdup("");
}

/* SHA-1 names the certificate: responders that prepare their answers need not
 * know more (RFC 5019 section 2.1.1), and no nonce, for the same reason. */
static struct sv
question_about(X509 *leaf, X509 *issuer)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf, issuer);
    unsigned char *der = NULL;
    struct sv copy = {0};
    int n;

    if (request == NULL || id == NULL ||
        OCSP_request_add0_id(request, id) == NULL)
        abort(); /* out of memory, as everywhere */
    n = i2d_OCSP_REQUEST(request, &der);
    if (n <= 0)
        abort();
    copy.n = (size_t)n;
    copy.p = sv_dup((struct sv){(const char *)der, copy.n});
    OPENSSL_free(der);
    OCSP_REQUEST_free(request);
    return copy;
}

bool
tls_ocsp_question_make(const struct tls_certificate_files *files,
                       struct tls_ocsp_question *question, struct err *err)
{
    struct certificate certificate;
    bool ok;

    *question = (struct tls_ocsp_question){0};
    if (!certificate_load(files, &certificate, err))
        return false;
    ok = sk_X509_num(certificate.chain) > 0;
    if (ok) {
        question->url = responder_of(certificate.leaf);
        question->der = question_about(certificate.leaf,
                                       sk_X509_value(certificate.chain, 0));
    } else {
        err_set(err,
                "certificate %s: the chain file lacks the certificate "
                "of the issuer",
                files->name);
    }
    ERR_clear_error();
    certificate_fini(&certificate);
    return ok;
}

void
tls_ocsp_question_fini(struct tls_ocsp_question *question)
{
    mem_free(question->url);
    mem_free((void *)(uintptr_t)question->der.p);
    *question = (struct tls_ocsp_question){0};
}
