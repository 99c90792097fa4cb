#include "spool/record.h"
#include "base/crc32c.h"
#include "spool/bytes.h"

/* Offsets within the header; FORMAT.md draws them. */
enum {
    AT_SALT = 0,
    AT_TYPE = 8,
    AT_HEAD_LENGTH = 12,
    AT_CONTENT_LENGTH = 16,
    AT_SEQUENCE = 24,
    AT_WALL = 32,
    AT_ID = 40,
    AT_BODY = 48,
    AT_CONTENT_CRC = 56,
    AT_CRC = 60,
};

/* No content is longer than a file system's file; keeps sums from wrapping. */
#define CONTENT_MAX (UINT64_C(1) << 48)

void
record_encode(const struct record *record, struct sv head,
              unsigned char raw[RECORD_HEADER])
{
    memset(raw, 0, RECORD_HEADER);
    put_u64(raw + AT_SALT, record->salt);
    raw[AT_TYPE] = (unsigned char)record->type;
    put_u32(raw + AT_HEAD_LENGTH, record->head_length);
    put_u64(raw + AT_CONTENT_LENGTH, record->content_length);
    put_u64(raw + AT_SEQUENCE, record->sequence);
    put_u64(raw + AT_WALL, (uint64_t)record->wall_us);
    put_u64(raw + AT_ID, record->id);
    put_u64(raw + AT_BODY, record->body);
    put_u32(raw + AT_CONTENT_CRC, record->content_crc);
    put_u32(raw + AT_CRC, crc32c(crc32c(0, raw, AT_CRC), head.p, head.n));
}

bool
record_decode(const unsigned char raw[RECORD_HEADER], uint64_t salt,
              struct record *record)
{
    *record = (struct record){
        .salt = get_u64(raw + AT_SALT),
        .type = raw[AT_TYPE],
        .head_length = get_u32(raw + AT_HEAD_LENGTH),
        .content_length = get_u64(raw + AT_CONTENT_LENGTH),
        .sequence = get_u64(raw + AT_SEQUENCE),
        .wall_us = (int64_t)get_u64(raw + AT_WALL),
        .id = get_u64(raw + AT_ID),
        .body = get_u64(raw + AT_BODY),
        .content_crc = get_u32(raw + AT_CONTENT_CRC),
    };
    return record->salt == salt && record->type != 0 &&
           record->head_length <= RECORD_HEAD_MAX &&
           record->content_length <= CONTENT_MAX;
}

bool
record_intact(const unsigned char raw[RECORD_HEADER], struct sv head)
{
    uint32_t crc = crc32c(crc32c(0, raw, AT_CRC), head.p, head.n);

    return crc == get_u32(raw + AT_CRC);
}

uint64_t
record_inline_length(const struct record *record)
{
    return record->body == 0 ? record->content_length : 0;
}

uint64_t
record_span(const struct record *record)
{
    uint64_t bytes =
        RECORD_HEADER + record->head_length + record_inline_length(record);

    return (bytes + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

const char *
record_type_name(enum spool_record_type type)
{
    switch (type) {
    case SPOOL_MESSAGE:
        return "message";
    case SPOOL_ATTEMPT:
        return "attempt";
    case SPOOL_ACTION:
        return "action";
    case SPOOL_NOTE:
        return "note";
    case SPOOL_SESSION:
        return "session";
    }
    return "unknown";
}

/* A place: journal in bit 63, segment in bits 32-62, offset / 8 below. */

struct spool_place
place_make(enum spool_journal journal, uint32_t segment, uint64_t offset)
{
    assert(offset % RECORD_ALIGN == 0 && offset >> 35 == 0);
    assert(segment >> 31 == 0);
    return (struct spool_place){(uint64_t)journal << 63 |
                                (uint64_t)segment << 32 |
                                offset / RECORD_ALIGN};
}

enum spool_journal
spool_place_journal(struct spool_place place)
{
    return place.packed >> 63 ? SPOOL_LEDGER : SPOOL_INTAKE;
}

uint32_t
spool_place_segment(struct spool_place place)
{
    return (uint32_t)(place.packed >> 32 & INT32_MAX);
}

uint64_t
spool_place_offset(struct spool_place place)
{
    return (place.packed & UINT32_MAX) * RECORD_ALIGN;
}

const char *
journal_name(enum spool_journal journal)
{
    return journal == SPOOL_INTAKE ? "intake" : "ledger";
}
