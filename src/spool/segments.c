#include "spool/segments.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IDLE_MAX = 32 }; /* open files that nobody uses */

struct segment_table {
    struct spool *spool;
    pthread_mutex_t lock;
    struct list refs; /* most recently used last */
    size_t idle;
};

struct segment_table *
segment_table_new(struct spool *spool)
{
    struct segment_table *table = mem_alloc(sizeof *table);

    table->spool = spool;
    list_init(&table->refs);
    pthread_mutex_init(&table->lock, NULL);
    return table;
}

static void
ref_free(struct segment_table *table, struct segment_ref *ref)
{
    list_remove(&table->refs, &ref->link);
    close(ref->fd);
    mem_free(ref);
}

void
segment_table_free(struct segment_table *table)
{
    LIST_FOREACH_SAFE (link, tmp, &table->refs) {
        ref_free(table, CONTAINER_OF(link, struct segment_ref, link));
    }
    pthread_mutex_destroy(&table->lock);
    mem_free(table);
}

bool
segment_ref_current(const struct segment_ref *ref)
{
    struct segment_header now;
    struct stat st;

    return fstat(ref->fd, &st) == 0 && st.st_nlink > 0 &&
           segment_header_read(ref->fd, &now, NULL) &&
           now.salt == ref->header.salt;
}

static struct segment_ref *
find(struct segment_table *table, enum spool_journal journal, uint32_t number)
{
    LIST_FOREACH (link, &table->refs) {
        struct segment_ref *ref = CONTAINER_OF(link, struct segment_ref, link);

        if (ref->header.number == number && ref->header.journal == journal)
            return ref;
    }
    return NULL;
}

static struct segment_ref *
ref_open(struct segment_table *table, enum spool_journal journal,
         uint32_t number, struct err *err)
{
    struct segment_header header;
    char name[SEGMENT_NAME];
    struct stat st;
    struct segment_ref *ref;
    int fd = openat(table->spool->journal_dir[journal],
                    segment_name(number, name), O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        err_sys(err, "open %s/%s", journal_name(journal), name);
        return NULL;
    }
    if (fstat(fd, &st) == -1) {
        err_sys(err, "stat %s/%s", journal_name(journal), name);
        close(fd);
        return NULL;
    }
    if (!segment_header_read(fd, &header, err) || header.number != number ||
        header.journal != journal) {
        err_damaged(err, "%s/%s: segment header is damaged",
                    journal_name(journal), name);
        close(fd);
        return NULL;
    }
    ref = mem_alloc(sizeof *ref);
    ref->fd = fd;
    ref->size = (uint64_t)st.st_size;
    ref->header = header;
    list_push_back(&table->refs, &ref->link);
    return ref;
}

static void
drop_oldest_idle(struct segment_table *table)
{
    LIST_FOREACH_SAFE (link, tmp, &table->refs) {
        struct segment_ref *ref = CONTAINER_OF(link, struct segment_ref, link);

        if (ref->refs > 0)
            continue;
        ref_free(table, ref);
        table->idle--;
        return;
    }
}

struct segment_ref *
segment_get(struct segment_table *table, enum spool_journal journal,
            uint32_t number, struct err *err)
{
    pthread_mutex_lock(&table->lock);
    struct segment_ref *ref = find(table, journal, number);
    if (ref != NULL && ref->refs == 0) {
        table->idle--;
        if (!segment_ref_current(ref)) {
            ref_free(table, ref);
            ref = NULL;
        }
    }
    if (ref == NULL)
        ref = ref_open(table, journal, number, err);
    if (ref != NULL) {
        ref->refs++;
        list_remove(&table->refs, &ref->link);
        list_push_back(&table->refs, &ref->link);
    }
    pthread_mutex_unlock(&table->lock);
    return ref;
}

void
segment_put(struct segment_table *table, struct segment_ref *ref)
{
    if (ref == NULL)
        return;
    pthread_mutex_lock(&table->lock);
    if (--ref->refs == 0 && ++table->idle > IDLE_MAX)
        drop_oldest_idle(table);
    pthread_mutex_unlock(&table->lock);
}

bool
segment_forget(struct segment_table *table, enum spool_journal journal,
               uint32_t number)
{
    pthread_mutex_lock(&table->lock);
    struct segment_ref *ref = find(table, journal, number);
    bool unused = ref == NULL || ref->refs == 0;

    if (ref != NULL && unused) {
        ref_free(table, ref);
        table->idle--;
    }
    pthread_mutex_unlock(&table->lock);
    return unused;
}
