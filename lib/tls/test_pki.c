#include "tls/test_pki.h"
#include "base/list.h"
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "test_pki: %s\n", what);
    abort();
}

static void
remove_folder(void)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    rmdir(folder);
}

static void
need_folder(void)
{
    if (folder[0] != '\0')
        return;
    snprintf(folder, sizeof folder, "/tmp/waxgate-pki.XXXXXX");
    must(mkdtemp(folder) != NULL, "mkdtemp");
    atexit(remove_folder);
}

/* Paths are kept until exit, reachable so that no leak is reported. */
struct path {
    struct path *next;
    char text[];
};
static struct path *paths;

const char *
pki_path(const char *file)
{
    size_t size = sizeof folder + strlen(file) + 1;
    struct path *path = mem_alloc(sizeof *path + size);

    need_folder();
    snprintf(path->text, size, "%s/%s", folder, file);
    path->next = paths;
    paths = path;
    return path->text;
}

static const char *
path_of(const char *name, const char *suffix)
{
    char file[128];

    snprintf(file, sizeof file, "%s%s", name, suffix);
    return pki_path(file);
}

static EVP_PKEY *
make_key(const char *type)
{
    if (strcmp(type, "RSA") == 0)
        return EVP_RSA_gen(2048);
    if (strcmp(type, "RSA1024") == 0)
        return EVP_RSA_gen(1024);
    if (strcmp(type, "RSA768") == 0)
        return EVP_RSA_gen(768);
    if (strcmp(type, "ED25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return EVP_EC_gen("P-256");
}

static void
add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(extension != NULL, "extension");
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
}

static X509 *
read_certificate(const char *path)
{
    FILE *file = fopen(path, "re");
    X509 *x509 = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

    must(x509 != NULL, path);
    fclose(file);
    return x509;
}

static EVP_PKEY *
read_key(const char *path)
{
    FILE *file = fopen(path, "re");
    EVP_PKEY *key =
        file != NULL ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;

    must(key != NULL, path);
    fclose(file);
    return key;
}

static X509 *
make_certificate(const struct pki_options *options, EVP_PKEY *key, X509 *issuer,
                 EVP_PKEY *issuer_key)
{
    static long serial = 1000;
    X509 *x509 = X509_new();
    X509_NAME *subject = X509_get_subject_name(x509);
    long days = options->days != 0 ? options->days : 30;
    bool is_edwards = EVP_PKEY_is_a(issuer_key, "ED25519");

    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x509), options->begins != 0
                                                   ? options->begins * 86400L
                                                   : -2L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(x509), (days - 1) * 86400);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *)options->name, -1, -1, 0);
    X509_set_issuer_name(x509, issuer != NULL ? X509_get_subject_name(issuer)
                                              : subject);
    X509_set_pubkey(x509, key);
    add_extension(x509, issuer != NULL ? issuer : x509, NID_basic_constraints,
                  options->constraints != NULL ? options->constraints
                  : options->is_ca             ? "critical,CA:TRUE"
                                               : "CA:FALSE");
    if (options->names != NULL)
        add_extension(x509, x509, NID_subject_alt_name, options->names);
    if (options->purposes != NULL)
        add_extension(x509, x509, NID_ext_key_usage, options->purposes);
    must(X509_sign(x509, issuer_key, is_edwards ? NULL : EVP_sha256()) > 0,
         "sign");
    return x509;
}

static void
write_pair(const char *chain, const char *key_path, X509 *x509, X509 *issuer,
           EVP_PKEY *key)
{
    FILE *file = fopen(chain, "we");

    must(file != NULL, chain);
    PEM_write_X509(file, x509);
    if (issuer != NULL)
        PEM_write_X509(file, issuer);
    fclose(file);
    file = fopen(key_path, "we");
    must(file != NULL && fchmod(fileno(file), 0600) == 0, key_path);
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}

struct tls_certificate_files
pki_make(const struct pki_options *options)
{
    struct tls_certificate_files files = {
        .name = options->name,
        .chain = path_of(options->name, ".pem"),
        .key = path_of(options->name, ".key"),
    };
    EVP_PKEY *key = make_key(options->type != NULL ? options->type : "EC");
    EVP_PKEY *issuer_key = NULL;
    X509 *x509, *issuer = NULL;

    must(key != NULL, "key");
    if (options->issuer != NULL) {
        issuer = read_certificate(path_of(options->issuer, ".pem"));
        issuer_key = read_key(path_of(options->issuer, ".key"));
    }
    x509 = make_certificate(options, key, issuer,
                            issuer_key != NULL ? issuer_key : key);
    write_pair(files.chain, files.key, x509, issuer, key);
    X509_free(x509);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(issuer_key);
    return files;
}

const char *
pki_crl(const char *ca, const char *revoked, int days)
{
    const char *path = path_of(ca, revoked != NULL ? ".bad.crl" : ".crl");
    X509 *issuer = read_certificate(path_of(ca, ".pem"));
    EVP_PKEY *key = read_key(path_of(ca, ".key"));
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -3L * 86400);
    ASN1_TIME *until = X509_gmtime_adj(NULL, days * 86400L);
    FILE *file = fopen(path, "we");

    must(file != NULL, path);
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
    X509_CRL_set1_lastUpdate(crl, from);
    X509_CRL_set1_nextUpdate(crl, until);
    if (revoked != NULL) {
        X509 *x509 = read_certificate(path_of(revoked, ".pem"));
        X509_REVOKED *entry = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(x509));
        X509_REVOKED_set_revocationDate(entry, from);
        X509_CRL_add0_revoked(crl, entry);
        X509_free(x509);
    }
    must(X509_CRL_sign(crl, key, EVP_sha256()) > 0, "sign");
    PEM_write_X509_CRL(file, crl);
    fclose(file);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    X509_CRL_free(crl);
    X509_free(issuer);
    EVP_PKEY_free(key);
    return path;
}

const char *
pki_ocsp(const char *ca, const char *name, bool good, long seconds)
{
    const char *path = path_of(name, ".ocsp");
    X509 *issuer = read_certificate(path_of(ca, ".pem"));
    X509 *x509 = read_certificate(path_of(name, ".pem"));
    EVP_PKEY *key = read_key(path_of(ca, ".key"));
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha256(), x509, issuer);
    ASN1_TIME *from = X509_gmtime_adj(NULL, -7200);
    ASN1_TIME *until = X509_gmtime_adj(NULL, seconds);
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    FILE *file = fopen(path, "we");
    int n;

    must(file != NULL, path);
    OCSP_basic_add1_status(
        basic, id, good ? V_OCSP_CERTSTATUS_GOOD : V_OCSP_CERTSTATUS_REVOKED,
        OCSP_REVOKED_STATUS_KEYCOMPROMISE, from, from, until);
    must(OCSP_basic_sign(basic, issuer, key, EVP_sha256(), NULL, 0) == 1,
         "sign");
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(response, &der);
    must(n > 0 && fwrite(der, 1, (size_t)n, file) == (size_t)n, path);
    fclose(file);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    EVP_PKEY_free(key);
    X509_free(x509);
    X509_free(issuer);
    return path;
}

static void
append_file(FILE *to, const char *from)
{
    char bytes[4096];
    FILE *file = fopen(from, "re");
    size_t n;

    must(file != NULL, from);
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
        must(fwrite(bytes, 1, n, to) == n, "write");
    fclose(file);
}

void
pki_write(const char *file, const char *first, const char *second)
{
    FILE *to = fopen(pki_path(file), "we");

    must(to != NULL && fchmod(fileno(to), 0600) == 0, file);
    append_file(to, first);
    if (second != NULL)
        append_file(to, second);
    fclose(to);
}
