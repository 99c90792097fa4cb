/* route: which servers mail for a domain goes to, and why. */
#include "explain.h"

#include "base/buf.h"
#include "text_table.h"
#include <inttypes.h>

const char *
explain_text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL ? value : "";
}

int64_t
explain_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool
explain_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

const char *
explain_join(const json_t *list, const char *fallback, char *room, size_t size)
{
    const json_t *item;
    size_t i, n = 0;

    snprintf(room, size, "%s", json_array_size(list) > 0 ? "" : fallback);
    json_array_foreach(list, i, item)
    {
        n += (size_t)snprintf(room + n, size - n, "%s%s", i > 0 ? ", " : "",
                              json_string_value(item));
        if (n >= size)
            break;
    }
    return room;
}

void
explain_say(const char *fmt, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    /* Line feeds are ours: they stand in fmt, and no JSON text of the sender
     * holds one. */
    for (size_t i = text.start; i < text.end; i++)
        if ((unsigned char)text.p[i] < ' ' && text.p[i] != '\n')
            text.p[i] = '?';
    fputs(buf_cstr(&text), stdout);
    buf_fini(&text);
}

/* --- The rule ------------------------------------------------------------- */

static void
print_hops(const json_t *hops)
{
    const json_t *hop;
    size_t i;

    json_array_foreach(hops, i, hop)
    {
        explain_say("  %s port %" PRId64 ", priority %" PRId64
                    ", weight %" PRId64 "%s\n",
                    explain_text(hop, "host"), explain_number(hop, "port"),
                    explain_number(hop, "priority"),
                    explain_number(hop, "weight"),
                    explain_flag(hop, "mx") ? ", by its MX records" : "");
    }
}

static void
print_rule(const json_t *answer)
{
    const char *rule = explain_text(answer, "rule");
    const char *route = explain_text(answer, "route");

    explain_say("%s ", explain_text(answer, "domain"));
    if (strcmp(rule, "literal") == 0)
        explain_say("is an address literal\n");
    else if (strcmp(rule, "mx") != 0)
        explain_say("goes by routes.%s:\n", route);
    else if (route[0] != '\0')
        explain_say("goes by its MX records, as routes.%s says\n", route);
    else
        explain_say("goes by its MX records (no entry of routes applies)\n");
    print_hops(json_object_get(answer, "hops"));
    explain_say("ip_preference: %s (%s)\n",
                explain_text(answer, "ip_preference"),
                explain_text(answer, "ip_preference_from"));
}

/* --- Look-ups ------------------------------------------------------------- */

static void
lookup_text(const json_t *lookup, char *room, size_t size)
{
    const json_t *records = json_object_get(lookup, "records");
    const char *reason = explain_text(lookup, "reason");
    char answer[700];

    if (explain_flag(lookup, "nxdomain"))
        snprintf(answer, sizeof answer, "no such name");
    else
        explain_join(records,
                     strcmp(explain_text(lookup, "state"), "absent") ? reason
                                                                     : "none",
                     answer, sizeof answer);
    if (json_object_get(lookup, "secure_denial") != NULL)
        snprintf(room, size, "%s (%s)", answer,
                 explain_flag(lookup, "secure_denial") ? "proven"
                                                       : "not proven");
    else
        snprintf(room, size, "%s", answer);
}

static void
print_aliases(struct text_table *table, const json_t *lookup)
{
    const json_t *alias;
    size_t i;

    json_array_foreach(json_object_get(lookup, "aliases"), i, alias)
    {
        const char *cells[] = {explain_text(alias, "name"), "CNAME",
                               explain_text(alias, "state"),
                               explain_text(alias, "target")};

        text_table_row(table, cells);
    }
}

static void
print_lookups(const json_t *lookups)
{
    static const struct text_column columns[] = {{"LOOK-UP", false},
                                                 {"TYPE", false},
                                                 {"STATE", false},
                                                 {"ANSWER", false}};
    struct text_table table;
    const json_t *lookup;
    const char *before = ""; /* A and AAAA have the same aliases */
    size_t i;

    if (json_array_size(lookups) == 0)
        return;
    putchar('\n');
    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(lookups, i, lookup)
    {
        char answer[1000];
        const char *cells[] = {explain_text(lookup, "name"),
                               explain_text(lookup, "type"),
                               explain_text(lookup, "state"), answer};

        lookup_text(lookup, answer, sizeof answer);
        if (strcmp(before, cells[0]) != 0)
            print_aliases(&table, lookup);
        before = cells[0];
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

/* --- Servers -------------------------------------------------------------- */

static void
print_left_out(const json_t *answer)
{
    const json_t *server, *address, *name;
    size_t i, j;

    json_array_foreach(json_object_get(answer, "servers"), i, server)
    {
        if (explain_text(server, "removed")[0] != '\0')
            explain_say("not tried: %s (preference %" PRId64 "): %s\n",
                        explain_text(server, "host"),
                        explain_number(server, "preference"),
                        explain_text(server, "removed"));
        json_array_foreach(json_object_get(server, "addresses"), j, address)
        {
            if (explain_text(address, "removed")[0] != '\0')
                explain_say("not tried: %s of %s: %s\n",
                            explain_text(address, "ip"),
                            explain_text(server, "host"),
                            explain_text(address, "removed"));
        }
    }
    json_array_foreach(json_object_get(answer, "left_out"), i, name)
    {
        explain_say("not tried: %s: there are too many servers\n",
                    json_string_value(name));
    }
}

static void
print_targets(const json_t *targets)
{
    static const struct text_column columns[] = {
        {"TRY", true},  {"SERVER", false}, {"ADDRESS", false},  {"PORT", true},
        {"PREF", true}, {"MX", false},     {"ADDRESSES", false}};
    struct text_table table;
    const json_t *target;
    size_t i;

    if (json_array_size(targets) == 0)
        return;
    text_table_init(&table, columns, COUNT_OF(columns));
    json_array_foreach(targets, i, target)
    {
        char number[TEXT_SIZE], port[TEXT_SIZE], preference[TEXT_SIZE];
        const char *cells[] = {number,
                               explain_text(target, "host"),
                               explain_text(target, "ip"),
                               port,
                               preference,
                               explain_text(target, "mx_state"),
                               explain_text(target, "address_state")};

        snprintf(number, sizeof number, "%zu", i + 1);
        snprintf(port, sizeof port, "%" PRId64, explain_number(target, "port"));
        snprintf(preference, sizeof preference, "%" PRId64,
                 explain_number(target, "preference"));
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

void
explain_print_route(const json_t *answer)
{
    static const struct {
        const char *name, *text;
    } results[] = {{"temporary", "mail waits"},
                   {"no-server", "mail is returned"},
                   {"null-mx", "mail is returned"},
                   {"loop", "mail is returned"}};
    const char *result = explain_text(answer, "result");

    print_rule(answer);
    print_lookups(json_object_get(answer, "lookups"));
    putchar('\n');
    print_left_out(answer);
    print_targets(json_object_get(answer, "targets"));
    if (explain_flag(answer, "incomplete"))
        explain_say("there may be more servers: %s\n",
                    explain_text(answer, "reason"));
    for (size_t i = 0; i < COUNT_OF(results); i++)
        if (strcmp(results[i].name, result) == 0)
            explain_say("%s: %s\n", results[i].text,
                        explain_text(answer, "reason"));
}

int
run_route(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    json_t *result;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    if (!cli_call(cli, "route.show",
                  json_pack("{s:s}", "address", cli->argv[0]), NULL, NULL,
                  &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        explain_print_route(result);
    json_decref(result);
    return CLI_OK;
}
