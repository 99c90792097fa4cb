/* Which segments may go, and how they go.
 *
 * A segment goes when the sender needs nothing in it, no registered reader has
 * still to read it (while there is room for that), nobody in this process has
 * it open and it is not the one being written.  Its body files go with it.
 * Where a segment stays and the next one goes, the place where it ends is
 * sealed into it first. */
#include "base/log.h"
#include "spool/keeper.h"
#include "spool/segments.h"
#include "spool/spare.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

/* --- Registered readers ------------------------------------------------- */

/* keep/<name>: one line of KEEP_BYTES: two numbers and their exclusive or, so
 * that a line written half is seen.  It is written in place without a sync: an
 * old value only keeps more. */
enum { KEEP_BYTES = 64 };

bool
spool_reader_keep(struct spool *spool, const char *name, uint64_t intake_next,
                  uint64_t ledger_next, struct err *err)
{
    char line[KEEP_BYTES + 1];
    bool ok;
    int fd =
        openat(spool->keep_dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd == -1) {
        err_sys(err, "open keep/%s", name);
        return false;
    }
    snprintf(line, sizeof line, "%020" PRIu64 " %020" PRIu64 " %020" PRIu64,
             intake_next, ledger_next, intake_next ^ ledger_next);
    memset(line + strlen(line), ' ', KEEP_BYTES - strlen(line));
    line[KEEP_BYTES - 1] = '\n';
    ok = write_fully(fd, line, KEEP_BYTES, 0);
    if (!ok)
        err_sys(err, "write keep/%s", name);
    close(fd);
    return ok;
}

static bool
keep_parse(struct sv line, uint64_t next[2])
{
    struct sv intake = sv_take_until(&line, ' ');
    struct sv ledger = sv_take_until(&line, ' ');
    struct sv check = sv_take_until(&line, ' ');
    uint64_t sum;

    return sv_to_u64(intake, &next[0]) && sv_to_u64(ledger, &next[1]) &&
           sv_to_u64(check, &sum) && sum == (next[0] ^ next[1]);
}

struct readers {
    int dir;
    uint64_t next[2]; /* the least of all readers */
};

static void
note_reader(void *arg, const char *name)
{
    struct readers *readers = arg;
    char line[KEEP_BYTES];
    uint64_t next[2];
    int fd = openat(readers->dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd == -1 ? -1 : read_fully(fd, line, sizeof line, 0);

    if (fd != -1)
        close(fd);
    /* Unreadable: it is there, so it needs something; keep everything until
     * it says anew what. */
    if (got != KEEP_BYTES || !keep_parse((struct sv){line, sizeof line}, next))
        next[0] = next[1] = 0;
    for (size_t i = 0; i < 2; i++) {
        if (next[i] < readers->next[i])
            readers->next[i] = next[i];
    }
}

/* --- Segments ----------------------------------------------------------- */

struct reclaim {
    struct spool *spool;
    enum spool_journal journal;
    const uint32_t *keep;
    size_t keep_count;
    uint64_t needed; /* sequence that a registered reader reads next */
    struct segment_list list;
    struct segment_list freed;
};

static bool
is_kept(const struct reclaim *r, uint32_t number)
{
    for (size_t i = 0; i < r->keep_count; i++) {
        if (r->keep[i] == number)
            return true;
    }
    return false;
}

static struct segment_ref *
get(const struct reclaim *r, uint32_t number, struct err *err)
{
    return segment_get(r->spool->segments, r->journal, number, err);
}

/* Every record of a segment is below the first of the next one. */
static bool
all_read(const struct reclaim *r, uint32_t next)
{
    struct segment_ref *ref = get(r, next, NULL);
    bool read = ref != NULL && ref->header.first_sequence <= r->needed;

    segment_put(r->spool->segments, ref);
    return read || r->needed == UINT64_MAX;
}

/* The segment before `number` ends where the header of `number` says; if it
 * stays, it must know that itself from now on. */
static bool
seal_previous(const struct reclaim *r, uint32_t number, struct err *err)
{
    struct segment_ref *ref = get(r, number, err);
    struct segment_ref *previous = NULL;
    char name[SEGMENT_NAME];
    bool ok = true;
    int fd;

    if (ref == NULL) /* headless: it says nothing that could be lost */
        return err->code == EBADMSG;
    if (ref->header.previous != 0)
        previous = get(r, ref->header.previous, NULL);
    if (previous != NULL &&
        segment_sealed_end(previous->fd, &previous->header) == 0) {
        segment_name(previous->header.number, name);
        fd = openat(r->spool->journal_dir[r->journal], name,
                    O_WRONLY | O_CLOEXEC);
        ok = fd != -1 &&
             segment_seal(fd, &previous->header, ref->header.previous_end, err);
        if (fd != -1)
            close(fd);
    }
    segment_put(r->spool->segments, previous);
    segment_put(r->spool->segments, ref);
    return ok;
}

/* --- Segments set aside -------------------------------------------------- */

/* aside/<journal>-<segment>: an empty file is the mark; the segment itself
 * takes its place when it would have been freed. */
enum { ASIDE_NAME = SEGMENT_NAME + 16 };

static char *
aside_name(enum spool_journal journal, uint32_t number, char *name)
{
    char segment[SEGMENT_NAME];

    snprintf(name, ASIDE_NAME, "%s-%s", journal_name(journal),
             segment_name(number, segment));
    return name;
}

void
spool_set_aside(struct spool *spool, struct spool_place place)
{
    char name[ASIDE_NAME];
    int fd = openat(spool->aside_dir,
                    aside_name(spool_place_journal(place),
                               spool_place_segment(place), name),
                    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd == -1 || fsync(spool->aside_dir) == -1)
        log_event(NULL, LOG_ERROR, "spool.aside_failed", LOG_STR("file", name),
                  LOG_STR("reason", strerror(errno)));
    if (fd != -1)
        close(fd);
}

static bool
is_marked(const struct reclaim *r, uint32_t number)
{
    char name[ASIDE_NAME];

    return faccessat(r->spool->aside_dir, aside_name(r->journal, number, name),
                     F_OK, 0) == 0;
}

static bool
move_aside(const struct reclaim *r, uint32_t number, struct err *err)
{
    char from[SEGMENT_NAME];
    char to[ASIDE_NAME];

    if (renameat(r->spool->journal_dir[r->journal], segment_name(number, from),
                 r->spool->aside_dir,
                 aside_name(r->journal, number, to)) == -1) {
        err_sys(err, "move %s to aside/%s", from, to);
        return false;
    }
    log_event(NULL, LOG_ERROR, "spool.set_aside",
              LOG_STR("journal", journal_name(r->journal)),
              LOG_U64("segment", number), LOG_STR("file", to));
    return true;
}

static bool
let_go(const struct reclaim *r, uint32_t number, struct err *err)
{
    if (is_marked(r, number))
        return move_aside(r, number, err);
    return spare_recycle(r->spool, r->journal, number, err);
}

static bool
free_segment(struct reclaim *r, uint32_t number)
{
    struct err err = {0};

    if (seal_previous(r, number, &err) &&
        segment_forget(r->spool->segments, r->journal, number) &&
        let_go(r, number, &err))
        return true;
    if (err.text[0] != '\0')
        log_event(NULL, LOG_WARNING, "spool.reclaim",
                  LOG_STR("journal", journal_name(r->journal)),
                  LOG_U64("segment", number), LOG_STR("reason", err.text));
    return false;
}

static void
free_segments(struct reclaim *r, uint32_t before)
{
    for (size_t i = 0; i + 1 < r->list.count; i++) {
        uint32_t number = r->list.numbers[i];

        if (number >= before)
            break;
        if (!is_kept(r, number) && all_read(r, r->list.numbers[i + 1]) &&
            free_segment(r, number))
            r->freed.numbers[r->freed.count++] = number;
    }
}

/* --- Bodies ------------------------------------------------------------- */

static void
remove_body(void *arg, const char *name)
{
    const struct reclaim *r = arg;
    uint32_t segment;
    uint64_t number;

    if (body_name_parse(name, &segment, &number) && segment != 0 &&
        segment_list_after(&r->freed, segment - 1) == segment)
        unlinkat(r->spool->body_dir[r->journal], name, 0);
}

/* After the segments: a body without a record is an orphan that the next start
 * removes, a record without its body would be damage. */
static void
remove_bodies(struct reclaim *r)
{
    if (r->freed.count > 0 &&
        !dir_each(r->spool->body_dir[r->journal], remove_body, r, NULL))
        log_event(NULL, LOG_WARNING, "spool.reclaim",
                  LOG_STR("reason", "cannot read the body directory"));
}

/* Mail comes before what is counted of it: a reader that is dead must not fill
 * the disk until mail is refused.  It finds a gap when it comes back. */
static void
pass_over_readers(struct spool *spool, uint64_t needed[2])
{
    uint64_t room = disk_free_bytes(spool->dir);
    bool low = room / 2 < spool->limits.min_free;

    if (!low)
        atomic_store(&spool->readers_passed, false);
    if (!low || (needed[SPOOL_INTAKE] == UINT64_MAX &&
                 needed[SPOOL_LEDGER] == UINT64_MAX))
        return;
    needed[SPOOL_INTAKE] = needed[SPOOL_LEDGER] = UINT64_MAX;
    if (!atomic_exchange(&spool->readers_passed, true))
        log_event(NULL, LOG_WARNING, "spool.readers_passed",
                  LOG_U64("free", room));
}

size_t
spool_reclaim(struct spool *spool, enum spool_journal journal,
              uint32_t before_segment, const uint32_t *keep, size_t keep_count)
{
    struct readers readers = {spool->keep_dir, {UINT64_MAX, UINT64_MAX}};
    struct reclaim r = {
        .spool = spool,
        .journal = journal,
        .keep = keep,
        .keep_count = keep_count,
    };
    uint32_t current = spool_place_segment(shared_end(&spool->shared, journal));

    if (!dir_each(readers.dir, note_reader, &readers, NULL) ||
        !segment_list_read(spool->journal_dir[journal], &r.list, NULL))
        return 0;
    pass_over_readers(spool, readers.next);
    r.needed = readers.next[journal];
    r.freed.numbers =
        mem_alloc_array(r.list.count + 1, sizeof *r.freed.numbers);
    free_segments(&r, before_segment < current ? before_segment : current);
    remove_bodies(&r);
    size_t count = r.freed.count;
    segment_list_fini(&r.list);
    segment_list_fini(&r.freed);
    return count;
}

void
spool_content_drop(struct spool *spool, struct spool_place place)
{
    if (spool->keeper != NULL)
        keeper_drop_body(spool->keeper, place);
}
