#include "spool/scan.h"
#include "base/crc32c.h"
#include "spool/bytes.h"
#include <errno.h>
#include <inttypes.h>

enum { SCAN_BUFFER = 256 << 10, CHECKSUM_PIECE = 64 << 10 };

void
scan_init(struct scan *scan, int fd, const struct scan_options *options)
{
    *scan = (struct scan){.fd = fd, .at = *options};
}

void
scan_fini(struct scan *scan)
{
    mem_free(scan->buffer);
    *scan = (struct scan){.fd = -1};
}

static bool
fill(struct scan *scan, uint64_t offset, size_t n, struct err *err)
{
    uint64_t left = scan->at.limit - offset;
    size_t want = n > SCAN_BUFFER ? n : SCAN_BUFFER;

    if (want > scan->cap) {
        mem_free(scan->buffer);
        scan->buffer = mem_alloc_raw(want);
        scan->cap = want;
    }
    if (want > left)
        want = (size_t)left;
    ssize_t got = read_fully(scan->fd, scan->buffer, want, offset);
    scan->start = offset;
    scan->filled = got < 0 ? 0 : (size_t)got;
    if (got < 0)
        err_sys(err, "read at %" PRIu64, offset);
    return got >= 0;
}

/* The n bytes at offset.  *at is NULL where the segment is shorter. False: I/O
 * error. */
static bool
load(struct scan *scan, uint64_t offset, size_t n, const unsigned char **at,
     struct err *err)
{
    *at = NULL;
    if (offset > scan->at.limit || scan->at.limit - offset < n)
        return true;
    if (offset < scan->start || offset + n > scan->start + scan->filled) {
        if (!fill(scan, offset, n, err))
            return false;
        if (scan->filled < n)
            return true;
    }
    *at = scan->buffer + (offset - scan->start);
    return true;
}

/* Whether an intact record begins at offset. */
static enum scan_result
try_record(struct scan *scan, uint64_t offset, struct scan_item *item,
           struct err *err)
{
    const unsigned char *raw;
    struct record *record = &item->record;

    if (!load(scan, offset, RECORD_HEADER, &raw, err))
        return SCAN_FAILED;
    if (raw == NULL || !record_decode(raw, scan->at.salt, record) ||
        record->sequence <= scan->at.sequence ||
        record_span(record) > scan->at.limit - offset)
        return SCAN_DAMAGED;
    if (!load(scan, offset, RECORD_HEADER + record->head_length, &raw, err))
        return SCAN_FAILED;
    if (raw == NULL)
        return SCAN_DAMAGED;
    item->head =
        (struct sv){(const char *)raw + RECORD_HEADER, record->head_length};
    item->offset = offset;
    return record_intact(raw, item->head) ? SCAN_RECORD : SCAN_DAMAGED;
}

/* Looks for the next intact record behind offset. */
static enum scan_result
look_ahead(struct scan *scan, uint64_t offset, struct scan_item *item,
           struct err *err)
{
    for (offset += RECORD_ALIGN; offset + RECORD_HEADER <= scan->at.limit;
         offset += RECORD_ALIGN) {
        const unsigned char *raw;

        if (!load(scan, offset, RECORD_HEADER, &raw, err))
            return SCAN_FAILED;
        if (raw == NULL)
            return SCAN_END;
        if (get_u64(raw) != scan->at.salt)
            continue;
        enum scan_result found = try_record(scan, offset, item, err);
        if (found != SCAN_DAMAGED)
            return found;
    }
    return SCAN_END;
}

static enum scan_result
skip_damage(struct scan *scan, struct scan_item *item, struct err *err)
{
    uint64_t from = scan->at.offset;
    enum scan_result found = look_ahead(scan, from, item, err);

    if (found == SCAN_FAILED)
        return found;
    if (found == SCAN_END && scan->at.tail)
        return SCAN_END;
    item->skipped_to = found == SCAN_RECORD ? item->offset : scan->at.limit;
    item->offset = from;
    return SCAN_DAMAGED;
}

bool
scan_checksum(int fd, uint64_t offset, uint64_t n, uint32_t *crc,
              struct err *err)
{
    char piece[CHECKSUM_PIECE];

    for (*crc = 0; n > 0;) {
        size_t want = n < sizeof piece ? (size_t)n : sizeof piece;
        ssize_t got = read_fully(fd, piece, want, offset);

        if (got < 0)
            err_sys(err, "read at %" PRIu64, offset);
        else if (got == 0)
            err_damaged(err, "ends at %" PRIu64, offset);
        if (got <= 0)
            return false;
        *crc = crc32c(*crc, piece, (size_t)got);
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

static bool
check_content(struct scan *scan, struct scan_item *item, struct err *err)
{
    const struct record *record = &item->record;
    uint64_t at = item->offset + RECORD_HEADER + record->head_length;
    struct err cause = {0};
    uint32_t crc;

    item->content_damaged = false;
    if (!scan->at.check_content || record->body != 0)
        return true;
    if (scan_checksum(scan->fd, at, record->content_length, &crc, &cause))
        item->content_damaged = crc != record->content_crc;
    else if (cause.code == EBADMSG) /* the file is too short */
        item->content_damaged = true;
    else
        err_code(err, cause.code, "read content");
    return cause.code == 0 || cause.code == EBADMSG;
}

enum scan_result
scan_next(struct scan *scan, struct scan_item *item, struct err *err)
{
    enum scan_result result;

    if (scan->at.offset + RECORD_HEADER > scan->at.limit)
        return SCAN_END;
    result = try_record(scan, scan->at.offset, item, err);
    if (result == SCAN_DAMAGED) {
        result = skip_damage(scan, item, err);
        if (result == SCAN_DAMAGED)
            scan->at.offset = item->skipped_to;
        return result;
    }
    if (result == SCAN_RECORD && !check_content(scan, item, err))
        return SCAN_FAILED;
    if (result == SCAN_RECORD) {
        scan->at.offset = item->offset + record_span(&item->record);
        scan->at.sequence = item->record.sequence;
    }
    return result;
}
