/* sts …: the policies that the gateway keeps of other domains; and, without a
 * gateway, what it would make of a record, a policy and a name. */
#include "cli.h"

#include "mail/address.h"
#include "sts/sts.h"
#include "text_table.h"
#include <errno.h>
#include <inttypes.h>

/* --- Values ------------------------------------------------------------- */

static const char *
text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL ? value : "";
}

static int64_t
number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void
print_field(const char *name, const char *value)
{
    char *plain = text_printable(value);

    if (plain[0] != '\0')
        printf("%-14s %s\n", name, plain);
    mem_free(plain);
}

static void
print_time(const char *name, const char *date, bool ahead)
{
    char wait[TEXT_SIZE];

    if (date[0] != '\0')
        printf("%-14s %s (%s%s)\n", name, date,
               ahead ? text_of_wait(date, wait) : text_of_age(date, wait),
               ahead ? "" : " ago");
}

/* --- list --------------------------------------------------------------- */

static const struct text_column list_columns[] = {
    {"DOMAIN", false}, {"STATE", false},  {"MODE", false},
    {"ID", false},     {"FETCHED", true}, {"EXPIRES", true},
    {"PIN", false},    {"USED", true},    {"LAST FETCH", false},
};

static void
on_item(void *table, const json_t *item)
{
    const json_t *last = json_object_get(item, "last_fetch");
    bool pinned = json_is_true(json_object_get(item, "pinned"));
    char fetched[TEXT_SIZE], expires[TEXT_SIZE], used[TEXT_SIZE], how[300];
    const char *cells[] = {
        text(item, "domain"),
        text(item, "state"),
        text(item, "mode"),
        text(item, "id"),
        text_of_age(text(item, "fetched"), fetched),
        pinned ? "never" : text_of_wait(text(item, "expires"), expires),
        pinned ? "pinned" : "",
        text_of_age(text(item, "used"), used),
        how,
    };

    snprintf(how, sizeof how, "%s%s%s", text(last, "stage"),
             text(last, "reason")[0] != '\0' ? ": " : "", text(last, "reason"));
    text_table_row(table, cells);
}

struct json_list {
    size_t count;
};

/* An array, an element a line, as they come. */
static void
on_json_item(void *arg, const json_t *item)
{
    struct json_list *list = arg;

    puts(list->count++ == 0 ? "[" : ",");
    json_dumpf(item, stdout, JSON_COMPACT);
}

static int
list_json(struct cli *cli)
{
    struct json_list list = {0};
    json_t *result;

    if (!cli_call(cli, "sts.list", NULL, on_json_item, &list, &result))
        return CLI_FAILED;
    puts(list.count == 0 ? "[]" : "\n]");
    json_decref(result);
    return CLI_OK;
}

int
run_sts_list(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    struct text_table table;
    json_t *result;
    bool ok;

    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (json)
        return list_json(cli);
    text_table_init(&table, list_columns, COUNT_OF(list_columns));
    ok = cli_call(cli, "sts.list", NULL, on_item, &table, &result);
    text_table_fini(&table);
    json_decref(result);
    return ok ? CLI_OK : CLI_FAILED;
}

/* --- show, refresh, forget, pin ----------------------------------------- */

static const struct text_column fetch_columns[] = {
    {"FETCH", false},
    {"MS", true},
    {"ID", false},
    {"RESULT", false},
};

static void
print_fetches(const json_t *fetches)
{
    struct text_table table;
    const json_t *fetch;
    size_t i;

    text_table_init(&table, fetch_columns, COUNT_OF(fetch_columns));
    json_array_foreach(fetches, i, fetch)
    {
        char ms[TEXT_SIZE], how[300];
        const char *reason = text(fetch, "reason");
        const char *cells[] = {text(fetch, "time"), ms, text(fetch, "id"), how};

        snprintf(ms, sizeof ms, "%" PRId64, number(fetch, "ms"));
        snprintf(how, sizeof how, "%s%s%s", text(fetch, "stage"),
                 reason[0] != '\0' ? ": " : "", reason);
        text_table_row(&table, cells);
    }
    text_table_fini(&table);
}

static void
print_record(const json_t *record)
{
    char line[300];

    snprintf(line, sizeof line, "%s%s%s%s%s", text(record, "result"),
             text(record, "id")[0] != '\0' ? " id=" : "", text(record, "id"),
             text(record, "reason")[0] != '\0' ? ": " : "",
             text(record, "reason"));
    print_field("record", line);
}

static void
print_policy(const json_t *policy)
{
    const json_t *mx;
    size_t i;

    print_field("mode", text(policy, "mode"));
    json_array_foreach(json_object_get(policy, "mx"), i, mx)
        print_field("mx", json_string_value(mx));
    printf("%-14s %" PRId64 "\n", "max_age", number(policy, "max_age"));
    print_field("id", text(policy, "id"));
    print_time("fetched", text(policy, "fetched"), false);
    if (json_is_true(json_object_get(policy, "pinned")))
        print_field("expires", "never: it is pinned");
    else
        print_time("expires", text(policy, "expires"), true);
    print_time("next refresh", text(policy, "next_refresh"), true);
}

static void
print_domain(const json_t *domain)
{
    print_field("domain", text(domain, "domain"));
    print_field("state", text(domain, "state"));
    print_field("reason", text(domain, "reason"));
    if (json_object_get(domain, "mode") != NULL)
        print_policy(domain);
    print_time("used", text(domain, "used"), false);
    print_record(json_object_get(domain, "record"));
    if (json_array_size(json_object_get(domain, "fetches")) > 0)
        print_fetches(json_object_get(domain, "fetches"));
}

static json_t *
domain_params(const struct cli *cli)
{
    return json_pack("{s:s}", "domain", cli->argv[0]);
}

static bool
call_domain(const struct cli *cli, const char *method, json_t *params,
            bool json, json_t **result)
{
    if (!cli_call(cli, method, params, NULL, NULL, result))
        return false;
    if (json)
        cli_print_json(*result);
    else
        print_domain(*result);
    return true;
}

int
run_sts_show(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    json_t *result;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    if (!call_domain(cli, "sts.show", domain_params(cli), json, &result))
        return CLI_FAILED;
    json_decref(result);
    return CLI_OK;
}

int
run_sts_refresh(struct cli *cli)
{
    bool json = cli_flag(cli, "--json"), renewed;
    json_t *result;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    if (!call_domain(cli, "sts.refresh", domain_params(cli), json, &result))
        return CLI_FAILED;
    renewed = json_is_true(json_object_get(result, "renewed"));
    json_decref(result);
    return renewed ? CLI_OK : CLI_FAILED;
}

int
run_sts_forget(struct cli *cli)
{
    json_t *result;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    if (!cli_call(cli, "sts.forget", domain_params(cli), NULL, NULL, &result))
        return CLI_FAILED;
    json_decref(result);
    return CLI_OK;
}

int
run_sts_pin(struct cli *cli)
{
    bool off = cli_flag(cli, "--off"), json = cli_flag(cli, "--json");
    json_t *params, *result;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    params = domain_params(cli);
    json_object_set_new(params, "off", json_boolean(off));
    if (!call_domain(cli, "sts.pin", params, json, &result))
        return CLI_FAILED;
    json_decref(result);
    return CLI_OK;
}

/* --- Without a gateway -------------------------------------------------- */

static int
print_verdict(json_t *verdict, bool json, bool good)
{
    const char *key;
    json_t *value, *item;
    size_t i;

    if (json) {
        cli_print_json(verdict);
    } else {
        json_object_foreach(verdict, key, value)
        {
            if (json_is_string(value))
                print_field(key, json_string_value(value));
            else if (json_is_integer(value))
                printf("%-14s %" PRId64 "\n", key,
                       (int64_t)json_integer_value(value));
            json_array_foreach(value, i, item)
                print_field(key, json_string_value(item));
        }
    }
    json_decref(verdict);
    return good ? CLI_OK : CLI_FAILED;
}

int
run_sts_parse_record(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    struct sts_record record;
    enum sts_record_verdict verdict;
    struct sv *texts;

    if (!cli_operands(cli, 1, 1000))
        return CLI_USAGE;
    texts = mem_alloc_array((size_t)cli->argc, sizeof *texts);
    for (int i = 0; i < cli->argc; i++)
        texts[i] = sv_of(cli->argv[i]);
    verdict = sts_record_parse(texts, (size_t)cli->argc, &record);
    mem_free(texts);
    return print_verdict(json_pack("{s:s, s:s, s:s}", "verdict",
                                   sts_record_verdict_name(verdict), "id",
                                   record.id, "reason", record.reason),
                         json, verdict == STS_RECORD_OK);
}

/* One byte more than allowed is enough to know. */
static bool
read_policy(const char *path, struct buf *out, struct err *err)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t n;
    bool ok;

    if (file == NULL) {
        err_sys(err, "%s", path);
        return false;
    }
    n = fread(buf_reserve(out, STS_POLICY_BYTES + 1), 1, STS_POLICY_BYTES + 1,
              file);
    buf_grew(out, n);
    ok = !ferror(file);
    if (!ok)
        err_code(err, errno, "%s", path);
    if (file != stdin)
        fclose(file);
    return ok;
}

static json_t *
policy_json(const struct sts_policy *policy, const char *reason)
{
    json_t *mx = json_array();

    if (policy == NULL) {
        json_decref(mx);
        return json_pack("{s:s, s:s}", "verdict", "invalid", "reason", reason);
    }
    for (size_t i = 0; i < policy->pattern_count; i++)
        json_array_append_new(mx, json_string(policy->patterns[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:I}", "verdict", "ok", "reason",
                     reason, "mode", sts_mode_name(policy->mode), "mx", mx,
                     "max_age", (json_int_t)policy->max_age);
}

int
run_sts_parse_policy(struct cli *cli)
{
    bool json = cli_flag(cli, "--json"), good;
    struct sts_policy *policy;
    struct buf bytes = {0};
    char reason[160];
    struct err err;
    json_t *verdict;

    if (!cli_operands(cli, 1, 1))
        return CLI_USAGE;
    if (!read_policy(cli->argv[0], &bytes, &err)) {
        buf_fini(&bytes);
        return cli_fail(&err);
    }
    policy = sts_policy_parse(buf_view(&bytes), reason);
    buf_fini(&bytes);
    good = policy != NULL;
    verdict = policy_json(policy, reason);
    sts_policy_unref(policy);
    return print_verdict(verdict, json, good);
}

/* As a policy would have it, by way of one. */
static bool
canonical_pattern(const char *pattern, char *out, size_t size, char *reason)
{
    struct buf lines = {0};
    struct sts_policy *policy = NULL;

    buf_printf(&lines, "version: STSv1\nmode: enforce\nmax_age: 1\nmx: %s",
               pattern);
    if (strchr(pattern, '\n') == NULL)
        policy = sts_policy_parse(buf_view(&lines), reason);
    buf_fini(&lines);
    if (policy != NULL)
        snprintf(out, size, "%s", policy->patterns[0]);
    sts_policy_unref(policy);
    return policy != NULL;
}

int
run_sts_match(struct cli *cli)
{
    bool json = cli_flag(cli, "--json"), matches;
    char pattern[MAIL_DOMAIN_MAX + 3], host[MAIL_DOMAIN_MAX + 1];
    char unused[160];
    const char *reason;

    if (!cli_operands(cli, 2, 2))
        return CLI_USAGE;
    if (!canonical_pattern(cli->argv[0], pattern, sizeof pattern, unused))
        return cli_misuse(cli, "\"%s\" is not a pattern", cli->argv[0]);
    if (!mail_domain_canonical(sv_of(cli->argv[1]), host) || host[0] == '[')
        return cli_misuse(cli, "\"%s\" is not a host name", cli->argv[1]);
    matches = sts_pattern_matches(pattern, host);
    reason = matches ? ""
             : pattern[0] == '*'
                 ? "the star stands for exactly one label in front"
                 : "the names differ";
    return print_verdict(json_pack("{s:s, s:s, s:s, s:s}", "verdict",
                                   matches ? "match" : "no match", "pattern",
                                   pattern, "host", host, "reason", reason),
                         json, matches);
}
