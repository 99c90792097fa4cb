#include "mail/address.h"
#include "base/utf8.h"
#include <arpa/inet.h>
#include <idn2.h>

enum { LABEL_MAX = 63 };

static bool
is_eight_bit(char c)
{
    return (unsigned char)c > 0x7f;
}

static bool
has_eight_bit(struct sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (is_eight_bit(text.p[i]))
            return true;
    }
    return false;
}

/* One character that satisfies wanted(), or one well-formed character beyond
 * ASCII (UTF8-non-ascii, RFC 6531 section 3.3); the C1 controls, which no
 * address needs and which steer terminals, are none. */
static bool
take_character(struct sv *in, bool (*wanted)(char c))
{
    uint32_t code_point;
    size_t n = 1;

    if (in->n == 0)
        return false;
    if (is_eight_bit(in->p[0])) {
        n = utf8_decode(*in, &code_point);
        if (n == 0 || code_point < 0xa0)
            return false;
    } else if (!wanted(in->p[0])) {
        return false;
    }
    *in = sv_from(*in, n);
    return true;
}

/* RFC 5322 section 3.2.3 */
static bool
is_atext(char c)
{
    return char_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* RFC 5321 section 4.1.2: qtextSMTP */
static bool
is_qtext(char c)
{
    return char_is_print(c) && c != '"' && c != '\\';
}

static bool
take_atom(struct sv *in)
{
    if (!take_character(in, is_atext))
        return false;
    while (take_character(in, is_atext))
        ;
    return true;
}

static bool
take_dot_string(struct sv *in)
{
    do {
        if (!take_atom(in))
            return false;
    } while (sv_take_char(in, '.'));
    return true;
}

static bool
take_quoted_string(struct sv *in)
{
    if (!sv_take_char(in, '"'))
        return false;
    while (!sv_take_char(in, '"')) {
        bool quoted = sv_take_char(in, '\\');

        if (quoted && in->n > 0 && is_eight_bit(in->p[0]))
            return false; /* quoted-pairSMTP is ASCII */
        if (!take_character(in, quoted ? char_is_print : is_qtext))
            return false;
    }
    return true;
}

/* The part of before that is no longer in after. */
static struct sv
taken(struct sv before, struct sv after)
{
    return sv_slice(before, 0, before.n - after.n);
}

static bool
take_local(struct sv *in, struct sv *local)
{
    struct sv rest = *in;
    bool quoted = rest.n > 0 && rest.p[0] == '"';

    if (!(quoted ? take_quoted_string(&rest) : take_dot_string(&rest)))
        return false;
    *local = taken(*in, rest);
    if (local->n > MAIL_LOCAL_MAX)
        return false;
    *in = rest;
    return true;
}

static bool
is_domain_char(char c)
{
    return char_is_alnum(c) || c == '-' || c == '.' || is_eight_bit(c);
}

static bool
is_literal_char(char c)
{
    return c != ']' && char_is_print(c);
}

static bool
take_domain(struct sv *in, struct sv *domain)
{
    struct sv rest = *in;

    if (sv_take_char(&rest, '[')) {
        sv_take_while(&rest, is_literal_char);
        sv_take_char(&rest, ']');
        *domain = taken(*in, rest);
        if (!mail_literal_valid(*domain))
            return false;
    } else {
        *domain = sv_take_while(&rest, is_domain_char);
        if (!mail_domain_valid(*domain))
            return false;
    }
    *in = rest;
    return true;
}

static bool
take_mailbox(struct sv *in, struct mail_path *path)
{
    struct sv rest = *in;

    if (!take_local(&rest, &path->local) || !sv_take_char(&rest, '@') ||
        !take_domain(&rest, &path->domain))
        return false;
    path->mailbox = taken(*in, rest);
    path->literal = path->domain.p[0] == '[';
    *in = rest;
    return true;
}

/* A-d-l ":" of RFC 5321 section 4.1.2, which section 4.1.1.3 lets us drop. */
static bool
take_source_route(struct sv *in)
{
    struct sv domain;

    if (in->n == 0 || in->p[0] != '@')
        return true;
    do {
        if (!sv_take_char(in, '@') || !take_domain(in, &domain))
            return false;
    } while (sv_take_char(in, ','));
    return sv_take_char(in, ':');
}

/* <> or <postmaster>, as the direction has it. */
static bool
take_special(struct sv *in, enum mail_path_kind kind, struct mail_path *path)
{
    static const char postmaster[] = "postmaster";
    struct sv word = sv_slice(*in, 0, sizeof postmaster - 1);
    struct sv rest = *in;

    if (kind == MAIL_REVERSE_PATH)
        return sv_take_char(in, '>');
    if (!sv_take_prefix_nocase(&rest, sv_of(postmaster)) ||
        !sv_take_char(&rest, '>'))
        return false;
    path->mailbox = path->local = word;
    *in = rest;
    return true;
}

bool
mail_path_take(struct sv *in, enum mail_path_kind kind, struct mail_path *path)
{
    struct sv rest = *in;
    struct mail_path found = {0};

    if (!sv_take_char(&rest, '<'))
        return false;
    if (!take_special(&rest, kind, &found)) {
        if (!take_source_route(&rest) || !take_mailbox(&rest, &found) ||
            !sv_take_char(&rest, '>'))
            return false;
    }
    if (in->n - rest.n > MAIL_PATH_MAX)
        return false;
    found.utf8 = has_eight_bit(taken(*in, rest));
    *path = found;
    *in = rest;
    return true;
}

bool
mail_mailbox_parse(struct sv text, struct mail_path *path)
{
    struct mail_path found = {0};
    struct sv rest = text;

    if (!take_mailbox(&rest, &found) || rest.n > 0 ||
        text.n > MAIL_PATH_MAX - 2)
        return false;
    found.utf8 = has_eight_bit(text);
    *path = found;
    return true;
}

static bool
is_label_char(char c)
{
    return char_is_alnum(c) || c == '-';
}

/* The limit of a label holds for the ASCII form; here characters are counted,
 * so that no U-label with a valid A-label is refused. */
static bool
label_valid(struct sv label)
{
    size_t characters = 0;

    if (label.n == 0 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (; label.n > 0; characters++) {
        if (!take_character(&label, is_label_char))
            return false;
    }
    return characters <= LABEL_MAX;
}

bool
mail_domain_valid(struct sv domain)
{
    if (domain.n == 0 || domain.n > MAIL_DOMAIN_MAX ||
        domain.p[domain.n - 1] == '.')
        return false;
    while (domain.n > 0) {
        if (!label_valid(sv_take_until(&domain, '.')))
            return false;
    }
    return true;
}

/* RFC 5321 section 4.1.3; no other kind of literal is registered. */
bool
mail_literal_valid(struct sv domain)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    int family = AF_INET;

    if (!sv_take_char(&domain, '[') || domain.n == 0 ||
        domain.p[domain.n - 1] != ']')
        return false;
    domain.n--;
    if (sv_take_prefix_nocase(&domain, SV("IPv6:")))
        family = AF_INET6;
    return sv_to_cstr(domain, text, sizeof text) &&
           inet_pton(family, text, &address) == 1;
}

static bool
lower_copy(struct sv text, char *out)
{
    sv_lower_into(text, out);
    out[text.n] = '\0';
    return true;
}

/* Mapping can make a dot or a blank out of other characters, so the result is
 * checked like any domain. */
static bool
to_ascii(const char *domain, char *out)
{
    uint8_t *ascii = NULL;
    struct sv view;
    bool ok;

    if (idn2_lookup_u8((const uint8_t *)domain, &ascii,
                       IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return false;
    view = sv_of((const char *)ascii);
    ok = mail_domain_valid(view) && !has_eight_bit(view) &&
         lower_copy(view, out);
    idn2_free(ascii);
    return ok;
}

bool
mail_domain_canonical(struct sv domain, char *out)
{
    char text[MAIL_DOMAIN_MAX + 1];

    if (domain.n > 0 && domain.p[0] == '[')
        return domain.n <= MAIL_DOMAIN_MAX && mail_literal_valid(domain) &&
               lower_copy(domain, out);
    if (domain.n > 0 && domain.p[domain.n - 1] == '.')
        domain.n--;
    if (!mail_domain_valid(domain) || !sv_to_cstr(domain, text, sizeof text))
        return false;
    if (!has_eight_bit(domain))
        return lower_copy(domain, out);
    return to_ascii(text, out);
}
