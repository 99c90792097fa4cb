/* queue …: calls of the sender, shown as tables or as it gave them. */
#include "queue.h"

#include "text_table.h"
#include <inttypes.h>

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

void
queue_method(const struct cli *cli, char *method, size_t size)
{
    snprintf(method, size, "%s", cli->command->name);
    for (char *c = method; *c != '\0'; c++)
        if (*c == ' ')
            *c = '.';
}

json_t *
queue_filters(struct cli *cli)
{
    static const struct {
        const char *option, *key;
    } filters[] = {{"--sender", "sender"},
                   {"--recipient", "recipient"},
                   {"--destination", "destination"},
                   {"--state", "state"}};
    json_t *params = json_object();

    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        const char *value = cli_value(cli, filters[i].option);

        if (value != NULL)
            json_object_set_new(params, filters[i].key, json_string(value));
    }
    return params;
}

/* A JSON array, an element a line, printed as the elements come. */
struct json_list {
    size_t count;
};

static void
on_json_item(void *arg, const json_t *item)
{
    struct json_list *list = arg;

    puts(list->count++ == 0 ? "[" : ",");
    json_dumpf(item, stdout, JSON_COMPACT);
}

static int
call_json(struct cli *cli, json_t *params)
{
    struct json_list list = {0};
    char method[64];
    json_t *result;

    queue_method(cli, method, sizeof method);
    if (!cli_call(cli, method, params, on_json_item, &list, &result))
        return CLI_FAILED;
    puts(list.count == 0 ? "[]" : "\n]");
    json_decref(result);
    return CLI_OK;
}

static int
call_table(struct cli *cli, json_t *params, const struct text_column *columns,
           size_t count, void (*on_item)(void *arg, const json_t *item))
{
    struct text_table table;
    char method[64];
    json_t *result;
    bool ok;

    queue_method(cli, method, sizeof method);
    text_table_init(&table, columns, count);
    ok = cli_call(cli, method, params, on_item, &table, &result);
    text_table_fini(&table);
    json_decref(result);
    return ok ? CLI_OK : CLI_FAILED;
}

/* Why it did not work the last time, as one text: "starttls-refused: 454 4.7.0
 * TLS not available (mx.example.org)". */
static const char *
reason_text(const json_t *failure, char *room, size_t size)
{
    const char *why = text(failure, "reason"), *said = text(failure, "text");
    const char *host = text(failure, "host"), *stage = text(failure, "stage");
    struct sv rest = sv_of(why);
    char code[TEXT_SIZE] = "";

    if (sv_take_prefix(&rest, sv_of(stage)))
        stage = ""; /* the reason names it */
    if (host[0] != '\0' && strstr(why, host) != NULL)
        host = ""; /* a sentence that names it */
    if (strcmp(said, why) == 0)
        said = ""; /* nobody said it: it is ours */
    else if (number(failure, "code") != 0)
        snprintf(code, sizeof code, "%" PRId64 " ", number(failure, "code"));
    snprintf(room, size, "%s%s%s%s%s%s%s%s%s", stage, stage[0] ? ": " : "", why,
             why[0] && said[0] ? ": " : "", code, said, host[0] ? " (" : "",
             host, host[0] ? ")" : "");
    return room;
}

static const struct text_column list_columns[] = {
    {"QUEUE-ID", false}, {"AGE", true},  {"SIZE", true},
    {"FROM", false},     {"TO", false},  {"STATE", false},
    {"TRIES", true},     {"NEXT", true}, {"LAST ATTEMPT", false},
};

static void
list_recipient(struct text_table *table, const json_t *message,
               const json_t *to)
{
    char age[TEXT_SIZE], size[TEXT_SIZE], tries[TEXT_SIZE], next[TEXT_SIZE];
    char reason[1024];
    const char *sender = text(message, "sender");
    const char *cells[] = {
        text(message, "id"),
        text_of_age(text(message, "arrived"), age),
        text_of_bytes((uint64_t)number(message, "size"), size),
        sender[0] != '\0' ? sender : "<>",
        text(to, "address"),
        text(to, "state"),
        tries,
        text_of_wait(text(to, "next_attempt"), next),
        reason_text(json_object_get(to, "last_attempt"), reason, sizeof reason),
    };

    snprintf(tries, sizeof tries, "%" PRId64, number(to, "attempts"));
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
    json_t *params = queue_filters(cli);
    uint32_t most = 0; /* all */

    if (limit != NULL && !sv_to_u32(sv_of(limit), &most)) {
        json_decref(params);
        return cli_misuse(cli, "--limit: \"%s\" is not a number", limit);
    }
    if (!cli_operands(cli, 0, 0)) {
        json_decref(params);
        return CLI_USAGE;
    }
    json_object_set_new(params, "limit", json_integer(most));
    if (json)
        return call_json(cli, params);
    return call_table(cli, params, list_columns, COUNT_OF(list_columns),
                      on_list_item);
}

static void
print_value(const json_t *value)
{
    char *plain;

    if (json_is_string(value)) {
        plain = text_printable(json_string_value(value));
        puts(plain);
        mem_free(plain);
    } else {
        plain = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        puts(plain);
        free(plain);
    }
}

/* Every value on a line of its own, what is inside further to the right. */
static void
print_members(json_t *object, int indent)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        if (json_is_array(value) || json_is_null(value))
            continue;
        if (json_is_object(value)) {
            printf("%*s%s\n", indent, "", key);
            print_members(value, indent + 2);
        } else {
            printf("%*s%-*s ", indent, "", 22 - indent, key);
            print_value(value);
        }
    }
}

static void
print_message(json_t *message)
{
    json_t *recipient;
    size_t i;

    print_members(message, 0);
    json_array_foreach(json_object_get(message, "recipients"), i, recipient)
    {
        puts("recipient");
        print_members(recipient, 2);
    }
}

static int
show(struct cli *cli, const char *method, json_t *params, bool json,
     void (*print)(json_t *value))
{
    json_t *result;

    if (!cli_call(cli, method, params, NULL, NULL, &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        print(result);
    json_decref(result);
    return CLI_OK;
}

int
run_queue_show(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    return show(cli, "queue.show", json_pack("{s:s}", "id", cli->argv[0]), json,
                print_message);
}

static void
print_stats(json_t *stats)
{
    print_members(stats, 0);
}

int
run_queue_stats(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    return show(cli, "queue.stats", NULL, json, print_stats);
}

static const struct text_column destination_columns[] = {
    {"DESTINATION", false}, {"SESSIONS", true}, {"READY", true},
    {"ACTIVE", true},       {"WAITING", true},  {"HELD", true},
    {"FAILURES", true},     {"TLS", true},      {"TLS SINCE", false},
    {"TLS LAST", false},    {"NEXT", true},     {"LAST FAILURE", false},
};

static void
on_destination(void *table, const json_t *row)
{
    static const char *const keys[] = {"sessions", "ready", "active",
                                       "waiting",  "held",  "failures"};
    const json_t *trouble = json_object_get(row, "tls_failures");
    char tls[TEXT_SIZE];
    char numbers[COUNT_OF(keys)][TEXT_SIZE], next[TEXT_SIZE], reason[1024];
    const char *cells[COUNT_OF(destination_columns)];
    size_t n = 0;

    cells[n++] = text(row, "destination");
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        snprintf(numbers[i], TEXT_SIZE, "%" PRId64, number(row, keys[i]));
        cells[n++] = numbers[i];
    }
    snprintf(tls, sizeof tls, "%" PRId64, number(trouble, "count"));
    cells[n++] = tls;
    cells[n++] = trouble != NULL ? text(trouble, "first") : "";
    cells[n++] = trouble != NULL ? text(trouble, "last") : "";
    cells[n++] = text_of_wait(text(row, "next_try"), next);
    cells[n++] = reason_text(json_object_get(row, "last_failure"), reason,
                             sizeof reason);
    text_table_row(table, cells);
}

int
run_queue_destinations(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (json)
        return call_json(cli, NULL);
    return call_table(cli, NULL, destination_columns,
                      COUNT_OF(destination_columns), on_destination);
}
