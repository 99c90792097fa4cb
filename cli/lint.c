/* lint: what a configuration that works would better not do. */
#include "cli.h"

#include "base/buf.h"
#include "settings/lint.h"

#include <time.h>

static void
print_text(const struct lint *lint, const char *file)
{
    for (size_t i = 0; i < lint->count; i++) {
        const struct lint_finding *finding = &lint->findings[i];

        printf("%s:", file);
        if (finding->line > 0)
            printf("%u:", finding->line);
        printf(" %s: %s [%s]\n    why: %s\n    better: %s\n", finding->path,
               finding->what, lint_name(finding->code), lint_why(finding->code),
               lint_better(finding->code));
    }
}

static void
print_json(const struct lint *lint, const char *file)
{
    json_t *all = json_array();

    for (size_t i = 0; i < lint->count; i++) {
        const struct lint_finding *finding = &lint->findings[i];

        json_array_append_new(
            all, json_pack("{ss ss si ss ss ss ss}", "code",
                           lint_name(finding->code), "file", file, "line",
                           (int)finding->line, "path", finding->path, "what",
                           finding->what, "why", lint_why(finding->code),
                           "better", lint_better(finding->code)));
    }
    cli_print_json(all);
    json_decref(all);
}

int
run_lint(struct cli *cli)
{
    const struct settings_options options = {.check_files = false};
    const struct lint_options what = {.files = true,
                                      .now = (int64_t)time(NULL)};
    bool json = cli_flag(cli, "--json");
    struct settings *settings;
    const char *file;
    struct lint lint;
    struct err err;
    int status;

    if (!cli_operands(cli, 0, 1))
        return CLI_USAGE;
    file = cli->argc > 0 ? cli->argv[0] : cli->config;
    settings = settings_load_file(file, &options, &err);
    if (settings == NULL)
        return cli_fail(&err);
    settings_lint(settings, &what, &lint);
    if (json)
        print_json(&lint, file);
    else
        print_text(&lint, file);
    status = lint.count > 0 ? CLI_FAILED : CLI_OK;
    lint_fini(&lint);
    settings_unref(settings);
    return status;
}
