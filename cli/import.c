/* import: settings of other products into a candidate, with a report. */
#include "cli.h"

#include "base/buf.h"
#include "settings/import.h"
#include "settings/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* "-" is the standard input.  One byte more than limit is read, for whoever
 * refuses larger ones. */
static bool
read_stream(const char *path, size_t limit, struct buf *out, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    bool ok;

    if (file == NULL) {
        err_sys(err, "%s: open", path);
        return false;
    }
    while (buf_length(out) <= limit) {
        size_t n = fread(buf_reserve(out, 16384), 1, 16384, file);

        if (n == 0)
            break;
        buf_grew(out, n);
    }
    ok = !ferror(file);
    if (!ok)
        err_sys(err, "%s: read", path);
    if (!standard)
        fclose(file);
    return ok;
}

static bool
write_all(int fd, struct sv text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);

        if (n == -1)
            return false;
        text = sv_from(text, (size_t)n);
    }
    return true;
}

/* A new file: what is there is somebody's configuration. */
static bool
write_new(const char *path, struct sv text, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

    if (fd == -1) {
        err_sys(err, "%s: create", path);
        return false;
    }
    if (write_all(fd, text) && fsync(fd) == 0 && close(fd) == 0)
        return true;
    err_sys(err, "%s: write", path);
    unlink(path);
    return false;
}

/* The configuration with the settings; only the settings where there is no
 * configuration yet. */
static bool
make_candidate(const struct cli *cli, const struct import *import,
               bool fragment, struct buf *out, struct err *err)
{
    struct buf yaml = {0};
    bool ok;

    if (fragment || (access(cli->config, F_OK) != 0 && errno == ENOENT &&
                     strcmp(cli->config, CLI_DEFAULT_CONFIG) == 0)) {
        import_fragment(import, out);
        return true;
    }
    ok = read_stream(cli->config, IMPORT_TEXT_MAX, &yaml, err) &&
         import_candidate(import, buf_view(&yaml), cli->config, out, err);
    buf_fini(&yaml);
    return ok;
}

static int
hand_out(const struct cli *cli, const struct import *import, bool fragment,
         const char *output, struct err *err)
{
    struct buf candidate = {0};
    bool ok = make_candidate(cli, import, fragment, &candidate, err);

    if (ok && output != NULL)
        ok = write_new(output, buf_view(&candidate), err);
    else if (ok)
        fwrite(buf_view(&candidate).p, 1, buf_length(&candidate), stdout);
    buf_fini(&candidate);
    return ok ? CLI_OK : cli_fail(err);
}

/* Where the candidate goes to the standard output, the report does not. */
static void
report(const struct import *import, FILE *to)
{
    struct buf text = {0};

    import_report(import, &text);
    fputs(buf_cstr(&text), to);
    buf_fini(&text);
}

int
run_import(struct cli *cli)
{
    bool fragment = cli_flag(cli, "--fragment");
    const char *output = cli_value(cli, "--output");
    struct buf text = {0};
    struct import import;
    struct err err = {0};
    bool ok;
    int status;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    ok = read_stream(cli->argv[0], IMPORT_TEXT_MAX, &text, &err);
    if (ok && !import_read(buf_view(&text), &import, &err)) {
        err_wrap(&err, "%s", cli->argv[0]);
        ok = false;
    }
    buf_fini(&text);
    if (!ok)
        return cli_fail(&err);
    report(&import, output != NULL ? stdout : stderr);
    if (import.refused > 0) {
        err_set(&err, "nothing was imported: correct what was refused, or "
                      "remove it from the file");
        status = cli_fail(&err);
    } else {
        status = hand_out(cli, &import, fragment, output, &err);
    }
    import_fini(&import);
    return status;
}
