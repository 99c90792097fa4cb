/* base/line_file.h - whole lines appended to a file by a thread of its own.
 *
 * For files beside the log.  Lines wait in a bounded buffer, so that a slow
 * disk stops nobody; what does not fit is lost and counted, and the count is
 * told in the log (log.dropped) when there is room again.  A line that the file
 * took only in part is lost too; the next begins a new one.  Several processes
 * may append to one file. */
#ifndef BASE_LINE_FILE_H
#define BASE_LINE_FILE_H
#include "base/err.h"
#include "base/sv.h"

struct line_file;

/* Between open and close any thread may call any of these. */
MUST_USE struct line_file *line_file_open(const char *path, struct err *err);
/* Whether open() would succeed.  Makes the file where it is missing. */
MUST_USE bool line_file_try(const char *path, struct err *err);
const char *line_file_path(const struct line_file *file);
void line_file_add(struct line_file *file,
                   struct sv line); /* copied; with LF */
/* After a rotation.  A file that cannot be opened again stays in use. */
MUST_USE bool line_file_reopen(struct line_file *file, struct err *err);
void
line_file_close(struct line_file *file); /* writes what waits; NULL: no-op */
void line_file_flush(struct line_file *file); /* waits until it is written */
#endif
