/* Back-off, tables, turns and concurrency, without a spool. */
#include "transmit/queue_world.h"
#include "unit.h"

/* --- Back-off ----------------------------------------------------------------
 */

static const struct backoff_row {
    const char *name;
    uint64_t first, max;
    uint32_t attempts;
    uint64_t low, high;
} backoff_rows[] = {
    {"first", 60000, 3600000, 1, 48000, 72000},
    {"second doubles", 60000, 3600000, 2, 96000, 144000},
    {"third", 60000, 3600000, 3, 192000, 288000},
    {"sixth", 60000, 3600000, 6, 1536000, 2304000},
    {"bounded", 60000, 3600000, 7, 2880000, 4320000},
    {"far beyond", 60000, 3600000, 60000, 2880000, 4320000},
    {"never zero", 0, 0, 1, 1, 1},
    {"first above max", 7200000, 3600000, 1, 2880000, 4320000},
    {"huge", 1, UINT64_MAX / 4, 4000000000u, 0, UINT64_MAX / 2},
};

static void
check_backoff(void **state)
{
    const struct backoff_row *r = *state;
    uint64_t low = UINT64_MAX, high = 0;

    for (uint32_t dice = 0; dice < 100000; dice += 7) {
        uint64_t delay =
            schedule_backoff(r->first, r->max, r->attempts, dice * 65537u);

        low = delay < low ? delay : low;
        high = delay > high ? delay : high;
    }
    assert_in_range(low, r->low, r->high);
    assert_in_range(high, r->low, r->high);
    if (r->first > 1 && r->low > 0)
        assert_true(high - low > (r->high - r->low) / 2); /* it is spread */
}

/* --- Tables ------------------------------------------------------------------
 */

static uint64_t
hash_some(const void *owner, uint32_t number)
{
    (void)owner;
    return number % 7; /* many collisions */
}

static void
check_index(void **state)
{
    struct index index;
    size_t found = 0, cursor = 0;
    uint32_t number;

    (void)state;
    index_init(&index, hash_some, NULL);
    for (uint32_t i = 1; i <= 500; i++)
        index_add(&index, i);
    for (uint32_t i = 1; i <= 500; i += 2)
        index_remove(&index, i);
    for (uint32_t h = 0; h < 7; h++)
        for (cursor = 0; (number = index_next(&index, h, &cursor)) != 0;) {
            assert_int_equal(number % 2, 0);
            found += number % 7 == h;
        }
    assert_int_equal(found, 250);
    index_fini(&index);
}

static uint32_t heap_places[1000];

static uint32_t *
place_of(void *owner, uint32_t number)
{
    (void)owner;
    return &heap_places[number];
}

static void
check_heap(void **state)
{
    struct heap heap;
    uint64_t last = 0, when;
    uint32_t number, seed = 1;

    (void)state;
    heap_init(&heap, place_of, NULL);
    for (uint32_t i = 1; i < 1000; i++) {
        seed = seed * 1664525u + 1013904223u;
        heap_put(&heap, i, seed % 5000);
    }
    for (uint32_t i = 3; i < 1000; i += 3)
        heap_remove(&heap, i);
    for (size_t n = 0; heap_first(&heap, &number, &when); n++) {
        assert_true(when >= last);
        assert_int_not_equal(number % 3, 0);
        last = when;
        heap_remove(&heap, number);
    }
    heap_fini(&heap);
}

static void
check_table(void **state)
{
    struct table table = {0};
    int things[300];

    (void)state;
    for (int i = 0; i < 300; i++)
        assert_int_equal(table_add(&table, &things[i]), i + 1);
    for (uint32_t i = 1; i < 300; i++)
        table_remove(&table, i);
    for (int i = 0; i < 5000; i++) { /* churn does not grow it */
        uint32_t number = table_add(&table, &things[0]);

        assert_true(number < 1024);
        table_remove(&table, number);
    }
    table_fini(&table);
}

/* --- Turns -------------------------------------------------------------------
 */

static const char yaml[] = WORLD_YAML "destinations:\n"
                                      "  default: {max_connections: 20}\n"
                                      "  small.example: {max_connections: 2}\n"
                                      "routes:\n"
                                      "  .routed.example: \"127.0.0.1:2526\"\n";

static struct queue *
new_queue(struct loop **loop)
{
    struct settings_options options = {.check_files = false};
    struct err err;
    struct settings *settings =
        settings_load(sv_of(yaml), "test", &options, &err);
    struct queue_calls calls = {0};
    struct queue *queue;

    if (settings == NULL)
        fail_msg("%s", err.text);
    clock_freeze(1000000, 1800000000);
    *loop = loop_new_manual(1000000, 1800000000);
    queue = queue_new(NULL, *loop, settings, &calls);
    settings_unref(settings);
    return queue;
}

static void
free_queue(struct queue *queue, struct loop *loop)
{
    queue->closing = true;
    queue_free(queue);
    loop_advance(loop, 0);
    loop_free(loop);
}

static void
add(struct queue *queue, const char *domain, size_t count)
{
    static uint64_t id = 1;

    for (size_t i = 0; i < count; i++) {
        struct envelope_recipient to = {.domain = sv_of(domain)};
        struct envelope envelope = {
            .sender = SV("a@b"), .recipients = &to, .recipient_count = 1};
        struct message_facts facts = {.id = id++, .queue_id = SV("B0")};

        message_add_envelope(queue, &facts, &envelope);
    }
}

static size_t
grant(struct queue *queue, struct destination_queue **granted)
{
    return schedule_grant(queue, granted, 64);
}

static const struct wants_row {
    const char *name, *domain;
    size_t ready;
    bool proven, failed;
    size_t sessions; /* granted in all */
} wants_rows[] = {
    {"one message", "a.example", 1, true, false, 1},
    {"a batch", "a.example", 8, true, false, 1},
    {"more than a batch", "a.example", 9, true, false, 2},
    {"fifty", "a.example", 50, true, false, 7},
    {"many", "a.example", 5000, true, false, 20},
    {"never answered", "a.example", 5000, false, false, 5},
    {"after a failure: a probe", "a.example", 5000, true, true, 1},
    {"bounded by its control", "small.example", 5000, true, false, 2},
    {"nothing", "a.example", 0, true, false, 0},
};

static void
check_wants(void **state)
{
    const struct wants_row *r = *state;
    struct destination_queue *granted[64], *d;
    struct loop *loop;
    struct queue *queue = new_queue(&loop);

    add(queue, r->domain, r->ready);
    d = destination_find(queue, sv_of(r->domain));
    if (d != NULL) {
        d->proven = r->proven;
        d->failures = r->failed;
        schedule_consider(queue, d);
    }
    assert_int_equal(grant(queue, granted), r->sessions);
    free_queue(queue, loop);
}

static void
check_slow(void **state)
{
    struct destination_queue *granted[64];
    struct loop *loop;
    struct queue *queue = new_queue(&loop);

    (void)state;
    add(queue, "a.example", 4);
    assert_int_equal(grant(queue, granted), 1);
    for (size_t i = 0; i < 3; i++) { /* the oldest waits: one more a second */
        clock_advance_ms(1001);
        schedule_due(queue, clock_mono_ms());
        assert_int_equal(grant(queue, granted), 1);
        assert_int_equal(grant(queue, granted), 0);
    }
    clock_advance_ms(1001); /* each message has a session that is on its way:
                             * a slow server is not helped by more */
    schedule_due(queue, clock_mono_ms());
    assert_int_equal(grant(queue, granted), 0);
    free_queue(queue, loop);
}

static void
check_turns(void **state)
{
    struct destination_queue *granted[64];
    struct loop *loop;
    struct queue *queue = new_queue(&loop);
    size_t of_big = 0;

    (void)state;
    queue->sessions_max = 8;
    add(queue, "big.example", 10000);
    for (char c = 'a'; c < 'e'; c++) {
        char domain[] = "x.example";

        domain[0] = c;
        add(queue, domain, 1);
    }
    assert_int_equal(grant(queue, granted), 8);
    for (size_t i = 0; i < 8; i++)
        of_big += strcmp(granted[i]->self.key, "big.example") == 0;
    assert_int_equal(of_big, 4); /* each small one has its session */
    free_queue(queue, loop);
}

/* When all sessions are taken, a destination gives way after its turn. */
static void
check_gives_way(void **state)
{
    struct destination_queue *granted[64], *big;
    struct loop *loop;
    struct queue *queue = new_queue(&loop);

    (void)state;
    queue->sessions_max = 3;
    add(queue, "big.example", 10000);
    assert_int_equal(grant(queue, granted), 3);
    big = granted[0];
    big->turn = QUEUE_TURN;
    add(queue, "late.example", 1);
    assert_true(schedule_refuses(queue, big));
    assert_false(schedule_refuses(queue, big)); /* once */
    big->sessions--;
    queue->sessions--;
    schedule_consider(queue, big);
    assert_int_equal(grant(queue, granted), 1);
    free_queue(queue, loop);
}

static void
check_grouping(void **state)
{
    struct loop *loop;
    struct queue *queue = new_queue(&loop);
    struct destination_queue *d;

    (void)state;
    add(queue, "one.routed.example", 1);
    add(queue, "two.routed.example", 1);
    add(queue, "a.example", 1);
    add(queue, "[192.0.2.1]", 1);
    assert_int_equal(queue->destinations.count, 3);
    d = destination_find(queue, SV("route:.routed.example/default"));
    assert_non_null(d);
    assert_string_equal(d->self.domain, "");
    assert_sv(d->self.policy_domain, "default");
    assert_int_equal(d->count[RCPT_READY], 2);
    d = destination_find(queue, SV("a.example"));
    assert_string_equal(d->self.domain, "a.example");
    assert_sv(d->self.policy_domain, "a.example");
    free_queue(queue, loop);
}

/* While it rests nothing is asked for; then one probe. */
static void
check_rest(void **state)
{
    struct destination_queue *granted[64], *d;
    struct loop *loop;
    struct queue *queue = new_queue(&loop);

    (void)state;
    add(queue, "a.example", 100);
    d = destination_find(queue, SV("a.example"));
    d->failures = 1;
    schedule_rest(queue, d, 60000);
    assert_int_equal(grant(queue, granted), 0);
    clock_advance_ms(59999);
    schedule_due(queue, clock_mono_ms());
    assert_int_equal(grant(queue, granted), 0);
    clock_advance_ms(1);
    schedule_due(queue, clock_mono_ms());
    assert_int_equal(grant(queue, granted), 1);
    assert_int_equal(grant(queue, granted), 0);
    schedule_worked(queue, d);
    assert_true(grant(queue, granted) > 5);
    free_queue(queue, loop);
}

static void
check_reasons(void **state)
{
    struct reasons reasons = {0};
    struct reason reason = {.stage = STAGE_CHAIN,
                            .code = 451,
                            .status = {4, 7, 5},
                            .text = SV("no"),
                            .why = SV("self-signed"),
                            .host = SV("mx")},
                  view;
    uint32_t first = reason_intern(&reasons, &reason);
    uint32_t count;

    (void)state;
    assert_int_equal(reason_intern(&reasons, &reason), first);
    reason_view(&reasons, first, &view);
    assert_sv(view.why, "self-signed");
    assert_int_equal(view.status.subject, 7);
    reason_drop(&reasons, first);
    reason_drop(&reasons, first);
    assert_int_equal(reasons.bytes, 0);
    for (count = 0; count < 400000; count++) { /* all different: bounded */
        char text[200];

        memset(text, 'x', sizeof text);
        snprintf(text, sizeof text, "%u", count);
        reason.text = (struct sv){text, sizeof text};
        (void)reason_intern(&reasons, &reason);
    }
    assert_true(reasons.bytes < 17u << 20);
    reasons_fini(&reasons);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_index),    cmocka_unit_test(check_heap),
        cmocka_unit_test(check_table),    cmocka_unit_test(check_slow),
        cmocka_unit_test(check_turns),    cmocka_unit_test(check_gives_way),
        cmocka_unit_test(check_grouping), cmocka_unit_test(check_rest),
        cmocka_unit_test(check_reasons),
    };
    int failed = RUN_ROWS("backoff", check_backoff, backoff_rows);

    failed += RUN_ROWS("wants", check_wants, wants_rows);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
