#include "base/buf.h"
#include "transmit/tls_trouble.h"
#include "unit.h"

/* A script of events, each a word:
 *   f  TLS failed with a server        k  … and mail was kept back
 *   w  mail was taken                  x  a week passes */
static const struct row {
    const char *name, *script;
    bool alert;
    const char *told; /* "raise", "clear" */
    unsigned count;   /* shown afterwards; 0: nothing is */
} rows[] = {
    {"nothing", "w", true, "", 0},
    {"a failure that another server made up for", "fw", true, "", 1},
    {"one alert whatever the number of failures", "fkfkfk", true, "raise;", 3},
    {"its numbers are renewed", "fkfkfkfkfk", true, "raise;raise;", 5},
    {"one recovery notice", "fkfkww", true, "raise;clear;", 2},
    {"again after the recovery", "fkwfkw", true, "raise;clear;raise;clear;", 2},
    {"alerts are off: counted, not told", "fkfkw", false, "", 2},
    {"a week without: cleared and forgotten", "fkx", true, "raise;clear;", 0},
};

struct told {
    struct buf events;
    char text[1000];
};

static void
on_alert(void *arg, const char *key, bool raised, const char *text)
{
    struct told *told = arg;

    assert_string_equal(key, "destination.y.test");
    buf_add_str(&told->events, raised ? "raise;" : "clear;");
    snprintf(told->text, sizeof told->text, "%s", text);
}

static void
play(struct tls_troubles *troubles, const struct row *row)
{
    struct tls_failure failure;
    struct tls_trouble_event event = {
        .destination = "y.test",
        .domain = "y.test",
        .host = SV("mx.test"),
        .ip = SV("192.0.2.1"),
        .failure = &failure,
        .queued = 7,
        .now_s = 1700000000,
        .alert = row->alert,
    };

    tls_failure_set(&failure, STAGE_HANDSHAKE, "bad record");
    for (const char *p = row->script; *p != '\0'; p++) {
        event.now_s += 60;
        if (*p == 'f')
            tls_troubles_count(troubles, &event);
        else if (*p == 'k')
            tls_troubles_kept_back(troubles, &event);
        else if (*p == 'w')
            tls_troubles_worked(troubles, "y.test");
        else
            tls_troubles_expire(troubles, event.now_s + 7 * 86400);
    }
}

static void
check(void **state)
{
    const struct row *row = *state;
    struct told told = {0};
    struct tls_troubles *troubles = tls_troubles_new(on_alert, &told);
    json_t *json;

    play(troubles, row);
    assert_string_equal(buf_cstr(&told.events), row->told);
    json = tls_troubles_json(troubles, "y.test");
    if (row->count == 0) {
        assert_null(json);
    } else {
        const json_t *stages = json_object_get(json, "stages");
        const json_t *stage = json_object_get(stages, "handshake");

        assert_int_equal(json_integer_value(json_object_get(stage, "count")),
                         row->count);
        assert_string_equal(json_string_value(json_object_get(json, "host")),
                            "mx.test");
    }
    json_decref(json);
    tls_troubles_free(troubles);
    buf_fini(&told.events);
}

static void
test_text(void **state)
{
    static const struct row row = {.script = "fk", .alert = true};
    struct told told = {0};
    struct tls_troubles *troubles = tls_troubles_new(on_alert, &told);

    (void)state;
    play(troubles, &row);
    assert_string_equal(
        told.text,
        "mail waits because TLS fails: domain y.test, host mx.test "
        "[192.0.2.1], stage handshake: bad record; 7 recipients in the queue, "
        "1 failure, first 2023-11-14T22:15:20Z, last 2023-11-14T22:15:20Z");
    tls_troubles_free(troubles);
    buf_fini(&told.events);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text)};

    return RUN_ROWS("tls_trouble", check, rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
