/* What comes out of the DNS: the first byte says which type, 0 is a whole
 * message, in which the aliases are looked for. */
#include "dns/dns_internal.h"
#include "net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A chain is in order and never comes back to itself. */
static void
read_message(const uint8_t *data, size_t size)
{
    struct dns_alias aliases[DNS_ALIASES_MAX];
    size_t count = 0;

    if (!dns_packet_aliases(data, size, "a.test", aliases, &count))
        return;
    assert(count <= DNS_ALIASES_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(strcmp(aliases[i].name,
                      i == 0 ? "a.test" : aliases[i - 1].target) == 0);
        for (size_t j = 0; j < i; j++)
            assert(strcmp(aliases[i].target, aliases[j].name) != 0);
    }
}

static void
print(enum dns_type type, const struct dns_record *record)
{
    for (size_t size = 1; size < 4096; size *= 3) {
        char *out = mem_alloc_raw(size);

        dns_record_print(type, record, out, size);
        assert(strlen(out) < size);
        for (const char *c = out; *c != '\0'; c++)
            assert(char_is_print(*c));
        mem_free(out);
    }
}

static void
parse(enum dns_type type, const struct dns_record *record)
{
    struct net_address address;
    struct dns_soa soa;
    uint16_t preference;
    char host[256], room[600];
    struct sv text;

    if (dns_mx_parse(record, &preference, host) || dns_name_parse(record, host))
        assert(strlen(host) <= 253);
    if (dns_soa_parse(record, &soa))
        assert(strlen(soa.server) <= 253);
    if (dns_txt_parse(record, room, sizeof room, &text))
        assert(text.n < record->length && text.n <= sizeof room);
    (void)!dns_address_parse(record, type, &address);
    print(type, record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_record record = {data + 1, size - 1};

    if (size == 0)
        return 0;
    if (data[0] == 0)
        read_message(data + 1, size - 1);
    else
        parse((enum dns_type)data[0], &record);
    return 0;
}
