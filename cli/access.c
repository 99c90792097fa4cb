/* hat test, listener show: what the configuration makes of a client.  Nothing
 * here needs a running gateway. */
#include "cli.h"

#include "access/hat.h"
#include "base/buf.h"
#include "settings/settings.h"

static struct settings *
load(const struct cli *cli)
{
    const struct settings_options options = {.check_files = false};
    struct settings *settings;
    struct err err;

    settings = settings_load_file(cli->config, &options, &err);
    if (settings == NULL)
        cli_fail(&err);
    return settings;
}

static const struct listener_settings *
find_listener(const struct settings *settings, const char *name)
{
    struct err err;

    for (size_t i = 0; i < settings->listener_count; i++)
        if (strcmp(settings->listeners[i].name, name) == 0)
            return &settings->listeners[i];
    err_set(&err, "there is no listener %s", name);
    cli_fail(&err);
    return NULL;
}

/* hat test ---------------------------------------------------------------- */

static void
print_passed(const struct hat *hat, uint64_t passed)
{
    size_t row;

    while (hat_next_passed(hat, &passed, &row))
        printf("noted:   %.*s continues\n", SV_ARG(hat_group(hat, row)));
}

/* Only a running gateway asks DNS; rows before the one that matched may need
 * it. */
static void
print_unknown(const struct hat *hat, const struct hat_client *client)
{
    struct hat_need need = hat_need(hat, client);

    if (need.name && client->name.n == 0)
        printf("unknown: the client's name may decide; give it with --name\n");
    for (size_t i = 0; i < hat_zone_count(hat); i++)
        if (need.zones & UINT64_C(1) << i)
            printf("unknown: DNS list %.*s may decide\n",
                   SV_ARG(hat_zone(hat, i)));
}

static void
test_client(const struct settings *settings,
            const struct listener_settings *listener,
            const struct hat_client *client)
{
    const struct hat *hat = listener->hat_table;
    const struct mail_flow_policy *policy;
    struct hat_match match;
    struct buf text = {0};

    hat_match(hat, client, &match);
    policy = &listener->policies[match.policy];
    printf("group:   %.*s\n", SV_ARG(hat_group(hat, match.row)));
    printf("matched: %.*s\n", SV_ARG(hat_why(hat, match.row, client)));
    printf("policy:  %s\n", policy->name);
    print_passed(hat, match.passed);
    print_unknown(hat, client);
    settings_policy_print(settings, policy, &text);
    printf("\n%s", buf_cstr(&text));
    buf_fini(&text);
}

int
run_hat_test(struct cli *cli)
{
    const char *name = cli_value(cli, "--name");
    const struct listener_settings *listener;
    struct net_address address;
    struct settings *settings;
    struct hat_client client = {.address = &address,
                                .name = sv_of(name != NULL ? name : "")};

    if (!cli_operands(cli, 2, 2))
        return CLI_USAGE;
    if (!net_address_parse(sv_of(cli->argv[1]), 0, &address))
        return cli_misuse(cli, "%s is not an IP address", cli->argv[1]);
    settings = load(cli);
    if (settings == NULL)
        return CLI_FAILED;
    listener = find_listener(settings, cli->argv[0]);
    if (listener != NULL)
        test_client(settings, listener, &client);
    settings_unref(settings);
    return listener != NULL ? CLI_OK : CLI_FAILED;
}

/* listener show ----------------------------------------------------------- */

static const char *
tls_title(enum receive_tls tls)
{
    static const char *const titles[] = {[RECEIVE_TLS_NO] = "No",
                                         [RECEIVE_TLS_PREFERRED] = "Preferred",
                                         [RECEIVE_TLS_REQUIRED] = "Required"};

    return titles[tls];
}

/* Of the last row, which is for everybody. */
static const struct mail_flow_policy *
default_policy(const struct listener_settings *listener)
{
    size_t rows = hat_row_count(listener->hat_table);

    return &listener->policies[hat_policy(listener->hat_table, rows - 1)];
}

static void
print_certificates(const struct listener_settings *listener)
{
    printf("Certificates:");
    for (size_t i = 0; i < listener->certificate_count; i++)
        printf("%s %s", i > 0 ? "," : "", listener->certificates[i]->name);
    printf("%s\n", listener->certificate_count == 0 ? " none" : "");
}

static void
print_rows(const struct listener_settings *listener)
{
    const struct hat *hat = listener->hat_table;

    printf("Host access table:\n");
    for (size_t i = 0; i < hat_row_count(hat); i++) {
        const struct mail_flow_policy *policy =
            &listener->policies[hat_policy(hat, i)];

        printf("  %-20.*s %s (%s, TLS %s)\n", SV_ARG(hat_group(hat, i)),
               policy->name, settings_behavior_name(policy->behavior),
               settings_receive_tls_name(policy->tls));
    }
}

static void
show_listener(const struct listener_settings *listener)
{
    char ip[NET_ADDRESS_TEXT];

    printf("Name: %s\n", listener->name);
    printf("Type: %s\n",
           listener->type == LISTENER_PUBLIC ? "Public" : "Private");
    printf("Interface: %s TCP Port %u\n",
           net_address_ip_text(&listener->address, ip),
           net_address_port(&listener->address));
    printf("Protocol: %s\n", listener->implicit_tls ? "SMTP over TLS" : "SMTP");
    printf("Default Domain: %s\n", listener->default_domain);
    printf("Max Concurrency: %u (TCP Queue: %u)\n", listener->max_connections,
           listener->backlog);
    printf("Domain map: %s\n",
           listener->domain_map_count > 0 ? "enabled" : "disabled");
    printf("TLS: %s\n", tls_title(default_policy(listener)->tls));
    printf("TLS profile: %s\n", listener->tls_profile->name);
    print_certificates(listener);
    print_rows(listener);
}

int
run_listener_show(struct cli *cli)
{
    const struct listener_settings *one = NULL;
    struct settings *settings;
    bool ok = true;

    if (!cli_operands(cli, 0, 1))
        return CLI_USAGE;
    settings = load(cli);
    if (settings == NULL)
        return CLI_FAILED;
    if (cli->argc > 0) {
        one = find_listener(settings, cli->argv[0]);
        ok = one != NULL;
    }
    for (size_t i = 0; ok && i < settings->listener_count; i++) {
        if (one != NULL && one != &settings->listeners[i])
            continue;
        if (one == NULL && i > 0)
            putchar('\n');
        show_listener(&settings->listeners[i]);
    }
    settings_unref(settings);
    return ok ? CLI_OK : CLI_FAILED;
}
