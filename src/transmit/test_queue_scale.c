/* How large and how fast: 100,000 messages with one recipient each.  Times are
 * printed, for the machine decides them; memory is asserted. */
#include "transmit/queue_world.h"
#include "unit.h"
#include <malloc.h>
#include <time.h>

enum { START_LIMIT_S = 20, BYTES_PER_MESSAGE = 400, CHUNK = 10000 };

static size_t messages = 100000; /* or the argument: tens of
                                  * thousands */

static const char yaml[] =
    WORLD_YAML "spool: {segment_size: 64M, spare_segments: 1, min_free: 1M}\n";

static double
seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
start(struct world *world, const char *what)
{
    struct queue_stats stats;
    struct mallinfo2 before = mallinfo2(), after;
    double began = seconds();
    double took;
    size_t each;

    world_open(world);
    took = seconds() - began;
    queue_stats(world->queue, &stats);
    assert_int_equal(stats.messages, messages);
    after = mallinfo2();
    each = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) /
           messages;
    print_message("%s: %zu messages in %.2f s, %zu bytes each (%zu reckoned)\n",
                  what, messages, took, each,
                  queue_memory(world->queue) / messages);
    assert_true(each <= BYTES_PER_MESSAGE);
    assert_true(took < START_LIMIT_S);
}

/* As a session does, many in a row; nothing is handed out while the ledger
 * lags. */
static bool
deliver_quietly(struct world *world, struct destination *d)
{
    struct parcel *parcel = queue_take(world->queue, d, 100);

    for (int i = 0; parcel == NULL && i < 1000; i++) {
        world_pump(world, 1);
        parcel = queue_take(world->queue, d, 100);
    }
    if (parcel == NULL)
        return false;
    parcel->recipients[0].decided = true;
    parcel->recipients[0].outcome = OUTCOME_DELIVERED;
    parcel->recipients[0].status.class = 2;
    queue_done(world->queue, parcel);
    return true;
}

static void
check_scale(void **state)
{
    const struct destination_failure failure = {
        .status = {4, 4, 1},
        .failure = {STAGE_CONNECT, "connection refused"},
        .host = SV("mx.dst.example"),
    };
    struct world world;
    struct destination *d;
    double began;
    struct err err;

    (void)state;
    world_init(&world, yaml);
    world.intake = spool_open_intake(world.dir, &world.settings->spool, &err);
    assert_non_null(world.intake);
    for (size_t i = 0; i < messages; i += CHUNK)
        world_accept_many(&world, CHUNK, "dst.example");
    spool_close(world.intake);
    start(&world, "from the intake");
    world_settle(&world);
    d = world_session(&world);
    assert_non_null(d);
    began = seconds();
    queue_destination_failed(world.queue, d, &failure);
    world_settle(&world);
    print_message("all deferred in %.2f s\n", seconds() - began);
    world_session_end(&world, d, false);
    began = seconds();
    world_close(&world);
    print_message("closed in %.2f s\n", seconds() - began);
    start(&world, "from the checkpoint");
    world_advance(&world, 80000);
    d = world_session(&world);
    began = seconds();
    for (size_t i = 0; i < 2000; i++)
        assert_true(deliver_quietly(&world, d));
    world_settle(&world);
    print_message("%.0f deliveries a second\n", 2000 / (seconds() - began));
    world_session_end(&world, d, true);
    world_close(&world);
    world_fini(&world);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check_scale)};

    if (argc > 1)
        messages = strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
