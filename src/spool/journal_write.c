/* Segments and batches of a journal. */
#include "base/clock.h"
#include "base/random.h"
#include "spool/journal_internal.h"
#include "spool/keeper.h"
#include "spool/spare.h"
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

/* --- Segments ----------------------------------------------------------- */

static void
leave_segment(struct journal *j)
{
    if (j->fd == -1)
        return;
    /* Its room was only reserved, and a spare it cannot become. */
    if (j->raw)
        (void)!ftruncate(j->fd, (off_t)j->end);
    close(j->fd);
}

bool
journal_begin_segment(struct journal *j, uint64_t need, struct err *err)
{
    struct segment_header header = {
        .journal = j->options.journal,
        .number = j->next_number++,
        .salt = random_u64() | 1, /* never 0 */
        .first_sequence = j->next_sequence,
        .previous = j->last,
        .previous_end = j->end,
        .created_us = clock_wall_us(),
    };
    struct segment_file file;
    uint64_t size = j->spool->limits.segment_size;

    if (size < SEGMENT_START + need)
        size = SEGMENT_START + need;
    if (!segment_create(j->spool, &header, size, &file, err))
        return false;
    leave_segment(j);
    j->fd = file.fd;
    j->raw = !file.spare;
    j->header = header;
    j->size = file.size;
    j->last = header.number;
    j->end = SEGMENT_START;
    j->segment = header.number;
    keeper_switched(j->spool->keeper);
    shared_publish(&j->spool->shared, header.journal,
                   place_make(header.journal, header.number, SEGMENT_START),
                   j->durable_sequence);
    return true;
}

/* --- Writing a batch ---------------------------------------------------- */

static bool
flush_iov(struct journal *j, uint64_t *at, struct err *err)
{
    struct iovec *iov = j->iov;
    size_t left = j->iov_count;

    j->iov_count = 0;
    while (left > 0) {
        ssize_t put = pwritev(j->fd, iov, (int)left, (off_t)*at);

        if (put == -1 && errno == EINTR)
            continue;
        if (put == -1) {
            err_sys(err, "write segment %" PRIu32, j->last);
            return false;
        }
        *at += (uint64_t)put;
        while (left > 0 && (size_t)put >= iov->iov_len) {
            put -= (ssize_t)iov->iov_len;
            iov++;
            left--;
        }
        if (left > 0) {
            iov->iov_base = (char *)iov->iov_base + put;
            iov->iov_len -= (size_t)put;
        }
    }
    return true;
}

static bool
add_iov(struct journal *j, const void *bytes, size_t n, uint64_t *at,
        struct err *err)
{
    if (n == 0)
        return true;
    if (j->iov_count == IOV_ENTRIES && !flush_iov(j, at, err))
        return false;
    j->iov[j->iov_count++] =
        (struct iovec){(void *)(uintptr_t)bytes, n}; /* only read */
    return true;
}

static bool
add_entry(struct journal *j, struct journal_entry *entry, uint64_t *at,
          struct err *err)
{
    static const char zeros[RECORD_ALIGN];
    const struct record *record = &entry->record;
    uint64_t bytes =
        RECORD_HEADER + record->head_length + record_inline_length(record);
    bool ok = add_iov(j, entry->raw, RECORD_HEADER, at, err) &&
              add_iov(j, entry->head.p, entry->head.n, at, err) &&
              add_iov(j, entry->text.p, entry->text.n, at, err);

    for (struct block *b = entry->content.first; ok && b != NULL; b = b->next)
        ok = add_iov(j, b->data, b->used, at, err);
    return ok &&
           add_iov(j, zeros, (size_t)(record_span(record) - bytes), at, err);
}

/* Gives a body file the name that belongs to the segment of its record. */
static bool
place_body(struct journal *j, struct journal_entry *entry, bool *renamed,
           struct err *err)
{
    int dir = j->spool->body_dir[j->options.journal];
    char from[BODY_NAME];
    char to[BODY_NAME];

    if (entry->record.body == 0 || entry->body_segment == j->last)
        return true;
    body_name(entry->body_segment, entry->record.body, from);
    body_name(j->last, entry->record.body, to);
    if (renameat(dir, from, dir, to) == -1) {
        err_sys(err, "rename body file %s", from);
        return false;
    }
    entry->body_segment = j->last;
    *renamed = true;
    return true;
}

static void
stamp_entry(struct journal *j, struct journal_entry *entry, uint64_t at,
            int64_t now)
{
    struct record *record = &entry->record;

    record->salt = j->header.salt;
    record->sequence = j->next_sequence++;
    record->wall_us = now;
    if (record->type == SPOOL_MESSAGE && record->id == 0)
        record->id = record->sequence |
                     (uint64_t)(j->options.journal == SPOOL_LEDGER) << 63;
    entry->place = place_make(j->options.journal, j->last, at);
    record_encode(record, entry->head, entry->raw);
}

static bool
write_batch(struct journal *j, struct list *batch, uint64_t *at,
            struct err *err)
{
    int64_t now = clock_wall_us();
    uint64_t next = *at;
    bool renamed = false;

    LIST_FOREACH (link, batch) {
        struct journal_entry *entry =
            CONTAINER_OF(link, struct journal_entry, link);

        stamp_entry(j, entry, next, now);
        next += record_span(&entry->record);
        if (!place_body(j, entry, &renamed, err) ||
            !add_entry(j, entry, at, err))
            return false;
    }
    if (renamed && fsync(j->spool->body_dir[j->options.journal]) == -1) {
        err_sys(err, "sync body directory");
        return false;
    }
    return flush_iov(j, at, err);
}

static uint64_t
batch_bytes(const struct list *batch)
{
    uint64_t bytes = 0;

    LIST_FOREACH (link, batch) {
        const struct journal_entry *entry =
            CONTAINER_OF(link, struct journal_entry, link);

        bytes += record_span(&entry->record);
    }
    return bytes;
}

/* A segment that was made in haste syncs slowly, for every write changes its
 * metadata: it is left as soon as there is a spare. */
static bool
can_improve(const struct journal *j)
{
    return j->raw && keeper_spares(j->spool->keeper) > 0;
}

bool
journal_write_batch(struct journal *j, struct list *batch, struct err *err)
{
    uint64_t need = batch_bytes(batch);
    uint64_t at;

    j->iov_count = 0;
    if ((need > j->size - j->end || can_improve(j)) &&
        !journal_begin_segment(j, need, err))
        return false;
    at = j->end;
    if (!write_batch(j, batch, &at, err))
        return false;
    if (fdatasync(j->fd) == -1) {
        err_sys(err, "sync segment %" PRIu32, j->last);
        return false;
    }
    j->end = at;
    j->durable_sequence = j->next_sequence - 1;
    atomic_fetch_add(&j->commits, batch->length);
    atomic_fetch_add(&j->batches, 1);
    shared_publish(&j->spool->shared, j->options.journal,
                   place_make(j->options.journal, j->last, at),
                   j->durable_sequence);
    return true;
}

void
journal_remove_body(struct journal *j, const struct journal_entry *entry)
{
    char name[BODY_NAME];

    if (entry->record.body != 0)
        unlinkat(j->spool->body_dir[j->options.journal],
                 body_name(entry->body_segment, entry->record.body, name), 0);
}
