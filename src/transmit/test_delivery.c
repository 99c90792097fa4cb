/* Sessions from the queue (a fake one) to servers on loopback, through real
 * sockets and real TLS, on real loops. */
#include "base/buf.h"
#include "base/clock.h"
#include "dns/test_dns_server.h"
#include "tls/test_pki.h"
#include "transmit/delivery_internal.h"
#include "transmit/test_server.h"
#include "transmit/test_transmit.h"
#include "unit.h"
#include <arpa/inet.h>
#include <unistd.h>

/* --- The rows ------------------------------------------------------------ */

#define ALL "PIPELINING\nCHUNKING\n8BITMIME\nSMTPUTF8\nDSN"
#define DONE(outcome, stage, host, tls, verify)                                \
    "done " outcome " | " stage " | " host " | tls=" tls " verify=" verify "\n"

static const struct row {
    const char *name;
    struct behaviour a, b;
    const char *control; /* of the destination, YAML */
    unsigned mails;      /* 0: 1 */
    bool eight_bit;
    unsigned connections_a, connections_b;
    unsigned rounds; /* sessions one after the other; 0: 1 */
    const char *events;
} rows[] = {
    {"one message",
     {.ehlo = ALL},
     {.down = true},
     "{tls: no}",
     1,
     false,
     1,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "",
          "none") "ended worked\n"},
    {"three on one connection",
     {.ehlo = "PIPELINING"},
     {.down = true},
     "{tls: no}",
     3,
     false,
     1,
     0,
     1,
     DONE("relayed 250 2.0.0", "none", "a.test", "", "none")
         DONE("relayed 250 2.0.0", "none", "a.test", "", "none")
             DONE("relayed 250 2.0.0", "none", "a.test", "",
                  "none") "ended worked\n"},
    {"two messages a connection",
     {.ehlo = ALL},
     {.down = true},
     "{tls: no, max_messages_per_connection: 2}",
     3,
     false,
     2,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "", "none")
         DONE("delivered 250 2.0.0", "none", "a.test", "", "none")
             DONE("delivered 250 2.0.0", "none", "a.test", "",
                  "none") "ended worked\n"},
    {"a kept connection serves the next session",
     {.ehlo = ALL},
     {.down = true},
     "{tls: no}",
     1,
     false,
     1,
     0,
     3,
     DONE(
         "delivered 250 2.0.0", "none", "a.test", "",
         "none") "ended worked\n" DONE("delivered 250 2.0.0", "none", "a.test",
                                       "",
                                       "none") "ended worked\n" DONE("delivered"
                                                                     " 250 "
                                                                     "2.0.0",
                                                                     "none",
                                                                     "a.test",
                                                                     "",
                                                                     "none") "e"
                                                                             "n"
                                                                             "d"
                                                                             "e"
                                                                             "d"
                                                                             " "
                                                                             "w"
                                                                             "o"
                                                                             "r"
                                                                             "k"
                                                                             "e"
                                                                             "d"
                                                                             "\n"},
    {"the first is down",
     {.down = true},
     {.ehlo = ALL},
     "{tls: no}",
     1,
     false,
     0,
     1,
     1,
     DONE("delivered 250 2.0.0", "none", "b.test", "",
          "none") "ended worked\n"},
    {"the first greets with 4xx",
     {.greeting = "421 4.3.2 busy"},
     {.ehlo = ALL},
     "{tls: no}",
     1,
     false,
     1,
     1,
     1,
     DONE("delivered 250 2.0.0", "none", "b.test", "",
          "none") "ended worked\n"},
    {"both down",
     {.down = true},
     {.down = true},
     "{tls: no}",
     1,
     false,
     0,
     0,
     1,
     "failed 451 4.4.1 connect a.test\nended idle\n"},
    {"both refuse: the mail waits",
     {.greeting = "554 5.7.1 go away"},
     {.greeting = "554 5.7.1 go away"},
     "{tls: no}",
     1,
     false,
     1,
     1,
     1,
     "failed 554 4.7.1 greeting a.test\nended idle\n"},
    {"one refuses for good, one is down",
     {.greeting = "554 5.7.1 go away"},
     {.down = true},
     "{tls: no}",
     1,
     false,
     1,
     0,
     1,
     "failed 554 4.7.1 greeting a.test\nended idle\n"},
    {"a TLS failure tells more than a closed port",
     {.ehlo = ALL},
     {.down = true},
     "{tls: required}",
     1,
     false,
     1,
     0,
     1,
     "failed 451 4.7.4 starttls-not-offered a.test\nended idle\n"},
    {"closed at the second message: sent again at once",
     {.ehlo = ALL, .close_after = 1},
     {.down = true},
     "{tls: no}",
     2,
     false,
     2,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "", "none") DONE(
         "delivered 250 2.0.0", "none", "a.test", "", "none") "ended worked\n"},
    {"8BITMIME: the second has it",
     {.ehlo = "PIPELINING"},
     {.ehlo = ALL},
     "{tls: no}",
     1,
     true,
     1,
     1,
     1,
     DONE("delivered 250 2.0.0", "none", "b.test", "",
          "none") "ended worked\n"},
    {"8BITMIME: nobody has it",
     {.ehlo = "PIPELINING"},
     {.ehlo = "PIPELINING"},
     "{tls: no}",
     1,
     true,
     1,
     1,
     1,
     DONE("failed 0 5.6.3", "none", "b.test", "", "") "ended worked\n"},
    {"8BITMIME: the one that may have it is down",
     {.ehlo = "PIPELINING"},
     {.down = true},
     "{tls: no}",
     1,
     true,
     1,
     0,
     1,
     DONE("undecided", "connect", "b.test", "", "") "ended worked\n"},
    {"recipient refused, the connection goes on",
     {.ehlo = ALL, .rcpt = "550 5.1.1 no"},
     {.down = true},
     "{tls: no}",
     2,
     false,
     1,
     0,
     1,
     DONE("failed 550 5.1.1", "smtp", "a.test", "", "none") DONE(
         "failed 550 5.1.1", "smtp", "a.test", "", "none") "ended worked\n"},
    {"opportunistic TLS, certificate in order",
     {.ehlo = ALL, .starttls = "220 go", .certificate = "good"},
     {.down = true},
     "{tls: preferred}",
     1,
     false,
     1,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "TLSv1.3",
          "ok") "ended worked\n"},
    {"required-verify, certificate in order",
     {.ehlo = ALL, .starttls = "220 go", .certificate = "good"},
     {.down = true},
     "{tls: required-verify}",
     2,
     false,
     1,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "TLSv1.3", "ok")
         DONE("delivered 250 2.0.0", "none", "a.test", "TLSv1.3",
              "ok") "ended worked\n"},
    {"required-verify, other name",
     {.ehlo = ALL, .starttls = "220 go", .certificate = "other"},
     {.down = true},
     "{tls: required-verify}",
     1,
     false,
     1,
     0,
     1,
     "failed 451 4.7.5 certificate-name a.test\nended idle\n"},
    {"required-verify-hosted: the mail domain will do",
     {.ehlo = ALL, .starttls = "220 go", .certificate = "other"},
     {.down = true},
     "{tls: required-verify-hosted}",
     1,
     false,
     1,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "TLSv1.3",
          "ok") "ended worked\n"},
    {"preferred-verify, other name: delivered",
     {.ehlo = ALL, .starttls = "220 go", .certificate = "other"},
     {.down = true},
     "{tls: preferred-verify}",
     1,
     false,
     1,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "TLSv1.3",
          "failed") "ended worked\n"},
    {"the handshake fails, before-220: never in clear",
     {.ehlo = ALL, .starttls = "220 go", .broken_tls = true},
     {.down = true},
     "{tls: preferred}",
     1,
     false,
     2,
     0,
     2,
     "failed 451 4.7.5 handshake a.test\nended idle\n"
     "failed 451 4.7.5 handshake a.test\nended idle\n"},
    {"the handshake fails, next-attempt: in clear then",
     {.ehlo = ALL, .starttls = "220 go", .broken_tls = true},
     {.down = true},
     "{tls: preferred, fallback: next-attempt}",
     1,
     false,
     2,
     0,
     2,
     "failed 451 4.7.5 handshake a.test\nended idle\n" DONE(
         "delivered 250 2.0.0", "none", "a.test", "", "none")
         DONE("delivered 250 2.0.0", "none", "a.test", "",
              "none") "ended worked\n"},
    {"STARTTLS refused, before-220: in clear on the same connection",
     {.ehlo = ALL, .starttls = "454 4.7.0 not now"},
     {.down = true},
     "{tls: preferred}",
     1,
     false,
     1,
     0,
     1,
     DONE("delivered 250 2.0.0", "none", "a.test", "",
          "none") "ended worked\n"},
};

struct stage {
    struct loop *loop;
    struct server a, b;
    struct settings *settings;
    struct queue queue;
    struct delivery *delivery;
    struct destination destination;
    unsigned numbers;
    size_t wanted; /* sessions that must end before the loop stops */
};

static struct test_dns_server *dns;

static const struct test_dns_record records[] = {
    {"lost.test", DNS_A, NULL, 2},
    {"lost.test", DNS_AAAA, NULL, 2},
    {"a.test", DNS_A, "127.0.0.2", 0},
    {"b.test", DNS_A, "127.0.0.3", 0},
    {0},
};

static struct settings *
make_settings(const struct stage *t, const char *control)
{
    static const struct settings_options options = {.revision = 1};
    struct buf yaml = {0};
    struct err err;
    struct settings *settings;

    buf_printf(&yaml,
               "hostname: gw.test\nstate_dir: state\n"
               "listeners:\n"
               "  In: {type: public, address: \"127.0.0.1:1\", "
               "domains: [gw.test]}\n"
               "dns: {resolvers: [\"%s\"]}\n"
               "routes:\n"
               "  y.test:\n"
               "    - {host: a.test, port: %u, priority: 10}\n"
               "    - {host: b.test, port: %u, priority: 20}\n"
               "  lost.test:\n"
               "    - {host: a.test, port: %u, priority: 10}\n"
               "    - {host: lost.test, port: 25, priority: 20}\n"
               "destinations:\n"
               "  y.test: %s\n",
               test_dns_server_address(dns), t->a.port, t->b.port, t->a.port,
               control);
    settings = settings_load(buf_view(&yaml), "", &options, &err);
    buf_fini(&yaml);
    if (settings == NULL)
        fail_msg("%s", err.text);
    return settings;
}

static void
on_change(void *arg)
{
    struct stage *t = arg;

    if (t->queue.ended >= t->wanted)
        loop_stop(t->loop);
}

static void
set_up(struct stage *t, const struct behaviour *a, const struct behaviour *b,
       const char *control)
{
    struct err err;

    *t = (struct stage){.loop = loop_new(&err)};
    server_start(&t->a, t->loop, "127.0.0.2", a);
    server_start(&t->b, t->loop, "127.0.0.3", b);
    t->settings = make_settings(t, control);
    fake_queue_init(&t->queue);
    t->queue.on_change = on_change;
    t->queue.arg = t;
    t->delivery = delivery_new(&t->loop, 1, t->settings, &err);
    if (t->delivery == NULL)
        fail_msg("%s", err.text);
    delivery_set_queue(t->delivery, &t->queue);
    t->destination =
        (struct destination){.key = mem_strdup("route:y.test/y.test"),
                             .domain = mem_strdup(""),
                             .policy_domain = SV("y.test")};
}

static void
add_mail(struct stage *t, bool eight_bit)
{
    const struct fake_mail mail = {.sender = "a@x.test",
                                   .to = {"b@y.test"},
                                   .content = "Subject: x\r\n\r\nhi\r\n",
                                   .eight_bit = eight_bit};

    fake_queue_add(&t->queue, fake_parcel_new(&mail, ++t->numbers));
}

static void
run_session(struct stage *t)
{
    t->wanted++;
    delivery_session_wanted(t->delivery, &t->destination);
    loop_run(t->loop);
}

static void
on_idle(void *arg)
{
    loop_stop(((struct stage *)arg)->loop);
}

static void
tear_down(struct stage *t)
{
    delivery_drain(t->delivery, on_idle, t);
    loop_run(t->loop);
    delivery_free(t->delivery);
    server_stop(&t->a);
    server_stop(&t->b);
    settings_unref(t->settings);
    fake_queue_fini(&t->queue);
    mem_free(t->destination.key);
    mem_free(t->destination.domain);
    loop_stop(t->loop);
    loop_run(t->loop);
    loop_free(t->loop);
}

static void
check(void **state)
{
    const struct row *row = *state;
    struct stage t;

    set_up(&t, &row->a, &row->b, row->control);
    for (unsigned round = 0; round < row->rounds; round++) {
        for (unsigned i = 0; i < row->mails; i++)
            add_mail(&t, row->eight_bit);
        run_session(&t);
    }
    assert_string_equal(buf_cstr(&t.queue.events), row->events);
    assert_int_equal(t.a.connections, row->connections_a);
    assert_int_equal(t.b.connections, row->connections_b);
    tear_down(&t);
}

/* --- More ---------------------------------------------------------------- */

/* New settings end what is kept; a connection of the old policy is not used
 * under the new one. */
static void
test_reload(void **state)
{
    static const struct behaviour up = {.ehlo = ALL,
                                        .starttls = "220 go",
                                        .certificate = "good"},
                                  down = {.down = true};
    struct settings *next;
    struct err err;
    struct stage t;

    (void)state;
    set_up(&t, &up, &down, "{tls: no}");
    add_mail(&t, false);
    run_session(&t);
    next = make_settings(&t, "{tls: required}");
    assert_true(delivery_prepare(t.delivery, next, &err));
    delivery_abandon(t.delivery);
    assert_true(delivery_prepare(t.delivery, next, &err));
    delivery_commit(t.delivery);
    settings_unref(next);
    add_mail(&t, false);
    run_session(&t);
    assert_int_equal(t.a.connections, 2);
    assert_string_equal(
        buf_cstr(&t.queue.events),
        DONE("delivered 250 2.0.0", "none", "a.test", "",
             "none") "ended worked\n" DONE("delivered 250 2.0.0", "none",
                                           "a.test", "TLSv1.3",
                                           "ok") "ended worked\n");
    tear_down(&t);
}

/* One server refuses for good, another cannot be looked up: that is not all of
 * them, so the mail waits. */
static void
test_incomplete_route(void **state)
{
    static const struct behaviour no = {.greeting = "554 5.7.1 go away"},
                                  lacking = {.ehlo = "PIPELINING"},
                                  down = {.down = true};
    struct stage t;

    (void)state;
    for (int round = 0; round < 2; round++) {
        set_up(&t, round == 0 ? &no : &lacking, &down, "{tls: no}");
        mem_free(t.destination.key);
        t.destination.key = mem_strdup("route:lost.test/y.test");
        add_mail(&t, round == 1);
        run_session(&t);
        assert_string_equal(
            buf_cstr(&t.queue.events),
            round == 0
                ? "failed 554 4.7.1 greeting a.test\nended idle\n"
                : DONE("undecided", "dns", "a.test", "", "") "ended worked\n");
        tear_down(&t);
    }
}

struct reloading {
    struct stage *stage;
    struct settings *next; /* NULL: committed */
};

static void
commit_at_first(void *arg)
{
    struct reloading *r = arg;
    struct err err;

    if (r->next != NULL) {
        assert_true(delivery_prepare(r->stage->delivery, r->next, &err));
        delivery_commit(r->stage->delivery);
        settings_unref(r->next);
        r->next = NULL;
    }
    on_change(r->stage);
}

/* A session at work does not take another message under the old policy. */
static void
test_reload_at_work(void **state)
{
    static const struct behaviour up = {.ehlo = ALL,
                                        .starttls = "220 go",
                                        .certificate = "good"},
                                  down = {.down = true};
    struct reloading reloading;
    struct stage t;

    (void)state;
    set_up(&t, &up, &down, "{tls: no}");
    reloading = (struct reloading){&t, make_settings(&t, "{tls: required}")};
    t.queue.on_change = commit_at_first;
    t.queue.arg = &reloading;
    add_mail(&t, false);
    add_mail(&t, false);
    run_session(&t);
    run_session(&t);
    assert_string_equal(
        buf_cstr(&t.queue.events),
        DONE("delivered 250 2.0.0", "none", "a.test", "",
             "none") "ended worked\n" DONE("delivered 250 2.0.0", "none",
                                           "a.test", "TLSv1.3",
                                           "ok") "ended worked\n");
    tear_down(&t);
}

/* The evidence is old before the first server gives up; the second gets the
 * mail all the same, and a second try at the first ends too. */
static void
test_slow_servers(void **state)
{
    static const struct behaviour down = {.down = true},
                                  rubbish = {.ehlo = ALL,
                                             .starttls = "220 go",
                                             .broken_tls = true},
                                  up = {.ehlo = ALL,
                                        .starttls = "220 go",
                                        .certificate = "other"};
    struct stage t;

    (void)state;
    for (int round = 0; round < 2; round++) {
        set_up(&t, round == 0 ? &down : &rubbish, &up,
               "{tls: required, retry_classic: on}");
        t.delivery->stale_ms = 0;
        add_mail(&t, false);
        run_session(&t);
        assert_string_equal(buf_cstr(&t.queue.events),
                            DONE("delivered 250 2.0.0", "none", "b.test",
                                 "TLSv1.3", "failed") "ended worked\n");
        assert_int_equal(t.a.connections, round == 0 ? 0 : 2);
        assert_int_equal(t.b.connections, 1);
        tear_down(&t);
    }
}

/* The better server could not be reached when the connection was made that is
 * kept: it might take what this one does not, so nothing is final. */
static void
test_kept_failure(void **state)
{
    static const struct behaviour down = {.down = true},
                                  lacking = {.ehlo = "PIPELINING"};
    struct stage t;

    (void)state;
    set_up(&t, &down, &lacking, "{tls: no}");
    add_mail(&t, false);
    run_session(&t);
    add_mail(&t, true);
    run_session(&t);
    assert_int_equal(t.b.connections, 1);
    assert_string_equal(
        buf_cstr(&t.queue.events),
        DONE("relayed 250 2.0.0", "none", "b.test", "",
             "none") "ended worked\n" DONE("undecided", "connect", "a.test", "",
                                           "") "ended worked\n");
    tear_down(&t);
}

/* Settings that come between the wish for a session and its waking: it goes by
 * them, and is of use. */
static void
test_reload_at_wake(void **state)
{
    static const struct behaviour up = {.ehlo = ALL,
                                        .starttls = "220 go",
                                        .certificate = "good"},
                                  down = {.down = true};
    struct settings *next;
    struct err err;
    struct stage t;

    (void)state;
    for (int round = 0; round < 2; round++) {
        set_up(&t, &up, &down, "{tls: no}");
        if (round == 1) {
            add_mail(&t, false);
            run_session(&t); /* its connection is kept */
            assert_int_equal(t.delivery->pool.count, 1);
        }
        buf_reset(&t.queue.events);
        add_mail(&t, false);
        t.wanted++;
        delivery_session_wanted(t.delivery, &t.destination);
        next = make_settings(&t, "{tls: required}");
        assert_true(delivery_prepare(t.delivery, next, &err));
        delivery_commit(t.delivery);
        settings_unref(next);
        loop_run(t.loop);
        assert_string_equal(buf_cstr(&t.queue.events),
                            DONE("delivered 250 2.0.0", "none", "a.test",
                                 "TLSv1.3", "ok") "ended worked\n");
        tear_down(&t);
    }
}

static void
turn_loop(struct stage *t, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms;

    while (clock_mono_ms() < end) {
        uv_run(loop_uv(t->loop), UV_RUN_NOWAIT);
        usleep(500);
    }
}

/* A kept connection ends in time with QUIT, or when the server closes it; then
 * the next session makes a new one. */
static void
test_kept_ends(void **state)
{
    static const struct behaviour up = {.ehlo = ALL}, down = {.down = true};
    struct stage t;

    (void)state;
    set_up(&t, &up, &down, "{tls: no}");
    t.delivery->keep_ms = 20;
    add_mail(&t, false);
    run_session(&t);
    assert_int_equal(t.delivery->pool.count, 1);
    turn_loop(&t, 100);
    assert_int_equal(t.delivery->pool.count, 0);
    assert_int_equal(t.a.peers.length, 0);
    t.delivery->keep_ms = 5000;
    add_mail(&t, false);
    run_session(&t);
    assert_int_equal(t.delivery->pool.count, 1);
    server_drop(&t.a);
    turn_loop(&t, 50);
    assert_int_equal(t.delivery->pool.count, 0);
    assert_int_equal(t.delivery->users, 0);
    add_mail(&t, false);
    run_session(&t);
    assert_int_equal(t.a.connections, 3);
    assert_int_equal(t.queue.done, 3);
    tear_down(&t);
}

/* The server takes one connection and no more: the second session ends after a
 * pause, and nothing is said against the destination. */
static void
test_one_too_many(void **state)
{
    static const struct behaviour up = {.ehlo = ALL,
                                        .peers_max = 1,
                                        .silent = true},
                                  down = {.down = true};
    struct stage t;

    (void)state;
    set_up(&t, &up, &down, "{tls: no}");
    t.delivery->pause_ms = 100;
    add_mail(&t, false);
    add_mail(&t, false);
    t.wanted = 100;
    delivery_session_wanted(t.delivery, &t.destination);
    turn_loop(&t, 50);
    delivery_session_wanted(t.delivery, &t.destination);
    turn_loop(&t, 50);
    assert_int_equal(t.a.connections, 2);
    assert_string_equal(buf_cstr(&t.queue.events), "");
    turn_loop(&t, 150);
    assert_string_equal(buf_cstr(&t.queue.events), "ended idle\n");
    server_drop(&t.a);
    turn_loop(&t, 50);
    assert_non_null(strstr(buf_cstr(&t.queue.events), "done undecided | io"));
    tear_down(&t);
}

/* --- What is told of it --------------------------------------------------- */

static void
test_status(void **state)
{
    static const struct behaviour up = {.ehlo = ALL,
                                        .starttls = "220 go",
                                        .certificate = "good"},
                                  down = {.down = true};
    struct rpc_call call = {.method = "delivery.sessions",
                            .items = json_array()};
    const json_t *item;
    struct stage t;

    (void)state;
    set_up(&t, &up, &down, "{tls: required}");
    add_mail(&t, false);
    run_session(&t);
    call.loop = t.loop;
    delivery_request(t.delivery, &call);
    if (call.result == NULL)
        loop_run(t.loop);
    assert_int_equal(json_array_size(call.items), 1);
    item = json_array_get(call.items, 0);
    assert_string_equal(json_string_value(json_object_get(item, "state")),
                        "ready");
    assert_string_equal(json_string_value(json_object_get(item, "host")),
                        "a.test");
    assert_string_equal(json_string_value(json_object_get(item, "tls_version")),
                        "TLSv1.3");
    assert_int_equal(json_integer_value(json_object_get(item, "messages")), 1);
    json_decref(call.items);
    json_decref(call.result);
    tear_down(&t);
}

/* Dropped in whatever state: the parcel goes back untried. */
static void
test_free_at_work(void **state)
{
    static const struct behaviour up = {.ehlo = ALL}, down = {.down = true};
    struct stage t;

    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        set_up(&t, &up, &down, "{tls: no}");
        add_mail(&t, false);
        t.wanted = 100;
        delivery_session_wanted(t.delivery, &t.destination);
        for (int i = 0; i < turns; i++)
            uv_run(loop_uv(t.loop), UV_RUN_NOWAIT);
        delivery_free(t.delivery);
        server_stop(&t.a);
        server_stop(&t.b);
        settings_unref(t.settings);
        fake_queue_fini(&t.queue);
        mem_free(t.destination.key);
        mem_free(t.destination.domain);
        loop_stop(t.loop);
        loop_run(t.loop);
        loop_free(t.loop);
    }
}

struct helper {
    pthread_t thread;
    struct loop *loop;
};

static void *
run_helper(void *arg)
{
    loop_run(((struct helper *)arg)->loop);
    return NULL;
}

/* Sessions on several loops at once, kept and woken again from the main one. */
static void
test_many_loops(void **state)
{
    static const struct behaviour up = {.ehlo = ALL}, down = {.down = true};
    struct loop *loops[3];
    struct helper helpers[2];
    struct err err;
    struct stage t;

    (void)state;
    set_up(&t, &up, &down, "{tls: no, max_messages_per_connection: 20}");
    delivery_free(t.delivery);
    loops[0] = t.loop;
    for (size_t i = 0; i < 2; i++) {
        helpers[i].loop = loops[i + 1] = loop_new(&err);
        pthread_create(&helpers[i].thread, NULL, run_helper, &helpers[i]);
    }
    t.delivery = delivery_new(loops, 3, t.settings, &err);
    delivery_set_queue(t.delivery, &t.queue);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++)
            add_mail(&t, false);
        t.wanted += 6;
        for (int i = 0; i < 6; i++)
            delivery_session_wanted(t.delivery, &t.destination);
        loop_run(t.loop);
        assert_int_equal(t.queue.done, (round + 1) * 100);
    }
    assert_int_equal(t.a.messages, 2000);
    delivery_drain(t.delivery, on_idle, &t);
    loop_run(t.loop);
    delivery_free(t.delivery);
    for (size_t i = 0; i < 2; i++) {
        loop_stop(helpers[i].loop);
        pthread_join(helpers[i].thread, NULL);
        loop_free(helpers[i].loop);
    }
    t.delivery = delivery_new(loops, 1, t.settings, &err);
    tear_down(&t);
}

static void
quiet(void *arg, struct sv line)
{
    (void)arg;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incomplete_route),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_at_work),
        cmocka_unit_test(test_reload_at_wake),
        cmocka_unit_test(test_slow_servers),
        cmocka_unit_test(test_kept_failure),
        cmocka_unit_test(test_kept_ends),
        cmocka_unit_test(test_one_too_many),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_free_at_work),
        cmocka_unit_test(test_many_loops),
    };
    int failed;
    struct err err;

    log_capture(quiet, NULL);
    if (!tls_init(&err))
        return 1;
    pki_make(&(struct pki_options){.name = "ca", .is_ca = true});
    pki_make(&(struct pki_options){
        .name = "good", .names = "DNS:a.test", .issuer = "ca"});
    pki_make(&(struct pki_options){
        .name = "other", .names = "DNS:y.test", .issuer = "ca"});
    setenv("SSL_CERT_FILE", pki_path("ca.pem"), 1);
    dns = test_dns_server_new(records);
    failed = RUN_ROWS("delivery", check, rows) +
             cmocka_run_group_tests_name("delivery_more", tests, NULL, NULL);
    test_dns_server_free(dns);
    return failed;
}
