/* Keeping the spool small: segments go when what was in them is final, and a
 * message that waits for long does not keep a whole segment. */
#include "transmit/queue_world.h"
#include "unit.h"

static const char yaml[] =
    WORLD_YAML "spool: {segment_size: 8M, inline_limit: 128K,\n"
               "        spare_segments: 1, min_free: 1M}\n"
               "bounce_profiles:\n"
               "  default: {first_retry: 50m, max_retry: 50m}\n";

static uint32_t
intake_segments(struct world *world)
{
    struct spool_status status;

    spool_status_get(world->ledger, &status);
    return status.intake_segments;
}

static void
accept_large(struct world *world, size_t count, const char *to)
{
    char *content = mem_alloc(100001);
    struct world_message message = {
        .sender = "ann@src.example", .recipients = to, .content = content};

    memset(content, 'x', 100000);
    for (size_t i = 0; i + 72 < 100000; i += 72)
        memcpy(content + i, "\r\n", 2);
    memcpy(content, "A: b\r\n\r\n", 8);
    for (size_t i = 0; i < count; i++)
        world_accept(world, &message);
    mem_free(content);
}

static void
deliver_all(struct world *world)
{
    struct destination *d;

    while ((d = world_session(world)) != NULL) {
        bool worked = false;

        while (world_deliver(world, d,
                             strcmp(d->key, "slow.example") == 0
                                 ? OUTCOME_DEFERRED
                                 : OUTCOME_DELIVERED))
            worked = true;
        world_session_end(world, d, worked);
    }
}

static void
check_move(void **state)
{
    struct world world;
    struct queue_stats stats;
    struct spool_place place;
    struct parcel *parcel;
    struct destination *d;
    char text[8];
    struct err err;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    accept_large(&world, 1, "bob@slow.example");
    accept_large(&world, 200, "bob@dst.example");
    deliver_all(&world);
    queue_stats(world.queue, &stats);
    assert_int_equal(stats.messages, 1);
    assert_true(intake_segments(&world) >= 3);
    world_advance(&world, 200000); /* a checkpoint: what is empty goes */
    world_advance(&world, 1000);
    assert_int_equal(intake_segments(&world), 2);
    place = queue_message(world.queue, 1)->place;
    assert_int_equal(spool_place_journal(place), SPOOL_INTAKE);
    world_advance(&world, 600000); /* old enough: it is copied forward */
    world_advance(&world, 31000);
    place = queue_message(world.queue, 1)->place;
    assert_int_equal(spool_place_journal(place), SPOOL_LEDGER);
    world_advance(&world, 31000);
    world_advance(&world, 200000);
    world_advance(&world, 1000);
    assert_int_equal(intake_segments(&world), 1);
    world_close(&world);
    world_open(&world); /* and it is still all there */
    world_advance(&world, 3600000);
    d = world_session(&world);
    assert_non_null(d);
    parcel = queue_take(world.queue, d, 1);
    assert_non_null(parcel);
    assert_int_equal(parcel->attempt, 2);
    assert_int_equal(spool_content_length(parcel->content), 100000);
    assert_int_equal(spool_content_read(parcel->content, 0, text, 4, &err), 4);
    assert_memory_equal(text, "A: b", 4);
    queue_untake(world.queue, parcel);
    world_deliver(&world, d, OUTCOME_DELIVERED);
    world_session_end(&world, d, true);
    queue_stats(world.queue, &stats);
    assert_int_equal(stats.messages, 0);
    world_close(&world);
    world_fini(&world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check_move)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
