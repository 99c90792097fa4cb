/* Why the last attempt failed, kept once for all recipients for which it is the
 * same: as a rule a server says the same thing about a whole queue.  Texts that
 * differ for each message (greylisting with a serial number) would cost more
 * than the message itself; so the table is bounded, texts are cut, and when it
 * is full only stage, code and host are kept.  The ledger has the whole text.
 *
 * Bytes: {stage u8, resumed u8, code u16, class u16, subject u16, detail u16,
 * port u16, bits u16}, then strings, each {length u16, bytes}: eight, and since
 * TLS is decided by policies those of struct ledger_tls too. */
#include "transmit/queue_internal.h"

enum {
    REASON_FIXED = 14,
    REASON_TEXT_MAX = 400,
    REASON_NAME_MAX = 255,
    REASON_STRINGS = 8, /* that are always there */
    REASON_STRINGS_MAX = 18,
    REASON_MEMORY_MAX = 16 << 20,
};

struct reason_entry {
    uint32_t refs;
    uint32_t number;
    struct sv bytes; /* in data */
    char data[];
};

static void
add_u16(struct buf *out, unsigned value)
{
    buf_add_char(out, (char)(value & 255u));
    buf_add_char(out, (char)(value >> 8 & 255u));
}

static void
add_string(struct buf *out, struct sv text, size_t max)
{
    if (text.n > max)
        text.n = max;
    add_u16(out, (unsigned)text.n);
    buf_add(out, text);
}

static void
encode_tls(const struct ledger_tls *tls, size_t max, struct buf *out)
{
    char end[24] = "";

    if (tls->not_after != 0)
        snprintf(end, sizeof end, "%lld", (long long)tls->not_after);
    add_string(out, tls->authority, 32);
    add_string(out, tls->reasons, max);
    add_string(out, tls->dane, 32);
    add_string(out, tls->sts, 64);
    add_string(out, tls->noted, max);
    add_string(out, tls->subject, max);
    add_string(out, tls->issuer, max);
    add_string(out, tls->sha256, 64);
    add_string(out, tls->names, max);
    add_string(out, sv_of(end), sizeof end);
}

static void
reason_encode(const struct reason *reason, bool texts, struct buf *out)
{
    size_t max = texts ? REASON_TEXT_MAX : 0;

    buf_add_char(out, (char)reason->stage);
    buf_add_char(out, (char)reason->tls_resumed);
    add_u16(out, reason->code);
    add_u16(out, reason->status.class);
    add_u16(out, reason->status.subject);
    add_u16(out, reason->status.detail);
    add_u16(out, reason->port);
    add_u16(out, reason->tls_bits);
    add_string(out, reason->text, max);
    add_string(out, reason->why, max);
    add_string(out, reason->host, REASON_NAME_MAX);
    add_string(out, reason->ip, REASON_NAME_MAX);
    add_string(out, reason->tls_version, 32);
    add_string(out, reason->tls_cipher, 64);
    add_string(out, reason->tls_verify, 32);
    /* The session's id differs for each connection and would defeat sharing;
     * the log and the ledger have it. */
    add_string(out, (struct sv){0}, 0);
    encode_tls(&reason->tls, max, out);
}

static unsigned
get_u16(struct sv bytes, size_t at)
{
    return (unsigned char)bytes.p[at] | (unsigned)(unsigned char)bytes.p[at + 1]
                                            << 8;
}

bool
reason_parse(struct sv bytes, struct reason *reason)
{
    struct ledger_tls *tls = &reason->tls;
    struct sv end = {0};
    struct sv *strings[REASON_STRINGS_MAX] = {
        &reason->text,       &reason->why,         &reason->host,
        &reason->ip,         &reason->tls_version, &reason->tls_cipher,
        &reason->tls_verify, &reason->delivery,    &tls->authority,
        &tls->reasons,       &tls->dane,           &tls->sts,
        &tls->noted,         &tls->subject,        &tls->issuer,
        &tls->sha256,        &tls->names,          &end};
    uint64_t not_after;

    *reason = (struct reason){0};
    if (bytes.n < REASON_FIXED || (unsigned char)bytes.p[0] >= TLS_STAGE_COUNT)
        return false;
    reason->stage = (enum tls_stage)(unsigned char)bytes.p[0];
    reason->tls_resumed = bytes.p[1] != 0;
    reason->code = (uint16_t)get_u16(bytes, 2);
    reason->status.class = (uint16_t)get_u16(bytes, 4);
    reason->status.subject = (uint16_t)get_u16(bytes, 6);
    reason->status.detail = (uint16_t)get_u16(bytes, 8);
    reason->port = (uint16_t)get_u16(bytes, 10);
    reason->tls_bits = (uint16_t)get_u16(bytes, 12);
    bytes = sv_from(bytes, REASON_FIXED);
    for (size_t i = 0; i < REASON_STRINGS_MAX; i++) {
        size_t n;

        if (bytes.n == 0 && i >= REASON_STRINGS)
            break;
        if (bytes.n < 2 || (n = get_u16(bytes, 0)) > bytes.n - 2)
            return false;
        *strings[i] = sv_slice(bytes, 2, n);
        bytes = sv_from(bytes, 2 + n);
    }
    if (sv_to_u64(end, &not_after))
        tls->not_after = (int64_t)not_after;
    return bytes.n == 0;
}

static struct reason_entry *
entry_at(const struct reasons *reasons, uint32_t number)
{
    return reasons->entries.items[number];
}

uint32_t
reason_intern_bytes(struct reasons *reasons, struct sv bytes)
{
    struct reason_entry *entry = map_get(&reasons->map, bytes);

    if (entry == NULL) {
        if (reasons->bytes + bytes.n > 2 * (size_t)REASON_MEMORY_MAX)
            return 0;
        entry = mem_alloc(sizeof *entry + bytes.n);
        memcpy(entry->data, bytes.p, bytes.n);
        entry->bytes = (struct sv){entry->data, bytes.n};
        entry->number = table_add(&reasons->entries, entry);
        reasons->bytes += bytes.n;
        map_put(&reasons->map, bytes, entry);
    }
    entry->refs++;
    return entry->number;
}

uint32_t
reason_intern(struct reasons *reasons, const struct reason *reason)
{
    struct buf bytes = {0};
    uint32_t number;

    reason_encode(reason, true, &bytes);
    if (reasons->bytes > REASON_MEMORY_MAX &&
        map_get(&reasons->map, buf_view(&bytes)) == NULL) {
        buf_reset(&bytes);
        reason_encode(reason, false, &bytes);
    }
    number = reason_intern_bytes(reasons, buf_view(&bytes));
    buf_fini(&bytes);
    return number;
}

void
reason_hold(struct reasons *reasons, uint32_t number)
{
    if (number != 0)
        entry_at(reasons, number)->refs++;
}

void
reason_drop(struct reasons *reasons, uint32_t number)
{
    struct reason_entry *entry;

    if (number == 0)
        return;
    entry = entry_at(reasons, number);
    assert(entry->refs > 0);
    if (--entry->refs > 0)
        return;
    map_remove(&reasons->map, entry->bytes);
    reasons->bytes -= entry->bytes.n;
    table_remove(&reasons->entries, number);
    mem_free(entry);
}

struct sv
reason_bytes(const struct reasons *reasons, uint32_t number)
{
    return entry_at(reasons, number)->bytes;
}

void
reason_view(const struct reasons *reasons, uint32_t number,
            struct reason *reason)
{
    bool ok;

    *reason = (struct reason){0};
    if (number == 0)
        return;
    ok = reason_parse(entry_at(reasons, number)->bytes, reason);
    assert(ok);
    (void)ok;
}

void
reason_of(const struct ledger_attempt *attempt,
          const struct ledger_result *result, struct reason *reason)
{
    *reason = (struct reason){
        .stage = attempt->stage,
        .code = result->code,
        .status = result->status,
        .port = attempt->port,
        .tls_bits = attempt->tls_bits,
        .tls_resumed = attempt->tls_resumed,
        .text = result->text,
        .why = attempt->reason,
        .host = attempt->host,
        .ip = attempt->ip,
        .tls_version = attempt->tls_version,
        .tls_cipher = attempt->tls_cipher,
        .tls_verify = attempt->tls_verify,
        .tls = attempt->tls,
    };
}

void
reasons_fini(struct reasons *reasons)
{
    for (uint32_t i = 1; i < reasons->entries.end; i++)
        mem_free(entry_at(reasons, i));
    table_fini(&reasons->entries);
    map_fini(&reasons->map);
    *reasons = (struct reasons){0};
}

void
rcpt_set_reason(struct queue *queue, struct rcpt *rcpt, uint32_t number)
{
    reason_drop(&queue->reasons, rcpt->reason);
    rcpt->reason = number;
}
