/* cli/main.c - waxgate and waxgated: one program under two names.
 * `waxgated` is `waxgate run`; the supervisor starts it again for each service
 * (supervise/supervise.h). */
#include "cli.h"

#include "base/utf8.h"
#include "supervise/supervise.h"

/* How many arguments the command's name takes; 0: it is another one. */
static int
name_length(const struct cli_command *command, int argc, char **argv)
{
    struct sv rest = sv_of(command->name);
    struct sv first = sv_take_until(&rest, ' ');

    if (argc < 1 || !sv_is(first, argv[0]))
        return 0;
    if (rest.n == 0)
        return 1;
    return argc > 1 && sv_is(rest, argv[1]) ? 2 : 0;
}

static int
find_command(struct cli *cli)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        int length = name_length(&cli_commands[i], cli->argc, cli->argv);

        if (length == 0)
            continue;
        cli->command = &cli_commands[i];
        return length;
    }
    return 0;
}

static int
unknown_command(const struct cli *cli)
{
    if (cli->argv[0][0] == '-')
        return cli_misuse(cli, "unknown option, or one without its value: %s",
                          cli->argv[0]);
    fprintf(stderr,
            "waxgate: there is no command \"%s%s%s\"; waxgate help lists "
            "them\n",
            cli->argv[0], cli->argc > 1 ? " " : "",
            cli->argc > 1 ? cli->argv[1] : "");
    return CLI_USAGE;
}

/* Global options may stand before the command and among its arguments. */
static void
take_globals(struct cli *cli)
{
    const char *config = cli_value(cli, "--config");
    const char *state_dir = cli_value(cli, "--state-dir");

    if (config != NULL)
        cli->config = config;
    if (state_dir != NULL)
        cli->state_dir = state_dir;
}

/* What every program is asked. */
static void
translate_customs(struct cli *cli)
{
    static char help[] = "help", version[] = "version";

    if (strcmp(cli->argv[0], "--help") == 0 || strcmp(cli->argv[0], "-h") == 0)
        cli->argv[0] = help;
    else if (strcmp(cli->argv[0], "--version") == 0)
        cli->argv[0] = version;
}

/* What the gateway is asked goes as JSON. Of two filters one that cannot be
 * said must not leave the other to stand alone. */
static bool
is_sayable(const struct cli *cli)
{
    struct sv name = sv_of(cli->command->name);

    if (!sv_take_prefix(&name, SV("queue ")))
        return true;
    for (int i = 0; i < cli->argc; i++)
        if (!utf8_valid(sv_of(cli->argv[i])))
            return false;
    return true;
}

static int
run_command(struct cli *cli)
{
    int length;

    if (cli->argc > 0 && strcmp(cli->argv[0], "sink") != 0)
        take_globals(cli);
    if (cli->argc == 0)
        return cli_misuse(cli, "a command is missing");
    translate_customs(cli);
    length = find_command(cli);
    if (length == 0)
        return unknown_command(cli);
    if (!cli->command->raw) {
        cli->argc -= length;
        cli->argv += length;
    }
    if (!cli->command->raw && cli_flag(cli, "--help")) {
        cli->argc = length;
        cli->argv -= length;
        return run_help(cli);
    }
    if (!is_sayable(cli))
        return cli_misuse(cli, "an argument is not UTF-8");
    return cli->command->run(cli);
}

static bool
is_daemon(const char *name)
{
    struct sv path = sv_of(name);
    size_t slash = sv_last_index(path, '/');

    return sv_is(slash == SV_NONE ? path : sv_from(path, slash + 1),
                 "waxgated");
}

int
main(int argc, char **argv)
{
    static char run[] = "run";
    static const struct cli_command nothing = {
        .name = "COMMAND …", .arguments = "(waxgate help lists them)"};
    const char *variable = getenv("WAXGATE_CONFIG");
    struct cli cli = {
        .command = &nothing,
        .config = variable != NULL && variable[0] != '\0' ? variable
                                                          : CLI_DEFAULT_CONFIG,
        .argc = argc - 1,
        .argv = argv + 1,
    };

    if (argc > 1 && strcmp(argv[1], SUPERVISE_SERVICE_OPTION) == 0)
        return supervise_service(argc, argv);
    if (argc > 0 && is_daemon(argv[0])) {
        argv[0] = run;
        cli.argc = argc;
        cli.argv = argv;
    }
    return run_command(&cli);
}
