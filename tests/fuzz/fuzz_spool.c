/* The bytes of a segment as a bad disk may give them: recovery, readers,
 * verify and dump get through them without falling over.
 *
 * The input is the segment from its first record on; "salt" in it (the eight
 * bytes below) stands for a record's mark, so the fuzzer can make records that
 * get as far as their checksum, and the checksum is made right for every other
 * such record. */
#include "base/crc32c.h"
#include "base/log.h"
#include "spool/bytes.h"
#include "spool/ledger.h"
#include "spool/scan.h"
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SALT UINT64_C(0x21746c6173676178)
enum { INPUT_MAX = 64 << 10, SEGMENT_BYTES = 256 << 10 };

static char dir[64];
static FILE *null;

static int
remove_entry(const char *path, const struct stat *st, int type,
             struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static void
remove_all(void)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void
on_line(void *arg, struct sv line)
{
    (void)arg;
    (void)line;
}

static void
make_dirs(void)
{
    static const char *const names[] = {"/spool", "/spool/intake",
                                        "/spool/ledger"};
    char path[128];

    if (dir[0] == '\0') {
        /* In memory where there is such a place: a run syncs often. */
        snprintf(dir, sizeof dir, "%s/fuzz-spool-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (mkdtemp(dir) == NULL)
            abort();
        atexit(remove_all);
        null = fopen("/dev/null", "w");
        log_capture(on_line, NULL);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s%s", dir, names[i]);
        mkdir(path, 0700);
    }
}

/* Makes the checksum of every second record right. */
static void
mend(unsigned char *bytes, size_t n)
{
    size_t marks = 0;

    for (size_t at = 0; at + RECORD_HEADER <= n; at += RECORD_ALIGN) {
        unsigned char *raw = bytes + at;
        uint32_t head = get_u32(raw + 12);

        if (get_u64(raw) != SALT || marks++ % 2 != 0 ||
            head > n - at - RECORD_HEADER)
            continue;
        put_u32(raw + RECORD_HEADER - 4,
                crc32c(crc32c(0, raw, RECORD_HEADER - 4), raw + RECORD_HEADER,
                       head));
    }
}

static void
decode_head(const struct scan_item *item)
{
    struct ledger_attempt attempt;
    struct ledger_action action;
    struct arena arena;
    struct err err;

    arena_init(&arena, 1024);
    (void)!ledger_attempt_decode(item->head, &arena, &attempt, &err);
    (void)!ledger_action_decode(item->head, &action, &err);
    arena_fini(&arena);
}

/* What every reader stands on, without files: thousands of runs a second. */
static void
scan_bytes(const unsigned char *bytes, size_t size)
{
    struct scan_options options = {
        .salt = SALT, .limit = size, .check_content = true};
    static int fd = -1;
    struct scan scan;
    struct scan_item item;
    enum scan_result result;
    struct err err = {0};
    uint64_t last = 0;

    if (fd == -1)
        fd = memfd_create("segment", MFD_CLOEXEC);
    if (fd == -1 || ftruncate(fd, 0) == -1 || !write_fully(fd, bytes, size, 0))
        abort();
    for (int tail = 0; tail < 2; tail++) {
        options.tail = tail == 1;
        scan_init(&scan, fd, &options);
        while ((result = scan_next(&scan, &item, &err)) != SCAN_END) {
            if (result == SCAN_FAILED || scan.at.offset <= last)
                abort(); /* it must get on */
            last = scan.at.offset;
            if (result == SCAN_RECORD)
                decode_head(&item);
        }
        last = 0;
        scan_fini(&scan);
    }
}

static void
write_segment(enum spool_journal journal, const unsigned char *bytes,
              size_t size)
{
    struct segment_header header = {
        .journal = journal, .number = 1, .salt = SALT, .first_sequence = 1};
    char path[128];
    struct err err;

    snprintf(path, sizeof path, "%s/spool/%s/00000001.seg", dir,
             journal_name(journal));
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd == -1 || !segment_header_write(fd, &header, &err) ||
        !write_fully(fd, bytes, size, SEGMENT_START) ||
        ftruncate(fd, SEGMENT_BYTES) == -1)
        abort();
    close(fd);
}

static void
read_everything(enum spool_journal journal)
{
    struct spool_dump_options options = {.journal = journal, .content = true};
    struct spool_settings limits = {.segment_size = SEGMENT_BYTES};
    struct err err = {0};
    struct spool *spool;
    struct spool_record record;
    struct spool_reader *reader;
    enum spool_read result;

    (void)spool_verify(dir, null, &err);
    if (!spool_dump(dir, &options, null, &err))
        abort();
    spool = journal == SPOOL_INTAKE ? spool_open_intake(dir, &limits, &err)
                                    : spool_open_ledger(dir, &limits, &err);
    if (spool == NULL)
        abort();
    reader = spool_reader_new(spool, journal, 0, &err);
    while ((result = spool_reader_next(reader, &record, &err)) != SPOOL_END) {
        struct spool_content *content;

        if (result == SPOOL_FAILED)
            abort();
        if (result == SPOOL_DAMAGED)
            continue;
        content = spool_content_open(spool, record.place, &err);
        if (content != NULL) {
            char bytes[4096];

            (void)spool_content_envelope(content, &err);
            (void)!spool_content_read(content, 0, bytes, sizeof bytes, &err);
        }
        spool_content_close(content);
    }
    spool_reader_free(reader);
    spool_close(spool);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char bytes[INPUT_MAX];
    enum spool_journal journal =
        size > 0 && data[size - 1] & 1 ? SPOOL_LEDGER : SPOOL_INTAKE;

    if (size > INPUT_MAX)
        return 0;
    memcpy(bytes, data, size);
    mend(bytes, size);
    scan_bytes(bytes, size);
    /* All the way through files and threads is slow: some inputs do. */
    if (size % 16 > 1)
        return 0;
    make_dirs();
    write_segment(journal, bytes, size);
    read_everything(journal);
    remove_all();
    if (mkdir(dir, 0700) == -1)
        abort();
    return 0;
}
