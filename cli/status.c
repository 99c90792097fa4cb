/* status and alerts. */
#include "cli.h"

#include "text_table.h"
#include <inttypes.h>
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

static void
print_processes(json_t *processes)
{
    static const struct text_column columns[] = {{"PROCESS", false},
                                                 {"STATE", false},
                                                 {"PID", true},
                                                 {"SINCE", false},
                                                 {"RESTARTS", true}};
    struct text_table table;
    const json_t *row;
    size_t i;

    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(processes, i, row)
    {
        char pid[TEXT_SIZE], restarts[TEXT_SIZE], since[TEXT_SIZE];
        const char *cells[] = {text(row, "name"), text(row, "state"), pid,
                               since, restarts};

        snprintf(pid, sizeof pid, "%" PRId64, number(row, "pid"));
        snprintf(restarts, sizeof restarts, "%" PRId64,
                 number(row, "restarts"));
        text_of_seconds((int64_t)time(NULL) - number(row, "since"), since);
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

static void
print_alerts(json_t *alerts)
{
    static const struct text_column columns[] = {
        {"SINCE", true}, {"SOURCE", false}, {"ALERT", false}, {"TEXT", false}};
    struct text_table table;
    const json_t *row;
    size_t i;

    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(alerts, i, row)
    {
        char since[TEXT_SIZE];
        const char *cells[] = {since, text(row, "source"), text(row, "key"),
                               text(row, "text")};

        text_of_seconds((int64_t)time(NULL) - number(row, "since"), since);
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

static void
print_certificates(json_t *certificates)
{
    static const struct text_column columns[] = {{"CERTIFICATE", false},
                                                 {"STATE", false},
                                                 {"UNTIL", false},
                                                 {"DAYS", true},
                                                 {"USED-BY", false}};
    struct text_table table;
    const json_t *row;
    size_t i;

    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(certificates, i, row)
    {
        char days[TEXT_SIZE];
        bool refused = json_object_get(row, "error") != NULL;
        const char *cells[] = {
            text(row, "name"), refused ? "refused" : text(row, "state"),
            text(row, "not_after"), days, text(row, "used_by")};

        snprintf(days, sizeof days, "%" PRId64, number(row, "days_left"));
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

static void
print_listeners(json_t *listeners)
{
    static const struct text_column columns[] = {
        {"LISTENER", false},   {"ADDRESS", false},  {"OPEN", true},
        {"CONNECTIONS", true}, {"THROTTLED", true}, {"ACCEPTED", true},
        {"REFUSED", true},     {"TLS-OK", true},    {"TLS-FAILED", true}};
    static const char *const keys[] = {"open",      "connections", "throttled",
                                       "accepted",  "refused",     "tls_ok",
                                       "tls_failed"};
    struct text_table table;
    const json_t *row;
    size_t i;

    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(listeners, i, row)
    {
        char numbers[COUNT_OF(keys)][TEXT_SIZE];
        const char *cells[COUNT_OF(columns)] = {text(row, "name"),
                                                text(row, "address")};

        for (size_t k = 0; k < COUNT_OF(keys); k++) {
            snprintf(numbers[k], TEXT_SIZE, "%" PRId64, number(row, keys[k]));
            cells[2 + k] = numbers[k];
        }
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

/* "receiver  sessions=3 accepted=17": every number and text of one level, as
 * the process named them. */
static void
print_facts(const char *name, json_t *object)
{
    const char *key;
    json_t *value;

    printf("%-9s", name);
    json_object_foreach(object, key, value)
    {
        if (json_is_integer(value))
            printf(" %s=%" JSON_INTEGER_FORMAT, key, json_integer_value(value));
        else if (json_is_string(value))
            printf(" %s=\"%s\"", key, json_string_value(value));
        else if (json_is_boolean(value))
            printf(" %s=%s", key, json_is_true(value) ? "yes" : "no");
    }
    putchar('\n');
}

static void
print_status(json_t *status)
{
    json_t *alerts = json_object_get(status, "alerts");
    char up[TEXT_SIZE];

    printf("waxgate %s on %s, up %s\n", text(status, "version"),
           text(status, "hostname"),
           text_of_seconds(number(status, "uptime"), up));
    printf("configuration %s, revision %" PRId64 "\n\n", text(status, "config"),
           number(status, "revision"));
    print_processes(json_object_get(status, "processes"));
    putchar('\n');
    print_listeners(
        json_object_get(json_object_get(status, "receiver"), "listeners"));
    if (json_array_size(json_object_get(status, "certificates")) > 0) {
        putchar('\n');
        print_certificates(json_object_get(status, "certificates"));
    }
    putchar('\n');
    print_facts("receiver", json_object_get(status, "receiver"));
    print_facts("queue", json_object_get(status, "queue"));
    print_facts("dns", json_object_get(status, "dns"));
    print_facts("spool", json_object_get(status, "spool"));
    if (json_array_size(alerts) > 0) {
        putchar('\n');
        print_alerts(alerts);
    }
}

static int
show(struct cli *cli, const char *method, void (*print)(json_t *value))
{
    bool json = cli_flag(cli, "--json");
    json_t *result;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (!cli_call(cli, method, NULL, NULL, NULL, &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        print(result);
    json_decref(result);
    return CLI_OK;
}

int
run_status(struct cli *cli)
{
    return show(cli, "status", print_status);
}

int
run_alerts(struct cli *cli)
{
    return show(cli, "alerts", print_alerts);
}
