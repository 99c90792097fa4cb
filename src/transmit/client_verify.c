/* What the server proved, and whether that is enough.  Three questions are kept
 * apart: does the chain lead to an authority, is the certificate for a name
 * that is good here, and does a TLSA record match.  Each policy asks its own.
 */
#include "evidence/dane_count.h"
#include "transmit/client_internal.h"

static bool
is_untimely(enum tls_verdict verdict)
{
    return verdict == VERDICT_EXPIRED || verdict == VERDICT_NOT_YET_VALID;
}

enum ledger_tls_result
client_result_of(enum tls_stage stage)
{
    switch ((int)stage) {
    case STAGE_NOT_OFFERED:
    case STAGE_REFUSED:
        return TLS_RESULT_NOT_SUPPORTED;
    case STAGE_CHAIN:
        return TLS_RESULT_NOT_TRUSTED;
    case STAGE_NAME:
        return TLS_RESULT_HOST_MISMATCH;
    case STAGE_EXPIRED:
        return TLS_RESULT_EXPIRED;
    default:
        return TLS_RESULT_VALIDATION;
    }
}

/* --- The chain and the name ----------------------------------------------- */

static bool
has_name(const struct client *client)
{
    const struct tls_decision *decision = &client->plan.decision;

    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0' &&
            conn_tls_matches_name(client->conn, sv_of(decision->names[i])))
            return true;
    return false;
}

static bool
fail(struct tls_failure *failure, enum tls_stage stage, const char *reason)
{
    tls_failure_set(failure, stage, "%s", reason);
    return false;
}

static bool
is_chain_good(const struct client *client, struct tls_failure *failure)
{
    const struct tls_facts *facts = conn_tls(client->conn);

    if (!facts->has_peer_certificate)
        return fail(failure, STAGE_CHAIN, "the server sent no certificate");
    if (facts->verify == TLS_VERIFY_OK)
        return true;
    return fail(failure,
                is_untimely(facts->verdict) ? STAGE_EXPIRED : STAGE_CHAIN,
                facts->verify_reason);
}

static bool
is_pkix_good(const struct client *client, struct tls_failure *failure)
{
    const struct tls_facts *facts = conn_tls(client->conn);

    if (!is_chain_good(client, failure))
        return false;
    if (has_name(client))
        return true;
    tls_failure_set(failure, STAGE_NAME,
                    "the certificate (%s) does not name %s",
                    facts->peer_subject, client->host);
    return false;
}

/* --- DANE ----------------------------------------------------------------- */

/* OpenSSL's verdict covers the records too: dates and names count only under
 * DANE-TA (RFC 7672 section 3.1.1). */
static bool
is_dane_good(const struct client *client, struct tls_failure *failure)
{
    const struct tls_facts *facts = conn_tls(client->conn);

    if (!facts->has_peer_certificate)
        return fail(failure, STAGE_DANE, "the server sent no certificate");
    if (facts->dane->matched && facts->verify == TLS_VERIFY_OK)
        return true;
    return fail(failure, STAGE_DANE,
                facts->dane->reason[0] != '\0' ? facts->dane->reason
                                               : facts->verify_reason);
}

static enum ledger_tls_result
dane_result(const struct client *client)
{
    const struct tls_facts *facts = conn_tls(client->conn);

    if (is_untimely(facts->verdict))
        return TLS_RESULT_EXPIRED;
    if (facts->verdict == VERDICT_NAME)
        return TLS_RESULT_HOST_MISMATCH;
    return TLS_RESULT_VALIDATION;
}

bool
client_dane_try(const struct client *client, const struct tls_dane *dane,
                struct tls_dane_facts *facts)
{
    return client->conn != NULL && conn_tls_dane_try(client->conn, dane, facts);
}

/* --- Together ------------------------------------------------------------- */

enum tls_verify
client_verify_peer(const struct client *client, struct tls_failure *failure,
                   enum ledger_tls_result *result)
{
    const struct tls_decision *decision = &client->plan.decision;
    bool dane = decision->method == METHOD_DANE;

    if (dane && client->plan.watch == NULL) /* not those who only look */
        dane_count_match(conn_tls(client->conn)->dane);
    *result = TLS_RESULT_OK;
    tls_failure_set(failure, STAGE_NONE, "%s", "");
    if (dane ? is_dane_good(client, failure) : is_pkix_good(client, failure))
        return TLS_VERIFY_OK;
    *result = dane ? dane_result(client) : client_result_of(failure->stage);
    if (decision->sts_use == STS_USE_ENFORCED)
        failure->stage = STAGE_STS_CERTIFICATE;
    return conn_tls(client->conn)->has_peer_certificate ? TLS_VERIFY_FAILED
                                                        : TLS_VERIFY_NONE;
}

static void
note(struct client *client, enum tls_stage stage, const char *why,
     enum ledger_tls_result result)
{
    if (client->plan.decision.sts_use != STS_USE_NOTED ||
        client->noted.stage != STAGE_NONE)
        return;
    tls_failure_set(&client->noted, stage, "%s", why);
    client->noted_result = result;
    log_event(&client->log, LOG_INFO, "delivery.policy",
              LOG_STR("policy", "mta-sts"), LOG_STR("mode", "testing"),
              LOG_STR("stage", tls_stage_name(stage)), LOG_STR("reason", why),
              LOG_STR("result", ledger_tls_result_name(result)));
}

void
client_note_clear(struct client *client, enum tls_stage stage, const char *why)
{
    note(client, stage, why, client_result_of(stage));
}

/* The name that counts is the server's own, whatever else the settings would
 * take (RFC 8461 section 4.2). */
void
client_note_testing(struct client *client)
{
    struct tls_failure failure = {0};
    enum ledger_tls_result result;

    if (client->plan.decision.sts_use != STS_USE_NOTED)
        return;
    if (client->plan.decision.sts_unlisted) {
        note(client, STAGE_STS_MX,
             "the MTA-STS policy does not list the server",
             TLS_RESULT_VALIDATION);
        return;
    }
    if (!is_chain_good(client, &failure)) {
        result = client_result_of(failure.stage);
    } else if (!conn_tls_matches_name(client->conn, sv_of(client->host))) {
        tls_failure_set(&failure, STAGE_NAME,
                        "the certificate (%s) does not name %s",
                        conn_tls(client->conn)->peer_subject, client->host);
        result = TLS_RESULT_HOST_MISMATCH;
    } else {
        return;
    }
    note(client, STAGE_STS_CERTIFICATE, failure.reason, result);
}
