/* tls-check: what the servers of a domain give, by the way of delivery. */
#include "explain.h"

#include "text_table.h"
#include <inttypes.h>

enum { UNCHECKED = 3 };

static void
print_steps(const json_t *item)
{
    const json_t *step;
    size_t i;

    printf("  steps:");
    json_array_foreach(json_object_get(item, "steps"), i, step)
    {
        explain_say("%s %s %" PRId64 " ms", i > 0 ? "," : "",
                    explain_text(step, "step"), explain_number(step, "ms"));
    }
    explain_say("; together %" PRId64 " ms\n", explain_number(item, "ms"));
}

static void
print_certificate(const json_t *certificate, size_t number)
{
    char names[1000];

    explain_say("  certificate %zu: %s\n", number,
                explain_text(certificate, "subject"));
    explain_say("    issuer   %s%s\n", explain_text(certificate, "issuer"),
                explain_flag(certificate, "self_signed") ? " (self-signed)"
                                                         : "");
    if (json_array_size(json_object_get(certificate, "names")) > 0)
        explain_say("    names    %s\n",
                    explain_join(json_object_get(certificate, "names"), "",
                                 names, sizeof names));
    explain_say("    valid    %s to %s\n",
                explain_text(certificate, "not_before"),
                explain_text(certificate, "not_after"));
    explain_say("    key      %s, %" PRId64 " bits; signed with %s\n",
                explain_text(certificate, "key_type"),
                explain_number(certificate, "key_bits"),
                explain_text(certificate, "signature"));
    explain_say("    SHA-256  %s\n", explain_text(certificate, "sha256"));
    explain_say("    SPKI     %s\n", explain_text(certificate, "spki_sha256"));
}

static void
print_verdicts(const json_t *verdicts)
{
    const json_t *names = json_object_get(verdicts, "names"), *name;
    size_t i;

    if (strcmp(explain_text(verdicts, "dane"), "not used") == 0)
        explain_say("  chain: %s (%s)\n", explain_text(verdicts, "chain"),
                    explain_text(verdicts, "chain_text"));
    json_array_foreach(names, i, name)
    {
        explain_say("  name %s: %s\n", explain_text(name, "name"),
                    explain_flag(name, "matches") ? "matches"
                                                  : "does not match");
    }
    explain_say("  MTA-STS: %s; DANE: %s\n", explain_text(verdicts, "mta_sts"),
                explain_text(verdicts, "dane"));
}

static void
print_tls(const json_t *item)
{
    const json_t *tls = json_object_get(item, "tls"), *certificate;
    size_t i;

    if (tls == NULL)
        return;
    explain_say("  TLS: %s, %s, %" PRId64 " bits%s%s, SNI %s%s\n",
                explain_text(tls, "version"), explain_text(tls, "cipher"),
                explain_number(tls, "bits"),
                explain_text(tls, "group")[0] != '\0' ? ", group " : "",
                explain_text(tls, "group"),
                explain_text(tls, "server_name")[0] != '\0'
                    ? explain_text(tls, "server_name")
                    : "none",
                explain_flag(tls, "certificate_requested")
                    ? ", asks for a client certificate"
                    : "");
    json_array_foreach(json_object_get(item, "chain"), i, certificate)
    {
        print_certificate(certificate, i + 1);
    }
    print_verdicts(json_object_get(item, "verdicts"));
}

static void
print_advice(const json_t *advice)
{
    const json_t *row;
    size_t i;

    json_array_foreach(advice, i, row)
    {
        if (strcmp(explain_text(row, "where"), "server") == 0)
            explain_say("  to mend there: %s\n", explain_text(row, "text"));
        else if (explain_text(row, "change")[0] != '\0')
            explain_say("  to change here: %s\n    %s\n",
                        explain_text(row, "change"), explain_text(row, "text"));
        else
            explain_say("  here: %s\n", explain_text(row, "text"));
    }
}

static void
print_outcome(const json_t *item)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"verified", "mail would go, over TLS with a verified server"},
        {"encrypted", "mail would go, over TLS"},
        {"clear", "mail would go in clear text"},
        {"not-here", "mail would NOT go to this server"},
        {"unreached", "the server could not be asked"},
    };
    const json_t *failure = json_object_get(item, "failure");

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strcmp(rows[i].name, explain_text(item, "result")) == 0)
            explain_say("  => %s\n", rows[i].text);
    if (failure != NULL)
        explain_say("  %s: %s\n", explain_text(failure, "stage"),
                    explain_text(failure, "text"));
    print_advice(json_object_get(item, "advice"));
}

static void
print_item(void *arg, const json_t *item)
{
    const json_t *decision = json_object_get(item, "decision");
    char ehlo[1000];

    (void)arg;
    explain_say("%s [%s]:%" PRId64 " (preference %" PRId64 ")\n",
                explain_text(item, "host"), explain_text(item, "ip"),
                explain_number(item, "port"),
                explain_number(item, "preference"));
    if (json_is_true(json_object_get(decision, "usable")))
        explain_say("  wanted: %s, authentication %s (%s)\n",
                    explain_text(decision, "floor"),
                    explain_text(decision, "authentication"),
                    explain_text(decision, "reason"));
    if (json_array_size(json_object_get(item, "steps")) > 0)
        print_steps(item);
    if (json_array_size(json_object_get(item, "ehlo")) > 0)
        explain_say("  EHLO: %s\n", explain_join(json_object_get(item, "ehlo"),
                                                 "", ehlo, sizeof ehlo));
    print_tls(item);
    print_outcome(item);
    putchar('\n');
    fflush(stdout);
}

/* In the order of trying; they come as they are done. */
static void
gather_item(void *arg, const json_t *item)
{
    size_t at = json_array_size(arg);

    while (at > 0 && explain_number(json_array_get(arg, at - 1), "try") >
                         explain_number(item, "try"))
        at--;
    json_array_insert_new(arg, at, json_deep_copy(item));
}

static void
print_summary(const json_t *result, int status)
{
    static const char *const texts[] = {
        "all servers are fine",
        "mail gets through, but not with every server as it should",
        "mail does NOT get through",
        "it could not be found out whether mail gets through",
    };

    explain_print_sts(json_object_get(result, "mta_sts"));
    if (explain_text(result, "reason")[0] != '\0')
        explain_say("%s\n", explain_text(result, "reason"));
    explain_say("%s: %s\n", explain_text(result, "domain"),
                texts[status >= 0 && status <= UNCHECKED ? status : UNCHECKED]);
}

int
run_tls_check(struct cli *cli)
{
    bool json = cli_flag(cli, "--json");
    json_t *params = explain_params(cli), *items = json_array(), *result;
    int status;

    if (params == NULL) {
        json_decref(items);
        return CLI_USAGE;
    }
    if (!cli_call(cli, "tls.check", params, json ? gather_item : print_item,
                  items, &result)) {
        json_decref(items);
        return UNCHECKED;
    }
    status = (int)explain_number(result, "status");
    if (json) {
        json_object_set(result, "checks", items);
        cli_print_json(result);
    } else {
        print_summary(result, status);
    }
    json_decref(items);
    json_decref(result);
    return status;
}
