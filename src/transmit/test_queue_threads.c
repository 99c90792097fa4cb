/* Sessions on several threads at once: each message is delivered exactly once,
 * nothing hangs, counts come out even. */
#include "transmit/queue_world.h"
#include "unit.h"

enum { THREADS = 4, MESSAGES = 4000 };

static const char yaml[] =
    WORLD_YAML "spool: {segment_size: 8M, inline_limit: 128K,\n"
               "        spare_segments: 1, min_free: 1M}\n"
               "bounce_profiles:\n"
               "  default: {first_retry: 60s, max_retry: 60s}\n";

static struct world world;
static atomic_uint delivered, deferred, untaken, failures;
static atomic_bool stop;

/* What happens to a parcel, by turns. */
static void
treat(struct parcel *parcel, unsigned n)
{
    if (n % 17 == 3) {
        untaken++;
        queue_untake(world.queue, parcel);
        return;
    }
    if (n % 5 == 1) {
        deferred++;
        parcel->facts.stage = STAGE_IO;
        parcel->facts.reason = SV("reset by peer");
        queue_done(world.queue, parcel);
        return;
    }
    for (size_t i = 0; i < parcel->recipient_count; i++) {
        parcel->recipients[i].decided = true;
        parcel->recipients[i].outcome =
            n % 7 == 2 ? OUTCOME_FAILED : OUTCOME_DELIVERED;
        parcel->recipients[i].status.class = n % 7 == 2 ? 5 : 2;
    }
    delivered++;
    queue_done(world.queue, parcel);
}

static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list sessions;

static void
on_wanted(void *owner, struct destination *destination)
{
    struct world_session *session = mem_alloc(sizeof *session);

    (void)owner;
    session->destination = destination;
    pthread_mutex_lock(&sessions_lock);
    list_push_back(&sessions, &session->link);
    pthread_mutex_unlock(&sessions_lock);
}

static struct destination *
next_session(void)
{
    struct destination *destination = NULL;
    struct link *link;

    pthread_mutex_lock(&sessions_lock);
    link = list_pop_front(&sessions);
    pthread_mutex_unlock(&sessions_lock);
    if (link != NULL) {
        struct world_session *session =
            CONTAINER_OF(link, struct world_session, link);

        destination = session->destination;
        mem_free(session);
    }
    return destination;
}

static void
serve(struct destination *destination, unsigned *n)
{
    struct parcel *parcel;
    bool worked = false;

    while ((parcel = queue_take(world.queue, destination, 10)) != NULL) {
        treat(parcel, (*n)++);
        worked = true;
        if (*n % 997 == 0) {
            const struct destination_failure failure = {
                .status = {4, 4, 1}, .failure = {STAGE_CONNECT, "refused"}};

            failures++;
            queue_destination_failed(world.queue, destination, &failure);
        }
    }
    queue_session_ended(world.queue, destination, worked);
}

static void *
run(void *arg)
{
    unsigned n = *(unsigned *)arg;

    while (!stop) {
        struct destination *destination = next_session();

        if (destination != NULL)
            serve(destination, &n);
        else
            sched_yield();
    }
    return NULL;
}

static void
check_threads(void **state)
{
    struct queue_calls calls = {.on_session_wanted = on_wanted};
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];
    struct queue_stats stats = {.messages = 1};
    struct destination *left;

    (void)state;
    list_init(&sessions);
    world_init(&world, yaml);
    world_open(&world);
    world.queue->calls = calls;
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i * 1000;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &seeds[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        char domain[] = "x.example";

        domain[0] = (char)('a' + i);
        world_accept_many(&world, MESSAGES / 4, domain);
    }
    for (int i = 0; i < 600 && stats.messages > 0; i++) {
        clock_advance_ms(5000);
        world_pump(&world, 10);
        queue_kick(world.queue);
        queue_stats(world.queue, &stats);
    }
    stop = true;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    while ((left = next_session()) != NULL)
        queue_session_ended(world.queue, left, false);
    assert_int_equal(stats.messages, 0);
    assert_true(delivered >= MESSAGES); /* and the notifications */
    assert_int_equal(world.queue->parcels, 0);
    assert_int_equal(world.queue->sessions, 0);
    print_message("%u delivered, %u deferred, %u untaken, %u failures\n",
                  delivered, deferred, untaken, failures);
    world_close(&world);
    world_fini(&world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check_threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
