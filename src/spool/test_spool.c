/* The way of a message: draft, commit, reader, content. */
#include "spool/test_support.h"
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- Round trip --------------------------------------------------------- */

static const struct round_trip {
    const char *name;
    uint64_t lengths[4]; /* up to the first 0 after the first */
    uint64_t memory_limit;
} round_trips[] = {
    {"empty", {0}, 64 << 20},
    {"one byte", {1}, 64 << 20},
    {"small", {4096, 100, 8192}, 64 << 20},
    {"exactly the inline limit", {64 << 10}, 64 << 20},
    {"one byte more: a file", {(64 << 10) + 1}, 64 << 20},
    {"files between", {100, 300000, 200, 5000000}, 64 << 20},
    {"no memory: every one a file", {1, 4096, 20000}, 0},
};

static void
check_round_trip(void **state)
{
    const struct round_trip *row = *state;
    struct spool_settings limits = small_limits;
    struct loop *loop = loop_new_manual(1000, 1700000000);
    struct found found;
    struct spool *spool;
    size_t count = 0;

    make_dir();
    limits.memory_limit = row->memory_limit;
    spool = open_intake(&limits);
    for (; count < 4 && (count == 0 || row->lengths[count] != 0); count++)
        store(spool, loop, (unsigned)count, row->lengths[count]);
    for (int restart = 0; restart < 2; restart++) {
        read_all(spool, SPOOL_INTAKE, 0, &found);
        assert_int_equal(found.records, count);
        assert_int_equal(found.damaged, 0);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(found.seeds[i], i);
            assert_int_equal(check_content(spool, loop, found.places[i], i), 0);
        }
        spool_close(spool);
        spool = open_intake(&limits);
    }
    spool_close(spool);
    loop_free(loop);
    remove_dir();
}

int
main(void)
{
    return RUN_ROWS("round trip", check_round_trip, round_trips);
}
