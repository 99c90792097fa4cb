/* Envelopes from the spool: whatever is read is written and read again the
 * same. */
#include "mail/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv in = {(const char *)data, size};
    struct buf first = {0}, second = {0};
    struct envelope envelope, again;
    struct arena arena;
    struct err err = {0};

    arena_init(&arena, 4096);
    if (envelope_decode(in, &arena, &envelope, &err)) {
        envelope_encode(&envelope, &first);
        assert(envelope_decode(buf_view(&first), &arena, &again, NULL));
        assert(again.recipient_count == envelope.recipient_count);
        envelope_encode(&again, &second);
        assert(sv_eq(buf_view(&first), buf_view(&second)));
    } else {
        assert(err.text[0] != '\0');
    }
    buf_fini(&first);
    buf_fini(&second);
    arena_fini(&arena);
    return 0;
}
