/* fuzz_proxy - the PROXY header parser: no input crashes it, its views stay
 * inside the input, and no beginning of a good header is called bad. */
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_inside(struct sv part, struct sv whole)
{
    return part.n == 0 || (part.p >= whole.p && part.n <= whole.n &&
                           (size_t)(part.p - whole.p) <= whole.n - part.n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv input = {(const char *)data, size};
    struct proxy_header header;
    size_t length, ignored;

    if (proxy_parse(input, &header, &length) != PROXY_OK)
        return 0;
    assert(length > 0 && length <= size && length <= PROXY_MAX);
    assert(is_inside(header.tls_version, input));
    assert(is_inside(header.tls_cipher, input));
    for (size_t n = 0; n < length; n++) {
        enum proxy_result result =
            proxy_parse(sv_slice(input, 0, n), &header, &ignored);

        assert(result == PROXY_PARTIAL);
        (void)result;
    }
    return 0;
}
