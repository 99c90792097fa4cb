/* explain: what would happen to mail for an address, and why. */
#include "explain.h"

#include "text_table.h"
#include <inttypes.h>

json_t *
explain_params(struct cli *cli)
{
    const char *demands = cli_value(cli, "--demand");

    if (!cli_operands(cli, 1, 1))
        return NULL;
    return json_pack("{s:s,s:s}", "address", cli->argv[0], "demands",
                     demands != NULL ? demands : "");
}

/* --- Settings ------------------------------------------------------------- */

static void
print_control(const json_t *control)
{
    static const struct text_column columns[] = {
        {"SETTING", false}, {"VALUE", false}, {"FROM", false}};
    struct text_table table;
    const json_t *row;
    size_t i;

    explain_say("\ndestinations.%s applies\n", explain_text(control, "entry"));
    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(json_object_get(control, "values"), i, row)
    {
        const char *cells[] = {explain_text(row, "name"),
                               explain_text(row, "value"),
                               explain_text(row, "from")};

        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

/* --- MTA-STS -------------------------------------------------------------- */

void
explain_print_sts(const json_t *sts)
{
    const char *reason = explain_text(sts, "reason");
    char patterns[600], age[TEXT_SIZE];

    if (explain_text(sts, "mode")[0] == '\0') {
        explain_say("MTA-STS: %s%s%s\n", explain_text(sts, "state"),
                    reason[0] != '\0' ? ": " : "", reason);
        return;
    }
    explain_say("MTA-STS: %s, id %s, ", explain_text(sts, "mode"),
                explain_text(sts, "id"));
    if (strcmp(explain_text(sts, "source"), "cache") == 0)
        explain_say("from the cache, fetched %s ago",
                    text_of_seconds(explain_number(sts, "age_s"), age));
    else
        explain_say("fetched now");
    explain_say(", in force until %s\n", explain_text(sts, "until"));
    explain_say("  mx: %s\n", explain_join(json_object_get(sts, "mx"), "none",
                                           patterns, sizeof patterns));
    if (reason[0] != '\0')
        explain_say("  %s\n", reason);
}

/* --- One server ----------------------------------------------------------- */

static void
print_dane(const json_t *dane)
{
    const char *reason = explain_text(dane, "reason");
    const json_t *record;
    size_t i;

    explain_say("  DANE: %s", explain_text(dane, "state"));
    if (explain_text(dane, "base")[0] != '\0')
        explain_say(", base domain %s", explain_text(dane, "base"));
    explain_say("%s%s\n", reason[0] != '\0' ? ": " : "", reason);
    json_array_foreach(json_object_get(dane, "records"), i, record)
    {
        explain_say("    %s  %s\n", explain_text(record, "tlsa"),
                    explain_flag(record, "usable")
                        ? "usable"
                        : explain_text(record, "problem"));
    }
}

static void
print_decision(const json_t *decision)
{
    const json_t *why;
    char names[600];
    size_t i;

    if (!explain_flag(decision, "usable")) {
        explain_say("  decision: no mail to this server now: %s\n",
                    explain_text(json_object_get(decision, "refusal"), "text"));
    } else {
        explain_say("  decision: %s%s%s, authentication %s%s%s (%s)\n",
                    explain_text(decision, "floor"),
                    explain_flag(decision, "tls12") ? ", TLS 1.2 or later" : "",
                    explain_flag(decision, "requiretls") ? ", REQUIRETLS" : "",
                    explain_text(decision, "authentication"),
                    strcmp(explain_text(decision, "authentication"), "none")
                        ? " by "
                        : "",
                    strcmp(explain_text(decision, "authentication"), "none")
                        ? explain_text(decision, "method")
                        : "",
                    explain_text(decision, "authority"));
        explain_say("  names that would do: %s\n",
                    explain_join(json_object_get(decision, "names"),
                                 "not asked for", names, sizeof names));
    }
    json_array_foreach(json_object_get(decision, "whys"), i, why)
    {
        explain_say("  %s %s\n", i == 0 ? "because:" : "        ",
                    explain_text(why, "text"));
    }
}

static const char *
consequence_text(const json_t *host, const json_t *failure, char *room,
                 size_t size)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"clear", "delivered in clear text"},
        {"clear-next", "waits; the next attempt is in clear text"},
        {"encrypted", "delivered over TLS all the same"},
    };
    const char *what = explain_text(failure, "consequence");
    const char *next = explain_text(host, "next");

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strcmp(rows[i].name, what) == 0)
            return rows[i].text;
    if (next[0] == '\0')
        return "not delivered here: waits for the next attempt";
    snprintf(room, size, "not delivered here: %s is tried", next);
    return room;
}

static void
print_failures(const json_t *host)
{
    static const struct text_column columns[] = {{"  IF", false},
                                                 {"THE MESSAGE IS", false}};
    const json_t *failures = json_object_get(host, "failures"), *failure;
    struct text_table table;
    size_t i;

    if (json_array_size(failures) == 0)
        return;
    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(failures, i, failure)
    {
        char condition[300], room[400];
        const char *cells[] = {
            condition, consequence_text(host, failure, room, sizeof room)};

        snprintf(condition, sizeof condition, "  %s",
                 explain_text(failure, "text"));
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

static void
print_host(const json_t *host)
{
    char addresses[600];

    explain_say("\n%s (preference %" PRId64 ", port %" PRId64 ", %s)\n",
                explain_text(host, "host"), explain_number(host, "preference"),
                explain_number(host, "port"),
                explain_join(json_object_get(host, "addresses"), "no address",
                             addresses, sizeof addresses));
    explain_say("  DNSSEC: MX %s, addresses %s\n",
                explain_text(host, "mx_state"),
                explain_text(host, "address_state"));
    print_dane(json_object_get(host, "dane"));
    print_decision(json_object_get(host, "decision"));
    print_failures(host);
}

static void
print_queue(const json_t *queue)
{
    char first[TEXT_SIZE], longest[TEXT_SIZE], limit[TEXT_SIZE];

    explain_say(
        "\nWhat waits is tried again after %s, with longer and longer "
        "pauses up to %s;\nit is %s after %s or %" PRId64
        " attempts (bounce profile %s).\n",
        text_of_seconds(explain_number(queue, "first_retry_s"), first),
        text_of_seconds(explain_number(queue, "max_retry_s"), longest),
        explain_flag(queue, "returned")
            ? "returned to its sender"
            : "given up, and nobody is told because its sender is empty,",
        text_of_seconds(explain_number(queue, "max_time_in_queue_s"), limit),
        explain_number(queue, "max_retries"),
        explain_text(queue, "bounce_profile"));
}

static void
print_answer(const json_t *answer)
{
    const json_t *host;
    size_t i;

    explain_print_route(answer);
    if (explain_text(answer, "demands")[0] != '\0')
        explain_say("\nthe message demands: %s\n",
                    explain_text(answer, "demands"));
    print_control(json_object_get(answer, "control"));
    putchar('\n');
    explain_print_sts(json_object_get(answer, "mta_sts"));
    json_array_foreach(json_object_get(answer, "hosts"), i, host)
    {
        print_host(host);
    }
    print_queue(json_object_get(answer, "queue"));
}

int
run_explain(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    const char *sender = cli_value(cli, "--sender");
    json_t *params = explain_params(cli), *result;

    if (params == NULL)
        return CLI_USAGE;
    if (sender != NULL)
        json_object_set_new(params, "sender", json_string(sender));
    if (!cli_call(cli, "explain", params, NULL, NULL, &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        print_answer(result);
    json_decref(result);
    return CLI_OK;
}
