/* Whom we trust: stores of certificate authorities, in memory.
 *
 * OpenSSL's default paths name a folder, and OpenSSL 3 lists that folder at
 * every verification: system calls of half a millisecond in the middle of the
 * event loop.  So the system's bundle is read once per process and shared by
 * all contexts; the next context after a change of the file reads it anew. */
#include "tls/tls_internal.h"
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <sys/stat.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static X509_STORE *system_store; /* owned; NULL: not read yet */
static struct file_stamp system_stamp;

/* Where the systems we know keep all authorities in one file; the first that
 * exists.  SSL_CERT_FILE goes before, as in every program that uses OpenSSL. */
static const char *
system_file(void)
{
    static const char *const usual[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
        "/etc/ssl/cert.pem",                  /* BSD */
    };
    const char *named = getenv(X509_get_default_cert_file_env());
    struct stat st;

    if (named != NULL && *named != '\0')
        return named;
    if (stat(X509_get_default_cert_file(), &st) == 0)
        return X509_get_default_cert_file();
    for (size_t i = 0; i < COUNT_OF(usual); i++) {
        if (stat(usual[i], &st) == 0)
            return usual[i];
    }
    return NULL;
}

static const char *
system_folder(void)
{
    const char *named = getenv(X509_get_default_cert_dir_env());

    return named != NULL && *named != '\0' ? named
                                           : X509_get_default_cert_dir();
}

/* For systems without a bundle: every file of the folder, once. */
static void
load_folder(X509_STORE *store, const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[4096];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' &&
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) <
                (int)sizeof path)
            X509_STORE_load_file(store, path); /* what is none is skipped */
    }
    if (dir != NULL)
        closedir(dir);
    ERR_clear_error();
}

static X509_STORE *
store_new(void)
{
    X509_STORE *store = X509_STORE_new();

    if (store == NULL)
        abort(); /* out of memory, as everywhere */
    return store;
}

/* A machine without authorities can still receive mail and send it where
 * nobody must be authenticated: an empty store is no error, it trusts nobody.
 */
static X509_STORE *
read_system(const char *file)
{
    X509_STORE *store = store_new();

    if (file == NULL || X509_STORE_load_file(store, file) != 1)
        load_folder(store, system_folder());
    ERR_clear_error();
    return store;
}

static bool
is_current(const char *path)
{
    return system_store != NULL && strcmp(system_stamp.path, path) == 0 &&
           !stamp_changed(&system_stamp);
}

/* A reference of the caller's. */
static X509_STORE *
share_system(void)
{
    const char *file = system_file();
    const char *path = file != NULL ? file : system_folder();
    X509_STORE *store;

    pthread_mutex_lock(&lock);
    if (!is_current(path)) {
        X509_STORE_free(system_store);
        stamp_fini(&system_stamp);
        stamp_init(&system_stamp, path);
        system_store = read_system(file);
    }
    store = system_store;
    X509_STORE_up_ref(store);
    pthread_mutex_unlock(&lock);
    return store;
}

size_t
tls_trust_system_size(void)
{
    X509_STORE *store = share_system();
    int n = sk_X509_OBJECT_num(X509_STORE_get0_objects(store));

    X509_STORE_free(store);
    return n > 0 ? (size_t)n : 0;
}

/* The store is never written to after it was made, so no lock is needed. */
static void
copy_system(X509_STORE *to)
{
    X509_STORE *from = share_system();
    const STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(from);

    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *x509 = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (x509 != NULL)
            X509_STORE_add_cert(to, x509);
    }
    X509_STORE_free(from);
}

static bool
load_crls(X509_STORE *store, const char *file, struct err *err)
{
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

    if (lookup == NULL)
        abort();
    ERR_clear_error();
    if (X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) > 0)
        return true;
    ERR_clear_error();
    if (X509_load_crl_file(lookup, file, X509_FILETYPE_ASN1) > 0)
        return true;
    err_library(err, "revocation list %s must be a CRL in PEM or DER", file);
    return false;
}

static bool
load_own(X509_STORE *store, const struct tls_trust *trust, struct err *err)
{
    for (size_t i = 0; i < trust->file_count; i++) {
        ERR_clear_error();
        if (X509_STORE_load_file(store, trust->files[i]) == 1)
            continue;
        err_library(err, "trusted certificates in %s", trust->files[i]);
        return false;
    }
    for (size_t i = 0; i < trust->crl_count; i++) {
        if (!load_crls(store, trust->crls[i], err))
            return false;
    }
    /* Somebody who lists an intermediate or the very certificate of a partner
     * means that one, not its root. */
    if (trust->file_count > 0)
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (trust->crl_count > 0)
        X509_STORE_set_flags(store,
                             X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return true;
}

static bool
is_plain_system(const struct tls_trust *trust)
{
    return trust == NULL ||
           (trust->system && trust->file_count == 0 && trust->crl_count == 0);
}

X509_STORE *
trust_store(const struct tls_trust *trust, struct err *err)
{
    X509_STORE *store;

    if (is_plain_system(trust))
        return share_system();
    store = store_new();
    if (trust->system)
        copy_system(store);
    if (!load_own(store, trust, err)) {
        X509_STORE_free(store);
        store = NULL;
    }
    ERR_clear_error();
    return store;
}

X509_STORE *
tls_trust_store(const struct tls_trust *trust, struct err *err)
{
    return trust_store(trust, err);
}

/* The authorities that a server names to its clients.  Those of the system are
 * left out: the list would be 15 KB in every handshake and say nothing. */
bool
trust_name_authorities(const struct tls_trust *trust, SSL_CTX *ctx,
                       struct err *err)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    size_t own = trust == NULL || trust->system ? 0 : trust->file_count;

    if (names == NULL)
        abort();
    for (size_t i = 0; i < own; i++) {
        ERR_clear_error();
        if (SSL_add_file_cert_subjects_to_stack(names, trust->files[i]) == 1)
            continue;
        err_library(err, "names of the authorities in %s", trust->files[i]);
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return false;
    }
    SSL_CTX_set_client_CA_list(ctx, names); /* takes it over */
    return true;
}
