/* How TLS went on a connection, written down for the daily reports (RFC 8460)
 * and for the administrator.  It is said under the policy that decided: a
 * success under it counts as much as a failure.
 *
 * Left out: servers of routes, which are not those of the recipients' domain,
 * and mail that does not count (RFC 8689 section 5, RFC 8460 section 3). */
#include "transmit/client_internal.h"
#include "transmit/delivery_internal.h"

#include "base/log.h"
#include "mail/date.h"
#include "tls/describe.h"
#include "tls/expiry.h"
#include <openssl/evp.h>

enum { DAY_S = 86400, DAYS_OF_DAILY = 14, ID_BYTES = 8, SHA256_BYTES = 32 };

static bool
counts(const struct session *s)
{
    const struct tls_report_settings *reports =
        &s->revision->settings->tls_reports;
    unsigned demands = s->destination != NULL ? s->destination->demands : 0;

    if (s->delivery->on_session == NULL || s->destination == NULL ||
        s->destination->domain[0] == '\0' || s->destination->domain[0] == '[')
        return false;
    if (!reports->enabled && reports->failure_recipient_count == 0)
        return false;
    if (demands & ENVELOPE_TLS_REPORT)
        return false;
    return (demands & ENVELOPE_TLS_OPTIONAL) == 0 ||
           (demands & ENVELOPE_REQUIRETLS) != 0;
}

static void
print_records(const struct dane_evidence *dane, struct buf *out)
{
    char line[320];

    for (size_t i = 0; i < dane->tlsa_count; i++) {
        tls_tlsa_print(&dane->tlsa[i], line, sizeof line);
        if (i > 0)
            buf_add_char(out, '\n');
        buf_add_str(out, line);
    }
}

/* The policy that a session was under. */
struct told_policy {
    struct buf text; /* as the report wants it */
    unsigned char digest[EVP_MAX_MD_SIZE];
    char id[ID_BYTES * 2 + 1]; /* of TLSA records, which have none themselves */
};

static void
print_policy(const struct session *s, size_t target,
             const struct tls_decision *decision, struct told_policy *policy)
{
    const struct dane_evidence *dane =
        target < s->dane_count ? s->dane[target] : NULL;
    struct sv text;

    if (decision->policy == LEDGER_POLICY_STS && s->sts.policy != NULL)
        sts_policy_print(s->sts.policy, &policy->text);
    else if (decision->policy == LEDGER_POLICY_TLSA && dane != NULL)
        print_records(dane, &policy->text);
    text = buf_view(&policy->text);
    if (EVP_Digest(text.p, text.n, policy->digest, NULL, EVP_sha256(), NULL) !=
        1)
        abort(); /* tls_init() has seen it work */
    if (decision->policy == LEDGER_POLICY_TLSA && text.n > 0)
        for (size_t i = 0; i < ID_BYTES; i++)
            snprintf(policy->id + 2 * i, 3, "%02x", policy->digest[i]);
}

/* The text need not be told with each session: it was, a little while ago.
 * That is not for all of the day, as what was written then may have got lost
 * before anybody counted it. */
static bool
was_told(const struct session *s, const struct told_policy *policy)
{
    struct delivery_memory *told = &s->delivery->told;
    int64_t wall_s = loop_wall_us(s->worker->loop) / 1000000;
    uint64_t now = loop_now(s->worker->loop);
    uint64_t left_ms = (uint64_t)(DAY_S - wall_s % DAY_S) * 1000;
    struct buf key = {0};
    bool was;

    if (left_ms > s->delivery->told_ms)
        left_ms = s->delivery->told_ms;
    buf_printf(&key, "%s\n%s\n%lld\n", s->policy_domain, s->sts.id,
               (long long)(wall_s / DAY_S));
    buf_add(&key, (struct sv){(const char *)policy->digest, SHA256_BYTES});
    was = delivery_memory_has(told, buf_view(&key), now);
    if (!was)
        delivery_memory_note(told, buf_view(&key), now, now + left_ms);
    buf_fini(&key);
    return was;
}

static void
tell(const struct session *s, size_t target,
     const struct tls_decision *decision, struct ledger_session *record)
{
    struct told_policy policy = {0};

    print_policy(s, target, decision, &policy);
    record->ended_us = loop_wall_us(s->worker->loop);
    record->domain = sv_of(s->policy_domain);
    record->policy = decision->policy;
    if (decision->policy == LEDGER_POLICY_STS)
        record->policy_id = sv_of(s->sts.id);
    else
        record->policy_id = sv_of(policy.id);
    if (buf_length(&policy.text) > 0 && !was_told(s, &policy))
        record->policy_text = buf_view(&policy.text);
    s->delivery->on_session(s->delivery->session_arg, record);
    buf_fini(&policy.text);
}

static void
set_failure(struct ledger_session *record, enum ledger_tls_result result,
            const struct tls_failure *failure, bool enforced)
{
    record->result = result;
    record->enforced = enforced;
    record->stage = failure->stage;
    record->reason = sv_of(failure->reason);
}

/* The policy was announced and could not be had: the session went without, and
 * that is what the domain has to know. */
static bool
is_unfetched(const struct tls_decision *decision)
{
    return decision->policy == LEDGER_POLICY_STS &&
           decision->sts_state == STS_UNFETCHED;
}

static void
set_unfetched(const struct session *s, struct ledger_session *record)
{
    record->result =
        s->sts.trouble == STS_TROUBLE_WEBPKI    ? TLS_RESULT_STS_WEBPKI
        : s->sts.trouble == STS_TROUBLE_INVALID ? TLS_RESULT_STS_INVALID
                                                : TLS_RESULT_STS_FETCH;
    record->enforced = false;
    record->stage = STAGE_NONE;
    record->reason = sv_of(s->sts.reason);
}

/* Seconds until the certificate may be spoken of again. */
static int64_t
silence(const struct tls_certificate_facts *peer, int64_t now)
{
    int64_t daily = peer->not_after - (int64_t)DAYS_OF_DAILY * DAY_S;

    return daily > now ? daily - now : DAY_S;
}

static void
log_expiry(const struct session *s, const struct tls_certificate_facts *peer,
           int64_t now)
{
    char until[MAIL_DATE_TEXT];

    log_event(
        NULL, LOG_WARNING, "delivery.certificate_expiry",
        LOG_STR("delivery", client_delivery(s->client)),
        LOG_STR("destination", s->destination->key),
        LOG_STR("host", client_host(s->client)),
        LOG_STR("ip", client_ip(s->client)),
        LOG_STR("state", tls_expiry_name(tls_expiry_of(peer->not_after, now))),
        LOG_I64("days_left", tls_days_left(peer->not_after, now)),
        LOG_STR("not_after", mail_date_iso(peer->not_after, until)),
        LOG_STR("subject", peer->subject), LOG_STR("sha256", peer->sha256));
}

/* A server's certificate that ends soon, or has ended: said once 30 days
 * before, and once a day in the last 14 days and from then on. */
static void
watch_expiry(const struct session *s)
{
    const struct tls_facts *facts = client_tls(s->client);
    int64_t wall_s = loop_wall_us(s->worker->loop) / 1000000;
    uint64_t now = loop_now(s->worker->loop);
    char key[96];

    if (facts == NULL || facts->peer == NULL || s->destination == NULL ||
        tls_expiry_of(facts->peer->not_after, wall_s) == EXPIRY_FAR)
        return;
    snprintf(key, sizeof key, "ends %s", facts->peer->sha256);
    if (delivery_memory_has(&s->delivery->told, sv_of(key), now))
        return;
    log_expiry(s, facts->peer, wall_s);
    delivery_memory_note(&s->delivery->told, sv_of(key), now,
                         now + (uint64_t)silence(facts->peer, wall_s) * 1000);
}

void
session_report_client(const struct session *s, const struct client_loss *loss)
{
    const struct client *client = s->client;
    const struct tls_decision *decision = client_decision(client);
    struct ledger_session record = {
        .host = sv_of(client_host(client)),
        .ip = sv_of(client_ip(client)),
        .helo = sv_of(client_server_helo(client)),
        .local_ip = sv_of(client_local_ip(client)),
        .tls_version = sv_of(client_tls_version(client)),
        .tls_cipher = sv_of(client_tls_cipher(client)),
        .delivery = sv_of(client_delivery(client)),
        .result = TLS_RESULT_OK,
    };

    watch_expiry(s);
    if (!counts(s) || (loss != NULL && !loss->tls) ||
        decision->floor == FLOOR_CLEAR)
        return;
    if (loss != NULL)
        set_failure(&record, loss->result, &loss->failure,
                    decision->floor >= FLOOR_ENCRYPTED);
    else if (client_noted(client)->stage != STAGE_NONE)
        set_failure(&record, client_noted_result(client), client_noted(client),
                    false);
    else if (is_unfetched(decision))
        set_unfetched(s, &record);
    else if (client_tls(client) == NULL)
        set_failure(&record, client_result_of(client_clear(client)->stage),
                    client_clear(client), false);
    tell(s, s->target, decision, &record);
}

static enum ledger_tls_result
refusal_result(const struct session *s, size_t target,
               const struct tls_decision *decision)
{
    if (decision->refusal.stage == STAGE_STS_MX)
        return TLS_RESULT_VALIDATION;
    if (target < s->dane_count && s->dane[target] != NULL &&
        s->dane[target]->state == DANE_FAILED)
        return TLS_RESULT_DNSSEC_INVALID;
    if (decision->refusal.why == WHY_DANE_UNUSABLE)
        return TLS_RESULT_TLSA_INVALID;
    return TLS_RESULT_DANE_REQUIRED;
}

/* A policy that cannot be found out is nothing to report: there is none to
 * report under. */
void
session_report_refusal(const struct session *s, size_t target,
                       const struct tls_decision *decision)
{
    struct ledger_session record = {
        .host = sv_of(s->route->targets[target].host),
        .enforced = true,
        .stage = decision->refusal.stage,
        .reason = sv_of(decision->refusal.sentence),
    };

    if (!counts(s) || decision->refusal.stage == STAGE_DNS)
        return;
    record.result = refusal_result(s, target, decision);
    tell(s, target, decision, &record);
}
