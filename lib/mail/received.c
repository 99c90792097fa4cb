/* What the peer chose (HELO, reverse name, recipient) must not be able to close
 * a comment, begin another clause or end the line; each part is bounded, so
 * every line stays below 998 octets whatever comes in. */
#include "mail/received.h"
#include "base/utf8.h"
#include "mail/date.h"

enum {
    NAME_MAX_OCTETS = 255,
    WORD_MAX_OCTETS = 64,
    PATH_MAX_OCTETS = 254,
    FOLD_AT = 78,
};

static bool
is_name_char(char c)
{
    return char_is_alnum(c) || (c != '\0' && strchr("-._:[]", c));
}

/* A TLS cipher, a protocol, a queue id, the state of a certificate. */
static bool
is_word_char(char c)
{
    return char_is_alnum(c) || (c != '\0' && strchr(" -._:/+=", c));
}

static bool
is_path_char(char c)
{
    return char_is_print(c);
}

/* What is not wanted becomes '?'; characters beyond ASCII pass where utf8 is
 * set and they are well-formed. */
struct cleaning {
    bool (*wanted)(char c);
    size_t max;
    bool utf8;
};

/* The character at the front of *text, which is not a wanted one. */
static void
add_other(struct buf *out, struct sv *text, const struct cleaning *rules,
          size_t room)
{
    uint32_t c = 0;
    size_t n = utf8_decode(*text, &c);
    bool keep = n > 1 && n <= room && rules->utf8 && c >= 0xa0;

    if (keep)
        buf_add(out, sv_slice(*text, 0, n));
    else
        buf_add_char(out, '?');
    *text = sv_from(*text, n > 0 ? n : 1);
}

static void
add_clean(struct buf *out, struct sv text, const struct cleaning *rules)
{
    size_t limit = buf_length(out) + rules->max;

    while (text.n > 0 && buf_length(out) < limit) {
        size_t room = limit - buf_length(out);
        struct sv run = sv_take_while(&text, rules->wanted);

        buf_add(out, sv_slice(run, 0, room));
        if (text.n > 0 && run.n < room)
            add_other(out, &text, rules, room - run.n);
    }
}

static void
add_name(struct buf *out, struct sv name)
{
    add_clean(
        out, name,
        &(struct cleaning){.wanted = is_name_char, .max = NAME_MAX_OCTETS});
}

static void
add_word(struct buf *out, struct sv word)
{
    add_clean(
        out, word,
        &(struct cleaning){.wanted = is_word_char, .max = WORD_MAX_OCTETS});
}

/* RFC 5321 section 4.1.3: an IPv6 address literal carries a tag. */
static void
add_literal(struct buf *out, struct sv ip)
{
    buf_add_str(out, sv_has(ip, ':') ? "[IPv6:" : "[");
    add_clean(
        out, ip,
        &(struct cleaning){.wanted = is_name_char, .max = WORD_MAX_OCTETS});
    buf_add_char(out, ']');
}

/* from Extended-Domain, RFC 5321 section 4.4. */
static void
add_from(struct buf *out, const struct received *r)
{
    struct sv ip = r->client_ip;

    buf_add_str(out, "Received: from ");
    if (r->helo.n > 0)
        add_name(out, r->helo);
    else if (ip.n > 0)
        add_literal(out, ip);
    else
        buf_add_str(out, "localhost");
    if (ip.n == 0)
        return;
    if (r->helo.n + r->client_name.n + ip.n > FOLD_AT - 28)
        buf_add_str(out, "\r\n");
    buf_add_str(out, " (");
    if (r->client_name.n > 0) {
        add_name(out, r->client_name);
        buf_add_char(out, ' ');
    }
    add_literal(out, ip);
    buf_add_char(out, ')');
}

static void
add_by(struct buf *out, const struct received *r)
{
    buf_add_str(out, "\r\n by ");
    add_name(out, r->by);
    buf_add_str(out, " with ");
    add_word(out, r->protocol);
    if (r->product.n > 0) {
        buf_add_str(out, " (");
        add_word(out, r->product);
        buf_add_char(out, ')');
    }
}

static void
add_tls(struct buf *out, const struct received *r)
{
    if (r->tls_version.n == 0)
        return;
    buf_add_str(out, " (using TLS: ");
    add_word(out, r->tls_version);
    if (r->tls_cipher.n > 0) {
        buf_add_str(out, ", ");
        add_word(out, r->tls_cipher);
    }
    buf_add_char(out, ')');
    if (r->tls_bits <= 0 && r->tls_verify.n == 0)
        return;
    buf_add_str(out, "\r\n (");
    if (r->tls_bits > 0)
        buf_printf(out, "%d bits%s", r->tls_bits,
                   r->tls_verify.n > 0 ? ", " : "");
    add_word(out, r->tls_verify);
    buf_add_char(out, ')');
}

/* UTF-8 in the field is for UTF8SMTP transactions only (RFC 6531 section
 * 3.7.3): another next hop could not take it. */
static void
add_recipient(struct buf *out, const struct received *r)
{
    if (r->recipient.n == 0 || r->recipient.n > PATH_MAX_OCTETS)
        return;
    buf_add_str(out, " for <");
    add_clean(
        out, r->recipient,
        &(struct cleaning){.wanted = is_path_char,
                           .max = PATH_MAX_OCTETS,
                           .utf8 = sv_starts_nocase(r->protocol, SV("UTF8"))});
    buf_add_char(out, '>');
}

void
received_write(struct buf *out, const struct received *received)
{
    char date[MAIL_DATE_TEXT];

    add_from(out, received);
    add_by(out, received);
    add_tls(out, received);
    buf_add_str(out, "\r\n id ");
    add_word(out, received->id);
    add_recipient(out, received);
    buf_add_str(out, received->recipient.n > 20 ? ";\r\n " : "; ");
    buf_add_str(out, mail_date_text(received->wall_s, date));
    buf_add_str(out, "\r\n");
}
