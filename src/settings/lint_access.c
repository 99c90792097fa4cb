/* Listeners: who gets in, on which conditions, and rows of the tables that do
 * nothing. */
#include "access/hat.h"
#include "access/rat.h"
#include "settings/lint_internal.h"

struct of_listener {
    const struct linter *l;
    const struct listener_settings *listener;
};

/* What a client gets that no row names. */
static void
lint_everybody(const struct linter *l, const struct listener_settings *listener)
{
    const struct net_address nobody = {0};
    const struct hat_client client = {.address = &nobody};
    const struct lint_place place = {&listener_table, listener, "tls"};
    const struct mail_flow_policy *policy;
    struct hat_match match;

    if (listener->type != LISTENER_PUBLIC || listener->implicit_tls)
        return;
    hat_match(listener->hat_table, &client, &match);
    if (match.row == HAT_NONE)
        return;
    policy = &listener->policies[match.policy];
    if (policy->behavior == BEHAVIOR_ACCEPT &&
        policy->tls == RECEIVE_TLS_REQUIRED)
        lint_add(l, LINT_TLS_REQUIRED_OF_ALL, &place,
                 "TLS is required of everybody (policy %s) on a public "
                 "listener",
                 policy->name);
}

/* Rows that flow.c adds are nobody's mistake: relay_for in front, whoever is
 * left over behind. */
static void
on_hat_finding(const struct hat_finding *finding, void *arg)
{
    const struct of_listener *of = arg;
    const struct listener_settings *listener = of->listener;
    size_t before = listener->relay_for_count > 0;
    size_t row = finding->row - before;
    struct lint_place place = {&hat_entry_table, NULL, NULL};
    struct sv group, by = {0};

    if (finding->row == HAT_NONE || finding->row < before ||
        row >= listener->hat_count)
        return;
    place.object = &listener->hat[row];
    group = hat_group(listener->hat_table, finding->row);
    if (finding->kind == HAT_LINT_DEAD_ROW ||
        finding->kind == HAT_LINT_DEAD_SENDER)
        by = hat_group(listener->hat_table, finding->by);
    if (finding->kind == HAT_LINT_EMPTY_ROW)
        lint_add(of->l, LINT_HAT_DEAD, &place,
                 "group %.*s has neither senders nor DNS lists", SV_ARG(group));
    else if (finding->kind == HAT_LINT_DEAD_ROW)
        lint_add(of->l, LINT_HAT_DEAD, &place,
                 "group %.*s never matches: %.*s comes before it",
                 SV_ARG(group), SV_ARG(by));
    else if (finding->kind == HAT_LINT_DEAD_SENDER)
        lint_add(of->l, LINT_HAT_DEAD, &place,
                 "%.*s of group %.*s never matches: %.*s comes before it",
                 SV_ARG(finding->sender), SV_ARG(group), SV_ARG(by));
}

static void
on_rat_finding(const struct rat_finding *finding, void *arg)
{
    const struct of_listener *of = arg;
    const struct listener_settings *listener = of->listener;
    bool written = finding->row >= listener->domain_count;
    struct sv pattern = rat_pattern(listener->rat_table, finding->row);
    struct lint_place place = {&listener_table, listener, "domains"};

    if (written)
        place = (struct lint_place){
            &rat_entry_table,
            &listener->rat[finding->row - listener->domain_count], NULL};
    if (finding->kind == RAT_LINT_OPEN && listener->type == LISTENER_PUBLIC)
        lint_add(of->l, LINT_RAT_OPEN, &place,
                 "a public listener accepts mail for ALL");
    else if (finding->kind == RAT_LINT_ANY_DOMAIN &&
             listener->type == LISTENER_PUBLIC)
        lint_add(of->l, LINT_RAT_OPEN, &place,
                 "%.*s is accepted in every domain of the world",
                 SV_ARG(pattern));
    else if (finding->kind == RAT_LINT_NO_EFFECT && finding->by != RAT_NONE)
        lint_add(of->l, LINT_RAT_NO_EFFECT, &place,
                 "%.*s has no effect: %.*s says the same", SV_ARG(pattern),
                 SV_ARG(rat_pattern(listener->rat_table, finding->by)));
}

void
lint_access(const struct linter *l)
{
    for (size_t i = 0; i < l->settings->listener_count; i++) {
        const struct listener_settings *listener = &l->settings->listeners[i];
        struct of_listener of = {l, listener};

        lint_everybody(l, listener);
        hat_lint(listener->hat_table, on_hat_finding, &of);
        rat_lint(listener->rat_table, on_rat_finding, &of);
    }
}
