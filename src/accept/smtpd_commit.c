/* From the first byte of content to the 250: our Received field, the envelope,
 * the spool's answer. */
#include "accept/smtpd.h"
#include "mail/received.h"
#include <errno.h>

static const struct refusal no_space = {452, "4.3.1", "queue full"};
static const struct refusal not_stored = {
    451, "4.3.0", "Cannot store the message now, try again later"};

static void
on_room(void *owner)
{
    struct smtpd *s = owner;

    smtpd_go_on(s, WAIT_ROOM);
    smtpd_settle(s);
}

static void
on_stored(struct smtpd *s)
{
    struct reply reply =
        reply_make(250, "2.0.0", "ok: message %s accepted", s->tx->queue_id);

    s->messages++;
    s->junk = 0;
    atomic_fetch_add(&s->listener->listener->counts.accepted, 1);
    smtpd_log_recipients(s);
    smtpd_log_message(s);
    smtpd_say(s, &reply);
}

static void
on_not_stored(struct smtpd *s, const struct err *error)
{
    bool full = error->code == ENOSPC || error->code == EDQUOT;

    log_event(&s->log, LOG_ERROR, "smtpd.not_stored",
              LOG_STR("queue", s->tx->queue_id), LOG_STR("why", error->text));
    smtpd_refuse(s, full ? &no_space : &not_stored);
}

static void
on_done(void *owner, const struct err *error)
{
    struct smtpd *s = owner;

    s->tx->draft = NULL;
    s->ended++;
    if (error == NULL)
        on_stored(s);
    else
        on_not_stored(s, error);
    smtpd_reset(s);
    smtpd_enter(s, SMTPD_READY);
    smtpd_leave_if_due(s);
    smtpd_go_on(s, WAIT_COMMIT);
    smtpd_settle(s);
}

/* RFC 3848, RFC 6531 section 4.3. */
static const char *
protocol(const struct smtpd *s)
{
    bool tls = conn_is_tls(s->conn);

    if (s->tx->smtputf8)
        return tls ? "UTF8SMTPS" : "UTF8SMTP";
    if (!s->esmtp)
        return "SMTP";
    return tls ? "ESMTPS" : "ESMTP";
}

static const char *
certificate_text(const struct tls_facts *facts)
{
    if (!facts->has_peer_certificate)
        return "no client certificate";
    return facts->verify == TLS_VERIFY_OK ? "client certificate verified"
                                          : "client certificate not verified";
}

static void
write_received(struct smtpd *s, const struct net_address *peer)
{
    const struct listener_settings *options = smtpd_options(s);
    struct transaction *tx = s->tx;
    struct buf *out = &s->home->scratch;
    char ip[NET_ADDRESS_TEXT];
    struct received received = {
        .client_name =
            s->client_name != NULL ? sv_of(s->client_name) : (struct sv){0},
        .helo = sv_of(s->helo),
        .client_ip = sv_of(net_address_ip_text(peer, ip)),
        .by = sv_of(s->listener->settings->hostname),
        .product = options->received_product ? SV("Waxgate " WAXGATE_VERSION)
                                             : (struct sv){0},
        .protocol = sv_of(protocol(s)),
        .id = sv_of(tx->queue_id),
        .wall_s = tx->started / 1000000,
    };

    if (tx->count == 1)
        received.recipient = tx->recipients[0].address;
    if (options->received_tls && conn_is_tls(s->conn)) {
        const struct tls_facts *facts = conn_tls(s->conn);

        received.tls_version = sv_of(facts->version);
        received.tls_cipher = sv_of(facts->cipher);
        received.tls_bits = facts->bits;
        received.tls_verify = sv_of(certificate_text(facts));
    }
    received_write(out, &received);
    tx->own_bytes = buf_length(out);
    (void)spool_draft_write(tx->draft, buf_view(out));
    buf_reset(out);
}

void
smtpd_draft_begin(struct smtpd *s, bool dots)
{
    static const struct spool_draft_owner calls = {on_room, on_done};
    struct transaction *tx = s->tx;
    bool normalize = s->policy->bare_newline == NEWLINE_NORMALIZE;

    spool_make_id(s->home->spool, tx->queue_id);
    tx->started = loop_wall_us(s->home->loop);
    tx->draft = spool_draft_new(s->home->spool, s->home->loop, &calls, s);
    content_decoder_init(&tx->decoder, dots,
                         normalize ? CONTENT_NORMALIZE : CONTENT_REJECT);
    mail_counter_init(&tx->counter);
    write_received(s, conn_peer(s->conn));
}

/* RFC 8689 section 4.1: the header field counts where the parameter was not
 * given.  Nothing else that stands in the message is believed. */
static unsigned
asked_demands(const struct transaction *tx)
{
    if (tx->requiretls)
        return ENVELOPE_REQUIRETLS;
    return mail_counter_tls_optional(&tx->counter) ? ENVELOPE_TLS_OPTIONAL : 0;
}

unsigned
smtpd_demands(const struct smtpd *s)
{
    static const unsigned of_policy[] = {
        [MESSAGE_TLS_ANY] = 0,
        [MESSAGE_TLS_REQUIRED] = ENVELOPE_TLS_REQUIRED,
        [MESSAGE_TLS_VERIFIED] = ENVELOPE_TLS_REQUIRED | ENVELOPE_TLS_VERIFIED,
    };
    unsigned demands =
        asked_demands(s->tx) | of_policy[s->policy->delivery_tls];

    return s->policy->ignore_dane ? demands | ENVELOPE_IGNORE_DANE : demands;
}

static void
fill_envelope(const struct smtpd *s, struct envelope *envelope)
{
    const struct transaction *tx = s->tx;

    *envelope = (struct envelope){
        .queue_id = sv_of(tx->queue_id),
        .sender = tx->sender,
        .envid = tx->envid,
        .ret = tx->ret,
        .body = tx->body,
        .smtputf8 = tx->smtputf8,
        .eight_bit = tx->counter.eight_bit,
        .header_utf8 = tx->counter.header_utf8,
        .client_name = sv_of(s->helo),
        .session = sv_of(s->id),
        .listener = sv_of(s->listener->listener->name),
        .tls_demands = smtpd_demands(s),
        .header_bytes = (uint32_t)(tx->own_bytes + tx->counter.header_bytes),
        .recipients = tx->recipients,
        .recipient_count = tx->count,
    };
    if (conn_is_tls(s->conn)) {
        envelope->tls_version = sv_of(conn_tls(s->conn)->version);
        envelope->tls_cipher = sv_of(conn_tls(s->conn)->cipher);
    }
}

void
smtpd_commit(struct smtpd *s)
{
    struct envelope envelope;
    char ip[NET_ADDRESS_TEXT];

    fill_envelope(s, &envelope);
    envelope.client_address =
        sv_of(net_address_ip_text(conn_peer(s->conn), ip));
    smtpd_enter(s, SMTPD_COMMIT);
    smtpd_wait(s, WAIT_COMMIT);
    spool_draft_commit(s->tx->draft, &envelope);
}
