/* The life of one session:
 *
 *   woken ─▶ find the route ─▶ connect to a target ─▶ send parcels ─▶ kept
 *     │            │               │        ▲              │          │
 *     │            ▼               ▼        └── next ──────┤          │
 *     │          failed ◀──── none is left                 ▼          │
 *     └── a kept connection goes on here ◀──────────────  end ◀───────┘
 *
 * A parcel is taken only when a server is ready for it, so mail is never bound
 * to a connection that cannot be made. */
#include "transmit/delivery_internal.h"
#include <openssl/evp.h>

enum {
    DOWN_MS = 60000,            /* a host that did not answer is tried last */
    CLEAR_MS = 2 * 3600 * 1000, /* TLS that failed is not tried for so long:
                                 * more than the longest usual retry */
};

static void try_next_target(struct session *s);
static void find_route(struct session *s);
static void on_ready(void *owner);
static void on_sent(void *owner, struct parcel *parcel);
static void on_lost(void *owner, const struct client_loss *loss);

/* --- The end ------------------------------------------------------------ */

struct connected { /* sessions of one destination that have a server */
    size_t count;
};

static void
count_connected(struct session *s, bool up)
{
    struct delivery *delivery = s->delivery;
    struct connected *c;

    if (s->connected == up)
        return;
    s->connected = up;
    pthread_mutex_lock(&delivery->lock);
    c = map_get(&delivery->connected, sv_of(s->key));
    if (c == NULL) {
        c = mem_alloc(sizeof *c);
        map_put(&delivery->connected, sv_of(s->key), c);
    }
    c->count += up ? 1 : SIZE_MAX; /* -1 */
    if (c->count == 0)
        mem_free(map_remove(&delivery->connected, sv_of(s->key)));
    pthread_mutex_unlock(&delivery->lock);
}

static bool
others_are_connected(struct session *s)
{
    bool others;

    pthread_mutex_lock(&s->delivery->lock);
    others = map_get(&s->delivery->connected, sv_of(s->key)) != NULL;
    pthread_mutex_unlock(&s->delivery->lock);
    return others;
}

static void
session_free(struct session *s)
{
    timer_fini(&s->pause);
    if (link_on_list(&s->link))
        list_remove(&s->worker->sessions, &s->link);
    session_forget_evidence(s);
    route_free(s->route);
    arena_fini(&s->notes);
    revision_unref(s->revision);
    mem_free(s->key);
    delivery_user_gone(s->delivery);
    mem_free(s);
}

static void
quit_client(struct session *s)
{
    if (s->client != NULL)
        client_quit(s->client, &s->worker->closing);
    s->client = NULL;
    s->ready = false;
    count_connected(s, false);
}

static void
free_client(struct session *s)
{
    if (s->client != NULL)
        client_free(s->client);
    s->client = NULL;
    s->ready = false;
    count_connected(s, false);
}

static void
end_session(struct session *s)
{
    struct destination *destination = s->destination;
    struct queue *queue = s->delivery->queue;
    bool worked = s->worked;

    quit_client(s);
    if (s->parcel != NULL)
        queue_untake(queue, s->parcel);
    if (destination != NULL)
        queue_session_ended(queue, destination, worked);
    session_free(s); /* last: the drain may be over then */
}

static void
on_pause(struct timer *timer)
{
    end_session(CONTAINER_OF(timer, struct session, pause));
}

/* New settings are in force: what this session decided may no longer hold. */
static bool
is_outdated(struct session *s)
{
    bool outdated;

    pthread_mutex_lock(&s->delivery->lock);
    outdated = s->revision != s->delivery->current;
    pthread_mutex_unlock(&s->delivery->lock);
    return outdated;
}

/* --- Parcels ------------------------------------------------------------ */

static void
give_back(struct session *s, struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->recipient_count; i++)
        s->worked |= parcel->recipients[i].decided;
    if (s->ready && s->worked && s->delivery->troubles != NULL)
        tls_troubles_worked(s->delivery->troubles, s->key);
    session_log_attempt(s, parcel);
    queue_done(s->delivery->queue, parcel);
}

/* No server takes this message: a refusal by each makes it final, but one that
 * could not be asked might have taken it. */
static void
give_up_parcel(struct session *s)
{
    struct parcel *parcel = s->parcel;

    s->parcel = NULL;
    if (s->failure_rank == 0)
        client_refuse(parcel, s->lack);
    session_blame_parcel(s, parcel);
    give_back(s, parcel);
    s->lack = CLIENT_LACKS_NOTHING;
}

/* --- Failure ------------------------------------------------------------ */

static void
fail_destination(struct session *s)
{
    session_log_failure(s);
    if (s->parcel != NULL)
        queue_untake(s->delivery->queue, s->parcel);
    s->parcel = NULL;
    if (is_outdated(s)) {
        end_session(s); /* the next one goes by the new settings */
        return;
    }
    if (others_are_connected(s)) {
        /* The server is there, it only has enough of us. */
        timer_arm(&s->pause, s->delivery->pause_ms);
        return;
    }
    session_note_kept_back(s);
    session_count_unsure(s);
    queue_destination_failed(s->delivery->queue, s->destination, &s->failure);
    s->worked = false;
    end_session(s);
}

/* Servers that refuse everybody may be misconfigured for an hour: mail waits
 * for as long as its sender would, and is not refused by a greeting. */
static void
no_target_left(struct session *s)
{
    if (is_outdated(s)) {
        end_session(s); /* the next one goes by the new settings */
        return;
    }
    if (s->parcel != NULL && s->lack != CLIENT_LACKS_NOTHING) {
        give_up_parcel(s); /* others may still find the server good */
        s->worked = true;
        end_session(s);
        return;
    }
    fail_destination(s);
}

/* --- Targets ------------------------------------------------------------ */

/* The digest covers the domain, the host and all of the policy. */
static struct sv
clear_note(const struct tls_decision *decision)
{
    return (struct sv){(const char *)decision->key.digest,
                       sizeof decision->key.digest};
}

static void
decide_for(const struct session *s, size_t target,
           struct tls_decision *decision)
{
    struct tls_evidence evidence;

    session_evidence(s, target, &evidence);
    decide(&evidence, decision);
}

/* TLS sessions belong to one decision and one server. */
static void
resumption_key(const struct tls_decision *decision,
               const struct route_target *target, struct tls_session_key *key)
{
    struct {
        uint8_t decision[32];
        char host[256];
        uint16_t port;
    } all;
    unsigned length;

    memset(&all, 0, sizeof all);
    memcpy(all.decision, decision->key.digest, sizeof all.decision);
    memcpy(all.host, target->host, sizeof all.host);
    all.port = net_address_port(&target->address);
    if (EVP_Digest(&all, sizeof all, key->digest, &length, EVP_sha256(),
                   NULL) != 1)
        abort();
}

static void
connect_as(struct session *s, const struct tls_decision *decision)
{
    const struct route_target *target = &s->route->targets[s->target];
    struct client_plan plan = {
        .address = target->address,
        .host = target->host,
        .helo = s->revision->settings->hostname,
        .destination = s->key,
        .decision = *decision,
        .domain = s->policy_domain,
        .sts = s->sts_known ? &s->sts : NULL,
        .timeouts = s->revision->settings->deliver_timeouts,
    };
    const struct revision_context *contexts =
        revision_context(s->revision, decision);
    char id[24];

    snprintf(id, sizeof id, "D%08llx%04x",
             (unsigned long long)(loop_wall_us(s->worker->loop) / 1000000),
             atomic_fetch_add(&s->delivery->next_id, 1) & 0xffff);
    plan.delivery = id;
    if (decision->dane != NULL)
        plan.dane = s->dane[s->target];
    if (contexts != NULL)
        plan.context = s->classic ? contexts->classic : contexts->context;
    plan.clear = decision->floor == FLOOR_OPPORTUNISTIC &&
                 delivery_memory_has(&s->delivery->clear, clear_note(decision),
                                     loop_now(s->worker->loop));
    resumption_key(decision, target, &plan.session);
    s->client =
        client_new(s->worker->loop, &plan,
                   &(const struct client_calls){on_ready, on_sent, on_lost}, s);
}

static void connect_target(struct session *s);

/* A policy that does not list the server may be an old one: it is looked at
 * once more before that is final (RFC 8461 section 5.1). */
static void
refuse_target(struct session *s, const struct tls_decision *decision)
{
    if (decision->refusal.why == WHY_STS_UNLISTED &&
        session_find_fresh(s, connect_target))
        return;
    session_note_refusal(s, s->target, decision);
    session_report_refusal(s, s->target, decision);
    try_next_target(s);
}

static void
connect_target(struct session *s)
{
    struct tls_decision decision;

    decide_for(s, s->target, &decision);
    if (decision.usable)
        connect_as(s, &decision);
    else
        refuse_target(s, &decision);
}

static void
try_next_target(struct session *s)
{
    if (s->next_target == s->route->target_count) {
        no_target_left(s);
        return;
    }
    s->target = s->next_target++;
    s->classic = false;
    session_find_records(s, s->target, connect_target);
}

/* The same server once more, however long it took: what failed there counts, so
 * the way through the servers comes to an end. */
static void
retry_target(struct session *s)
{
    s->next_target = s->target + 1;
    connect_target(s);
}

/* A new connection to a server that worked; where what is known of it has
 * become old, from the beginning. */
static void
connect_again(struct session *s)
{
    if (session_is_stale(s))
        find_route(s);
    else
        retry_target(s);
}

static struct sv
down_note(const struct net_address *address, char *text)
{
    return sv_of(net_address_text(address, text));
}

/* Servers known to be down come last, in their order: while others can be
 * reached nobody waits for them, and if none can they are tried all the same.
 */
static void
put_down_last(struct session *s)
{
    struct route *route = s->route;
    struct route_target *down =
        mem_alloc_array(route->target_count, sizeof *down);
    uint64_t now = loop_now(s->worker->loop);
    size_t up_count = 0, down_count = 0;
    char text[NET_ADDRESS_TEXT];

    for (size_t i = 0; i < route->target_count; i++) {
        struct route_target *target = &route->targets[i];

        if (delivery_memory_has(&s->delivery->down,
                                down_note(&target->address, text), now))
            down[down_count++] = *target;
        else if (up_count++ != i)
            route->targets[up_count - 1] = *target;
    }
    memcpy(route->targets + up_count, down, down_count * sizeof *down);
    mem_free(down);
}

static void
on_route(void *arg, struct route *route)
{
    struct session *s = arg;

    s->query = NULL;
    s->route = route;
    s->evidence_at = loop_now(s->worker->loop);
    if (route->result != ROUTE_OK) {
        session_note_route(s, route);
        fail_destination(s);
        return;
    }
    put_down_last(s);
    s->next_target = 0;
    session_note_incomplete(s);
    session_find_policy(s, try_next_target);
}

static void
find_route(struct session *s)
{
    session_forget_evidence(s);
    route_free(s->route);
    s->route = NULL;
    s->query = route_find(s->revision->resolver, s->worker->loop,
                          s->revision->settings, s->destination, on_route, s);
}

/* --- Sending ------------------------------------------------------------ */

/* Hands the connection to whoever wants it next.  From pool_put() on another
 * thread may wake the session, so nothing of it is touched afterwards. */
static bool
keep_connection(struct session *s)
{
    struct delivery *delivery = s->delivery;
    struct destination *destination = s->destination;
    bool worked = s->worked, kept;

    if (s->detour || !client_usable(s->client) ||
        client_messages(s->client) >= s->control->max_messages_per_connection)
        return false;
    client_keep(s->client, delivery->keep_ms);
    pthread_mutex_lock(&delivery->lock);
    kept = !delivery->draining && s->revision == delivery->current;
    if (kept) {
        s->destination = NULL;
        s->worked = false;
        kept = pool_put(&delivery->pool, sv_of(s->key), &s->pooled);
        if (!kept) {
            s->destination = destination;
            s->worked = worked;
        }
    }
    pthread_mutex_unlock(&delivery->lock);
    if (kept)
        queue_session_ended(delivery->queue, destination, worked);
    return kept;
}

/* A server further down the list was needed for one message only. */
static void
end_detour(struct session *s)
{
    s->detour = false;
    s->next_target = 0;
    quit_client(s);
}

static bool
is_used_up(const struct session *s)
{
    return client_messages(s->client) >=
           s->control->max_messages_per_connection;
}

/* The parcel is sent, or a way is taken that leads to another server; false:
 * it is done with and the next may come. */
static bool
send_parcel(struct session *s, struct parcel *parcel)
{
    enum client_lack lack;

    if (client_screen(parcel) == 0) {
        session_blame_parcel(s, parcel);
        give_back(s, parcel);
        return false;
    }
    s->parcel = parcel;
    lack = client_lacks(s->client, parcel);
    if (lack != CLIENT_LACKS_NOTHING) {
        s->lack = lack;
        if (s->next_target == s->route->target_count && s->failure_rank == 0) {
            give_up_parcel(s);
            return false;
        }
        s->detour = true;
        quit_client(s);
        try_next_target(s);
    } else if (is_used_up(s)) {
        quit_client(s);
        connect_again(s);
    } else {
        s->parcel = NULL;
        s->lack = CLIENT_LACKS_NOTHING;
        s->sending = parcel;
        client_send(s->client, parcel);
    }
    return true;
}

static struct parcel *
take_parcel(struct session *s)
{
    struct parcel *parcel = s->parcel;

    s->parcel = NULL;
    if (parcel == NULL)
        parcel = queue_take(s->delivery->queue, s->destination,
                            s->control->max_recipients_per_message);
    return parcel;
}

/* With a usable client.  Whoever wants a session after this one has ended gets
 * one that looks everything up. */
static void
next_parcel(struct session *s)
{
    struct parcel *parcel;

    if (is_outdated(s) || session_is_overtaken(s)) {
        end_session(s);
        return;
    }
    if (s->detour && s->parcel == NULL)
        end_detour(s);
    do {
        parcel = take_parcel(s);
        if (parcel == NULL) {
            if (s->client == NULL || !keep_connection(s))
                end_session(s);
            return;
        }
        if (s->client == NULL) {
            s->parcel = parcel;
            try_next_target(s);
            return;
        }
    } while (!send_parcel(s, parcel));
}

static void
on_ready(void *owner)
{
    struct session *s = owner;
    char text[NET_ADDRESS_TEXT];

    s->ready = true;
    if (client_tls_failure(s->client)->stage != STAGE_NONE)
        session_count_tls(s, client_tls_failure(s->client));
    session_report_client(s, NULL);
    delivery_memory_forget(
        &s->delivery->down,
        down_note(&s->route->targets[s->target].address, text));
    count_connected(s, true);
    next_parcel(s);
}

static void
on_sent(void *owner, struct parcel *parcel)
{
    struct session *s = owner;

    s->sending = NULL;
    give_back(s, parcel);
    if (client_usable(s->client))
        next_parcel(s);
    /* Otherwise on_lost follows. */
}

/* --- A connection is over ----------------------------------------------- */

/* True while the session is kept or is just being given work again: then
 * nobody but the woken task goes on with it. */
static bool
is_kept(struct session *s, bool *woken)
{
    bool kept;

    pthread_mutex_lock(&s->delivery->lock);
    kept = pool_holds(&s->pooled);
    if (kept)
        pool_remove(&s->delivery->pool, &s->pooled);
    *woken = s->woken;
    pthread_mutex_unlock(&s->delivery->lock);
    return kept;
}

static void
remember(struct session *s, const struct client_loss *loss)
{
    const struct route_target *target = &s->route->targets[s->target];
    uint64_t now = loop_now(s->worker->loop);
    char text[NET_ADDRESS_TEXT];
    struct tls_decision decision;

    if (loss->failure.stage == STAGE_CONNECT && !loss->local)
        delivery_memory_note(&s->delivery->down,
                             down_note(&target->address, text), now,
                             now + DOWN_MS);
    if (!loss->clear_next)
        return;
    decide_for(s, s->target, &decision);
    delivery_memory_note(&s->delivery->clear, clear_note(&decision), now,
                         now + CLEAR_MS);
}

/* A handshake that broke off may have met a firewall that cannot take a long
 * first message: once more, with a short one. */
static bool
is_worth_a_classic_try(const struct session *s, const struct client_loss *loss)
{
    return s->control->retry_classic && !s->classic && loss->tls &&
           loss->failure.stage == STAGE_HANDSHAKE;
}

static void
retry_classic(struct session *s, const struct client_loss *loss)
{
    log_event(NULL, LOG_INFO, "delivery.retry", LOG_STR("destination", s->key),
              LOG_STR("host", client_host(s->client)),
              LOG_STR("ip", client_ip(s->client)),
              LOG_STR("stage", tls_stage_name(loss->failure.stage)),
              LOG_STR("reason", loss->failure.reason),
              LOG_STR("groups", "classic"));
    free_client(s);
    s->classic = true;
    retry_target(s);
}

/* Nothing is wrong with the servers, we cannot reach any just now: no attempt
 * is counted, and a little later the queue asks for a session again. */
static void
wait_for_resources(struct session *s, const struct client_loss *loss)
{
    log_event(NULL, LOG_WARNING, "delivery.exhausted",
              LOG_STR("destination", s->key),
              LOG_STR("reason", loss->failure.reason));
    free_client(s);
    if (s->parcel != NULL)
        queue_untake(s->delivery->queue, s->parcel);
    s->parcel = NULL;
    timer_arm(&s->pause, s->delivery->pause_ms);
}

/* The loss is final: on to the next server, or to this one in another way. */
static void
take_loss(struct session *s, const struct client_loss *loss)
{
    bool again = is_worth_a_classic_try(s, loss);

    if (!again)
        remember(s, loss);
    session_note_loss(s, loss);
    session_report_client(s, loss);
    if (again) {
        retry_classic(s, loss);
        return;
    }
    free_client(s);
    try_next_target(s);
}

/* The policy was looked at once more after a failure under it: another one
 * deserves another try. */
static void
on_fresh(struct session *s)
{
    struct tls_decision decision;

    decide_for(s, s->target, &decision);
    if (memcmp(&decision.key, client_key(s->client), sizeof decision.key) ==
        0) {
        take_loss(s, &s->fresh_loss);
        return;
    }
    log_event(NULL, LOG_INFO, "delivery.policy", LOG_STR("destination", s->key),
              LOG_STR("policy", "mta-sts"), LOG_STR("result", "changed"),
              LOG_STR("reason", s->fresh_loss.failure.reason));
    free_client(s);
    retry_target(s);
}

static void
lost_before_ready(struct session *s, const struct client_loss *loss)
{
    s->fresh_loss = *loss;
    if (loss->local) {
        wait_for_resources(s, loss);
        return;
    }
    if (loss->tls && client_decision(s->client)->sts_use == STS_USE_ENFORCED &&
        session_find_fresh(s, on_fresh))
        return;
    take_loss(s, &s->fresh_loss);
}

/* In the midst of work.  A parcel of which the server had heard nothing is
 * sent again: on a new connection to it where this one was old (it may just
 * have timed out), else to the next server. */
static void
lost_at_work(struct session *s, const struct client_loss *loss)
{
    bool in_order = loss->failure.stage == STAGE_NONE;

    if (loss->unsent != NULL && !loss->reused && !in_order) {
        s->parcel = loss->unsent;
        s->sending = NULL;
        lost_before_ready(s, loss);
        return;
    }
    free_client(s);
    s->parcel = loss->unsent;
    s->sending = NULL;
    if (s->parcel == NULL && in_order && !s->detour)
        s->parcel = take_parcel(s);
    if (s->parcel != NULL)
        connect_again(s);
    else
        end_session(s);
}

static void
on_lost(void *owner, const struct client_loss *loss)
{
    struct session *s = owner;
    bool woken = false, kept = is_kept(s, &woken);

    if (kept || woken) {
        if (loss->idle)
            quit_client(s);
        else
            free_client(s);
        if (!woken)
            session_free(s);
    } else if (s->ready) {
        lost_at_work(s, loss);
    } else {
        lost_before_ready(s, loss);
    }
}

/* --- Waking ------------------------------------------------------------- */

/* Whether the kept connection is still what the policy asks for. */
static bool
may_reuse(struct session *s)
{
    struct tls_decision decision;

    if (s->client == NULL || !client_usable(s->client) ||
        session_is_overtaken(s))
        return false;
    decide_for(s, s->target, &decision);
    return memcmp(&decision.key, client_key(s->client), sizeof decision.key) ==
           0;
}

/* From a session's birth, or the keeping of its connection, to its waking there
 * may have been a reload. */
static void
take_settings_in_force(struct session *s)
{
    struct revision *old = s->revision;

    pthread_mutex_lock(&s->delivery->lock);
    s->revision = revision_ref(s->delivery->current);
    pthread_mutex_unlock(&s->delivery->lock);
    if (old != s->revision)
        quit_client(s);
    revision_unref(old);
}

static void
forget_failure(struct session *s)
{
    s->failure_rank = 0;
    s->failure = (struct destination_failure){0};
    arena_reset(&s->notes);
}

/* A connection that was kept keeps what made other servers fail before it: they
 * might take what this one does not. */
static void
begin(struct session *s)
{
    take_settings_in_force(s);
    session_begin_policy(s);
    s->started = loop_now(s->worker->loop);
    s->control = settings_destination(s->revision->settings,
                                      s->destination->policy_domain);
    if (s->route != NULL && may_reuse(s)) {
        session_note_incomplete(s);
        next_parcel(s);
        return;
    }
    quit_client(s);
    forget_failure(s);
    find_route(s);
}

static void
run_wake(struct task *task)
{
    struct session *s = CONTAINER_OF(task, struct session, wake);
    bool freeing;

    pthread_mutex_lock(&s->delivery->lock);
    s->woken = false;
    freeing = s->delivery->freeing;
    pthread_mutex_unlock(&s->delivery->lock);
    if (!link_on_list(&s->link))
        list_push_back(&s->worker->sessions, &s->link);
    if (freeing) {
        s->destination = NULL; /* nobody is there to be told */
        free_client(s);
    }
    if (s->destination == NULL)
        end_session(s);
    else
        begin(s);
}

struct session *
session_new(struct delivery *delivery, struct worker *worker,
            struct destination *destination)
{
    struct session *s = mem_alloc(sizeof *s);

    s->delivery = delivery;
    s->worker = worker;
    s->revision = revision_ref(delivery->current);
    s->destination = destination;
    s->key = mem_strdup(destination->key);
    s->wake.run = run_wake;
    arena_init(&s->notes, 512);
    s->sts.state = STS_OFF;
    timer_init(&s->pause, worker->loop, on_pause);
    return s;
}

/* A session that is not sending has nothing to finish. */
void
session_drain(struct session *s)
{
    bool woken = false, kept = is_kept(s, &woken);

    if (woken || s->sending != NULL)
        return;
    if (kept) {
        quit_client(s);
        session_free(s);
        return;
    }
    session_cancel_lookups(s);
    if (s->ready)
        quit_client(s);
    else
        free_client(s);
    end_session(s);
}

void
session_drop(struct session *s)
{
    bool woken = false;

    (void)is_kept(s, &woken);
    session_cancel_lookups(s);
    if (s->client != NULL && client_free(s->client) && s->sending != NULL)
        queue_untake(s->delivery->queue, s->sending);
    s->client = NULL;
    s->sending = NULL;
    count_connected(s, false);
    if (!woken)
        end_session(s); /* else its task does */
}
