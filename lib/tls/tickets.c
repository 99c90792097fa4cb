/* Keys of the session tickets (RFC 5077, RFC 8446 section 4.6.1).  One set for
 * the whole process: all loops and all contexts accept each other's tickets as
 * far as the session id context allows, and a reload does not throw them away.
 * The keys live in memory only and are wiped when they are replaced. */
#include "base/random.h"
#include "tls/tls_internal.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

#define TICKET_KEYS 3 /* the one in use and the two before */

struct ticket_key {
    unsigned char name[16]; /* what a ticket begins with */
    unsigned char aes[32];
    unsigned char hmac[32];
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct ticket_key keys[TICKET_KEYS]; /* [0] makes new tickets */
static size_t key_count;

static void
add_key(void)
{
    OPENSSL_cleanse(&keys[TICKET_KEYS - 1], sizeof keys[0]);
    memmove(&keys[1], &keys[0], sizeof keys - sizeof keys[0]);
    random_fill(&keys[0], sizeof keys[0]);
    if (key_count < TICKET_KEYS)
        key_count++;
}

void
tls_ticket_keys_rotate(void)
{
    pthread_rwlock_wrlock(&lock);
    add_key();
    pthread_rwlock_unlock(&lock);
}

static EVP_CIPHER *aes; /* fetched once: the lookup by name takes a lock */

static void
make_first_key(void)
{
    pthread_rwlock_wrlock(&lock);
    if (key_count == 0) {
        aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
        if (aes == NULL)
            abort(); /* tls_init() has seen it work */
        add_key();
    }
    pthread_rwlock_unlock(&lock);
}

/* The age of the key with this name, -1: none. */
static int
find_key(const unsigned char *name, struct ticket_key *key)
{
    int age = -1;

    pthread_rwlock_rdlock(&lock);
    for (size_t i = 0; i < key_count && age == -1; i++) {
        if (name == NULL ||
            CRYPTO_memcmp(keys[i].name, name, sizeof keys[i].name) == 0) {
            *key = keys[i];
            age = (int)i;
        }
    }
    pthread_rwlock_unlock(&lock);
    return age;
}

static bool
set_up(const struct ticket_key *key, const unsigned char *iv,
       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    char digest[] = "SHA256";
    unsigned char hmac[sizeof key->hmac];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, hmac,
                                          sizeof hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    bool ok;

    memcpy(hmac, key->hmac, sizeof hmac);
    ok = EVP_MAC_CTX_set_params(mac, params) == 1 &&
         EVP_CipherInit_ex(cipher, aes, NULL, key->aes, iv, encrypt) == 1;
    OPENSSL_cleanse(hmac, sizeof hmac);
    return ok;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 good, 2 good but make a new one,
 * 0 no ticket, -1 error.  A client of TLS 1.3 uses a ticket once, so it gets a
 * new one each time. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv,
          EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    struct ticket_key key;
    int age, result;

    age = find_key(encrypt ? NULL : name, &key);
    if (age == -1)
        return 0;
    if (encrypt) {
        memcpy(name, key.name, sizeof key.name);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) != 1)
            return -1;
    }
    result = age > 0 || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
    if (!set_up(&key, iv, cipher, mac, encrypt))
        result = -1;
    else if (encrypt)
        result = 1;
    OPENSSL_cleanse(&key, sizeof key);
    return result;
}

void
tickets_use(SSL_CTX *ctx)
{
    make_first_key();
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}
