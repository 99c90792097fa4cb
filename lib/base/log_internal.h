/* base/log_internal.h - the two halves behind base/log.h: log_line.c makes the
 * text of a line, log_writer.c brings lines to their destination. */
#ifndef BASE_LOG_INTERNAL_H
#define BASE_LOG_INTERNAL_H
#include "base/log.h"

#define LOG_LINE_MAX 16384 /* bytes, with the newline */
#define LOG_VALUE_MAX 2048 /* bytes of a value before escaping */
#define LOG_BUFFER 1048576 /* bytes that may wait to be written */

struct log_line {
    char text[LOG_LINE_MAX]; /* ends with a newline, no NUL */
    size_t length;
};

struct log_head {
    const char *process; /* NULL before log_open() */
    enum log_level level;
    const char *event;
};

/* Overwrites line.  Fields that do not fit are left out, and cut=true stands at
 * the end. */
void log_line_make(struct log_line *line, enum log_format format,
                   const struct log_head *head,
                   const struct log_context *context,
                   const struct log_field *fields, size_t count);

/* Until log_writer_open() lines are written to standard error at once. */
MUST_USE bool log_writer_open(const struct log_options *options,
                              struct err *err);
MUST_USE bool log_writer_try(const char *path, struct err *err);
void log_writer_reopen(void);
void log_writer_flush(void);
void log_writer_close(void);
void log_writer_add(struct sv line);
#endif
