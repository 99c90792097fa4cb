/* Help and docs/commands.md, both from the table. */
#include "cli.h"

static const char global_options[] =
    "  --config FILE     the configuration (else $WAXGATE_CONFIG, else\n"
    "                    " CLI_DEFAULT_CONFIG ")\n"
    "  --state-dir DIR   where the gateway keeps its state; taken from the\n"
    "                    configuration otherwise\n";

static void
print_list(void)
{
    size_t width = 0;

    for (size_t i = 0; i < cli_command_count; i++)
        if (strlen(cli_commands[i].name) > width)
            width = strlen(cli_commands[i].name);
    puts("usage: waxgate [--config FILE] [--state-dir DIR] COMMAND …\n");
    for (size_t i = 0; i < cli_command_count; i++)
        printf("  %-*s  %s\n", (int)width, cli_commands[i].name,
               cli_commands[i].summary);
    printf("\n%s\nwaxgate help COMMAND says more.\n", global_options);
}

static void
print_command(const struct cli_command *command)
{
    printf("usage: waxgate %s%s%s\n\n%s\n", command->name,
           command->arguments[0] != '\0' ? " " : "", command->arguments,
           command->summary);
    if (command->details != NULL)
        puts(command->details);
}

static void
print_markdown(void)
{
    puts("# Commands\n\n"
         "Printed by `waxgate help --markdown` from the table that the program "
         "uses.\n\n"
         "Options of all commands:\n");
    printf("```\n%s```\n\n", global_options);
    puts(
        "The exit status is 0, 1 when the command failed (one line on standard "
        "error says why), 2 when it was used wrongly.");
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];

        printf("\n## waxgate %s\n\n`waxgate %s%s%s`\n\n%s\n", command->name,
               command->name, command->arguments[0] != '\0' ? " " : "",
               command->arguments, command->summary);
        if (command->details != NULL)
            printf("%s\n", command->details);
    }
}

/* All commands whose name is or begins with the words. */
static bool
print_matching(const char *first, const char *second)
{
    bool found = false;

    for (size_t i = 0; i < cli_command_count; i++) {
        struct sv rest = sv_of(cli_commands[i].name);
        struct sv word = sv_take_until(&rest, ' ');

        if (!sv_is(word, first) || (second != NULL && !sv_is(rest, second)))
            continue;
        if (found)
            putchar('\n');
        found = true;
        print_command(&cli_commands[i]);
    }
    return found;
}

int
run_help(struct cli *cli)
{
    bool markdown = cli_flag(cli, "--markdown");

    if (!cli_operands(cli, 0, 2))
        return CLI_USAGE;
    if (markdown)
        print_markdown();
    else if (cli->argc == 0)
        print_list();
    else if (!print_matching(cli->argv[0], cli->argc > 1 ? cli->argv[1] : NULL))
        return cli_misuse(cli, "there is no command \"%s%s%s\"", cli->argv[0],
                          cli->argc > 1 ? " " : "",
                          cli->argc > 1 ? cli->argv[1] : "");
    return CLI_OK;
}

int
run_version(struct cli *cli)
{
    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    puts("waxgate " WAXGATE_VERSION);
    return CLI_OK;
}
