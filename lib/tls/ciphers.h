/* tls/ciphers.h - which cipher suites a profile gives, and what each is worth.
 *
 * The answer comes from the library itself, from a context made as for a
 * connection: versions, strength, list and security level have all had their
 * say, so what is shown is what is offered and accepted, in that order.  The
 * suites of TLS 1.3 stand first.
 *
 * Suites without encryption, without authentication of the server, and of
 * export strength are never used.  A list that names them is refused; a word
 * that stands for many (ALL) loses them silently, and tls_ciphers_removed()
 * tells which. */
#ifndef TLS_CIPHERS_H
#define TLS_CIPHERS_H
#include "base/err.h"
#include "tls/context.h"

/* Bits of tls_cipher.flaws.  One list: enum, name in JSON, sentence. */
#define TLS_CIPHER_FLAWS(X)                                                    \
    X(CIPHER_NULL, "null", "does not encrypt")                                 \
    X(CIPHER_ANONYMOUS, "anonymous", "anybody can pretend to be the server")   \
    X(CIPHER_EXPORT, "export", "broken on purpose for export")                 \
    X(CIPHER_SHORT, "short-key", "fewer than 112 secret bits")                 \
    X(CIPHER_RC4, "rc4", "RC4 leaks its plaintext (RFC 7465)")                 \
    X(CIPHER_SMALL_BLOCK, "small-block",                                       \
      "64-bit blocks: long connections leak (SWEET32)")                        \
    X(CIPHER_MD5, "md5", "MD5 authenticates the records")                      \
    X(CIPHER_STATIC, "no-forward-secrecy",                                     \
      "who gets the key later reads what was recorded before")                 \
    X(CIPHER_CBC_SHA1, "cbc-sha1", "CBC with SHA-1, only for old peers")       \
    X(CIPHER_SHORT_TAG, "short-tag", "authentication tag of 64 bits only")

#define AS_FLAW_INDEX(flaw, name, text) flaw##_INDEX,
enum tls_cipher_flaw_index {
    TLS_CIPHER_FLAWS(AS_FLAW_INDEX) TLS_CIPHER_FLAW_COUNT
};
#undef AS_FLAW_INDEX
#define AS_FLAW_BIT(flaw, name, text) flaw = 1 << flaw##_INDEX,
enum tls_cipher_flaw { TLS_CIPHER_FLAWS(AS_FLAW_BIT) };
#undef AS_FLAW_BIT
#define CIPHER_NEVER (CIPHER_NULL | CIPHER_ANONYMOUS | CIPHER_EXPORT)

const char *tls_cipher_flaw_name(enum tls_cipher_flaw_index flaw);
const char *tls_cipher_flaw_text(enum tls_cipher_flaw_index flaw);

/* All texts are constants of the process. */
struct tls_cipher {
    const char *name;           /* "ECDHE-RSA-AES256-GCM-SHA384" */
    const char *standard_name;  /* "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" */
    const char *since;          /* oldest version that has it: "TLSv1.2" */
    const char *key_exchange;   /* "ECDHE", "DHE", "RSA", "any" */
    const char *authentication; /* "RSA", "ECDSA", "any", "none" */
    const char *encryption;     /* "AES-256-GCM" */
    const char *mac;            /* "AEAD", "SHA1" */
    int bits;                   /* secret bits */
    unsigned flaws;             /* enum tls_cipher_flaw */
};

struct tls_cipher_list {
    struct tls_cipher *items; /* owned */
    size_t count;
};
void tls_cipher_list_fini(struct tls_cipher_list *list);

/* The suites of the profile, in the order in which we prefer them.  False when
 * a connection could not be made with the profile either; err says why. */
MUST_USE bool tls_ciphers_list(const struct tls_profile *profile,
                               struct tls_cipher_list *list, struct err *err);
/* What the raw list of the profile would add, were it not forbidden. */
void tls_ciphers_removed(const struct tls_profile *profile,
                         struct tls_cipher_list *list);

/* Every element of an OpenSSL list is known and none names only forbidden
 * suites that are not taken out again; else err names the element, the suites
 * and what would be right.  "" is fine. */
MUST_USE bool tls_ciphers_check(const char *list, struct err *err);
#endif
