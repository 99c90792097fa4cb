/* Which version of a file was read. */
#include "tls/stamp.h"
#include <sys/stat.h>

void
stamp_init(struct file_stamp *stamp, const char *path)
{
    struct stat st;

    *stamp = (struct file_stamp){.path = mem_strdup(path)};
    if (stat(path, &st) == -1)
        return;
    stamp->exists = true;
    stamp->device = st.st_dev;
    stamp->inode = st.st_ino;
    stamp->size = st.st_size;
    stamp->modified = st.st_mtim;
    stamp->changed = st.st_ctim;
}

void
stamp_fini(struct file_stamp *stamp)
{
    mem_free(stamp->path);
    *stamp = (struct file_stamp){0};
}

static bool
is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool
stamp_same(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->exists == b->exists && a->device == b->device &&
           a->inode == b->inode && a->size == b->size &&
           is_same_time(a->modified, b->modified) &&
           is_same_time(a->changed, b->changed);
}

bool
stamp_changed(const struct file_stamp *stamp)
{
    struct file_stamp now;
    bool changed;

    stamp_init(&now, stamp->path);
    changed = !stamp_same(&now, stamp);
    stamp_fini(&now);
    return changed;
}
