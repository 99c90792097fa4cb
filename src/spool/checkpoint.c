/* The sender's snapshot: ledger/checkpoint, and the same again in
 * ledger/checkpoint.copy.
 *
 * 48 bytes of header (magic, version, 0, length, intake_next, ledger_next, 0,
 * CRC-32C of header and snapshot), then the snapshot.
 *
 * Without a checkpoint the journals are read from their oldest segments, and
 * mail that was finished in a segment which is gone comes back to life: so one
 * bad sector must not be enough.  The copy is only as good as what it is a copy
 * of: segments are freed by the checkpoint, so an older copy is not kept. */
#include "base/crc32c.h"
#include "base/log.h"
#include "spool/bytes.h"
#include "spool/segment.h"
#include "spool/spool_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKPOINT_MAGIC UINT64_C(0x31504b4358415747)

enum {
    VERSION = 1,
    HEADER = 48,
    HEADER_CRC = 44,
};
static const char name[] = "checkpoint";
static const char copy[] = "checkpoint.copy";
static const char temporary[] = "checkpoint.tmp";

static uint32_t
checksum(const unsigned char header[HEADER], struct sv snapshot)
{
    return crc32c(crc32c(0, header, HEADER_CRC), snapshot.p, snapshot.n);
}

static bool
write_file(int dir, const unsigned char header[HEADER], struct sv snapshot,
           struct err *err)
{
    int fd =
        openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok;

    if (fd == -1) {
        err_sys(err, "create %s", temporary);
        return false;
    }
    ok = write_fully(fd, header, HEADER, 0) &&
         write_fully(fd, snapshot.p, snapshot.n, HEADER) && fsync(fd) == 0;
    if (!ok)
        err_sys(err, "write %s", temporary);
    close(fd);
    return ok;
}

/* The file has this name durably, or everything is as it was. */
static bool
put_file(int dir, const char *as, const unsigned char header[HEADER],
         struct sv snapshot, struct err *err)
{
    if (write_file(dir, header, snapshot, err)) {
        if (renameat(dir, temporary, dir, as) == -1)
            err_sys(err, "rename %s to %s", temporary, as);
        else if (fsync(dir) == -1)
            err_sys(err, "sync ledger directory");
        else
            return true;
    }
    unlinkat(dir, temporary, 0);
    return false;
}

/* A disk that has no room for two has one. */
static void
put_copy(int dir, const unsigned char header[HEADER], struct sv snapshot)
{
    struct err err = {0};

    if (put_file(dir, copy, header, snapshot, &err))
        return;
    unlinkat(dir, copy, 0);
    log_event(NULL, LOG_WARNING, "spool.checkpoint_copy",
              LOG_STR("error", err.text));
}

bool
spool_checkpoint_write(struct spool *spool, struct sv snapshot,
                       uint64_t intake_next, uint64_t ledger_next,
                       struct err *err)
{
    int dir = spool->journal_dir[SPOOL_LEDGER];
    unsigned char header[HEADER] = {0};

    put_u64(header, CHECKPOINT_MAGIC);
    put_u32(header + 8, VERSION);
    put_u64(header + 16, snapshot.n);
    put_u64(header + 24, intake_next);
    put_u64(header + 32, ledger_next);
    put_u32(header + HEADER_CRC, checksum(header, snapshot));
    if (!put_file(dir, name, header, snapshot, err)) {
        err_wrap(err, "write checkpoint");
        return false;
    }
    put_copy(dir, header, snapshot);
    return true;
}

/* Set aside, so that somebody can look at it and the next start does not. */
static void
set_aside(int dir, const char *file)
{
    log_event(NULL, LOG_ERROR, "spool.damaged", LOG_STR("file", file),
              LOG_STR("reason", "the checkpoint fails its checksum"));
    if (renameat(dir, file, dir, "checkpoint.damaged") == -1)
        unlinkat(dir, file, 0);
}

/* The whole file is put behind what *out holds; false: it is damaged. */
static bool
read_file(int fd, uint64_t size, struct buf *out, uint64_t *intake_next,
          uint64_t *ledger_next)
{
    unsigned char header[HEADER];
    uint64_t length = size - HEADER;
    char *snapshot;

    if (read_fully(fd, header, HEADER, 0) != HEADER ||
        get_u64(header) != CHECKPOINT_MAGIC || get_u32(header + 8) != VERSION ||
        get_u64(header + 16) != length)
        return false;
    snapshot = buf_reserve(out, length + 1);
    if (read_fully(fd, snapshot, length, HEADER) != (ssize_t)length ||
        get_u32(header + HEADER_CRC) !=
            checksum(header, (struct sv){snapshot, length}))
        return false;
    buf_grew(out, length);
    *intake_next = get_u64(header + 24);
    *ledger_next = get_u64(header + 32);
    return true;
}

enum found { FOUND, DAMAGED, NOT_READ };

static enum found
open_and_read(int dir, const char *file, struct buf *out, uint64_t *intake_next,
              uint64_t *ledger_next, struct err *err)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    bool ok;

    if (fd == -1) {
        err_sys(err, "open %s", file);
        return NOT_READ;
    }
    if (fstat(fd, &st) == -1) {
        err_sys(err, "stat %s", file);
        close(fd);
        return NOT_READ;
    }
    ok = st.st_size >= HEADER &&
         read_file(fd, (uint64_t)st.st_size, out, intake_next, ledger_next);
    close(fd);
    if (ok)
        return FOUND;
    set_aside(dir, file);
    err_set(err, "the checkpoint was damaged and is set aside");
    if (err != NULL)
        err->code = ENOENT; /* to the caller it is as if there were none */
    return DAMAGED;
}

/* Whether the copy is of what was read: a crash between the two leaves an older
 * one, and segments that it needs may go from now on. */
static bool
same_header(int dir)
{
    unsigned char header[2][HEADER];
    const char *files[] = {name, copy};

    for (int i = 0; i < 2; i++) {
        int fd = openat(dir, files[i], O_RDONLY | O_CLOEXEC);
        bool ok = fd != -1 && read_fully(fd, header[i], HEADER, 0) == HEADER;

        if (fd != -1)
            close(fd);
        if (!ok)
            return false;
    }
    return memcmp(header[0], header[1], HEADER) == 0;
}

bool
spool_checkpoint_read(struct spool *spool, struct buf *out,
                      uint64_t *intake_next, uint64_t *ledger_next,
                      struct err *err)
{
    int dir = spool->journal_dir[SPOOL_LEDGER];

    switch (open_and_read(dir, name, out, intake_next, ledger_next, err)) {
    case FOUND:
        if (!same_header(dir))
            unlinkat(dir, copy, 0);
        return true;
    case DAMAGED:
        break;
    case NOT_READ:
        if (err->code != ENOENT)
            return false;
    }
    /* The copy may be of the checkpoint before: then nothing was freed by the
     * one that is damaged, as its write has not come to an end. */
    return open_and_read(dir, copy, out, intake_next, ledger_next, err) ==
           FOUND;
}
