/* New keys, self-signed certificates and requests (PKCS#10). */
#include "base/buf.h"
#include "base/random.h"
#include "tls/bundle_internal.h"
#include "tls/tls_internal.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define CLOCK_SKEW 3600    /* seconds a peer's clock may be behind ours */
#define COMMON_NAME_MAX 64 /* RFC 5280 appendix A.1, ub-common-name */
#define SERIAL_BYTES 16

const char *const tls_key_types[] = {"ec256",   "ec384",   "rsa2048",
                                     "rsa3072", "rsa4096", NULL};

bool
tls_bundle_create_key(struct tls_bundle *bundle, const char *key_type,
                      struct err *err)
{
    struct sv type = sv_of(key_type);
    EVP_PKEY *key = NULL;
    uint32_t bits;

    ERR_clear_error();
    if (sv_is(type, "ec256"))
        key = EVP_EC_gen("P-256");
    else if (sv_is(type, "ec384"))
        key = EVP_EC_gen("P-384");
    else if (sv_take_prefix(&type, SV("rsa")) && sv_to_u32(type, &bits) &&
             (bits == 2048 || bits == 3072 || bits == 4096))
        key = EVP_RSA_gen(bits);
    if (key != NULL)
        return bundle_add_key(bundle, key, "new key", err);
    err_set(err,
            "no key of type \"%s\"; there are ec256, ec384, rsa2048, rsa3072 "
            "and rsa4096",
            key_type);
    ERR_clear_error();
    return false;
}

/* Names ------------------------------------------------------------------- */

/* One label of a host name, or "*" as the first. */
static bool
label_is_sane(struct sv label, bool first)
{
    if (first && sv_is(label, "*"))
        return true;
    if (label.n == 0 || label.n > 63 || label.p[0] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++) {
        if (!char_is_alnum(label.p[i]) && label.p[i] != '-')
            return false;
    }
    return label.p[label.n - 1] != '-';
}

static bool
host_is_sane(struct sv host)
{
    bool first = true;

    if (host.n == 0 || host.n > 253 || host.p[host.n - 1] == '.')
        return false;
    while (host.n > 0) {
        if (!label_is_sane(sv_take_until(&host, '.'), first))
            return false;
        first = false;
    }
    return true;
}

static GENERAL_NAME *
general_name(int type, const void *bytes, size_t n)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(
        type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);

    if (name == NULL || value == NULL ||
        ASN1_STRING_set(value, bytes, (int)n) != 1)
        abort();
    GENERAL_NAME_set0_value(name, type, value);
    return name;
}

static GENERAL_NAME *
name_of(const char *text, struct err *err)
{
    unsigned char address[16];

    if (inet_pton(AF_INET, text, address) == 1)
        return general_name(GEN_IPADD, address, 4);
    if (inet_pton(AF_INET6, text, address) == 1)
        return general_name(GEN_IPADD, address, 16);
    if (host_is_sane(sv_of(text)))
        return general_name(GEN_DNS, text, strlen(text));
    err_set(err,
            "\"%s\" is neither a host name nor an address; international "
            "names are written as xn--…, without a dot at the end",
            text);
    return NULL;
}

static GENERAL_NAMES *
names_of(const struct tls_create_options *options, struct err *err)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();

    if (names == NULL)
        abort();
    for (size_t i = 0; i < options->name_count; i++) {
        GENERAL_NAME *name = name_of(options->names[i], err);

        if (name == NULL) {
            GENERAL_NAMES_free(names);
            return NULL;
        }
        sk_GENERAL_NAME_push(names, name);
    }
    return names;
}

static bool
add_entry(X509_NAME *subject, struct sv type, struct sv value, struct err *err)
{
    char type_text[32];
    char *value_text = sv_dup(value);
    bool ok = sv_to_cstr(type, type_text, sizeof type_text) && value.n > 0 &&
              X509_NAME_add_entry_by_txt(subject, type_text, MBSTRING_UTF8,
                                         (const unsigned char *)value_text, -1,
                                         -1, 0) == 1;

    if (!ok)
        err_set(err,
                "subject \"%.*s=%.*s\": wanted is O, OU, L, ST, C (two "
                "letters) or emailAddress with a value of usual length",
                SV_ARG(sv_slice(type, 0, 40)), SV_ARG(sv_slice(value, 0, 80)));
    ERR_clear_error();
    mem_free(value_text);
    return ok;
}

static bool
fill_subject(const struct tls_create_options *options, X509_NAME *subject,
             struct err *err)
{
    struct sv rest = sv_of(options->subject);
    struct sv common = sv_of(options->names[0]);

    while (rest.n > 0) {
        struct sv value = sv_trim(sv_take_until(&rest, ','));
        struct sv type = sv_take_until(&value, '=');

        if (!add_entry(subject, type, value, err))
            return false;
    }
    /* A longer one stands in the alternative names only. */
    return common.n > COMMON_NAME_MAX ||
           add_entry(subject, SV("CN"), common, err);
}

/* Extensions -------------------------------------------------------------- */

static void
add_extension(STACK_OF(X509_EXTENSION) * *extensions, int nid,
              const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    if (extension == NULL || X509v3_add_ext(extensions, extension, -1) == NULL)
        abort();
    X509_EXTENSION_free(extension);
}

static STACK_OF(X509_EXTENSION) *
    extensions_of(const struct tls_bundle *bundle,
                  const struct tls_create_options *options, struct err *err)
{
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    GENERAL_NAMES *names = names_of(options, err);
    bool is_rsa = EVP_PKEY_is_a(bundle->key, "RSA");

    if (names == NULL)
        return NULL;
    add_extension(&extensions, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(&extensions, NID_key_usage,
                  is_rsa ? "critical,digitalSignature,keyEncipherment"
                         : "critical,digitalSignature");
    add_extension(&extensions, NID_ext_key_usage, "serverAuth,clientAuth");
    if (X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0,
                        X509V3_ADD_DEFAULT) != 1)
        abort();
    GENERAL_NAMES_free(names);
    return extensions;
}

static void
set_serial(X509 *certificate)
{
    unsigned char bytes[SERIAL_BYTES];
    BIGNUM *number;

    random_fill(bytes, sizeof bytes);
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, always as long */
    number = BN_bin2bn(bytes, sizeof bytes, NULL);
    if (number == NULL ||
        BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) == NULL)
        abort();
    BN_free(number);
}

static bool
fill_certificate(const struct tls_bundle *bundle,
                 const struct tls_create_options *options, X509 *certificate,
                 struct err *err)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    STACK_OF(X509_EXTENSION) *extensions = extensions_of(bundle, options, err);

    if (extensions == NULL)
        return false;
    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++)
        X509_add_ext(certificate, sk_X509_EXTENSION_value(extensions, i), -1);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_set_version(certificate, X509_VERSION_3);
    set_serial(certificate);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -CLOCK_SKEW);
    X509_time_adj_ex(X509_getm_notAfter(certificate), options->days, 0, NULL);
    X509_set_pubkey(certificate, bundle->key);
    return fill_subject(options, subject, err) &&
           X509_set_issuer_name(certificate, subject) == 1;
}

bool
tls_bundle_self_sign(struct tls_bundle *bundle,
                     const struct tls_create_options *options, struct err *err)
{
    X509 *certificate = X509_new();

    assert(bundle->key != NULL && options->name_count > 0 && options->days > 0);
    if (certificate == NULL)
        abort();
    ERR_clear_error();
    if (!fill_certificate(bundle, options, certificate, err)) {
        X509_free(certificate);
        return false;
    }
    if (X509_sign(certificate, bundle->key, EVP_sha256()) > 0)
        return bundle_add_certificate(bundle, certificate, "new certificate",
                                      err);
    err_library(err, "signature of the certificate");
    X509_free(certificate);
    return false;
}

static bool
fill_request(const struct tls_bundle *bundle,
             const struct tls_create_options *options, X509_REQ *request,
             struct err *err)
{
    STACK_OF(X509_EXTENSION) *extensions = extensions_of(bundle, options, err);

    if (extensions == NULL)
        return false;
    X509_REQ_set_version(request, X509_REQ_VERSION_1);
    X509_REQ_add_extensions(request, extensions);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_REQ_set_pubkey(request, bundle->key);
    if (!fill_subject(options, X509_REQ_get_subject_name(request), err))
        return false;
    if (X509_REQ_sign(request, bundle->key,
                      EVP_PKEY_is_a(bundle->key, "ED25519") ||
                              EVP_PKEY_is_a(bundle->key, "ED448")
                          ? NULL
                          : EVP_sha256()) > 0)
        return true;
    err_library(err, "signature of the request");
    return false;
}

bool
tls_bundle_request(const struct tls_bundle *bundle,
                   const struct tls_create_options *options, struct buf *pem,
                   struct err *err)
{
    X509_REQ *request = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    bool ok;
    long n;

    assert(bundle->key != NULL && options->name_count > 0);
    if (request == NULL || bio == NULL)
        abort();
    ERR_clear_error();
    ok = fill_request(bundle, options, request, err) &&
         PEM_write_bio_X509_REQ(bio, request) == 1;
    n = BIO_get_mem_data(bio, &text);
    if (ok && n > 0)
        buf_add(pem, (struct sv){text, (size_t)n});
    BIO_free(bio);
    X509_REQ_free(request);
    return ok;
}
