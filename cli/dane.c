/* dane: the TLSA records of a domain's servers, and whether they match now. */
#include "explain.h"

#include <inttypes.h>

/* Which servers showed a chain that this record matches. */
static const char *
match_text(const json_t *servers, json_int_t record)
{
    size_t shown = 0, matched = 0, i, j;
    const json_t *server, *index;

    json_array_foreach(servers, i, server)
    {
        shown += explain_flag(server, "tls");
        json_array_foreach(json_object_get(server, "matches"), j, index)
            matched += json_integer_value(index) == record;
    }
    if (shown == 0)
        return "not tried";
    if (matched == 0)
        return "does not match now";
    return matched == shown ? "matches now" : "matches some addresses now";
}

static void
print_records(const json_t *dane, const json_t *servers)
{
    const json_t *record;
    size_t i;

    json_array_foreach(json_object_get(dane, "records"), i, record)
    {
        bool usable = explain_flag(record, "usable");

        explain_say("  TLSA %s\n       %s%s\n", explain_text(record, "tlsa"),
                    usable ? "" : "unusable: ",
                    usable ? match_text(servers, (json_int_t)i)
                           : explain_text(record, "problem"));
    }
}

static void
print_server(const json_t *server)
{
    const json_t *match = json_object_get(server, "match");
    const json_t *failure = json_object_get(server, "failure");
    const char *name = explain_text(match, "name");

    explain_say("  %s port %" PRId64 ": ", explain_text(server, "ip"),
                explain_number(server, "port"));
    if (match != NULL)
        explain_say(
            "matches TLSA %" PRId64 " %" PRId64 " %" PRId64
            " by certificate %" PRId64 " of its chain%s%s\n",
            explain_number(match, "usage"), explain_number(match, "selector"),
            explain_number(match, "matching"), explain_number(match, "depth"),
            name[0] != '\0' ? ", name " : "", name);
    else if (failure != NULL)
        explain_say("no TLS: %s: %s\n", explain_text(failure, "stage"),
                    explain_text(failure, "reason"));
    else
        explain_say("does not match: %s (it shows %s)\n",
                    explain_text(server, "reason"),
                    explain_text(server, "subject"));
}

static void
print_host(const json_t *host)
{
    const json_t *dane = json_object_get(host, "dane"), *server;
    const json_t *servers = json_object_get(host, "servers");
    const char *reason = explain_text(dane, "reason");
    size_t i;

    explain_say("\n%s, preference %" PRId64 ": %s%s%s\n",
                explain_text(host, "host"), explain_number(host, "preference"),
                explain_text(dane, "state"), reason[0] != '\0' ? ": " : "",
                reason);
    explain_say("  MX record %s, addresses %s\n",
                explain_flag(dane, "mx_secure")
                    ? "secure"
                    : explain_text(host, "mx_state"),
                explain_text(host, "address_state"));
    if (explain_text(dane, "base")[0] != '\0')
        explain_say("  TLSA base domain %s\n", explain_text(dane, "base"));
    print_records(dane, servers);
    json_array_foreach(servers, i, server) print_server(server);
}

static void
print_answer(const json_t *answer)
{
    const json_t *hosts = json_object_get(answer, "dane_hosts"), *host;
    const char *reason = explain_text(answer, "reason");
    size_t i;

    explain_say("%s: %s\n", explain_text(answer, "domain"),
                explain_flag(answer, "protected")
                    ? "DANE protects every server, and all match"
                    : "not every server is protected by DANE");
    if (reason[0] != '\0')
        explain_say("%s\n", reason);
    json_array_foreach(hosts, i, host) print_host(host);
}

int
run_dane(struct cli *cli)
{
    bool json = cli_flag(cli, "--json"), protected;
    json_t *params = explain_params(cli), *result;

    if (params == NULL)
        return CLI_USAGE;
    if (!cli_call(cli, "dane.show", params, NULL, NULL, &result))
        return CLI_FAILED;
    if (json)
        cli_print_json(result);
    else
        print_answer(result);
    protected = explain_flag(result, "protected");
    json_decref(result);
    return protected ? CLI_OK : CLI_FAILED;
}
