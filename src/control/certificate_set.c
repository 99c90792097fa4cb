#include "control/certificate_set.h"

#include "base/buf.h"
#include "tls/bundle.h"
#include <time.h>

const char *
certificate_date(int64_t seconds, char *room)
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL ||
        strftime(room, CERTIFICATE_DATE_SIZE, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        snprintf(room, CERTIFICATE_DATE_SIZE, "?");
    return room;
}

/* Who uses it ------------------------------------------------------------- */

static void
add_user(struct buf *users, const char *kind, const char *name)
{
    buf_printf(users, "%s%s %s", buf_length(users) > 0 ? ", " : "", kind, name);
}

static char *
users_of(const struct settings *settings,
         const struct certificate_settings *pair)
{
    struct buf users = {0};
    char *text;

    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *listener = &settings->listeners[i];

        for (size_t k = 0; k < listener->certificate_count; k++)
            if (listener->certificates[k] == pair)
                add_user(&users, "listener", listener->name);
    }
    for (size_t i = 0; i < settings->destination_count; i++)
        if (settings->destinations[i].client_certificate == pair)
            add_user(&users, "destination", settings->destinations[i].domain);
    text = mem_strdup(buf_cstr(&users));
    buf_fini(&users);
    return text;
}

/* Files of trust ---------------------------------------------------------- */

static void
add_files(char *const *files, size_t count, char ***list, size_t *list_count)
{
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;

        while (k < *list_count && strcmp((*list)[k], files[i]) != 0)
            k++;
        if (k < *list_count)
            continue;
        *list = mem_resize(*list, (*list_count + 1) * sizeof **list);
        (*list)[(*list_count)++] = files[i];
    }
}

static void
add_policy(struct certificate_set *set, const struct mail_flow_policy *policy)
{
    if (!policy->verify_client)
        return;
    add_files(policy->client_authorities, policy->client_authority_count,
              &set->trust, &set->trust_count);
    add_files(policy->client_revocation_lists,
              policy->client_revocation_list_count, &set->crls,
              &set->crl_count);
}

static void
find_trust(struct certificate_set *set)
{
    const struct settings *settings = set->settings;

    for (size_t i = 0; i < settings->listener_count; i++)
        for (size_t k = 0; k < settings->listeners[i].policy_count; k++)
            add_policy(set, &settings->listeners[i].policies[k]);
    for (size_t i = 0; i < settings->destination_count; i++) {
        const struct destination_settings *to = &settings->destinations[i];

        add_files(to->authorities, to->authority_count, &set->trust,
                  &set->trust_count);
        add_files(to->revocation_lists, to->revocation_list_count, &set->crls,
                  &set->crl_count);
    }
}

static void
add_trust(struct certificate_set *set)
{
    size_t count = set->trust_count + set->crl_count;
    const char **paths = mem_alloc_array(count, sizeof *paths);
    struct certificate_row *row;

    for (size_t i = 0; i < count; i++)
        paths[i] = i < set->trust_count ? set->trust[i]
                                        : set->crls[i - set->trust_count];
    if (count > 0) {
        row = &set->rows[set->count++];
        row->name = "trust";
        row->used_by = mem_strdup("");
        file_watch_init(&row->files, paths, count);
    }
    mem_free(paths);
}

/* Pairs ------------------------------------------------------------------- */

static struct tls_certificate_facts *
read_facts(const char *chain)
{
    struct tls_bundle *bundle = tls_bundle_new();
    struct tls_certificate_facts *facts = NULL;
    struct err err;

    if (tls_bundle_read_file(bundle, chain, NULL, NULL, &err) &&
        tls_bundle_settle(bundle, &err))
        facts = tls_bundle_describe(bundle, 0);
    tls_bundle_free(bundle);
    return facts;
}

static void
add_pair(struct certificate_set *set, const struct certificate_settings *pair)
{
    const char *const paths[] = {pair->chain, pair->key, pair->ocsp_file};
    struct certificate_row *row = &set->rows[set->count++];

    row->pair = pair;
    row->name = pair->name;
    row->used_by = users_of(set->settings, pair);
    file_watch_init(&row->files, paths, COUNT_OF(paths));
    row->facts = read_facts(pair->chain);
}

struct certificate_set *
certificate_set_new(struct settings *settings)
{
    struct certificate_set *set = mem_alloc(sizeof *set);

    set->settings = settings_ref(settings);
    set->rows =
        mem_alloc_array(settings->certificate_count + 1, sizeof *set->rows);
    for (size_t i = 0; i < settings->certificate_count; i++)
        add_pair(set, &settings->certificates[i]);
    find_trust(set);
    add_trust(set);
    return set;
}

void
certificate_set_free(struct certificate_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++) {
        struct certificate_row *row = &set->rows[i];

        file_watch_fini(&row->files);
        tls_certificate_facts_free(row->facts);
        mem_free(row->used_by);
        mem_free(row->refusal);
    }
    mem_free(set->rows);
    mem_free(set->trust);
    mem_free(set->crls);
    settings_unref(set->settings);
    mem_free(set);
}

struct certificate_row *
certificate_set_find(struct certificate_set *set,
                     const struct certificate_row *row)
{
    for (size_t i = 0; i < set->count; i++) {
        struct certificate_row *other = &set->rows[i];

        if ((other->pair == NULL) == (row->pair == NULL) &&
            strcmp(other->name, row->name) == 0)
            return other;
    }
    return NULL;
}

static bool
check_trust(const struct certificate_set *set, struct err *err)
{
    const struct tls_trust trust = {
        .files = (const char *const *)set->trust,
        .file_count = set->trust_count,
        .crls = (const char *const *)set->crls,
        .crl_count = set->crl_count,
    };
    const struct tls_client_options options = {
        .profile = &set->settings->tls_profiles[0].profile, .trust = &trust};
    struct tls_context *context = tls_context_new_client_options(&options, err);

    tls_context_unref(context);
    return context != NULL;
}

bool
certificate_set_check(const struct certificate_set *set,
                      const struct certificate_row *row, struct err *err)
{
    const struct certificate_settings *pair = row->pair;
    struct tls_certificate_files files;

    if (pair == NULL)
        return check_trust(set, err);
    files = settings_certificate_files(pair);
    return tls_certificate_check(&files, err);
}
