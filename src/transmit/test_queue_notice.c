/* Notifications in the queue: who is told, when, and in which order with the
 * ledger. */
#include "transmit/queue_world.h"
#include "unit.h"

static const char yaml[] = WORLD_YAML
    "spool: {segment_size: 8M, inline_limit: 128K,\n"
    "        spare_segments: 1, min_free: 1M}\n"
    "bounce_profiles:\n"
    "  default: {first_retry: 60s, max_retry: 60s, max_retries: 1000}\n"
    "  warn: {first_retry: 60s, max_retry: 60s,\n"
    "         delay_warning: 2m, max_time_in_queue: 10m}\n"
    "destinations:\n"
    "  warn.example: {bounce_profile: warn}\n";

/* What is told about one try. */
static const struct notice_row {
    const char *name;
    const char *sender;
    unsigned notify;
    enum ledger_outcome outcome;
    bool told;
    const char *action; /* in the text */
} rows[] = {
    {"failure", "ann@src.example", 0, OUTCOME_FAILED, true,
     "Action: failed\r\n"},
    {"failure asked for", "ann@src.example", NOTIFY_FAILURE, OUTCOME_FAILED,
     true, "Action: failed\r\n"},
    {"failure not asked for", "ann@src.example", NOTIFY_SUCCESS, OUTCOME_FAILED,
     false, NULL},
    {"never", "ann@src.example", NOTIFY_NEVER, OUTCOME_FAILED, false, NULL},
    {"null sender", "", 0, OUTCOME_FAILED, false, NULL},
    {"null sender that asks", "", NOTIFY_FAILURE, OUTCOME_FAILED, false, NULL},
    {"relayed, asked for", "ann@src.example", NOTIFY_SUCCESS, OUTCOME_RELAYED,
     true, "Action: relayed\r\n"},
    {"relayed, not asked for", "ann@src.example", 0, OUTCOME_RELAYED, false,
     NULL},
    {"delivered: the next hop tells", "ann@src.example", NOTIFY_SUCCESS,
     OUTCOME_DELIVERED, false, NULL},
};

static bool
holds(struct sv text, const char *part)
{
    return memmem(text.p, text.n, part, strlen(part)) != NULL;
}

/* Takes the notification, looks for the text in it, and delivers it. */
static void
read_notice(struct world *world, const char *to, const char *part)
{
    struct destination *d = world_session(world);
    char text[8192];
    struct parcel *parcel;
    struct err err;
    ssize_t got;

    assert_non_null(d);
    parcel = queue_take(world->queue, d, 10);
    assert_non_null(parcel);
    assert_int_equal(parcel->envelope.sender.n, 0);
    assert_sv(parcel->recipients[0].recipient->address, to);
    assert_int_equal(parcel->recipients[0].recipient->notify, NOTIFY_NEVER);
    got = spool_content_read(parcel->content, 0, text, sizeof text, &err);
    assert_true(got > 0);
    assert_true(parcel->envelope.header_bytes > 100);
    if (!holds((struct sv){text, (size_t)got}, part))
        fail_msg("no %s in\n%.*s", part, (int)got, text);
    parcel->recipients[0].decided = true;
    parcel->recipients[0].outcome = OUTCOME_DELIVERED;
    parcel->recipients[0].status.class = 2;
    queue_done(world->queue, parcel);
    world_settle(world);
    world_session_end(world, d, true);
}

static void
check_told(void **state)
{
    const struct notice_row *r = *state;
    struct world world;
    struct queue_stats stats;
    struct destination *d;

    world_init(&world, yaml);
    world_open(&world);
    world_accept(&world, &(struct world_message){
                             .sender = r->sender,
                             .recipients = "bob@dst.example c@dst.example",
                             .notify = r->notify});
    d = world_session(&world);
    assert_true(world_deliver(&world, d, r->outcome));
    world_session_end(&world, d, true);
    queue_stats(world.queue, &stats);
    assert_int_equal(stats.messages, r->told ? 1 : 0);
    if (r->told)
        read_notice(&world, "ann@src.example", r->action);
    queue_stats(world.queue, &stats);
    assert_int_equal(stats.messages, 0);
    world_close(&world);
    world_fini(&world);
}

/* RFC 8689 section 5: what was kept under TLS is so on its way back, and the
 * body stays here. */
static void
check_requiretls(void **state UNUSED)
{
    struct world world;
    struct destination *d;
    struct parcel *parcel;
    char text[8192];
    struct err err;
    ssize_t got;

    world_init(&world, yaml);
    world_open(&world);
    world_accept(&world,
                 &(struct world_message){
                     .sender = "ann@src.example",
                     .recipients = "bob@dst.example",
                     .ret = RET_FULL,
                     .demands = ENVELOPE_REQUIRETLS | ENVELOPE_TLS_VERIFIED,
                     .content = "Subject: secret\r\n\r\nthe body\r\n"});
    d = world_session(&world);
    assert_true(world_deliver(&world, d, OUTCOME_FAILED));
    world_session_end(&world, d, true);
    d = world_session(&world);
    parcel = queue_take(world.queue, d, 10);
    assert_non_null(parcel);
    assert_int_equal(parcel->envelope.tls_demands, ENVELOPE_REQUIRETLS);
    got = spool_content_read(parcel->content, 0, text, sizeof text, &err);
    assert_true(got > 0);
    assert_true(holds((struct sv){text, (size_t)got}, "Subject: secret"));
    assert_false(holds((struct sv){text, (size_t)got}, "the body"));
    queue_untake(world.queue, parcel);
    world_session_end(&world, d, false);
    world_close(&world);
    world_fini(&world);
}

/* One notification tells of all recipients of a try. */
static void
check_together(void **state)
{
    struct world world;
    struct queue_stats stats;
    struct destination *d;
    struct parcel *parcel;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    world_accept(&world,
                 &(struct world_message){
                     .sender = "ann@src.example",
                     .recipients = "b@dst.example c@dst.example d@dst.example",
                     .notify = NOTIFY_FAILURE | NOTIFY_SUCCESS});
    d = world_session(&world);
    parcel = queue_take(world.queue, d, 10);
    for (size_t i = 0; i < 3; i++) {
        parcel->recipients[i].decided = true;
        parcel->recipients[i].code = i == 2 ? 250 : 550;
        parcel->recipients[i].status =
            (struct mail_status){i == 2 ? 2 : 5, 1, 1};
        parcel->recipients[i].outcome =
            i == 2 ? OUTCOME_RELAYED : OUTCOME_FAILED;
    }
    queue_done(world.queue, parcel);
    world_settle(&world);
    world_session_end(&world, d, true);
    queue_stats(world.queue, &stats);
    assert_int_equal(stats.messages, 2); /* one failure, one success */
    world_close(&world);
    world_fini(&world);
}

static const struct warn_row {
    const char *name, *to;
    unsigned notify;
    uint64_t after_s; /* 0: never */
} warn_rows[] = {
    {"by the profile", "bob@warn.example", 0, 120},
    {"by the profile, asked for", "bob@warn.example", NOTIFY_DELAY, 120},
    {"not wanted", "bob@warn.example", NOTIFY_FAILURE, 0},
    {"profile without", "bob@dst.example", 0, 0},
    {"asked for, profile without", "bob@dst.example", NOTIFY_DELAY, 14400},
};

static void
check_warned(void **state)
{
    const struct warn_row *r = *state;
    uint64_t limit = r->after_s == 0 ? 480 : r->after_s + 200;
    uint64_t began, told = 0;
    struct world world;
    struct destination *d;

    world_init(&world, yaml);
    world_open(&world);
    world_accept(&world, &(struct world_message){.sender = "ann@src.example",
                                                 .recipients = r->to,
                                                 .notify = r->notify});
    began = clock_mono_ms();
    while ((clock_mono_ms() - began) / 1000 < limit) {
        while ((d = world_session(&world)) != NULL) {
            if (strcmp(d->key, "src.example") == 0) {
                assert_int_equal(told, 0); /* once */
                told = (clock_mono_ms() - began) / 1000;
                world_put_back(&world, d);
                read_notice(&world, "ann@src.example", "Action: delayed\r\n");
                continue;
            }
            world_deliver(&world, d, OUTCOME_DEFERRED);
            world_session_end(&world, d, true);
        }
        world_advance(&world, r->after_s > 1000 ? 25000 : 10000);
    }
    if (r->after_s == 0)
        assert_int_equal(told, 0);
    else
        assert_in_range(told, r->after_s, r->after_s + 100);
    world_close(&world);
    world_fini(&world);
}

/* A message that is given up tells why the last try failed. */
static void
check_expired(void **state)
{
    struct world world;
    struct destination *d;

    (void)state;
    world_init(&world, yaml);
    world_open(&world);
    world_accept(&world,
                 &(struct world_message){.sender = "ann@src.example",
                                         .recipients = "bob@warn.example",
                                         .notify = NOTIFY_FAILURE,
                                         .ret = RET_HDRS});
    for (int i = 0; i < 80; i++) {
        d = world_session(&world);
        if (d != NULL && strcmp(d->key, "src.example") == 0)
            break;
        if (d != NULL) {
            struct parcel *parcel = queue_take(world.queue, d, 1);

            assert_non_null(parcel);
            parcel->facts.stage = STAGE_CHAIN;
            parcel->facts.reason = SV("self-signed certificate");
            parcel->facts.host = SV("mx.warn.example");
            queue_done(world.queue, parcel);
            world_settle(&world);
            world_session_end(&world, d, true);
        }
        world_advance(&world, 10000);
    }
    assert_non_null(d);
    world_put_back(&world, d);
    read_notice(&world, "ann@src.example",
                "Status: 4.4.7\r\n"
                "Remote-MTA: dns; mx.warn.example\r\n"
                "Diagnostic-Code: x-waxgate; certificate-chain: self-signed "
                "certificate\r\n");
    world_close(&world);
    world_fini(&world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_together),
        cmocka_unit_test(check_requiretls),
        cmocka_unit_test(check_expired),
    };

    return RUN_ROWS("told", check_told, rows) +
           RUN_ROWS("warned", check_warned, warn_rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
