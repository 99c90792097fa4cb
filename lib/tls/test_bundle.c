/* Certificates between file formats: what is read, ordered, refused, written,
 * and under which modes. */
#include "base/buf.h"
#include "tls/bundle.h"
#include "tls/test_pki.h"
#include "unit.h"
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct tls_write_options fresh = {.replace = false};
static const struct tls_write_options again = {.replace = true};

static bool
give_password(void *arg, const char *file, char *dst, size_t size)
{
    (void)file;
    snprintf(dst, size, "%s", (const char *)arg);
    return true;
}

static char right[] = "geheim", wrong[] = "falsch";

static void run(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void
run(const char *fmt, ...)
{
    char command[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* Files of every kind, from a chain of three. */
static void
make_files(void)
{
    struct tls_certificate_files files;
    const char *root;

    (void)pki_make(&(struct pki_options){.name = "root", .is_ca = true});
    (void)pki_make(&(struct pki_options){
        .name = "middle", .issuer = "root", .is_ca = true});
    files = pki_make(&(struct pki_options){
        .name = "mx", .names = "DNS:mx.test,IP:192.0.2.1", .issuer = "middle"});
    (void)pki_make(&(struct pki_options){.name = "other"});
    root = pki_path("root.pem");
    run("cat %s %s >%s", root, files.chain, pki_path("reversed.pem"));
    run("cat %s %s >%s", files.chain, files.key, pki_path("all.pem"));
    run("openssl x509 -in %s -outform DER -out %s", files.chain,
        pki_path("mx.der"));
    run("openssl crl2pkcs7 -nocrl -certfile %s -out %s", files.chain,
        pki_path("mx.p7b"));
    run("openssl crl2pkcs7 -nocrl -certfile %s -outform DER -out %s",
        files.chain, pki_path("mx.p7"));
    run("openssl pkcs12 -export -in %s -inkey %s -out %s -passout pass:geheim",
        files.chain, files.key, pki_path("mx.p12"));
    run("openssl pkcs12 -export -in %s -inkey %s -out %s -passout pass:",
        files.chain, files.key, pki_path("open.p12"));
    run("openssl pkcs8 -topk8 -in %s -out %s -passout pass:geheim", files.key,
        pki_path("sealed.key"));
    run("openssl pkcs8 -topk8 -in %s -outform DER -out %s -passout "
        "pass:geheim",
        files.key, pki_path("sealed.der"));
    run("openssl ec -in %s -aes256 -out %s -passout pass:geheim 2>/dev/null",
        files.key, pki_path("old-sealed.key"));
    run("openssl pkcs8 -topk8 -nocrypt -in %s -outform DER -out %s", files.key,
        pki_path("key.der"));
    run("printf 'hello\\n' >%s", pki_path("text"));
    run(": >%s", pki_path("empty"));
    run("head -c 300 %s >%s", files.chain, pki_path("cut.pem"));
    run("head -c 300 %s >%s", pki_path("mx.p12"), pki_path("cut.p12"));
    run("head -c 1100000 /dev/zero >%s", pki_path("huge"));
}

static const struct row {
    const char *name, *first, *second; /* files */
    const char *password;              /* NULL: nobody can be asked */
    size_t count;                      /* certificates in the chain */
    bool key;
    const char *error;
} rows[] = {
    {"PEM", "mx.pem", "mx.key", NULL, 2, true, NULL},
    {"key first", "mx.key", "mx.pem", NULL, 2, true, NULL},
    {"all in one", "all.pem", NULL, NULL, 2, true, NULL},
    {"out of order", "reversed.pem", "mx.key", NULL, 3, true, NULL},
    {"out of order, no key", "reversed.pem", NULL, NULL, 3, false, NULL},
    {"twice the same", "mx.pem", "reversed.pem", NULL, 3, false, NULL},
    {"DER", "mx.der", "key.der", NULL, 1, true, NULL},
    {"DER and its issuer", "mx.der", "middle.pem", NULL, 3, false, NULL},
    {"PKCS#7 in PEM", "mx.p7b", "mx.key", NULL, 2, true, NULL},
    {"PKCS#7 in DER", "mx.p7", "mx.key", NULL, 2, true, NULL},
    {"PKCS#12", "mx.p12", NULL, right, 2, true, NULL},
    {"PKCS#12 without password", "open.p12", NULL, NULL, 2, true, NULL},
    {"sealed key", "mx.pem", "sealed.key", right, 2, true, NULL},
    {"sealed key in DER", "mx.pem", "sealed.der", right, 2, true, NULL},
    {"sealed the old way", "mx.pem", "old-sealed.key", right, 2, true, NULL},
    {"others left out", "mx.pem", "other.pem", NULL, 2, false, NULL},
    {"wrong password", "mx.p12", NULL, wrong, 0, false, "wrong password"},
    {"nobody to ask", "mx.p12", NULL, NULL, 0, false, "is encrypted"},
    {"wrong password of a key", "mx.pem", "sealed.key", wrong, 0, false,
     "wrong password for the private key"},
    {"old key, wrong password", "mx.pem", "old-sealed.key", wrong, 0, false,
     "wrong password for the private key"},
    {"old key, nobody to ask", "mx.pem", "old-sealed.key", NULL, 0, false,
     "is encrypted"},
    {"key of another", "mx.pem", "other.key", NULL, 0, false,
     "belongs to none of the 2 certificates (the first is for CN=mx)"},
    {"two keys", "all.pem", "other.key", NULL, 0, false,
     "a second private key"},
    {"only a key", "mx.key", NULL, NULL, 0, false, "there is no certificate"},
    {"text", "text", NULL, NULL, 0, false, "is neither PEM nor"},
    {"empty", "empty", NULL, NULL, 0, false, "is neither PEM nor"},
    {"cut off", "cut.pem", NULL, NULL, 0, false, "cannot be read"},
    {"PKCS#12 cut off", "cut.p12", NULL, NULL, 0, false, "is neither PEM nor"},
    {"huge", "huge", NULL, NULL, 0, false, "is larger than"},
    {"absent", "absent", NULL, NULL, 0, false, "No such file"},
};

static bool
read_file(struct tls_bundle *bundle, const char *file, const char *password,
          struct err *err)
{
    return file == NULL ||
           tls_bundle_read_file(bundle, pki_path(file),
                                password != NULL ? give_password : NULL,
                                (void *)(uintptr_t)password, err);
}

static void
check_read(void **state)
{
    const struct row *r = *state;
    struct tls_bundle *bundle = tls_bundle_new();
    struct err err = {0};
    bool ok = read_file(bundle, r->first, r->password, &err) &&
              read_file(bundle, r->second, r->password, &err) &&
              tls_bundle_settle(bundle, &err);

    if (ok != (r->error == NULL))
        fail_msg("%s", err.text);
    if (!ok && strstr(err.text, r->error) == NULL)
        fail_msg("\"%s\" is not in: %s", r->error, err.text);
    if (ok) {
        struct tls_certificate_facts *facts = tls_bundle_describe(bundle, 0);

        assert_int_equal(tls_bundle_count(bundle), r->count);
        assert_int_equal(tls_bundle_has_key(bundle), r->key);
        assert_string_equal(facts->subject, "CN=mx");
        assert_int_equal(facts->name_count, 2);
        assert_string_equal(facts->names[1], "IP:192.0.2.1");
        tls_certificate_facts_free(facts);
    }
    tls_bundle_free(bundle);
}

/* Writing ----------------------------------------------------------------- */

static struct tls_bundle *
full_bundle(void)
{
    struct tls_bundle *bundle = tls_bundle_new();
    struct err err;

    assert_true(read_file(bundle, "all.pem", NULL, &err));
    assert_true(tls_bundle_settle(bundle, &err));
    return bundle;
}

static unsigned
mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777u;
}

static void
check_write(void **state)
{
    struct tls_bundle *bundle = full_bundle();
    const char *chain = pki_path("out.pem"), *key = pki_path("out.key");
    struct tls_write_options group = {.replace = true, .key_mode = 0666};
    struct err err = {0};
    mode_t usual = umask(0); /* the widest must not matter */

    (void)state;
    assert_true(tls_bundle_write(bundle, chain, key, &fresh, &err));
    assert_int_equal(mode_of(chain), 0644);
    assert_int_equal(mode_of(key), 0600);
    assert_true(tls_certificate_check(
        &(struct tls_certificate_files){
            .name = "out", .chain = chain, .key = key},
        &err));
    assert_false(tls_bundle_write(bundle, chain, key, &fresh, &err));
    assert_int_equal(err.code, EEXIST);
    assert_true(tls_bundle_write(bundle, chain, key, &again, &err));
    assert_int_equal(mode_of(key), 0600);
    assert_true(tls_bundle_write(bundle, chain, key, &group, &err));
    assert_int_equal(mode_of(key), 0660); /* never for others */
    assert_false(tls_bundle_write(bundle, pki_path("no/folder.pem"), NULL,
                                  &again, &err));
    assert_non_null(strstr(err.text, "No such file"));
    umask(usual);
    tls_bundle_free(bundle);
}

/* No draft stays behind, whether it went well or not. */
static void
check_no_drafts(void **state)
{
    (void)state;
    run("test -z \"$(ls %s.* 2>/dev/null)\"", pki_path("out.pem"));
    run("test -z \"$(ls %s.* 2>/dev/null)\"", pki_path("out.key"));
}

static void
check_export(void **state)
{
    struct tls_bundle *bundle = full_bundle(), *back = tls_bundle_new();
    const char *file = pki_path("out.p12");
    struct err err = {0};

    (void)state;
    assert_true(tls_bundle_export(bundle, "mx", right, file, &fresh, &err));
    assert_int_equal(mode_of(file), 0600);
    assert_false(tls_bundle_export(bundle, "mx", right, file, &fresh, &err));
    assert_true(tls_bundle_read_file(back, file, give_password, right, &err));
    assert_true(tls_bundle_settle(back, &err));
    assert_int_equal(tls_bundle_count(back), 2);
    assert_true(tls_bundle_has_key(back));
    tls_bundle_free(back);
    tls_bundle_free(bundle);
}

/* Creating ---------------------------------------------------------------- */

static const struct create_row {
    const char *name, *key_type, *subject;
    const char *names[3];
    const char *subject_text, *error;
} creations[] = {
    {.name = "one name",
     .key_type = "ec256",
     .names = {"mx.test"},
     .subject_text = "CN=mx.test"},
    {.name = "RSA",
     .key_type = "rsa2048",
     .names = {"mx.test"},
     .subject_text = "CN=mx.test"},
    {.name = "names and addresses",
     .key_type = "ec384",
     .names = {"mx.test", "*.mx.test", "2001:db8::1"},
     .subject_text = "CN=mx.test"},
    {.name = "more of a subject",
     .key_type = "ec256",
     .names = {"mx.test"},
     .subject = "O=Example, C=NL",
     .subject_text = "CN=mx.test,C=NL,O=Example"},
    {.name = "a long name",
     .key_type = "ec256",
     .names = {"a.very.long.name.of.a.host.that.is.longer.than.sixty.four."
               "bytes.test"},
     .subject_text = ""},
    {.name = "unknown key type",
     .key_type = "rsa1024",
     .names = {"mx.test"},
     .error = "no key of type \"rsa1024\""},
    {.name = "no host name",
     .key_type = "ec256",
     .names = {"mx test"},
     .error = "neither a host name nor an address"},
    {.name = "injected names",
     .key_type = "ec256",
     .names = {"mx.test,DNS:other.test"},
     .error = "neither a host name nor an address"},
    {.name = "empty label",
     .key_type = "ec256",
     .names = {"mx..test"},
     .error = "neither a host name nor an address"},
    {.name = "wildcard inside",
     .key_type = "ec256",
     .names = {"mx.*.test"},
     .error = "neither a host name nor an address"},
    {.name = "unknown field",
     .key_type = "ec256",
     .names = {"mx.test"},
     .subject = "Nonsense=x",
     .error = "subject \"Nonsense=x\""},
    {.name = "country too long",
     .key_type = "ec256",
     .names = {"mx.test"},
     .subject = "C=Netherlands",
     .error = "subject \"C=Netherlands\""},
};

static struct tls_create_options
options_of(const struct create_row *r)
{
    struct tls_create_options options = {
        .key_type = r->key_type,
        .subject = r->subject != NULL ? r->subject : "",
        .names = r->names,
        .days = 90,
    };

    while (options.name_count < COUNT_OF(r->names) &&
           r->names[options.name_count] != NULL)
        options.name_count++;
    return options;
}

static void
check_create(void **state)
{
    const struct create_row *r = *state;
    struct tls_create_options options = options_of(r);
    struct tls_bundle *bundle = tls_bundle_new();
    struct buf pem = {0};
    struct err err = {0};
    bool ok = tls_bundle_create_key(bundle, r->key_type, &err) &&
              tls_bundle_self_sign(bundle, &options, &err) &&
              tls_bundle_request(bundle, &options, &pem, &err);

    if (ok != (r->error == NULL))
        fail_msg("%s", err.text);
    if (!ok && strstr(err.text, r->error) == NULL)
        fail_msg("\"%s\" is not in: %s", r->error, err.text);
    if (ok) {
        struct tls_certificate_facts *facts = tls_bundle_describe(bundle, 0);

        assert_true(tls_bundle_settle(bundle, &err));
        assert_string_equal(facts->subject, r->subject_text);
        assert_int_equal(facts->name_count, options.name_count);
        assert_true(facts->self_signed && !facts->is_ca);
        assert_true(facts->for_servers && facts->for_clients);
        assert_int_equal(strlen(facts->serial), 32);
        assert_non_null(strstr(buf_cstr(&pem), "BEGIN CERTIFICATE REQUEST"));
        assert_null(strstr(buf_cstr(&pem), "PRIVATE"));
        tls_certificate_facts_free(facts);
    }
    buf_fini(&pem);
    tls_bundle_free(bundle);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_write),
        cmocka_unit_test(check_no_drafts),
        cmocka_unit_test(check_export),
    };
    int failed;

    make_files();
    failed = RUN_ROWS("bundle", check_read, rows);
    failed += RUN_ROWS("create", check_create, creations);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
