/* The events of a session; docs/receiving.md lists their keys. */
#include "accept/smtpd.h"
#include "base/clock.h"
#include "mail/date.h"

/* Unique over restarts as long as a process starts fewer than a million
 * sessions for each second of its life. */
void
smtpd_make_id(char *id, size_t size)
{
    static _Atomic uint64_t next;
    uint64_t zero = 0, first = (uint64_t)clock_wall_s() << 20;

    atomic_compare_exchange_strong(&next, &zero, first);
    snprintf(id, size, "S%llx", (unsigned long long)atomic_fetch_add(&next, 1));
}

/* Rows that only note that they would have matched. */
static void
log_passed(const struct smtpd *s, const struct hat *hat)
{
    uint64_t passed = s->match.passed;
    size_t row;

    while (hat_next_passed(hat, &passed, &row))
        log_event(&s->log, LOG_INFO, "smtpd.group",
                  LOG_SV("group", hat_group(hat, row)),
                  LOG_STR("behavior", "continue"));
}

void
smtpd_log_connect(const struct smtpd *s, const struct hat_client *client)
{
    const struct hat *hat = smtpd_options(s)->hat_table;
    char peer[NET_ADDRESS_TEXT], local[NET_ADDRESS_TEXT];

    if (!log_wants(LOG_INFO))
        return;
    log_passed(s, hat);
    log_event(&s->log, LOG_INFO, "smtpd.connect",
              LOG_STR("listener", s->listener->listener->name),
              LOG_STR("peer", net_address_text(conn_peer(s->conn), peer)),
              LOG_STR("local", net_address_text(conn_local(s->conn), local)),
              LOG_IF(s->proxied, LOG_BOOL("proxied", true)),
              LOG_IF(s->client_name != NULL, LOG_STR("name", s->client_name)),
              LOG_SV("group", hat_group(hat, s->match.row)),
              LOG_STR("policy", s->policy->name),
              LOG_STR("behavior", settings_behavior_name(s->policy->behavior)),
              LOG_SV("matched", hat_why(hat, s->match.row, client)));
}

void
smtpd_log_tls(const struct smtpd *s)
{
    const struct tls_facts *facts = conn_tls(s->conn);
    const struct tls_certificate_facts *peer = facts->peer;
    bool failed = facts->verify == TLS_VERIFY_FAILED;
    char names[TLS_NAMES_TEXT] = "", until[MAIL_DATE_TEXT];

    if (peer != NULL)
        tls_names_text(peer, names);
    log_event(&s->log, LOG_INFO, "smtpd.tls", LOG_STR("result", "ok"),
              LOG_STR("version", facts->version),
              LOG_STR("cipher", facts->cipher), LOG_I64("bits", facts->bits),
              LOG_IF(facts->group != NULL && facts->group[0] != '\0',
                     LOG_STR("group", facts->group)),
              LOG_BOOL("resumed", facts->resumed),
              LOG_STR("profile", s->policy->tls_profile->name),
              LOG_STR("profile_from", settings_profile_origin(s->policy)),
              LOG_IF(facts->server_name[0] != '\0',
                     LOG_STR("sni", facts->server_name)),
              LOG_STR("verify", tls_verify_name(facts->verify)),
              LOG_IF(failed, LOG_STR("verify_reason", facts->verify_reason)),
              LOG_IF(facts->has_peer_certificate,
                     LOG_STR("subject", facts->peer_subject)),
              LOG_IF(peer, LOG_STR("issuer", peer->issuer)),
              LOG_IF(peer, LOG_STR("serial", peer->serial)),
              LOG_IF(names[0] != '\0', LOG_STR("names", names)),
              LOG_IF(peer, LOG_STR("not_after",
                                   mail_date_iso(peer->not_after, until))),
              LOG_IF(peer, LOG_STR("sha256", peer->sha256)),
              LOG_IF(peer, LOG_STR("spki_sha256", peer->spki_sha256)));
}

void
smtpd_log_ending(const struct smtpd *s)
{
    const struct tls_certificate_facts *shown = conn_tls(s->conn)->peer;
    int64_t now = loop_wall_us(s->home->loop) / 1000000;
    char until[MAIL_DATE_TEXT], peer[NET_ADDRESS_TEXT];
    enum tls_expiry due;

    if (shown == NULL)
        return;
    due = listener_note_ending(s->listener, shown, now);
    if (due == EXPIRY_FAR)
        return;
    log_event(&s->log, LOG_WARNING, "smtpd.certificate_expiry",
              LOG_STR("peer", net_address_text(conn_peer(s->conn), peer)),
              LOG_STR("state", tls_expiry_name(due)),
              LOG_I64("days_left", tls_days_left(shown->not_after, now)),
              LOG_STR("not_after", mail_date_iso(shown->not_after, until)),
              LOG_STR("subject", shown->subject),
              LOG_STR("sha256", shown->sha256));
}

void
smtpd_log_tls_failed(const struct smtpd *s, const char *stage, const char *why)
{
    log_event(&s->log, LOG_INFO, "smtpd.tls", LOG_STR("result", "failed"),
              LOG_STR("stage", stage), LOG_STR("reason", why));
}

void
smtpd_log_refuse(const struct smtpd *s, const struct reply *reply)
{
    const struct transaction *tx = s->tx;

    log_event(&s->log, LOG_INFO, "smtpd.refuse", LOG_U64("code", reply->code),
              LOG_IF(reply->status != NULL, LOG_STR("status", reply->status)),
              LOG_STR("why", reply->text),
              LOG_STR("state", smtpd_state_name(s->state)),
              LOG_IF(tx != NULL, LOG_SV("from", tx->sender)),
              LOG_IF(tx != NULL && tx->queue_id[0] != '\0',
                     LOG_STR("queue", tx->queue_id)));
}

/* In front of smtpd.message, for those who want to see all of them. */
void
smtpd_log_recipients(const struct smtpd *s)
{
    const struct transaction *tx = s->tx;

    if (!log_wants(LOG_DEBUG) && !log_observed())
        return;
    for (size_t i = 0; i < tx->count; i++)
        log_event(&s->log, LOG_DEBUG, "smtpd.rcpt",
                  LOG_STR("queue", tx->queue_id), LOG_SV("from", tx->sender),
                  LOG_U64("rcpt", i), LOG_SV("to", tx->recipients[i].address));
}

void
smtpd_log_message(const struct smtpd *s)
{
    const struct transaction *tx = s->tx;
    const struct tls_facts *facts =
        conn_is_tls(s->conn) ? conn_tls(s->conn) : NULL;
    unsigned demands = smtpd_demands(s);
    char demanded[ENVELOPE_TLS_TEXT];
    int64_t took = loop_wall_us(s->home->loop) - tx->started;

    log_event(
        &s->log, LOG_INFO, "smtpd.message", LOG_STR("queue", tx->queue_id),
        LOG_SV("from", tx->sender), LOG_SV("to", tx->recipients[0].address),
        LOG_U64("rcpts", tx->count), LOG_U64("size", tx->size),
        LOG_STR("helo", s->helo), LOG_BOOL("tls", facts != NULL),
        LOG_BOOL("tls_offered", smtpd_tls_context(s) != NULL),
        LOG_IF(facts, LOG_STR("version", facts->version)),
        LOG_IF(facts, LOG_STR("cipher", facts->cipher)),
        LOG_IF(facts, LOG_STR("verify", tls_verify_name(facts->verify))),
        LOG_IF(demands != 0,
               LOG_STR("demands", envelope_tls_text(demands, demanded))),
        LOG_IF(tx->counter.eight_bit && tx->body != BODY_8BITMIME,
               LOG_BOOL("undeclared_8bit", true)),
        LOG_IF(tx->smtputf8, LOG_BOOL("smtputf8", true)),
        LOG_IF(tx->decoder.flaws != 0, LOG_U64("flaws", tx->decoder.flaws)),
        LOG_I64("ms", took / 1000), LOG_STR("result", "accepted"));
}

void
smtpd_log_close(const struct smtpd *s)
{
    char peer[NET_ADDRESS_TEXT];

    if (!log_wants(LOG_INFO))
        return;
    log_event(&s->log, LOG_INFO, "smtpd.close", LOG_STR("reason", s->reason),
              LOG_STR("state", smtpd_state_name(s->closed_in)),
              LOG_STR("peer", net_address_text(conn_peer(s->conn), peer)),
              LOG_U64("messages", s->messages), LOG_U64("in", s->bytes_in),
              LOG_U64("out", s->bytes_out),
              LOG_U64("ms", loop_now(s->home->loop) - s->started));
}
