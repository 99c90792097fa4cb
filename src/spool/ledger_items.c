#include "spool/ledger_internal.h"

#include "spool/bytes.h"

enum { ITEM_HEADER = 4, ITEM_MAX = UINT16_MAX };

/* Names stand here, not from tls/, to keep this file free of OpenSSL. */
#define AS_STAGE_NAME(stage, name, sentence) [stage] = name,
static const char *const stage_names[] = {TLS_STAGES(AS_STAGE_NAME)};

void
ledger_add_item(struct buf *out, unsigned tag, struct sv bytes)
{
    unsigned char header[ITEM_HEADER] = {(unsigned char)tag};

    if (bytes.n > ITEM_MAX)
        bytes.n = ITEM_MAX;
    put_u16(header + 2, (uint16_t)bytes.n);
    buf_add(out, (struct sv){(const char *)header, sizeof header});
    buf_add(out, bytes);
}

void
ledger_add_text(struct buf *out, unsigned tag, struct sv text)
{
    if (text.n > 0)
        ledger_add_item(out, tag, text);
}

void
ledger_add_number(struct buf *out, unsigned tag, uint64_t value)
{
    unsigned char bytes[8];

    if (value == 0)
        return;
    put_u64(bytes, value);
    ledger_add_item(out, tag, (struct sv){(const char *)bytes, sizeof bytes});
}

bool
ledger_take_item(struct sv *in, struct ledger_item *item)
{
    const unsigned char *raw = (const unsigned char *)in->p;
    size_t n;

    if (in->n < ITEM_HEADER)
        return false;
    n = get_u16(raw + 2);
    if (in->n - ITEM_HEADER < n)
        return false;
    item->tag = raw[0];
    item->bytes = sv_slice(*in, ITEM_HEADER, n);
    item->number = n == 8 ? get_u64(raw + ITEM_HEADER) : 0;
    *in = sv_from(*in, ITEM_HEADER + n);
    return true;
}

void
ledger_add_stage(struct buf *out, unsigned tag, enum tls_stage stage)
{
    if (stage != STAGE_NONE)
        ledger_add_text(out, tag, sv_of(stage_names[stage]));
}

/* A stage that a newer version wrote is a failure all the same. */
enum tls_stage
ledger_stage(struct sv name)
{
    for (unsigned i = 0; i < TLS_STAGE_COUNT; i++) {
        if (sv_is(name, stage_names[i]))
            return (enum tls_stage)i;
    }
    return STAGE_PROTOCOL;
}
