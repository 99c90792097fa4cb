/* spool/segment.h - segment files: names, headers, seals, directories.
 *
 * A segment begins with two equal blocks of 4 KiB (the second is a copy, read
 * when the first is damaged); records start at SEGMENT_START.  The header says
 * where the segment before it ended, so what a crash or a failed write left
 * behind that end is never read.  When that next segment is reclaimed first, a
 * seal in the earlier one says it instead. */
#ifndef SPOOL_SEGMENT_H
#define SPOOL_SEGMENT_H
#include "spool/record.h"

enum {
    SEGMENT_BLOCK = 4096,
    SEGMENT_START = 2 * SEGMENT_BLOCK, /* of the first record */
    SEGMENT_NAME = 24,                 /* bytes of a name with its NUL */
    BODY_NAME = 48,
};
#define SEGMENT_SIZE_MAX (UINT64_C(1) << 35)

struct segment_header {
    enum spool_journal journal;
    uint32_t number;         /* 1.. */
    uint64_t salt;           /* never 0 */
    uint64_t first_sequence; /* of the first record it may hold */
    uint32_t previous;       /* number of the segment before; 0: none */
    uint64_t previous_end;   /* offset where that one ends */
    int64_t created_us;
};

const char *segment_name(uint32_t number, char name[SEGMENT_NAME]);
/* The number in a segment's name; 0: not such a name. */
uint32_t segment_number(const char *name);

MUST_USE bool segment_header_write(int fd, const struct segment_header *header,
                                   struct err *err);
/* False with err->code EBADMSG: neither copy is a header; other codes: I/O. */
MUST_USE bool segment_header_read(int fd, struct segment_header *header,
                                  struct err *err);
/* Writes down, durably, where the segment ends. */
MUST_USE bool segment_seal(int fd, const struct segment_header *header,
                           uint64_t end, struct err *err);
/* The end by its seal; 0: it has none. */
uint64_t segment_sealed_end(int fd, const struct segment_header *header);

struct segment_list {
    uint32_t *numbers; /* ascending, owned */
    size_t count;
};
/* The segments in an open directory. */
MUST_USE bool segment_list_read(int dir, struct segment_list *list,
                                struct err *err);
void segment_list_fini(struct segment_list *list);
/* The first one above number; 0: none. */
uint32_t segment_list_after(const struct segment_list *list, uint32_t number);

/* Body files: "tmp-<number>" until the record that points at it is about to be
 * written, then "<segment>-<number>", so that a segment's bodies are known
 * without reading it. segment 0: the temporary name. */
const char *body_name(uint32_t segment, uint64_t number, char name[BODY_NAME]);
/* False: not such a name. */
MUST_USE bool body_name_parse(const char *name, uint32_t *segment,
                              uint64_t *number);

/* Calls each(arg, name) for the entries of an open directory but . and .. */
MUST_USE bool dir_each(int dir, void (*each)(void *arg, const char *name),
                       void *arg, struct err *err);
/* Sets an error with code EBADMSG and just this text. */
void err_damaged(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* pread() until n bytes, the end of the file, or an error (-1). */
ssize_t read_fully(int fd, void *dst, size_t n, uint64_t offset);
MUST_USE bool write_fully(int fd, const void *src, size_t n, uint64_t offset);
#endif
