/* The life of a message in the queue, on a real spool. */
#include "transmit/queue_world.h"
#include "unit.h"

static const char yaml[] = WORLD_YAML
    "spool: {segment_size: 8M, inline_limit: 128K, spare_segments: 1, "
    "min_free: 1M}\n"
    "destinations:\n"
    "  default: {max_recipients_per_message: 100}\n"
    "  short.example: {bounce_profile: short}\n"
    "  few.example: {bounce_profile: few}\n"
    "bounce_profiles:\n"
    "  default: {first_retry: 60s, max_retry: 3600s}\n"
    "  short: {max_time_in_queue: 10m, first_retry: 60s, max_retry: 1h}\n"
    "  few: {max_retries: 2, first_retry: 60s, max_retry: 60s}\n"
    "routes:\n"
    "  .routed.example: \"127.0.0.1:2526\"\n";

static const struct world_message plain = {.sender = "ann@src.example",
                                           .recipients = "bob@dst.example"};

static void
expect(struct world *world, uint64_t ready, uint64_t active, uint64_t waiting,
       uint64_t messages)
{
    struct queue_stats stats;

    queue_stats(world->queue, &stats);
    assert_int_equal(stats.ready, ready);
    assert_int_equal(stats.active, active);
    assert_int_equal(stats.waiting, waiting);
    assert_int_equal(stats.messages, messages);
}

static struct destination *
session(struct world *world)
{
    struct destination *destination = world_session(world);

    assert_non_null(destination);
    return destination;
}

static void
start(struct world *world)
{
    world_init(world, yaml);
    world_open(world);
}

static void
finish(struct world *world)
{
    world_close(world);
    world_fini(world);
}

static void
check_delivered(void **state)
{
    struct world world;
    struct destination *to;
    struct spool_status status;

    (void)state;
    start(&world);
    world_accept(&world, &plain);
    expect(&world, 1, 0, 0, 1);
    to = session(&world);
    assert_string_equal(to->key, "dst.example");
    assert_true(world_deliver(&world, to, OUTCOME_DELIVERED));
    expect(&world, 0, 0, 0, 0);
    assert_false(world_deliver(&world, to, OUTCOME_DELIVERED));
    world_session_end(&world, to, true);
    spool_status_get(world.ledger, &status);
    assert_int_equal(status.queue_messages, 0);
    finish(&world);
}

static void
check_parcel(void **state)
{
    struct world world;
    struct destination *to;
    struct parcel *parcel;
    char text[16];
    struct err err;

    (void)state;
    start(&world);
    world_accept(&world, &(struct world_message){
                             .sender = "ann@src.example",
                             .recipients = "b@dst.example c@other.example "
                                           "d@dst.example e@dst.example",
                             .content = "A: b\r\n\r\ntext\r\n"});
    to = session(&world);
    assert_string_equal(to->key, "dst.example");
    parcel = queue_take(world.queue, to, 2);
    assert_non_null(parcel);
    assert_int_equal(parcel->recipient_count, 2);
    assert_sv(parcel->recipients[0].recipient->address, "b@dst.example");
    assert_sv(parcel->recipients[1].recipient->address, "d@dst.example");
    assert_int_equal(parcel->attempt, 1);
    assert_sv(parcel->envelope.sender, "ann@src.example");
    assert_int_equal(
        spool_content_read(parcel->content, 8, text, sizeof text, &err), 6);
    expect(&world, 2, 2, 0, 1);
    queue_untake(world.queue, parcel);
    expect(&world, 4, 0, 0, 1);
    parcel = queue_take(world.queue, to, 100);
    assert_int_equal(parcel->recipient_count, 3);
    parcel->recipients[1].decided = true;
    parcel->recipients[1].outcome = OUTCOME_DELIVERED;
    parcel->recipients[1].status.class = 2;
    parcel->facts.stage = STAGE_IO;
    parcel->facts.reason = SV("reset by peer");
    queue_done(world.queue, parcel);
    world_settle(&world);
    expect(&world, 1, 0, 2, 1);
    world_session_end(&world, to, true);
    to = session(&world);
    assert_string_equal(to->key, "other.example");
    world_deliver(&world, to, OUTCOME_DELIVERED);
    world_session_end(&world, to, true);
    world_advance(&world, 73000); /* both again, together */
    to = session(&world);
    parcel = queue_take(world.queue, to, 100);
    assert_int_equal(parcel->recipient_count, 2);
    assert_int_equal(parcel->attempt, 2);
    queue_untake(world.queue, parcel);
    world_deliver(&world, to, OUTCOME_DELIVERED);
    expect(&world, 0, 0, 0, 0);
    world_session_end(&world, to, true);
    finish(&world);
}

static void
check_one_parcel_by_route(void **state)
{
    struct world world;
    struct destination *to;
    struct parcel *parcel;

    (void)state;
    start(&world);
    world_accept(&world,
                 &(struct world_message){.sender = "ann@src.example",
                                         .recipients = "b@x.routed.example "
                                                       "c@y.routed.example"});
    to = session(&world);
    assert_string_equal(to->key, "route:.routed.example/default");
    parcel = queue_take(world.queue, to, 100);
    assert_int_equal(parcel->recipient_count, 2);
    queue_untake(world.queue, parcel);
    world_session_end(&world, to, true);
    finish(&world);
}

static const struct retry_row {
    const char *name, *domain;
    unsigned tries; /* deferrals until it is given up */
    uint64_t at_least_s, at_most_s;
} retry_rows[] = {
    {"few retries", "few.example", 3, 90, 150},
    /* 60, 120, 240 s …, and one last try when the time is over */
    {"short time", "short.example", 5, 600, 601},
};

static void
check_given_up(void **state)
{
    const struct retry_row *r = *state;
    struct world world;
    struct queue_stats stats;
    uint64_t began;
    unsigned tries = 0;
    char to[64];

    start(&world);
    snprintf(to, sizeof to, "bob@%s", r->domain);
    world_accept(&world,
                 &(struct world_message){.sender = "", .recipients = to});
    began = clock_mono_ms();
    for (;;) {
        struct destination *destination = world_session(&world);

        if (destination != NULL) {
            world_deliver(&world, destination, OUTCOME_DEFERRED);
            world_session_end(&world, destination, true);
            tries++;
        }
        queue_stats(world.queue, &stats);
        if (stats.messages == 0)
            break;
        world_advance(&world, 1000);
        assert_true(tries < 20);
    }
    assert_in_range(tries, r->tries - 1, r->tries + 1);
    assert_in_range((clock_mono_ms() - began) / 1000, r->at_least_s,
                    r->at_most_s);
    finish(&world); /* null sender: nobody was told */
}

static void
check_destination_failed(void **state)
{
    const struct destination_failure failure = {
        .status = {4, 4, 1},
        .failure = {STAGE_CONNECT, "connection refused"},
        .host = SV("mx.dst.example"),
    };
    struct world world;
    struct destination *to;

    (void)state;
    start(&world);
    world_accept_many(&world, 700, "dst.example");
    to = session(&world);
    queue_destination_failed(world.queue, to, &failure);
    queue_session_ended(world.queue, to, false);
    while ((to = world_session(&world)) != NULL)
        queue_session_ended(world.queue, to, false);
    world_settle(&world);
    expect(&world, 0, 0, 700, 700);
    world_accept(&world, &plain); /* waits with it, untried */
    expect(&world, 1, 0, 700, 701);
    assert_null(world_session(&world));
    world_advance(&world, 73000); /* one probe for all */
    expect(&world, 701, 0, 0, 701);
    to = session(&world);
    assert_null(world_session(&world));
    assert_true(world_deliver(&world, to, OUTCOME_DELIVERED));
    world_session_end(&world, to, true);
    assert_non_null(world_session(&world)); /* well again: several */
    assert_non_null(world_session(&world));
    finish(&world);
}

enum { VERY_MANY = 20000 };

/* A server that says a lot about each of very many recipients: the record of it
 * must not be larger than a record can be. */
static void
check_much_said(void **state)
{
    static char text[1024];
    struct ledger_result *results = mem_alloc_array(VERY_MANY, sizeof *results);
    uint32_t *handles = mem_alloc_array(VERY_MANY, sizeof *handles);
    const struct message_facts facts = {.id = 1u << 30,
                                        .place = {1},
                                        .flags = MESSAGE_NULL_SENDER,
                                        .queue_id = SV("B0000000000ff")};
    const struct ledger_attempt attempt = {.destination = SV("dst.example")};
    struct world world;
    uint32_t number;

    (void)state;
    start(&world);
    memset(text, 'x', sizeof text);
    pthread_mutex_lock(&world.queue->lock);
    number = message_add(world.queue, &facts);
    for (uint32_t i = 0; i < VERY_MANY; i++) {
        handles[i] = rcpt_add(world.queue, number, i, SV("dst.example"), 0, 0);
        schedule_enter(world.queue, handles[i], RCPT_ACTIVE, 0);
        results[i] = (struct ledger_result){.outcome = OUTCOME_FAILED,
                                            .status = {5, 0, 0},
                                            .text = {text, sizeof text}};
    }
    settle(world.queue, &(struct settle_input){.message = number,
                                               .facts = &attempt,
                                               .results = results,
                                               .handles = handles,
                                               .count = VERY_MANY});
    pthread_mutex_unlock(&world.queue->lock);
    world_settle(&world);
    expect(&world, 0, 0, 0, 0);
    mem_free(results);
    mem_free(handles);
    finish(&world);
}

static void
lag(struct world *world, int records)
{
    pthread_mutex_lock(&world->queue->done_lock);
    world->queue->records += (size_t)records;
    pthread_mutex_unlock(&world->queue->done_lock);
}

/* However many wait for a destination that failed, only so much of it is on its
 * way to the ledger at a time, and others are not kept waiting for it. */
static void
check_sweep_bounded(void **state)
{
    const struct destination_failure failure = {
        .status = {4, 4, 1}, .failure = {STAGE_CONNECT, "refused"}};
    struct world world;
    struct destination *to;

    (void)state;
    start(&world);
    world_accept_many(&world, 10000, "dst.example");
    to = session(&world);
    queue_destination_failed(world.queue, to, &failure);
    pthread_mutex_lock(&world.queue->lock);
    lag(&world, QUEUE_RECORDS_MAX / 2 + 1); /* so much is on its way */
    assert_false(queue_record_lagging(world.queue));
    assert_false(sweep_slice(world.queue));
    assert_int_equal(world.queue->count[RCPT_WAITING], 0);
    lag(&world, -(QUEUE_RECORDS_MAX / 2 + 1));
    assert_true(sweep_slice(world.queue));
    assert_in_range(world.queue->count[RCPT_WAITING], 1, QUEUE_RECORDS_MAX);
    pthread_mutex_unlock(&world.queue->lock);
    queue_session_ended(world.queue, to, false);
    while ((to = world_session(&world)) != NULL)
        queue_session_ended(world.queue, to, false);
    world_settle(&world);
    expect(&world, 0, 0, 10000, 10000);
    finish(&world);
}

static void
check_destination_final(void **state)
{
    const struct destination_failure failure = {
        .final = true,
        .status = {5, 1, 10},
        .failure = {STAGE_DNS, "the domain does not accept mail"},
    };
    struct world world;
    struct destination *to;

    (void)state;
    start(&world);
    world_accept(&world, &(struct world_message){
                             .sender = "", .recipients = "b@dst.example"});
    to = session(&world);
    queue_destination_failed(world.queue, to, &failure);
    world_session_end(&world, to, true);
    expect(&world, 0, 0, 0, 0);
    finish(&world);
}

/* A session that brings nothing and says nothing must not make a busy loop. */
static void
check_barren(void **state)
{
    struct world world;
    struct destination *to;

    (void)state;
    start(&world);
    world_accept(&world, &plain);
    world_session_end(&world, session(&world), false);
    assert_null(world_session(&world));
    world_advance(&world, 1000);
    world_session_end(&world, session(&world), false);
    world_advance(&world, 1000);
    assert_null(world_session(&world));
    world_advance(&world, 1000);
    to = session(&world);
    world_deliver(&world, to, OUTCOME_DELIVERED);
    world_session_end(&world, to, true);
    expect(&world, 0, 0, 0, 0);
    finish(&world);
}

static void
count_idle(void *arg)
{
    ++*(int *)arg;
}

static void
check_drain(void **state)
{
    struct world world;
    struct destination *to;
    struct parcel *parcel;
    int idle = 0;

    (void)state;
    start(&world);
    world_accept_many(&world, 3, "dst.example");
    to = session(&world);
    parcel = queue_take(world.queue, to, 1);
    queue_drain(world.queue, count_idle, &idle);
    world_settle(&world);
    assert_int_equal(idle, 0);
    assert_null(queue_take(world.queue, to, 1));
    queue_done(world.queue, parcel);
    world_settle(&world);
    assert_int_equal(idle, 1);
    world_session_end(&world, to, true);
    finish(&world);
}

static void
check_reroute(void **state)
{
    struct settings_options options = {.check_files = false, .revision = 2};
    struct world world;
    struct destination *to;
    struct settings *settings;
    struct err err;

    (void)state;
    start(&world);
    world_accept_many(&world, 2, "dst.example");
    world_deliver(&world, to = session(&world), OUTCOME_DEFERRED);
    settings =
        settings_load(SV(WORLD_YAML "routes: {default: \"127.0.0.1:2526\"}\n"),
                      "test", &options, &err);
    assert_non_null(settings);
    queue_set_settings(world.queue, settings);
    settings_unref(settings);
    assert_false(world_deliver(&world, to, OUTCOME_DELIVERED));
    world_session_end(&world, to, true);
    to = session(&world);
    assert_string_equal(to->key, "route:default/default");
    world_deliver(&world, to, OUTCOME_DELIVERED);
    world_advance(&world, 73000);
    world_deliver(&world, to, OUTCOME_DELIVERED);
    world_session_end(&world, to, true);
    expect(&world, 0, 0, 0, 0);
    finish(&world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_delivered),
        cmocka_unit_test(check_parcel),
        cmocka_unit_test(check_one_parcel_by_route),
        cmocka_unit_test(check_destination_failed),
        cmocka_unit_test(check_sweep_bounded),
        cmocka_unit_test(check_much_said),
        cmocka_unit_test(check_destination_final),
        cmocka_unit_test(check_barren),
        cmocka_unit_test(check_drain),
        cmocka_unit_test(check_reroute),
    };

    return RUN_ROWS("given up", check_given_up, retry_rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
