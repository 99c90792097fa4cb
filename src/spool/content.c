#include "spool/content.h"
#include "base/crc32c.h"
#include "spool/segments.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/uio.h>
#include <unistd.h>

struct spool_content {
    struct spool *spool;
    struct segment_ref *segment;
    struct spool_place place;
    struct record record;
    unsigned char raw[RECORD_HEADER];
    struct buf envelope;
    int fd;         /* of the bytes: the segment's, or body_fd */
    int body_fd;    /* owned; -1: in line */
    uint64_t start; /* offset of the content in fd */
    /* The checksum of what was read in order; checked when that reaches the
     * end, so that damage stops a delivery before its last byte. */
    uint64_t summed;
    uint32_t crc;
    /* A fetch under way: */
    struct work work;
    uint64_t offset;
    char *dst;
    size_t n;
    ssize_t got;
    struct err error;
    void (*on_read)(void *arg, ssize_t got, const struct err *err);
    void *arg;
};

const struct record *
content_record(const struct spool_content *content)
{
    return &content->record;
}

struct spool_place
content_place(const struct spool_content *content)
{
    return content->place;
}

/* --- Open and close ----------------------------------------------------- */

static bool
read_header(struct spool_content *content, struct err *err)
{
    uint64_t offset = spool_place_offset(content->place);
    ssize_t got =
        read_fully(content->segment->fd, content->raw, RECORD_HEADER, offset);

    if (got == -1) {
        err_sys(err, "read record");
        return false;
    }
    if (got == RECORD_HEADER &&
        record_decode(content->raw, content->segment->header.salt,
                      &content->record) &&
        content->record.type == SPOOL_MESSAGE)
        return true;
    err_damaged(err, "there is no message");
    return false;
}

static bool
open_bytes(struct spool_content *content, struct err *err)
{
    const struct record *record = &content->record;
    enum spool_journal journal = spool_place_journal(content->place);
    char name[BODY_NAME];

    content->fd = content->segment->fd;
    content->start = spool_place_offset(content->place) + RECORD_HEADER +
                     record->head_length;
    if (record->body == 0)
        return true;
    content->start = 0;
    body_name(content->segment->header.number, record->body, name);
    content->fd = content->body_fd =
        openat(content->spool->body_dir[journal], name, O_RDONLY | O_CLOEXEC);
    if (content->fd == -1)
        err_sys(err, "open body file %s", name);
    return content->fd != -1;
}

struct spool_content *
spool_content_open(struct spool *spool, struct spool_place place,
                   struct err *err)
{
    struct spool_content *content = mem_alloc(sizeof *content);
    enum spool_journal journal = spool_place_journal(place);
    uint32_t segment = spool_place_segment(place);

    content->spool = spool;
    content->place = place;
    content->body_fd = -1;
    content->segment = segment_get(spool->segments, journal, segment, err);
    if (content->segment != NULL && read_header(content, err) &&
        open_bytes(content, err))
        return content;
    err_wrap(err, "message at %s %" PRIu32 ":%" PRIu64, journal_name(journal),
             segment, spool_place_offset(place));
    spool_content_close(content);
    return NULL;
}

void
spool_content_close(struct spool_content *content)
{
    if (content == NULL)
        return;
    if (content->body_fd != -1)
        close(content->body_fd);
    segment_put(content->spool->segments, content->segment);
    buf_fini(&content->envelope);
    mem_free(content);
}

/* --- Reading ------------------------------------------------------------ */

uint64_t
spool_content_length(const struct spool_content *content)
{
    return content->record.content_length;
}

struct sv
spool_content_envelope(struct spool_content *content, struct err *err)
{
    size_t n = content->record.head_length;
    struct buf *buf = &content->envelope;
    ssize_t got;

    if (buf_length(buf) > 0 || n == 0)
        return buf_view(buf);
    got = read_fully(content->segment->fd, buf_reserve(buf, n), n,
                     spool_place_offset(content->place) + RECORD_HEADER);
    if (got == (ssize_t)n) {
        buf_grew(buf, n);
        if (record_intact(content->raw, buf_view(buf)))
            return buf_view(buf);
        buf_reset(buf);
    }
    if (got == -1)
        err_sys(err, "read envelope");
    else
        err_damaged(err, "the envelope fails its checksum");
    return (struct sv){0};
}

static size_t
clamp(const struct spool_content *content, uint64_t offset, size_t n)
{
    uint64_t length = content->record.content_length;
    uint64_t left = offset < length ? length - offset : 0;

    return left < n ? (size_t)left : n;
}

/* Takes what was read into the running checksum, if it is the next piece. */
static ssize_t
check(struct spool_content *content, uint64_t offset, const char *bytes,
      ssize_t got, struct err *err)
{
    if (got <= 0 || offset > content->summed)
        return got;
    if (offset + (uint64_t)got > content->summed) {
        uint64_t known = content->summed - offset;

        content->crc = crc32c(content->crc, bytes + known,
                              (size_t)((uint64_t)got - known));
        content->summed = offset + (uint64_t)got;
    }
    if (content->summed < content->record.content_length ||
        offset + (uint64_t)got < content->record.content_length ||
        content->crc == content->record.content_crc)
        return got;
    err_damaged(err, "the content fails its checksum");
    return -1;
}

ssize_t
spool_content_read(struct spool_content *content, uint64_t offset, char *dst,
                   size_t n, struct err *err)
{
    struct iovec iov = {dst, clamp(content, offset, n)};
    ssize_t got;

    if (iov.iov_len == 0)
        return 0;
    do
        got = preadv2(content->fd, &iov, 1, (off_t)(content->start + offset),
                      RWF_NOWAIT);
    while (got == -1 && errno == EINTR);
    if (got == -1 && (errno == EAGAIN || errno == EOPNOTSUPP))
        return SPOOL_BLOCKED;
    if (got == -1)
        err_sys(err, "read content");
    /* Nothing there is what fetch must judge: some file systems say 0 for
     * what is only not in memory. */
    return got == 0 ? SPOOL_BLOCKED : check(content, offset, dst, got, err);
}

ssize_t
spool_content_read_blocking(struct spool_content *content, uint64_t offset,
                            char *dst, size_t n, struct err *err)
{
    size_t want = clamp(content, offset, n);
    ssize_t got = read_fully(content->fd, dst, want, content->start + offset);

    if (got == -1)
        err_sys(err, "read content");
    if (got == 0 && want > 0) {
        err_damaged(err, "the content is cut short");
        return -1;
    }
    return check(content, offset, dst, got, err);
}

static void
run_fetch(struct work *work)
{
    struct spool_content *content =
        CONTAINER_OF(work, struct spool_content, work);

    content->got = spool_content_read_blocking(
        content, content->offset, content->dst, content->n, &content->error);
}

static void
fetch_done(struct work *work)
{
    struct spool_content *content =
        CONTAINER_OF(work, struct spool_content, work);
    ssize_t got = content->got;
    struct err error = content->error; /* the call may close the content */

    content->on_read(content->arg, got, got == -1 ? &error : NULL);
}

void
spool_content_fetch(struct spool_content *content, struct loop *loop,
                    uint64_t offset, char *dst, size_t n,
                    void (*on_read)(void *arg, ssize_t got,
                                    const struct err *err),
                    void *arg)
{
    content->offset = offset;
    content->dst = dst;
    content->n = n;
    content->on_read = on_read;
    content->arg = arg;
    content->error = (struct err){0};
    content->work = (struct work){.run = run_fetch, .done = fetch_done};
    loop_work(loop, &content->work);
}
