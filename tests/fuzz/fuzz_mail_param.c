/* ESMTP parameters and xtext. */
#include "mail/param.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_params(struct sv in)
{
    struct sv key, value;
    size_t before = in.n;

    while (mail_param_take(&in, &key, &value)) {
        assert(key.n > 0 && in.n < before);
        assert(!sv_has(value, ' ') && !sv_has(value, '\n'));
        before = in.n;
    }
    assert(in.n == before);
}

static void
check_xtext(struct sv in)
{
    char *decoded = mem_alloc_raw(in.n);
    struct buf encoded = {0};
    size_t length;

    mail_xtext_encode(in, &encoded);
    if (mail_xtext_decode(in, decoded, &length)) {
        assert(length <= in.n);
        for (size_t i = 0; i < length; i++)
            assert((unsigned char)decoded[i] >= 0x20 && decoded[i] != 0x7f);
        buf_reset(&encoded);
        mail_xtext_encode((struct sv){decoded, length}, &encoded);
        mem_free(decoded);
        decoded = mem_alloc_raw(buf_length(&encoded));
        assert(mail_xtext_decode(buf_view(&encoded), decoded, &length));
    }
    mem_free(decoded);
    buf_fini(&encoded);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv in = {(const char *)data, size};

    check_params(in);
    check_xtext(in);
    return 0;
}
