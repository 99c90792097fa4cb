/* Header sections: the counter, fed in any pieces, agrees with the reader, also
 * on TLS-Required; a value that is written comes back as one field.  The first
 * byte is the size of the pieces. */
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
count_received(struct sv in)
{
    struct mail_field field;
    struct buf text = {0};
    size_t count = 0;

    while (mail_field_next(&in, &field)) {
        assert(field.name.n > 0 && field.name.n < field.whole.n);
        assert(field.value.n < field.whole.n);
        count += sv_is_nocase(field.name, "Received");
        buf_reset(&text);
        mail_unfold(field.value, &text);
        assert(!sv_has(buf_view(&text), '\n') &&
               !sv_has(buf_view(&text), '\r'));
    }
    buf_fini(&text);
    return count;
}

/* RFC 8689 section 3, over whole fields. */
static bool
is_tls_optional(struct sv in)
{
    struct mail_field field;
    size_t count = 0;
    bool no = false;

    while (mail_field_next(&in, &field)) {
        struct tls_required_value value = {0};

        if (!sv_is_nocase(field.name, "TLS-Required"))
            continue;
        count++;
        tls_required_feed(&value, field.value);
        no = tls_required_is_no(&value);
    }
    return count == 1 && no;
}

static void
check_counter(struct sv in, size_t step)
{
    struct mail_counter counter;
    bool eight_bit = false;

    mail_counter_init(&counter);
    for (size_t at = 0; at < in.n; at += step)
        mail_counter_feed(&counter, sv_slice(in, at, step));
    for (size_t i = 0; i < in.n; i++)
        eight_bit |= (unsigned char)in.p[i] > 0x7f;
    assert(counter.received == count_received(in));
    assert(counter.header_bytes == mail_header_length(in));
    assert(counter.eight_bit == eight_bit);
    assert(mail_counter_tls_optional(&counter) == is_tls_optional(in));
}

static void
check_write(struct sv value)
{
    struct buf out = {0};
    struct mail_field field;
    struct sv rest;

    mail_field_write(&out, "Subject", value);
    rest = buf_view(&out);
    assert(mail_field_next(&rest, &field) && rest.n == 0);
    assert(sv_is(field.name, "Subject"));
    for (rest = buf_view(&out); rest.n > 0;) {
        struct sv line = sv_take_until(&rest, '\n');

        assert(line.n >= 2 && line.n <= 999); /* with the CR */
        assert(sv_index(line, '\r') == line.n - 1);
    }
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step = size > 0 ? (size_t)data[0] + 1 : 1;
    struct sv in = sv_from((struct sv){(const char *)data, size}, 1);

    check_counter(in, step);
    check_counter(in, in.n + 1);
    check_write(in);
    return 0;
}
