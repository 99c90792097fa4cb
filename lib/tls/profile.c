#include "tls/ciphers.h"
#include "tls/tls_internal.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>

static const struct version {
    unsigned bit;
    int number;
    uint64_t off; /* the option that leaves it out */
    const char *name;
} versions[] = {
    {TLS_BIT_TLS10, TLS1_VERSION, SSL_OP_NO_TLSv1, "TLSv1.0"},
    {TLS_BIT_TLS11, TLS1_1_VERSION, SSL_OP_NO_TLSv1_1, "TLSv1.1"},
    {TLS_BIT_TLS12, TLS1_2_VERSION, SSL_OP_NO_TLSv1_2, "TLSv1.2"},
    {TLS_BIT_TLS13, TLS1_3_VERSION, SSL_OP_NO_TLSv1_3, "TLSv1.3"},
};

/* Strength is a minimum: every list begins with what the stronger one has.
 * Forward secrecy and AEAD come first, longer keys before shorter. */
#define LIST_HIGH                                                              \
    "ECDHE+AESGCM+AES256:ECDHE+CHACHA20:ECDHE+AESGCM:DHE+AESGCM+AES256:"       \
    "DHE+CHACHA20:DHE+AESGCM:ECDHE+AES256:DHE+AES256:-AESCCM8:!aDSS"
#define LIST_MEDIUM                                                            \
    LIST_HIGH ":ECDHE+AES:DHE+AES:RSA+AESGCM+AES256:RSA+AESGCM:RSA+AES256:"    \
              "RSA+AES:-AESCCM8"
#define LIST_LOW LIST_MEDIUM ":HIGH:MEDIUM:LOW:ALL"
/* Behind every list, the administrator's too: no suite without encryption or
 * without a certificate, none of export strength. */
#define LIST_NEVER ":!aNULL:!eNULL:!EXPORT:!PSK:!SRP"

/* Not const: the library hands a row on through a plain pointer. */
static struct strength {
    const char *ciphers;
    int level;    /* of OpenSSL: which digests and ciphers at all */
    int key_bits; /* least security of keys, in bits: RSA of 1024 is worth 80,
                   * of 2048 112 (NIST SP 800-57) */
    int chain_level; /* of OpenSSL, for the keys of a peer's chain */
} strengths[] = {
    [TLS_HIGH] = {LIST_HIGH, 2, 112, 2},
    [TLS_MEDIUM] = {LIST_MEDIUM, 1, 80, 1},
    [TLS_LOW] = {LIST_LOW, 0, 80, 1},
};

/* What the library reckons SHA-1, and MD5 with SHA-1, to be worth is 63 and 67
 * bits; bare MD5 stays out. */
#define SHA1_SIGNATURE_BITS 60

#define SUITES13                                                               \
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"                     \
    "TLS_AES_128_GCM_SHA256"

/* The library's own judge of keys, digests and versions. */
static int (*usual_security)(const SSL *, const SSL_CTX *, int, int, int,
                             void *, void *);

static void
find_usual_security(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    if (ctx == NULL)
        abort();
    usual_security = SSL_CTX_get_security_callback(ctx);
    SSL_CTX_free(ctx);
}

static bool
is_about_key(int op)
{
    return op == SSL_SECOP_TMP_DH || op == SSL_SECOP_EE_KEY ||
           op == SSL_SECOP_CA_KEY;
}

/* Level 0, which "low" needs for its ciphers, would let in toy keys. */
static int
hold_key_floor(const SSL *ssl, const SSL_CTX *ctx, int op, int bits, int nid,
               void *other, void *arg)
{
    const struct strength *strength = arg;

    if (is_about_key(op & ~SSL_SECOP_PEER) && bits < strength->key_bits)
        return 0;
    return usual_security(ssl, ctx, op, bits, nid, other, NULL);
}

/* TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL 3 allows at security level 0
 * only.  So where an old version is switched on, just its two obstacles are
 * removed and the level stays. */
static int
allow_old_versions(const SSL *ssl, const SSL_CTX *ctx, int op, int bits,
                   int nid, void *other, void *arg)
{
    if (op == SSL_SECOP_VERSION)
        return 1;
    if ((op == SSL_SECOP_SIGALG_SUPPORTED || op == SSL_SECOP_SIGALG_SHARED ||
         op == SSL_SECOP_SIGALG_CHECK) &&
        bits >= SHA1_SIGNATURE_BITS)
        return 1;
    return hold_key_floor(ssl, ctx, op, bits, nid, other, arg);
}

static bool
refuse_absent(unsigned bits, struct err *err)
{
    if (!(bits & (TLS_BIT_SSL2 | TLS_BIT_SSL3)))
        return true;
    err_set(err,
            "%s is not in this TLS library (%s): it can only be switched off",
            bits & TLS_BIT_SSL2 ? "SSLv2" : "SSLv3",
            OpenSSL_version(OPENSSL_VERSION));
    return false;
}

static bool
apply_versions(unsigned bits, SSL_CTX *ctx, struct err *err)
{
    int lowest = 0, highest = 0;

    if (!refuse_absent(bits, err))
        return false;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        if (!(bits & versions[i].bit)) {
            SSL_CTX_set_options(ctx, versions[i].off);
            continue;
        }
        SSL_CTX_clear_options(ctx, versions[i].off);
        if (lowest == 0)
            lowest = versions[i].number;
        highest = versions[i].number;
    }
    if (lowest == 0) {
        err_set(err, "no TLS version is switched on");
        return false;
    }
    if (SSL_CTX_set_min_proto_version(ctx, lowest) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, highest) != 1) {
        err_library(err, "TLS versions");
        return false;
    }
    return true;
}

/* TLS 1.3 suites have a list of their own in OpenSSL; administrators write one.
 * Moves the names of such suites from list to suites; both are at least as
 * large as the text. */
static void
split_list(struct sv text, char *list, char *suites)
{
    size_t list_length = 0, suites_length = 0;

    while (text.n > 0) {
        size_t n = 0;
        struct sv word;
        char *dst;
        size_t *length;

        while (n < text.n && strchr(": ,;", text.p[n]) == NULL)
            n++;
        word = sv_slice(text, 0, n);
        text = sv_from(text, n + 1);
        if (word.n == 0)
            continue;
        dst = sv_starts_nocase(word, SV("TLS_")) ? suites : list;
        length = dst == suites ? &suites_length : &list_length;
        if (*length > 0)
            dst[(*length)++] = ':';
        memcpy(dst + *length, word.p, word.n);
        *length += word.n;
    }
    list[list_length] = '\0';
    suites[suites_length] = '\0';
}

static bool
set_suites13(SSL_CTX *ctx, const char *suites, struct err *err)
{
    if (SSL_CTX_set_ciphersuites(ctx, suites) == 1)
        return true;
    err_library(err, "TLS 1.3 cipher suites \"%s\"", suites);
    return false;
}

static bool
set_list(SSL_CTX *ctx, const char *list, struct err *err)
{
    size_t size = strlen(list) + sizeof LIST_NEVER;
    char *whole = mem_alloc(size);
    bool ok;

    snprintf(whole, size, "%s%s", list, LIST_NEVER);
    ok = SSL_CTX_set_cipher_list(ctx, whole) == 1;
    if (!ok)
        err_library(err, "ciphers \"%s\"", list);
    mem_free(whole);
    return ok;
}

static bool
is_set(const char *text)
{
    return text != NULL && *text != '\0';
}

/* What the profile says of TLS 1.3; suites: what was found in its list. */
static bool
apply_suites13(const struct tls_profile *profile, const char *suites,
               SSL_CTX *ctx, struct err *err)
{
    if (!is_set(profile->suites))
        return set_suites13(ctx, is_set(suites) ? suites : SUITES13, err);
    return tls_ciphers_check(profile->suites, err) &&
           set_suites13(ctx, profile->suites, err);
}

static bool
apply_own_ciphers(const struct tls_profile *profile, SSL_CTX *ctx,
                  struct err *err)
{
    struct sv text = sv_of(profile->ciphers);
    char *list = mem_alloc(text.n + 1), *suites = mem_alloc(text.n + 1);
    bool ok;

    split_list(text, list, suites);
    /* Only suites of TLS 1.3: nothing is left for the versions before. */
    if (*list == '\0' && profile->versions & ~(unsigned)TLS_BIT_TLS13) {
        err_set(err,
                "ciphers \"%s\" hold nothing for versions below TLS 1.3, "
                "which are switched on",
                profile->ciphers);
        ok = false;
    } else {
        ok = tls_ciphers_check(profile->ciphers, err) &&
             (*list == '\0' || set_list(ctx, list, err)) &&
             apply_suites13(profile, suites, ctx, err);
    }
    mem_free(list);
    mem_free(suites);
    return ok;
}

/* The library hands the last argument on as it is. */
static void
apply_security(const struct tls_profile *profile, SSL_CTX *ctx)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct strength *strength = &strengths[profile->strength];
    bool old = profile->versions & (TLS_BIT_TLS10 | TLS_BIT_TLS11);

    pthread_once(&once, find_usual_security);
    SSL_CTX_set_security_level(ctx, strength->level);
    X509_VERIFY_PARAM_set_auth_level(SSL_CTX_get0_param(ctx),
                                     strength->chain_level);
    SSL_CTX_set_security_callback(ctx,
                                  old ? allow_old_versions : hold_key_floor);
    SSL_CTX_set0_security_ex_data(ctx, strength);
}

static bool
apply_ciphers(const struct tls_profile *profile, SSL_CTX *ctx, struct err *err)
{
    int level = strengths[profile->strength].level;
    bool ok;

    if (is_set(profile->ciphers))
        ok = apply_own_ciphers(profile, ctx, err);
    else
        ok = set_list(ctx, strengths[profile->strength].ciphers, err) &&
             apply_suites13(profile, NULL, ctx, err);
    /* "@SECLEVEL=0" in a list must not lower it. */
    if (SSL_CTX_get_security_level(ctx) < level)
        SSL_CTX_set_security_level(ctx, level);
    return ok;
}

static bool
apply_groups(const char *groups, SSL_CTX *ctx, struct err *err)
{
    char *list; /* the library's macro wants to be able to write */
    bool ok;

    if (groups == NULL || *groups == '\0')
        return true;
    list = mem_strdup(groups);
    ok = SSL_CTX_set1_groups_list(ctx, list) == 1;
    mem_free(list);
    if (ok)
        return true;
    err_library(err, "groups \"%s\"", groups);
    return false;
}

void
profile_offer_across_holes(const struct tls_profile *profile, SSL_CTX *ctx)
{
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        bool below = (profile->versions & (versions[i].bit - 1)) != 0;
        bool above = (profile->versions & ~(versions[i].bit * 2 - 1)) != 0;

        if (below && above)
            SSL_CTX_clear_options(ctx, versions[i].off);
    }
}

bool
profile_has_version(unsigned bits, int number)
{
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        if (versions[i].number == number)
            return (bits & versions[i].bit) != 0;
    }
    return false;
}

bool
profile_apply(const struct tls_profile *profile, SSL_CTX *ctx, struct err *err)
{
    ERR_clear_error();
    SSL_CTX_set_options(
        ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                 /* SMTP frames itself: an end without close_notify is an end,
                  * and must not spoil the session for resumption. */
                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (profile->preference == TLS_PREFER_SERVER)
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    /* The chain file is the chain: nothing is looked for at a handshake. */
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS |
                              SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 0);
    assert((unsigned)profile->strength < COUNT_OF(strengths));
    apply_security(profile, ctx);
    return apply_versions(profile->versions, ctx, err) &&
           apply_ciphers(profile, ctx, err) &&
           apply_groups(profile->groups, ctx, err);
}
