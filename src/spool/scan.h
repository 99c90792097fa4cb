/* spool/scan.h - walks the records of one segment.
 *
 * Reads in big sequential pieces, headers and heads only unless asked for the
 * contents too.  A stretch that is no intact record is skipped up to the next
 * intact record of this segment: damage in the middle costs what it hit and
 * nothing else. */
#ifndef SPOOL_SCAN_H
#define SPOOL_SCAN_H
#include "spool/segment.h"

struct scan_options {
    uint64_t salt;
    uint64_t offset;   /* where to begin */
    uint64_t limit;    /* nothing from here on is looked at */
    uint64_t sequence; /* records up to this number are not believed */
    bool tail; /* the end is not known: a stretch with nothing intact behind
                * it is the end, not damage */
    bool check_content;
};

struct scan {
    int fd;                 /* borrowed */
    struct scan_options at; /* offset: of the next record */
    unsigned char *buffer;  /* owned */
    size_t cap;
    uint64_t start; /* offset of the first byte in the buffer */
    size_t filled;
};

struct scan_item {
    struct record record;
    uint64_t offset;
    struct sv head;       /* valid until the next call */
    bool content_damaged; /* only with check_content, and content in line */
    uint64_t skipped_to;  /* SCAN_DAMAGED: from offset up to here */
};

enum scan_result { SCAN_RECORD, SCAN_END, SCAN_DAMAGED, SCAN_FAILED };

void scan_init(struct scan *scan, int fd, const struct scan_options *options);
void scan_fini(struct scan *scan);
/* FAILED: err says why; the scan stays where it was. */
enum scan_result scan_next(struct scan *scan, struct scan_item *item,
                           struct err *err);
/* CRC-32C of n bytes of a file; false on an I/O error or an early end. */
MUST_USE bool scan_checksum(int fd, uint64_t offset, uint64_t n, uint32_t *crc,
                            struct err *err);
#endif
