#include "spool/recover.h"
#include "base/log.h"
#include "spool/scan.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

/* The numbers of the body files that the last segment's records name. */
struct wanted {
    uint64_t *numbers;
    size_t count, cap;
};

static void
want(struct wanted *wanted, uint64_t number)
{
    if (wanted->count == wanted->cap) {
        wanted->cap = wanted->cap * 2 + 16;
        wanted->numbers =
            mem_resize(wanted->numbers, wanted->cap * sizeof *wanted->numbers);
    }
    wanted->numbers[wanted->count++] = number;
}

static int
compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return (*x > *y) - (*x < *y);
}

static void
sort_wanted(struct wanted *wanted)
{
    if (wanted->count > 1)
        qsort(wanted->numbers, wanted->count, sizeof *wanted->numbers,
              compare_numbers);
}

static bool
is_wanted(const struct wanted *wanted, uint64_t number)
{
    return wanted->count > 0 && bsearch(&number, wanted->numbers, wanted->count,
                                        sizeof number, compare_numbers) != NULL;
}

/* --- The last segment --------------------------------------------------- */

struct walk {
    enum spool_journal journal;
    uint32_t segment;
    uint64_t acknowledged; /* offset up to which commits were reported */
    struct scan scan;
    struct wanted *bodies;
    struct recovered *found;
};

static void
report_damage(const struct walk *walk, uint64_t offset, const char *what)
{
    log_event(NULL, LOG_ERROR, "spool.damaged",
              LOG_STR("journal", journal_name(walk->journal)),
              LOG_U64("segment", walk->segment), LOG_U64("offset", offset),
              LOG_STR("reason", what));
}

/* A record with damaged content right at the end is one whose write was cut
 * short; but not when its commit was reported. */
static void
take_record(struct walk *walk, const struct scan_item *item)
{
    struct recovered *found = walk->found;

    if (item->content_damaged) {
        report_damage(walk, item->offset, "content fails its checksum");
        if (item->offset >= walk->acknowledged)
            return;
    }
    found->end = walk->scan.at.offset;
    found->next_sequence = item->record.sequence + 1;
    found->wall_us = item->record.wall_us;
    if (item->record.body != 0)
        want(walk->bodies, item->record.body);
}

static bool
walk_records(struct walk *walk, struct err *err)
{
    struct scan_item item;

    for (;;) {
        switch (scan_next(&walk->scan, &item, err)) {
        case SCAN_RECORD:
            take_record(walk, &item);
            break;
        case SCAN_DAMAGED:
            report_damage(walk, item.offset, "no intact record");
            break;
        case SCAN_FAILED:
            return false;
        case SCAN_END:
            if (walk->found->end < walk->acknowledged)
                report_damage(walk, walk->found->end,
                              "acknowledged records are missing at the end");
            return true;
        }
    }
}

static uint64_t
acknowledged_end(const struct spool *spool, enum spool_journal journal,
                 uint32_t segment)
{
    struct spool_place end = shared_end(&spool->shared, journal);

    return spool_place_segment(end) == segment ? spool_place_offset(end) : 0;
}

/* A segment without records is given back; what its header says about the one
 * before must then stand in the next. */
static void
pass_over_empty(const struct segment_header *header, struct recovered *found)
{
    found->empty = header->number;
    found->last = header->previous;
    found->end = header->previous_end;
}

static bool
walk_segment(struct spool *spool, int fd, const struct segment_header *header,
             struct wanted *bodies, struct recovered *found, struct err *err)
{
    struct stat st;
    struct walk walk = {
        .journal = header->journal,
        .segment = header->number,
        .acknowledged =
            acknowledged_end(spool, header->journal, header->number),
        .bodies = bodies,
        .found = found,
    };

    if (fstat(fd, &st) == -1) {
        err_sys(err, "stat segment %" PRIu32, header->number);
        return false;
    }
    found->last = header->number;
    found->end = SEGMENT_START;
    found->next_sequence = header->first_sequence;
    found->wall_us = header->created_us;
    scan_init(&walk.scan, fd,
              &(struct scan_options){
                  .salt = header->salt,
                  .offset = SEGMENT_START,
                  .limit = (uint64_t)st.st_size,
                  .sequence = header->first_sequence - 1,
                  .tail = true,
                  .check_content = true,
              });
    bool ok = walk_records(&walk, err);
    scan_fini(&walk.scan);
    if (ok && found->end == SEGMENT_START)
        pass_over_empty(header, found);
    return ok;
}

/* --- Body files --------------------------------------------------------- */

struct sweep {
    int dir;
    const struct segment_list *segments;
    const struct wanted *wanted;
    uint32_t last;
    size_t removed;
};

static bool
segment_exists(const struct segment_list *list, uint32_t number)
{
    return number != 0 && segment_list_after(list, number - 1) == number;
}

static void
sweep_body(void *arg, const char *name)
{
    struct sweep *sweep = arg;
    uint32_t segment;
    uint64_t number;

    if (!body_name_parse(name, &segment, &number))
        return;
    if (segment == sweep->last ? is_wanted(sweep->wanted, number)
                               : segment_exists(sweep->segments, segment))
        return;
    if (unlinkat(sweep->dir, name, 0) == 0)
        sweep->removed++;
}

static void
sweep_bodies(struct spool *spool, enum spool_journal journal,
             const struct segment_list *list, const struct wanted *wanted,
             uint32_t last)
{
    struct sweep sweep = {
        .dir = spool->body_dir[journal],
        .segments = list,
        .wanted = wanted,
        .last = last,
    };

    (void)!dir_each(sweep.dir, sweep_body, &sweep, NULL);
    if (sweep.removed > 0)
        log_event(NULL, LOG_INFO, "spool.orphans",
                  LOG_STR("journal", journal_name(journal)),
                  LOG_U64("removed", sweep.removed));
}

/* --- The journal -------------------------------------------------------- */

static int
open_segment(struct spool *spool, enum spool_journal journal, uint32_t number,
             struct segment_header *header, struct err *err)
{
    char name[SEGMENT_NAME];
    int fd = openat(spool->journal_dir[journal], segment_name(number, name),
                    O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        err_sys(err, "open segment %s", name);
        return -1;
    }
    if (segment_header_read(fd, header, err) && header->journal == journal &&
        header->number == number)
        return fd;
    err_wrap(err, "segment %s", name);
    close(fd);
    return -1;
}

/* Without its header a segment cannot be read; the numbers in it are unknown,
 * so the next ones keep a distance that no segment can bridge. */
static void
skip_headless(struct spool *spool, enum spool_journal journal,
              struct recovered *found)
{
    uint64_t known = shared_sequence(&spool->shared, journal) + 1;

    if (found->next_sequence < known)
        found->next_sequence = known;
    found->next_sequence += spool->limits.segment_size / RECORD_HEADER;
}

static bool
recover_last(struct spool *spool, enum spool_journal journal,
             const struct segment_list *list, struct wanted *bodies,
             struct recovered *found, struct err *err)
{
    size_t headless = 0;

    for (size_t i = list->count; i-- > 0;) {
        struct segment_header header;
        struct err cause = {0};
        int fd =
            open_segment(spool, journal, list->numbers[i], &header, &cause);

        if (fd == -1 && cause.code != EBADMSG && cause.code != 0) {
            *err = cause;
            return false;
        }
        if (fd == -1) {
            log_event(NULL, LOG_ERROR, "spool.damaged",
                      LOG_STR("journal", journal_name(journal)),
                      LOG_STR("reason", cause.text));
            headless++;
            continue;
        }
        bool ok = walk_segment(spool, fd, &header, bodies, found, err);
        close(fd);
        if (!ok)
            return false;
        break;
    }
    for (; headless > 0; headless--)
        skip_headless(spool, journal, found);
    return true;
}

bool
recover_journal(struct spool *spool, enum spool_journal journal,
                struct recovered *found, struct err *err)
{
    struct segment_list list;
    struct wanted bodies = {0};
    bool ok;

    *found = (struct recovered){.next_sequence = 1};
    if (!segment_list_read(spool->journal_dir[journal], &list, err))
        return false;
    ok = recover_last(spool, journal, &list, &bodies, found, err);
    if (ok && list.count > 0)
        found->highest = list.numbers[list.count - 1];
    sort_wanted(&bodies);
    if (ok)
        sweep_bodies(spool, journal, &list, &bodies,
                     found->empty != 0 ? found->empty : found->last);
    segment_list_fini(&list);
    mem_free(bodies.numbers);
    return ok;
}
