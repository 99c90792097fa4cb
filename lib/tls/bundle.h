/* tls/bundle.h - a certificate, its chain and its key on their way from one
 * file format to another.
 *
 * A bundle is filled from any number of files (PEM, DER, PKCS#7, PKCS#12, in
 * any order), then settled: the certificate that belongs to the key comes
 * first, each other is the issuer of the one before it.  It is written as the
 * two PEM files that a configuration names, or as PKCS#12.
 *
 * Private keys leave a bundle only into files that from their first byte on
 * nobody else can read.  They are wiped from memory afterwards. */
#ifndef TLS_BUNDLE_H
#define TLS_BUNDLE_H
#include "base/err.h"
#include "base/sv.h"
#include "tls/describe.h"
#include <sys/types.h>

struct buf;
struct tls_bundle;

enum {
    TLS_BUNDLE_BYTES = 1 << 20, /* of one file that is read */
    TLS_BUNDLE_CERTIFICATES = 100,
    TLS_PASSWORD_MAX = 512,
};

struct tls_bundle *tls_bundle_new(void);
void tls_bundle_free(struct tls_bundle *bundle); /* NULL is fine */

/* Asked only when something is encrypted.  Writes a NUL-terminated password of
 * at most size - 1 bytes; false: there is none. */
typedef bool tls_ask_password(void *arg, const char *file, char *dst,
                              size_t size);

/* Adds what the bytes hold; file is its name in errors.  ask may be NULL. */
MUST_USE bool tls_bundle_read(struct tls_bundle *bundle, struct sv bytes,
                              const char *file, tls_ask_password *ask,
                              void *arg, struct err *err);
MUST_USE bool tls_bundle_read_file(struct tls_bundle *bundle, const char *file,
                                   tls_ask_password *ask, void *arg,
                                   struct err *err);

/* Puts the certificate of the key first (without a key: the one that issued
 * none of the others), its issuers behind it, and drops the rest.  False: no
 * certificate, more than one key, or a key that belongs to none of them. */
MUST_USE bool tls_bundle_settle(struct tls_bundle *bundle, struct err *err);

size_t tls_bundle_count(const struct tls_bundle *bundle); /* certificates */
bool tls_bundle_has_key(const struct tls_bundle *bundle);
size_t tls_bundle_dropped(const struct tls_bundle *bundle); /* by settle */
/* Of certificate i; the caller frees. */
struct tls_certificate_facts *
tls_bundle_describe(const struct tls_bundle *bundle, size_t i);

/* How files are made.  Each appears whole or not at all, under its final mode:
 * chains 0644, keys 0600. */
struct tls_write_options {
    bool replace; /* an existing file; false: that is an error */
    bool chown;   /* give the file to owner and group */
    uid_t owner;
    gid_t group;
    mode_t key_mode; /* of keys instead of 0600; others never get a bit */
};
/* Chain and key, as tls/context.h wants them; key may be NULL: only the chain.
 * The key is put in place first, so a reload between the two refuses the pair
 * and stays with what it has. */
MUST_USE bool tls_bundle_write(const struct tls_bundle *bundle,
                               const char *chain, const char *key,
                               const struct tls_write_options *options,
                               struct err *err);
/* The key alone, while its certificate is still to come. */
MUST_USE bool tls_bundle_write_key(const struct tls_bundle *bundle,
                                   const char *key,
                                   const struct tls_write_options *options,
                                   struct err *err);
/* PKCS#12 with AES-256, mode 0600; name is shown by programs that import it. */
MUST_USE bool tls_bundle_export(const struct tls_bundle *bundle,
                                const char *name, const char *password,
                                const char *file,
                                const struct tls_write_options *options,
                                struct err *err);

/* What a new key and certificate shall be. */
struct tls_create_options {
    const char *key_type;     /* one of tls_key_types */
    const char *const *names; /* host names and addresses; the first also is
                               * the common name */
    size_t name_count;
    const char *subject; /* more of the subject, "O=Example,C=NL"; or "" */
    int days;            /* of validity, self-signed ones only */
};
extern const char *const tls_key_types[]; /* "ec256", …; ends with NULL */

/* Adds a new key. */
MUST_USE bool tls_bundle_create_key(struct tls_bundle *bundle,
                                    const char *key_type, struct err *err);
/* Adds a certificate for the bundle's key, signed with it. */
MUST_USE bool tls_bundle_self_sign(struct tls_bundle *bundle,
                                   const struct tls_create_options *options,
                                   struct err *err);
/* Appends the request for a certificate of the bundle's key (PEM). */
MUST_USE bool tls_bundle_request(const struct tls_bundle *bundle,
                                 const struct tls_create_options *options,
                                 struct buf *pem, struct err *err);

/* Writes bytes as a new file or in place of the old one, at once and durably;
 * until it has its name it is readable by its owner only. */
MUST_USE bool tls_write_file(const char *path, struct sv bytes, mode_t mode,
                             const struct tls_write_options *options,
                             struct err *err);
#endif
