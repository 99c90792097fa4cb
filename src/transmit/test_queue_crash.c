/* What a restart finds: after a proper stop, and after the process died at some
 * point.  Each history runs in a child that ends with _exit(): nothing is
 * closed, no checkpoint is written beyond those the history asks for. */
#include "transmit/queue_world.h"
#include "unit.h"
#include <sys/wait.h>
#include <unistd.h>

static const char yaml[] =
    WORLD_YAML "spool: {segment_size: 8M, inline_limit: 128K,\n"
               "        spare_segments: 1, min_free: 1M}\n";

/* --- Histories ----------------------------------------------------------- */

static const struct world_message two = {
    .sender = "ann@src.example",
    .recipients = "bob@dst.example c@other.example",
};

static void
deliver(struct world *world, const char *key, enum ledger_outcome outcome)
{
    struct destination *d;

    while ((d = world_session(world)) != NULL) {
        if (strcmp(d->key, key) == 0)
            world_deliver(world, d, outcome);
        world_session_end(world, d, true);
        if (strcmp(d->key, key) == 0)
            return;
    }
}

static void
checkpoint(struct world *world)
{
    struct err err;

    if (!keep_checkpoint(world->queue, &err))
        abort();
}

static void
only_accepted(struct world *world)
{
    world_accept(world, &two);
}

static void
accepted_then_checkpoint(struct world *world)
{
    world_accept(world, &two);
    checkpoint(world);
    world_accept(world, &two);
}

static void
one_delivered(struct world *world)
{
    world_accept(world, &two);
    deliver(world, "dst.example", OUTCOME_DELIVERED);
}

static void
delivered_after_checkpoint(struct world *world)
{
    world_accept(world, &two);
    checkpoint(world);
    deliver(world, "dst.example", OUTCOME_DELIVERED);
}

static void
all_delivered(struct world *world)
{
    world_accept(world, &two);
    checkpoint(world);
    deliver(world, "dst.example", OUTCOME_DELIVERED);
    deliver(world, "other.example", OUTCOME_DELIVERED);
}

static void
deferred(struct world *world)
{
    world_accept(world, &two);
    deliver(world, "dst.example", OUTCOME_DEFERRED);
}

static void
deferred_checkpoint(struct world *world)
{
    deferred(world);
    checkpoint(world);
}

static void
in_hand(struct world *world)
{
    world_accept(world, &two);
    if (queue_take(world->queue, world_session(world), 10) == NULL)
        abort();
}

static void
in_hand_checkpoint(struct world *world)
{
    in_hand(world);
    checkpoint(world);
}

static void
failed_told(struct world *world)
{
    world_accept(world, &two);
    deliver(world, "dst.example", OUTCOME_FAILED);
}

/* The outcome is given back, and the process dies before anything could be
 * written of it. */
static void
done_and_dead(struct world *world)
{
    struct parcel *parcel;

    world_accept(world, &two);
    parcel = queue_take(world->queue, world_session(world), 10);
    parcel->recipients[0].decided = true;
    parcel->recipients[0].outcome = OUTCOME_FAILED;
    parcel->recipients[0].status.class = 5;
    queue_done(world->queue, parcel); /* the loop does not run any more */
}

static json_t *
first_id(struct world *world)
{
    json_t *items, *params;

    json_decref(world_call(world, "queue.list", NULL, &items));
    params = json_pack("{s:O}", "id",
                       json_object_get(json_array_get(items, 0), "id"));
    json_decref(items);
    return params;
}

static void
held(struct world *world)
{
    world_accept(world, &two);
    json_decref(world_call(world, "queue.hold", first_id(world), NULL));
}

static void
held_released(struct world *world)
{
    held(world);
    checkpoint(world);
    json_decref(world_call(world, "queue.release", first_id(world), NULL));
}

static void
deleted(struct world *world)
{
    world_accept(world, &two);
    json_decref(world_call(world, "queue.delete", first_id(world), NULL));
}

/* Copied forward, then one recipient is done: nothing comes back. */
static void
moved(struct world *world)
{
    spool_message_id id;
    struct spool_content *content;
    struct spool_place place;
    struct envelope envelope;
    struct arena arena;
    uint32_t number;
    struct err err;

    world_accept(world, &two);
    number = 1;
    id = queue_message(world->queue, number)->id;
    content = spool_content_open(
        world->ledger, queue_message(world->queue, number)->place, &err);
    arena_init(&arena, 1024);
    if (!envelope_decode(spool_content_envelope(content, &err), &arena,
                         &envelope, &err) ||
        !spool_ledger_message(world->ledger, &envelope, content, (struct sv){0},
                              &id, &place, &err))
        abort();
    message_move(world->queue, number, place);
    deliver(world, "dst.example", OUTCOME_DELIVERED);
}

/* The copy raced with the final record and lies behind it. */
static void
moved_too_late(struct world *world)
{
    spool_message_id id;
    struct spool_place place;
    struct envelope_recipient to = {.address = SV("b@dst.example"),
                                    .domain = SV("dst.example")};
    struct envelope envelope = {.queue_id = SV("B1"),
                                .sender = SV("ann@src.example"),
                                .recipients = &to,
                                .recipient_count = 1};
    struct err err;

    world_accept(world, &two);
    id = queue_message(world->queue, 1)->id;
    deliver(world, "dst.example", OUTCOME_DELIVERED);
    deliver(world, "other.example", OUTCOME_DELIVERED);
    if (!spool_ledger_message(world->ledger, &envelope, NULL, SV("A: b\r\n"),
                              &id, &place, &err))
        abort();
}

static void
stopped_properly(struct world *world)
{
    world_accept(world, &two);
    deliver(world, "dst.example", OUTCOME_DEFERRED);
    world_close(world);
}

static const struct row {
    const char *name;
    void (*history)(struct world *world);
    uint64_t ready, waiting, held, messages;
} rows[] = {
    {"accepted", only_accepted, 2, 0, 0, 1},
    {"accepted, checkpoint, accepted", accepted_then_checkpoint, 4, 0, 0, 2},
    {"one delivered", one_delivered, 1, 0, 0, 1},
    {"checkpoint, one delivered", delivered_after_checkpoint, 1, 0, 0, 1},
    {"all delivered", all_delivered, 0, 0, 0, 0},
    {"deferred", deferred, 1, 1, 0, 1},
    {"deferred, checkpoint", deferred_checkpoint, 1, 1, 0, 1},
    {"in a session's hands", in_hand, 2, 0, 0, 1},
    {"in a session's hands, checkpoint", in_hand_checkpoint, 2, 0, 0, 1},
    {"failed, the sender told", failed_told, 2, 0, 0, 2},
    {"failed, died before it was written", done_and_dead, 2, 0, 0, 1},
    {"held", held, 0, 0, 2, 1},
    {"held, checkpoint, released", held_released, 2, 0, 0, 1},
    {"deleted", deleted, 0, 0, 0, 0},
    {"copied forward", moved, 1, 0, 0, 1},
    {"copied forward too late", moved_too_late, 0, 0, 0, 0},
    {"stopped properly", stopped_properly, 1, 1, 0, 1},
};

static void
run_child(struct world *world, void (*history)(struct world *world))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err;

        alarm(20);
        world->loop = loop_new(&err);
        world_open(world);
        history(world);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void
check(void **state)
{
    const struct row *r = *state;
    struct world world;
    struct queue_stats stats;

    world_init(&world, yaml);
    run_child(&world, r->history);
    for (int again = 0; again < 2; again++) { /* also when it dies once more */
        world_open(&world);
        queue_stats(world.queue, &stats);
        assert_int_equal(stats.ready, r->ready);
        assert_int_equal(stats.waiting, r->waiting);
        assert_int_equal(stats.held, r->held);
        assert_int_equal(stats.messages, r->messages);
        world_close(&world);
    }
    world_fini(&world);
}

/* The clock was wrong by a year when the attempt was written. */
static void
check_clock_set_back(void **state)
{
    struct world world;
    struct queue_stats stats;

    (void)state;
    world_init(&world, yaml);
    run_child(&world, deferred);
    clock_freeze(clock_mono_ms(), clock_wall_s() - 365 * 86400);
    world_open(&world);
    queue_stats(world.queue, &stats);
    assert_int_equal(stats.waiting, 1);
    world_advance(&world, 25 * 3600 * 1000);
    queue_stats(world.queue, &stats);
    assert_int_equal(stats.waiting, 0);
    world_close(&world);
    world_fini(&world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_clock_set_back),
    };

    return RUN_ROWS("restart", check, rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
