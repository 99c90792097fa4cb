/* Files that went bad after they were checked. */
#include "dkim/dkim.h"
#include "record/world.h"
#include "unit.h"
#include <sys/stat.h>
#include <unistd.h>

#define BASE                                                                   \
    "hostname: gw.example.org\n"                                               \
    "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "   \
    "127.0.0.0/8}}\n"                                                          \
    "dns: {resolvers: [\"127.0.0.1\"]}\n"
#define GONE "  gone: {domain: example.org, key: /nonexistent/key}\n"
#define MESSAGE SV("From: a@example.org\r\n\r\nhello\r\n")

static struct loop *loop;

static struct record_world *
make(const char *text)
{
    const struct settings_options options = {.check_files = true,
                                             .in_force = true};
    struct err err = {0};
    struct settings *settings =
        settings_load(sv_of(text), "t.yaml", &options, &err);
    struct record_world *world;

    if (settings == NULL)
        fail_msg("%s", err.text);
    world = world_new(loop, settings, &err);
    if (world == NULL)
        fail_msg("%s", err.text);
    settings_unref(settings);
    return world;
}

static void
test_no_key_is_left(void **state UNUSED)
{
    struct record_world *world =
        make(BASE "dkim:\n" GONE "tls_reports: {dkim: [gone]}\n");
    struct buf out = {0};
    struct err err = {0};

    assert_non_null(strstr(world->trouble, "/nonexistent/key"));
    assert_false(world_sign(world, MESSAGE, 1, &out, &err));
    assert_non_null(strstr(err.text, "no key that signs can be used"));
    assert_int_equal(buf_length(&out), 0);
    buf_fini(&out);
    world_free(world);
}

static void
test_the_other_key_signs(void **state UNUSED)
{
    char path[] = "/tmp/waxgate-key.XXXXXX";
    struct buf text = {0}, out = {0};
    struct err err = {0};
    struct record_world *world;
    struct dkim_key *key;
    int fd = mkstemp(path);

    assert_int_not_equal(fd, -1);
    close(fd);
    unlink(path);
    key = dkim_key_generate(DKIM_ED25519, &err);
    assert_non_null(key);
    assert_true(dkim_key_write(key, path, &err));
    dkim_key_free(key);
    buf_printf(&text,
               BASE "dkim:\n" GONE "  good: {domain: example.org, key: %s}\n"
                    "tls_reports: {dkim: [gone, good]}\n",
               path);
    world = make(buf_cstr(&text));
    assert_true(world_sign(world, MESSAGE, 1, &out, &err));
    assert_non_null(strstr(buf_cstr(&out), "s=good"));
    assert_null(strstr(buf_cstr(&out), "s=gone"));
    world_free(world);
    buf_fini(&out);
    buf_fini(&text);
    unlink(path);
}

static void
test_no_authority(void **state UNUSED)
{
    struct record_world *world =
        make(BASE "tls_reports: {authorities: [/nonexistent/ca]}\n");
    struct buf out = {0};
    struct err err = {0};

    assert_non_null(strstr(world->trouble, "tls_reports.authorities"));
    assert_non_null(world->https);
    assert_true(world_sign(world, MESSAGE, 1, &out, &err));
    buf_fini(&out);
    world_free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_key_is_left),
        cmocka_unit_test(test_the_other_key_signs),
        cmocka_unit_test(test_no_authority),
    };
    struct err err;
    int failed;

    loop = loop_new(&err);
    if (loop == NULL)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
