/* Options, operands, errors and calls, common to all commands. */
#include "cli.h"

#include "base/buf.h"
#include "service/rpc.h"
#include "settings/settings.h"
#include <errno.h>
#include <stdarg.h>

static void
drop_arguments(struct cli *cli, int at, int count)
{
    cli->argc -= count;
    memmove(&cli->argv[at], &cli->argv[at + count],
            (size_t)(cli->argc - at) * sizeof *cli->argv);
}

bool
cli_flag(struct cli *cli, const char *name)
{
    bool found = false;

    for (int i = 0; i < cli->argc && strcmp(cli->argv[i], "--") != 0;) {
        if (strcmp(cli->argv[i], name) != 0) {
            i++;
            continue;
        }
        drop_arguments(cli, i, 1);
        found = true;
    }
    return found;
}

const char *
cli_value(struct cli *cli, const char *name)
{
    const char *value = NULL;
    size_t length = strlen(name);

    for (int i = 0; i < cli->argc && strcmp(cli->argv[i], "--") != 0;) {
        const char *argument = cli->argv[i];

        if (strcmp(argument, name) == 0 && i + 1 < cli->argc) {
            value = cli->argv[i + 1];
            drop_arguments(cli, i, 2);
        } else if (strncmp(argument, name, length) == 0 &&
                   argument[length] == '=') {
            value = argument + length + 1;
            drop_arguments(cli, i, 1);
        } else {
            i++; /* without a value it stays, as an unknown option */
        }
    }
    return value;
}

int
cli_misuse(const struct cli *cli, const char *fmt, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    fprintf(stderr, "waxgate: %s\nusage: waxgate %s%s%s\n", buf_cstr(&text),
            cli->command->name, cli->command->arguments[0] != '\0' ? " " : "",
            cli->command->arguments);
    buf_fini(&text);
    return CLI_USAGE;
}

bool
cli_operands(struct cli *cli, int min, int max)
{
    bool options = true;

    for (int i = 0; i < cli->argc; i++) {
        const char *argument = cli->argv[i];

        if (options && strcmp(argument, "--") == 0) {
            drop_arguments(cli, i--, 1);
            options = false;
        } else if (options && argument[0] == '-' && argument[1] != '\0') {
            cli_misuse(cli, "unknown option, or one without its value: %s",
                       argument);
            return false;
        }
    }
    if (cli->argc >= min && cli->argc <= max)
        return true;
    if (cli->argc > max)
        cli_misuse(cli, "too many arguments: %s", cli->argv[max]);
    else
        cli_misuse(cli, "an argument is missing");
    return false;
}

int
cli_fail(const struct err *err)
{
    fprintf(stderr, "waxgate: %s\n", err->text);
    return CLI_FAILED;
}

/* What a file says that is refused as a whole: somebody is editing it, and
 * wants to see meanwhile how the gateway is.  NULL: it is not plain to see. */
static char *
written_state_dir(const char *config)
{
    FILE *file = fopen(config, "re");
    char *path = NULL;
    char line[4096];

    while (file != NULL && path == NULL &&
           fgets(line, sizeof line, file) != NULL) {
        struct sv rest = sv_of(line);

        if (!sv_take_prefix(&rest, SV("state_dir:")))
            continue;
        rest = sv_trim(sv_take_until(&rest, '\n'));
        if (rest.n > 0 && rest.p[0] == '/' && sv_index(rest, '#') == SV_NONE)
            path = sv_dup(rest);
    }
    if (file != NULL)
        fclose(file);
    return path;
}

bool
cli_state_dir(const struct cli *cli, char **path)
{
    const struct settings_options options = {.check_files = false};
    struct settings *settings;
    struct err err;

    if (cli->state_dir != NULL) {
        *path = mem_strdup(cli->state_dir);
        return true;
    }
    settings = settings_load_file(cli->config, &options, &err);
    if (settings == NULL) {
        *path = written_state_dir(cli->config);
        fprintf(stderr, "waxgate: %s%s\n", err.text,
                *path != NULL ? ""
                              : " (the state directory is named there; "
                                "--state-dir names it too)");
        return *path != NULL;
    }
    *path = mem_strdup(settings->state_dir);
    settings_unref(settings);
    return true;
}

static void
explain_failure(const char *socket_path, const struct err *err)
{
    if (err->code == ENOENT || err->code == ECONNREFUSED)
        fprintf(stderr, "waxgate: the gateway is not running (%s)\n",
                err->text);
    else if (err->code == EACCES)
        fprintf(stderr,
                "waxgate: no right to talk to the gateway (%s): be root or "
                "the user that it runs as\n",
                socket_path);
    else
        cli_fail(err);
}

bool
cli_call(const struct cli *cli, const char *method, json_t *params,
         void (*on_item)(void *arg, const json_t *item), void *arg,
         json_t **result)
{
    struct buf path = {0};
    struct err err = {0};
    char *state_dir;
    bool ok;

    if (!cli_state_dir(cli, &state_dir)) {
        json_decref(params);
        return false;
    }
    buf_printf(&path, "%s/run/control.sock", state_dir);
    ok = rpc_request(buf_cstr(&path), method, params, on_item, arg, result,
                     &err);
    if (!ok)
        explain_failure(buf_cstr(&path), &err);
    buf_fini(&path);
    mem_free(state_dir);
    return ok;
}

void
cli_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
}
