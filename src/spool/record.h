/* spool/record.h - one record of a segment: bytes in, struct out.
 *
 * A record is RECORD_HEADER bytes, the head (envelope or payload), the content
 * unless it lies in a file of its own, and zeros up to a multiple of 8.  Its
 * first eight bytes are the segment's salt: bytes left over from an earlier
 * life of the file, and bytes that a peer put into a message to look like a
 * record, do not carry it. */
#ifndef SPOOL_RECORD_H
#define SPOOL_RECORD_H
#include "spool/spool.h"

enum {
    RECORD_HEADER = 64,
    RECORD_ALIGN = 8,
    RECORD_HEAD_MAX = 16 << 20, /* bytes */
};

struct record {
    uint64_t salt;
    enum spool_record_type type;
    uint32_t head_length;
    uint64_t content_length;
    uint64_t sequence;
    int64_t wall_us;
    spool_message_id id;
    uint64_t body; /* number of the body file; 0: the content is in line */
    uint32_t content_crc;
};

void record_encode(const struct record *record, struct sv head,
                   unsigned char raw[RECORD_HEADER]);
/* False: this is no record of the segment with this salt (or cannot be one). */
MUST_USE bool record_decode(const unsigned char raw[RECORD_HEADER],
                            uint64_t salt, struct record *record);
/* Whether header and head belong together. */
MUST_USE bool record_intact(const unsigned char raw[RECORD_HEADER],
                            struct sv head);

/* Bytes of content that follow the head; 0 when a file holds them. */
uint64_t record_inline_length(const struct record *record);
/* Bytes from this record to the next. */
uint64_t record_span(const struct record *record);
const char *record_type_name(enum spool_record_type type);

/* offset is a multiple of 8 below 32 GiB, segment below 2^31. */
struct spool_place place_make(enum spool_journal journal, uint32_t segment,
                              uint64_t offset);
/* The name of a journal: "intake", "ledger". */
const char *journal_name(enum spool_journal journal);
#endif
