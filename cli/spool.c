/* spool …: reads the files, with or without a running gateway. */
#include "cli.h"

#include "spool/spool.h"

int
run_spool_verify(struct cli *cli)
{
    struct err err = {0};
    char *state_dir;
    size_t problems;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (!cli_state_dir(cli, &state_dir))
        return CLI_FAILED;
    problems = spool_verify(state_dir, stdout, &err);
    mem_free(state_dir);
    if (err.text[0] != '\0')
        return cli_fail(&err);
    return problems == 0 ? CLI_OK : CLI_FAILED;
}

int
run_spool_dump(struct cli *cli)
{
    struct spool_dump_options options = {
        .journal = cli_flag(cli, "--ledger") ? SPOOL_LEDGER : SPOOL_INTAKE,
        .json = cli_flag(cli, "--json"),
        .content = cli_flag(cli, "--content"),
    };
    const char *from = cli_value(cli, "--from");
    struct err err;
    char *state_dir;
    bool ok;

    if (from != NULL && !sv_to_u64(sv_of(from), &options.from_sequence))
        return cli_misuse(cli, "--from: \"%s\" is not a number", from);
    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (!cli_state_dir(cli, &state_dir))
        return CLI_FAILED;
    ok = spool_dump(state_dir, &options, stdout, &err);
    mem_free(state_dir);
    return ok ? CLI_OK : cli_fail(&err);
}
