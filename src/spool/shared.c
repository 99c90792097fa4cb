#include "spool/shared.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARED_MAGIC UINT64_C(0x3244524853584157)

static bool
map_file(struct shared *shared, int fd, struct err *err)
{
    void *at;
    /* Real blocks, not a hole: filling a hole of a mapped file on a full disk
     * is no error that could be handled but a SIGBUS. */
    int code = posix_fallocate(fd, 0, sizeof *shared->file);

    if (code != 0) {
        err_code(err, code, "allocate spool/shared");
        return false;
    }
    at = mmap(NULL, sizeof *shared->file, PROT_READ | PROT_WRITE, MAP_SHARED,
              fd, 0);
    if (at == MAP_FAILED) {
        err_sys(err, "map spool/shared");
        return false;
    }
    shared->file = at;
    return true;
}

/* A file of another version means nothing to us: begin with zeros. */
static void
check_magic(struct shared *shared)
{
    if (shared->file->magic == SHARED_MAGIC)
        return;
    if (shared->file->magic != 0)
        memset(shared->file, 0, sizeof *shared->file);
    shared->file->magic = SHARED_MAGIC;
}

bool
shared_open(struct shared *shared, int dir,
            const struct shared_options *options, struct err *err)
{
    int flags = O_RDWR | O_CLOEXEC | (options->create ? O_CREAT : 0);
    int fd = openat(dir, "shared", flags, 0600);
    bool ok = false;

    *shared = (struct shared){.dir = dir};
    for (size_t i = 0; i < SHARED_READERS; i++)
        atomic_init(&shared->wake[i], -1);
    if (fd == -1 && !options->create)
        return true;
    if (fd == -1) {
        err_sys(err, "open spool/shared");
        return false;
    }
    /* Two processes may start at once. */
    if (flock(fd, LOCK_EX) == -1)
        err_sys(err, "lock spool/shared");
    else
        ok = map_file(shared, fd, err);
    if (ok)
        check_magic(shared);
    flock(fd, LOCK_UN); /* the mapping keeps the file, and its lock, open */
    close(fd);
    return ok;
}

void
shared_close(struct shared *shared)
{
    if (shared->file == NULL) /* never opened, then nor was a FIFO */
        return;
    for (size_t i = 0; i < SHARED_READERS; i++) {
        if (shared->wake[i] != -1)
            close(shared->wake[i]);
    }
    munmap(shared->file, sizeof *shared->file);
    shared->file = NULL;
}

struct spool_place
shared_end(const struct shared *shared, enum spool_journal journal)
{
    if (shared->file == NULL)
        return (struct spool_place){0};
    return (struct spool_place){
        atomic_load(&shared->file->journals[journal].end)};
}

uint64_t
shared_sequence(const struct shared *shared, enum spool_journal journal)
{
    if (shared->file == NULL)
        return 0;
    return atomic_load(&shared->file->journals[journal].sequence);
}

/* --- Waking ------------------------------------------------------------- */

static void
fifo_name(unsigned slot, char name[16])
{
    snprintf(name, 16, "wake.%u", slot);
}

/* FIFOs are never removed, so a descriptor once opened stays right.  Both ends
 * open them for reading and writing: that blocks for nobody, and a writer
 * outlives a reader that died without a SIGPIPE. */
static int
fifo_open(struct shared *shared, unsigned slot)
{
    char name[16];

    fifo_name(slot, name);
    return openat(shared->dir, name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static int
fifo_of(struct shared *shared, unsigned slot)
{
    int fd = shared->wake[slot];
    int none = -1;

    if (fd != -1)
        return fd;
    fd = fifo_open(shared, slot);
    if (fd != -1 &&
        !atomic_compare_exchange_strong(&shared->wake[slot], &none, fd)) {
        close(fd);
        return none;
    }
    return fd;
}

static void
wake(struct shared *shared, unsigned slot)
{
    int fd = fifo_of(shared, slot);
    ssize_t put;

    if (fd == -1)
        return;
    do
        put = write(fd, "", 1); /* full: the reader is being woken already */
    while (put == -1 && errno == EINTR);
}

/* The order matters: publish, then look who sleeps; the reader says that it
 * sleeps, then looks at the end (watch.c).  Both are sequentially consistent,
 * so one of the two sees the other. */
void
shared_publish(struct shared *shared, enum spool_journal journal,
               struct spool_place end, uint64_t sequence)
{
    struct shared_file *file = shared->file;

    atomic_store(&file->journals[journal].sequence, sequence);
    atomic_store(&file->journals[journal].end, end.packed);
    for (unsigned slot = 0; slot < SHARED_READERS; slot++) {
        if (atomic_load(&file->sleeping[slot]) != 0 &&
            atomic_exchange(&file->sleeping[slot], 0) != 0)
            wake(shared, slot);
    }
}

int
shared_sleeper_open(struct shared *shared, unsigned *slot, struct err *err)
{
    for (*slot = 0; *slot < SHARED_READERS; ++*slot) {
        char name[16];
        int fd;

        fifo_name(*slot, name);
        if (mkfifoat(shared->dir, name, 0600) == -1 && errno != EEXIST) {
            err_sys(err, "create spool/%s", name);
            return -1;
        }
        fd = fifo_open(shared, *slot);
        if (fd == -1) {
            err_sys(err, "open spool/%s", name);
            return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        close(fd);
    }
    err_set(err, "more than %d processes read the spool", SHARED_READERS);
    return -1;
}

void
shared_sleep(struct shared *shared, unsigned slot)
{
    atomic_store(&shared->file->sleeping[slot], 1);
}

void
shared_awake(struct shared *shared, unsigned slot)
{
    atomic_store(&shared->file->sleeping[slot], 0);
}
