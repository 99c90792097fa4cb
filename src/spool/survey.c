#include "spool/survey.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int
open_dir(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool
survey_open(struct survey *survey, const char *state_dir, struct err *err)
{
    char path[4096];

    *survey = (struct survey){
        .dir = -1, .journal_dir = {-1, -1}, .body_dir = {-1, -1}};
    snprintf(path, sizeof path, "%s/spool", state_dir);
    survey->dir = open_dir(AT_FDCWD, path);
    if (survey->dir == -1) {
        err_sys(err, "open %s", path);
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        int dir = open_dir(survey->dir, journal_name((enum spool_journal)i));

        survey->journal_dir[i] = dir;
        if (dir != -1)
            survey->body_dir[i] = open_dir(dir, "body");
    }
    if (shared_open(&survey->shared, survey->dir,
                    &(struct shared_options){.create = false}, err))
        return true;
    survey_close(survey);
    survey->dir = -1;
    return false;
}

static void
close_fd(int fd)
{
    if (fd != -1)
        close(fd);
}

void
survey_close(struct survey *survey)
{
    if (survey->dir == -1)
        return;
    shared_close(&survey->shared);
    for (size_t i = 0; i < 2; i++) {
        close_fd(survey->body_dir[i]);
        close_fd(survey->journal_dir[i]);
    }
    close_fd(survey->dir);
}

/* --- Segments and their ends -------------------------------------------- */

struct walk {
    struct survey *survey;
    enum spool_journal journal;
    const struct survey_calls *calls;
    void *arg;
    struct survey_segment *segments; /* owned */
    size_t count;
    struct spool_place durable; /* 0: no writer is at work */
    uint64_t sequence;          /* of the last record */
};

static void
problem(struct walk *walk, const struct survey_segment *segment,
        uint64_t offset, const char *what)
{
    walk->calls->on_problem(walk->arg, segment->number, offset, what);
}

static void
open_segment(struct walk *walk, struct survey_segment *segment)
{
    char name[SEGMENT_NAME];
    struct err err = {0};

    segment->fd =
        openat(walk->survey->journal_dir[walk->journal],
               segment_name(segment->number, name), O_RDONLY | O_CLOEXEC);
    if (segment->fd == -1 && errno == ENOENT)
        return; /* reclaimed just now */
    if (segment->fd == -1)
        err_sys(&err, "open");
    else if (segment_header_read(segment->fd, &segment->header, &err))
        segment->readable = segment->header.number == segment->number &&
                            segment->header.journal == walk->journal;
    if (!segment->readable)
        problem(walk, segment, 0,
                err.text[0] != '\0' ? err.text
                                    : "the header belongs to another segment");
}

static uint64_t
file_size(int fd)
{
    struct stat st;

    return fstat(fd, &st) == -1 ? 0 : (uint64_t)st.st_size;
}

/* 0: nobody says where it ends. */
static uint64_t
known_end(const struct walk *walk, size_t i)
{
    const struct survey_segment *segment = &walk->segments[i];
    const struct survey_segment *next =
        i + 1 < walk->count ? &walk->segments[i + 1] : NULL;

    if (spool_place_segment(walk->durable) == segment->number)
        return spool_place_offset(walk->durable);
    if (next != NULL && next->readable &&
        next->header.previous == segment->number)
        return next->header.previous_end;
    return segment_sealed_end(segment->fd, &segment->header);
}

/* The lock is held while somebody writes; only then does the shared end count
 * for more than what is in the file. */
static bool
has_writer(const struct walk *walk)
{
    int fd = openat(walk->survey->journal_dir[walk->journal], "lock",
                    O_RDONLY | O_CLOEXEC);
    bool locked =
        fd != -1 && flock(fd, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK;

    close_fd(fd);
    return locked;
}

bool
survey_current(const struct survey *survey,
               const struct survey_segment *segment)
{
    enum spool_journal journal = segment->header.journal;
    struct segment_header now;
    char name[SEGMENT_NAME];
    int fd = openat(survey->journal_dir[journal],
                    segment_name(segment->number, name), O_RDONLY | O_CLOEXEC);
    bool same = fd != -1 && segment_header_read(fd, &now, NULL) &&
                now.salt == segment->header.salt;

    if (fd != -1)
        close(fd);
    return same;
}

/* --- Records ------------------------------------------------------------ */

static bool
walk_records(struct walk *walk, const struct survey_segment *segment,
             struct scan *scan, struct err *err)
{
    struct scan_item item;
    char what[80];

    for (;;) {
        switch (scan_next(scan, &item, err)) {
        case SCAN_RECORD:
            if (item.record.sequence <= walk->sequence)
                problem(walk, segment, item.offset,
                        "the sequence number is not above the one before");
            walk->sequence = item.record.sequence;
            walk->calls->on_record(walk->arg, segment, &item);
            break;
        case SCAN_DAMAGED:
            if (!survey_current(walk->survey, segment))
                return true;
            snprintf(what, sizeof what, "no intact record up to %" PRIu64,
                     item.skipped_to);
            problem(walk, segment, item.offset, what);
            break;
        case SCAN_FAILED:
            return false;
        case SCAN_END:
            return true;
        }
    }
}

static bool
walk_segment(struct walk *walk, size_t i, struct err *err)
{
    struct survey_segment *segment = &walk->segments[i];
    struct scan_options options = {
        .salt = segment->header.salt,
        .offset = SEGMENT_START,
        .sequence = segment->header.first_sequence - 1,
        .check_content = walk->calls->check_content,
    };
    struct scan scan;
    uint64_t size = file_size(segment->fd);
    bool ok;

    options.limit = known_end(walk, i);
    options.tail = options.limit == 0;
    if (options.limit > size)
        problem(walk, segment, size, "the file is shorter than the segment");
    if (options.tail || options.limit > size)
        options.limit = size;
    segment->end = options.limit;
    walk->calls->on_segment(walk->arg, segment);
    scan_init(&scan, segment->fd, &options);
    ok = walk_records(walk, segment, &scan, err);
    if (!ok)
        err_wrap(err, "%s segment %" PRIu32, journal_name(walk->journal),
                 segment->number);
    scan_fini(&scan);
    return ok;
}

static bool
walk_segments(struct walk *walk, struct err *err)
{
    for (size_t i = 0; i < walk->count; i++)
        open_segment(walk, &walk->segments[i]);
    for (size_t i = 0; i < walk->count; i++) {
        /* What a writer began after our look is not ours to judge. */
        if (walk->durable.packed != 0 &&
            walk->segments[i].number > spool_place_segment(walk->durable))
            break;
        if (walk->segments[i].readable && !walk_segment(walk, i, err))
            return false;
    }
    return true;
}

bool
survey_walk(struct survey *survey, enum spool_journal journal,
            const struct survey_calls *calls, void *arg, struct err *err)
{
    struct walk walk = {
        .survey = survey, .journal = journal, .calls = calls, .arg = arg};
    struct segment_list list;
    bool ok;

    if (survey->journal_dir[journal] == -1)
        return true;
    if (has_writer(&walk))
        walk.durable = shared_end(&survey->shared, journal);
    if (!segment_list_read(survey->journal_dir[journal], &list, err))
        return false;
    walk.count = list.count;
    walk.segments = mem_alloc_array(list.count, sizeof *walk.segments);
    for (size_t i = 0; i < list.count; i++)
        walk.segments[i] =
            (struct survey_segment){.number = list.numbers[i], .fd = -1};
    ok = walk_segments(&walk, err);
    for (size_t i = 0; i < walk.count; i++)
        close_fd(walk.segments[i].fd);
    mem_free(walk.segments);
    segment_list_fini(&list);
    return ok;
}
