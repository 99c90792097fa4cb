/* What crashes, bad disks and recycling leave behind: segments are written by
 * the spool, changed by hand, and opened again. */
#include "spool/segment.h"
#include "spool/test_support.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static struct loop *loop;
static struct spool *spool;
static struct spool_settings limits; /* of the test */

enum { LENGTH = 100, IMAGE_MAX = 16 << 10 };

/* The first part of a segment with three messages, all of it that is used. */
static char image[IMAGE_MAX];
static uint64_t starts[4]; /* of the records, and the end */

static void
file_path(char path[128], const char *name)
{
    snprintf(path, 128, "%s/spool/%s", test_dir, name);
}

static void
change_file(const char *name, uint64_t offset, const void *bytes, size_t n)
{
    char path[128];

    file_path(path, name);
    int fd = open(path, O_WRONLY);
    assert_true(fd != -1);
    assert_true(write_fully(fd, bytes, n, offset));
    close(fd);
}

static void
read_file(const char *name, void *bytes, size_t n)
{
    char path[128];

    file_path(path, name);
    int fd = open(path, O_RDONLY);
    assert_true(fd != -1);
    assert_int_equal(read_fully(fd, bytes, n, 0), n);
    close(fd);
}

static bool
exists(const char *name)
{
    char path[128];

    file_path(path, name);
    return access(path, F_OK) == 0;
}

static off_t
size_of(const char *name)
{
    char path[128];
    struct stat info;

    file_path(path, name);
    return stat(path, &info) == 0 ? info.st_size : -1;
}

static void
reopen(void)
{
    spool_close(spool);
    spool = open_intake(&limits);
}

static void
make_image(void)
{
    struct found found;

    for (unsigned i = 0; i < 3; i++)
        store(spool, loop, i, LENGTH);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    for (size_t i = 0; i < 3; i++)
        starts[i] = spool_place_offset(found.places[i]);
    starts[3] = starts[2] + (starts[2] - starts[1]);
    assert_true(starts[3] <= sizeof image);
    read_file("intake/00000001.seg", image, sizeof image);
}

/* Closes the spool and opens one that has only this segment. */
static void
reopen_image(const char *bytes)
{
    char path[128];

    spool_close(spool);
    file_path(path, "intake");
    remove_dir();
    assert_int_equal(mkdir(test_dir, 0700), 0);
    file_path(path, "");
    assert_int_equal(mkdir(path, 0700), 0);
    file_path(path, "intake");
    assert_int_equal(mkdir(path, 0700), 0);
    file_path(path, "intake/00000001.seg");
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(write_fully(fd, bytes, sizeof image, 0));
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    close(fd);
    spool = open_intake(&limits);
}

/* --- Torn and damaged --------------------------------------------------- */

static void
torn_tail(void)
{
    char torn[IMAGE_MAX];
    struct found found;

    make_image();
    for (uint64_t cut = starts[2]; cut < starts[3]; cut++) {
        memcpy(torn, image, sizeof torn);
        memset(torn + cut, 0, sizeof torn - cut);
        bool whole = memcmp(torn, image, sizeof torn) == 0;
        reopen_image(torn);
        read_all(spool, SPOOL_INTAKE, 0, &found);
        assert_int_equal(found.records, whole ? 3 : 2);
        assert_int_equal(found.damaged, 0);
    }
    store(spool, loop, 3, LENGTH); /* and life goes on */
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.seeds[found.records - 1], 3);
}

/* One bit of each byte of the record in the middle. */
static void
bit_flips(void)
{
    char flipped[IMAGE_MAX];
    struct found found;

    make_image();
    for (uint64_t at = starts[1]; at < starts[2]; at++) {
        memcpy(flipped, image, sizeof flipped);
        flipped[at] = (char)(flipped[at] ^ (1 << (at % 8)));
        reopen_image(flipped);
        read_all(spool, SPOOL_INTAKE, 0, &found);
        /* Either the record was skipped, or only its content suffered, which
         * shows when it is read (the padding may change unseen). */
        assert_true(found.records + found.damaged == 3);
        assert_int_equal(found.seeds[found.records - 1], 2);
        if (found.records == 3 && at < starts[2] - RECORD_ALIGN)
            assert_int_equal(check_content(spool, loop, found.places[1], 1),
                             -1);
        assert_int_equal(check_content(spool, loop, found.places[0], 0), 0);
    }
}

/* A byte that a peer put into its message cannot begin a record. */
static void
content_like_a_record(void)
{
    char changed[IMAGE_MAX];
    struct found found;

    make_image();
    memcpy(changed, image, sizeof changed);
    /* The third record, taken as it is, inside the second one's content. */
    size_t n = (size_t)(starts[3] - starts[2]);
    memcpy(changed + starts[1] + n - LENGTH, image + starts[0], LENGTH);
    reopen_image(changed);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, 3);
}

static void
header_copy(void)
{
    char zeros[512] = {0};
    char changed[IMAGE_MAX];
    struct found found;

    make_image();
    memcpy(changed, image, sizeof changed);
    memcpy(changed, zeros, sizeof zeros);
    reopen_image(changed);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, 3);

    memcpy(changed + SEGMENT_BLOCK, zeros, sizeof zeros);
    reopen_image(changed);
    store(spool, loop, 7, LENGTH);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, 1);
    assert_int_equal(found.damaged, 1);
    /* Numbers that the lost segment may have used do not come again. */
    assert_true(found.last_sequence > 3);
}

/* Records behind the end that the next header gives are not there. */
static void
cut_by_next_header(void)
{
    char torn[IMAGE_MAX];
    struct found found;

    make_image();
    memcpy(torn, image, sizeof torn);
    memset(torn + starts[2], 0, sizeof torn - starts[2]);
    reopen_image(torn);
    change_file("intake/00000001.seg", starts[2], image + starts[2],
                (size_t)(starts[3] - starts[2]));
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, 2);
    reopen();
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, 2);
}

static void
orphans(void)
{
    char path[128];

    store(spool, loop, 1, 100000);
    static const char *const names[] = {
        "intake/body/tmp-00000000000000ab",
        "intake/body/00000001-00000000000000cd",
        "intake/body/00000077-00000000000000ef",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        file_path(path, names[i]);
        close(open(path, O_WRONLY | O_CREAT, 0600));
    }
    reopen();
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_false(exists(names[i]));
    struct found found;
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(check_content(spool, loop, found.places[0], 1), 0);
}

static void
empty_starts(void)
{
    struct spool_status status;

    for (int i = 0; i < 5; i++)
        reopen();
    spool_status_get(spool, &status);
    assert_int_equal(status.intake_segments, 1);
}

/* A reader that is registered nowhere falls behind, and the segments are
 * written anew under its hands: it may miss records, but what it gets is
 * right. */
static void
recycled_under_a_reader(void)
{
    struct err err = {0};
    struct spool *other = open_reader();
    struct spool_reader *reader =
        spool_reader_new(other, SPOOL_INTAKE, 0, &err);
    struct spool_record record;
    uint64_t last = 0;
    unsigned seed = 0;

    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 20; i++, seed++)
            store(spool, loop, seed, 15000);
        spool_reclaim(spool, SPOOL_INTAKE, UINT32_MAX, NULL, 0);
        for (int i = 0; i < 7 && last < seed; i++) {
            assert_int_equal(spool_reader_next(reader, &record, &err),
                             SPOOL_RECORD);
            assert_true(record.sequence > last);
            last = record.sequence;
            assert_int_equal(seed_of(record.head), last - 1);
        }
    }
    while (spool_reader_next(reader, &record, &err) == SPOOL_RECORD)
        last = record.sequence;
    assert_int_equal(last, seed);
    spool_reader_free(reader);
    spool_close(other);
}

/* --- Reclaim ------------------------------------------------------------ */

enum { MANY = 120, BIG = 30000 }; /* about 34 to a segment */

static struct found before;

static void
fill_segments(void)
{
    for (unsigned i = 0; i < MANY; i++)
        store(spool, loop, i, i == 3 ? 200000 : BIG);
    read_all(spool, SPOOL_INTAKE, 0, &before);
    assert_int_equal(before.records, MANY);
    assert_true(spool_place_segment(before.places[MANY - 1]) >= 4);
}

static void
reclaim_all(void)
{
    struct found found;

    fill_segments();
    uint32_t last = spool_place_segment(before.places[MANY - 1]);
    assert_int_equal(spool_reclaim(spool, SPOOL_INTAKE, last + 10, NULL, 0),
                     last - 1);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_true(found.records < 40 && found.damaged == 0);
    assert_int_equal(found.seeds[found.records - 1], MANY - 1);
    char path[128];
    snprintf(path, sizeof path, "rmdir %s/spool/intake/body", test_dir);
    assert_int_equal(system(path), 0); /* its body file went with it */
    snprintf(path, sizeof path, "mkdir %s/spool/intake/body", test_dir);
    assert_int_equal(system(path), 0);
    /* Recycled files hold old records; none of them shows. */
    for (unsigned i = 0; i < MANY; i++)
        store(spool, loop, 1000 + i, 100);
    reopen();
    read_all(spool, SPOOL_INTAKE, before.last_sequence + 1, &found);
    assert_int_equal(found.records, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(found.seeds[i], 1000 + i);
}

/* A kept segment still ends where it ended when the next one is gone. */
static void
reclaim_keeps(void)
{
    const uint32_t keep[] = {1, 3};
    struct err err = {0};
    struct found found;

    fill_segments();
    uint32_t last = spool_place_segment(before.places[MANY - 1]);
    assert_int_equal(spool_reclaim(spool, SPOOL_INTAKE, last, keep, 2),
                     last - 3);
    for (int restart = 0; restart < 2; restart++) {
        read_all(spool, SPOOL_INTAKE, 0, &found);
        assert_int_equal(found.damaged, 0);
        assert_true(exists("intake/00000001.seg"));
        assert_false(exists("intake/00000002.seg"));
        assert_true(exists("intake/00000003.seg"));
        for (size_t i = 0; i < found.records; i++)
            assert_int_not_equal(spool_place_segment(found.places[i]), 2);
        assert_int_equal(check_content(spool, loop, before.places[3], 3), 0);
        reopen();
    }
    assert_int_equal(spool_verify(test_dir, stderr, &err), 0);
}

static void
reclaim_respects_readers(void)
{
    struct err err = {0};
    struct spool_content *content;

    fill_segments();
    uint32_t last = spool_place_segment(before.places[MANY - 1]);
    content = spool_content_open(spool, before.places[0], &err);
    assert_non_null(content);
    assert_true(spool_reader_keep(spool, "database", 60, 0, &err));
    spool_reclaim(spool, SPOOL_INTAKE, last, NULL, 0);
    assert_true(exists("intake/00000001.seg"));
    assert_true(spool_place_segment(before.places[59]) == 2);
    assert_true(exists("intake/00000002.seg"));
    spool_content_close(content);
    assert_int_equal(spool_reclaim(spool, SPOOL_INTAKE, last, NULL, 0), 1);
    assert_true(spool_reader_keep(spool, "database", 1000, 0, &err));
    assert_int_equal(spool_reclaim(spool, SPOOL_INTAKE, last, NULL, 0),
                     last - 2);
}

/* A dead reader does not fill the disk; when it comes back it finds what is
 * left, behind a gap. */
static void
reclaim_passes_over_readers(void)
{
    struct spool_settings tight = small_limits;
    struct spool_reader *reader;
    struct spool_record record;
    struct err err = {0};

    fill_segments();
    uint32_t last = spool_place_segment(before.places[MANY - 1]);
    assert_true(spool_reader_keep(spool, "database", 0, 0, &err));
    assert_int_equal(spool_reclaim(spool, SPOOL_INTAKE, last, NULL, 0), 0);
    tight.min_free = UINT64_MAX / 2;
    spool_set_limits(spool, &tight);
    assert_int_equal(spool_reclaim(spool, SPOOL_INTAKE, last, NULL, 0),
                     last - 1);
    reader = spool_reader_new(spool, SPOOL_INTAKE, 1, &err);
    assert_non_null(reader);
    assert_int_equal(spool_reader_next(reader, &record, &err), SPOOL_RECORD);
    assert_int_equal(spool_place_segment(record.place), last);
    spool_reader_free(reader);
}

/* What may hold a message is not overwritten by a later segment. */
static void
reclaim_sets_aside(void)
{
    fill_segments();
    uint32_t last = spool_place_segment(before.places[MANY - 1]);
    spool_set_aside(spool, before.places[0]);
    reopen(); /* the mark stays */
    assert_true(exists("aside/intake-00000001.seg"));
    assert_true(spool_reclaim(spool, SPOOL_INTAKE, last, NULL, 0) >= 1);
    assert_false(exists("intake/00000001.seg"));
    assert_false(exists("intake/00000002.seg"));
    assert_true(size_of("aside/intake-00000001.seg") > 0);
    assert_false(exists("aside/intake-00000002.seg"));
}

static void
body_dropped(void)
{
    struct err err = {0};
    struct found found;

    store(spool, loop, 1, 200000);
    store(spool, loop, 2, 10);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    spool_content_drop(spool, found.places[0]);
    spool_content_drop(spool, found.places[1]); /* has no file: nothing */
    for (int i = 0;
         i < 10000 && check_content(spool, loop, found.places[0], 1) == 0; i++)
        nap();
    assert_int_equal(check_content(spool, loop, found.places[0], 1), -1);
    assert_int_equal(check_content(spool, loop, found.places[1], 2), 0);
    assert_int_equal(spool_verify(test_dir, stderr, &err), 0);
}

static void
verify_finds(void)
{
    struct err err = {0};
    struct found found;
    char path[160];

    store(spool, loop, 0, 500);
    store(spool, loop, 1, 500);
    store(spool, loop, 2, 200000);
    store(spool, loop, 3, 10);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(spool_verify(test_dir, stderr, &err), 0);
    FILE *out = fopen("/dev/null", "w");
    uint64_t second = spool_place_offset(found.places[1]);
    change_file("intake/00000001.seg", second - 20, "x", 1);
    assert_int_equal(spool_verify(test_dir, out, &err), 1); /* content */
    change_file("intake/00000001.seg", second + 30, "x", 1);
    assert_int_equal(spool_verify(test_dir, out, &err), 2); /* header */
    snprintf(path, sizeof path, "rm %s/spool/intake/body/*", test_dir);
    assert_int_equal(system(path), 0);
    assert_int_equal(spool_verify(test_dir, out, &err), 3); /* body */
    fclose(out);
}

static const struct named {
    const char *name;
    void (*run)(void);
    uint32_t spares; /* without any, segments are filled one after another */
} rows[] = {
    {"torn at every byte of the last record", torn_tail, 0},
    {"a flipped bit in every byte of a record", bit_flips, 0},
    {"content that looks like a record", content_like_a_record, 0},
    {"damaged headers", header_copy, 0},
    {"the next header cuts", cut_by_next_header, 0},
    {"orphaned body files", orphans, 0},
    {"starts without mail", empty_starts, 0},
    {"reclaim everything, recycle", reclaim_all, 2},
    {"reclaim keeps what is listed", reclaim_keeps, 0},
    {"recycled under a reader", recycled_under_a_reader, 2},
    {"reclaim respects readers", reclaim_respects_readers, 0},
    {"reclaim passes over readers", reclaim_passes_over_readers, 0},
    {"reclaim sets damaged segments aside", reclaim_sets_aside, 0},
    {"a dropped body", body_dropped, 0},
    {"verify finds damage", verify_finds, 0},
};

static void
check(void **state)
{
    const struct named *row = *state;

    make_dir();
    limits = small_limits;
    limits.spare_segments = row->spares;
    loop = loop_new_manual(1000, 1700000000);
    spool = open_intake(&limits);
    row->run();
    spool_close(spool);
    loop_advance(loop, 0); /* what was on its way */
    loop_free(loop);
    remove_dir();
}

int
main(void)
{
    /* In memory where there is such a place: hundreds of starts, and no disk
     * is needed to tear a file. */
    if (access("/dev/shm", W_OK) == 0)
        test_root = "/dev/shm";
    return RUN_ROWS("spool recovery", check, rows);
}
