/* Whose certificate is believed: one that comes from an authority of ours and
 * names the host as DNS-ID (RFC 9525).  The common name counts for nothing. */
#include "https/https_internal.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int call_index; /* of the call in an SSL_CTX */

static void
make_index(void)
{
    call_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* "a.example, *.b.example": what the certificate is good for. */
static void
list_names(X509 *x509, struct buf *out)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_DNS || buf_length(out) > 100)
            continue;
        buf_printf(out, "%s%.*s", buf_length(out) > 0 ? ", " : "",
                   ASN1_STRING_length(name->d.dNSName),
                   (const char *)ASN1_STRING_get0_data(name->d.dNSName));
    }
    GENERAL_NAMES_free(names);
}

static void
describe(struct https_call *call, X509_STORE_CTX *store_ctx)
{
    int error = X509_STORE_CTX_get_error(store_ctx);
    X509 *x509 = X509_STORE_CTX_get_current_cert(store_ctx);
    struct buf names = {0};

    if (error == X509_V_ERR_HOSTNAME_MISMATCH && x509 != NULL)
        list_names(x509, &names);
    if (buf_length(&names) > 0)
        snprintf(call->certificate, sizeof call->certificate,
                 "the certificate is for %s only", buf_cstr(&names));
    else if (error == X509_V_ERR_HOSTNAME_MISMATCH)
        snprintf(call->certificate, sizeof call->certificate,
                 "the certificate names no host as alternative name");
    else
        snprintf(call->certificate, sizeof call->certificate, "%s",
                 X509_verify_cert_error_string(error));
    buf_fini(&names);
}

static int
on_verify(int ok, X509_STORE_CTX *store_ctx)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx,
                                          SSL_get_ex_data_X509_STORE_CTX_idx());
    struct https_call *call =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), call_index);

    if (!ok && call->certificate[0] == '\0')
        describe(call, store_ctx);
    return ok;
}

static bool
demand_name(SSL_CTX *ctx, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    struct net_address address;

    if (net_address_parse(sv_of(host), 0, &address))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

CURLcode
trust_apply(CURL *easy, void *ssl_ctx, void *arg)
{
    struct https_call *call = arg;
    struct err err = {0};
    X509_STORE *store = tls_trust_store(&call->client->trust, &err);

    (void)easy;
    pthread_once(&once, make_index);
    if (store == NULL) {
        snprintf(call->certificate, sizeof call->certificate, "%.190s",
                 err.text);
        return CURLE_SSL_CACERT_BADFILE;
    }
    SSL_CTX_set1_cert_store(ssl_ctx, store);
    X509_STORE_free(store);
    if (SSL_CTX_set_ex_data(ssl_ctx, call_index, call) != 1 ||
        !demand_name(ssl_ctx, call->host))
        return CURLE_OUT_OF_MEMORY;
    SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, on_verify);
    return CURLE_OK;
}
