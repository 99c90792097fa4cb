/* The receiver as a service: acceptors on every loop, the table of listeners
 * and its change, draining, calls.
 *
 * A table is what one configuration says: a revision of each listener and its
 * sockets.  prepare() makes one aside; commit() puts its acceptors in place of
 * the old ones on every loop.  Sessions keep the revision they began with. */
#include "accept/smtpd.h"
#include "dns/dns.h"
#include "service/service.h"
#include "tls/context.h"
#include <sys/socket.h>
#include <unistd.h>

enum {
    WATCH_MS = 5000, /* between looks at the spool's state */
    TICKET_KEY_MS = 3600 * 1000,
};

struct table_row {
    struct listener_revision *revision; /* referenced */
    int *fds;                           /* owned array, not owned sockets */
    size_t fd_count;
};

struct table {
    struct settings *settings;     /* referenced */
    struct dns_resolver *resolver; /* referenced; NULL: no name is asked for */
    struct table_row *rows;        /* owned */
    size_t count;
};

/* One acceptor: a socket of a listener on a loop. */
struct entrance {
    struct smtpd_home *home;
    struct listener_revision *revision; /* referenced */
    struct acceptor *acceptor;          /* owned */
};

struct port { /* a loop and what is open on it */
    struct smtpd_home home;
    struct receiver *receiver;
    struct entrance *entrances; /* owned */
    size_t entrance_count;
    struct task emptied; /* posted to the main loop */
};

struct receiver {
    struct service_host *host;
    struct spool *spool; /* owned */
    struct table *table; /* in force */
    struct table *candidate;
    struct port *ports; /* one for each loop */
    size_t occupied;    /* draining: ports with sessions */
    void (*drained)(void *arg);
    void *drained_arg;
    struct timer watch, ticket_keys;
    bool full; /* the alert is raised */
};

/* Accepting --------------------------------------------------------------- */

/* No session, no TLS: whoever is over a limit costs one system call or two.  A
 * peer that expects TLS could not read the words. */
static void
turn_away(const struct listener_revision *revision, int fd,
          const struct net_address *peer, const char *why)
{
    char line[128], address[NET_ADDRESS_TEXT];
    int n = snprintf(line, sizeof line, "421 4.4.5 %s\r\n", why);

    if (!revision->options->implicit_tls)
        (void)send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    close(fd);
    log_event(NULL, LOG_INFO, "smtpd.refuse",
              LOG_STR("listener", revision->listener->name),
              LOG_STR("peer", net_address_text(peer, address)),
              LOG_U64("code", 421), LOG_STR("status", "4.4.5"),
              LOG_STR("why", why));
}

static void
on_accept(void *arg, int fd, const struct net_address *peer)
{
    struct entrance *entrance = arg;
    struct listener_revision *revision = entrance->revision;
    struct smtpd_admission admission = {
        .proxied = listener_wants_proxy(revision, peer)};
    struct smtpd *s;
    const char *why;

    if (!listener_admit(revision, &why)) {
        turn_away(revision, fd, peer, why);
        return;
    }
    s = smtpd_new(entrance->home, listener_revision_ref(revision));
    smtpd_start(s,
                conn_accept(entrance->home->loop, fd, peer, smtpd_on_event, s),
                &admission);
}

/* Tables ------------------------------------------------------------------ */

static void
table_free(struct table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->count; i++) {
        listener_revision_unref(table->rows[i].revision);
        mem_free(table->rows[i].fds);
    }
    mem_free(table->rows);
    if (table->resolver != NULL)
        dns_resolver_unref(table->resolver);
    settings_unref(table->settings);
    mem_free(table);
}

/* The listener of this name that counts already, or a new one. */
static struct listener *
find_listener(const struct receiver *receiver, const char *name)
{
    const struct table *table = receiver->table;

    for (size_t i = 0; table != NULL && i < table->count; i++) {
        struct listener *listener = table->rows[i].revision->listener;

        if (strcmp(listener->name, name) == 0)
            return listener_ref(listener);
    }
    return listener_new(name);
}

static const struct service_socket *
find_sockets(const struct service_socket *sockets, size_t count,
             const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(sockets[i].listener, name) == 0)
            return &sockets[i];
    return NULL;
}

static bool
fill_row(const struct receiver *receiver, struct table *table,
         const struct listener_settings *options,
         const struct service_socket *sockets, struct err *err)
{
    struct table_row *row = &table->rows[table->count];
    struct listener *listener = find_listener(receiver, options->name);

    row->revision = listener_revision_new(listener, table->settings, options,
                                          table->resolver, err);
    listener_unref(listener);
    if (row->revision == NULL)
        return false;
    table->count++;
    row->fd_count = sockets->count;
    row->fds = mem_alloc_array(sockets->count, sizeof *row->fds);
    if (sockets->count > 0)
        memcpy(row->fds, sockets->fds, sockets->count * sizeof *row->fds);
    return true;
}

static bool
asks_dns(const struct settings *settings)
{
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct hat *hat = settings->listeners[i].hat_table;

        if (hat_has_names(hat) || hat_zone_count(hat) > 0)
            return true;
    }
    return false;
}

static bool
make_resolver(const struct receiver *receiver, struct table *table,
              struct err *err)
{
    const struct dns_settings *dns = &table->settings->dns;
    const struct dns_options options = {
        .resolvers = dns->resolvers,
        .resolver_count = dns->resolver_count,
        .trust_anchors = dns->trust_anchors,
        .trust_anchor_count = dns->trust_anchor_count,
        .stub_zones = dns->stub_zones,
        .stub_zone_count = dns->stub_zone_count,
        .timeout_ms = dns->timeout,
    };

    if (!asks_dns(table->settings))
        return true;
    table->resolver = dns_resolver_new(receiver->host->loops[0], &options, err);
    return table->resolver != NULL;
}

static struct table *
table_new(const struct receiver *receiver, struct settings *settings,
          const struct service_socket *sockets, size_t socket_count,
          struct err *err)
{
    struct table *table = mem_alloc(sizeof *table);

    table->settings = settings_ref(settings);
    table->rows =
        mem_alloc_array(settings->listener_count, sizeof *table->rows);
    if (!make_resolver(receiver, table, err)) {
        table_free(table);
        return NULL;
    }
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *options = &settings->listeners[i];
        const struct service_socket *found =
            find_sockets(sockets, socket_count, options->name);

        if (found == NULL)
            err_set(err, "listener %s has no socket", options->name);
        if (found == NULL || !fill_row(receiver, table, options, found, err)) {
            table_free(table);
            return NULL;
        }
    }
    return table;
}

/* Ports ------------------------------------------------------------------- */

static void
close_entrances(struct port *port)
{
    for (size_t i = 0; i < port->entrance_count; i++) {
        acceptor_free(port->entrances[i].acceptor);
        listener_revision_unref(port->entrances[i].revision);
    }
    mem_free(port->entrances);
    port->entrances = NULL;
    port->entrance_count = 0;
}

static void
open_entrance(struct port *port, struct listener_revision *revision, int fd)
{
    struct entrance *entrance = &port->entrances[port->entrance_count++];

    entrance->home = &port->home;
    entrance->revision = listener_revision_ref(revision);
    entrance->acceptor = acceptor_new(port->home.loop, fd, on_accept, entrance);
}

/* On the port's loop.  Every socket has a loop, also if the numbers differ. */
static void
open_entrances(void *arg)
{
    struct port *port = arg;
    struct receiver *receiver = port->receiver;
    const struct table *table = receiver->table;
    size_t index = (size_t)(port - receiver->ports), wanted = 0;

    close_entrances(port);
    if (port->home.draining)
        return;
    for (size_t i = 0; i < table->count; i++)
        wanted += table->rows[i].fd_count;
    port->entrances = mem_alloc_array(wanted, sizeof *port->entrances);
    for (size_t i = 0; i < table->count; i++)
        for (size_t j = index; j < table->rows[i].fd_count;
             j += receiver->host->loop_count)
            open_entrance(port, table->rows[i].revision, table->rows[i].fds[j]);
}

static void
on_every_port(struct receiver *receiver, void (*run)(void *port))
{
    struct service_host *host = receiver->host;

    for (size_t i = 0; i < host->loop_count; i++)
        host->on_loop(host, i, run, &receiver->ports[i]);
}

/* Draining ---------------------------------------------------------------- */

static void
on_port_emptied(struct task *task)
{
    struct port *port = CONTAINER_OF(task, struct port, emptied);
    struct receiver *receiver = port->receiver;

    if (--receiver->occupied == 0 && receiver->drained != NULL)
        receiver->drained(receiver->drained_arg);
}

static void
on_home_empty(void *arg)
{
    struct port *port = arg;

    loop_post(port->receiver->host->loops[0], &port->emptied);
}

static void
drain_port(void *arg)
{
    struct port *port = arg;

    close_entrances(port);
    smtpd_home_drain(&port->home);
}

static void
receiver_drain(void *self, void (*drained)(void *arg), void *arg)
{
    struct receiver *receiver = self;

    receiver->drained = drained;
    receiver->drained_arg = arg;
    receiver->occupied = receiver->host->loop_count;
    on_every_port(receiver, drain_port);
}

/* Watching ---------------------------------------------------------------- */

/* Refusing mail is right while the disk is full, but somebody has to know. */
static void
on_watch(struct timer *timer)
{
    struct receiver *receiver = CONTAINER_OF(timer, struct receiver, watch);
    struct service_host *host = receiver->host;
    const char *why = "";
    bool full = !spool_accepts(receiver->spool, 0, &why);

    if (full != receiver->full)
        host->alert(host, "receiver.spool", full, why);
    receiver->full = full;
    timer_arm(timer, WATCH_MS);
}

static void
on_ticket_keys(struct timer *timer)
{
    tls_ticket_keys_rotate();
    timer_arm(timer, TICKET_KEY_MS);
}

/* The service ------------------------------------------------------------- */

static void
port_init(struct receiver *receiver, struct port *port, struct loop *loop)
{
    port->receiver = receiver;
    port->emptied.run = on_port_emptied;
    port->home.loop = loop;
    port->home.spool = receiver->spool;
    port->home.on_empty = on_home_empty;
    port->home.arg = port;
    list_init(&port->home.sessions);
}

static void *
receiver_start(struct service_host *host, struct settings *settings,
               const struct service_socket *sockets, size_t socket_count,
               struct err *err)
{
    struct receiver *receiver = mem_alloc(sizeof *receiver);

    receiver->host = host;
    receiver->table = table_new(receiver, settings, sockets, socket_count, err);
    if (receiver->table != NULL)
        receiver->spool =
            spool_open_intake(settings->state_dir, &settings->spool, err);
    if (receiver->spool == NULL) {
        table_free(receiver->table);
        mem_free(receiver);
        return NULL;
    }
    receiver->ports =
        mem_alloc_array(host->loop_count, sizeof *receiver->ports);
    for (size_t i = 0; i < host->loop_count; i++)
        port_init(receiver, &receiver->ports[i], host->loops[i]);
    timer_init(&receiver->watch, host->loops[0], on_watch);
    timer_init(&receiver->ticket_keys, host->loops[0], on_ticket_keys);
    timer_arm(&receiver->watch, WATCH_MS);
    timer_arm(&receiver->ticket_keys, TICKET_KEY_MS);
    on_every_port(receiver, open_entrances);
    return receiver;
}

static void
receiver_abandon(void *self)
{
    struct receiver *receiver = self;

    table_free(receiver->candidate);
    receiver->candidate = NULL;
}

static bool
receiver_prepare(void *self, struct settings *candidate,
                 const struct service_socket *sockets, size_t socket_count,
                 struct err *err)
{
    struct receiver *receiver = self;

    receiver_abandon(receiver);
    receiver->candidate =
        table_new(receiver, candidate, sockets, socket_count, err);
    return receiver->candidate != NULL;
}

static void
receiver_commit(void *self)
{
    struct receiver *receiver = self;
    struct table *old = receiver->table;

    assert(receiver->candidate != NULL);
    receiver->table = receiver->candidate;
    receiver->candidate = NULL;
    spool_set_limits(receiver->spool, &receiver->table->settings->spool);
    on_every_port(receiver, open_entrances);
    table_free(old);
}

static void
stop_port(void *arg)
{
    struct port *port = arg;

    close_entrances(port);
    smtpd_home_drop(&port->home);
    buf_fini(&port->home.scratch);
}

static void
receiver_stop(void *self)
{
    struct receiver *receiver = self;

    receiver->drained = NULL;
    timer_fini(&receiver->watch);
    timer_fini(&receiver->ticket_keys);
    on_every_port(receiver, stop_port);
    spool_close(receiver->spool);
    receiver_abandon(receiver);
    table_free(receiver->table);
    /* Time was up while ports were draining: one may have posted that it is
     * empty, so what the task lies in stays; the process is about to end. */
    if (receiver->occupied > 0)
        return;
    mem_free(receiver->ports);
    mem_free(receiver);
}

/* Calls ------------------------------------------------------------------- */

static json_t *
number(const _Atomic uint64_t *count)
{
    return json_integer((json_int_t)atomic_load(count));
}

static json_t *
listener_json(const struct listener_revision *revision)
{
    const struct listener_settings *options = revision->options;
    const struct listener_counts *counts = &revision->listener->counts;
    char address[NET_ADDRESS_TEXT];

    return json_pack(
        "{ss ss sb so so so so so so so so so so}", "name", options->name,
        "address", net_address_text(&options->address, address), "implicit_tls",
        options->implicit_tls, "open", number(&counts->open), "connections",
        number(&counts->connections), "throttled", number(&counts->throttled),
        "rejected", number(&counts->rejected), "accepted",
        number(&counts->accepted), "refused", number(&counts->refused),
        "tls_ok", number(&counts->tls_ok), "tls_failed",
        number(&counts->tls_failed), "tls_throttled",
        number(&counts->tls_throttled), "certificates_refused",
        number(&counts->certificates_refused));
}

static uint64_t
sum(const struct table *table, size_t offset)
{
    uint64_t total = 0;

    for (size_t i = 0; i < table->count; i++) {
        const char *counts =
            (const char *)&table->rows[i].revision->listener->counts;

        total += atomic_load((const _Atomic uint64_t *)(counts + offset));
    }
    return total;
}

static json_t *
status_json(const struct receiver *receiver)
{
    const struct table *table = receiver->table;
    json_t *listeners = json_array(), *status;
    const char *why = "";
    bool accepts = spool_accepts(receiver->spool, 0, &why);
    uint64_t open = sum(table, offsetof(struct listener_counts, open));
    uint64_t accepted = sum(table, offsetof(struct listener_counts, accepted));

    for (size_t i = 0; i < table->count; i++)
        json_array_append_new(listeners,
                              listener_json(table->rows[i].revision));
    status = json_pack("{sI sI sb so}", "sessions", (json_int_t)open,
                       "accepted", (json_int_t)accepted, "accepts_mail",
                       accepts, "listeners", listeners);
    if (!accepts)
        json_object_set_new(status, "why_not", json_string(why));
    return status;
}

static void
receiver_request(void *self, struct rpc_call *call)
{
    if (strcmp(rpc_method(call), "receiver.status") == 0)
        rpc_result(call, status_json(self));
    else
        rpc_error(call, "the receiver knows no method %s", rpc_method(call));
}

const struct service receiver_service = {
    .name = "receiver",
    .loops_per_core = 1,
    .start = receiver_start,
    .prepare = receiver_prepare,
    .commit = receiver_commit,
    .abandon = receiver_abandon,
    .drain = receiver_drain,
    .stop = receiver_stop,
    .request = receiver_request,
};
