/* Keys: files, generation, DNS records. */
#include "dkim/key_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

void
dkim_openssl_error(struct err *err, const char *text)
{
    unsigned long code = ERR_peek_last_error();
    char reason[200];

    ERR_error_string_n(code, reason, sizeof reason);
    err_set(err, "%s: %s", text,
            code == 0 ? "no reason given"
                      : (ERR_reason_error_string(code) != NULL
                             ? ERR_reason_error_string(code)
                             : reason));
    ERR_clear_error();
}

void
dkim_base64(const unsigned char *bytes, size_t n, struct buf *out)
{
    char *room = buf_reserve(out, (n + 2) / 3 * 4 + 1);
    int length = EVP_EncodeBlock((unsigned char *)room, bytes, (int)n);

    buf_grew(out, (size_t)length);
}

/* --- Reading -------------------------------------------------------------- */

/* Takes over pkey, also when it is refused. */
static struct dkim_key *
key_of(EVP_PKEY *pkey, struct err *err)
{
    struct dkim_key *key;
    int type = EVP_PKEY_get_base_id(pkey);

    if (type != EVP_PKEY_RSA && type != EVP_PKEY_ED25519) {
        err_set(err, "the key is neither RSA nor Ed25519");
        EVP_PKEY_free(pkey);
        return NULL;
    }
    if (type == EVP_PKEY_RSA && EVP_PKEY_get_bits(pkey) < DKIM_RSA_BITS_MIN) {
        err_set(err, "the RSA key has %d bits, the least is %d",
                EVP_PKEY_get_bits(pkey), DKIM_RSA_BITS_MIN);
        EVP_PKEY_free(pkey);
        return NULL;
    }
    key = mem_alloc(sizeof *key);
    key->pkey = pkey;
    key->algorithm = type == EVP_PKEY_RSA ? DKIM_RSA : DKIM_ED25519;
    return key;
}

/* A key that asks for a password would wait for one at a terminal. */
static int
no_password(char *room, int size, int writing, void *arg)
{
    (void)room;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static struct dkim_key *
read_key(FILE *file, struct err *err)
{
    EVP_PKEY *pkey;

    ERR_clear_error();
    pkey = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    if (pkey != NULL)
        return key_of(pkey, err);
    dkim_openssl_error(err, "no private key in PEM");
    return NULL;
}

static bool
is_private(FILE *file, struct err *err)
{
    struct stat st;

    if (fstat(fileno(file), &st) == -1) {
        err_sys(err, "look at it");
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        err_set(err, "it is not a file");
        return false;
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) == 0)
        return true;
    err_set(err, "group or others have rights to it (mode %03o); make it 0600",
            (unsigned)(st.st_mode & 0777));
    return false;
}

struct dkim_key *
dkim_key_load(const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    struct dkim_key *key = NULL;

    if (file == NULL)
        err_sys(err, "open it");
    else if (is_private(file, err))
        key = read_key(file, err);
    if (file != NULL)
        fclose(file);
    if (key == NULL)
        err_wrap(err, "DKIM key %s", path);
    return key;
}

/* --- Making --------------------------------------------------------------- */

struct dkim_key *
dkim_key_generate(enum dkim_algorithm algorithm, struct err *err)
{
    EVP_PKEY *pkey = algorithm == DKIM_RSA
                         ? EVP_RSA_gen(DKIM_RSA_BITS)
                         : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (pkey != NULL)
        return key_of(pkey, err);
    dkim_openssl_error(err, "make a key");
    return NULL;
}

void
dkim_key_free(struct dkim_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    mem_free(key);
}

enum dkim_algorithm
dkim_key_algorithm(const struct dkim_key *key)
{
    return key->algorithm;
}

static bool
write_pem(const struct dkim_key *key, int fd, struct err *err)
{
    FILE *file = fdopen(fd, "w");
    bool ok;

    if (file == NULL) {
        err_sys(err, "open it");
        close(fd);
        return false;
    }
    ok = PEM_write_PKCS8PrivateKey(file, key->pkey, NULL, NULL, 0, NULL,
                                   NULL) == 1 &&
         fflush(file) == 0 && fsync(fd) == 0;
    if (!ok)
        err_sys(err, "write it");
    fclose(file);
    return ok;
}

bool
dkim_key_write(const struct dkim_key *key, const char *path, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = false;

    if (fd == -1)
        err_sys(err, "make it");
    else if (!(ok = write_pem(key, fd, err)))
        unlink(path);
    if (!ok)
        err_wrap(err, "DKIM key %s", path);
    return ok;
}

/* --- DNS ------------------------------------------------------------------ */

/* RSA: SubjectPublicKeyInfo (RFC 6376 section 3.6.1); Ed25519: the 32 bytes
 * alone (RFC 8463 section 4). */
static void
add_public_key(const struct dkim_key *key, struct buf *out)
{
    unsigned char raw[32], *der = NULL;
    size_t n = sizeof raw;
    int length;

    if (key->algorithm == DKIM_ED25519) {
        int got = EVP_PKEY_get_raw_public_key(key->pkey, raw, &n);

        assert(got == 1);
        dkim_base64(raw, n, out);
        return;
    }
    length = i2d_PUBKEY(key->pkey, &der);
    assert(length > 0);
    dkim_base64(der, (size_t)length, out);
    OPENSSL_free(der);
}

void
dkim_record_text(const struct dkim_key *key, const char *service,
                 struct buf *out)
{
    buf_printf(out, "v=DKIM1; k=%s; ",
               key->algorithm == DKIM_RSA ? "rsa" : "ed25519");
    if (service != NULL)
        buf_printf(out, "s=%s; ", service);
    buf_add_str(out, "p=");
    add_public_key(key, out);
}

void
dkim_record_zone(const struct dkim_key *key, const char *domain,
                 const char *selector, const char *service, struct buf *out)
{
    enum { STRING_MAX = 250 };
    struct buf text = {0};
    struct sv rest;

    dkim_record_text(key, service, &text);
    rest = buf_view(&text);
    buf_printf(out, "%s._domainkey.%s. IN TXT (", selector, domain);
    while (rest.n > 0) {
        struct sv piece = sv_slice(rest, 0, STRING_MAX);

        buf_printf(out, " \"%.*s\"", SV_ARG(piece));
        rest = sv_from(rest, piece.n);
    }
    buf_add_str(out, " )\n");
    buf_fini(&text);
}
