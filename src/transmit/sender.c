/* The sender: the process that brings mail out.  Ties together the spool (as
 * the ledger's writer), the queue and the deliveries. */
#include "base/clock.h"
#include "evidence/dns_view.h"
#include "evidence/sts.h"
#include "service/service.h"
#include "spool/spool.h"
#include "transmit/delivery.h"
#include "transmit/explain.h"
#include "transmit/queue.h"
#include "transmit/tls_trouble.h"

enum { WATCH_MS = 5000 };

struct sender {
    struct service_host *host;
    struct spool *spool;
    struct queue *queue;
    struct delivery *delivery;
    struct sts_cache *sts;     /* policies of other domains */
    struct dns_view *dns_view; /* whether DNSSEC works; calls */
    struct explainer *explainer;
    struct tls_troubles *troubles;
    struct settings *candidate; /* referenced between prepare and commit */
    struct timer watch;         /* of the spool's health */
    void (*drained)(void *arg);
    void *drained_arg;
    unsigned draining; /* parts that are not idle yet */
};

static void
on_watch(struct timer *timer)
{
    struct sender *sender = CONTAINER_OF(timer, struct sender, watch);
    struct spool_status status;

    spool_status_get(sender->spool, &status);
    sender->host->alert(sender->host, "ledger", status.failing,
                        status.failing ? status.failure
                                       : "the ledger is written again");
    tls_troubles_expire(sender->troubles, clock_wall_s());
    timer_arm(timer, WATCH_MS);
}

static void
on_trouble(void *arg, const char *key, bool raised, const char *text)
{
    struct sender *sender = arg;

    sender->host->alert(sender->host, key, raised, text);
}

/* On any loop; nobody waits until it is on disk. */
static void
on_session(void *arg, const struct ledger_session *session)
{
    struct sender *sender = arg;
    struct buf record = {0};

    ledger_session_encode(session, &record);
    spool_ledger_append(sender->spool, SPOOL_SESSION, buf_view(&record), NULL,
                        NULL);
    buf_fini(&record);
}

static void
sender_stop(void *self)
{
    struct sender *sender = self;

    timer_fini(&sender->watch);
    explainer_free(sender->explainer);
    if (sender->delivery != NULL)
        delivery_free(sender->delivery);
    sts_cache_free(sender->sts);
    dns_view_free(sender->dns_view);
    if (sender->queue != NULL)
        queue_close(sender->queue);
    if (sender->spool != NULL)
        spool_close(sender->spool);
    tls_troubles_free(sender->troubles);
    settings_unref(sender->candidate);
    mem_free(sender);
}

static bool
sender_open(struct sender *sender, struct settings *settings, struct err *err)
{
    struct service_host *host = sender->host;
    struct queue_calls calls = {.on_session_wanted = delivery_session_wanted};

    sender->spool =
        spool_open_ledger(settings->state_dir, &settings->spool, err);
    if (sender->spool == NULL)
        return false;
    sender->delivery =
        delivery_new(host->loops, host->loop_count, settings, err);
    if (sender->delivery == NULL)
        return false;
    sender->sts = sts_cache_new(host->loops[0], settings,
                                delivery_resolver(sender->delivery), err);
    if (sender->sts == NULL)
        return false;
    sts_cache_on_alert(sender->sts, on_trouble, sender);
    sender->dns_view = dns_view_new(host->loops[0], on_trouble, sender);
    dns_view_set(sender->dns_view, &settings->dns,
                 delivery_resolver(sender->delivery));
    sender->explainer =
        explainer_new(host->loops[0], sender->delivery, sender->sts);
    calls.owner = sender->delivery;
    sender->queue =
        queue_open(sender->spool, host->loops[0], settings, &calls, err);
    if (sender->queue == NULL)
        return false;
    delivery_set_queue(sender->delivery, sender->queue);
    delivery_set_troubles(sender->delivery, sender->troubles);
    delivery_set_sts(sender->delivery, sender->sts);
    delivery_set_on_session(sender->delivery, on_session, sender);
    queue_set_troubles(sender->queue, sender->troubles);
    return true;
}

static void *
sender_start(struct service_host *host, struct settings *settings,
             const struct service_socket *sockets, size_t socket_count,
             struct err *err)
{
    struct sender *sender = mem_alloc(sizeof *sender);

    (void)sockets;
    (void)socket_count;
    sender->host = host;
    sender->troubles = tls_troubles_new(on_trouble, sender);
    timer_init(&sender->watch, host->loops[0], on_watch);
    if (!sender_open(sender, settings, err)) {
        sender_stop(sender);
        return NULL;
    }
    timer_arm(&sender->watch, WATCH_MS);
    return sender;
}

static bool
sender_prepare(void *self, struct settings *candidate,
               const struct service_socket *sockets, size_t socket_count,
               struct err *err)
{
    struct sender *sender = self;

    (void)sockets;
    (void)socket_count;
    if (!delivery_prepare(sender->delivery, candidate, err))
        return false;
    settings_unref(sender->candidate);
    sender->candidate = settings_ref(candidate);
    return true;
}

static void
sender_commit(void *self)
{
    struct sender *sender = self;

    delivery_commit(sender->delivery);
    sts_cache_set(sender->sts, sender->candidate,
                  delivery_resolver(sender->delivery));
    dns_view_set(sender->dns_view, &sender->candidate->dns,
                 delivery_resolver(sender->delivery));
    queue_set_settings(sender->queue, sender->candidate);
    spool_set_limits(sender->spool, &sender->candidate->spool);
    settings_unref(sender->candidate);
    sender->candidate = NULL;
}

static void
sender_abandon(void *self)
{
    struct sender *sender = self;

    delivery_abandon(sender->delivery);
    settings_unref(sender->candidate);
    sender->candidate = NULL;
}

static void
on_idle(void *arg)
{
    struct sender *sender = arg;

    if (--sender->draining == 0)
        sender->drained(sender->drained_arg);
}

static void
sender_drain(void *self, void (*drained)(void *arg), void *arg)
{
    struct sender *sender = self;

    sender->drained = drained;
    sender->drained_arg = arg;
    sender->draining = 2;
    queue_drain(sender->queue, on_idle, sender);
    delivery_drain(sender->delivery, on_idle, sender);
}

static void
sender_request(void *self, struct rpc_call *call)
{
    struct sender *sender = self;
    struct sv method = sv_of(rpc_method(call));

    if (sv_take_prefix(&method, SV("queue.")))
        queue_request(sender->queue, call);
    else if (sv_take_prefix(&method, SV("delivery.")))
        delivery_request(sender->delivery, call);
    else if (sv_take_prefix(&method, SV("sts.")))
        sts_request(sender->sts, call);
    else if (sv_take_prefix(&method, SV("dns.")))
        dns_view_request(sender->dns_view, call);
    else if (explainer_knows(rpc_method(call)))
        explainer_request(sender->explainer, call);
    else
        rpc_error(call, "the sender knows no call %s", rpc_method(call));
}

const struct service sender_service = {
    .name = "sender",
    .loops_per_core = 1,
    .start = sender_start,
    .prepare = sender_prepare,
    .commit = sender_commit,
    .abandon = sender_abandon,
    .drain = sender_drain,
    .stop = sender_stop,
    .request = sender_request,
};
