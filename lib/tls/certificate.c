#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

static FILE *
open_pem(const struct tls_certificate_files *files, const char *path,
         const char *what, struct err *err)
{
    FILE *file = path != NULL && *path != '\0' ? fopen(path, "re") : NULL;

    if (path == NULL || *path == '\0')
        err_set(err, "certificate %s: no %s file is named", files->name, what);
    else if (file == NULL)
        err_sys(err, "certificate %s: %s file %s", files->name, what, path);
    return file;
}

/* A key with a passphrase cannot be read by a daemon: answer with none. */
static int
no_passphrase(char *dst, int size, int writing, void *arg)
{
    (void)dst;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static bool
read_chain(const struct tls_certificate_files *files,
           struct certificate *certificate, struct err *err)
{
    FILE *file = open_pem(files, files->chain, "chain", err);
    X509 *x509;

    if (file == NULL)
        return false;
    ERR_clear_error();
    certificate->leaf = PEM_read_X509(file, NULL, no_passphrase, NULL);
    certificate->chain = sk_X509_new_null();
    while (certificate->leaf != NULL &&
           (x509 = PEM_read_X509(file, NULL, no_passphrase, NULL)) != NULL)
        sk_X509_push(certificate->chain, x509);
    fclose(file);
    if (certificate->leaf != NULL &&
        ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
        ERR_clear_error(); /* the end of the file */
        return true;
    }
    err_library(err,
                "certificate %s: chain file %s must hold PEM certificates, "
                "the server's own first; %s",
                files->name, files->chain,
                certificate->leaf == NULL ? "the first cannot be read"
                                          : "one behind the first is damaged");
    return false;
}

static bool
key_is_private(const struct tls_certificate_files *files, FILE *file,
               struct err *err)
{
    struct stat st;

    if (fstat(fileno(file), &st) == -1) {
        err_sys(err, "certificate %s: key file %s", files->name, files->key);
        return false;
    }
    if ((st.st_mode & (S_IROTH | S_IWOTH)) == 0)
        return true;
    err_set(err,
            "certificate %s: key file %s is open to every user (mode %04o): "
            "make it 0600, or 0640 with the gateway's group",
            files->name, files->key, (unsigned)st.st_mode & 07777u);
    return false;
}

static bool
key_type_is_usable(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS") ||
           EVP_PKEY_is_a(key, "EC") || EVP_PKEY_is_a(key, "ED25519") ||
           EVP_PKEY_is_a(key, "ED448");
}

static bool
read_key(const struct tls_certificate_files *files,
         struct certificate *certificate, struct err *err)
{
    FILE *file = open_pem(files, files->key, "key", err);
    bool ok = false;

    if (file == NULL)
        return false;
    if (key_is_private(files, file, err)) {
        ERR_clear_error();
        certificate->key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
        if (certificate->key == NULL)
            err_library(err,
                        "certificate %s: key file %s must hold a PEM private "
                        "key without a passphrase",
                        files->name, files->key);
        else if (!key_type_is_usable(certificate->key))
            err_set(err,
                    "certificate %s: key file %s holds a key of type %s; "
                    "RSA, ECDSA and Ed25519 keys work",
                    files->name, files->key,
                    EVP_PKEY_get0_type_name(certificate->key));
        else
            ok = true;
    }
    fclose(file);
    return ok;
}

static bool
check_pair(const struct tls_certificate_files *files,
           const struct certificate *certificate, struct err *err)
{
    bool ok = X509_check_private_key(certificate->leaf, certificate->key) == 1;

    for (int i = 0; !ok && i < sk_X509_num(certificate->chain); i++) {
        if (X509_check_private_key(sk_X509_value(certificate->chain, i),
                                   certificate->key) == 1) {
            ERR_clear_error();
            err_set(err,
                    "certificate %s: the key belongs to certificate %d of %s; "
                    "it must be the first of the file",
                    files->name, i + 2, files->chain);
            return false;
        }
    }
    ERR_clear_error();
    if (!ok)
        err_set(err,
                "certificate %s: key file %s does not belong to the first "
                "certificate of %s",
                files->name, files->key, files->chain);
    return ok;
}

static bool
check_order(const struct tls_certificate_files *files,
            const struct certificate *certificate, struct err *err)
{
    X509 *below = certificate->leaf;

    for (int i = 0; i < sk_X509_num(certificate->chain); i++) {
        X509 *above = sk_X509_value(certificate->chain, i);

        if (X509_check_issued(above, below) != X509_V_OK) {
            ERR_clear_error();
            err_set(err,
                    "certificate %s: certificate %d of %s did not issue "
                    "certificate %d; each must be issued by the next",
                    files->name, i + 2, files->chain, i + 1);
            return false;
        }
        below = above;
    }
    return true;
}

static void
add_name(struct certificate *certificate, struct sv name)
{
    char *copy;

    if (name.n == 0 || name.n > 255 || certificate->name_count == NAMES_MAX)
        return;
    copy = mem_alloc(name.n + 1);
    sv_lower_into(name, copy);
    certificate->names[certificate->name_count++] = copy;
}

static struct sv
view_of_asn1(const ASN1_STRING *text)
{
    return (struct sv){(const char *)ASN1_STRING_get0_data(text),
                       (size_t)ASN1_STRING_length(text)};
}

/* RFC 9525 section 2: the names of a certificate are its DNS-IDs.  The common
 * name counts only where there are none, for certificates made by hand. */
static void
collect_names(struct certificate *certificate)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate->leaf, NID_subject_alt_name, NULL, NULL);
    const X509_NAME *subject = X509_get_subject_name(certificate->leaf);
    int at = -1;

    certificate->names = mem_alloc_array(NAMES_MAX, sizeof(char *));
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS)
            add_name(certificate, view_of_asn1(name->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    if (certificate->name_count == 0)
        at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0)
        add_name(certificate, view_of_asn1(X509_NAME_ENTRY_get_data(
                                  X509_NAME_get_entry(subject, at))));
}

bool
certificate_load(const struct tls_certificate_files *files,
                 struct certificate *certificate, struct err *err)
{
    *certificate = (struct certificate){0};
    if (read_chain(files, certificate, err) &&
        read_key(files, certificate, err) &&
        check_pair(files, certificate, err) &&
        check_order(files, certificate, err)) {
        collect_names(certificate);
        return true;
    }
    certificate_fini(certificate);
    return false;
}

void
certificate_copy(const struct certificate *from, struct certificate *to)
{
    *to = (struct certificate){.leaf = from->leaf,
                               .chain = X509_chain_up_ref(from->chain),
                               .key = from->key};
    if (to->chain == NULL)
        abort(); /* out of memory, as everywhere */
    X509_up_ref(to->leaf);
    EVP_PKEY_up_ref(to->key);
    collect_names(to);
}

void
certificate_fini(struct certificate *certificate)
{
    X509_free(certificate->leaf);
    sk_X509_pop_free(certificate->chain, X509_free);
    EVP_PKEY_free(certificate->key);
    for (size_t i = 0; i < certificate->name_count; i++)
        mem_free(certificate->names[i]);
    mem_free(certificate->names);
    staple_fini(&certificate->staple);
    *certificate = (struct certificate){0};
}

bool
certificate_use(const struct certificate *certificate, SSL_CTX *ctx,
                struct err *err)
{
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(ctx, certificate->leaf, certificate->key,
                                 certificate->chain, 1) == 1)
        return true;
    err_library(err, "the TLS library refuses the certificate");
    return false;
}

enum name_match
certificate_match(const struct certificate *certificate, struct sv name)
{
    struct sv behind_label = name;
    bool wildcard = false;

    sv_take_until(&behind_label, '.');
    for (size_t i = 0; i < certificate->name_count; i++) {
        struct sv own = sv_of(certificate->names[i]);

        if (sv_eq_nocase(own, name))
            return NAME_EXACT;
        /* RFC 9525 section 6.3: "*" stands for exactly one leftmost label. */
        if (sv_take_prefix(&own, SV("*.")) && behind_label.n > 0 &&
            sv_eq_nocase(own, behind_label))
            wildcard = true;
    }
    return wildcard ? NAME_WILDCARD : NAME_NO;
}

bool
tls_certificate_check(const struct tls_certificate_files *files,
                      struct err *err)
{
    struct certificate certificate;
    SSL_CTX *ctx;
    bool ok;

    if (!certificate_load(files, &certificate, err))
        return false;
    ctx = SSL_CTX_new(TLS_method());
    if (ctx == NULL)
        abort();                        /* out of memory, as everywhere */
    SSL_CTX_set_security_level(ctx, 0); /* the profile may refuse short keys */
    ok = certificate_use(&certificate, ctx, err);
    if (!ok)
        err_wrap(err, "certificate %s", files->name);
    SSL_CTX_free(ctx);
    certificate_fini(&certificate);
    return ok;
}
