/* evidence/sts_file.h - a file of records that survives kill -9, power cuts and
 * bit rot.
 *
 *   "WXSTS001"
 *   records, each {"STSR", u32 length, u32 CRC-32C of length and payload,
 *                  payload}; little-endian
 *
 * Records are only appended; of several about one thing the last counts.  A
 * record that is torn or spoilt is skipped: reading goes on at the next mark
 * whose checksum holds.  When most of the file is outdated, a new one is
 * written beside it from what the owner knows and renamed over it.
 *
 * All writing happens on a thread of its own.  What could not be written (disk
 * full) is made up for by writing everything anew, tried every half minute. */
#ifndef EVIDENCE_STS_FILE_H
#define EVIDENCE_STS_FILE_H
#include "base/buf.h"
#include "base/err.h"

struct sts_file;

enum { STS_FILE_RECORD_MAX = 1 << 18 };

struct sts_file_owner {
    void *arg;
    /* A record that was read; false: it makes no sense. */
    bool (*on_record)(void *arg, struct sv record);
    /* Adds some records (sts_file_frame()) of all that there are; *cursor
     * begins at 0; false: that was all.  On the file's thread. */
    bool (*on_snapshot)(void *arg, size_t *cursor, struct buf *out);
};

/* Reads the file in the folder, both of which need not exist.  False only where
 * it cannot be read or made at all. */
MUST_USE struct sts_file *sts_file_open(const char *folder,
                                        const struct sts_file_owner *owner,
                                        struct err *err);
/* Begins to write; live: records that are not outdated. */
void sts_file_start(struct sts_file *file, size_t live);
void sts_file_append(struct sts_file *file, struct sv record); /* any thread */
/* Waits until all that was appended is on disk; false: it is not. */
bool sts_file_sync(struct sts_file *file);
bool sts_file_failing(struct sts_file *file);
void sts_file_close(struct sts_file *file); /* writes what is left */

void sts_file_frame(struct buf *out, struct sv record);
/* Takes the next good record off *in; *skipped counts the bytes of others. */
MUST_USE bool sts_file_take(struct sv *in, struct sv *record, size_t *skipped);
#endif
