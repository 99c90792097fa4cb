/* Records as text, for people. */
#include "dns/dns.h"
#include "net/address.h"
#include <stdarg.h>

struct text {
    char *out;
    size_t size, n;
    bool cut;
};

static void PRINTF_LIKE(2, 3) put(struct text *text, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text->out + text->n, text->size - text->n, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= text->size - text->n)
        text->cut = true;
    else
        text->n += (size_t)n;
}

static void
put_hex(struct text *text, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length && !text->cut; i++)
        put(text, "%02x", data[i]);
}

/* RFC 3597 section 5 */
static void
put_raw(struct text *text, const struct dns_record *record)
{
    put(text, "\\# %zu ", record->length);
    put_hex(text, record->data, record->length);
}

static const char *
or_root(const char *name)
{
    return name[0] != '\0' ? name : ".";
}

static bool
put_address(struct text *text, enum dns_type type,
            const struct dns_record *record)
{
    struct net_address address;
    char ip[NET_ADDRESS_TEXT];

    if (!dns_address_parse(record, type, &address))
        return false;
    put(text, "%s", net_address_ip_text(&address, ip));
    return true;
}

static bool
put_name(struct text *text, const struct dns_record *record)
{
    char name[256];

    if (!dns_name_parse(record, name))
        return false;
    put(text, "%s", or_root(name));
    return true;
}

static bool
put_mx(struct text *text, const struct dns_record *record)
{
    uint16_t preference;
    char host[256];

    if (!dns_mx_parse(record, &preference, host))
        return false;
    put(text, "%u %s", preference, or_root(host));
    return true;
}

static void
put_string(struct text *text, struct sv string)
{
    put(text, "\"");
    for (size_t i = 0; i < string.n && !text->cut; i++) {
        char c = string.p[i];

        if (!char_is_print(c))
            put(text, "\\%03u", (uint8_t)c);
        else if (c == '"' || c == '\\')
            put(text, "\\%c", c);
        else
            put(text, "%c", c);
    }
    put(text, "\"");
}

/* The strings by themselves: how they are cut is what one may look for. */
static bool
put_txt(struct text *text, const struct dns_record *record)
{
    struct sv in = {(const char *)record->data, record->length};
    size_t start = text->n;

    while (in.n > 0) {
        size_t length = (uint8_t)in.p[0];

        in = sv_from(in, 1);
        if (length > in.n) {
            text->n = start;
            return false;
        }
        put(text, "%s", text->n > start ? " " : "");
        put_string(text, sv_slice(in, 0, length));
        in = sv_from(in, length);
    }
    return text->n > start;
}

static bool
put_soa(struct text *text, const struct dns_record *record)
{
    struct dns_soa soa;

    if (!dns_soa_parse(record, &soa))
        return false;
    put(text, "%s serial %u refresh %u retry %u expire %u minimum %u",
        or_root(soa.server), soa.serial, soa.refresh, soa.retry, soa.expire,
        soa.minimum);
    return true;
}

static bool
put_tlsa(struct text *text, const struct dns_record *record)
{
    const uint8_t *data = record->data;

    if (record->length < 3)
        return false;
    put(text, "%u %u %u ", data[0], data[1], data[2]);
    put_hex(text, data + 3, record->length - 3);
    return true;
}

static bool
put_known(struct text *text, enum dns_type type,
          const struct dns_record *record)
{
    switch (type) {
    case DNS_A:
    case DNS_AAAA:
        return put_address(text, type, record);
    case DNS_NS:
    case DNS_CNAME:
    case DNS_PTR:
        return put_name(text, record);
    case DNS_SOA:
        return put_soa(text, record);
    case DNS_MX:
        return put_mx(text, record);
    case DNS_TXT:
        return put_txt(text, record);
    case DNS_TLSA:
        return put_tlsa(text, record);
    default:
        return false;
    }
}

void
dns_record_print(enum dns_type type, const struct dns_record *record, char *out,
                 size_t size)
{
    struct text text = {.out = out, .size = size};

    out[0] = '\0';
    if (!put_known(&text, type, record))
        put_raw(&text, record);
    if (text.cut && size > 4)
        memcpy(out + size - 4, "...", 4);
}
