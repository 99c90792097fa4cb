/* tls/stamp.h - which version of a file was read.
 * A stamp tells a file from what stands in its place later by device, inode,
 * size and times, so a rename into place, a symbolic link that points elsewhere
 * and a rewrite are all noticed. */
#ifndef TLS_STAMP_H
#define TLS_STAMP_H
#include "base/base.h"
#include <sys/types.h>
#include <time.h>

struct file_stamp {
    char *path; /* owned */
    bool exists;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};
/* Before the file is read, so that a change meanwhile is noticed later. */
void stamp_init(struct file_stamp *stamp, const char *path);
void stamp_fini(struct file_stamp *stamp);
/* The same version; paths are not compared. */
bool stamp_same(const struct file_stamp *a, const struct file_stamp *b);
/* Another file, or none, stands there now. */
bool stamp_changed(const struct file_stamp *stamp);
#endif
