/* The Received field from parts that the peer chooses; the input is cut at
 * NULs.  However hostile, one field comes out, its lines within bounds. */
#include "mail/header.h"
#include "mail/received.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv in = {(const char *)data, size};
    struct received received = {.by = SV("gw.test")};
    struct buf out = {0};
    struct mail_field field;
    struct sv rest;

    received.helo = sv_take_until(&in, '\0');
    received.client_name = sv_take_until(&in, '\0');
    received.client_ip = sv_take_until(&in, '\0');
    received.recipient = sv_take_until(&in, '\0');
    received.protocol = sv_take_until(&in, '\0');
    received.tls_cipher = sv_take_until(&in, '\0');
    received.tls_version = sv_take_until(&in, '\0');
    received.tls_verify = sv_take_until(&in, '\0');
    received.id = in;
    received_write(&out, &received);

    rest = buf_view(&out);
    assert(mail_field_next(&rest, &field) && rest.n == 0);
    assert(sv_is(field.name, "Received"));
    for (rest = buf_view(&out); rest.n > 0;) {
        struct sv line = sv_take_until(&rest, '\n');

        assert(line.n >= 2 && line.n <= 999);
        assert(sv_index(line, '\r') == line.n - 1);
    }
    buf_fini(&out);
    return 0;
}
