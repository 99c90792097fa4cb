/* What the administrator does and sees. */
#include "transmit/queue_world.h"
#include "unit.h"

static const char yaml[] =
    WORLD_YAML "spool: {segment_size: 8M, inline_limit: 128K,\n"
               "        spare_segments: 1, min_free: 1M}\n";

static struct world world;
static char id[32]; /* of the message that start() made */

static json_t *
params(const char *key, const char *value)
{
    return json_pack("{s:s}", key, value);
}

static const char *
text_at(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text != NULL ? text : "";
}

static void
start(void)
{
    json_t *items, *result;

    world_init(&world, yaml);
    world_open(&world);
    world_accept(&world, &(struct world_message){
                             .sender = "ann@src.example",
                             .recipients = "bob@dst.example c@other.example"});
    result = world_call(&world, "queue.list", NULL, &items);
    assert_int_equal(json_array_size(items), 1);
    snprintf(id, sizeof id, "%s", text_at(json_array_get(items, 0), "id"));
    assert_string_equal(text_at(json_array_get(items, 0), "sender"),
                        "ann@src.example");
    json_decref(items);
    json_decref(result);
}

static void
finish(void)
{
    world_close(&world);
    world_fini(&world);
}

static void
call(const char *method, json_t *with, const char *error)
{
    json_t *result = world_call(&world, method, with, NULL);

    assert_string_equal(text_at(result, "error"), error);
    json_decref(result);
}

static void
expect(uint64_t ready, uint64_t waiting, uint64_t held, uint64_t messages)
{
    struct queue_stats stats;

    queue_stats(world.queue, &stats);
    assert_int_equal(stats.ready, ready);
    assert_int_equal(stats.waiting, waiting);
    assert_int_equal(stats.held, held);
    assert_int_equal(stats.messages, messages);
}

static void
check_hold(void **state)
{
    struct destination *d;

    (void)state;
    start();
    call("queue.hold", params("id", id), "");
    expect(0, 0, 2, 1);
    d = world_session(&world); /* asked for before */
    assert_false(world_deliver(&world, d, OUTCOME_DELIVERED));
    world_session_end(&world, d, false);
    world_close(&world); /* held messages survive */
    world_open(&world);
    expect(0, 0, 2, 1);
    world_advance(&world, 86400000);
    expect(0, 0, 2, 1);
    call("queue.retry", params("id", id), "");
    expect(0, 0, 2, 1);
    call("queue.release", params("id", id), "");
    expect(2, 0, 0, 1);
    finish();
}

static void
check_hold_active(void **state)
{
    struct destination *d;
    struct parcel *parcel;

    (void)state;
    start();
    d = world_session(&world);
    parcel = queue_take(world.queue, d, 10);
    call("queue.hold", params("id", id), "");
    queue_done(world.queue, parcel); /* deferred */
    world_settle(&world);
    expect(0, 0, 2, 1);
    world_session_end(&world, d, true);
    finish();
}

static void
defer_all(void)
{
    struct destination *d;

    while ((d = world_session(&world)) != NULL) {
        world_deliver(&world, d, OUTCOME_DEFERRED);
        world_session_end(&world, d, true);
    }
}

static void
check_retry(void **state)
{
    (void)state;
    start();
    defer_all();
    expect(0, 2, 0, 1);
    call("queue.retry", params("id", id), "");
    expect(2, 0, 0, 1);
    defer_all();
    call("queue.retry", params("destination", "dst.example"), "");
    expect(1, 1, 0, 1);
    defer_all();
    call("queue.retry", json_pack("{s:b}", "all", 1), "");
    expect(2, 0, 0, 1);
    call("queue.retry", NULL, "say which: an id, a destination, or all");
    finish();
}

static void
check_retry_wakes(void **state)
{
    const struct destination_failure failure = {
        .status = {4, 4, 1}, .failure = {STAGE_CONNECT, "refused"}};
    struct destination *d;

    (void)state;
    start();
    while ((d = world_session(&world)) != NULL) {
        queue_destination_failed(world.queue, d, &failure);
        world_session_end(&world, d, false);
    }
    expect(0, 2, 0, 1);
    call("queue.retry", params("destination", "dst.example"), "");
    d = world_session(&world);
    assert_non_null(d);
    assert_string_equal(d->key, "dst.example");
    world_deliver(&world, d, OUTCOME_DELIVERED);
    world_session_end(&world, d, true);
    expect(0, 1, 0, 1);
    finish();
}

static void
check_delete_gone(void **state)
{
    char error[64];

    (void)state;
    start();
    call("queue.delete", params("id", id), "");
    snprintf(error, sizeof error, "no message %s in the queue", id);
    call("queue.show", params("id", id), error);
    call("queue.hold", params("id", id), error);
    call("queue.nonsense", NULL, "the queue knows no call queue.nonsense");
    finish();
}

static void
check_delete_told(void **state)
{
    struct destination *d;

    (void)state;
    start();
    call("queue.delete", json_pack("{s:s,s:b}", "id", id, "notify", 1), "");
    expect(1, 0, 0, 1); /* the notification */
    while ((d = world_session(&world)) != NULL) {
        world_deliver(&world, d, OUTCOME_DELIVERED);
        world_session_end(&world, d, true);
    }
    expect(0, 0, 0, 0);
    finish();
}

/* What a session has in hand may get through, or goes when it does not. */
static void
check_delete_active(void **state)
{
    struct destination *d;
    struct parcel *parcel;

    (void)state;
    start();
    d = world_session(&world);
    parcel = queue_take(world.queue, d, 10);
    call("queue.delete", params("id", id), "");
    expect(0, 0, 0, 1);
    queue_done(world.queue, parcel); /* deferred: deleted */
    world_settle(&world);
    expect(0, 0, 0, 0);
    world_session_end(&world, d, true);
    finish();
}

static void
check_show(void **state)
{
    struct destination *d;
    struct parcel *parcel;
    json_t *result, *to, *last;

    (void)state;
    start();
    d = world_session(&world);
    parcel = queue_take(world.queue, d, 10);
    parcel->facts.stage = STAGE_NAME;
    parcel->facts.reason = SV("hostname mismatch");
    parcel->facts.host = SV("mx.dst.example");
    parcel->facts.ip = SV("192.0.2.25");
    parcel->facts.port = 25;
    parcel->facts.tls_version = SV("TLSv1.3");
    parcel->facts.tls_cipher = SV("TLS_AES_256_GCM_SHA384");
    queue_done(world.queue, parcel);
    world_settle(&world);
    world_session_end(&world, d, true);
    result = world_call(&world, "queue.show", params("id", id), NULL);
    assert_string_equal(text_at(result, "sender"), "ann@src.example");
    assert_string_equal(text_at(result, "client_name"), "client.example");
    to = json_array_get(json_object_get(result, "recipients"), 0);
    assert_string_equal(text_at(to, "address"), "bob@dst.example");
    assert_string_equal(text_at(to, "state"), "waiting");
    assert_true(text_at(to, "next_attempt")[0] != '\0');
    last = json_object_get(to, "last_attempt");
    assert_string_equal(text_at(last, "stage"), "certificate-name");
    assert_string_equal(text_at(last, "reason"), "hostname mismatch");
    assert_string_equal(text_at(last, "status"), "4.7.5");
    assert_string_equal(text_at(last, "host"), "mx.dst.example");
    assert_string_equal(text_at(last, "tls_version"), "TLSv1.3");
    json_decref(result);
    finish();
}

static const struct list_row {
    const char *name, *key, *value;
    size_t found;
} list_rows[] = {
    {"all", "limit", NULL, 252},
    {"by destination", "destination", "many.example", 250},
    {"by recipient", "recipient", "BOB@dst.example", 1},
    {"by recipients' domain", "recipient", "@many.example", 250},
    {"by sender", "sender", "eve@evil.example", 1},
    {"by state", "state", "held", 0},
    {"ready ones", "state", "ready", 252},
    {"none", "destination", "nowhere.example", 0},
};

static void
check_list(void **state)
{
    const struct list_row *r = *state;
    json_t *items, *result, *with = json_pack("{s:i}", "limit", 0);

    start();
    world_accept(&world,
                 &(struct world_message){.sender = "eve@evil.example",
                                         .recipients = "x@dst.example"});
    world_accept_many(&world, 250, "many.example");
    if (r->value != NULL)
        json_object_set_new(with, r->key, json_string(r->value));
    result = world_call(&world, "queue.list", with, &items);
    assert_int_equal(json_array_size(items), r->found);
    json_decref(items);
    json_decref(result);
    finish();
}

/* Page by page nothing is left out and nothing comes twice. */
static void
check_pages(void **state)
{
    json_int_t next = 0;
    size_t total = 0, pages = 0;
    json_t *items, *result;

    (void)state;
    start();
    world_accept_many(&world, 250, "many.example");
    do {
        result = world_call(&world, "queue.list",
                            json_pack("{s:i,s:I}", "limit", 40, "after", next),
                            &items);
        total += json_array_size(items);
        next = json_integer_value(json_object_get(result, "next"));
        json_decref(items);
        json_decref(result);
        pages++;
    } while (next != 0 && pages < 100);
    assert_int_equal(total, 251);
    finish();
}

static void
check_destinations(void **state)
{
    const struct destination_failure failure = {
        .status = {4, 4, 1}, .failure = {STAGE_CONNECT, "refused"}};
    struct destination *d;
    json_t *items, *result;
    size_t failed = 0;

    (void)state;
    start();
    d = world_session(&world);
    queue_destination_failed(world.queue, d, &failure);
    world_session_end(&world, d, false);
    result = world_call(&world, "queue.destinations", NULL, &items);
    assert_int_equal(json_array_size(items), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *one = json_array_get(items, i);
        json_t *last = json_object_get(one, "last_failure");

        if (last == NULL)
            continue;
        failed++;
        assert_string_equal(text_at(one, "destination"), "dst.example");
        assert_string_equal(text_at(last, "stage"), "connect");
        assert_string_equal(text_at(last, "reason"), "refused");
        assert_true(text_at(one, "next_try")[0] != '\0');
    }
    assert_int_equal(failed, 1);
    json_decref(items);
    json_decref(result);
    result = world_call(&world, "queue.stats", NULL, NULL);
    assert_int_equal(json_integer_value(json_object_get(result, "messages")),
                     1);
    json_decref(result);
    finish();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_hold),
        cmocka_unit_test(check_hold_active),
        cmocka_unit_test(check_retry),
        cmocka_unit_test(check_retry_wakes),
        cmocka_unit_test(check_delete_gone),
        cmocka_unit_test(check_delete_told),
        cmocka_unit_test(check_delete_active),
        cmocka_unit_test(check_show),
        cmocka_unit_test(check_pages),
        cmocka_unit_test(check_destinations),
    };

    return RUN_ROWS("list", check_list, list_rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
