/* Host and recipient tables that contradict themselves or make an open relay.
 * What merely never matches is for lint. */
#include "access/hat.h"
#include "access/rat.h"
#include "settings/tables.h"

struct flow_check {
    const struct listener_settings *listener;
    const struct conf_doc *doc;
    struct err *err;
};

#define REFUSE_ROW(c, entry, name, ...)                                        \
    conf_refuse((c)->doc, &hat_entry_table, (entry), (name), (c)->err,         \
                __VA_ARGS__)
#define REFUSE_LISTENER(c, name, ...)                                          \
    conf_refuse((c)->doc, &listener_table, (c)->listener, (name), (c)->err,    \
                __VA_ARGS__)

static bool
has_sender_all(const struct hat_entry_settings *entry)
{
    for (size_t i = 0; i < entry->sender_count; i++)
        if (sv_is_nocase(sv_of(entry->senders[i]), "ALL"))
            return true;
    return entry->sender_count == 0 && entry->dns_list_count == 0 &&
           strcmp(entry->group, "ALL") == 0;
}

static bool
settles_all(const struct hat_entry_settings *entry)
{
    return has_sender_all(entry) &&
           entry->policy->behavior != BEHAVIOR_CONTINUE;
}

static bool
is_wide(const struct hat_entry_settings *entry)
{
    for (size_t i = 0; i < entry->sender_count; i++)
        if (hat_sender_is_wide(sv_of(entry->senders[i])))
            return true;
    return has_sender_all(entry);
}

static bool
check_row(const struct flow_check *c, const struct hat_entry_settings *entry)
{
    if (entry->sender_count == 0 && entry->dns_list_count == 0 &&
        !has_sender_all(entry))
        return REFUSE_ROW(c, entry, NULL,
                          "matches nobody; set `senders` or `dns_lists`");
    if (c->listener->type == LISTENER_PUBLIC &&
        entry->policy->behavior == BEHAVIOR_RELAY && is_wide(entry))
        return REFUSE_ROW(c, entry, "policy",
                          "%s relays, and the row is for so many hosts that a "
                          "public listener is an open relay: anybody could "
                          "send mail to anybody through it; list your own "
                          "hosts",
                          entry->policy->name);
    return true;
}

static bool
check_rows(const struct flow_check *c)
{
    const struct listener_settings *listener = c->listener;

    for (size_t i = 0; i < listener->hat_count; i++) {
        const struct hat_entry_settings *entry = &listener->hat[i];

        if (!check_row(c, entry))
            return false;
        if (settles_all(entry) && i + 1 < listener->hat_count)
            return REFUSE_ROW(c, &listener->hat[i + 1], NULL,
                              "can never match: the row before it is for ALL");
    }
    return true;
}

static bool
check_rest(const struct flow_check *c)
{
    const struct listener_settings *listener = c->listener;
    const struct mail_flow_policy *policy = listener->default_policy;
    bool total = listener->hat_count > 0 &&
                 settles_all(&listener->hat[listener->hat_count - 1]);

    if (listener->hat_count > 0 && !total &&
        !conf_given(c->doc, &listener_table, listener, "default_policy"))
        return REFUSE_LISTENER(c, "hat",
                               "the last row must be for ALL; add {group: ALL, "
                               "policy: ...} or set `default_policy`");
    if (policy == NULL || total)
        return true;
    if (policy->behavior == BEHAVIOR_CONTINUE)
        return REFUSE_LISTENER(c, "default_policy",
                               "%s continues, and nothing comes after it",
                               policy->name);
    if (policy->behavior == BEHAVIOR_RELAY && listener->type == LISTENER_PUBLIC)
        return REFUSE_LISTENER(c, "default_policy",
                               "%s relays: for everybody that is an open relay",
                               policy->name);
    return true;
}

/* Where a policy is named: its row, or the listener. */
static bool
refuse_policy(const struct flow_check *c, const struct mail_flow_policy *policy,
              const char *what)
{
    const struct listener_settings *listener = c->listener;

    for (size_t i = 0; i < listener->hat_count; i++)
        if (strcmp(listener->hat[i].policy->name, policy->name) == 0)
            return REFUSE_ROW(c, &listener->hat[i], "policy", "%s: %s",
                              policy->name, what);
    return REFUSE_LISTENER(c, NULL, "mail flow policy %s: %s", policy->name,
                           what);
}

static bool
receives(const struct mail_flow_policy *policy)
{
    return policy->behavior == BEHAVIOR_ACCEPT ||
           policy->behavior == BEHAVIOR_RELAY;
}

static bool
check_policy(const struct flow_check *c, const struct mail_flow_policy *policy)
{
    bool bare = c->listener->certificate_count == 0;

    if (!receives(policy))
        return true;
    if (bare && policy->tls != RECEIVE_TLS_NO)
        return refuse_policy(c, policy,
                             "TLS needs a certificate; set `certificates` of "
                             "the listener, or `tls: no`");
    if (c->listener->implicit_tls && policy->tls == RECEIVE_TLS_NO)
        return refuse_policy(c, policy,
                             "`tls: no` contradicts the address, which begins "
                             "with tls://");
    if (policy->verify_client && policy->tls == RECEIVE_TLS_NO)
        return refuse_policy(c, policy,
                             "verify_client needs TLS, and there is none");
    if (policy->tls_required_for_count > 0 && policy->tls == RECEIVE_TLS_NO)
        return refuse_policy(c, policy,
                             "tls_required_for needs TLS, and there is none");
    if (!policy->client_system_authorities && policy->verify_client &&
        policy->client_authority_count == 0)
        return refuse_policy(c, policy,
                             "verify_client can believe nobody; set "
                             "`client_authorities`");
    return true;
}

static bool
check_policies(const struct flow_check *c)
{
    for (size_t i = 0; i < c->listener->policy_count; i++)
        if (!check_policy(c, &c->listener->policies[i]))
            return false;
    return true;
}

static bool
check_recipients(const struct flow_check *c)
{
    const struct listener_settings *listener = c->listener;

    for (size_t i = 0; i < listener->rat_count; i++)
        if (listener->type == LISTENER_PUBLIC &&
            listener->rat[i].action == RAT_ACCEPT &&
            sv_is_nocase(sv_of(listener->rat[i].pattern), "ALL"))
            return conf_refuse(c->doc, &rat_entry_table, &listener->rat[i],
                               NULL, c->err,
                               "accepting mail for everybody makes a public "
                               "listener an open relay; list your domains");
    return true;
}

/* Somebody must be able to send something. */
static bool
check_use(const struct flow_check *c)
{
    const struct listener_settings *listener = c->listener;

    for (size_t i = 0; i < listener->policy_count; i++)
        if (listener->policies[i].behavior == BEHAVIOR_RELAY)
            return true;
    if (listener->domain_count > 0)
        return true;
    for (size_t i = 0; i < listener->rat_count; i++)
        if (listener->rat[i].action == RAT_ACCEPT)
            return true;
    if (listener->hat_count > 0)
        return REFUSE_LISTENER(c, "hat",
                               "the listener would accept no mail; set `rat`, "
                               "`domains`, or a policy with `behavior: relay`");
    return REFUSE_LISTENER(c, "domains",
                           "the listener would accept no mail; set `domains` "
                           "or `relay_for`");
}

bool
settings_check_flow(const struct listener_settings *listener,
                    const struct conf_doc *doc, struct err *err)
{
    const struct flow_check c = {listener, doc, err};

    return check_rows(&c) && check_rest(&c) && check_policies(&c) &&
           check_recipients(&c) && check_use(&c);
}
