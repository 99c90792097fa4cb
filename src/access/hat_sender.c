/* Reading the texts of senders.  What a text means is decided by its letters
 * alone: a colon makes it IPv6; digits, dots, '-' and '/' alone make it IPv4;
 * everything else is a name.  A text that an administrator may well have meant
 * otherwise is refused: a row that silently matches nobody is a hole. */
#include "access/hat_internal.h"

enum {
    SENDER_TEXT_MAX = 256,
    SHOWN_MAX = 100,     /* bytes of the text in a message */
    ZONE_MAX = 253 - 64, /* leaves room for 32 reversed nibbles */
};

#define FORMS                                                                  \
    "an address (192.0.2.1), a network (192.0.2.0/24), a range "               \
    "(192.0.2.7-12), a partial address (192.0.2.), a host name, a "            \
    ".domain or ALL"

static bool
refuse(struct err *err, struct sv text, const char *why)
{
    err_set(err, "sender \"%.*s\" %s", SV_ARG(sv_slice(text, 0, SHOWN_MAX)),
            why);
    return false;
}

int
ip_compare(struct ip a, struct ip b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

static uint64_t
read_u64(const uint8_t *bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

bool
ip_of(const struct net_address *address, sa_family_t *family, struct ip *ip)
{
    *family = address->sa.sa_family;
    if (*family == AF_INET) {
        *ip = (struct ip){0, ntohl(address->in.sin_addr.s_addr)};
        return true;
    }
    if (*family == AF_INET6) {
        const uint8_t *bytes = address->in6.sin6_addr.s6_addr;

        *ip = (struct ip){read_u64(bytes), read_u64(bytes + 8)};
        return true;
    }
    return false;
}

static bool
parse_ip(struct sv text, sa_family_t *family, struct ip *ip)
{
    struct net_address address;

    if (text.n > 0 && text.p[0] == '[')
        return false;
    return net_address_parse(text, 0, &address) && ip_of(&address, family, ip);
}

/* All ones behind the first bits of a number of 64. */
static uint64_t
ones_behind(unsigned bits)
{
    return bits >= 64 ? 0 : UINT64_MAX >> bits;
}

static bool
parse_network(struct sv text, struct sender *sender, struct err *err)
{
    struct net_prefix prefix;
    struct err why;

    if (!net_prefix_parse(text, &prefix, &why)) {
        err_set(err, "sender: %s", why.text);
        return false;
    }
    sender->family = prefix.family;
    if (prefix.family == AF_INET) {
        sender->first.low = read_u64(prefix.bytes) >> 32;
        sender->last.low = sender->first.low | ones_behind(32u + prefix.bits);
        return true;
    }
    sender->first =
        (struct ip){read_u64(prefix.bytes), read_u64(prefix.bytes + 8)};
    sender->last.high = sender->first.high | ones_behind(prefix.bits);
    sender->last.low = sender->first.low;
    sender->last.low |=
        prefix.bits < 64 ? UINT64_MAX : ones_behind(prefix.bits - 64u);
    return true;
}

/* Behind the dash stands an address, or what replaces the last number of the
 * first one. */
static bool
parse_last(struct sv first, struct sv last, sa_family_t *family, struct ip *ip)
{
    char text[2 * INET6_ADDRSTRLEN];
    size_t dot = sv_last_index(first, '.'), colon = sv_last_index(first, ':');
    size_t at = dot != SV_NONE ? dot : colon;
    int n;

    if (sv_has(last, '.') || sv_has(last, ':'))
        return parse_ip(last, family, ip);
    assert(at != SV_NONE);
    n = snprintf(text, sizeof text, "%.*s%.*s",
                 SV_ARG(sv_slice(first, 0, at + 1)), SV_ARG(last));
    return n > 0 && (size_t)n < sizeof text && last.n > 0 &&
           parse_ip(sv_of(text), family, ip);
}

static bool
parse_range(struct sv text, struct sender *sender, struct err *err)
{
    struct sv last = text, first = sv_take_until(&last, '-');
    sa_family_t family;

    if (!parse_ip(first, &sender->family, &sender->first))
        return refuse(err, text,
                      "does not begin with an address: a range is written "
                      "192.0.2.7-12 or 192.0.2.7-192.0.2.12");
    if (!parse_last(first, last, &family, &sender->last))
        return refuse(err, text,
                      "does not end with an address or its last number: a "
                      "range is written 192.0.2.7-12 or "
                      "192.0.2.7-192.0.2.12");
    if (family != sender->family)
        return refuse(err, text,
                      "goes from one address family to the other: write a "
                      "range of each");
    if (ip_compare(sender->first, sender->last) > 0)
        return refuse(err, text,
                      "ends before it begins: the lower address comes first");
    return true;
}

/* Fills up a partial address with the lowest and the highest numbers. */
static bool
parse_partial(struct sv text, struct sender *sender, struct err *err)
{
    bool v6 = sv_has(text, ':');
    size_t numbers = 0, whole = v6 ? 8 : 4;
    char low[SENDER_TEXT_MAX + 16], high[SENDER_TEXT_MAX + 48];
    int i, j;

    for (size_t k = 0; k < text.n; k++)
        numbers += text.p[k] == (v6 ? ':' : '.');
    i = snprintf(low, sizeof low, "%.*s", SV_ARG(text));
    j = snprintf(high, sizeof high, "%.*s", SV_ARG(text));
    for (size_t k = numbers; k < whole; k++) {
        const char *separator = k + 1 == whole ? "" : v6 ? ":" : ".";

        i += snprintf(low + i, sizeof low - (size_t)i, "0%s", separator);
        j += snprintf(high + j, sizeof high - (size_t)j, "%s%s",
                      v6 ? "ffff" : "255", separator);
    }
    /* "::" would let the filled up text mean something else. */
    if (numbers < whole && memmem(text.p, text.n, "::", 2) == NULL &&
        parse_ip(sv_of(low), &sender->family, &sender->first) &&
        parse_ip(sv_of(high), &sender->family, &sender->last))
        return true;
    return refuse(err, text,
                  v6 ? "is no partial address: whole groups and a colon are "
                       "wanted, as in 2001:db8: for 2001:db8::/32"
                     : "is no partial address: one to three numbers from 0 to "
                       "255 are wanted, each with its dot, as in 203.0.113.");
}

static bool
parse_single(struct sv text, struct sender *sender, struct err *err)
{
    if (parse_ip(text, &sender->family, &sender->first)) {
        sender->last = sender->first;
        return true;
    }
    if (text.p[0] == '[')
        return refuse(err, text, "has brackets: write the address bare");
    if (sv_has(text, ':'))
        return refuse(err, text,
                      "is no IPv6 address, and a partial one ends with a "
                      "colon, as in 2001:db8:");
    return refuse(err, text,
                  "is no IPv4 address: four numbers from 0 to 255 without "
                  "leading zeros are wanted; a partial address ends with a "
                  "dot, as in 203.0.113.");
}

static bool
parse_span(struct sv text, struct sender *sender, struct err *err)
{
    char end = text.p[text.n - 1];

    sender->kind = SENDER_SPAN;
    if (sv_has(text, '/'))
        return parse_network(text, sender, err);
    if (sv_has(text, '-'))
        return parse_range(text, sender, err);
    if (sv_ends_nocase(text, SV("::"))) {
        err_set(err,
                "sender \"%.*s\" could be a network or an address: write "
                "%.*s/128 for this one address, and %.*s/ with a length for "
                "a network",
                SV_ARG(sv_slice(text, 0, SHOWN_MAX)), SV_ARG(text),
                SV_ARG(text));
        return false;
    }
    if (end == '.' || end == ':')
        return parse_partial(text, sender, err);
    return parse_single(text, sender, err);
}

bool
host_name_canonical(struct sv text, char *out)
{
    char plain[MAIL_DOMAIN_MAX + 1];

    if (text.n > 0 && text.p[text.n - 1] == '.')
        text.n--;
    if (text.n == 0 || text.n > MAIL_DOMAIN_MAX || text.p[0] == '[')
        return false;
    /* Judged with the underscores out of sight: the rules for mail domains
     * are the same but for them. */
    if (!sv_has(text, '_'))
        return mail_domain_canonical(text, out);
    memcpy(plain, text.p, text.n);
    for (size_t i = 0; i < text.n; i++) {
        if (plain[i] == '_')
            plain[i] = 'x';
    }
    if (!mail_domain_canonical((struct sv){plain, text.n}, out) ||
        strlen(out) != text.n)
        return false;
    sv_lower_into(text, out);
    out[text.n] = '\0';
    return true;
}

static bool
refuse_name(struct sv text, struct err *err)
{
    if (sv_starts_nocase(text, SV("dnslist[")))
        return refuse(err, text,
                      "is a DNS list: write its zone under dns_lists");
    if (sv_starts_nocase(text, SV("sbrs[")) ||
        sv_starts_nocase(text, SV("sbo:")))
        return refuse(err, text,
                      "asks for a reputation service, which is not there: "
                      "addresses, names and dns_lists are");
    if (sv_starts_nocase(text, SV("*.")))
        return refuse(err, text,
                      "has a star: .example.org stands for all hosts below "
                      "example.org");
    if (sv_has(text, '@'))
        return refuse(err, text,
                      "is a mail address: this table is about the connecting "
                      "host");
    return refuse(err, text, "is none of: " FORMS);
}

/* A last label that begins with a digit is a misspelt address, and a single
 * label a group name in the wrong place. */
static bool
check_name(struct sv text, const struct sender *sender, struct err *err)
{
    struct sv name = sv_of(sender->name);
    size_t dot = sv_last_index(name, '.');
    struct sv top = sv_from(name, dot == SV_NONE ? 0 : dot + 1);

    if (char_is_digit(top.p[0]))
        return refuse(err, text, "is no name and no address; wanted is " FORMS);
    if (sender->kind == SENDER_HOST && dot == SV_NONE &&
        !sv_is(top, "localhost"))
        return refuse(err, text,
                      "is a name without a domain: wanted is mail.example.org "
                      "for one host, .example.org for all below it, or ALL");
    return true;
}

static bool
parse_name(struct sv text, struct sender *sender, struct err *err)
{
    struct sv name = text;
    char canonical[MAIL_DOMAIN_MAX + 1];

    sender->kind = sv_take_char(&name, '.') ? SENDER_DOMAIN : SENDER_HOST;
    if (!host_name_canonical(name, canonical))
        return refuse_name(text, err);
    sender->name = mem_strdup(canonical);
    if (check_name(text, sender, err))
        return true;
    mem_free(sender->name);
    sender->name = NULL;
    return false;
}

static bool
is_ipv4_letter(char c)
{
    return char_is_digit(c) || c == '.' || c == '-' || c == '/';
}

static bool
looks_ipv4(struct sv text)
{
    struct sv rest = text;

    return char_is_digit(text.p[0]) &&
           sv_take_while(&rest, is_ipv4_letter).n == text.n;
}

bool
sender_parse(struct sv text, struct sender *sender, struct err *err)
{
    *sender = (struct sender){0};
    if (text.n == 0) {
        err_set(err, "a sender is empty: wanted is " FORMS);
        return false;
    }
    if (text.n >= SENDER_TEXT_MAX)
        return refuse(err, text, "is too long");
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f) {
            err_set(err,
                    "a sender holds a blank or a control character at "
                    "byte %zu: one sender an entry",
                    i + 1);
            return false;
        }
    }
    if (sv_is_nocase(text, "ALL")) {
        sender->kind = SENDER_ALL;
        return true;
    }
    if (looks_ipv4(text) ||
        (sv_has(text, ':') && !sv_starts_nocase(text, SV("sbo:")) &&
         !sv_starts_nocase(text, SV("sbrs["))))
        return parse_span(text, sender, err);
    return parse_name(text, sender, err);
}

bool
hat_sender_check(struct sv text, struct err *err)
{
    struct sender sender;

    if (!sender_parse(text, &sender, err))
        return false;
    mem_free(sender.name);
    return true;
}

static bool
is_wide(const struct sender *sender)
{
    const uint64_t v4 = UINT64_C(1) << 24, v6 = UINT64_C(1) << 57;

    switch (sender->kind) {
    case SENDER_ALL:
        return true;
    case SENDER_DOMAIN:
        return strchr(sender->name, '.') == NULL;
    case SENDER_HOST:
        return false;
    case SENDER_SPAN:
        if (sender->family == AF_INET)
            return sender->last.low - sender->first.low >= v4;
        return sender->last.high - sender->first.high >= v6;
    }
    return false;
}

bool
hat_sender_is_wide(struct sv text)
{
    struct sender sender;
    struct err err;
    bool wide;

    if (!sender_parse(text, &sender, &err))
        return false;
    wide = is_wide(&sender);
    mem_free(sender.name);
    return wide;
}

bool
zone_parse(struct sv text, char *out, struct err *err)
{
    if (host_name_canonical(text, out) && strchr(out, '.') != NULL &&
        strlen(out) <= ZONE_MAX)
        return true;
    err_set(err,
            "DNS list \"%.*s\" is no zone: a domain name of at most %d bytes "
            "is wanted, as in zen.dnsbl.example",
            SV_ARG(sv_slice(text, 0, SHOWN_MAX)), ZONE_MAX);
    return false;
}

bool
hat_zone_check(struct sv text, struct err *err)
{
    char canonical[MAIL_DOMAIN_MAX + 1];

    return zone_parse(text, canonical, err);
}
