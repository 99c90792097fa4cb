/* The mail flow of a listener: its policies complete, its tables compiled.
 *
 * A value of a policy comes from the nearest of: the policy itself; the
 * listener, where it has a setting of the same name; the policy "default"; the
 * program. */
#include "access/hat.h"
#include "access/rat.h"
#include "base/buf.h"
#include "base/map.h"
#include "mail/address.h"
#include "settings/tables.h"

#define SHARED(member)                                                         \
    {                                                                          \
#member, offsetof(struct mail_flow_policy, member),                    \
            offsetof(struct listener_settings, member),                        \
            sizeof((struct mail_flow_policy *)0)->member                       \
    }
static const struct shared {
    const char *name;
    size_t policy, listener, size;
} shared_rows[] = {
    SHARED(tls),
    SHARED(tls_profile),
    SHARED(max_messages_per_connection),
    SHARED(max_recipients_per_message),
    SHARED(max_message_size),
    SHARED(max_connections_per_ip),
    SHARED(bare_newline),
};

struct maker {
    const struct settings *settings;
    struct listener_settings *listener;
    const struct conf_doc *doc;
    struct arena *arena;
    struct hat_row *rows; /* of the table being made */
    size_t row_count;
};

/* Policies ---------------------------------------------------------------- */

static size_t
row_of(const char *name)
{
    const struct conf_table *table = &mail_flow_policy_table;

    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->fields[i].name, name) == 0)
            return i;
    abort(); /* SHARED() names a row that is not there */
}

static void
take_from_listener(const struct maker *m, const struct mail_flow_policy *own,
                   struct mail_flow_policy *policy)
{
    const struct conf_table *table = &mail_flow_policy_table;
    bool is_default = own == m->settings->mail_flow_policies;

    for (size_t i = 0; i < COUNT_OF(shared_rows); i++) {
        const struct shared *row = &shared_rows[i];

        if ((!is_default && conf_given_here(m->doc, table, own, row->name)) ||
            !conf_given(m->doc, &listener_table, m->listener, row->name))
            continue;
        memcpy((char *)policy + row->policy,
               (const char *)m->listener + row->listener, row->size);
        policy->origins[row_of(row->name)] = ORIGIN_LISTENER;
    }
}

static void
note_origins(const struct maker *m, const struct mail_flow_policy *own,
             struct mail_flow_policy *policy)
{
    const struct conf_table *table = &mail_flow_policy_table;
    bool is_default = own == m->settings->mail_flow_policies;

    for (size_t i = 0; i < table->count; i++) {
        const char *name = table->fields[i].name;

        if (!is_default && conf_given_here(m->doc, table, own, name))
            policy->origins[i] = ORIGIN_POLICY;
        else if (conf_given(m->doc, table, own, name))
            policy->origins[i] = ORIGIN_DEFAULT;
        else
            policy->origins[i] = ORIGIN_BUILT_IN;
    }
}

/* What the address and the certificates leave of it. */
static void
settle_tls(const struct maker *m, struct mail_flow_policy *policy)
{
    const struct listener_settings *listener = m->listener;
    uint8_t *origin = &policy->origins[row_of("tls")];
    enum receive_tls wanted = policy->tls;

    if (*origin == ORIGIN_BUILT_IN)
        wanted = listener->tls;
    else if (wanted != RECEIVE_TLS_PREFERRED)
        return;
    else if (listener->certificate_count == 0)
        wanted = RECEIVE_TLS_NO;
    else if (listener->implicit_tls)
        wanted = RECEIVE_TLS_REQUIRED;
    if (wanted != policy->tls)
        *origin = ORIGIN_ADDRESS;
    policy->tls = wanted;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
complete(const struct maker *m, const struct mail_flow_policy *own,
         struct mail_flow_policy *policy)
{
    *policy = *own;
    note_origins(m, own, policy);
    take_from_listener(m, own, policy);
    settle_tls(m, policy);
    if (policy->tls_profile == NULL)
        policy->tls_profile = m->listener->tls_profile;
    if (policy->tls_profile == m->settings->tls_profiles)
        policy->tls_profile = m->settings->inbound_profile; /* of this node */
    if (policy->hostname[0] == '\0')
        policy->hostname = m->settings->hostname;
    /* settings_needs_tls() searches in halves; all copies share the array. */
    if (policy->tls_required_for_count > 1)
        qsort(policy->tls_required_for, policy->tls_required_for_count,
              sizeof policy->tls_required_for[0], compare_names);
}

/* The number of the completed form of a policy of the file. */
static uint32_t
number_of(struct maker *m, const struct mail_flow_policy *own)
{
    struct listener_settings *listener = m->listener;
    size_t i;

    for (i = 0; i < listener->policy_count; i++)
        if (strcmp(listener->policies[i].name, own->name) == 0)
            return (uint32_t)i;
    complete(m, own, &listener->policies[i]);
    listener->policy_count++;
    return (uint32_t)i;
}

/* relay_for has no policy of its own unless somebody wrote one. */
static uint32_t
relaying(struct maker *m)
{
    const struct settings *settings = m->settings;
    struct mail_flow_policy *policy;

    for (size_t i = 0; i < settings->mail_flow_policy_count; i++)
        if (strcmp(settings->mail_flow_policies[i].name, "RELAYED") == 0)
            return number_of(m, &settings->mail_flow_policies[i]);
    policy = &m->listener->policies[m->listener->policy_count];
    complete(m, &settings->mail_flow_policies[0], policy);
    policy->name = arena_cstr(m->arena, SV("RELAYED"));
    policy->behavior = BEHAVIOR_RELAY;
    policy->origins[row_of("behavior")] = ORIGIN_SHORT;
    return (uint32_t)m->listener->policy_count++;
}

/* The host access table --------------------------------------------------- */

static struct sv *
texts(const struct maker *m, char *const *list, size_t count)
{
    struct sv *out = arena_alloc(m->arena, count * sizeof *out);

    for (size_t i = 0; i < count; i++)
        out[i] = sv_of(list[i]);
    return out;
}

static struct sv
prefix_text(const struct maker *m, const struct net_prefix *prefix)
{
    struct net_address address = {0};
    char room[NET_ADDRESS_TEXT];

    address.sa.sa_family = prefix->family;
    if (prefix->family == AF_INET)
        memcpy(&address.in.sin_addr, prefix->bytes, 4);
    else
        memcpy(&address.in6.sin6_addr, prefix->bytes, 16);
    return arena_printf(m->arena, "%s/%u", net_address_ip_text(&address, room),
                        prefix->bits);
}

static void
add_relay_row(struct maker *m)
{
    const struct listener_settings *listener = m->listener;
    struct sv *senders =
        arena_alloc(m->arena, listener->relay_for_count * sizeof *senders);

    if (listener->relay_for_count == 0)
        return;
    for (size_t i = 0; i < listener->relay_for_count; i++)
        senders[i] = prefix_text(m, &listener->relay_for[i]);
    m->rows[m->row_count++] =
        (struct hat_row){.group = SV("RELAYLIST"),
                         .senders = senders,
                         .sender_count = listener->relay_for_count,
                         .policy = relaying(m)};
}

static void
add_row(struct maker *m, const struct hat_entry_settings *entry)
{
    m->rows[m->row_count++] = (struct hat_row){
        .group = sv_of(entry->group),
        .senders = texts(m, entry->senders, entry->sender_count),
        .sender_count = entry->sender_count,
        .dns_lists = texts(m, entry->dns_lists, entry->dns_list_count),
        .dns_list_count = entry->dns_list_count,
        .policy = number_of(m, entry->policy),
        .goes_on = entry->policy->behavior == BEHAVIOR_CONTINUE,
    };
}

static void
add_last_row(struct maker *m)
{
    const struct mail_flow_policy *policy = m->listener->default_policy;

    if (policy == NULL)
        policy = &m->settings->mail_flow_policies[0];
    m->rows[m->row_count++] =
        (struct hat_row){.group = SV("ALL"), .policy = number_of(m, policy)};
}

static bool
make_hat(struct maker *m, struct err *err)
{
    struct listener_settings *listener = m->listener;
    struct err why;

    m->rows =
        arena_alloc(m->arena, (listener->hat_count + 2) * sizeof *m->rows);
    listener->policies = arena_alloc(m->arena, (listener->hat_count + 2) *
                                                   sizeof *listener->policies);
    add_relay_row(m);
    for (size_t i = 0; i < listener->hat_count; i++)
        add_row(m, &listener->hat[i]);
    add_last_row(m);
    listener->hat_table = hat_new(m->rows, m->row_count, &why);
    if (listener->hat_table != NULL)
        return true;
    return conf_refuse(m->doc, &listener_table, listener, "hat", err, "%s",
                       why.text);
}

/* The recipient access table ---------------------------------------------- */

static uint32_t
options_of(const struct rat_entry_settings *entry)
{
    bool own = entry->reject_code != 550 || entry->reject_text[0] != '\0';

    return (entry->bypass_rate_limit ? RAT_BYPASS_RATE : 0) |
           (own ? RAT_OWN_REPLY : 0);
}

static bool
make_rat(struct maker *m, struct err *err)
{
    struct listener_settings *listener = m->listener;
    size_t count = 0;
    struct rat_row *rows =
        arena_alloc(m->arena, (listener->domain_count + listener->rat_count) *
                                  sizeof *rows);
    struct err why;

    for (size_t i = 0; i < listener->domain_count; i++)
        rows[count++] = (struct rat_row){.pattern = sv_of(listener->domains[i]),
                                         .accept = true};
    for (size_t i = 0; i < listener->rat_count; i++) {
        const struct rat_entry_settings *entry = &listener->rat[i];

        rows[count++] = (struct rat_row){.pattern = sv_of(entry->pattern),
                                         .accept = entry->action == RAT_ACCEPT,
                                         .options = options_of(entry)};
        if (entry->action == RAT_ACCEPT &&
            rows[count - 1].options & RAT_OWN_REPLY)
            return conf_refuse(m->doc, &rat_entry_table, entry, "action", err,
                               "a recipient that is accepted gets no reply "
                               "that rejects: remove `reject_code` and "
                               "`reject_text`, or set `action: reject`");
    }
    listener->rat_table = rat_new(rows, count, &why);
    if (listener->rat_table != NULL)
        return true;
    return conf_refuse(m->doc, &listener_table, listener,
                       listener->rat_count > 0 ? "rat" : "domains", err, "%s",
                       why.text);
}

static struct sv
map_key(const char *pair)
{
    struct sv rest = sv_of(pair);

    return sv_take_until(&rest, '=');
}

static int
compare_pairs(const void *a, const void *b)
{
    return sv_compare(map_key(*(char *const *)a), map_key(*(char *const *)b));
}

bool
settings_flow_make(const struct settings *settings,
                   struct listener_settings *listener,
                   const struct conf_doc *doc, struct arena *arena,
                   struct err *err)
{
    struct maker m = {settings, listener, doc, arena, NULL, 0};

    if (listener->domain_map_count > 1)
        qsort(listener->domain_map, listener->domain_map_count,
              sizeof listener->domain_map[0], compare_pairs);
    return make_hat(&m, err) && make_rat(&m, err);
}

void
settings_flow_free(struct listener_settings *listener)
{
    hat_unref(listener->hat_table);
    rat_unref(listener->rat_table);
}

/* Look-ups ---------------------------------------------------------------- */

static int
compare_pair(const void *key, const void *element)
{
    return sv_compare(*(const struct sv *)key,
                      map_key(*(char *const *)element));
}

static int
compare_text(const void *key, const void *element)
{
    return sv_compare(*(const struct sv *)key, sv_of(*(char *const *)element));
}

static bool
find_mapping(const struct listener_settings *listener, struct sv key,
             struct sv *to)
{
    char *const *found =
        listener->domain_map_count == 0
            ? NULL
            : bsearch(&key, listener->domain_map, listener->domain_map_count,
                      sizeof listener->domain_map[0], compare_pair);

    if (found == NULL)
        return false;
    *to = sv_of(*found);
    sv_take_until(to, '=');
    return true;
}

struct sv
settings_map_domain(const struct listener_settings *listener, struct sv domain)
{
    struct sv to;

    if (find_mapping(listener, domain, &to))
        return to;
    for (size_t i = 1; i < domain.n; i++)
        if (domain.p[i] == '.' &&
            find_mapping(listener, sv_from(domain, i), &to))
            return to;
    return domain;
}

static bool
is_listed(const struct mail_flow_policy *policy, struct sv text)
{
    return bsearch(&text, policy->tls_required_for,
                   policy->tls_required_for_count,
                   sizeof policy->tls_required_for[0], compare_text) != NULL;
}

bool
settings_needs_tls(const struct mail_flow_policy *policy, struct sv address)
{
    char text[MAIL_PATH_MAX + MAIL_DOMAIN_MAX + 2];
    struct mail_path path;
    struct sv domain;

    if (policy->tls_required_for_count == 0 ||
        !mail_mailbox_parse(address, &path) || path.local.n > MAIL_PATH_MAX)
        return false;
    sv_lower_into(path.local, text);
    text[path.local.n] = '@';
    if (!mail_domain_canonical(path.domain, text + path.local.n + 1))
        return false;
    domain = sv_of(text + path.local.n + 1);
    if (is_listed(policy, sv_of(text)) || is_listed(policy, domain))
        return true;
    for (size_t i = 1; i < domain.n; i++)
        if (domain.p[i] == '.' && is_listed(policy, sv_from(domain, i)))
            return true;
    return false;
}

/* For people -------------------------------------------------------------- */

static const char *
name_in(const struct conf_table *table, const char *field, unsigned value)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_name *names = table->fields[i].names;

        if (strcmp(table->fields[i].name, field) != 0)
            continue;
        while (names->name != NULL && names->value != value)
            names++;
        return names->name;
    }
    abort();
}

const char *
settings_profile_origin(const struct mail_flow_policy *policy)
{
    static const char *const texts[] = {
        [ORIGIN_BUILT_IN] = "default",  [ORIGIN_DEFAULT] = "policy-default",
        [ORIGIN_LISTENER] = "listener", [ORIGIN_POLICY] = "policy",
        [ORIGIN_ADDRESS] = "listener",  [ORIGIN_SHORT] = "listener",
    };

    return texts[policy->origins[row_of("tls_profile")]];
}

const char *
settings_behavior_name(enum policy_behavior behavior)
{
    return name_in(&mail_flow_policy_table, "behavior", behavior);
}

const char *
settings_receive_tls_name(enum receive_tls tls)
{
    return name_in(&mail_flow_policy_table, "tls", tls);
}
