#include "spool/spare.h"
#include "base/random.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPARE_NAME = 32, ZEROS = 1 << 20 };

static void
spare_name(const char *prefix, char name[SPARE_NAME])
{
    snprintf(name, SPARE_NAME, "%s-%016" PRIx64, prefix, random_u64());
}

static bool
has_prefix(const char *name, const char *prefix)
{
    struct sv in = sv_of(name);

    return sv_take_prefix(&in, sv_of(prefix));
}

/* --- Taking ------------------------------------------------------------- */

struct search {
    char name[SPARE_NAME]; /* of the first spare; "": none */
    size_t count;
};

static void
note_spare(void *arg, const char *name)
{
    struct search *search = arg;

    if (!has_prefix(name, "spare-") || strlen(name) >= SPARE_NAME)
        return;
    if (search->count++ == 0)
        memcpy(search->name, name, strlen(name) + 1);
}

size_t
spare_count(struct spool *spool, enum spool_journal journal)
{
    struct search search = {0};

    if (!dir_each(spool->journal_dir[journal], note_spare, &search, NULL))
        return 0;
    return search.count;
}

static bool
size_of(int fd, uint64_t *size)
{
    struct stat st;

    if (fstat(fd, &st) == -1)
        return false;
    *size = (uint64_t)st.st_size;
    return true;
}

/* A spare of at least this size under a name of ours; -1: there is none. */
static int
spare_take(int dir, uint64_t size, char name[SPARE_NAME], uint64_t *got)
{
    struct search search = {0};
    int fd;

    if (!dir_each(dir, note_spare, &search, NULL) || search.count == 0)
        return -1;
    spare_name("new", name);
    if (renameat(dir, search.name, dir, name) == -1)
        return -1;
    fd = openat(dir, name, O_RDWR | O_CLOEXEC);
    if (fd != -1 && size_of(fd, got) && *got >= size)
        return fd;
    if (fd != -1)
        close(fd);
    unlinkat(dir, name, 0);
    return -1;
}

static int
create_plain(int dir, uint64_t size, char name[SPARE_NAME], struct err *err)
{
    int fd;
    int code;

    spare_name("new", name);
    fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd == -1) {
        err_sys(err, "create a segment file");
        return -1;
    }
    code = posix_fallocate(fd, 0, (off_t)size);
    if (code == 0)
        return fd;
    err_code(err, code, "allocate a segment of %" PRIu64 " bytes", size);
    close(fd);
    unlinkat(dir, name, 0);
    return -1;
}

static void
take_or_create(int dir, uint64_t size, char name[SPARE_NAME],
               struct segment_file *file, struct err *err)
{
    file->fd = spare_take(dir, size, name, &file->size);
    file->spare = file->fd != -1;
    if (file->spare)
        return;
    file->size = size;
    file->fd = create_plain(dir, size, name, err);
}

bool
segment_create(struct spool *spool, const struct segment_header *header,
               uint64_t size, struct segment_file *file, struct err *err)
{
    int dir = spool->journal_dir[header->journal];
    char temporary[SPARE_NAME];
    char name[SEGMENT_NAME];
    const char *present = temporary;

    take_or_create(dir, size, temporary, file, err);
    if (file->fd == -1)
        return false;
    segment_name(header->number, name);
    /* The header must be there before the name is: a file of that name
     * without a header would look like damage. */
    if (!segment_header_write(file->fd, header, err))
        ;
    else if (fdatasync(file->fd) == -1)
        err_sys(err, "sync segment header");
    else if (renameat(dir, temporary, dir, name) == -1)
        err_sys(err, "rename segment to %s", name);
    else if (present = name, fsync(dir) == -1)
        err_sys(err, "sync journal directory");
    else
        return true;
    close(file->fd);
    unlinkat(dir, present, 0);
    return false;
}

/* --- Preparing ---------------------------------------------------------- */

static bool
write_zeros(int fd, uint64_t size, const _Atomic bool *stop, struct err *err)
{
    static const char zeros[ZEROS];

    for (uint64_t at = 0; at < size; at += sizeof zeros) {
        uint64_t left = size - at;

        if (*stop) {
            err_code(err, ECANCELED, "stopped");
            return false;
        }
        if (!write_fully(fd, zeros,
                         left < sizeof zeros ? (size_t)left : sizeof zeros,
                         at)) {
            err_sys(err, "write a spare segment");
            return false;
        }
        /* In small steps, so that the journal's own syncs do not wait behind
         * a whole segment of zeros. */
        if (fdatasync(fd) == -1) {
            err_sys(err, "sync a spare segment");
            return false;
        }
    }
    return true;
}

bool
spare_prepare(struct spool *spool, enum spool_journal journal,
              const _Atomic bool *stop, struct err *err)
{
    int dir = spool->journal_dir[journal];
    uint64_t size = spool->limits.segment_size;
    char temporary[SPARE_NAME];
    char name[SPARE_NAME];
    int fd = create_plain(dir, size, temporary, err);
    bool ok = fd != -1 && write_zeros(fd, size, stop, err);

    if (ok) {
        spare_name("spare", name);
        ok = renameat(dir, temporary, dir, name) == 0;
        if (!ok)
            err_sys(err, "rename a spare segment");
    }
    if (fd != -1)
        close(fd);
    if (fd != -1 && !ok)
        unlinkat(dir, temporary, 0);
    return ok;
}

/* --- Giving back -------------------------------------------------------- */

static bool
fits(int dir, const char *name, uint64_t size)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           (uint64_t)st.st_size == size;
}

bool
spare_recycle(struct spool *spool, enum spool_journal journal, uint32_t segment,
              struct err *err)
{
    int dir = spool->journal_dir[journal];
    char name[SEGMENT_NAME];
    char spare[SPARE_NAME];
    int result;

    segment_name(segment, name);
    if (fits(dir, name, spool->limits.segment_size) &&
        spare_count(spool, journal) < spool->limits.spare_segments) {
        spare_name("spare", spare);
        result = renameat(dir, name, dir, spare);
    } else {
        result = unlinkat(dir, name, 0);
    }
    if (result == -1)
        err_sys(err, "remove segment %s", name);
    return result == 0;
}

struct cleaning {
    int dir;
    uint64_t size;
};

static void
clean_one(void *arg, const char *name)
{
    const struct cleaning *cleaning = arg;
    bool unfinished = has_prefix(name, "new-");
    bool spare = has_prefix(name, "spare-");

    if (unfinished || (spare && !fits(cleaning->dir, name, cleaning->size)))
        unlinkat(cleaning->dir, name, 0);
}

void
spare_clean(struct spool *spool, enum spool_journal journal)
{
    struct cleaning cleaning = {spool->journal_dir[journal],
                                spool->limits.segment_size};

    /* Best effort: what cannot be removed costs only its room. */
    (void)!dir_each(cleaning.dir, clean_one, &cleaning, NULL);
}
