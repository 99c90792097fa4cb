/* service/asyncos_log.h - a second log in the shape of AsyncOS mail_logs, for
 * the parsers that exist for those.
 *
 * Its lines are made from the events of the log and from nothing else, so that
 * both always tell the same.  Numbers are the ids of the log as decimals: ICID
 * of `session`, DCID of `delivery`, MID of `queue`; so they are the same in all
 * processes, and unique on this node.  docs/logging.md shows the lines. */
#ifndef SERVICE_ASYNCOS_LOG_H
#define SERVICE_ASYNCOS_LOG_H
#include "base/log.h"

/* Begins, goes on with another file, or ends ("").  Called on one thread. */
MUST_USE bool asyncos_log_open(const char *path, struct err *err);
MUST_USE bool asyncos_log_try(const char *path, struct err *err);
void asyncos_log_reopen(void); /* after a rotation */
void asyncos_log_close(void);  /* writes what waits */

/* The lines of one event, without time and level: any number of calls of
 * on_line, whose text has no newline.  Pure. */
void asyncos_log_lines(const struct log_record *record,
                       void (*on_line)(void *arg, struct sv line), void *arg);
#endif
