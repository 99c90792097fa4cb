/* Reading a journal while it is written and reclaimed.
 *
 * The reader walks segments in order.  In the one that is being written it
 * stops at the published end; in an older one at the end that the next
 * segment's header gives, or the seal if that segment is not the next any
 * more.  It holds a count on its segment, so this process does not reclaim it;
 * another process may, which shows as a changed salt. */
#include "spool/scan.h"
#include "spool/segments.h"
#include <errno.h>
#include <inttypes.h>

struct spool_reader {
    struct spool *spool;
    enum spool_journal journal;
    uint64_t from;   /* records below this sequence are passed over */
    uint32_t number; /* of the segment, or the last one read; 0: none yet */
    struct segment_ref *segment; /* NULL: the next one must be found */
    bool closed; /* the limit of the scan is the segment's end */
    struct scan scan;
};

struct spool_reader *
spool_reader_new(struct spool *spool, enum spool_journal journal,
                 uint64_t from_sequence, struct err *err)
{
    struct spool_reader *reader = mem_alloc(sizeof *reader);

    (void)err; /* what can fail is done by the first read, and may be tried
                * again there */
    reader->spool = spool;
    reader->journal = journal;
    reader->from = from_sequence;
    return reader;
}

static void
leave_segment(struct spool_reader *reader)
{
    if (reader->segment == NULL)
        return;
    scan_fini(&reader->scan);
    segment_put(reader->spool->segments, reader->segment);
    reader->segment = NULL;
}

void
spool_reader_free(struct spool_reader *reader)
{
    if (reader == NULL)
        return;
    leave_segment(reader);
    mem_free(reader);
}

/* --- Where a segment ends ----------------------------------------------- */

static bool
list_segments(struct spool_reader *reader, struct segment_list *list,
              struct err *err)
{
    return segment_list_read(reader->spool->journal_dir[reader->journal], list,
                             err);
}

/* What the header of the next segment says; 0: nothing. */
static uint64_t
end_by_next(struct spool_reader *reader, uint32_t next)
{
    struct segment_ref *ref =
        next == 0
            ? NULL
            : segment_get(reader->spool->segments, reader->journal, next, NULL);
    uint64_t end = 0;

    if (ref != NULL && ref->header.previous == reader->number)
        end = ref->header.previous_end;
    segment_put(reader->spool->segments, ref);
    return end;
}

static bool
closed_end(struct spool_reader *reader, uint64_t *end, struct err *err)
{
    struct segment_list list;

    if (!list_segments(reader, &list, err))
        return false;
    *end = end_by_next(reader, segment_list_after(&list, reader->number));
    segment_list_fini(&list);
    if (*end == 0)
        *end =
            segment_sealed_end(reader->segment->fd, &reader->segment->header);
    return true;
}

/* Lets the scan go as far as is allowed now. */
static bool
extend_limit(struct spool_reader *reader, struct err *err)
{
    struct spool_place end =
        shared_end(&reader->spool->shared, reader->journal);
    struct scan_options *at = &reader->scan.at;
    uint64_t limit = 0;

    if (reader->closed || spool_place_segment(end) < reader->number)
        return true;
    if (spool_place_segment(end) == reader->number) {
        at->limit = spool_place_offset(end);
        return true;
    }
    if (!closed_end(reader, &limit, err))
        return false;
    /* Nobody knows the end: as in recovery, it is behind the last intact
     * record. */
    at->tail = limit == 0;
    at->limit = limit == 0 ? reader->segment->size : limit;
    reader->closed = true;
    return true;
}

/* --- Finding the next segment ------------------------------------------- */

static void
enter_segment(struct spool_reader *reader, struct segment_ref *ref)
{
    reader->segment = ref;
    reader->number = ref->header.number;
    reader->closed = false;
    scan_init(&reader->scan, ref->fd,
              &(struct scan_options){
                  .salt = ref->header.salt,
                  .offset = SEGMENT_START,
                  .limit = SEGMENT_START,
                  .sequence = ref->header.first_sequence - 1,
              });
}

/* Whether the segment after this one begins at or before what is wanted. */
static bool
can_skip(struct spool_reader *reader, uint32_t next)
{
    struct segment_ref *ref =
        next == 0
            ? NULL
            : segment_get(reader->spool->segments, reader->journal, next, NULL);
    bool skip = ref != NULL && ref->header.first_sequence <= reader->from;

    segment_put(reader->spool->segments, ref);
    return skip;
}

static uint32_t
choose_next(struct spool_reader *reader, uint32_t last, struct err *err)
{
    struct segment_list list;
    uint32_t number;

    if (!list_segments(reader, &list, err))
        return 0;
    number = segment_list_after(&list, reader->number);
    while (number != 0 && number < last) {
        uint32_t next = segment_list_after(&list, number);

        if (!can_skip(reader, next))
            break;
        number = next;
    }
    segment_list_fini(&list);
    return number > last ? 0 : number;
}

static enum spool_read
try_next(struct spool_reader *reader, struct err *err)
{
    uint32_t last = spool_place_segment(
        shared_end(&reader->spool->shared, reader->journal));
    struct err cause = {0};
    uint32_t number;
    struct segment_ref *ref;

    if (last <= reader->number)
        return SPOOL_END;
    number = choose_next(reader, last, &cause);
    if (number == 0 && cause.text[0] == '\0')
        return SPOOL_END;
    ref = number == 0 ? NULL
                      : segment_get(reader->spool->segments, reader->journal,
                                    number, &cause);
    if (ref != NULL) {
        enter_segment(reader, ref);
        return SPOOL_RECORD;
    }
    *err = cause;
    if (cause.code != EBADMSG)
        return SPOOL_FAILED;
    reader->number = number;
    return SPOOL_DAMAGED;
}

/* A segment that was reclaimed between the look into the directory and its
 * opening is not there any more at the second look. */
static enum spool_read
open_next(struct spool_reader *reader, struct err *err)
{
    struct err cause = {0};
    enum spool_read result;
    int tries = 3;

    do
        result = try_next(reader, &cause);
    while (result == SPOOL_FAILED && cause.code == ENOENT && --tries > 0);
    if (err != NULL && (result == SPOOL_FAILED || result == SPOOL_DAMAGED))
        *err = cause;
    return result;
}

/* --- Reading ------------------------------------------------------------ */

static void
give_record(const struct spool_reader *reader, const struct scan_item *item,
            struct spool_record *record)
{
    *record = (struct spool_record){
        .type = item->record.type,
        .sequence = item->record.sequence,
        .wall_us = item->record.wall_us,
        .place = place_make(reader->journal, reader->number, item->offset),
        .id = item->record.id,
        .head = item->head,
        .content_length = item->record.content_length,
        .content_damaged = item->content_damaged,
    };
}

/* Damage, or a segment that another process has taken away under us. */
static bool
really_damaged(struct spool_reader *reader, const struct scan_item *item,
               struct err *err)
{
    if (!segment_ref_current(reader->segment)) {
        leave_segment(reader);
        return false;
    }
    err_damaged(err,
                "%s segment %" PRIu32 ": no intact record from offset %" PRIu64
                " to %" PRIu64,
                journal_name(reader->journal), reader->number, item->offset,
                item->skipped_to);
    return true;
}

/* At the end of what is known: SPOOL_RECORD means that there may be more. */
static enum spool_read
read_on(struct spool_reader *reader, struct err *err)
{
    uint64_t limit = reader->scan.at.limit;

    if (!reader->closed && !extend_limit(reader, err))
        return SPOOL_FAILED;
    if (reader->scan.at.limit != limit)
        return SPOOL_RECORD;
    if (!reader->closed)
        return SPOOL_END;
    leave_segment(reader);
    return SPOOL_RECORD;
}

static enum spool_read
step(struct spool_reader *reader, struct spool_record *record, bool *more,
     struct err *err)
{
    struct scan_item item = {0};

    *more = false;
    switch (scan_next(&reader->scan, &item, err)) {
    case SCAN_RECORD:
        *more = item.record.sequence < reader->from;
        give_record(reader, &item, record);
        return SPOOL_RECORD;
    case SCAN_DAMAGED:
        *more = !really_damaged(reader, &item, err);
        return SPOOL_DAMAGED;
    case SCAN_FAILED:
        return SPOOL_FAILED;
    case SCAN_END:
        break;
    }
    enum spool_read result = read_on(reader, err);
    *more = result == SPOOL_RECORD;
    return result;
}

enum spool_read
spool_reader_next(struct spool_reader *reader, struct spool_record *record,
                  struct err *err)
{
    enum spool_read result;
    bool more;

    do {
        more = false;
        if (reader->segment == NULL) {
            result = open_next(reader, err);
            if (result != SPOOL_RECORD)
                break;
        }
        result = step(reader, record, &more, err);
    } while (more);
    if (result == SPOOL_DAMAGED)
        *record = (struct spool_record){
            .place = place_make(reader->journal, reader->number, 0)};
    return result;
}
