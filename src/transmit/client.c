#include "transmit/client.h"
#include "tls/context.h"
#include "transmit/client_internal.h"
#include "transmit/tls_consequence.h"

enum {
    REPLY_WAITING_MAX = 4096, /* bytes without a whole line in them */
    OUTPUT_LOW = 64 << 10,    /* bytes: when to read more of the content */
    LINGER_MS = 2000,         /* for QUIT where its answer is not awaited */
};

#define AS_CLIENT_ROW(state, name, limit, reply)                               \
    {name, offsetof(struct deliver_timeouts, limit), reply},
static const struct state {
    const char *name;
    size_t limit; /* offset of its time limit */
    bool reply;   /* one is awaited */
} states[CLIENT_STATE_COUNT] = {CLIENT_STATES(AS_CLIENT_ROW)};
#undef AS_CLIENT_ROW

/* --- Life --------------------------------------------------------------- */

static void
destroy(struct client *client)
{
    buf_fini(&client->out);
    arena_fini(&client->arena);
    mem_free(client->fetched);
    tls_context_unref(client->plan.context);
    dane_evidence_unref(client->plan.dane);
    mem_free(client);
}

static void
enter_callback(struct client *client)
{
    client->busy++;
}

/* The owner may have freed the client meanwhile: then it goes now. */
static void
leave_callback(struct client *client)
{
    client->busy--;
    if (client->busy == 0 && client->doomed && !client->fetching)
        destroy(client);
}

struct client *
client_make(struct loop *loop, const struct client_plan *plan,
            const struct client_calls *calls, void *owner)
{
    struct client *client = mem_alloc(sizeof *client);

    arena_init(&client->arena, 1024);
    client->loop = loop;
    client->calls = *calls;
    client->owner = owner;
    client->plan = *plan;
    if (plan->context != NULL)
        client->plan.context = tls_context_ref(plan->context);
    if (plan->dane != NULL)
        client->plan.dane = dane_evidence_ref(plan->dane);
    snprintf(client->host, sizeof client->host, "%s", plan->host);
    snprintf(client->helo, sizeof client->helo, "%s", plan->helo);
    snprintf(client->delivery, sizeof client->delivery, "%s", plan->delivery);
    snprintf(client->destination, sizeof client->destination, "%s",
             plan->destination);
    net_address_ip_text(&plan->address, client->ip);
    client->log = (struct log_context){
        .fields = {LOG_STR("delivery", client->delivery),
                   LOG_STR("destination", client->destination),
                   LOG_STR("host", client->host), LOG_STR("ip", client->ip)}};
    client->started = loop_now(loop);
    client->deadline = client->started + plan->timeouts.session;
    client->limit = client->deadline;
    mail_reply_init(&client->reply);
    return client;
}

void
client_attach(struct client *client, struct conn *conn, bool connected)
{
    client->conn = conn;
    conn_set_output_low(conn, OUTPUT_LOW);
    client_enter(client, connected ? CLIENT_GREETING : CLIENT_CONNECTING);
}

struct client *
client_new(struct loop *loop, const struct client_plan *plan,
           const struct client_calls *calls, void *owner)
{
    struct client *client = client_make(loop, plan, calls, owner);

    client_attach(
        client,
        conn_connect(loop, &plan->address, NULL, client_on_event, client),
        false);
    return client;
}

static void
close_conn(struct client *client, uint64_t linger_ms)
{
    if (client->conn != NULL)
        conn_close(client->conn, linger_ms);
    client->conn = NULL;
}

bool
client_free(struct client *client)
{
    bool fetching = client->fetching;

    if (client->closing != NULL)
        list_remove(client->closing, &client->link);
    client->closing = NULL;
    close_conn(client, 0);
    client->doomed = true;
    client->plan.watch = NULL;
    client->calls = (struct client_calls){0};
    if (client->busy == 0 && !fetching)
        destroy(client);
    return !fetching;
}

void
client_enter(struct client *client, enum client_state state)
{
    const char *limits = (const char *)&client->plan.timeouts;
    uint64_t now = loop_now(client->loop), limit, left;

    memcpy(&limit, limits + states[state].limit, sizeof limit);
    left = client->limit > now ? client->limit - now : 1;
    client->state = state;
    conn_set_timeout(client->conn, limit < left ? limit : left);
    if (client->plan.watch != NULL && client->plan.watch->on_state != NULL)
        client->plan.watch->on_state(client->owner, states[state].name);
}

void
client_line(struct client *client, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&client->out, fmt, args);
    va_end(args);
    buf_add(&client->out, SV("\r\n"));
    client->due++;
}

void
client_flush(struct client *client)
{
    conn_write(client->conn, buf_view(&client->out));
    buf_reset(&client->out);
}

/* --- The end ------------------------------------------------------------ */

static void
log_end(const struct client *client, const char *reason)
{
    log_event(&client->log, LOG_INFO, "delivery.close",
              LOG_STR("state", states[client->state].name),
              LOG_U64("messages", client->messages),
              LOG_U64("ms", loop_now(client->loop) - client->started),
              LOG_STR("reason", reason));
}

bool
client_is_old(const struct client *client)
{
    return client->kept || client->messages > 0;
}

struct client_loss
client_loss_of(const struct client *client, enum tls_stage stage,
               const char *reason)
{
    struct client_loss loss = {.reused = client_is_old(client)};

    tls_failure_set(&loss.failure, stage, "%s", reason);
    return loss;
}

/* A server that is only refused, not feared, hears QUIT. */
static bool
deserves_quit(enum tls_stage stage)
{
    switch ((int)stage) {
    case STAGE_GREETING:
    case STAGE_EHLO:
    case STAGE_NOT_OFFERED:
    case STAGE_REFUSED:
    case STAGE_CHAIN:
    case STAGE_NAME:
    case STAGE_EXPIRED:
    case STAGE_VERSION:
    case STAGE_DANE:
    case STAGE_STS_CERTIFICATE:
        return true;
    default:
        return false;
    }
}

/* Clear text on the next connection. */
static bool
allows_clear_next(const struct client *client, const struct client_loss *loss)
{
    return loss->tls &&
           tls_may_go_clear_next(&client->plan.decision, loss->failure.stage);
}

/* Gives a running parcel back, or marks it as unsent. */
static void
return_parcel(struct client *client, struct client_loss *loss)
{
    struct client_transaction *tx = &client->tx;
    struct parcel *parcel = tx->parcel;

    if (parcel == NULL)
        return;
    tx->parcel = NULL;
    if (!tx->any_reply) {
        loss->unsent = parcel;
        return;
    }
    client->messages++;
    if (client->calls.on_sent != NULL)
        client->calls.on_sent(client->owner, parcel);
}

static void
tell_loss(struct client *client)
{
    enter_callback(client);
    client->lost = true;
    return_parcel(client, &client->loss);
    if (client->calls.on_lost != NULL)
        client->calls.on_lost(client->owner, &client->loss);
    leave_callback(client);
}

/* The end of a connection that nobody owns any more. */
static void
finish_quit(struct client *client)
{
    if (client->closing != NULL)
        list_remove(client->closing, &client->link);
    client->closing = NULL;
    close_conn(client, LINGER_MS);
    client->doomed = true;
}

void
client_lose_with(struct client *client, const struct client_loss *loss)
{
    bool quit = deserves_quit(loss->failure.stage);

    if (client->closing != NULL) {
        finish_quit(client);
        return;
    }
    if (client->lost || client->loss_waits || client->doomed)
        return;
    client->loss = *loss;
    if (loss->tls && loss->result == TLS_RESULT_OK)
        client->loss.result = client_result_of(loss->failure.stage);
    client->loss.local = client->local;
    if (loss->tls)
        client_explain(client, &loss->failure, client->loss.sentence,
                       sizeof client->loss.sentence);
    client->loss.clear_next = allows_clear_next(client, loss);
    if (client->tx.parcel != NULL)
        client_write_facts(client, client->tx.parcel, loss->failure.stage,
                           sv_of(loss->failure.reason));
    log_end(client,
            loss->failure.stage == STAGE_NONE ? "done" : loss->failure.reason);
    if (!loss->idle) {
        if (quit && client->conn != NULL)
            conn_write(client->conn, SV("QUIT\r\n"));
        close_conn(client, quit ? LINGER_MS : 0);
        client->state = CLIENT_CLOSED;
    }
    client->loss_waits = client->fetching;
    if (!client->fetching)
        tell_loss(client);
}

void
client_lose(struct client *client, enum tls_stage stage, const char *fmt, ...)
{
    struct client_loss loss = {.reused = client_is_old(client)};
    char reason[sizeof loss.failure.reason];
    va_list args;

    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    loss = client_loss_of(client, stage, reason);
    loss.tls = client->conn != NULL && client_in_tls_phase(client);
    client_lose_with(client, &loss);
}

void
client_lose_by_reply(struct client *client, enum tls_stage stage)
{
    const struct mail_reply *reply = &client->reply;
    struct client_loss loss = client_loss_of(client, stage, "");

    tls_failure_set(&loss.failure, stage, "%u %.*s", reply->code,
                    (int)reply->length, reply->text);
    loss.tls = client_in_tls_phase(client);
    loss.code = reply->code;
    loss.status = reply->status;
    client_lose_with(client, &loss);
}

static void
lose_in_order(struct client *client, bool idle)
{
    struct client_loss loss = client_loss_of(client, STAGE_NONE, "");

    loss.idle = idle;
    client_lose_with(client, &loss);
}

void
client_quit(struct client *client, struct list *closing)
{
    client->plan.watch = NULL;
    client->calls = (struct client_calls){0};
    if (client->conn == NULL || client->state != CLIENT_READY) {
        client_free(client);
        return;
    }
    if (!client->lost)
        log_end(client, "done");
    client_line(client, "QUIT");
    client_enter(client, CLIENT_QUIT);
    client_flush(client);
    client->closing = closing;
    list_push_back(closing, &client->link);
}

/* --- Replies ------------------------------------------------------------ */

/* Where more came than was asked for, the last reply asked for still counts;
 * but none of the rest may pass for the answer to a later command. */
static void
on_transaction_reply(struct client *client, bool excess)
{
    if (excess)
        client->broken = true;
    client_on_transaction_reply(client);
    if (excess && client->tx.parcel != NULL)
        client_lose(client, STAGE_PROTOCOL, "more replies than commands (%s)",
                    states[client->state].name);
}

static void
on_reply(struct client *client)
{
    bool unasked = client->due == 0;
    bool excess;

    if (!unasked)
        client->due--;
    excess = client->due == 0 && conn_input(client->conn).n > 0;
    if (client->reply.code == 421)
        client->broken = true; /* it is about to close */
    if (client->state == CLIENT_QUIT) {
        finish_quit(client);
    } else if (client->state == CLIENT_READY) {
        if (client->reply.code == 421)
            lose_in_order(client, false);
        else
            client_lose(client, STAGE_PROTOCOL, "reply %u to no command",
                        client->reply.code);
    } else if (client->state < CLIENT_READY) {
        if (excess &&
            (client->state != CLIENT_STARTTLS || client->reply.code != 220))
            client_lose(client, STAGE_PROTOCOL,
                        "more replies than commands (%s)",
                        states[client->state].name);
        else
            client_on_hello_reply(client);
    } else {
        on_transaction_reply(client, excess);
    }
}

static void
read_replies(struct client *client)
{
    while (client->conn != NULL && !client->doomed) {
        struct sv in = conn_input(client->conn);
        size_t before = in.n;
        enum mail_reply_result result;

        if (in.n == 0 || client->state == CLIENT_HANDSHAKE)
            return;
        result = mail_reply_take(
            &in, &client->reply,
            client->state == CLIENT_EHLO ? client_on_ehlo_line : NULL, client);
        conn_consume(client->conn, before - in.n);
        if (result == MAIL_REPLY_BAD ||
            (result == MAIL_REPLY_MORE && in.n > REPLY_WAITING_MAX)) {
            client_lose(client, STAGE_PROTOCOL, "not an SMTP reply (%s)",
                        states[client->state].name);
            return;
        }
        if (result == MAIL_REPLY_MORE)
            return;
        on_reply(client);
        mail_reply_init(&client->reply);
    }
}

/* --- Events ------------------------------------------------------------- */

static void
on_connected(struct client *client)
{
    net_address_ip_text(conn_local(client->conn), client->local_ip);
    log_event(&client->log, LOG_INFO, "delivery.connect",
              LOG_STR("result", "ok"), LOG_STR("local", client->local_ip),
              LOG_U64("port", net_address_port(&client->plan.address)));
    client_enter(client, CLIENT_GREETING);
}

/* The stage at which a connection broke that said nothing about it. */
static enum tls_stage
stage_of_break(const struct client *client)
{
    switch ((int)client->state) {
    case CLIENT_CONNECTING:
        return STAGE_CONNECT;
    case CLIENT_GREETING:
        return STAGE_GREETING;
    case CLIENT_STARTTLS:
        return STAGE_REFUSED;
    case CLIENT_HANDSHAKE:
        return STAGE_HANDSHAKE;
    default:
        return STAGE_IO;
    }
}

static void
log_broken(const struct client *client, const struct tls_failure *failure)
{
    if (client->state == CLIENT_CONNECTING)
        log_event(&client->log, LOG_INFO, "delivery.connect",
                  LOG_STR("result", "failed"),
                  LOG_U64("port", net_address_port(&client->plan.address)),
                  LOG_STR("stage", tls_stage_name(failure->stage)),
                  LOG_STR("reason", failure->reason));
    else if (client_in_tls_phase(client))
        log_event(
            &client->log, LOG_INFO, "delivery.tls", LOG_STR("result", "failed"),
            LOG_STR("stage", tls_stage_name(failure->stage)),
            LOG_STR("reason", failure->reason),
            LOG_STR("floor", tls_floor_name(client->plan.decision.floor)));
}

/* A server that wants a certificate says so in various ways when it gets none:
 * an alert, or it only closes, with TLS 1.3 even after the handshake. */
static bool
lacks_certificate(const struct client *client, enum tls_stage stage)
{
    const struct destination_settings *control = client->plan.decision.control;
    const struct tls_facts *facts;

    if (!client_in_tls_phase(client) || client->state == CLIENT_STARTTLS ||
        (control != NULL && control->client_certificate != NULL))
        return false;
    facts = conn_tls(client->conn);
    return stage == STAGE_CLIENT_CERTIFICATE ||
           (facts != NULL && facts->certificate_requested &&
            (stage == STAGE_HANDSHAKE || stage == STAGE_IO));
}

static void
break_with(struct client *client, enum tls_stage stage, const char *reason)
{
    struct tls_failure failure;

    if (lacks_certificate(client, stage))
        tls_failure_set(&failure, STAGE_CLIENT_CERTIFICATE,
                        "the server asked for a client certificate and we had "
                        "none (%s)",
                        reason);
    else
        tls_failure_set(&failure, stage, "%s", reason);
    log_broken(client, &failure);
    client->local =
        client->state == CLIENT_CONNECTING && conn_failed_locally(client->conn);
    client_lose(client, failure.stage, "%s", failure.reason);
}

static void
on_error(struct client *client)
{
    struct tls_failure failure = *conn_failure(client->conn);
    enum tls_stage stage = failure.stage;

    if (client->state == CLIENT_QUIT) {
        finish_quit(client);
        return;
    }
    if (client->state == CLIENT_READY && stage == STAGE_IO) {
        lose_in_order(client, false); /* a reset between messages */
        return;
    }
    if (stage == STAGE_IO)
        stage = stage_of_break(client);
    break_with(client, stage, failure.reason);
}

static void
on_eof(struct client *client)
{
    char reason[80];

    if (client->state == CLIENT_QUIT) {
        finish_quit(client);
    } else if (client->state == CLIENT_READY) {
        lose_in_order(client, false);
    } else {
        snprintf(reason, sizeof reason, "the server closed the connection (%s)",
                 states[client->state].name);
        break_with(client, stage_of_break(client), reason);
    }
}

static void
on_timeout(struct client *client)
{
    enum tls_stage stage = stage_of_break(client);
    char reason[80];

    if (client->state == CLIENT_QUIT) {
        finish_quit(client);
    } else if (client->state == CLIENT_READY) {
        lose_in_order(client, true);
    } else {
        snprintf(reason, sizeof reason, "no answer in time (%s)",
                 states[client->state].name);
        break_with(client, stage == STAGE_IO ? STAGE_TIMEOUT : stage, reason);
    }
}

static void
handle(struct client *client, enum conn_event event)
{
    switch (event) {
    case CONN_CONNECTED:
        on_connected(client);
        break;
    case CONN_TLS_READY:
        client_on_tls_ready(client);
        break;
    case CONN_DATA:
        read_replies(client);
        break;
    case CONN_OUTPUT_LOW:
        if (client->state == CLIENT_CONTENT)
            client_pump(client);
        break;
    case CONN_EOF:
        on_eof(client);
        break;
    case CONN_TIMEOUT:
        on_timeout(client);
        break;
    case CONN_ERROR:
        on_error(client);
        break;
    }
}

void
client_on_event(void *owner, struct conn *conn, enum conn_event event)
{
    struct client *client = owner;

    (void)conn;
    enter_callback(client);
    handle(client, event);
    leave_callback(client);
}

void
client_on_fetched(void *arg, ssize_t got, const struct err *err)
{
    struct client *client = arg;

    enter_callback(client);
    client->fetching = false;
    if (client->loss_waits) {
        client->loss_waits = false;
        tell_loss(client);
    } else if (!client->doomed) {
        client_take_fetched(client, got, err);
    }
    leave_callback(client);
}

/* --- What the owner asks ------------------------------------------------ */

bool
client_usable(const struct client *client)
{
    return client->conn != NULL && client->state == CLIENT_READY &&
           !client->broken && loop_now(client->loop) < client->deadline;
}

void
client_keep(struct client *client, uint64_t ms)
{
    client->kept = true;
    conn_set_timeout(client->conn, ms);
}

const char *
client_delivery(const struct client *client)
{
    return client->delivery;
}

const char *
client_host(const struct client *client)
{
    return client->host;
}

const char *
client_ip(const struct client *client)
{
    return client->ip;
}

uint32_t
client_messages(const struct client *client)
{
    return client->messages;
}

const char *
client_state_name(const struct client *client)
{
    return states[client->state].name;
}

const struct tls_facts *
client_tls(const struct client *client)
{
    return client->conn != NULL && conn_is_tls(client->conn)
               ? conn_tls(client->conn)
               : NULL;
}

const struct tls_failure *
client_tls_failure(const struct client *client)
{
    return &client->tls_failure;
}

enum tls_verify
client_verify(const struct client *client)
{
    return client->verify;
}

const struct tls_failure *
client_clear(const struct client *client)
{
    return &client->clear;
}

const struct tls_failure *
client_noted(const struct client *client)
{
    return &client->noted;
}

enum ledger_tls_result
client_noted_result(const struct client *client)
{
    return client->noted_result;
}

const struct tls_decision *
client_decision(const struct client *client)
{
    return &client->plan.decision;
}

const char *
client_server_helo(const struct client *client)
{
    return client->server_helo;
}

const char *
client_local_ip(const struct client *client)
{
    return client->local_ip;
}

const char *
client_tls_version(const struct client *client)
{
    return client->tls_version != NULL ? client->tls_version : "";
}

const char *
client_tls_cipher(const struct client *client)
{
    return client->tls_cipher != NULL ? client->tls_cipher : "";
}

size_t
client_chain(const struct client *client, struct tls_certificate_facts **chain,
             size_t max)
{
    return client->conn != NULL ? conn_tls_chain(client->conn, chain, max) : 0;
}

const struct tls_session_key *
client_key(const struct client *client)
{
    return &client->plan.decision.key;
}

struct client *
client_of_link(struct link *link)
{
    return CONTAINER_OF(link, struct client, link);
}
