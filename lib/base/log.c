#include "base/log.h"
#include "base/log_internal.h"
#include <pthread.h>
#include <stdatomic.h>

static const char *const level_names[LOG_LEVELS] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARNING] = "warning",
    [LOG_ERROR] = "error",
};

static atomic_int wanted_level = LOG_INFO;
static atomic_int line_format = LOG_KEY_VALUE;
static const char *_Atomic process_name;

static pthread_mutex_t capture_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*_Atomic capture)(void *arg, struct sv line);
static void *capture_arg;

static void (*_Atomic observer)(const struct log_record *record);

static bool
makes_line(enum log_level level)
{
    return (int)level >=
               atomic_load_explicit(&wanted_level, memory_order_relaxed) ||
           capture != NULL;
}

bool
log_wants(enum log_level level)
{
    return makes_line(level) || (level >= LOG_INFO && log_observed());
}

bool
log_observed(void)
{
    return atomic_load_explicit(&observer, memory_order_relaxed) != NULL;
}

void
log_observe(void (*on_event)(const struct log_record *record))
{
    observer = on_event;
}

static const struct log_field *
find_field(const struct log_field *fields, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (fields[i].key != NULL && strcmp(fields[i].key, key) == 0)
            return &fields[i];
    return NULL;
}

static const struct log_field *
find_in_record(const struct log_record *record, const char *key)
{
    const struct log_context *context = record->context;
    const struct log_field *found =
        find_field(record->fields, record->count, key);

    for (; found == NULL && context != NULL; context = context->parent)
        found = find_field(context->fields, COUNT_OF(context->fields), key);
    return found;
}

struct sv
log_record_text(const struct log_record *record, const char *key)
{
    const struct log_field *field = find_in_record(record, key);

    return field != NULL && field->type == LOG_TYPE_SV ? field->value.text
                                                       : (struct sv){0};
}

uint64_t
log_record_number(const struct log_record *record, const char *key)
{
    const struct log_field *field = find_in_record(record, key);

    if (field == NULL || field->type == LOG_TYPE_SV)
        return 0;
    return field->value.u64; /* i64 has the same bytes */
}

static void
give_to_capture(struct sv line)
{
    pthread_mutex_lock(&capture_lock);
    if (capture != NULL)
        capture(capture_arg, line);
    pthread_mutex_unlock(&capture_lock);
}

void
log_event_fields(const struct log_context *context, enum log_level level,
                 const char *event, const struct log_field *fields,
                 size_t count)
{
    static _Thread_local struct log_line line; /* too large for a stack */
    struct log_head head = {process_name, level, event};
    void (*on_event)(const struct log_record *record) = observer;

    if (on_event != NULL)
        on_event(&(struct log_record){event, level, context, fields, count});
    if (!makes_line(level))
        return;
    log_line_make(&line, (enum log_format)line_format, &head, context, fields,
                  count);
    if (capture != NULL)
        give_to_capture((struct sv){line.text, line.length - 1});
    else
        log_writer_add((struct sv){line.text, line.length});
}

bool
log_open(const struct log_options *options, struct err *err)
{
    if (!log_writer_open(options, err))
        return false;
    process_name = options->process;
    line_format = (int)options->format;
    wanted_level = (int)options->level;
    return true;
}

bool
log_try(const char *path, struct err *err)
{
    return log_writer_try(path, err);
}

void
log_reopen(void)
{
    log_writer_reopen();
}

void
log_flush(void)
{
    log_writer_flush();
}

void
log_close(void)
{
    log_writer_close();
}

bool
log_level_parse(struct sv name, enum log_level *level)
{
    for (int i = 0; i < LOG_LEVELS; i++) {
        if (sv_is(name, level_names[i])) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *
log_level_name(enum log_level level)
{
    return level < LOG_LEVELS ? level_names[level] : "unknown";
}

void
log_capture(void (*on_line)(void *arg, struct sv line), void *arg)
{
    pthread_mutex_lock(&capture_lock);
    capture_arg = arg;
    capture = on_line;
    pthread_mutex_unlock(&capture_lock);
}
