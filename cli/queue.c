/* queue …: calls of the sender, shown as tables or as it gave them. */
#include "cli.h"

#include "text_table.h"
#include <inttypes.h>
#include <limits.h>
#include <time.h>

static int64_t
number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *
text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL ? value : "";
}

/* "queue retry" calls "queue.retry". */
static void
method_of(const struct cli *cli, char *method, size_t size)
{
    snprintf(method, size, "%s", cli->command->name);
    for (char *c = method; *c != '\0'; c++)
        if (*c == ' ')
            *c = '.';
}

static void
on_json_item(void *arg, const json_t *item)
{
    (void)arg;
    cli_print_json(item);
}

/* Items as JSON lines, and the result when it says something. */
static int
call_json(struct cli *cli, json_t *params)
{
    char method[64];
    json_t *result;

    method_of(cli, method, sizeof method);
    if (!cli_call(cli, method, params, on_json_item, NULL, &result))
        return CLI_FAILED;
    if (json_is_object(result) && json_object_size(result) > 0)
        cli_print_json(result);
    json_decref(result);
    return CLI_OK;
}

static int
call_table(struct cli *cli, json_t *params, const struct text_column *columns,
           size_t count, void (*on_item)(void *arg, const json_t *item),
           json_t **result)
{
    struct text_table table;
    char method[64];
    bool ok;

    method_of(cli, method, sizeof method);
    text_table_init(&table, columns, count);
    ok = cli_call(cli, method, params, on_item, &table, result);
    text_table_fini(&table);
    return ok ? CLI_OK : CLI_FAILED;
}

static const struct text_column list_columns[] = {
    {"QUEUE-ID", false}, {"AGE", true},           {"SIZE", true},
    {"FROM", false},     {"TO", false},           {"STATE", false},
    {"NEXT", true},      {"LAST ATTEMPT", false},
};

/* What is known of one recipient of a message. */
static void
list_recipient(struct text_table *table, const json_t *message,
               const json_t *recipient)
{
    char age[TEXT_SIZE], size[TEXT_SIZE], next[TEXT_SIZE] = "-";
    int64_t now = (int64_t)time(NULL), due = number(recipient, "next");
    const char *from = text(message, "from");
    const char *cells[] = {
        text(message, "id"),
        text_of_seconds(now - number(message, "arrived"), age),
        text_of_bytes((uint64_t)number(message, "size"), size),
        from[0] != '\0' ? from : "<>",
        text(recipient, "address"),
        text(recipient, "state"),
        next,
        text(recipient, "reason"),
    };

    if (due > 0)
        text_of_seconds(due - now, next);
    text_table_row(table, cells);
}

static void
on_list_item(void *table, const json_t *message)
{
    const json_t *recipient;
    size_t i;

    json_array_foreach(json_object_get(message, "recipients"), i, recipient)
        list_recipient(table, message, recipient);
}

int
run_queue_list(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    const char *limit = cli_value(cli, "--limit");
    const char *domain = cli_value(cli, "--domain");
    const char *from = cli_value(cli, "--from");
    json_t *params = json_object(), *result;
    uint32_t most;
    int status;

    if (limit != NULL && !sv_to_u32(sv_of(limit), &most)) {
        json_decref(params);
        return cli_misuse(cli, "--limit: \"%s\" is not a number", limit);
    }
    if (!cli_operands(cli, 0, 0)) {
        json_decref(params);
        return CLI_USAGE;
    }
    if (limit != NULL)
        json_object_set_new(params, "limit", json_integer(most));
    if (domain != NULL)
        json_object_set_new(params, "domain", json_string(domain));
    if (from != NULL)
        json_object_set_new(params, "from", json_string(from));
    if (json)
        return call_json(cli, params);
    status = call_table(cli, params, list_columns, COUNT_OF(list_columns),
                        on_list_item, &result);
    json_decref(result);
    return status;
}

static void
print_members(const json_t *object, int indent)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char *plain;

        if (json_is_array(value) || json_is_object(value))
            continue;
        printf("%*s%-14s ", indent, "", key);
        if (json_is_string(value)) {
            puts(json_string_value(value));
            continue;
        }
        plain = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        puts(plain != NULL ? plain : "");
        free(plain);
    }
}

static void
print_message(const json_t *message)
{
    const json_t *recipient;
    size_t i;

    print_members(message, 0);
    json_array_foreach(json_object_get(message, "recipients"), i, recipient)
    {
        puts("recipient");
        print_members(recipient, 2);
    }
}

int
run_queue_show(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    json_t *result;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    if (!cli_call(cli, "queue.show", json_pack("{s:s}", "id", cli->argv[0]),
                  NULL, NULL, &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        print_message(result);
    json_decref(result);
    return CLI_OK;
}

static json_t *
ids_of(struct cli *cli, bool all)
{
    json_t *params = json_object(), *ids = json_array();

    if (all) {
        json_object_set_new(params, "all", json_true());
        json_decref(ids);
        return params;
    }
    for (int i = 0; i < cli->argc; i++)
        json_array_append_new(ids, json_string(cli->argv[i]));
    json_object_set_new(params, "ids", ids);
    return params;
}

int
run_queue_action(struct cli *cli)
{
    bool all = cli_flag(cli, "--all");
    char method[64];
    json_t *result;

    if (!cli_operands(cli, all ? 0 : 1, all ? 0 : INT_MAX))
        return CLI_USAGE;
    method_of(cli, method, sizeof method);
    if (!cli_call(cli, method, ids_of(cli, all), NULL, NULL, &result))
        return CLI_FAILED;
    printf("%" PRId64 " messages\n", number(result, "messages"));
    json_decref(result);
    return CLI_OK;
}

int
run_queue_stats(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    json_t *result;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (!cli_call(cli, "queue.stats", NULL, NULL, NULL, &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        print_members(result, 0);
    json_decref(result);
    return CLI_OK;
}

static const struct text_column destination_columns[] = {
    {"DESTINATION", false}, {"SESSIONS", true}, {"READY", true},
    {"ACTIVE", true},       {"WAITING", true},  {"LAST FAILURE", false},
};

static void
on_destination(void *table, const json_t *row)
{
    char sessions[TEXT_SIZE], ready[TEXT_SIZE], active[TEXT_SIZE],
        waiting[TEXT_SIZE];
    const char *cells[] = {
        text(row, "destination"), sessions, ready, active, waiting,
        text(row, "reason")};

    snprintf(sessions, sizeof sessions, "%" PRId64, number(row, "sessions"));
    snprintf(ready, sizeof ready, "%" PRId64, number(row, "ready"));
    snprintf(active, sizeof active, "%" PRId64, number(row, "active"));
    snprintf(waiting, sizeof waiting, "%" PRId64, number(row, "waiting"));
    text_table_row(table, cells);
}

int
run_queue_destinations(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    json_t *result;
    int status;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (json)
        return call_json(cli, NULL);
    status = call_table(cli, NULL, destination_columns,
                        COUNT_OF(destination_columns), on_destination, &result);
    json_decref(result);
    return status;
}
