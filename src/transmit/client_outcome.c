#include "transmit/client_internal.h"

/* One line out of a reply's text. */
static struct sv
one_line(struct arena *arena, const struct mail_reply *reply)
{
    char *text = arena_cstr(arena, (struct sv){reply->text, reply->length});

    for (char *p = text; *p != '\0'; p++)
        if (*p == '\n')
            *p = ' ';
    return (struct sv){text, reply->length};
}

/* Enhanced codes must agree with the reply (RFC 2034 section 4); "x.0.0" where
 * the server gave none. */
static struct mail_status
status_of(const struct mail_reply *reply)
{
    uint16_t class = (uint16_t)(reply->code / 100);

    if (reply->status.class == class)
        return reply->status;
    return (struct mail_status){.class = class};
}

/* "Relayed": a server without DSN will not tell the sender, so we may have to
 * (RFC 3461 section 6.2.2). */
static enum ledger_outcome
outcome_of(const struct client *client)
{
    switch (client->reply.code / 100) {
    case 2:
        return client->extensions & EXT_DSN ? OUTCOME_DELIVERED
                                            : OUTCOME_RELAYED;
    case 5:
        return OUTCOME_FAILED;
    default:
        return OUTCOME_DEFERRED;
    }
}

struct client_verdict
client_verdict_of_reply(struct client *client)
{
    return (struct client_verdict){
        .outcome = outcome_of(client),
        .code = client->reply.code,
        .status = status_of(&client->reply),
        .text = one_line(&client->tx.parcel->arena, &client->reply),
    };
}

void
client_decide(struct parcel_recipient *recipient,
              const struct client_verdict *verdict)
{
    recipient->decided = true;
    recipient->outcome = verdict->outcome;
    recipient->code = (uint16_t)verdict->code;
    recipient->status = verdict->status;
    recipient->text = verdict->text;
}

void
client_decide_rest(struct client_transaction *tx,
                   const struct client_verdict *verdict)
{
    for (size_t i = 0; i < tx->count; i++)
        if (!tx->recipients[i]->decided)
            client_decide(tx->recipients[i], verdict);
}

enum { NAMES_WRITTEN = 4 };

static struct sv
first_names(const struct tls_certificate_facts *peer, struct arena *arena)
{
    struct buf text = {0};
    struct sv copy;

    for (size_t i = 0; i < peer->name_count && i < NAMES_WRITTEN; i++) {
        if (i > 0)
            buf_add_char(&text, ',');
        buf_add_str(&text, peer->names[i]);
    }
    if (peer->name_count > NAMES_WRITTEN)
        buf_add_str(&text, ",...");
    copy = arena_copy(arena, buf_view(&text));
    buf_fini(&text);
    return copy;
}

static void
write_peer(const struct tls_certificate_facts *peer, struct arena *arena,
           struct ledger_tls *tls)
{
    tls->subject = arena_copy(arena, sv_of(peer->subject));
    tls->issuer = arena_copy(arena, sv_of(peer->issuer));
    tls->serial = arena_copy(arena, sv_of(peer->serial));
    tls->sha256 = arena_copy(arena, sv_of(peer->sha256));
    tls->spki_sha256 = arena_copy(arena, sv_of(peer->spki_sha256));
    tls->names = first_names(peer, arena);
    tls->not_after = peer->not_after;
}

void
client_keep_facts(struct client *client)
{
    const struct tls_facts *facts = client_tls(client);
    struct ledger_tls *tls = &client->facts;

    decide_facts(&client->plan.decision, &client->arena, tls);
    if (client->noted.stage != STAGE_NONE)
        tls->noted = arena_copy(&client->arena, sv_of(client->noted.reason));
    if (facts == NULL)
        return;
    tls->group = arena_copy(&client->arena, sv_of(facts->group));
    tls->server_name = arena_copy(&client->arena, sv_of(facts->server_name));
    if (facts->peer != NULL)
        write_peer(facts->peer, &client->arena, tls);
}

void
client_explain(const struct client *client, const struct tls_failure *failure,
               char *out, size_t size)
{
    const struct tls_decision *decision = &client->plan.decision;
    const struct tls_facts *seen =
        client->conn != NULL ? client_tls(client) : NULL;
    const char *names[COUNT_OF(decision->names)];
    struct tls_sentence facts = {
        .failure = failure,
        .host = client->host,
        .domain = client->plan.domain,
        .peer = seen != NULL ? seen->peer : NULL,
        .verdict = seen != NULL ? seen->verdict : VERDICT_NONE,
        .names = names,
        .dane = decision->dane,
        .demand = decision->reason,
        .now_s = loop_wall_us(client->loop) / 1000000,
    };

    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0')
            names[facts.name_count++] = decision->names[i];
    if (decision->sts_use == STS_USE_ENFORCED)
        facts.sts = client->plan.sts;
    tls_explain_sentence(&facts, out, size);
}

void
client_facts(const struct client *client, struct arena *arena,
             struct ledger_tls *tls)
{
    if (client->facts.authority.n > 0)
        ledger_tls_copy(arena, &client->facts, tls);
    else
        decide_facts(&client->plan.decision, arena, tls);
}

static void
write_tls(struct client *client, struct parcel *parcel)
{
    const struct tls_facts *tls = client_tls(client);
    struct ledger_attempt *facts = &parcel->facts;

    client_facts(client, &parcel->arena, &facts->tls);
    facts->tls_verify = sv_of(tls_verify_name(client->verify));
    if (tls == NULL)
        return;
    facts->tls_version = sv_of(tls->version); /* the library's, static */
    facts->tls_cipher = sv_of(tls->cipher);
    facts->tls_bits = (uint16_t)tls->bits;
    facts->tls_resumed = tls->resumed;
}

void
client_write_facts(struct client *client, struct parcel *parcel,
                   enum tls_stage stage, struct sv reason)
{
    struct ledger_attempt *facts = &parcel->facts;
    struct arena *arena = &parcel->arena;

    facts->ended_us = loop_wall_us(client->loop);
    facts->destination = arena_copy(arena, sv_of(client->destination));
    facts->host = arena_copy(arena, sv_of(client->host));
    facts->ip = arena_copy(arena, sv_of(client->ip));
    facts->port = net_address_port(&client->plan.address);
    facts->delivery = arena_copy(arena, sv_of(client->delivery));
    facts->stage = stage;
    facts->reason = arena_copy(arena, reason);
    write_tls(client, parcel);
}

static bool
is_eight_bit(struct sv text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] > 0x7f)
            return true;
    return false;
}

/* A message sent with SMTPUTF8 that in fact has no UTF-8 in addresses or
 * header may go to any server. */
static bool
needs_smtputf8(const struct parcel *parcel)
{
    if (parcel->envelope.smtputf8 && parcel->envelope.header_utf8)
        return true;
    if (is_eight_bit(parcel->envelope.sender))
        return true;
    for (size_t i = 0; i < parcel->recipient_count; i++)
        if (is_eight_bit(parcel->recipients[i].recipient->address))
            return true;
    return false;
}

/* The queue gives a session one set of demands; should it ever be wrong about a
 * message, that must not go out with less. */
static bool
is_below_demands(const struct client *client, const struct parcel *parcel)
{
    unsigned demands = parcel->envelope.tls_demands;
    enum tls_floor floor = client->plan.decision.floor;

    return ((demands & ENVELOPE_TLS_REQUIRED) && floor < FLOOR_ENCRYPTED) ||
           ((demands & ENVELOPE_TLS_VERIFIED) && floor < FLOOR_VERIFIED);
}

enum client_lack
client_lacks(const struct client *client, const struct parcel *parcel)
{
    unsigned has = client->extensions;

    if ((parcel->envelope.tls_demands & ENVELOPE_REQUIRETLS) &&
        !((has & EXT_REQUIRETLS) && client->plan.decision.requiretls))
        return CLIENT_LACKS_REQUIRETLS;
    if (is_below_demands(client, parcel))
        return CLIENT_LACKS_TLS;
    if (!(has & EXT_SMTPUTF8) && needs_smtputf8(parcel))
        return CLIENT_LACKS_SMTPUTF8;
    if (!(has & EXT_8BITMIME) && parcel->envelope.eight_bit)
        return CLIENT_LACKS_8BITMIME;
    if ((has & EXT_SIZE) && client->size_limit > 0 &&
        spool_content_length(parcel->content) > client->size_limit)
        return CLIENT_LACKS_SIZE;
    return CLIENT_LACKS_NOTHING;
}

void
client_refuse(struct parcel *parcel, enum client_lack lack)
{
    static const struct {
        struct mail_status status;
        const char *text;
    } refusals[] = {
        [CLIENT_LACKS_8BITMIME] =
            {{5, 6, 3},
             "the message has 8-bit content and no server of the destination "
             "offers 8BITMIME"},
        [CLIENT_LACKS_SMTPUTF8] =
            {{5, 6, 7},
             "the message has internationalized addresses or headers and no "
             "server of the destination offers SMTPUTF8"},
        [CLIENT_LACKS_SIZE] = {{5, 3, 4},
                               "the message is larger than the servers of the "
                               "destination accept"},
        [CLIENT_LACKS_REQUIRETLS] =
            {{5, 7, 30}, /* RFC 8689 section 4.2.1 */
             "the message demands REQUIRETLS and no server of the destination "
             "offers it"},
        [CLIENT_LACKS_TLS] = {{4, 7, 5},
                              "the message demands more of TLS than the "
                              "connection was decided to have"},
    };
    struct client_verdict verdict = {
        .outcome = lack == CLIENT_LACKS_TLS ? OUTCOME_DEFERRED : OUTCOME_FAILED,
        .status = refusals[lack].status,
        .text = sv_of(refusals[lack].text),
    };

    for (size_t i = 0; i < parcel->recipient_count; i++)
        if (!parcel->recipients[i].decided)
            client_decide(&parcel->recipients[i], &verdict);
    parcel->facts.stage = STAGE_NONE; /* no server has said so: we do */
    parcel->facts.reason = verdict.text;
}
