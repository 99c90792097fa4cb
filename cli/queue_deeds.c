/* queue retry, hold, release, delete: each message is a call of its own, so
 * that its answer means that the deed is on disk. */
#include "queue.h"

#include <inttypes.h>
#include <limits.h>

struct deeds {
    struct cli *cli;
    char method[64];
    json_t *more; /* parameters besides the id; owned */
    json_t *ids;  /* owned array */
    uint64_t done, failed;
};

static void
on_message(void *arg, const json_t *message)
{
    struct deeds *deeds = arg;

    json_array_append(deeds->ids, json_object_get(message, "id"));
}

/* The ids that the filters select. */
static bool
select_messages(struct deeds *deeds, json_t *filters)
{
    json_t *result;
    bool ok;

    json_object_set_new(filters, "limit", json_integer(0)); /* no limit */
    ok =
        cli_call(deeds->cli, "queue.list", filters, on_message, deeds, &result);
    json_decref(result);
    return ok;
}

static void
do_one(struct deeds *deeds, const char *id)
{
    json_t *params = json_copy(deeds->more), *result;

    json_object_set_new(params, "id", json_string(id));
    if (cli_call(deeds->cli, deeds->method, params, NULL, NULL, &result))
        deeds->done++;
    else
        deeds->failed++;
    json_decref(result);
}

static int
do_all(struct deeds *deeds)
{
    const json_t *id;
    size_t i;

    json_array_foreach(deeds->ids, i, id) do_one(deeds, json_string_value(id));
    printf("%" PRIu64 " message%s\n", deeds->done, deeds->done == 1 ? "" : "s");
    return deeds->failed == 0 ? CLI_OK : CLI_FAILED;
}

static bool
has_selection(const struct cli *cli, bool all, const json_t *filters)
{
    int ways = all + (json_object_size(filters) > 0) + (cli->argc > 0);

    if (ways == 1)
        return true;
    cli_misuse(cli, ways == 0 ? "say which messages"
                              : "ids, filters and --all exclude each other");
    return false;
}

static int
run_selected(struct deeds *deeds, json_t *filters)
{
    struct cli *cli = deeds->cli;

    for (int i = 0; i < cli->argc; i++)
        json_array_append_new(deeds->ids, json_string(cli->argv[i]));
    if (cli->argc == 0 && !select_messages(deeds, json_incref(filters)))
        return CLI_FAILED;
    return do_all(deeds);
}

int
run_queue_deed(struct cli *cli)
{
    struct deeds deeds = {
        .cli = cli, .more = json_object(), .ids = json_array()};
    bool all = cli_flag(cli, "--all");
    json_t *filters = queue_filters(cli);
    int status = CLI_USAGE;

    queue_method(cli, deeds.method, sizeof deeds.method);
    if (strcmp(deeds.method, "queue.delete") == 0 && cli_flag(cli, "--notify"))
        json_object_set_new(deeds.more, "notify", json_true());
    if (cli_operands(cli, 0, INT_MAX) && has_selection(cli, all, filters))
        status = run_selected(&deeds, filters);
    json_decref(filters);
    json_decref(deeds.ids);
    json_decref(deeds.more);
    return status;
}

/* Many at once is a call of its own: the sender also forgets what it has learnt
 * of failing destinations. */
static int
retry_many(struct cli *cli, json_t *params)
{
    json_t *result;

    if (!cli_call(cli, "queue.retry", params, NULL, NULL, &result))
        return CLI_FAILED;
    printf("%" JSON_INTEGER_FORMAT " recipients\n",
           json_integer_value(json_object_get(result, "recipients")));
    json_decref(result);
    return CLI_OK;
}

int
run_queue_retry(struct cli *cli)
{
    const char *destination = cli_value(cli, "--destination");
    bool all = cli_flag(cli, "--all");

    if (!all && destination == NULL)
        return run_queue_deed(cli);
    if (!cli_operands(cli, 0, 0))
        return CLI_USAGE;
    return retry_many(cli,
                      all ? json_pack("{s:b}", "all", 1)
                          : json_pack("{s:s}", "destination", destination));
}
