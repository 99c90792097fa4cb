/* The sender's snapshot: ledger/checkpoint.
 *
 * 48 bytes of header (magic, version, 0, length, intake_next, ledger_next, 0,
 * CRC-32C of header and snapshot), then the snapshot. */
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
    if (write_file(dir, header, snapshot, err)) {
        if (renameat(dir, temporary, dir, name) == -1)
            err_sys(err, "rename %s to %s", temporary, name);
        else if (fsync(dir) == -1)
            err_sys(err, "sync ledger directory");
        else
            return true;
    }
    unlinkat(dir, temporary, 0);
    err_wrap(err, "write checkpoint");
    return false;
}

/* Set aside, so that somebody can look at it and the next start does not. */
static void
set_aside(int dir, const char *why)
{
    log_event(NULL, LOG_ERROR, "spool.damaged", LOG_STR("file", name),
              LOG_STR("reason", why));
    if (renameat(dir, name, dir, "checkpoint.damaged") == -1)
        unlinkat(dir, name, 0);
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

bool
spool_checkpoint_read(struct spool *spool, struct buf *out,
                      uint64_t *intake_next, uint64_t *ledger_next,
                      struct err *err)
{
    int dir = spool->journal_dir[SPOOL_LEDGER];
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    bool ok;

    if (fd == -1) {
        err_sys(err, "open %s", name);
        return false;
    }
    if (fstat(fd, &st) == -1) {
        err_sys(err, "stat %s", name);
        close(fd);
        return false;
    }
    ok = st.st_size >= HEADER &&
         read_file(fd, (uint64_t)st.st_size, out, intake_next, ledger_next);
    close(fd);
    if (ok)
        return true;
    set_aside(dir, "the checkpoint fails its checksum");
    err_set(err, "the checkpoint was damaged and is set aside");
    if (err != NULL)
        err->code = ENOENT; /* to the caller it is as if there were none */
    return false;
}
