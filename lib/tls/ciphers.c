#include "tls/ciphers.h"
#include "base/buf.h"
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/objects.h>

#define SHORT_BITS 112 /* NIST SP 800-57: what counts as secure at all */
#define SEPARATORS ":, ;"

#define AS_FLAW_ROW(flaw, name, text) {name, text},
static const struct {
    const char *name, *text;
} flaws[TLS_CIPHER_FLAW_COUNT] = {TLS_CIPHER_FLAWS(AS_FLAW_ROW)};

const char *
tls_cipher_flaw_name(enum tls_cipher_flaw_index flaw)
{
    assert((unsigned)flaw < TLS_CIPHER_FLAW_COUNT);
    return flaws[flaw].name;
}

const char *
tls_cipher_flaw_text(enum tls_cipher_flaw_index flaw)
{
    assert((unsigned)flaw < TLS_CIPHER_FLAW_COUNT);
    return flaws[flaw].text;
}

void
tls_cipher_list_fini(struct tls_cipher_list *list)
{
    mem_free(list->items);
    *list = (struct tls_cipher_list){0};
}

/* One suite --------------------------------------------------------------- */

struct word {
    int nid;
    const char *text;
};

static const struct word key_exchanges[] = {
    {NID_kx_rsa, "RSA"},         {NID_kx_ecdhe, "ECDHE"},
    {NID_kx_dhe, "DHE"},         {NID_kx_any, "any"},
    {NID_kx_psk, "PSK"},         {NID_kx_ecdhe_psk, "ECDHE-PSK"},
    {NID_kx_dhe_psk, "DHE-PSK"}, {NID_kx_rsa_psk, "RSA-PSK"},
    {NID_kx_srp, "SRP"},         {NID_undef, "other"},
};
static const struct word authentications[] = {
    {NID_auth_rsa, "RSA"}, {NID_auth_ecdsa, "ECDSA"}, {NID_auth_dss, "DSS"},
    {NID_auth_any, "any"}, {NID_auth_null, "none"},   {NID_auth_psk, "PSK"},
    {NID_auth_srp, "SRP"}, {NID_undef, "other"},
};
static const struct word encryptions[] = {
    {NID_aes_256_gcm, "AES-256-GCM"},
    {NID_aes_128_gcm, "AES-128-GCM"},
    {NID_chacha20_poly1305, "CHACHA20-POLY1305"},
    {NID_aes_256_ccm, "AES-256-CCM"},
    {NID_aes_128_ccm, "AES-128-CCM"},
    {NID_aes_256_cbc, "AES-256-CBC"},
    {NID_aes_128_cbc, "AES-128-CBC"},
    {NID_camellia_256_cbc, "CAMELLIA-256-CBC"},
    {NID_camellia_128_cbc, "CAMELLIA-128-CBC"},
    {NID_aria_256_gcm, "ARIA-256-GCM"},
    {NID_aria_128_gcm, "ARIA-128-GCM"},
    {NID_seed_cbc, "SEED-CBC"},
    {NID_idea_cbc, "IDEA-CBC"},
    {NID_des_ede3_cbc, "3DES-CBC"},
    {NID_des_cbc, "DES-CBC"},
    {NID_rc4, "RC4"},
    {NID_undef, "none"},
};
static const struct word macs[] = {
    {NID_sha1, "SHA1"}, {NID_sha256, "SHA256"}, {NID_sha384, "SHA384"},
    {NID_md5, "MD5"},   {NID_undef, "AEAD"},
};

/* Each table ends with the word for everything else. */
static const char *
word_of(const struct word *words, int nid)
{
    while (words->nid != nid && words->nid != NID_undef)
        words++;
    return words->text;
}

static bool
name_has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static unsigned
flaws_of_exchange(const SSL_CIPHER *cipher)
{
    int exchange = SSL_CIPHER_get_kx_nid(cipher);
    unsigned found = 0;

    if (SSL_CIPHER_get_auth_nid(cipher) == NID_auth_null)
        found |= CIPHER_ANONYMOUS;
    if (exchange == NID_kx_rsa || exchange == NID_kx_psk ||
        exchange == NID_kx_rsa_psk)
        found |= CIPHER_STATIC;
    return found;
}

static unsigned
flaws_of_encryption(const SSL_CIPHER *cipher)
{
    const char *name = SSL_CIPHER_get_name(cipher);

    switch (SSL_CIPHER_get_cipher_nid(cipher)) {
    case NID_undef:
        return CIPHER_NULL;
    case NID_rc4:
        return CIPHER_RC4;
    case NID_des_ede3_cbc:
    case NID_des_cbc:
    case NID_idea_cbc:
        return CIPHER_SMALL_BLOCK;
    default:
        return name_has(name, "CCM8") || name_has(name, "CCM_8")
                   ? CIPHER_SHORT_TAG
                   : 0;
    }
}

static unsigned
flaws_of(const SSL_CIPHER *cipher)
{
    unsigned found = flaws_of_exchange(cipher) | flaws_of_encryption(cipher);
    int mac = SSL_CIPHER_get_digest_nid(cipher);

    if (SSL_CIPHER_get_bits(cipher, NULL) < SHORT_BITS)
        found |= CIPHER_SHORT;
    if (strncmp(SSL_CIPHER_get_name(cipher), "EXP", 3) == 0)
        found |= CIPHER_EXPORT;
    if (mac == NID_md5)
        found |= CIPHER_MD5;
    else if (mac == NID_sha1 && !(found & (CIPHER_RC4 | CIPHER_NULL)))
        found |= CIPHER_CBC_SHA1;
    return found;
}

/* The library calls suites of TLS 1.0 what they were called before: SSLv3. */
static const char *
since_of(const SSL_CIPHER *cipher)
{
    const char *version = SSL_CIPHER_get_version(cipher);

    return strcmp(version, "SSLv3") == 0 || strcmp(version, "TLSv1.0") == 0
               ? "TLSv1"
               : version;
}

static struct tls_cipher
describe(const SSL_CIPHER *cipher)
{
    return (struct tls_cipher){
        .name = SSL_CIPHER_get_name(cipher),
        .standard_name = SSL_CIPHER_standard_name(cipher),
        .since = since_of(cipher),
        .key_exchange = word_of(key_exchanges, SSL_CIPHER_get_kx_nid(cipher)),
        .authentication =
            word_of(authentications, SSL_CIPHER_get_auth_nid(cipher)),
        .encryption = word_of(encryptions, SSL_CIPHER_get_cipher_nid(cipher)),
        .mac = word_of(macs, SSL_CIPHER_get_digest_nid(cipher)),
        .bits = SSL_CIPHER_get_bits(cipher, NULL),
        .flaws = flaws_of(cipher),
    };
}

/* Lists ------------------------------------------------------------------- */

static void
add_suites(const STACK_OF(SSL_CIPHER) * suites, unsigned flaws_wanted,
           struct tls_cipher_list *list)
{
    int count = sk_SSL_CIPHER_num(suites);

    list->items = mem_resize(list->items, (list->count + (size_t)(count + 1)) *
                                              sizeof *list->items);
    for (int i = 0; i < count; i++) {
        struct tls_cipher cipher = describe(sk_SSL_CIPHER_value(suites, i));

        if (flaws_wanted == 0 || cipher.flaws & flaws_wanted)
            list->items[list->count++] = cipher;
    }
}

bool
tls_ciphers_list(const struct tls_profile *profile,
                 struct tls_cipher_list *list, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL *ssl = NULL;
    STACK_OF(SSL_CIPHER) *suites = NULL;

    *list = (struct tls_cipher_list){0};
    if (ctx == NULL)
        abort(); /* out of memory, as everywhere */
    if (profile_apply(profile, ctx, err)) {
        profile_offer_across_holes(profile, ctx);
        ssl = SSL_new(ctx);
        suites = ssl != NULL ? SSL_get1_supported_ciphers(ssl) : NULL;
        if (suites != NULL)
            add_suites(suites, 0, list);
        else
            err_library(err, "no cipher suite is left");
    }
    sk_SSL_CIPHER_free(suites);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return suites != NULL;
}

/* A context in which nothing hides a suite from a list. */
static SSL_CTX *
open_ctx_new(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    if (ctx == NULL || SSL_CTX_set_ciphersuites(ctx, "") != 1)
        abort();
    SSL_CTX_set_security_level(ctx, 0);
    return ctx;
}

static struct tls_cipher_list
list_of_text(const char *text, unsigned flaws_wanted)
{
    struct tls_cipher_list list = {0};
    SSL_CTX *ctx = open_ctx_new();

    if (SSL_CTX_set_cipher_list(ctx, text) == 1)
        add_suites(SSL_CTX_get_ciphers(ctx), flaws_wanted, &list);
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return list;
}

void
tls_ciphers_removed(const struct tls_profile *profile,
                    struct tls_cipher_list *list)
{
    *list = (struct tls_cipher_list){0};
    if (profile->ciphers != NULL && *profile->ciphers != '\0')
        *list = list_of_text(profile->ciphers, CIPHER_NEVER);
}

/* Checking what an administrator wrote ------------------------------------ */

/* Classes of OpenSSL that every list may name, even where the library of this
 * machine has nothing left in them. */
static bool
is_class(const char *text)
{
    return strcmp(text, "MEDIUM") == 0 || strcmp(text, "LOW") == 0;
}

static bool
element_is_known(const char *text)
{
    SSL_CTX *ctx;
    bool known;

    if (is_class(text))
        return true;
    ctx = open_ctx_new();
    if (sv_starts_nocase(sv_of(text), SV("TLS_")))
        /* An unknown name is skipped by the library: the list stays empty. */
        known = SSL_CTX_set_ciphersuites(ctx, text) == 1 &&
                SSL_CTX_set_cipher_list(ctx, "AES128-SHA") == 1 &&
                sk_SSL_CIPHER_num(SSL_CTX_get_ciphers(ctx)) == 2;
    else
        known = SSL_CTX_set_cipher_list(ctx, text) == 1;
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return known;
}

static bool
list_has(const struct tls_cipher_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0)
            return true;
    }
    return false;
}

/* Names of element that are in whole too, at most three. */
static void
name_some(const struct tls_cipher_list *element,
          const struct tls_cipher_list *whole, struct buf *names)
{
    size_t found = 0;

    for (size_t i = 0; i < element->count; i++) {
        if (!list_has(whole, element->items[i].name))
            continue;
        if (++found <= 3)
            buf_printf(names, "%s%s", found > 1 ? ", " : "",
                       element->items[i].name);
    }
    if (found > 3)
        buf_printf(names, " and %zu more", found - 3);
}

/* An element all of whose suites are forbidden, and still there at the end of
 * the list: that was meant. */
static bool
refuse_forbidden(const char *text, const struct tls_cipher_list *whole,
                 struct err *err)
{
    struct tls_cipher_list all = list_of_text(text, 0);
    struct tls_cipher_list bad = list_of_text(text, CIPHER_NEVER);
    struct buf names = {0};

    if (all.count > 0 && all.count == bad.count)
        name_some(&bad, whole, &names);
    if (buf_length(&names) > 0)
        err_set(err,
                "cipher list element \"%s\" asks for suites without "
                "encryption or authentication, which are never used: %s; "
                "remove it",
                text, buf_cstr(&names));
    tls_cipher_list_fini(&all);
    tls_cipher_list_fini(&bad);
    if (buf_length(&names) == 0)
        return true;
    buf_fini(&names);
    return false;
}

static bool
check_element(struct sv element, const struct tls_cipher_list *whole,
              struct err *err)
{
    char text[128];

    if (element.n == 0 || !char_is_alpha(element.p[0]))
        return true; /* it only takes away or sorts */
    if (!sv_to_cstr(element, text, sizeof text)) {
        err_set(err, "a cipher list element is longer than %zu bytes",
                sizeof text - 1);
        return false;
    }
    if (!element_is_known(text)) {
        err_set(err, "\"%s\" matches no cipher of %s", text,
                OpenSSL_version(OPENSSL_VERSION));
        return false;
    }
    return refuse_forbidden(text, whole, err);
}

bool
tls_ciphers_check(const char *list, struct err *err)
{
    struct tls_cipher_list whole = list_of_text(list, CIPHER_NEVER);
    struct sv rest = sv_of(list);
    bool ok = true;

    while (ok && rest.n > 0) {
        size_t n = 0;

        while (n < rest.n && strchr(SEPARATORS, rest.p[n]) == NULL)
            n++;
        ok = check_element(sv_slice(rest, 0, n), &whole, err);
        rest = sv_from(rest, n + 1);
    }
    tls_cipher_list_fini(&whole);
    return ok;
}
