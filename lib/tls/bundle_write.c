/* Files that appear whole, with the right mode from their first byte on. */
#include "tls/bundle_internal.h"
#include "tls/tls_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHAIN_MODE 0644
#define KEY_MODE 0600

static bool
write_all(int fd, struct sv bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = sv_from(bytes, (size_t)n);
    }
    return true;
}

static bool
sync_folder(const char *path, struct err *err)
{
    char *copy = mem_strdup(path);
    const char *folder = dirname(copy);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd != -1 && fsync(fd) == 0;

    if (!ok)
        err_sys(err, "folder %s", folder);
    if (fd != -1)
        close(fd);
    mem_free(copy);
    return ok;
}

/* mkostemp() made the file with mode 0600; owner and mode come before the
 * contents, so that at no moment somebody can read who should not. */
static bool
fill(int fd, struct sv bytes, mode_t mode,
     const struct tls_write_options *options)
{
    if (options->chown && fchown(fd, options->owner, options->group) == -1)
        return false;
    return fchmod(fd, mode) == 0 && write_all(fd, bytes) && fsync(fd) == 0;
}

/* link() refuses where a name exists already, rename() takes its place. */
static bool
give_name(const char *draft, const char *path, bool replace)
{
    if (replace)
        return rename(draft, path) == 0;
    if (link(draft, path) == -1)
        return false;
    unlink(draft);
    return true;
}

bool
tls_write_file(const char *path, struct sv bytes, mode_t mode,
               const struct tls_write_options *options, struct err *err)
{
    size_t size = strlen(path) + sizeof ".XXXXXX";
    char *draft = mem_alloc(size);
    bool ok = false;
    int fd;

    snprintf(draft, size, "%s.XXXXXX", path);
    fd = mkostemp(draft, O_CLOEXEC);
    if (fd == -1)
        err_sys(err, "new file beside %s", path);
    else if (!fill(fd, bytes, mode, options))
        err_sys(err, "write %s", draft);
    else if (!give_name(draft, path, options->replace))
        err_sys(err, "create %s", path);
    else
        ok = true;
    if (fd != -1)
        close(fd);
    if (fd != -1 && !ok)
        unlink(draft);
    mem_free(draft);
    return ok && sync_folder(path, err);
}

static bool
write_bio(BIO *bio, const char *path, mode_t mode,
          const struct tls_write_options *options, struct err *err)
{
    char *bytes = NULL;
    long n = BIO_get_mem_data(bio, &bytes);

    return tls_write_file(path, (struct sv){bytes, n > 0 ? (size_t)n : 0}, mode,
                          options, err);
}

static bool
write_chain(const struct tls_bundle *bundle, const char *path,
            const struct tls_write_options *options, struct err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok;

    if (bio == NULL)
        abort();
    for (int i = 0; i < sk_X509_num(bundle->certificates); i++)
        PEM_write_bio_X509(bio, sk_X509_value(bundle->certificates, i));
    ok = write_bio(bio, path, CHAIN_MODE, options, err);
    BIO_free(bio);
    return ok;
}

bool
tls_bundle_write_key(const struct tls_bundle *bundle, const char *path,
                     const struct tls_write_options *options, struct err *err)
{
    BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when it is freed */
    bool ok;

    if (bio == NULL)
        abort();
    ok = PEM_write_bio_PrivateKey(bio, bundle->key, NULL, NULL, 0, NULL,
                                  NULL) == 1;
    if (!ok)
        err_library(err, "private key for %s", path);
    ok = ok &&
         write_bio(bio, path,
                   options->key_mode != 0 ? options->key_mode & 0660 : KEY_MODE,
                   options, err);
    BIO_free(bio);
    return ok;
}

/* Both names are looked at before either file is written. */
static bool
names_are_free(const char *chain, const char *key,
               const struct tls_write_options *options, struct err *err)
{
    const char *taken = NULL;

    if (options->replace)
        return true;
    if (access(chain, F_OK) == 0)
        taken = chain;
    else if (key != NULL && access(key, F_OK) == 0)
        taken = key;
    if (taken == NULL)
        return true;
    err_code(err, EEXIST, "%s", taken);
    return false;
}

bool
tls_bundle_write(const struct tls_bundle *bundle, const char *chain,
                 const char *key, const struct tls_write_options *options,
                 struct err *err)
{
    assert(key == NULL || bundle->key != NULL);
    ERR_clear_error();
    return names_are_free(chain, key, options, err) &&
           (key == NULL || tls_bundle_write_key(bundle, key, options, err)) &&
           write_chain(bundle, chain, options, err);
}

/* The library wants the leaf apart from the others. */
static PKCS12 *
seal(const struct tls_bundle *bundle, const char *name, const char *password)
{
    STACK_OF(X509) *others = sk_X509_dup(bundle->certificates);
    X509 *leaf = sk_X509_shift(others);
    PKCS12 *p12 =
        PKCS12_create(password, name, bundle->key, leaf, others, 0, 0, 0, 0, 0);

    sk_X509_free(others);
    return p12;
}

bool
tls_bundle_export(const struct tls_bundle *bundle, const char *name,
                  const char *password, const char *file,
                  const struct tls_write_options *options, struct err *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    PKCS12 *p12;
    bool ok;

    assert(bundle->key != NULL && tls_bundle_count(bundle) > 0);
    if (bio == NULL)
        abort();
    ERR_clear_error();
    p12 = seal(bundle, name, password);
    ok = p12 != NULL && i2d_PKCS12_bio(bio, p12) == 1;
    if (!ok)
        err_library(err, "PKCS#12 of %s", name);
    ok = ok && write_bio(bio, file, KEY_MODE, options, err);
    PKCS12_free(p12);
    BIO_free(bio);
    return ok;
}
