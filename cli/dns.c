/* dns: one look-up, as the sender makes it. */
#include "cli.h"

#include "text_table.h"

static const char *
text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL ? value : "";
}

/* Names and records are a stranger's; they must not move the cursor. */
static void
print_row(const char *what, const char *value)
{
    char *clean = text_printable(value);

    printf("  %-8s %s\n", what, clean);
    mem_free(clean);
}

/* What to think of it, in words. */
static void
print_state(const json_t *answer)
{
    const char *state = text(answer, "state");
    const char *more = "";

    if (strcmp(state, "absent") == 0)
        more = json_is_true(json_object_get(answer, "nxdomain"))
                   ? ": the name does not exist"
                   : ": the name has no such record";
    printf("%s %s: %s%s%s\n", text(answer, "name"), text(answer, "type"), state,
           more,
           strcmp(state, "absent") != 0 ? ""
           : json_is_true(json_object_get(answer, "secure_denial"))
               ? " (proven by DNSSEC)"
               : " (not proven)");
}

static void
print_aliases(const json_t *aliases)
{
    const json_t *alias;
    size_t i;

    json_array_foreach(aliases, i, alias)
    {
        char row[600];

        snprintf(row, sizeof row, "%s -> %s, %s", text(alias, "name"),
                 text(alias, "target"), text(alias, "state"));
        print_row("alias", row);
    }
}

static void
print_answer(const json_t *answer)
{
    const json_t *records = json_object_get(answer, "records"), *record;
    size_t i;

    print_state(answer);
    if (text(answer, "reason")[0] != '\0')
        print_row("reason", text(answer, "reason"));
    print_aliases(json_object_get(answer, "aliases"));
    json_array_foreach(records, i, record)
        print_row("record", json_string_value(record));
    if (json_array_size(records) > 0)
        printf("  %-8s %" JSON_INTEGER_FORMAT " s\n", "ttl",
               json_integer_value(json_object_get(answer, "ttl")));
    printf("  %-8s %.1f ms\n", "time",
           json_real_value(json_object_get(answer, "ms")));
}

int
run_dns(struct cli *cli)
{
    bool json = cli_flag(cli, "--json"), answered;
    json_t *result;

    if (!cli_operands(cli, 2, 2))
        return CLI_USAGE;
    if (!cli_call(
            cli, "dns.lookup",
            json_pack("{s:s, s:s}", "name", cli->argv[0], "type", cli->argv[1]),
            NULL, NULL, &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        print_answer(result);
    answered = strcmp(text(result, "state"), "bogus") != 0 &&
               strcmp(text(result, "state"), "error") != 0;
    json_decref(result);
    return answered ? CLI_OK : CLI_FAILED;
}
