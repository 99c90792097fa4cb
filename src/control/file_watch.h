/* control/file_watch.h - files that belong together, and when they are news.
 *
 * Somebody who replaces a certificate and its key writes one after the other.
 * So a change counts only when all files of the group have been the same for
 * two looks. */
#ifndef CONTROL_FILE_WATCH_H
#define CONTROL_FILE_WATCH_H
#include "base/base.h"

struct file_stamp;

struct file_watch {
    struct file_stamp *used; /* owned; of each file when it was taken */
    struct file_stamp *seen; /* owned; at the last look */
    size_t count;
};

enum file_news {
    FILES_SAME,    /* those that are in use */
    FILES_MOVING,  /* others than at the last look */
    FILES_SETTLED, /* others than in use, the same as at the last look */
};

/* What stands there now is what is in use; call it before the files are read.
 * Empty paths are left out. */
void file_watch_init(struct file_watch *watch, const char *const *paths,
                     size_t count);
void file_watch_fini(struct file_watch *watch);
enum file_news file_watch_look(struct file_watch *watch);
/* Both were made of the same versions of the same files. */
bool file_watch_same(const struct file_watch *a, const struct file_watch *b);
#endif
