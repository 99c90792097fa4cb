#include "dkim/key_internal.h"

#include "mail/header.h"
#include <inttypes.h>

/* What is signed when it is there, and whether it is signed once more than it
 * is there (RFC 6376 section 5.4 and 8.15). */
static const struct signed_field {
    const char *name;
    bool sealed;
} fields[] = {
    {"From", true},
    {"Sender", true},
    {"Reply-To", true},
    {"To", true},
    {"Cc", true},
    {"Subject", true},
    {"Date", true},
    {"Message-ID", true},
    {"MIME-Version", true},
    {"Content-Type", true},
    {"Content-Transfer-Encoding", true},
    {"Content-Disposition", false},
    {"Auto-Submitted", false},
    {"TLS-Report-Domain", true},
    {"TLS-Report-Submitter", true},
    {"TLS-Required", true},
};

static bool
digest(struct sv bytes, unsigned char *hash /* [32] */, struct err *err)
{
    if (EVP_Q_digest(NULL, "SHA256", NULL, bytes.n == 0 ? "" : bytes.p, bytes.n,
                     hash, NULL) == 1)
        return true;
    dkim_openssl_error(err, "hash");
    return false;
}

static size_t
count_field(struct sv header, const char *name)
{
    struct mail_field field;
    size_t n = 0;

    while (mail_field_next(&header, &field))
        n += sv_is_nocase(field.name, name);
    return n;
}

/* The n-th of this name from the top, n from 0. */
static bool
find_field(struct sv header, const char *name, size_t n,
           struct mail_field *field)
{
    while (mail_field_next(&header, field))
        if (sv_is_nocase(field->name, name) && n-- == 0)
            return true;
    return false;
}

/* h=, and the canonical form of what it names: of several fields of one name
 * the last comes first (section 5.4.2). */
static void
choose_fields(struct sv header, struct buf *names, struct buf *canonical)
{
    struct mail_field field;

    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        size_t count = count_field(header, fields[i].name);
        size_t mentions = count + fields[i].sealed;

        for (size_t k = 0; k < mentions; k++)
            buf_printf(names, "%s%s", buf_length(names) == 0 ? "" : ":",
                       fields[i].name);
        while (count > 0)
            if (find_field(header, fields[i].name, --count, &field))
                dkim_relax_field(field.name, field.value, canonical);
    }
}

/* --- The field ------------------------------------------------------------ */

/* Folds behind separators: h= is long. */
static void
add_names(struct sv names, struct buf *out)
{
    size_t column = 4;

    while (names.n > 0) {
        struct sv name = sv_take_until(&names, ':');

        if (column + name.n > 72) {
            buf_add_str(out, "\r\n\t ");
            column = 9;
        }
        buf_add(out, name);
        column += name.n + 1;
        if (names.n > 0)
            buf_add_char(out, ':');
    }
}

static void
add_folded(struct sv text, struct buf *out)
{
    enum { PIECE = 70 };

    while (text.n > 0) {
        buf_add(out, sv_slice(text, 0, PIECE));
        text = sv_from(text, PIECE);
        if (text.n > 0)
            buf_add_str(out, "\r\n\t ");
    }
}

/* The value up to and with "b=". */
static void
add_tags(const struct dkim_signing *signing, struct sv names,
         struct sv body_hash, struct buf *out)
{
    buf_printf(out,
               " v=1; a=%s-sha256; c=relaxed/relaxed;\r\n"
               "\td=%s; s=%s; t=%" PRId64 ";\r\n"
               "\th=",
               signing->key->algorithm == DKIM_RSA ? "rsa" : "ed25519",
               signing->domain, signing->selector, signing->wall_s);
    add_names(names, out);
    buf_add_str(out, ";\r\n\tbh=");
    buf_add(out, body_hash);
    buf_add_str(out, ";\r\n\tb=");
}

/* --- The signature -------------------------------------------------------- */

/* RFC 8463 section 3: Ed25519 signs the hash as if it were the message; RSA
 * signs the hash as PKCS#1 v1.5 does, in one step. */
static bool
sign_bytes(const struct dkim_key *key, struct sv bytes, struct buf *out,
           struct err *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char hash[32], signature[2048];
    size_t n = sizeof signature;
    bool ed25519 = key->algorithm == DKIM_ED25519;
    bool ok = !ed25519 || digest(bytes, hash, err);

    if (ed25519)
        bytes = (struct sv){(const char *)hash, sizeof hash};
    ok = ok &&
         EVP_DigestSignInit_ex(context, NULL, ed25519 ? NULL : "SHA256", NULL,
                               NULL, key->pkey, NULL) == 1 &&
         EVP_DigestSign(context, signature, &n, (const unsigned char *)bytes.p,
                        bytes.n) == 1;
    EVP_MD_CTX_free(context);
    if (ok)
        dkim_base64(signature, n, out);
    else
        dkim_openssl_error(err, "sign");
    return ok;
}

static bool
hash_body(struct sv body, struct buf *out, struct err *err)
{
    struct buf canonical = {0};
    unsigned char hash[32];
    bool ok;

    dkim_relax_body(body, &canonical);
    ok = digest(buf_view(&canonical), hash, err);
    if (ok)
        dkim_base64(hash, sizeof hash, out);
    buf_fini(&canonical);
    return ok;
}

bool
dkim_sign(const struct dkim_signing *signing, struct sv message,
          struct buf *out, struct err *err)
{
    size_t header_length = mail_header_length(message);
    struct sv header = sv_slice(message, 0, header_length);
    struct buf names = {0}, signed_bytes = {0}, hash = {0}, value = {0};
    struct buf signature = {0};
    bool ok = hash_body(sv_from(message, header_length), &hash, err);

    if (ok) {
        choose_fields(header, &names, &signed_bytes);
        add_tags(signing, buf_view(&names), buf_view(&hash), &value);
        dkim_relax_field(SV("DKIM-Signature"), buf_view(&value), &signed_bytes);
        /* The signature's own field comes last and without its CRLF. */
        signed_bytes.end -= 2;
        ok = sign_bytes(signing->key, buf_view(&signed_bytes), &signature, err);
    }
    if (ok) {
        buf_add_str(out, "DKIM-Signature:");
        buf_add(out, buf_view(&value));
        add_folded(buf_view(&signature), out);
        buf_add_str(out, "\r\n");
    }
    buf_fini(&names);
    buf_fini(&signed_bytes);
    buf_fini(&hash);
    buf_fini(&value);
    buf_fini(&signature);
    return ok;
}
