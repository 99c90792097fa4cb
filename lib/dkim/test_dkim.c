/* Signing: canonical forms as RFC 6376 writes them, keys and their files, and
 * signatures that another implementation (dkimpy) accepts. */
#include "dkim/dkim.h"

#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *verifier;
static char dir[64], path[96];

/* --- Canonical forms ------------------------------------------------------ */

static const struct field_row {
    const char *name, *field, *value, *relaxed;
} field_rows[] = {
    {"example of section 3.4.5", "A", " X", "a:X\r\n"},
    {"folded, with a blank before the colon", "B ", " Y\t\r\n\tZ  ",
     "b:Y Z\r\n"},
    {"empty", "Subject", "", "subject:\r\n"},
    {"only blanks", "Subject", " \t\r\n ", "subject:\r\n"},
    {"runs of blanks", "Subject", "  a  b\t\tc ", "subject:a b c\r\n"},
    {"folded without a run", "Subject", " a\r\n b", "subject:a b\r\n"},
};

static void
check_field(void **state)
{
    const struct field_row *row = *state;
    struct buf out = {0};

    dkim_relax_field(sv_of(row->field), sv_of(row->value), &out);
    assert_sv(buf_view(&out), row->relaxed);
    buf_fini(&out);
}

static const struct body_row {
    const char *name, *body, *relaxed;
} body_rows[] = {
    {"example of section 3.4.5", " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"},
    {"empty", "", ""},
    {"only empty lines", "\r\n\r\n", ""},
    {"only blanks", " \r\n\t\r\n", ""},
    {"no line end", "a", "a\r\n"},
    {"an empty line inside", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"a CR alone is a byte", "a\rb\r\n", "a\rb\r\n"},
};

static void
check_body(void **state)
{
    const struct body_row *row = *state;
    struct buf out = {0};

    dkim_relax_body(sv_of(row->body), &out);
    assert_sv(buf_view(&out), row->relaxed);
    buf_fini(&out);
}

/* --- Keys ----------------------------------------------------------------- */

static int
make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-dkim-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/key", dir);
    return 0;
}

static int
remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void
a_key_is_written_and_read(void **state)
{
    struct err err = {0};
    struct dkim_key *key = dkim_key_generate(DKIM_ED25519, &err);
    struct dkim_key *again;
    struct buf one = {0}, two = {0};
    struct stat st;

    (void)state;
    assert_non_null(key);
    assert_true(dkim_key_write(key, path, &err));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(dkim_key_write(key, path, &err)); /* never over another */
    assert_int_equal(err.code, EEXIST);
    again = dkim_key_load(path, &err);
    assert_non_null(again);
    dkim_record_text(key, "tlsrpt", &one);
    dkim_record_text(again, "tlsrpt", &two);
    assert_true(sv_eq(buf_view(&one), buf_view(&two)));
    assert_true(sv_starts_nocase(buf_view(&one),
                                 SV("v=DKIM1; k=ed25519; s=tlsrpt; p=")));
    dkim_key_free(key);
    dkim_key_free(again);
    buf_fini(&one);
    buf_fini(&two);
}

static void
others_must_not_read_it(void **state)
{
    struct err err = {0};
    struct dkim_key *key = dkim_key_generate(DKIM_ED25519, &err);

    (void)state;
    assert_true(dkim_key_write(key, path, &err));
    dkim_key_free(key);
    assert_int_equal(chmod(path, 0640), 0);
    assert_null(dkim_key_load(path, &err));
    assert_non_null(strstr(err.text, "mode 640"));
    assert_int_equal(chmod(path, 0604), 0);
    assert_null(dkim_key_load(path, &err));
}

static void
write_file(const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void
what_is_no_key(void **state)
{
    struct err err = {0};

    (void)state;
    assert_null(dkim_key_load(path, &err));
    assert_int_equal(err.code, ENOENT);
    write_file("not PEM at all\n");
    assert_null(dkim_key_load(path, &err));
    assert_non_null(strstr(err.text, "no private key in PEM"));
    write_file(
        "-----BEGIN PRIVATE KEY-----\n" /* P-256 */
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2"
        "\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r"
        "\n1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
        "-----END PRIVATE KEY-----\n");
    assert_null(dkim_key_load(path, &err));
    assert_non_null(strstr(err.text, "neither RSA nor Ed25519"));
}

static void
a_long_record_is_in_pieces(void **state)
{
    struct err err = {0};
    struct dkim_key *key = dkim_key_generate(DKIM_RSA, &err);
    struct buf zone = {0};
    struct sv rest;

    (void)state;
    dkim_record_zone(key, "example.org", "s1", "tlsrpt", &zone);
    rest = buf_view(&zone);
    assert_true(sv_take_prefix(&rest, SV("s1._domainkey.example.org. IN TXT "
                                         "( \"v=DKIM1; k=rsa; s=tlsrpt; p=")));
    while (sv_has(rest, '"')) {
        assert_true(sv_take_until(&rest, '"').n <= 255);
        sv_take_until(&rest, '"');
    }
    dkim_key_free(key);
    buf_fini(&zone);
}

/* --- Signatures ----------------------------------------------------------- */

static const char message[] = "Date: Sun, 22 Nov 2026 00:44:12 +0000\r\n"
                              "From: reports@example.org\r\n"
                              "To: you@example.net\r\n"
                              "Subject: Report Domain: example.net\r\n"
                              "  Submitter: example.org\r\n"
                              "TLS-Report-Domain: example.net\r\n"
                              "Received: by somebody\r\n"
                              "\r\n"
                              "hello  \t there \r\n"
                              "\r\n"
                              "good bye\r\n"
                              "\r\n";

static int
run_verifier(struct sv signed_message, const char *record)
{
    char name[] = "s1._domainkey.example.org";
    char *argv[] = {(char *)(uintptr_t)verifier, name,
                    (char *)(uintptr_t)record, NULL};
    posix_spawn_file_actions_t actions;
    int pipe_fds[2], status;
    pid_t pid;

    assert_int_equal(pipe(pipe_fds), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[0], 0);
    posix_spawn_file_actions_addclose(&actions, pipe_fds[1]);
    assert_int_equal(posix_spawn(&pid, verifier, &actions, NULL, argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fds[0]);
    assert_int_equal(write(pipe_fds[1], signed_message.p, signed_message.n),
                     signed_message.n);
    close(pipe_fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool
has_verifier(void)
{
    return verifier != NULL &&
           system("/usr/bin/python3 -c 'import dkim, nacl' 2>/dev/null") == 0;
}

static void
check_signature(enum dkim_algorithm algorithm)
{
    struct err err = {0};
    struct dkim_key *key = dkim_key_generate(algorithm, &err);
    const struct dkim_signing signing = {key, "example.org", "s1", 1795307052};
    struct buf out = {0}, record = {0};

    assert_non_null(key);
    assert_true(dkim_sign(&signing, sv_of(message), &out, &err));
    assert_null(strstr(buf_cstr(&out), "l="));
    assert_non_null(strstr(buf_cstr(&out), "h=From:From:"));
    buf_add(&out, sv_of(message));
    dkim_record_text(key, "tlsrpt", &record);
    if (has_verifier())
        assert_int_equal(run_verifier(buf_view(&out), buf_cstr(&record)), 0);
    else
        print_message("without dkimpy: not verified\n");
    dkim_key_free(key);
    buf_fini(&out);
    buf_fini(&record);
}

static void
rsa_signature(void **state)
{
    (void)state;
    check_signature(DKIM_RSA);
}

static void
ed25519_signature(void **state)
{
    (void)state;
    check_signature(DKIM_ED25519);
}

int
main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(a_key_is_written_and_read),
        TEST(others_must_not_read_it),
        TEST(what_is_no_key),
        TEST(a_long_record_is_in_pieces),
        cmocka_unit_test(rsa_signature),
        cmocka_unit_test(ed25519_signature),
    };

    verifier = argc > 1 ? argv[1] : NULL;
    return RUN_ROWS("fields", check_field, field_rows) +
           RUN_ROWS("bodies", check_body, body_rows) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
