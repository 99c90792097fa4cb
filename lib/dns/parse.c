#include "dns/dns.h"
#include "net/address.h"

static const char *const state_names[] = {
    [DNS_SECURE] = "secure", [DNS_INSECURE] = "insecure", [DNS_BOGUS] = "bogus",
    [DNS_ERROR] = "error",   [DNS_ABSENT] = "absent",
};

const char *
dns_state_name(enum dns_state state)
{
    return state_names[state];
}

static const struct {
    const char *name;
    enum dns_type type;
} types[] = {
    {"A", DNS_A},     {"NS", DNS_NS},     {"CNAME", DNS_CNAME},
    {"SOA", DNS_SOA}, {"PTR", DNS_PTR},   {"MX", DNS_MX},
    {"TXT", DNS_TXT}, {"AAAA", DNS_AAAA}, {"TLSA", DNS_TLSA},
};

const char *
dns_type_name(enum dns_type type)
{
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].type == type)
            return types[i].name;
    return "unknown";
}

bool
dns_type_find(struct sv name, enum dns_type *type)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        *type = types[i].type;
        if (sv_is_nocase(name, types[i].name))
            return true;
    }
    return false;
}

/* Bytes of host names as they are met in practice: underscores too.  A dot
 * inside a label would read as two labels. */
static bool
is_host_byte(char c)
{
    return char_is_alnum(c) || c == '-' || c == '_';
}

/* One uncompressed label, RFC 1035 section 3.1; *out has room for it. */
static bool
take_label(struct sv *in, size_t length, char *out)
{
    if (length > 63 || length > in->n)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!is_host_byte(in->p[i]))
            return false;
        out[i] = char_lower(in->p[i]);
    }
    *in = sv_from(*in, length);
    return true;
}

/* A whole name that ends the data; host holds 256 bytes. */
static bool
parse_name(struct sv in, char *host)
{
    size_t n = 0;

    while (in.n > 0) {
        size_t length = (uint8_t)in.p[0];

        in = sv_from(in, 1);
        if (length == 0) {
            host[n] = '\0';
            return in.n == 0;
        }
        if (n + length + 2 > 254)
            return false;
        if (n > 0)
            host[n++] = '.';
        if (!take_label(&in, length, host + n))
            return false;
        n += length;
    }
    return false;
}

bool
dns_mx_parse(const struct dns_record *record, uint16_t *preference, char *host)
{
    const uint8_t *data = record->data;

    if (record->length < 3)
        return false;
    *preference = (uint16_t)(data[0] << 8 | data[1]);
    return parse_name((struct sv){(const char *)data + 2, record->length - 2},
                      host);
}

bool
dns_name_parse(const struct dns_record *record, char *host)
{
    return parse_name((struct sv){(const char *)record->data, record->length},
                      host);
}

bool
dns_txt_parse(const struct dns_record *record, char *room, size_t size,
              struct sv *text)
{
    struct sv in = {(const char *)record->data, record->length};
    size_t n = 0;

    if (in.n == 0)
        return false;
    while (in.n > 0) {
        size_t length = (uint8_t)in.p[0];

        in = sv_from(in, 1);
        if (length > in.n || length > size - n)
            return false;
        if (length > 0)
            memcpy(room + n, in.p, length);
        n += length;
        in = sv_from(in, length);
    }
    *text = (struct sv){room, n};
    return true;
}

/* The length of an uncompressed name with any bytes; 0: malformed. */
static size_t
name_length(struct sv in)
{
    size_t at = 0;

    while (at < in.n && at < 255) {
        size_t length = (uint8_t)in.p[at++];

        if (length == 0)
            return at;
        if (length > 63)
            return 0;
        at += length;
    }
    return 0;
}

static uint32_t
number_at(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
           (uint32_t)data[2] << 8 | data[3];
}

bool
dns_soa_parse(const struct dns_record *record, struct dns_soa *soa)
{
    struct sv in = {(const char *)record->data, record->length};
    size_t server = name_length(in);
    struct sv rest = sv_from(in, server);
    size_t mailbox = name_length(rest);
    const uint8_t *numbers = record->data + server + mailbox;

    /* Five numbers follow the two names, RFC 1035 section 3.3.13. */
    if (server == 0 || mailbox == 0 || rest.n - mailbox != 5 * 4 ||
        !parse_name(sv_slice(in, 0, server), soa->server))
        return false;
    soa->serial = number_at(numbers);
    soa->refresh = number_at(numbers + 4);
    soa->retry = number_at(numbers + 8);
    soa->expire = number_at(numbers + 12);
    soa->minimum = number_at(numbers + 16);
    return true;
}

bool
dns_address_parse(const struct dns_record *record, enum dns_type type,
                  struct net_address *address)
{
    struct net_address raw = {0};

    if (type == DNS_A && record->length == 4) {
        raw.in.sin_family = AF_INET;
        memcpy(&raw.in.sin_addr, record->data, 4);
    } else if (type == DNS_AAAA && record->length == 16) {
        raw.in6.sin6_family = AF_INET6;
        memcpy(&raw.in6.sin6_addr, record->data, 16);
    } else {
        return false;
    }
    net_address_from_sockaddr(&raw.sa, address);
    return true;
}
