/* `waxgate spool verify`: reads everything and says what is wrong with it. */
#include "base/map.h"
#include "spool/ledger.h"
#include "spool/survey.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

struct verify {
    struct survey survey;
    FILE *out;
    enum spool_journal journal;
    uint64_t segments, records, bytes, problems;
    struct map bodies; /* names that records point at */
};

static void
say(struct verify *v, uint32_t segment, uint64_t offset, const char *what)
{
    v->problems++;
    fprintf(v->out, "%s: segment %08" PRIu32 ":%" PRIu64 ": %s\n",
            journal_name(v->journal), segment, offset, what);
}

static void
on_problem(void *arg, uint32_t segment, uint64_t offset, const char *what)
{
    say(arg, segment, offset, what);
}

static void
on_segment(void *arg, const struct survey_segment *segment)
{
    struct verify *v = arg;

    v->segments++;
    v->bytes += segment->end;
}

/* --- Records ------------------------------------------------------------ */

/* NULL: the file is right. */
static const char *
body_fault(int fd, const struct record *record)
{
    struct err err = {0};
    struct stat st;
    uint32_t crc;

    if (fstat(fd, &st) == -1)
        return "the body file cannot be read";
    /* Given back when the message was final: an empty file stays in its
     * place. */
    if (st.st_size == 0 && record->content_length > 0)
        return NULL;
    if ((uint64_t)st.st_size != record->content_length)
        return "the body file has another length";
    if (!scan_checksum(fd, 0, record->content_length, &crc, &err))
        return "the body file cannot be read";
    return crc == record->content_crc ? NULL
                                      : "the body file fails its checksum";
}

static void
check_body(struct verify *v, const struct survey_segment *segment,
           const struct scan_item *item)
{
    char name[BODY_NAME];
    const char *fault = NULL;
    int fd;

    body_name(segment->number, item->record.body, name);
    map_put(&v->bodies, sv_of(name), v);
    fd = openat(v->survey.body_dir[v->journal], name, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        fault = errno == ENOENT ? "the body file is missing: the message "
                                  "cannot be delivered"
                                : "the body file cannot be opened";
    else
        fault = body_fault(fd, &item->record);
    if (fd != -1)
        close(fd);
    if (fault != NULL && survey_current(&v->survey, segment))
        say(v, segment->number, item->offset, fault);
}

static bool
head_is_right(const struct scan_item *item, struct err *err)
{
    struct arena arena;
    struct envelope envelope;
    struct ledger_attempt attempt;
    struct ledger_action action;
    struct ledger_session session;
    bool ok = true;

    arena_init(&arena, 4096);
    if (item->record.type == SPOOL_MESSAGE)
        ok = envelope_decode(item->head, &arena, &envelope, err);
    else if (item->record.type == SPOOL_ATTEMPT)
        ok = ledger_attempt_decode(item->head, &arena, &attempt, err);
    else if (item->record.type == SPOOL_ACTION)
        ok = ledger_action_decode(item->head, &action, err);
    else if (item->record.type == SPOOL_SESSION)
        ok = ledger_session_decode(item->head, &session, err);
    arena_fini(&arena);
    return ok;
}

static void
on_record(void *arg, const struct survey_segment *segment,
          const struct scan_item *item)
{
    struct verify *v = arg;
    struct err err = {0};

    v->records++;
    if (!head_is_right(item, &err))
        say(v, segment->number, item->offset, err.text);
    if (item->content_damaged && survey_current(&v->survey, segment))
        say(v, segment->number, item->offset,
            "the content fails its checksum: the message cannot be delivered");
    if (item->record.body != 0)
        check_body(v, segment, item);
}

static const struct survey_calls calls = {
    .check_content = true,
    .on_segment = on_segment,
    .on_record = on_record,
    .on_problem = on_problem,
};

/* --- Files that nothing points at --------------------------------------- */

static void
check_orphan(void *arg, const char *name)
{
    struct verify *v = arg;
    uint32_t segment;
    uint64_t number;

    if (!body_name_parse(name, &segment, &number)) {
        v->problems++;
        fprintf(v->out, "%s: body/%s: not a body file\n",
                journal_name(v->journal), name);
    } else if (map_get(&v->bodies, sv_of(name)) == NULL) {
        fprintf(v->out,
                "%s: body/%s: no record points at it (being received, or "
                "left by a crash; the next start removes it)\n",
                journal_name(v->journal), name);
    }
}

static bool
verify_journal(struct verify *v, enum spool_journal journal, struct err *err)
{
    bool ok;

    v->journal = journal;
    v->segments = v->records = v->bytes = 0;
    ok = survey_walk(&v->survey, journal, &calls, v, err);
    if (ok && v->survey.body_dir[journal] != -1)
        ok = dir_each(v->survey.body_dir[journal], check_orphan, v, err);
    map_fini(&v->bodies);
    fprintf(v->out,
            "%s: %" PRIu64 " segments, %" PRIu64 " records, %" PRIu64
            " bytes\n",
            journal_name(journal), v->segments, v->records, v->bytes);
    return ok;
}

size_t
spool_verify(const char *state_dir, FILE *out, struct err *err)
{
    struct verify v = {.out = out};
    struct err cause = {0};
    size_t problems;

    if (!survey_open(&v.survey, state_dir, &cause) ||
        !verify_journal(&v, SPOOL_INTAKE, &cause) ||
        !verify_journal(&v, SPOOL_LEDGER, &cause)) {
        v.problems++;
        fprintf(out, "%s\n", cause.text);
        if (err != NULL)
            *err = cause;
    }
    problems = (size_t)v.problems;
    fprintf(out, "%zu problem%s\n", problems, problems == 1 ? "" : "s");
    survey_close(&v.survey);
    return problems;
}
