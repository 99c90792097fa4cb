/* TLSA records as they come from the DNS, and as people write them. */
#include "tls/dane.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is printed can be read again and is the same. */
static void
print_and_read(const struct tls_tlsa *tlsa)
{
    size_t size = 16 + 2 * (size_t)tlsa->length;
    char *text = mem_alloc_raw(size), little[20];
    uint8_t *room = mem_alloc_raw(tlsa->length);
    struct tls_tlsa again;

    tls_tlsa_print(tlsa, text, size);
    assert(tls_tlsa_from_text(sv_of(text), &again, room, tlsa->length));
    assert(again.usage == tlsa->usage && again.selector == tlsa->selector);
    assert(again.matching == tlsa->matching && again.length == tlsa->length);
    assert(memcmp(again.data, tlsa->data, tlsa->length) == 0);
    tls_tlsa_print(tlsa, little, sizeof little);
    assert(strlen(little) < sizeof little);
    mem_free(text);
    mem_free(room);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_tlsa tlsa;
    uint8_t room[64];

    if (tls_tlsa_parse(data, size, &tlsa)) {
        const char *problem = tls_tlsa_problem(&tlsa);

        assert(problem == NULL || problem[0] != '\0');
        print_and_read(&tlsa);
    }
    if (tls_tlsa_from_text((struct sv){(const char *)data, size}, &tlsa, room,
                           sizeof room))
        assert(tlsa.length > 0 && tlsa.length <= sizeof room);
    return 0;
}
