#include "tls/describe.h"
#include "base/sv.h"
#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

#define NAME_BYTES 255 /* of one alternative name */
#define DAY 86400

static char *
printable_copy(struct sv text)
{
    char *copy = sv_dup(sv_slice(text, 0, TLS_NAME_TEXT));
    size_t n = text.n < TLS_NAME_TEXT ? text.n : TLS_NAME_TEXT;

    for (size_t i = 0; i < n; i++) {
        if (!char_is_print(copy[i]))
            copy[i] = '?';
    }
    return copy;
}

static char *
name_text(const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL, *copy;
    long n;

    if (bio == NULL)
        abort(); /* out of memory, as everywhere */
    X509_NAME_print_ex(bio, name, 0,
                       XN_FLAG_RFC2253 & ~ASN1_STRFLGS_UTF8_CONVERT);
    n = BIO_get_mem_data(bio, &text);
    copy = printable_copy((struct sv){text, n > 0 ? (size_t)n : 0});
    BIO_free(bio);
    return copy;
}

static void
hex_text(const unsigned char *bytes, size_t n, char *dst)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        dst[2 * i] = digits[bytes[i] >> 4];
        dst[2 * i + 1] = digits[bytes[i] & 15];
    }
    dst[2 * n] = '\0';
}

static char *
serial_text(const X509 *x509)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
    int length = ASN1_STRING_length(serial);
    /* RFC 5280 section 4.1.2.2: at most 20 octets. */
    size_t n = length < 0 ? 0 : length > 20 ? 20 : (size_t)length;
    char *text = mem_alloc(2 * n + 1);

    hex_text(ASN1_STRING_get0_data(serial), n, text);
    return text;
}

static int64_t
seconds_of(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? timegm(&tm) : 0;
}

static void
digest_texts(const X509 *x509, struct tls_certificate_facts *facts)
{
    unsigned char digest[EVP_MAX_MD_SIZE], *der = NULL;
    unsigned length = 0;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);

    if (X509_digest(x509, EVP_sha256(), digest, &length) == 1)
        hex_text(digest, length, facts->sha256);
    if (n > 0 &&
        EVP_Digest(der, (size_t)n, digest, &length, EVP_sha256(), NULL) == 1)
        hex_text(digest, length, facts->spki_sha256);
    OPENSSL_free(der);
}

static void
key_facts(X509 *x509, struct tls_certificate_facts *facts)
{
    const EVP_PKEY *key = X509_get0_pubkey(x509);
    char curve[64];
    size_t n = 0;
    int nid = NID_undef;
    const char *name = NULL;

    if (key == NULL)
        return;
    facts->key_bits = EVP_PKEY_get_bits(key);
    if (EVP_PKEY_get_group_name(key, curve, sizeof curve, &n) == 1)
        nid = OBJ_txt2nid(curve);
    if (nid != NID_undef)
        name = EC_curve_nid2nist(nid);
    if (EVP_PKEY_is_a(key, "EC"))
        snprintf(facts->key_type, sizeof facts->key_type, "EC %.12s",
                 name != NULL ? name : curve);
    else
        snprintf(facts->key_type, sizeof facts->key_type, "%s",
                 EVP_PKEY_get0_type_name(key));
}

static void
signature_facts(const X509 *x509, struct tls_certificate_facts *facts)
{
    const char *name = OBJ_nid2sn(X509_get_signature_nid(x509));

    snprintf(facts->signature, sizeof facts->signature, "%s",
             name != NULL ? name : "");
}

static void
add_name(struct tls_certificate_facts *facts, const char *kind,
         const ASN1_STRING *value)
{
    struct sv text = {(const char *)ASN1_STRING_get0_data(value),
                      (size_t)ASN1_STRING_length(value)};
    char whole[NAME_BYTES + 16];
    int n = snprintf(whole, sizeof whole, "%s:%.*s", kind,
                     SV_ARG(sv_slice(text, 0, NAME_BYTES)));

    facts->names[facts->name_count++] =
        printable_copy((struct sv){whole, n > 0 ? (size_t)n : 0});
}

static void
add_address(struct tls_certificate_facts *facts, const ASN1_OCTET_STRING *value)
{
    char text[INET6_ADDRSTRLEN + 4] = "IP:";
    int n = ASN1_STRING_length(value);

    if ((n == 4 || n == 16) &&
        inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value),
                  text + 3, sizeof text - 3) != NULL)
        facts->names[facts->name_count++] = mem_strdup(text);
}

static void
add_general_name(struct tls_certificate_facts *facts, const GENERAL_NAME *name)
{
    switch (name->type) {
    case GEN_DNS:
        add_name(facts, "DNS", name->d.dNSName);
        break;
    case GEN_EMAIL:
        add_name(facts, "email", name->d.rfc822Name);
        break;
    case GEN_URI:
        add_name(facts, "URI", name->d.uniformResourceIdentifier);
        break;
    case GEN_IPADD:
        add_address(facts, name->d.iPAddress);
        break;
    default: /* nothing that names a mail server */
        break;
    }
}

static void
name_facts(const X509 *x509, struct tls_certificate_facts *facts)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    int count = sk_GENERAL_NAME_num(names);

    if (count > TLS_NAMES_KEPT)
        count = TLS_NAMES_KEPT;
    if (count > 0)
        facts->names = mem_alloc_array((size_t)count, sizeof(char *));
    for (int i = 0; i < count; i++)
        add_general_name(facts, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
}

struct tls_certificate_facts *
tls_describe(X509 *certificate)
{
    struct tls_certificate_facts *facts = mem_alloc(sizeof *facts);

    facts->subject = name_text(X509_get_subject_name(certificate));
    facts->issuer = name_text(X509_get_issuer_name(certificate));
    facts->serial = serial_text(certificate);
    facts->not_before = seconds_of(X509_get0_notBefore(certificate));
    facts->not_after = seconds_of(X509_get0_notAfter(certificate));
    digest_texts(certificate, facts);
    key_facts(certificate, facts);
    signature_facts(certificate, facts);
    name_facts(certificate, facts);
    facts->is_ca = X509_check_ca(certificate) > 0;
    facts->self_signed = X509_self_signed(certificate, 0) == 1;
    facts->for_servers =
        X509_check_purpose(certificate, X509_PURPOSE_SSL_SERVER, 0) == 1;
    facts->for_clients =
        X509_check_purpose(certificate, X509_PURPOSE_SSL_CLIENT, 0) == 1;
    ERR_clear_error();
    return facts;
}

void
tls_certificate_facts_free(struct tls_certificate_facts *facts)
{
    if (facts == NULL)
        return;
    for (size_t i = 0; i < facts->name_count; i++)
        mem_free(facts->names[i]);
    mem_free(facts->names);
    mem_free(facts->subject);
    mem_free(facts->issuer);
    mem_free(facts->serial);
    mem_free(facts);
}

const char *
tls_names_text(const struct tls_certificate_facts *facts,
               char out[TLS_NAMES_TEXT])
{
    enum { SHOWN = 8 };
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < facts->name_count && i < SHOWN; i++) {
        if (n + strlen(facts->names[i]) + 2 > TLS_NAMES_TEXT)
            break;
        n += (size_t)snprintf(out + n, TLS_NAMES_TEXT - n, "%s%s",
                              i > 0 ? "," : "", facts->names[i]);
    }
    return out;
}

int64_t
tls_days_left(int64_t not_after, int64_t now)
{
    int64_t left = not_after - now;

    return left >= 0 ? left / DAY : -((-left + DAY - 1) / DAY);
}
