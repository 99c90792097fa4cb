/* Certificates looked after: when a change is taken, when it is refused, and
 * when an end is announced. */
#include "control/certificates.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "service/link.h"
#include "tls/test_pki.h"
#include "unit.h"

enum { LOOK = 10000, DAY = 86400 };

static struct loop *loop;
static struct service_host host;
static struct supervisor_link supervisor;
static struct certificates *certificates;
static struct settings *settings;
static char raised[8][128]; /* keys of alerts that stand */
static char last_text[512];
static unsigned raises; /* of an alert of an end */
static unsigned reloads;
static struct {
    link_on_reload *run;
    void *arg;
} waiting;

static int
find_alert(const char *key)
{
    for (int i = 0; i < (int)COUNT_OF(raised); i++)
        if (strcmp(raised[i], key) == 0)
            return i;
    return -1;
}

static void
on_alert(struct service_host *self UNUSED, const char *key, bool up,
         const char *text)
{
    int place = find_alert(up ? "" : key);

    if (up ? find_alert(key) != -1 : place == -1)
        return;
    assert_int_not_equal(place, -1);
    snprintf(raised[place], sizeof raised[place], "%s", up ? key : "");
    if (!up)
        return;
    snprintf(last_text, sizeof last_text, "%s", text);
    raises += strstr(key, ".expiry") != NULL;
}

static void
on_reload_files(struct supervisor_link *link UNUSED, link_on_reload *run,
                void *arg)
{
    reloads++;
    waiting.run = run;
    waiting.arg = arg;
}

static void
on_line(void *arg UNUSED, struct sv line UNUSED)
{
}

static struct settings *
load(const char *more)
{
    const struct settings_options options = {.revision = 1};
    struct buf yaml = {0};
    struct settings *loaded;
    struct err err = {0};

    buf_printf(&yaml,
               "certificates: {mx: {chain: %s, key: %s}}\n"
               "listeners: {In: {type: private, address: \"127.0.0.1:25\", "
               "relay_for: 127.0.0.0/8, certificates: mx}}\n%s",
               pki_path("used.pem"), pki_path("used.key"), more);
    loaded = settings_load(buf_view(&yaml), "t.yaml", &options, &err);
    if (loaded == NULL)
        fail_msg("%s", err.text);
    buf_fini(&yaml);
    return loaded;
}

static void
use(const char *chain, const char *key)
{
    if (chain != NULL)
        pki_write("used.pem", pki_path(chain), NULL);
    if (key != NULL)
        pki_write("used.key", pki_path(key), NULL);
}

static void
begin(const char *chain, const char *key, const char *more)
{
    memset(raised, 0, sizeof raised);
    raises = reloads = 0;
    use(chain, key);
    loop = loop_new_manual(0, clock_wall_s());
    host = (struct service_host){.loops = &loop,
                                 .loop_count = 1,
                                 .alert = on_alert,
                                 .supervisor = &supervisor};
    supervisor = (struct supervisor_link){.reload_files = on_reload_files};
    settings = load(more);
    certificates = certificates_new(&host, settings);
    loop_advance(loop, 0);
}

static void
end(void)
{
    certificates_free(certificates);
    if (waiting.run != NULL) /* an answer that comes too late */
        waiting.run(waiting.arg, true, 2, "");
    waiting.run = NULL;
    settings_unref(settings);
    loop_free(loop);
}

/* As the supervisor does it. */
static void
finish_reload(bool ok, const char *text)
{
    assert_int_equal(reloads, 1);
    reloads = 0;
    certificates_prepare(certificates, settings);
    if (ok)
        certificates_commit(certificates);
    else
        certificates_abandon(certificates);
    waiting.run(waiting.arg, ok, 2, text);
    waiting.run = NULL;
}

static void
test_replaced(void **state UNUSED)
{
    begin("one.pem", "one.key", "");
    loop_advance(loop, 5 * LOOK);
    assert_int_equal(reloads, 0);
    use("two.pem", "two.key");
    loop_advance(loop, LOOK); /* seen */
    assert_int_equal(reloads, 0);
    loop_advance(loop, LOOK); /* still the same */
    loop_advance(loop, LOOK); /* not asked twice */
    finish_reload(true, "");
    loop_advance(loop, 5 * LOOK);
    assert_int_equal(reloads, 0);
    end();
}

/* The chain comes long before its key. */
static void
test_half(void **state UNUSED)
{
    begin("one.pem", "one.key", "");
    use("two.pem", NULL);
    loop_advance(loop, LOOK);
    assert_int_equal(find_alert("certificate.mx"), -1);
    loop_advance(loop, 3 * LOOK);
    assert_int_not_equal(find_alert("certificate.mx"), -1);
    assert_int_equal(reloads, 0);
    use(NULL, "two.key");
    loop_advance(loop, 2 * LOOK);
    assert_int_equal(find_alert("certificate.mx"), -1);
    finish_reload(true, "");
    end();
}

static void
test_put_back(void **state UNUSED)
{
    begin("one.pem", "one.key", "");
    rename(pki_path("used.key"), pki_path("away.key"));
    loop_advance(loop, 2 * LOOK);
    assert_int_not_equal(find_alert("certificate.mx"), -1);
    rename(pki_path("away.key"), pki_path("used.key"));
    loop_advance(loop, 3 * LOOK);
    assert_int_equal(find_alert("certificate.mx"), -1);
    end();
}

static void
test_reload_refused(void **state UNUSED)
{
    begin("one.pem", "one.key", "");
    use("two.pem", "two.key");
    loop_advance(loop, 2 * LOOK);
    finish_reload(false, "the receiver says no");
    assert_int_not_equal(find_alert("certificate.reload"), -1);
    assert_string_equal(last_text, "the receiver says no");
    loop_advance(loop, 3 * LOOK);
    assert_int_equal(reloads, 0); /* not at every look */
    loop_advance(loop, 5 * LOOK);
    finish_reload(true, "");
    assert_int_equal(find_alert("certificate.reload"), -1);
    end();
}

static void
test_off(void **state UNUSED)
{
    begin("one.pem", "one.key", "certificate_check: off\n");
    use("two.pem", "two.key");
    loop_advance(loop, 100 * LOOK);
    assert_int_equal(reloads, 0);
    end();
}

/* Who was started again does not know what the others have read. */
static void
test_restarted(void **state UNUSED)
{
    begin("one.pem", "one.key", "");
    supervisor.process_count = 1;
    supervisor.processes[0] =
        (struct link_process){.name = "controller", .restarts = 1};
    loop_advance(loop, LOOK);
    finish_reload(true, "");
    loop_advance(loop, 5 * LOOK);
    assert_int_equal(reloads, 0);
    end();
}

/* Its end comes while a reload is being waited for. */
static void
test_gone(void **state UNUSED)
{
    begin("one.pem", "one.key", "");
    use("two.pem", "two.key");
    loop_advance(loop, 2 * LOOK);
    assert_int_equal(reloads, 1);
    end();
}

static void
advance_days(unsigned days)
{
    for (unsigned i = 0; i < days; i++)
        loop_advance(loop, (uint64_t)DAY * 1000);
}

/* "far" is good for 40 days, less the one that pki_make() begins before. */
static void
test_end(void **state UNUSED)
{
    begin("far.pem", "far.key", "certificate_check: off\n");
    assert_int_equal(raises, 0);
    advance_days(11);
    assert_int_equal(raises, 1);
    assert_non_null(strstr(last_text, "certificate mx ends on "));
    assert_non_null(strstr(last_text, "(listener In"));
    advance_days(10);
    assert_int_equal(raises, 1);
    advance_days(10); /* daily from 14 days on */
    assert_in_range(raises, 6, 10);
    raises = 0;
    advance_days(5);
    assert_int_equal(raises, 5);
    advance_days(10);
    assert_int_equal(raises, 15);
    assert_non_null(strstr(last_text, "certificate mx ended on "));
    assert_int_not_equal(find_alert("certificate.mx.expiry"), -1);
    end();
}

static void
test_end_mended(void **state UNUSED)
{
    json_t *list;

    begin("soon.pem", "soon.key", "");
    assert_int_not_equal(find_alert("certificate.mx.expiry"), -1);
    list = certificates_describe(certificates);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(list, 0), "state")),
        "7-days");
    json_decref(list);
    use("far.pem", "far.key");
    loop_advance(loop, 2 * LOOK);
    finish_reload(true, "");
    loop_advance(loop, LOOK);
    assert_int_equal(find_alert("certificate.mx.expiry"), -1);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_put_back),
        cmocka_unit_test(test_reload_refused),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_restarted),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_end_mended),
    };

    log_capture(on_line, NULL);
    (void)pki_make(&(struct pki_options){.name = "one", .days = 200});
    (void)pki_make(&(struct pki_options){.name = "two", .days = 200});
    (void)pki_make(&(struct pki_options){.name = "far", .days = 40});
    (void)pki_make(&(struct pki_options){.name = "soon", .days = 5});
    return cmocka_run_group_tests_name("certificates", tests, NULL, NULL);
}
