/* One TLSA record: its bytes, its text, and whether it is any use. */
#include "tls/dane.h"
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/x509.h>

enum { FIXED = 3, SHA256_BYTES = 32, SHA512_BYTES = 64 };

bool
tls_tlsa_parse(const uint8_t *rdata, size_t length, struct tls_tlsa *tlsa)
{
    if (length <= FIXED || length - FIXED > UINT16_MAX)
        return false;
    *tlsa = (struct tls_tlsa){
        .usage = rdata[0],
        .selector = rdata[1],
        .matching = rdata[2],
        .length = (uint16_t)(length - FIXED),
        .data = rdata + FIXED,
    };
    return true;
}

/* --- Text ------------------------------------------------------------- */

static bool
is_blank(char c)
{
    return char_is_blank(c);
}

static bool
take_octet(struct sv *in, uint8_t *value)
{
    uint32_t number = 0;

    sv_take_while(in, is_blank);
    if (!sv_to_u32(sv_take_while(in, char_is_digit), &number) || number > 255)
        return false;
    *value = (uint8_t)number;
    return true;
}

static unsigned
hex_value(char c)
{
    return (unsigned)(char_is_digit(c) ? c - '0' : char_lower(c) - 'a' + 10);
}

/* Blanks may stand anywhere, as zone files have them. */
static bool
take_hex(struct sv in, uint8_t *room, size_t size, size_t *length)
{
    size_t digits = 0;

    for (size_t i = 0; i < in.n; i++) {
        if (char_is_blank(in.p[i]))
            continue;
        if (!char_is_hex(in.p[i]) || digits / 2 == size)
            return false;
        if (digits % 2 == 0)
            room[digits / 2] = (uint8_t)(hex_value(in.p[i]) << 4);
        else
            room[digits / 2] |= (uint8_t)hex_value(in.p[i]);
        digits++;
    }
    *length = digits / 2;
    return digits > 0 && digits % 2 == 0;
}

bool
tls_tlsa_from_text(struct sv text, struct tls_tlsa *tlsa, uint8_t *room,
                   size_t size)
{
    size_t length = 0;

    *tlsa = (struct tls_tlsa){.data = room};
    if (size > UINT16_MAX)
        size = UINT16_MAX;
    if (!take_octet(&text, &tlsa->usage) ||
        !take_octet(&text, &tlsa->selector) ||
        !take_octet(&text, &tlsa->matching))
        return false;
    if (text.n == 0 || !char_is_blank(text.p[0]) ||
        !take_hex(text, room, size, &length))
        return false;
    tlsa->length = (uint16_t)length;
    return true;
}

#define CUT "…"

void
tls_tlsa_print(const struct tls_tlsa *tlsa, char *out, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    int head = snprintf(out, size, "%u %u %u ", tlsa->usage, tlsa->selector,
                        tlsa->matching);
    size_t at = (size_t)head, whole = at + 2 * (size_t)tlsa->length;
    size_t end = whole < size ? whole : size - sizeof CUT;

    if (at + sizeof CUT > size)
        return; /* room for the numbers at most */
    for (size_t i = 0; i < tlsa->length && at + 2 <= end; i++) {
        out[at++] = digits[tlsa->data[i] >> 4];
        out[at++] = digits[tlsa->data[i] & 15];
    }
    memcpy(out + at, whole < size ? "" : CUT, whole < size ? 1 : sizeof CUT);
}

/* --- Use -------------------------------------------------------------- */

/* The whole of the data is one certificate or public key with which the library
 * can work; otherwise nothing could ever match. */
static bool
is_certificate(const struct tls_tlsa *tlsa)
{
    const unsigned char *p = tlsa->data;
    X509 *x509 = d2i_X509(NULL, &p, tlsa->length);
    bool good = x509 != NULL && p == tlsa->data + tlsa->length &&
                X509_get0_pubkey(x509) != NULL;

    X509_free(x509);
    ERR_clear_error();
    return good;
}

static bool
is_public_key(const struct tls_tlsa *tlsa)
{
    const unsigned char *p = tlsa->data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &p, tlsa->length);
    bool good = key != NULL && p == tlsa->data + tlsa->length;

    EVP_PKEY_free(key);
    ERR_clear_error();
    return good;
}

static const char *
data_problem(const struct tls_tlsa *tlsa)
{
    switch (tlsa->matching) {
    case 0:
        if (tlsa->selector == 0)
            return is_certificate(tlsa) ? NULL : "the data is no certificate";
        return is_public_key(tlsa) ? NULL : "the data is no public key";
    case 1:
        return tlsa->length == SHA256_BYTES
                   ? NULL
                   : "a SHA-256 digest has 32 bytes, this one has not";
    case 2:
        return tlsa->length == SHA512_BYTES
                   ? NULL
                   : "a SHA-512 digest has 64 bytes, this one has not";
    default:
        return "unknown matching type";
    }
}

/* RFC 7672 section 3.1.3: mail servers have no agreed set of authorities, so
 * the usages that also ask for one of those are no use. */
const char *
tls_tlsa_problem(const struct tls_tlsa *tlsa)
{
    if (tlsa->usage == 0)
        return "usage PKIX-TA(0) is not used with SMTP";
    if (tlsa->usage == 1)
        return "usage PKIX-EE(1) is not used with SMTP";
    if (tlsa->usage > 3)
        return "unknown certificate usage";
    if (tlsa->selector > 1)
        return "unknown selector";
    return data_problem(tlsa);
}
