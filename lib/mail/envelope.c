#include "mail/envelope.h"

/* Tags are part of the spool's format: never reuse a number.  Empty views and
 * zero numbers are left out. */
enum tag {
    TAG_QUEUE_ID = 1,
    TAG_SENDER = 2,
    TAG_ENVID = 3,
    TAG_RET = 4,          /* uint8, enum envelope_ret */
    TAG_BODY = 5,         /* uint8, enum envelope_body */
    TAG_FLAGS = 6,        /* uint8, FLAG_… */
    TAG_HEADER_BYTES = 7, /* uint32 */
    TAG_CLIENT_ADDRESS = 8,
    TAG_CLIENT_NAME = 9,
    TAG_SESSION = 10,
    TAG_LISTENER = 11,
    TAG_TLS_VERSION = 12,
    TAG_TLS_CIPHER = 13,
    TAG_TLS_DEMANDS = 14, /* uint8, bits of enum envelope_tls */
    TAG_TO = 32,          /* begins a recipient */
    TAG_DOMAIN = 33,
    TAG_ORCPT = 34,
    TAG_NOTIFY = 35, /* uint8, bits of enum envelope_notify */
};

enum { FLAG_SMTPUTF8 = 1, FLAG_EIGHT_BIT = 2, FLAG_HEADER_UTF8 = 4 };
enum { ITEM_HEAD = 4, NOTIFY_ALL = 15, TLS_ALL = 63 };

static const struct text_item {
    uint8_t tag;
    size_t offset;
} message_texts[] = {
    {TAG_QUEUE_ID, offsetof(struct envelope, queue_id)},
    {TAG_SENDER, offsetof(struct envelope, sender)},
    {TAG_ENVID, offsetof(struct envelope, envid)},
    {TAG_CLIENT_ADDRESS, offsetof(struct envelope, client_address)},
    {TAG_CLIENT_NAME, offsetof(struct envelope, client_name)},
    {TAG_SESSION, offsetof(struct envelope, session)},
    {TAG_LISTENER, offsetof(struct envelope, listener)},
    {TAG_TLS_VERSION, offsetof(struct envelope, tls_version)},
    {TAG_TLS_CIPHER, offsetof(struct envelope, tls_cipher)},
};
static const struct text_item recipient_texts[] = {
    {TAG_DOMAIN, offsetof(struct envelope_recipient, domain)},
    {TAG_ORCPT, offsetof(struct envelope_recipient, orcpt)},
};

static const struct demand {
    const char *name;
    unsigned bit;
} demand_names[] = {
    {"requiretls", ENVELOPE_REQUIRETLS},
    {"tls-optional", ENVELOPE_TLS_OPTIONAL},
    {"tls-required", ENVELOPE_TLS_REQUIRED},
    {"tls-verified", ENVELOPE_TLS_VERIFIED},
    {"ignore-dane", ENVELOPE_IGNORE_DANE},
    {"tls-report", ENVELOPE_TLS_REPORT},
};

const char *
envelope_tls_text(unsigned demands, char out[ENVELOPE_TLS_TEXT])
{
    size_t length = 0;

    out[0] = '\0';
    for (size_t i = 0; i < COUNT_OF(demand_names); i++)
        if (demands & demand_names[i].bit)
            length += (size_t)snprintf(out + length, ENVELOPE_TLS_TEXT - length,
                                       "%s%s", length > 0 ? "," : "",
                                       demand_names[i].name);
    return out;
}

bool
envelope_tls_add(struct sv name, unsigned *demands)
{
    for (size_t i = 0; i < COUNT_OF(demand_names); i++)
        if (sv_is(name, demand_names[i].name)) {
            *demands |= demand_names[i].bit;
            return true;
        }
    return false;
}

struct item {
    uint8_t tag;
    struct sv bytes;
};

static void
add_text(struct buf *out, uint8_t tag, struct sv text)
{
    assert(text.n <= UINT16_MAX);
    buf_add_char(out, (char)tag);
    buf_add_char(out, 0);
    buf_add_char(out, (char)(text.n & 0xff));
    buf_add_char(out, (char)(text.n >> 8));
    buf_add(out, text);
}

static void
add_number(struct buf *out, uint8_t tag, uint32_t value, size_t size)
{
    char bytes[4];

    if (value == 0)
        return;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(value >> (8 * i) & 0xff);
    add_text(out, tag, (struct sv){bytes, size});
}

static void
add_texts(struct buf *out, const struct text_item *items, size_t count,
          const void *from)
{
    for (size_t i = 0; i < count; i++) {
        struct sv text;

        memcpy(&text, (const char *)from + items[i].offset, sizeof text);
        if (text.n > 0)
            add_text(out, items[i].tag, text);
    }
}

void
envelope_encode(const struct envelope *envelope, struct buf *out)
{
    unsigned flags = (envelope->smtputf8 ? FLAG_SMTPUTF8 : 0u) |
                     (envelope->eight_bit ? FLAG_EIGHT_BIT : 0u) |
                     (envelope->header_utf8 ? FLAG_HEADER_UTF8 : 0u);

    add_texts(out, message_texts, COUNT_OF(message_texts), envelope);
    add_number(out, TAG_RET, envelope->ret, 1);
    add_number(out, TAG_BODY, envelope->body, 1);
    add_number(out, TAG_FLAGS, flags, 1);
    add_number(out, TAG_HEADER_BYTES, envelope->header_bytes, 4);
    add_number(out, TAG_TLS_DEMANDS, envelope->tls_demands, 1);
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        const struct envelope_recipient *to = &envelope->recipients[i];

        add_text(out, TAG_TO, to->address);
        add_texts(out, recipient_texts, COUNT_OF(recipient_texts), to);
        add_number(out, TAG_NOTIFY, to->notify, 1);
    }
}

/* False at the end, and for an item that is not whole: *in is then left where
 * it was. */
static bool
take_item(struct sv *in, struct item *item)
{
    const unsigned char *p = (const unsigned char *)in->p;
    size_t length;

    if (in->n < ITEM_HEAD || p[1] != 0)
        return false;
    length = (size_t)p[2] | (size_t)p[3] << 8;
    if (in->n - ITEM_HEAD < length)
        return false;
    item->tag = p[0];
    item->bytes = (struct sv){in->p + ITEM_HEAD, length};
    *in = sv_from(*in, ITEM_HEAD + length);
    return true;
}

static bool
store_text(const struct item *item, const struct text_item *items, size_t count,
           void *to)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].tag == item->tag) {
            memcpy((char *)to + items[i].offset, &item->bytes,
                   sizeof item->bytes);
            return true;
        }
    }
    return false;
}

/* A number of `size` bytes that is at most max. */
static bool
read_number(const struct item *item, size_t size, uint32_t max, uint32_t *value)
{
    *value = 0;
    if (item->bytes.n != size)
        return false;
    for (size_t i = 0; i < size; i++)
        *value |= (uint32_t)(unsigned char)item->bytes.p[i] << (8 * i);
    return *value <= max;
}

/* Items of the message; an unknown one is skipped. */
static bool
store_message_item(const struct item *item, struct envelope *e)
{
    uint32_t value;

    switch (item->tag) {
    case TAG_RET:
        if (!read_number(item, 1, RET_HDRS, &value))
            return false;
        e->ret = (enum envelope_ret)value;
        return true;
    case TAG_BODY:
        if (!read_number(item, 1, BODY_8BITMIME, &value))
            return false;
        e->body = (enum envelope_body)value;
        return true;
    case TAG_FLAGS:
        if (!read_number(item, 1, UINT8_MAX, &value))
            return false;
        e->smtputf8 = value & FLAG_SMTPUTF8;
        e->eight_bit = value & FLAG_EIGHT_BIT;
        e->header_utf8 = value & FLAG_HEADER_UTF8;
        return true;
    case TAG_HEADER_BYTES:
        return read_number(item, 4, UINT32_MAX, &e->header_bytes);
    case TAG_TLS_DEMANDS:
        /* A demand that is not understood must not be dropped silently: the
         * message would travel with less than it asked for. */
        return read_number(item, 1, TLS_ALL, &e->tls_demands);
    default:
        store_text(item, message_texts, COUNT_OF(message_texts), e);
        return true;
    }
}

/* Items of a recipient; `to` is NULL before the first. */
static bool
store_recipient_item(const struct item *item, struct envelope_recipient *to)
{
    uint32_t value;

    if (to == NULL)
        return false;
    if (item->tag == TAG_NOTIFY) {
        if (!read_number(item, 1, NOTIFY_ALL, &value))
            return false;
        to->notify = value;
        return true;
    }
    return store_text(item, recipient_texts, COUNT_OF(recipient_texts), to);
}

static size_t
count_recipients(struct sv bytes)
{
    struct item item;
    size_t count = 0;

    while (take_item(&bytes, &item))
        count += item.tag == TAG_TO;
    return count;
}

static bool
store_item(const struct item *item, struct envelope *e)
{
    struct envelope_recipient *last =
        e->recipient_count > 0 ? &e->recipients[e->recipient_count - 1] : NULL;

    switch (item->tag) {
    case TAG_TO:
        e->recipients[e->recipient_count++] =
            (struct envelope_recipient){.address = item->bytes};
        return true;
    case TAG_DOMAIN:
    case TAG_ORCPT:
    case TAG_NOTIFY:
        return store_recipient_item(item, last);
    default:
        return store_message_item(item, e);
    }
}

bool
envelope_decode(struct sv bytes, struct arena *arena, struct envelope *envelope,
                struct err *err)
{
    size_t whole = bytes.n;
    struct item item;

    *envelope = (struct envelope){0};
    envelope->recipients = arena_alloc(
        arena, count_recipients(bytes) * sizeof(struct envelope_recipient));
    while (take_item(&bytes, &item)) {
        if (!store_item(&item, envelope)) {
            err_set(err, "envelope: bad item with tag %u before byte %zu",
                    item.tag, whole - bytes.n);
            return false;
        }
    }
    if (bytes.n > 0) {
        err_set(err, "envelope: broken item at byte %zu of %zu",
                whole - bytes.n, whole);
        return false;
    }
    return true;
}
