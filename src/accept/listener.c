#include "accept/listener.h"
#include "tls/context.h"

struct listener *
listener_new(const char *name)
{
    struct listener *listener = mem_alloc(sizeof *listener);

    listener->name = mem_strdup(name);
    pthread_mutex_init(&listener->lock, NULL);
    atomic_store(&listener->references, 1);
    return listener;
}

struct listener *
listener_ref(struct listener *listener)
{
    atomic_fetch_add(&listener->references, 1);
    return listener;
}

static void
free_clients(struct map *clients)
{
    struct sv key;
    size_t cursor = 0;
    void *count;

    while (map_next(clients, &cursor, &key, &count))
        mem_free(count);
    map_fini(clients);
}

void
listener_unref(struct listener *listener)
{
    if (listener == NULL || atomic_fetch_sub(&listener->references, 1) > 1)
        return;
    free_clients(&listener->clients);
    pthread_mutex_destroy(&listener->lock);
    mem_free(listener->name);
    mem_free(listener);
}

/* Tickets of one listener or profile must not be taken by another. */
static struct sv
session_id(const struct listener_settings *options, char *text, size_t size)
{
    snprintf(text, size, "%s/%s/%d", options->name, options->tls_profile->name,
             (int)options->tls);
    return sv_of(text);
}

static struct tls_context *
make_context(const struct listener_settings *options, struct err *err)
{
    struct tls_certificate_files *files =
        mem_alloc_array(options->certificate_count, sizeof *files);
    struct tls_context *tls;
    char id[256];

    for (size_t i = 0; i < options->certificate_count; i++) {
        const struct certificate_settings *pair = options->certificates[i];

        files[i] = (struct tls_certificate_files){
            .name = pair->name, .chain = pair->chain, .key = pair->key};
    }
    tls = tls_context_new_server(&options->tls_profile->profile, files,
                                 options->certificate_count,
                                 session_id(options, id, sizeof id), err);
    if (tls == NULL)
        err_wrap(err, "listener %s", options->name);
    mem_free(files);
    return tls;
}

struct listener_revision *
listener_revision_new(struct listener *listener, struct settings *settings,
                      const struct listener_settings *options, struct err *err)
{
    struct listener_revision *revision;
    struct tls_context *tls = NULL;

    if (options->tls != RECEIVE_TLS_NO && options->certificate_count > 0) {
        tls = make_context(options, err);
        if (tls == NULL)
            return NULL;
    }
    revision = mem_alloc(sizeof *revision);
    revision->listener = listener_ref(listener);
    revision->settings = settings_ref(settings);
    revision->options = options;
    revision->tls = tls;
    atomic_store(&revision->references, 1);
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
    tls_context_unref(revision->tls);
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

static struct sv
client_key(const struct net_address *client)
{
    if (client->sa.sa_family == AF_INET6)
        return (struct sv){(const char *)&client->in6.sin6_addr, 16};
    return (struct sv){(const char *)&client->in.sin_addr, 4};
}

/* One more connection of this client, unless it has limit of them. */
static bool
count_up(struct map *clients, struct sv key, uint32_t limit)
{
    uint32_t *count = map_get(clients, key);

    if (count != NULL && *count >= limit)
        return false;
    if (count == NULL) {
        count = mem_alloc(sizeof *count);
        map_put(clients, key, count);
    }
    ++*count;
    return true;
}

static void
count_down(struct map *clients, struct sv key)
{
    uint32_t *count = map_get(clients, key);

    assert(count != NULL && *count > 0);
    if (--*count == 0)
        mem_free(map_remove(clients, key));
}

bool
listener_admit_client(struct listener_revision *revision,
                      const struct net_address *client, const char **why)
{
    struct listener *listener = revision->listener;
    bool ok;

    pthread_mutex_lock(&listener->lock);
    ok = count_up(&listener->clients, client_key(client),
                  revision->options->max_connections_per_ip);
    pthread_mutex_unlock(&listener->lock);
    if (ok)
        return true;
    atomic_fetch_add(&listener->counts.throttled, 1);
    *why = "Too many connections from your host";
    return false;
}

void
listener_dismiss_client(struct listener_revision *revision,
                        const struct net_address *client)
{
    struct listener *listener = revision->listener;

    pthread_mutex_lock(&listener->lock);
    count_down(&listener->clients, client_key(client));
    pthread_mutex_unlock(&listener->lock);
}
