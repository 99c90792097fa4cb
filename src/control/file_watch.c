#include "control/file_watch.h"

#include "tls/stamp.h"

void
file_watch_init(struct file_watch *watch, const char *const *paths,
                size_t count)
{
    *watch = (struct file_watch){0};
    watch->used = mem_alloc_array(count, sizeof *watch->used);
    watch->seen = mem_alloc_array(count, sizeof *watch->seen);
    for (size_t i = 0; i < count; i++) {
        if (paths[i][0] == '\0')
            continue;
        stamp_init(&watch->used[watch->count], paths[i]);
        watch->seen[watch->count] = watch->used[watch->count];
        watch->seen[watch->count].path = mem_strdup(paths[i]);
        watch->count++;
    }
}

void
file_watch_fini(struct file_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        stamp_fini(&watch->used[i]);
        stamp_fini(&watch->seen[i]);
    }
    mem_free(watch->used);
    mem_free(watch->seen);
    *watch = (struct file_watch){0};
}

enum file_news
file_watch_look(struct file_watch *watch)
{
    bool moving = false, other = false;

    for (size_t i = 0; i < watch->count; i++) {
        struct file_stamp *seen = &watch->seen[i];
        struct file_stamp now;

        stamp_init(&now, seen->path);
        moving |= !stamp_same(&now, seen);
        other |= !stamp_same(&now, &watch->used[i]);
        stamp_fini(seen);
        *seen = now;
    }
    if (!other)
        return FILES_SAME;
    return moving ? FILES_MOVING : FILES_SETTLED;
}

bool
file_watch_same(const struct file_watch *a, const struct file_watch *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->used[i].path, b->used[i].path) != 0 ||
            !stamp_same(&a->used[i], &b->used[i]))
            return false;
    }
    return true;
}
