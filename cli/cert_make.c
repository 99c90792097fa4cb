/* cert create-self-signed, create-csr, import, export: files are made.  None of
 * them needs a running gateway. */
#include "cert.h"

#include "base/buf.h"
#include "password.h"
#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_DAYS 397      /* longer ones are refused by some checkers */
#define DEFAULT_KEY "rsa2048" /* what every old peer understands */

/* Root makes files for the user as whom the gateway reads them.  A key that is
 * replaced keeps its owner and, as far as others have no part in it, its mode.
 */
static void
choose_owner(const struct cert_place *place, struct tls_write_options *options)
{
    const struct passwd *user = NULL;
    struct stat st;

    if (stat(place->key, &st) == 0) {
        options->key_mode = st.st_mode & 0660;
        options->chown = geteuid() == 0;
        options->owner = st.st_uid;
        options->group = st.st_gid;
        return;
    }
    if (geteuid() == 0 && place->settings != NULL &&
        place->settings->user[0] != '\0')
        user = getpwnam(place->settings->user);
    if (user == NULL)
        return;
    options->chown = true;
    options->owner = user->pw_uid;
    options->group = user->pw_gid;
}

/* What to do next. */
static void
print_advice(const struct cert_place *place, const char *name)
{
    if (place->configured != NULL)
        puts("A running gateway takes it up at the next `waxgate reload`.");
    else
        printf("To use it, add to the configuration:\n"
               "certificates:\n  %s: {chain: %s, key: %s}\n",
               strrchr(name, '/') != NULL ? strrchr(name, '/') + 1 : name,
               place->chain, place->key);
}

static bool
explain_existing(struct err *err)
{
    if (err->code == EEXIST)
        err_wrap(err, "not overwritten without --replace");
    return false;
}

/* Options of what is created ---------------------------------------------- */

struct creation {
    struct tls_create_options options;
    struct tls_write_options write;
    bool new_key;
};

static bool
take_days(struct cli *cli, struct creation *creation)
{
    const char *days = cli_value(cli, "--days");
    uint32_t number = DEFAULT_DAYS;

    if (days != NULL &&
        (!sv_to_u32(sv_of(days), &number) || number < 1 || number > 3650)) {
        cli_misuse(cli, "--days: \"%s\" is not a number from 1 to 3650", days);
        return false;
    }
    creation->options.days = (int)number;
    return true;
}

static bool
take_creation(struct cli *cli, struct creation *creation)
{
    const char *key_type = cli_value(cli, "--key-type");
    const char *subject = cli_value(cli, "--subject");

    *creation = (struct creation){
        .options = {.key_type = key_type != NULL ? key_type : DEFAULT_KEY,
                    .subject = subject != NULL ? subject : ""},
        .write = {.replace = cli_flag(cli, "--replace")},
        .new_key = cli_flag(cli, "--new-key"),
    };
    if (!take_days(cli, creation) || !cli_operands(cli, 2, 101))
        return false;
    creation->options.names = (const char *const *)&cli->argv[1];
    creation->options.name_count = (size_t)cli->argc - 1;
    return true;
}

/* create-self-signed ------------------------------------------------------ */

static bool
create_self_signed(const struct cert_place *place,
                   const struct creation *creation, struct err *err)
{
    struct tls_bundle *bundle = tls_bundle_new();
    bool ok = tls_bundle_create_key(bundle, creation->options.key_type, err) &&
              tls_bundle_self_sign(bundle, &creation->options, err) &&
              (tls_bundle_write(bundle, place->chain, place->key,
                                &creation->write, err) ||
               explain_existing(err));

    tls_bundle_free(bundle);
    return ok;
}

int
run_cert_create_self_signed(struct cli *cli)
{
    struct creation creation;
    struct cert_place place;
    struct err err = {0};
    bool ok;

    if (!take_creation(cli, &creation))
        return CLI_USAGE;
    cert_place_init(&place, cli, cli->argv[0]);
    choose_owner(&place, &creation.write);
    ok = create_self_signed(&place, &creation, &err);
    if (ok) {
        printf("wrote %s and %s\n", place.chain, place.key);
        print_advice(&place, cli->argv[0]);
    }
    cert_place_fini(&place);
    return ok ? CLI_OK : cli_fail(&err);
}

/* create-csr -------------------------------------------------------------- */

static char *
with_suffix(const char *path, const char *suffix)
{
    size_t size = strlen(path) + strlen(suffix) + 1;
    char *whole = mem_alloc(size);

    snprintf(whole, size, "%s%s", path, suffix);
    return whole;
}

/* "mx.pem" has its request in "mx.csr". */
static char *
request_path(const char *chain)
{
    struct sv path = sv_of(chain);
    char *stem, *whole;

    if (sv_ends_nocase(path, SV(".pem")))
        path.n -= 4;
    stem = sv_dup(path);
    whole = with_suffix(stem, ".csr");
    mem_free(stem);
    return whole;
}

/* A key that is in use is never overwritten: the certificate to come may take
 * days, and until then the old pair must work. */
static char *
key_for_request(const struct cert_place *place, const struct creation *creation)
{
    if (creation->new_key && access(place->key, F_OK) == 0)
        return with_suffix(place->key, ".new");
    return mem_strdup(place->key);
}

static bool
load_or_make_key(struct tls_bundle *bundle, const char *key,
                 const struct creation *creation, bool *made, struct err *err)
{
    *made = access(key, F_OK) == -1;
    return *made
               ? tls_bundle_create_key(bundle, creation->options.key_type, err)
               : tls_bundle_read_file(bundle, key, NULL, NULL, err);
}

static bool
create_request(const struct creation *creation, const char *key,
               const char *path, struct err *err)
{
    struct tls_bundle *bundle = tls_bundle_new();
    struct buf pem = {0};
    bool made = false;
    bool ok = load_or_make_key(bundle, key, creation, &made, err);

    if (ok && !tls_bundle_has_key(bundle)) {
        err_set(err, "%s holds no private key", key);
        ok = false;
    }
    ok = ok && tls_bundle_request(bundle, &creation->options, &pem, err) &&
         (!made || tls_bundle_write_key(bundle, key, &creation->write, err)) &&
         (tls_write_file(path, buf_view(&pem), 0644, &creation->write, err) ||
          explain_existing(err));
    if (ok)
        printf("wrote %s for the %s key %s\n", path, made ? "new" : "existing",
               key);
    buf_fini(&pem);
    tls_bundle_free(bundle);
    return ok;
}

int
run_cert_create_csr(struct cli *cli)
{
    struct creation creation;
    struct cert_place place;
    struct err err = {0};
    char *key, *path;
    bool ok;

    if (!take_creation(cli, &creation))
        return CLI_USAGE;
    cert_place_init(&place, cli, cli->argv[0]);
    choose_owner(&place, &creation.write);
    key = key_for_request(&place, &creation);
    path = request_path(place.chain);
    ok = create_request(&creation, key, path, &err);
    if (ok)
        printf("Give it to the authority; put its answer in place with\n"
               "waxgate cert import --replace %s FILE…\n",
               cli->argv[0]);
    mem_free(path);
    mem_free(key);
    cert_place_fini(&place);
    return ok ? CLI_OK : cli_fail(&err);
}

/* import ------------------------------------------------------------------ */

struct import {
    const struct cert_place *place;
    char **files; /* borrowed */
    int file_count;
    const char *key; /* --key; NULL: in the files, or the one in place */
    struct password_source password;
    struct tls_write_options write;
};

static bool
on_password(void *arg, const char *file, char *dst, size_t size)
{
    char prompt[256];

    snprintf(prompt, sizeof prompt, "password of %s", file);
    return password_get(arg, prompt, dst, size);
}

static bool
read_one(struct import *import, const char *file, struct tls_bundle *bundle,
         struct err *err)
{
    bool ok =
        tls_bundle_read_file(bundle, file, on_password, &import->password, err);

    if (!ok && import->password.err.text[0] != '\0')
        *err = import->password.err; /* it says more */
    return ok;
}

/* All files, and the key when one is named; NULL: err says why. */
static struct tls_bundle *
read_with_key(struct import *import, const char *key, struct err *err)
{
    struct tls_bundle *bundle = tls_bundle_new();
    bool ok = true;

    for (int i = 0; ok && i < import->file_count; i++)
        ok = read_one(import, import->files[i], bundle, err);
    if (ok && key != NULL)
        ok = read_one(import, key, bundle, err);
    if (ok && !tls_bundle_has_key(bundle)) {
        err_set(err,
                "no private key: it is neither in the files nor in %s; name "
                "it with --key",
                import->place->key);
        ok = false;
    }
    if (ok && tls_bundle_settle(bundle, err))
        return bundle;
    tls_bundle_free(bundle);
    return NULL;
}

/* An answer of an authority holds no key: it is for the key in place, or for
 * the one that create-csr --new-key laid beside it. */
static struct tls_bundle *
find_key(struct import *import, char **used, struct err *err)
{
    char *candidates[] = {mem_strdup(import->place->key),
                          with_suffix(import->place->key, ".new")};
    struct tls_bundle *bundle = NULL;

    for (size_t i = 0; bundle == NULL && i < COUNT_OF(candidates); i++) {
        if (access(candidates[i], F_OK) == -1)
            continue;
        bundle = read_with_key(import, candidates[i], err);
        if (bundle != NULL)
            *used = mem_strdup(candidates[i]);
    }
    for (size_t i = 0; i < COUNT_OF(candidates); i++)
        mem_free(candidates[i]);
    return bundle;
}

static bool
files_hold_key(struct import *import, bool *held, struct err *err)
{
    struct tls_bundle *bundle = tls_bundle_new();
    bool ok = true;

    for (int i = 0; ok && i < import->file_count; i++)
        ok = read_one(import, import->files[i], bundle, err);
    *held = tls_bundle_has_key(bundle);
    tls_bundle_free(bundle);
    return ok;
}

static struct tls_bundle *
read_import(struct import *import, char **used, struct err *err)
{
    struct tls_bundle *bundle;
    bool held;

    if (import->key != NULL)
        return read_with_key(import, import->key, err);
    if (!files_hold_key(import, &held, err))
        return NULL;
    if (held)
        return read_with_key(import, NULL, err);
    bundle = find_key(import, used, err);
    if (bundle == NULL && err->text[0] == '\0')
        bundle = read_with_key(import, NULL, err); /* says what is missing */
    return bundle;
}

static bool
write_import(const struct import *import, const struct tls_bundle *bundle,
             const char *used, struct err *err)
{
    const struct cert_place *place = import->place;
    bool in_place = used != NULL && strcmp(used, place->key) == 0;

    if (!tls_bundle_write(bundle, place->chain, in_place ? NULL : place->key,
                          &import->write, err))
        return explain_existing(err);
    if (used != NULL && !in_place)
        unlink(used); /* "….key.new" has become the key */
    return true;
}

static bool
import_files(struct import *import, struct err *err)
{
    char *used = NULL;
    struct tls_bundle *bundle = read_import(import, &used, err);
    bool ok = bundle != NULL && write_import(import, bundle, used, err);

    if (ok) {
        cert_print(bundle);
        printf("\nwrote %s and %s\n", import->place->chain, import->place->key);
        if (tls_bundle_dropped(bundle) > 0)
            printf("%zu certificates that do not belong to the chain were "
                   "left out\n",
                   tls_bundle_dropped(bundle));
    }
    mem_free(used);
    tls_bundle_free(bundle);
    return ok;
}

int
run_cert_import(struct cli *cli)
{
    struct import import = {
        .key = cli_value(cli, "--key"),
        .password = {.file = cli_value(cli, "--password-file")},
        .write = {.replace = cli_flag(cli, "--replace")},
    };
    struct cert_place place;
    struct err err = {0};
    bool ok;

    if (!cli_operands(cli, 2, 101))
        return CLI_USAGE;
    cert_place_init(&place, cli, cli->argv[0]);
    choose_owner(&place, &import.write);
    import.place = &place;
    import.files = &cli->argv[1];
    import.file_count = cli->argc - 1;
    ok = import_files(&import, &err);
    if (ok)
        print_advice(&place, cli->argv[0]);
    cert_place_fini(&place);
    return ok ? CLI_OK : cli_fail(&err);
}

/* export ------------------------------------------------------------------ */

static bool
export_bundle(const struct tls_bundle *bundle, const char *name,
              const char *file, struct password_source *source,
              const struct tls_write_options *write, struct err *err)
{
    char password[TLS_PASSWORD_MAX];
    bool ok = password_get_new(source, "password for the PKCS#12 file",
                               password, sizeof password);

    if (!ok)
        *err = source->err;
    ok = ok && (tls_bundle_export(bundle, name, password, file, write, err) ||
                explain_existing(err));
    explicit_bzero(password, sizeof password);
    return ok;
}

static bool
export_files(const struct cert_place *place, struct cli *cli,
             struct password_source *source,
             const struct tls_write_options *write, struct err *err)
{
    struct tls_bundle *bundle = tls_bundle_new();
    bool ok = tls_bundle_read_file(bundle, place->chain, NULL, NULL, err) &&
              tls_bundle_read_file(bundle, place->key, NULL, NULL, err) &&
              tls_bundle_settle(bundle, err);

    if (ok && !tls_bundle_has_key(bundle)) {
        err_set(err, "%s holds no private key", place->key);
        ok = false;
    }
    ok = ok &&
         export_bundle(bundle, cli->argv[0], cli->argv[1], source, write, err);
    tls_bundle_free(bundle);
    return ok;
}

int
run_cert_export(struct cli *cli)
{
    struct password_source source = {.file = cli_value(cli, "--password-file")};
    struct tls_write_options write = {.replace = cli_flag(cli, "--replace")};
    struct cert_place place;
    struct err err = {0};
    bool ok;

    if (!cli_operands(cli, 2, 2))
        return CLI_USAGE;
    cert_place_init(&place, cli, cli->argv[0]);
    ok = export_files(&place, cli, &source, &write, &err);
    if (ok)
        printf("wrote %s; it holds the private key\n", cli->argv[1]);
    cert_place_fini(&place);
    return ok ? CLI_OK : cli_fail(&err);
}
