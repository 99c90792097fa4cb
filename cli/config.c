/* config …: nothing here needs a running gateway. */
#include "cli.h"

#include "base/buf.h"
#include "settings/settings.h"

static struct settings *
load(const struct cli *cli, bool check_files)
{
    const struct settings_options options = {.check_files = check_files};
    const char *path = cli->argc > 0 ? cli->argv[0] : cli->config;
    struct settings *settings;
    struct err err;

    settings = settings_load_file(path, &options, &err);
    if (settings == NULL)
        cli_fail(&err);
    return settings;
}

static void
print(struct buf *text)
{
    fwrite(buf_view(text).p, 1, buf_length(text), stdout);
    buf_fini(text);
}

int
run_config_check(struct cli *cli)
{
    struct settings *settings;

    if (!cli_operands(cli, 0, 1))
        return CLI_USAGE;
    settings = load(cli, true);
    settings_unref(settings);
    return settings != NULL ? CLI_OK : CLI_FAILED;
}

int
run_config_show(struct cli *cli)
{
    bool effective = cli_flag(cli, "--effective");
    struct settings *settings;
    struct buf text = {0};

    if (!cli_operands(cli, 0, 1))
        return CLI_USAGE;
    settings = load(cli, false);
    if (settings == NULL)
        return CLI_FAILED;
    settings_print(settings, effective, &text);
    print(&text);
    settings_unref(settings);
    return CLI_OK;
}

int
run_config_manual(struct cli *cli)
{
    struct buf text = {0};

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    settings_manual(&text);
    print(&text);
    return CLI_OK;
}

int
run_config_default(struct cli *cli)
{
    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    fputs(settings_default_yaml, stdout);
    return CLI_OK;
}
