/* spool/survey.h - a whole journal from its first to its last record, for
 * verify and dump: creates nothing, changes nothing, believes nothing.
 *
 * Where a writer is at work it stops at the published end; otherwise it goes
 * as far as a recovery would. */
#ifndef SPOOL_SURVEY_H
#define SPOOL_SURVEY_H
#include "spool/scan.h"
#include "spool/shared.h"

struct survey {
    int dir, journal_dir[2], body_dir[2]; /* -1: there is none */
    struct shared shared;
};

struct survey_segment {
    uint32_t number;
    int fd; /* -1: it could not be opened */
    struct segment_header header;
    uint64_t end;
    bool readable; /* has a header */
};

struct survey_calls {
    bool check_content;
    /* Before the records of a segment. */
    void (*on_segment)(void *arg, const struct survey_segment *segment);
    void (*on_record)(void *arg, const struct survey_segment *segment,
                      const struct scan_item *item);
    /* Something is wrong at offset (0: with the segment as a whole). */
    void (*on_problem)(void *arg, uint32_t segment, uint64_t offset,
                       const char *what);
};

/* False where there is no spool; then there is nothing to close. */
MUST_USE bool survey_open(struct survey *survey, const char *state_dir,
                          struct err *err);
void survey_close(struct survey *survey);
/* Whether the segment is still that segment: on a live spool it may have been
 * reclaimed while we read, and then what we read says nothing. */
bool survey_current(const struct survey *survey,
                    const struct survey_segment *segment);
MUST_USE bool survey_walk(struct survey *survey, enum spool_journal journal,
                          const struct survey_calls *calls, void *arg,
                          struct err *err);
#endif
