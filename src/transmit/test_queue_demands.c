/* Messages that demand something of TLS: destinations of their own, which a
 * restart, a reload and the snapshot keep; and what is remembered of a policy
 * that failed. */
#include "base/clock.h"
#include "transmit/queue_world.h"
#include "unit.h"

static const char yaml[] = WORLD_YAML "routes: {.hub.example: hub.example}\n";
static const char rerouted[] = WORLD_YAML
    "routes: {.hub.example: hub.example, dst.example: hub.example}\n";

static void
put_in(struct world *world, const char *to, unsigned demands)
{
    world_accept(world, &(const struct world_message){.sender = "a@src.example",
                                                      .recipients = to,
                                                      .demands = demands});
}

static const struct destination *
find(struct world *world, const char *key)
{
    struct destination_queue *d = destination_find(world->queue, sv_of(key));

    if (d == NULL)
        fail_msg("no destination %s", key);
    return &d->self;
}

static void
assert_waiting(struct world *world, const char *key, unsigned demands,
               const char *policy_domain, uint64_t count)
{
    const struct destination *d = find(world, key);

    assert_int_equal(d->demands, demands);
    assert_sv(d->policy_domain, policy_domain);
    assert_int_equal(queue_waiting(world->queue, d), count);
}

static void
assert_all(struct world *world)
{
    assert_waiting(world, "dst.example", 0, "dst.example", 1);
    assert_waiting(world, "dst.example+requiretls", ENVELOPE_REQUIRETLS,
                   "dst.example", 2);
    assert_waiting(world, "dst.example+tls-required+ignore-dane",
                   ENVELOPE_TLS_REQUIRED | ENVELOPE_IGNORE_DANE, "dst.example",
                   1);
    assert_waiting(world, "route:.hub.example/default+tls-optional",
                   ENVELOPE_TLS_OPTIONAL, "default", 1);
}

static void
test_destinations(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    put_in(&world, "u@dst.example", 0);
    put_in(&world, "u@dst.example", ENVELOPE_REQUIRETLS);
    put_in(&world, "v@dst.example", ENVELOPE_REQUIRETLS);
    put_in(&world, "u@dst.example",
           ENVELOPE_TLS_REQUIRED | ENVELOPE_IGNORE_DANE);
    put_in(&world, "u@a.hub.example", ENVELOPE_TLS_OPTIONAL);
    world_settle(&world);
    assert_all(&world);
    world_close(&world); /* the snapshot has it … */
    world_open(&world);
    assert_all(&world);
    world_close(&world);
    world_fini(&world);
}

/* Each parcel has the demands of its destination. */
static void
test_parcels(void **state)
{
    struct world world;
    struct destination *d;
    size_t parcels = 0;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    put_in(&world, "u@dst.example", 0);
    put_in(&world, "u@dst.example v@dst.example", ENVELOPE_REQUIRETLS);
    put_in(&world, "u@dst.example", ENVELOPE_TLS_VERIFIED);
    world_settle(&world);
    while ((d = world_session(&world)) != NULL) {
        struct parcel *parcel;

        while ((parcel = queue_take(world.queue, d, 10)) != NULL) {
            assert_int_equal(parcel->envelope.tls_demands, d->demands);
            queue_untake(world.queue, parcel);
            assert_true(world_deliver(&world, d, OUTCOME_DELIVERED));
            parcels++;
        }
        world_session_end(&world, d, true);
    }
    assert_int_equal(parcels, 3);
    world_close(&world);
    world_fini(&world);
}

static void
test_reload(void **state)
{
    static const struct settings_options options = {.revision = 2};
    struct settings *settings;
    struct world world;
    struct err err;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    put_in(&world, "u@dst.example", ENVELOPE_REQUIRETLS);
    world_settle(&world);
    settings = settings_load(sv_of(rerouted), "", &options, &err);
    if (settings == NULL)
        fail_msg("%s", err.text);
    queue_set_settings(world.queue, settings);
    assert_waiting(&world, "route:dst.example/default+requiretls",
                   ENVELOPE_REQUIRETLS, "default", 1);
    settings_unref(settings);
    world_close(&world);
    world_fini(&world);
}

static void
test_view(void **state)
{
    json_t *items = NULL, *result;
    struct world world;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    put_in(&world, "u@dst.example", ENVELOPE_REQUIRETLS | ENVELOPE_TLS_REPORT);
    world_settle(&world);
    result = world_call(&world, "queue.destinations", NULL, &items);
    json_decref(result);
    assert_int_equal(json_array_size(items), 1);
    result = json_incref(json_object_get(json_array_get(items, 0), "demands"));
    assert_int_equal(json_array_size(result), 2);
    assert_string_equal(json_string_value(json_array_get(result, 0)),
                        "requiretls");
    assert_string_equal(json_string_value(json_array_get(result, 1)),
                        "tls-report");
    json_decref(result);
    json_decref(items);
    world_close(&world);
    world_fini(&world);
}

/* A message that has waited is not new because another one got through. */
static void
test_failures(void **state)
{
    struct destination *d;
    struct world world;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    put_in(&world, "u@dst.example", 0);
    world_settle(&world);
    d = world_session(&world);
    assert_int_equal(queue_failures(world.queue, d), 0);
    assert_true(world_deliver(&world, d, OUTCOME_DEFERRED));
    world_session_end(&world, d, true);
    world_advance(&world, 2 * 3600 * 1000);
    put_in(&world, "v@dst.example", 0);
    world_settle(&world);
    d = world_session(&world);
    assert_non_null(d);
    assert_int_equal(queue_failures(world.queue, d), 1);
    while (world_deliver(&world, d, OUTCOME_DELIVERED))
        ;
    assert_int_equal(queue_failures(world.queue, d), 0);
    world_session_end(&world, d, true);
    world_close(&world);
    world_fini(&world);
}

/* --- The snapshot -----------------------------------------------------------
 */

static struct queue *
empty_queue(struct world *world)
{
    struct queue_calls calls = {0};
    struct queue *queue =
        queue_new(world->ledger, world->loop, world->settings, &calls);

    queue->closing = true; /* its turns on the loop do nothing */
    return queue;
}

static bool
reads(struct world *world, const struct buf *bytes)
{
    struct queue *queue = empty_queue(world);
    struct err err;
    bool ok = checkpoint_decode(queue, buf_view(bytes), clock_wall_us(), &err);

    if (ok)
        assert_non_null(destination_find(queue, SV("dst.example")));
    queue_free(queue);
    return ok;
}

/* Snapshots of before have no demands behind the name; demands that nobody
 * knows are not dropped. */
static void
test_versions(void **state)
{
    enum { AT_DEMANDS = 8 + 4 + 2 + sizeof "dst.example" - 1 };
    struct buf now = {0}, before = {0};
    struct world world;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    put_in(&world, "u@dst.example", 0);
    world_settle(&world);
    checkpoint_encode(world.queue, clock_wall_us(), &now);
    assert_true(reads(&world, &now));

    buf_add(&before, sv_slice(buf_view(&now), 0, AT_DEMANDS));
    buf_add(&before, sv_from(buf_view(&now), AT_DEMANDS + 4));
    before.p[before.start + 7] = '1';
    assert_true(reads(&world, &before));

    now.p[now.start + AT_DEMANDS + 3] = 1;
    assert_false(reads(&world, &now));
    buf_fini(&now);
    buf_fini(&before);
    world_close(&world);
    world_fini(&world);
}

/* --- Reasons ----------------------------------------------------------------
 */

static void
test_reason(void **state)
{
    const struct ledger_attempt attempt = {
        .stage = STAGE_STS_CERTIFICATE,
        .reason = SV("why"),
        .host = SV("mx.dst.example"),
        .tls_version = SV("TLSv1.3"),
        .tls = {.authority = SV("mta-sts"),
                .reasons = SV("control-preferred sts-enforce"),
                .dane = SV("absent"),
                .sts = SV("enforce 7"),
                .noted = SV("noted"),
                .subject = SV("CN=mx"),
                .issuer = SV("CN=ca"),
                .sha256 = SV("00ff"),
                .names = SV("DNS:mx"),
                .not_after = 1800000000},
    };
    const struct ledger_result result = {.status = {4, 7, 5}};
    struct reasons reasons = {0};
    struct reason reason, back;
    uint32_t number;

    (void)state;
    reason_of(&attempt, &result, &reason);
    number = reason_intern(&reasons, &reason);
    reason_view(&reasons, number, &back);
    assert_sv(back.tls.authority, "mta-sts");
    assert_sv(back.tls.reasons, "control-preferred sts-enforce");
    assert_sv(back.tls.dane, "absent");
    assert_sv(back.tls.sts, "enforce 7");
    assert_sv(back.tls.noted, "noted");
    assert_sv(back.tls.subject, "CN=mx");
    assert_sv(back.tls.issuer, "CN=ca");
    assert_sv(back.tls.sha256, "00ff");
    assert_sv(back.tls.names, "DNS:mx");
    assert_int_equal(back.tls.not_after, 1800000000);
    assert_int_equal(back.stage, STAGE_STS_CERTIFICATE);
    reason_drop(&reasons, number);
    reasons_fini(&reasons);
}

/* As it was written before there were policies. */
static void
test_old_reason(void **state)
{
    char bytes[14 + 8 * 2] = {0};
    struct reason reason;

    (void)state;
    assert_true(reason_parse((struct sv){bytes, sizeof bytes}, &reason));
    assert_int_equal(reason.tls.authority.n, 0);
    assert_false(reason_parse((struct sv){bytes, sizeof bytes - 2}, &reason));
    assert_false(reason_parse((struct sv){bytes, sizeof bytes - 1}, &reason));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_destinations), cmocka_unit_test(test_parcels),
        cmocka_unit_test(test_reload),       cmocka_unit_test(test_view),
        cmocka_unit_test(test_versions),     cmocka_unit_test(test_reason),
        cmocka_unit_test(test_old_reason),   cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
