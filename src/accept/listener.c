#include "accept/listener.h"
#include "base/map.h"
#include "dns/dns.h"
#include "tls/context.h"

enum {
    /* Clients that are counted at a time, for each listener: of connections
     * more than that many different ones are refused, of the others the one
     * seen longest ago is forgotten. */
    CLIENTS_MAX = 65536,
    CERTIFICATES_MAX = 1024,
    HOUR_MS = 3600 * 1000,
};

struct listener *
listener_new(const char *name)
{
    struct listener *listener = mem_alloc(sizeof *listener);

    listener->name = mem_strdup(name);
    listener->clients = rate_gauge_new(CLIENTS_MAX);
    listener->recipients = rate_window_new(CLIENTS_MAX, HOUR_MS);
    listener->invalid = rate_window_new(CLIENTS_MAX, HOUR_MS);
    listener->handshakes = rate_bucket_new(CLIENTS_MAX);
    listener->endings = rate_memory_new(CERTIFICATES_MAX);
    atomic_store(&listener->references, 1);
    return listener;
}

struct listener *
listener_ref(struct listener *listener)
{
    atomic_fetch_add(&listener->references, 1);
    return listener;
}

void
listener_unref(struct listener *listener)
{
    if (listener == NULL || atomic_fetch_sub(&listener->references, 1) > 1)
        return;
    rate_gauge_free(listener->clients);
    rate_window_free(listener->recipients);
    rate_window_free(listener->invalid);
    rate_bucket_free(listener->handshakes);
    rate_memory_free(listener->endings);
    mem_free(listener->name);
    mem_free(listener);
}

/* TLS --------------------------------------------------------------------- */

/* A ticket says that its client has passed what was asked then, so none is
 * taken where something else is asked (RFC 8446 section 8). */
static struct sv
session_id(const struct listener_settings *options,
           const struct mail_flow_policy *policy, char *text, size_t size)
{
    snprintf(text, size, "%s/%s/%s/%d/%d", options->name, policy->name,
             policy->tls_profile->name, (int)policy->tls,
             (int)policy->verify_client);
    return sv_of(text);
}

static struct tls_context *
make_context(const struct listener_settings *options,
             const struct mail_flow_policy *policy, struct err *err)
{
    struct tls_certificate_files *files =
        mem_alloc_array(options->certificate_count, sizeof *files);
    const struct tls_trust trust = {
        .system = policy->client_system_authorities,
        .files = (const char *const *)policy->client_authorities,
        .file_count = policy->client_authority_count,
        .crls = (const char *const *)policy->client_revocation_lists,
        .crl_count = policy->client_revocation_list_count,
    };
    char id[512];
    const struct tls_server_options wanted = {
        .profile = &policy->tls_profile->profile,
        .certificates = files,
        .certificate_count = options->certificate_count,
        .session_id = session_id(options, policy, id, sizeof id),
        .request_certificate = policy->verify_client,
        .client_trust = &trust,
        .accept_server_eku = policy->accept_server_eku,
    };
    struct tls_context *context;

    for (size_t i = 0; i < options->certificate_count; i++)
        files[i] = settings_certificate_files(options->certificates[i]);
    context = tls_context_new_server_options(&wanted, err);
    if (context == NULL)
        err_wrap(err, "listener %s, policy %s", options->name, policy->name);
    mem_free(files);
    return context;
}

static bool
has_tls(const struct listener_settings *options,
        const struct mail_flow_policy *policy)
{
    return policy->tls != RECEIVE_TLS_NO && options->certificate_count > 0 &&
           (policy->behavior == BEHAVIOR_ACCEPT ||
            policy->behavior == BEHAVIOR_RELAY);
}

/* Revisions --------------------------------------------------------------- */

struct listener_revision *
listener_revision_new(struct listener *listener, struct settings *settings,
                      const struct listener_settings *options,
                      struct dns_resolver *resolver, struct err *err)
{
    struct listener_revision *revision = mem_alloc(sizeof *revision);

    revision->listener = listener_ref(listener);
    revision->settings = settings_ref(settings);
    revision->options = options;
    revision->resolver = resolver == NULL ? NULL : dns_resolver_ref(resolver);
    revision->contexts =
        mem_alloc_array(options->policy_count, sizeof *revision->contexts);
    atomic_store(&revision->references, 1);
    for (size_t i = 0; i < options->policy_count; i++) {
        if (!has_tls(options, &options->policies[i]))
            continue;
        revision->contexts[i] =
            make_context(options, &options->policies[i], err);
        if (revision->contexts[i] == NULL) {
            listener_revision_unref(revision);
            return NULL;
        }
    }
    return revision;
}

struct listener_revision *
listener_revision_ref(struct listener_revision *revision)
{
    atomic_fetch_add(&revision->references, 1);
    return revision;
}

void
listener_revision_unref(struct listener_revision *revision)
{
    if (revision == NULL || atomic_fetch_sub(&revision->references, 1) > 1)
        return;
    for (size_t i = 0; i < revision->options->policy_count; i++)
        tls_context_unref(revision->contexts[i]);
    mem_free(revision->contexts);
    if (revision->resolver != NULL)
        dns_resolver_unref(revision->resolver);
    settings_unref(revision->settings);
    listener_unref(revision->listener);
    mem_free(revision);
}

bool
listener_wants_proxy(const struct listener_revision *revision,
                     const struct net_address *peer)
{
    const struct listener_settings *options = revision->options;

    for (size_t i = 0; i < options->proxy_protocol_count; i++)
        if (net_prefix_contains(&options->proxy_protocol[i], peer))
            return true;
    return false;
}

const struct mail_flow_policy *
listener_policy(const struct listener_revision *revision,
                const struct hat_client *client, struct hat_match *match)
{
    const struct listener_settings *options = revision->options;

    hat_match(options->hat_table, client, match);
    /* The last row is for everybody (settings/flow.c). */
    assert(match->row != HAT_NONE && match->policy < options->policy_count);
    return &options->policies[match->policy];
}

/* Limits ------------------------------------------------------------------ */

bool
listener_admit(struct listener_revision *revision, const char **why)
{
    struct listener_counts *counts = &revision->listener->counts;

    if (atomic_fetch_add(&counts->open, 1) >=
        revision->options->max_connections) {
        atomic_fetch_sub(&counts->open, 1);
        atomic_fetch_add(&counts->throttled, 1);
        *why = "Too many connections to this listener";
        return false;
    }
    atomic_fetch_add(&counts->connections, 1);
    return true;
}

void
listener_dismiss(struct listener_revision *revision)
{
    atomic_fetch_sub(&revision->listener->counts.open, 1);
}

bool
listener_admit_client(struct listener_revision *revision,
                      const struct net_address *client,
                      const struct mail_flow_policy *policy, const char **why)
{
    struct listener *listener = revision->listener;

    if (rate_gauge_enter(listener->clients, rate_key_of(client, 0),
                         policy->max_connections_per_ip))
        return true;
    atomic_fetch_add(&listener->counts.throttled, 1);
    *why = "Too many connections from your host";
    return false;
}

void
listener_dismiss_client(struct listener_revision *revision,
                        const struct net_address *client)
{
    rate_gauge_leave(revision->listener->clients, rate_key_of(client, 0));
}

static struct rate_limit
per_second(uint32_t limit)
{
    return (struct rate_limit){limit, limit};
}

/* That of the client first: one that is over its own limit must not use up
 * that of all. */
bool
listener_admit_handshake(struct listener_revision *revision,
                         const struct net_address *client,
                         const struct mail_flow_policy *policy, uint64_t now_ms)
{
    struct listener *listener = revision->listener;
    uint64_t now_us = now_ms * 1000;

    if (rate_bucket_take(listener->handshakes, rate_key_of(client, 0), now_us,
                         per_second(policy->max_handshakes_per_second)) &&
        rate_meter_take(
            &listener->all_handshakes, now_us,
            per_second(revision->options->max_handshakes_per_second)))
        return true;
    atomic_fetch_add(&listener->counts.tls_throttled, 1);
    return false;
}

/* Two loops that see a certificate in the same moment may both say it. */
enum tls_expiry
listener_note_ending(struct listener_revision *revision,
                     const struct tls_certificate_facts *certificate,
                     int64_t now_s)
{
    const struct rate_key key = {.who = hash_bytes(sv_of(certificate->sha256))};
    struct rate_memory *endings = revision->listener->endings;
    enum tls_expiry due;

    if (tls_expiry_of(certificate->not_after, now_s) == EXPIRY_FAR)
        return EXPIRY_FAR;
    due = tls_expiry_alert(certificate->not_after,
                           (int64_t)rate_memory_get(endings, key), now_s);
    if (due != EXPIRY_FAR)
        rate_memory_set(endings, key, (uint64_t)now_s);
    return due;
}

bool
listener_admit_recipient(struct listener_revision *revision,
                         const struct net_address *client,
                         const struct mail_flow_policy *policy, uint64_t now_ms)
{
    return policy->max_recipients_per_hour == RECIPIENTS_UNLIMITED ||
           rate_window_add(revision->listener->recipients,
                           rate_key_of(client, 0), now_ms, 1,
                           policy->max_recipients_per_hour);
}

/* No more than the limit is counted, so that the client is heard again an hour
 * after its last try, however long it went on. */
void
listener_count_invalid(struct listener_revision *revision,
                       const struct net_address *client,
                       const struct mail_flow_policy *policy, uint64_t now_ms)
{
    uint32_t limit = policy->max_invalid_recipients_per_hour;

    if (limit != RECIPIENTS_UNLIMITED)
        (void)!rate_window_add(revision->listener->invalid,
                               rate_key_of(client, 0), now_ms, 1, limit);
}

bool
listener_suspects_harvest(const struct listener_revision *revision,
                          const struct net_address *client,
                          const struct mail_flow_policy *policy,
                          uint64_t now_ms)
{
    uint32_t limit = policy->max_invalid_recipients_per_hour;

    return limit != RECIPIENTS_UNLIMITED &&
           rate_window_count(revision->listener->invalid,
                             rate_key_of(client, 0), now_ms) >= limit;
}
