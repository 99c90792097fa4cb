/* cli/cli.h - one run of the command line.
 *
 * Commands are rows of the table in commands.c; help and docs/commands.md are
 * printed from it.  A command takes its options out of the arguments with the
 * functions here, in any order, and what is left must be its operands. Errors
 * are one line on standard error; the exit status is 0, 1 (failed) or 2 (used
 * wrongly). */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include "base/err.h"
#include "base/sv.h"
#include <jansson.h>

#define CLI_DEFAULT_CONFIG "/etc/waxgate/waxgate.yaml"
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli {
    const struct cli_command *command;
    const char *config;    /* --config, WAXGATE_CONFIG or the default */
    const char *state_dir; /* --state-dir, or NULL: ask the configuration */
    int argc;              /* arguments that are left */
    char **argv;
};

struct cli_command {
    const char *name;      /* "queue list" */
    const char *arguments; /* "[--json] ID…" */
    const char *summary;   /* a sentence */
    const char *details;   /* Markdown, or NULL */
    int (*run)(struct cli *cli);
    bool raw; /* gets all arguments as they are; argv[0] is its name */
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;

/* Takes the option out; true when it was there. */
bool cli_flag(struct cli *cli, const char *name);
/* "--name VALUE" or "--name=VALUE"; NULL when it is not there. The last of
 * several counts. Without a value: "" and complaint at cli_operands(). */
const char *cli_value(struct cli *cli, const char *name);
/* True when so many operands and no unknown option are left; else the usage has
 * been printed: return CLI_USAGE. */
MUST_USE bool cli_operands(struct cli *cli, int min, int max);
int cli_misuse(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
int cli_fail(const struct err *err);

/* The state directory of the gateway meant; false: an error was printed. */
MUST_USE bool cli_state_dir(const struct cli *cli, char **path);
/* One call to the running gateway; false: an error was printed.  params is
 * stolen and may be NULL. */
MUST_USE bool cli_call(const struct cli *cli, const char *method,
                       json_t *params,
                       void (*on_item)(void *arg, const json_t *item),
                       void *arg, json_t **result);
void cli_print_json(const json_t *value); /* one line */

/* --- the commands -------------------------------------------------------- */
int run_gateway(struct cli *cli);
int run_reload(struct cli *cli);
int run_stop(struct cli *cli);
int run_status(struct cli *cli);
int run_alerts(struct cli *cli);
int run_config_check(struct cli *cli);
int run_config_show(struct cli *cli);
int run_config_manual(struct cli *cli);
int run_config_default(struct cli *cli);
int run_import(struct cli *cli);
int run_lint(struct cli *cli);
int run_queue_list(struct cli *cli);
int run_queue_show(struct cli *cli);
int run_queue_retry(struct cli *cli);
int run_queue_deed(struct cli *cli);
int run_queue_stats(struct cli *cli);
int run_queue_destinations(struct cli *cli);
int run_cert_list(struct cli *cli);
int run_cert_show(struct cli *cli);
int run_cert_create_self_signed(struct cli *cli);
int run_cert_create_csr(struct cli *cli);
int run_cert_import(struct cli *cli);
int run_cert_export(struct cli *cli);
int run_tls_ciphers(struct cli *cli);
int run_dns(struct cli *cli);
int run_dane(struct cli *cli);
int run_dane(struct cli *cli);
int run_dane_verify(struct cli *cli);
int run_route(struct cli *cli);
int run_explain(struct cli *cli);
int run_tls_check(struct cli *cli);
int run_tlsrpt_show(struct cli *cli);
int run_tlsrpt_list(struct cli *cli);
int run_tlsrpt_send(struct cli *cli);
int run_tlsrpt_parse_record(struct cli *cli);
int run_dkim_keygen(struct cli *cli);
int run_dkim_record(struct cli *cli);
int run_hat_test(struct cli *cli);
int run_listener_show(struct cli *cli);
int run_sts_list(struct cli *cli);
int run_sts_show(struct cli *cli);
int run_sts_refresh(struct cli *cli);
int run_sts_forget(struct cli *cli);
int run_sts_pin(struct cli *cli);
int run_sts_parse_record(struct cli *cli);
int run_sts_parse_policy(struct cli *cli);
int run_sts_match(struct cli *cli);
int run_spool_verify(struct cli *cli);
int run_spool_dump(struct cli *cli);
int run_version(struct cli *cli);
int run_help(struct cli *cli);
int run_sink(struct cli *cli);
#endif
