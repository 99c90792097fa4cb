/* Keys that sign, who sends reports, and files that must be readable. */
#include "test_refuse.h"

#define BASE                                                                   \
    "hostname: gw.example.org\n"                                               \
    "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "   \
    "127.0.0.0/8}}\n"
#define KEY "dkim: {k: {domain: example.org, key: /k}}\n"

static const struct row rows[] = {
    {"a key that is not there", BASE KEY "tls_reports: {dkim: [q]}\n",
     "t.yaml:4:21: tls_reports.dkim: \"q\" does not exist in dkim"},
    {"a key of another domain",
     BASE KEY "tls_reports: {dkim: [k], from: a@example.net}\n",
     "t.yaml:4:21: tls_reports.dkim: key k signs for example.org, but "
     "reports come from a@example.net"},
    {"no address", BASE "tls_reports: {from: example.net}\n",
     "t.yaml:3:21: tls_reports.from: \"example.net\" is not a mail address in "
     "ASCII"},
    {"no ASCII", BASE "tls_reports: {failure_recipients: [ä@example.net]}\n",
     "t.yaml:3:35: tls_reports.failure_recipients: \"?"
     "?@example.net\" is "
     "not a mail address in ASCII"},
};

static struct settings *
load(const char *text, bool files, struct err *err)
{
    const struct settings_options options = {.check_files = files};

    return settings_load(sv_of(text), "t.yaml", &options, err);
}

static void
what_is_left_out(void **state)
{
    struct err err = {0};
    struct settings *settings =
        load(BASE KEY "tls_reports: {dkim: [k]}\n", false, &err);

    (void)state;
    assert_non_null(settings);
    assert_string_equal(settings->tls_reports.from,
                        "tlsrpt-noreply@example.org");
    assert_string_equal(settings->tls_reports.contact,
                        "postmaster@example.org");
    assert_string_equal(settings->tls_reports.organization, "example.org");
    assert_string_equal(settings->tls_reports.dkim[0]->selector, "k");
    settings_unref(settings);
}

static void
files_are_read(void **state)
{
    struct err err = {0};

    (void)state;
    assert_null(load(BASE "dkim: {k: {domain: example.org, key: "
                          "/nonexistent/key}}\n",
                     true, &err));
    assert_non_null(strstr(err.text, "dkim.k.key: DKIM key /nonexistent/key: "
                                     "open it: No such file"));
    assert_null(load(BASE "tls_reports: {authorities: [/nonexistent/ca]}\n",
                     true, &err));
    assert_non_null(strstr(err.text, "tls_reports.authorities"));
    assert_null(
        load(BASE "mta_sts: {authorities: [/nonexistent/ca]}\n", true, &err));
    assert_non_null(strstr(err.text, "mta_sts.authorities"));
}

/* A bad one must hinder neither a restart nor new certificates. */
static void
files_of_a_text_in_force(void **state)
{
    const struct settings_options options = {.check_files = true,
                                             .in_force = true};
    struct err err = {0};
    struct settings *settings = settings_load(
        SV(BASE "dkim: {k: {domain: example.org, key: /nonexistent/key}}\n"
                "tls_reports: {dkim: [k], authorities: [/nonexistent/ca]}\n"
                "mta_sts: {authorities: [/nonexistent/ca]}\n"),
        "t.yaml", &options, &err);

    (void)state;
    assert_non_null(settings);
    settings_unref(settings);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_out),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(files_of_a_text_in_force),
    };

    return RUN_ROWS("evidence", check, rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
