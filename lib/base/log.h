/* base/log.h - one event, one line.
 * An event has a stable dotted name and typed fields; it is written as
 * `time level process event key=value …` or as one JSON object.  Values that
 * came from a peer are escaped here and nowhere else, so a line cannot be
 * forged. Fields that belong to a session are set once in a struct log_context
 * and stand in every line of it.
 *
 * Lines go to a bounded buffer that a thread writes out, so a slow disk or a
 * blocked pipe never stops an event loop; what does not fit is counted and the
 * count is logged (log.dropped).
 *
 *   log_event(&s->log, LOG_INFO, "smtpd.refuse", LOG_STR("rule", name),
 *             LOG_U64("code", 550));
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/err.h"
#include "base/sv.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_LEVELS };
enum log_format { LOG_KEY_VALUE, LOG_JSON };
enum log_type { LOG_TYPE_SV, LOG_TYPE_U64, LOG_TYPE_I64, LOG_TYPE_BOOL };

struct log_field {
    const char *key; /* NULL: the field is left out (see LOG_IF) */
    enum log_type type;
    union {
        struct sv text;
        uint64_t u64;
        int64_t i64;
    } value;
};

#define LOG_SV(k, v)                                                           \
    ((struct log_field){.key = (k), .type = LOG_TYPE_SV, .value.text = (v)})
#define LOG_STR(k, v) LOG_SV(k, sv_of(v))
#define LOG_U64(k, v)                                                          \
    ((struct log_field){.key = (k), .type = LOG_TYPE_U64, .value.u64 = (v)})
#define LOG_I64(k, v)                                                          \
    ((struct log_field){.key = (k), .type = LOG_TYPE_I64, .value.i64 = (v)})
#define LOG_BOOL(k, v)                                                         \
    ((struct log_field){.key = (k), .type = LOG_TYPE_BOOL, .value.u64 = (v)})
/* The field only where the condition holds. */
#define LOG_IF(cond, field) ((cond) ? (field) : (struct log_field){0})

/* Fields in front of every line of a session, inherited from parent (may be
 * NULL).  Caller's storage; must outlive its users. */
struct log_context {
    const struct log_context *parent;
    struct log_field fields[4]; /* those with key != NULL */
};

#define log_event(context, level, event, ...)                                  \
    log_event_fields((context), (level), (event),                              \
                     (const struct log_field[]){__VA_ARGS__},                  \
                     sizeof((const struct log_field[]){__VA_ARGS__}) /         \
                         sizeof(struct log_field))

/* context may be NULL.  Every event has at least one field. */
void log_event_fields(const struct log_context *context, enum log_level level,
                      const char *event, const struct log_field *fields,
                      size_t count);
/* False where lines of this level go nowhere: saves the work of making one. */
bool log_wants(enum log_level level);

struct log_options {
    const char *process;  /* "receiver": in every line; must stay valid */
    const char *path;     /* a file to append to; NULL or "-": stdout */
    enum log_level level; /* this and above */
    enum log_format format;
};

/* Starts the writer thread.  May be called again to change the options (new
 * file, new level): lines before keep their old destination.  Until the first
 * call lines go straight to standard error. */
MUST_USE bool log_open(const struct log_options *options, struct err *err);
/* Whether log_open() with this path would find its file usable. Makes the file
 * where it is missing; nothing else changes. */
MUST_USE bool log_try(const char *path, struct err *err);
void log_reopen(void); /* after the file was rotated */
void log_flush(void);  /* waits until everything is written */
void log_close(void);

bool log_level_parse(struct sv name, enum log_level *level);
const char *log_level_name(enum log_level level);

/* Another reader of the same events, in this process: sees each one as it was
 * given, whatever the level of the log, before it becomes a line.  Called on
 * the thread that tells of the event; must be quick, may not log and keeps no
 * pointer.  One at a time; NULL ends it, but a call that is under way goes on.
 */
struct log_record {
    const char *event;
    enum log_level level;
    const struct log_context *context;
    const struct log_field *fields;
    size_t count;
};
void log_observe(void (*on_event)(const struct log_record *record));
bool log_observed(void); /* there is one: events of level debug are wanted */
/* The field of this key, also out of the context: empty and 0 where there is
 * none, or one of another type. */
struct sv log_record_text(const struct log_record *record, const char *key);
uint64_t log_record_number(const struct log_record *record, const char *key);

/* For tests: lines of every level go to this function instead, without their
 * newline; NULL ends it.  The function may not log. */
void log_capture(void (*on_line)(void *arg, struct sv line), void *arg);
#endif
