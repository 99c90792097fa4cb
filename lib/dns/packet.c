/* The aliases in the answer section of a DNS message (RFC 1035 section 4.1).
 * libunbound gives the last name of a chain only; what lies between is in the
 * message that it keeps. */
#include "dns/dns_internal.h"

enum {
    HEADER = 12,
    POINTERS_MAX = 16, /* of one name */
    RECORDS_READ = 256,
    CLASS_IN = 1,
};

struct packet {
    const uint8_t *data;
    size_t length, at;
};

struct record {
    char name[256];
    unsigned type, class, length;
    size_t data; /* where it begins */
};

static bool
take_16(struct packet *in, unsigned *value)
{
    if (in->length - in->at < 2)
        return false;
    *value = (unsigned)(in->data[in->at] << 8 | in->data[in->at + 1]);
    in->at += 2;
    return true;
}

static bool
skip(struct packet *in, size_t n)
{
    if (in->length - in->at < n)
        return false;
    in->at += n;
    return true;
}

/* Bytes that would be read for something else are written as \DDD (RFC 1035
 * section 5.1). */
static bool
put_byte(char *name, size_t *n, uint8_t byte)
{
    bool plain = byte > ' ' && byte < 127 && byte != '.' && byte != '\\';

    if (*n + (plain ? 1 : 4) > 254)
        return false;
    if (plain)
        name[(*n)++] = char_lower((char)byte);
    else
        *n += (size_t)snprintf(name + *n, 5, "\\%03u", byte);
    return true;
}

static bool
put_label(struct packet *in, size_t length, char *name, size_t *n)
{
    if (in->length - in->at < length)
        return false;
    if (*n > 0) {
        if (*n >= 254)
            return false;
        name[(*n)++] = '.';
    }
    for (size_t i = 0; i < length; i++)
        if (!put_byte(name, n, in->data[in->at + i]))
            return false;
    in->at += length;
    return true;
}

/* A name that may be compressed; in moves behind it.  A pointer must lead back,
 * so that there is no way round in circles. */
static bool
take_name(struct packet *in, char *name)
{
    struct packet at = *in;
    bool jumped = false;
    size_t n = 0;

    for (unsigned pointers = 0; at.at < at.length;) {
        size_t start = at.at;
        unsigned first = at.data[at.at++];

        if (first >= 0xc0) {
            if (at.at == at.length || ++pointers > POINTERS_MAX)
                return false;
            at.at = (first & 0x3fu) << 8 | at.data[at.at];
            if (!jumped)
                in->at = start + 2;
            jumped = true;
            if (at.at >= start)
                return false;
        } else if (first > 63) {
            return false;
        } else if (first > 0) {
            if (!put_label(&at, first, name, &n))
                return false;
        } else {
            name[n] = '\0';
            if (!jumped)
                in->at = at.at;
            return true;
        }
    }
    return false;
}

static bool
take_record(struct packet *in, struct record *record)
{
    if (!take_name(in, record->name) || !take_16(in, &record->type) ||
        !take_16(in, &record->class) || !skip(in, 4) ||
        !take_16(in, &record->length))
        return false;
    record->data = in->at;
    return skip(in, record->length);
}

/* The target of an alias lies within its record, but for a pointer. */
static bool
read_target(const struct packet *in, const struct record *record, char *target)
{
    struct packet data = *in;

    data.at = record->data;
    return take_name(&data, target) && data.at == record->data + record->length;
}

static bool
skip_question(struct packet *in, unsigned *answers)
{
    unsigned questions;
    char name[256];

    in->at = 4;
    if (!take_16(in, &questions) || !take_16(in, answers))
        return false;
    in->at = HEADER;
    for (; questions > 0; questions--)
        if (!take_name(in, name) || !skip(in, 4))
            return false;
    return true;
}

/* All CNAME records, in the order of the message. */
static bool
read_aliases(struct packet *in, struct dns_alias *list, size_t max,
             size_t *count)
{
    unsigned answers;

    *count = 0;
    if (!skip_question(in, &answers))
        return false;
    for (unsigned i = 0; i < answers && i < RECORDS_READ; i++) {
        struct record record;

        if (!take_record(in, &record))
            return false;
        if (record.type != DNS_CNAME || record.class != CLASS_IN)
            continue;
        if (*count == max || !read_target(in, &record, list[*count].target))
            return false;
        snprintf(list[*count].name, sizeof list[*count].name, "%s",
                 record.name);
        (*count)++;
    }
    return true;
}

/* Puts the chain that begins at name to the front, in its order. */
static bool
follow(const char *name, struct dns_alias *list, size_t count, size_t *length)
{
    const char *at = name;

    *length = 0;
    for (size_t i = 0; i < count;) {
        struct dns_alias found = list[i];

        if (strcmp(found.name, at) != 0) {
            i++;
            continue;
        }
        list[i] = list[*length];
        list[(*length)++] = found;
        at = list[*length - 1].target;
        for (size_t j = 0; j < *length; j++)
            if (strcmp(list[j].name, at) == 0)
                return false; /* comes back */
        i = *length;
    }
    return true;
}

bool
dns_packet_aliases(const uint8_t *data, size_t length, const char *name,
                   struct dns_alias *list, size_t *count)
{
    struct packet in = {.data = data, .length = length};
    size_t read = 0;

    *count = 0;
    return length >= HEADER &&
           read_aliases(&in, list, DNS_ALIASES_MAX, &read) &&
           follow(name, list, read, count);
}
