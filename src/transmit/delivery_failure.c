/* Several servers may fail in several ways; what the sender and the
 * administrator are told is the failure that explains most: one of TLS before a
 * refusal, a refusal before a broken connection, that before none at all. */
#include "transmit/delivery_internal.h"

enum rank {
    RANK_NONE,
    RANK_DNS,
    RANK_CONNECT,
    RANK_BROKEN,
    RANK_REPLY,
    RANK_TLS
};

static enum rank
rank_of(const struct client_loss *loss)
{
    if (loss->tls)
        return RANK_TLS;
    if (loss->code != 0)
        return RANK_REPLY;
    return loss->failure.stage == STAGE_CONNECT ? RANK_CONNECT : RANK_BROKEN;
}

/* RFC 3463 sections 3.5 and 3.8, RFC 5248. */
static struct mail_status
status_of(const struct client_loss *loss)
{
    struct mail_status said = loss->status;

    if (loss->code != 0 && !loss->tls) {
        if (said.class != loss->code / 100)
            said = (struct mail_status){0};
        said.class = 4; /* it is tried again, whatever the server said */
        return said;
    }
    switch ((int)loss->failure.stage) {
    case STAGE_NOT_OFFERED:
    case STAGE_REFUSED:
        return (struct mail_status){4, 7, 4}; /* feature not supported */
    case STAGE_CONNECT:
        return (struct mail_status){4, 4, 1}; /* no answer from host */
    default:
        return loss->tls ? (struct mail_status){4, 7, 5}
                         : (struct mail_status){4, 4, 2};
    }
}

static void
point_at(struct session *session, const char *host, const char *ip)
{
    snprintf(session->failed_host, sizeof session->failed_host, "%s", host);
    snprintf(session->failed_ip, sizeof session->failed_ip, "%s", ip);
    session->failure.host = sv_of(session->failed_host);
    session->failure.ip = sv_of(session->failed_ip);
}

static struct tls_trouble_event
tls_event(const struct session *session, const struct tls_failure *failure)
{
    return (struct tls_trouble_event){
        .destination = session->key,
        .domain = session->destination->domain,
        .failure = failure,
        .now_s = loop_wall_us(session->worker->loop) / 1000000,
        .alert = session->control->alert,
    };
}

static void
count_tls_of(const struct session *session, const struct tls_refusal *refusal,
             const char *host, const char *ip)
{
    struct tls_failure failure;
    struct tls_trouble_event event;

    tls_failure_set(&failure, refusal->stage, "%s", refusal->sentence);
    event = tls_event(session, &failure);
    event.host = sv_of(host);
    event.ip = sv_of(ip);
    if (session->delivery->troubles != NULL)
        tls_troubles_count(session->delivery->troubles, &event);
}

/* What was decided and shown there goes with the failure. */
static void
keep_facts(struct session *session)
{
    const struct client *client = session->client;
    struct destination_failure *failure = &session->failure;
    struct arena *notes = &session->notes;

    arena_reset(notes);
    client_facts(client, notes, &failure->tls);
    failure->tls_version = arena_copy(notes, sv_of(client_tls_version(client)));
    failure->tls_cipher = arena_copy(notes, sv_of(client_tls_cipher(client)));
    if (failure->tls_version.n > 0)
        failure->tls_verify = sv_of(tls_verify_name(client_verify(client)));
}

void
session_note_loss(struct session *session, const struct client_loss *loss)
{
    int rank = (int)rank_of(loss);
    bool said = !loss->tls && loss->code >= 400;
    struct tls_failure failure = loss->failure;

    if (loss->sentence[0] != '\0')
        tls_failure_set(&failure, failure.stage, "%s", loss->sentence);
    if (loss->tls)
        session_count_tls(session, &failure);
    if (rank <= session->failure_rank)
        return;
    session->failure_rank = rank;
    session->failure = (struct destination_failure){
        .code = (uint16_t)(said ? loss->code : 451),
        .status = status_of(loss),
        .failure = failure,
    };
    point_at(session, client_host(session->client), client_ip(session->client));
    keep_facts(session);
}

void
session_note_refusal(struct session *session, size_t target,
                     const struct tls_decision *decision)
{
    const struct tls_refusal *refusal = &decision->refusal;
    const struct route_target *to = &session->route->targets[target];
    char ip[NET_ADDRESS_TEXT];

    net_address_ip_text(&to->address, ip);
    log_event(NULL, LOG_INFO, "delivery.refused",
              LOG_STR("destination", session->key), LOG_STR("host", to->host),
              LOG_STR("ip", ip),
              LOG_STR("stage", tls_stage_name(refusal->stage)),
              LOG_STR("why", tls_why_name(refusal->why)),
              LOG_STR("reason", refusal->sentence));
    count_tls_of(session, refusal, to->host, ip);
    if (session->failure_rank >= RANK_TLS)
        return;
    session->failure_rank = RANK_TLS;
    session->failure = (struct destination_failure){
        .code = refusal->code,
        .status = refusal->status,
    };
    tls_failure_set(&session->failure.failure, refusal->stage, "%s",
                    refusal->sentence);
    point_at(session, to->host, ip);
    arena_reset(&session->notes);
    decide_facts(decision, &session->notes, &session->failure.tls);
}

void
session_count_tls(const struct session *session,
                  const struct tls_failure *failure)
{
    struct tls_trouble_event event = tls_event(session, failure);

    event.host = sv_of(client_host(session->client));
    event.ip = sv_of(client_ip(session->client));
    if (session->delivery->troubles != NULL)
        tls_troubles_count(session->delivery->troubles, &event);
}

void
session_note_kept_back(const struct session *session)
{
    const struct destination_failure *failure = &session->failure;
    struct tls_trouble_event event = tls_event(session, &failure->failure);

    if (session->failure_rank != RANK_TLS ||
        session->delivery->troubles == NULL)
        return;
    event.host = failure->host;
    event.ip = failure->ip;
    event.queued =
        queue_waiting(session->delivery->queue, session->destination);
    tls_troubles_kept_back(session->delivery->troubles, &event);
}

void
session_note_route(struct session *session, const struct route *route)
{
    static const struct {
        bool final;
        uint16_t code;
        struct mail_status status;
    } results[] = {
        [ROUTE_TEMPORARY] = {false, 451, {4, 4, 3}},
        [ROUTE_NONE] = {true, 550, {5, 1, 2}},
        [ROUTE_NULL_MX] = {true, 556, {5, 1, 10}}, /* RFC 7505 section 4.1 */
        [ROUTE_LOOP] = {true, 554, {5, 4, 6}},
    };

    session->failure_rank = RANK_DNS;
    session->failure = (struct destination_failure){
        .final = results[route->result].final,
        .code = results[route->result].code,
        .status = results[route->result].status,
    };
    tls_failure_set(&session->failure.failure, STAGE_DNS, "%s", route->reason);
    point_at(session, "", "");
}

void
session_note_incomplete(struct session *session)
{
    if (!session->route->incomplete)
        return;
    session->failure_rank = RANK_DNS;
    session->failure = (struct destination_failure){
        .code = 451,
        .status = {4, 4, 3},
    };
    tls_failure_set(&session->failure.failure, STAGE_DNS, "%s",
                    session->route->reason);
    point_at(session, "", "");
}

void
session_blame_parcel(const struct session *session, struct parcel *parcel)
{
    const struct destination_failure *failure = &session->failure;
    struct arena *arena = &parcel->arena;
    struct ledger_attempt *facts = &parcel->facts;

    if (facts->started_us == 0)
        facts->started_us = loop_wall_us(session->worker->loop);
    facts->ended_us = loop_wall_us(session->worker->loop);
    facts->destination = arena_copy(arena, sv_of(session->key));
    facts->host = arena_copy(
        arena, failure->host.n > 0 || session->route == NULL
                   ? failure->host
                   : sv_of(session->route->targets[session->target].host));
    facts->ip = arena_copy(arena, failure->ip);
    if (failure->failure.stage == STAGE_NONE)
        return;
    ledger_tls_copy(arena, &failure->tls, &facts->tls);
    facts->tls_version = arena_copy(arena, failure->tls_version);
    facts->tls_cipher = arena_copy(arena, failure->tls_cipher);
    facts->tls_verify = failure->tls_verify;
    facts->stage = failure->failure.stage;
    facts->reason = arena_copy(arena, sv_of(failure->failure.reason));
}

void
session_log_failure(const struct session *session)
{
    const struct destination_failure *failure = &session->failure;

    log_event(
        NULL, LOG_INFO, "delivery.failed", LOG_STR("destination", session->key),
        LOG_IF(failure->host.n > 0, LOG_SV("host", failure->host)),
        LOG_IF(failure->ip.n > 0, LOG_SV("ip", failure->ip)),
        LOG_STR("stage", tls_stage_name(failure->failure.stage)),
        LOG_STR("reason", failure->failure.reason),
        LOG_U64("code", failure->code), LOG_BOOL("final", failure->final));
}

static void
log_recipient(const struct parcel *parcel, const struct parcel_recipient *to)
{
    const struct ledger_attempt *facts = &parcel->facts;
    bool failed = facts->stage != STAGE_NONE;
    char status[32];

    snprintf(status, sizeof status, "%u.%u.%u", to->status.class,
             to->status.subject, to->status.detail);
    log_event(
        NULL, LOG_INFO, "delivery.attempt", LOG_SV("delivery", facts->delivery),
        LOG_SV("queue", parcel->envelope.queue_id),
        LOG_SV("destination", facts->destination), LOG_SV("host", facts->host),
        LOG_SV("ip", facts->ip), LOG_SV("to", to->recipient->address),
        LOG_STR("outcome", ledger_outcome_name(to->decided ? to->outcome
                                                           : OUTCOME_DEFERRED)),
        LOG_IF(to->code != 0, LOG_U64("code", to->code)),
        LOG_IF(to->status.class != 0, LOG_STR("status", status)),
        LOG_IF(to->text.n > 0, LOG_SV("text", to->text)),
        LOG_SV("version",
               facts->tls_version.n > 0 ? facts->tls_version : SV("none")),
        LOG_IF(facts->tls_cipher.n > 0, LOG_SV("cipher", facts->tls_cipher)),
        LOG_IF(facts->tls_version.n > 0, LOG_SV("verify", facts->tls_verify)),
        LOG_IF(facts->tls.authority.n > 0,
               LOG_SV("policy", facts->tls.authority)),
        LOG_IF(facts->tls.reasons.n > 0, LOG_SV("whys", facts->tls.reasons)),
        LOG_IF(facts->tls.dane.n > 0, LOG_SV("dane", facts->tls.dane)),
        LOG_IF(facts->tls.sts.n > 0, LOG_SV("sts", facts->tls.sts)),
        LOG_IF(facts->tls.noted.n > 0, LOG_SV("noted", facts->tls.noted)),
        LOG_IF(failed && !to->decided,
               LOG_STR("stage", tls_stage_name(facts->stage))),
        LOG_IF(failed && !to->decided, LOG_SV("reason", facts->reason)),
        LOG_U64("attempt", parcel->attempt),
        LOG_I64("ms", (facts->ended_us - facts->started_us) / 1000));
}

void
session_log_attempt(const struct session *session, const struct parcel *parcel)
{
    (void)session;
    if (!log_wants(LOG_INFO))
        return;
    for (size_t i = 0; i < parcel->recipient_count; i++)
        log_recipient(parcel, &parcel->recipients[i]);
}
