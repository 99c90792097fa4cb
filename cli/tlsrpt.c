/* tlsrpt …: reports to other domains about TLS (RFC 8460). */
#include "cli.h"

#include "base/clock.h"
#include "text_table.h"
#include "tlsrpt/record.h"
#include <inttypes.h>
#include <time.h>

static const char *
text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL ? value : "";
}

static json_int_t
number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* --- Parameters ----------------------------------------------------------- */

static void
set_today(json_t *params)
{
    time_t now = (time_t)clock_wall_s();
    struct tm tm;
    char date[16];

    if (gmtime_r(&now, &tm) != NULL &&
        strftime(date, sizeof date, "%Y-%m-%d", &tm) != 0)
        json_object_set_new(params, "date", json_string(date));
}

static json_t *
take_subject(struct cli *cli)
{
    json_t *params = json_object();
    const char *domain = cli_value(cli, "--domain");
    const char *date = cli_value(cli, "--date");

    if (domain != NULL)
        json_object_set_new(params, "domain", json_string(domain));
    if (date != NULL)
        json_object_set_new(params, "date", json_string(date));
    return params;
}

/* --- show ----------------------------------------------------------------- */

static void
print_report(const json_t *answer)
{
    json_dumpf(json_object_get(answer, "report"), stdout, JSON_INDENT(2));
    putchar('\n');
}

int
run_tlsrpt_show(struct cli *cli)
{
    json_t *params = take_subject(cli), *result;

    if (json_object_get(params, "domain") == NULL) {
        json_decref(params);
        return cli_misuse(cli, "--domain is missing");
    }
    if (json_object_get(params, "date") == NULL)
        set_today(params);
    if (!cli_operands(cli, 0, 0)) {
        json_decref(params);
        return CLI_USAGE;
    }
    if (!cli_call(cli, "tlsrpt.show", params, NULL, NULL, &result))
        return CLI_FAILED;
    print_report(result);
    json_decref(result);
    return CLI_OK;
}

/* --- list ----------------------------------------------------------------- */

static const struct text_column columns[] = {
    {"DATE", false},  {"DOMAIN", false}, {"OK", true},     {"FAILED", true},
    {"STATE", false}, {"NEXT", true},    {"WHERE", false},
};

/* "mailto:a@b accepted (queued as B…), …", or why there is nothing. */
static void
where_text(const json_t *item, char *room, size_t size)
{
    const json_t *targets = json_object_get(item, "targets"), *target;
    size_t i, length = 0;

    snprintf(room, size, "%s", text(item, "error"));
    json_array_foreach(targets, i, target)
    {
        const char *answer = text(target, "answer");
        int n = snprintf(room + length, size - length, "%s%s %s%s%s%s",
                         i == 0 ? "" : ", ", text(target, "uri"),
                         text(target, "state"), answer[0] ? " (" : "", answer,
                         answer[0] ? ")" : "");

        if (n < 0 || (size_t)n >= size - length)
            return;
        length += (size_t)n;
    }
}

static void
on_row(void *arg, const json_t *item)
{
    char succeeded[TEXT_SIZE], failed[TEXT_SIZE], next[TEXT_SIZE];
    char where[1024];
    const char *cells[] = {
        text(item, "date"),
        text(item, "domain"),
        succeeded,
        failed,
        text(item, "state"),
        text_of_wait(text(item, "next"), next),
        where,
    };

    snprintf(succeeded, sizeof succeeded, "%" JSON_INTEGER_FORMAT,
             number(item, "successful"));
    snprintf(failed, sizeof failed, "%" JSON_INTEGER_FORMAT,
             number(item, "failed"));
    where_text(item, where, sizeof where);
    text_table_row(arg, cells);
}

static void
on_json(void *arg, const json_t *item)
{
    size_t *count = arg;

    puts((*count)++ == 0 ? "[" : ",");
    json_dumpf(item, stdout, JSON_COMPACT);
}

static int
list_json(struct cli *cli, json_t *params)
{
    size_t count = 0;
    json_t *result;

    if (!cli_call(cli, "tlsrpt.list", params, on_json, &count, &result))
        return CLI_FAILED;
    puts(count == 0 ? "[]" : "\n]");
    json_decref(result);
    return CLI_OK;
}

int
run_tlsrpt_list(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    json_t *params = take_subject(cli), *result;
    struct text_table table;
    bool ok;

    if (!cli_operands(cli, 0, 0)) {
        json_decref(params);
        return CLI_USAGE;
    }
    if (json)
        return list_json(cli, params);
    text_table_init(&table, columns, COUNT_OF(columns));
    ok = cli_call(cli, "tlsrpt.list", params, on_row, &table, &result);
    text_table_fini(&table);
    if (ok)
        json_decref(result);
    return ok ? CLI_OK : CLI_FAILED;
}

/* --- send ----------------------------------------------------------------- */

static void
print_plan(const json_t *answer)
{
    const json_t *targets = json_object_get(answer, "targets"), *target;
    size_t i;

    print_report(answer);
    if (text(answer, "reason")[0] != '\0')
        fprintf(stderr, "It would go nowhere: %s.\n", text(answer, "reason"));
    json_array_foreach(targets, i, target)
        fprintf(stderr, "It would go to %s\n", json_string_value(target));
}

/* 0: it was accepted somewhere. */
static int
print_outcome(const json_t *item)
{
    const char *state = text(item, "state");
    char where[1024], *printable;

    where_text(item, where, sizeof where);
    printable = text_printable(where);
    printf("%s%s%s\n", state, printable[0] ? ": " : "", printable);
    mem_free(printable);
    return strcmp(state, "sent") == 0 ? CLI_OK : CLI_FAILED;
}

int
run_tlsrpt_send(struct cli *cli)
{
    bool dry = cli_flag(cli, "--dry-run");
    json_t *params = take_subject(cli), *result;
    int status = CLI_OK;

    if (json_object_get(params, "domain") == NULL ||
        json_object_get(params, "date") == NULL) {
        json_decref(params);
        return cli_misuse(cli, "--domain and --date are needed");
    }
    json_object_set_new(params, "dry_run", json_boolean(dry));
    if (!cli_operands(cli, 0, 0)) {
        json_decref(params);
        return CLI_USAGE;
    }
    if (!cli_call(cli, "tlsrpt.send", params, NULL, NULL, &result))
        return CLI_FAILED;
    if (dry)
        print_plan(result);
    else
        status = print_outcome(result);
    json_decref(result);
    return status;
}

/* --- parse-record --------------------------------------------------------- */

static void
print_record(const struct tlsrpt_record *record)
{
    puts("valid");
    for (size_t i = 0; i < record->target_count; i++)
        printf("%s %s\n",
               record->targets[i].scheme == TLSRPT_MAIL ? "mail" : "https",
               record->targets[i].address);
    if (record->ignored > 0)
        printf("ignored %zu\n", record->ignored);
}

static json_t *
record_json(const struct tlsrpt_record *record)
{
    json_t *targets = json_array();

    for (size_t i = 0; i < record->target_count; i++)
        json_array_append_new(targets,
                              json_pack("{s:s, s:s, s:s}", "scheme",
                                        record->targets[i].scheme == TLSRPT_MAIL
                                            ? "mailto"
                                            : "https",
                                        "uri", record->targets[i].uri,
                                        "address", record->targets[i].address));
    return json_pack("{s:b, s:o, s:I}", "valid", 1, "targets", targets,
                     "ignored", (json_int_t)record->ignored);
}

static void
print_verdict(bool json, bool valid, const struct tlsrpt_record *record,
              const struct err *err)
{
    json_t *verdict;

    if (!json && valid)
        print_record(record);
    else if (!json)
        printf("invalid: %s\n", err->text);
    else {
        verdict =
            valid ? record_json(record)
                  : json_pack("{s:b, s:s*}", "valid", 0, "reason", err->text);
        cli_print_json(verdict);
        json_decref(verdict);
    }
}

int
run_tlsrpt_parse_record(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    struct tlsrpt_record record;
    struct arena arena;
    struct err err = {0};
    bool valid;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    arena_init(&arena, 4096);
    valid = tlsrpt_record_parse(sv_of(cli->argv[0]), &arena, &record, &err);
    print_verdict(json, valid, &record, &err);
    arena_fini(&arena);
    return valid ? CLI_OK : CLI_FAILED;
}
