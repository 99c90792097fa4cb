/* From the greeting to the first MAIL: EHLO, STARTTLS and what follows from
 * the decision. */
#include "mail/date.h"
#include "transmit/client_internal.h"
#include "transmit/tls_consequence.h"

static const struct extension {
    const char *keyword;
    enum client_extension bit;
} extensions[] = {
    {"PIPELINING", EXT_PIPELINING},
    {"CHUNKING", EXT_CHUNKING},
    {"SIZE", EXT_SIZE},
    {"8BITMIME", EXT_8BITMIME},
    {"SMTPUTF8", EXT_SMTPUTF8},
    {"DSN", EXT_DSN},
    {"STARTTLS", EXT_STARTTLS},
    {"REQUIRETLS", EXT_REQUIRETLS},
};

/* The server's name for itself, for reports; printable only. */
static void
keep_helo(struct client *client, struct sv name)
{
    size_t n = 0;

    while (n < name.n && n + 1 < sizeof client->server_helo) {
        client->server_helo[n] = char_is_print(name.p[n]) ? name.p[n] : '?';
        n++;
    }
    client->server_helo[n] = '\0';
}

void
client_on_ehlo_line(void *arg, unsigned index, struct sv text)
{
    struct client *client = arg;
    struct sv rest = text;
    struct sv keyword = sv_take_until(&rest, ' ');
    uint64_t limit;

    if (client->plan.watch != NULL && client->plan.watch->on_ehlo != NULL)
        client->plan.watch->on_ehlo(client->owner, index, text);
    if (index == 0) {
        keep_helo(client, keyword);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(extensions); i++) {
        if (!sv_is_nocase(keyword, extensions[i].keyword))
            continue;
        client->extensions |= extensions[i].bit;
        if (extensions[i].bit == EXT_SIZE && sv_to_u64(sv_trim(rest), &limit))
            client->size_limit = limit;
    }
}

/* Everything learnt before belongs to the past (RFC 3207 section 4.2). */
static void
say_ehlo(struct client *client)
{
    client->extensions = 0;
    client->size_limit = 0;
    client_line(client, "EHLO %s", client->helo);
    client_enter(client, CLIENT_EHLO);
    client_flush(client);
}

static void
ready(struct client *client)
{
    client_enter(client, CLIENT_READY);
    client->calls.on_ready(client->owner);
}

bool
client_in_tls_phase(const struct client *client)
{
    return client->state == CLIENT_STARTTLS ||
           client->state == CLIENT_HANDSHAKE ||
           (client->state == CLIENT_EHLO && conn_is_tls(client->conn));
}

static void
settle_clear(struct client *client, enum tls_stage stage, const char *why)
{
    tls_failure_set(&client->clear, stage, "%s", why);
    client_note_clear(client, stage, why);
    client_keep_facts(client);
}

/* TLS cannot be had on this connection, and nothing of it has begun. */
static void
go_without_tls(struct client *client, enum tls_stage stage, const char *why)
{
    const struct tls_decision *decision = &client->plan.decision;
    bool allowed = tls_may_go_clear(decision, stage);
    struct client_loss loss;

    log_event(&client->log, LOG_INFO, "delivery.tls",
              LOG_STR("result", allowed ? "clear" : "failed"),
              LOG_STR("stage", tls_stage_name(stage)), LOG_STR("reason", why),
              LOG_STR("floor", tls_floor_name(decision->floor)));
    settle_clear(client, stage, why);
    if (allowed) {
        if (stage != STAGE_NOT_OFFERED)
            tls_failure_set(&client->tls_failure, stage, "%s", why);
        ready(client);
        return;
    }
    loss = client_loss_of(client, stage, why);
    loss.tls = true;
    if (stage == STAGE_REFUSED) {
        loss.code = client->reply.code;
        loss.status = client->reply.status;
    }
    client_lose_with(client, &loss);
}

static void
refused(struct client *client)
{
    char why[sizeof((struct tls_failure *)0)->reason];

    snprintf(why, sizeof why, "%u %.*s", client->reply.code,
             (int)client->reply.length, client->reply.text);
    go_without_tls(client, STAGE_REFUSED, why);
}

static void
greeted(struct client *client)
{
    const struct client_plan *plan = &client->plan;

    if (conn_is_tls(client->conn) || plan->decision.floor == FLOOR_CLEAR) {
        ready(client);
    } else if (plan->clear) {
        log_event(&client->log, LOG_INFO, "delivery.tls",
                  LOG_STR("result", "clear"),
                  LOG_STR("reason", "TLS failed with this server lately"));
        settle_clear(client, STAGE_HANDSHAKE,
                     "TLS failed with this server lately");
        ready(client);
    } else if (!(client->extensions & EXT_STARTTLS)) {
        go_without_tls(client, STAGE_NOT_OFFERED,
                       "the server does not offer STARTTLS");
    } else {
        client_line(client, "STARTTLS");
        client_enter(client, CLIENT_STARTTLS);
        client_flush(client);
    }
}

/* HELO gives no extensions, so it serves only where clear text does. */
static bool
may_say_helo(const struct client *client)
{
    return client->reply.code / 100 == 5 &&
           (conn_is_tls(client->conn) ||
            client->plan.decision.floor <= FLOOR_OPPORTUNISTIC);
}

static void
on_ehlo(struct client *client)
{
    if (client->reply.code / 100 == 2) {
        greeted(client);
        return;
    }
    client->extensions = 0;
    if (may_say_helo(client)) {
        client_line(client, "HELO %s", client->helo);
        client_enter(client, CLIENT_HELO);
        client_flush(client);
        return;
    }
    /* Without EHLO no STARTTLS: where TLS is needed that is a failure of TLS,
     * for which mail waits, and no refusal of the mail. */
    if (client->reply.code / 100 == 5 && !conn_is_tls(client->conn))
        go_without_tls(client, STAGE_NOT_OFFERED, "the server refuses EHLO");
    else
        client_lose_by_reply(client, STAGE_EHLO);
}

static void
start_tls(struct client *client)
{
    const struct client_plan *plan = &client->plan;
    const struct tls_decision *decision = &plan->decision;
    struct tls_dane dane = {.base = decision->names[0]};

    if (decision->method == METHOD_DANE) {
        dane.tlsa = decision->dane->tlsa;
        dane.tlsa_count = decision->dane->tlsa_count;
        if (decision->names[1][0] != '\0')
            dane.names[dane.name_count++] = decision->names[1];
    }
    client_enter(client, CLIENT_HANDSHAKE);
    conn_start_tls_client_dane(client->conn, plan->context,
                               sv_of(decision->server_name), &plan->session,
                               decision->method == METHOD_DANE ? &dane : NULL);
}

/* Bytes behind the 220 came in clear text and would be taken for replies of
 * the protected session (RFC 3207 section 6); whoever sent them wants that. */
static void
on_starttls(struct client *client)
{
    if (client->reply.code == 421) {
        client_lose_by_reply(client, STAGE_REFUSED);
    } else if (client->reply.code / 100 >= 4) {
        refused(client);
    } else if (client->reply.code != 220) {
        client_lose(client, STAGE_PROTOCOL, "reply %u to STARTTLS",
                    client->reply.code);
    } else if (conn_input(client->conn).n > 0) {
        client_lose(client, STAGE_INJECTED,
                    "clear-text bytes followed the reply to STARTTLS");
    } else {
        start_tls(client);
    }
}

enum { NAMES_LOGGED = 8, NAMES_TEXT = 512 };

/* As many names as have room. */
static void
list_names(const struct tls_certificate_facts *peer, char *text, size_t size)
{
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < peer->name_count && i < NAMES_LOGGED; i++) {
        size_t length = strlen(peer->names[i]);

        if (n + length + 2 > size)
            return;
        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? "," : "",
                              peer->names[i]);
    }
}

static void
log_tls(const struct client *client, const struct tls_failure *failure,
        bool accepted)
{
    const struct tls_facts *facts = conn_tls(client->conn);
    const struct tls_certificate_facts *peer = facts->peer;
    const struct destination_settings *control = client->plan.decision.control;
    char names[NAMES_TEXT] = "", until[MAIL_DATE_TEXT];

    if (peer != NULL)
        list_names(peer, names, sizeof names);
    log_event(
        &client->log, LOG_INFO, "delivery.tls",
        LOG_STR("result", accepted ? "ok" : "failed"),
        LOG_IF(!accepted, LOG_STR("stage", tls_stage_name(failure->stage))),
        LOG_IF(!accepted, LOG_STR("reason", failure->reason)),
        LOG_STR("version", facts->version), LOG_STR("cipher", facts->cipher),
        LOG_I64("bits", facts->bits), LOG_STR("group", facts->group),
        LOG_BOOL("resumed", facts->resumed),
        LOG_STR("verify", tls_verify_name(client->verify)),
        LOG_IF(accepted && failure->stage != STAGE_NONE,
               LOG_STR("verify_reason", failure->reason)),
        LOG_STR("sni", facts->server_name),
        LOG_STR("floor", tls_floor_name(client->plan.decision.floor)),
        LOG_STR("why", client->plan.decision.reason),
        LOG_STR("policy", tls_authority_name(client->plan.decision.authority)),
        LOG_STR("method", tls_method_name(client->plan.decision.method)),
        LOG_IF(control != NULL, LOG_STR("profile", control->tls_profile->name)),
        LOG_IF(control != NULL,
               LOG_STR("profile_from", control->tls_profile_origin)),
        LOG_BOOL("certificate_requested", facts->certificate_requested),
        LOG_STR("subject", facts->peer_subject),
        LOG_STR("sha256", facts->peer_sha256),
        LOG_IF(peer != NULL, LOG_STR("issuer", peer->issuer)),
        LOG_IF(peer != NULL, LOG_STR("serial", peer->serial)),
        LOG_IF(peer != NULL, LOG_STR("spki_sha256", peer->spki_sha256)),
        LOG_IF(peer != NULL,
               LOG_STR("not_after", mail_date_iso(peer->not_after, until))),
        LOG_IF(peer != NULL, LOG_STR("names", names)));
}

/* The profile may allow older versions than the decision does. */
static bool
is_too_old(const struct client *client, struct tls_failure *failure,
           enum ledger_tls_result *result)
{
    const char *version = conn_tls(client->conn)->version;

    if (!client->plan.decision.tls12 || strcmp(version, "TLSv1.2") == 0 ||
        strcmp(version, "TLSv1.3") == 0)
        return false;
    tls_failure_set(failure, STAGE_VERSION,
                    "the server speaks %s only, TLS 1.2 or later is needed",
                    version);
    *result = TLS_RESULT_VALIDATION;
    return true;
}

void
client_on_tls_ready(struct client *client)
{
    const struct tls_facts *facts;
    struct tls_failure failure;
    enum ledger_tls_result result;
    struct client_loss loss;
    bool accepted;

    if (client->plan.watch != NULL && client->plan.watch->on_tls != NULL)
        client->plan.watch->on_tls(client->owner);
    facts = conn_tls(client->conn);
    client->tls_version = facts->version;
    client->tls_cipher = facts->cipher;
    client->verify = client_verify_peer(client, &failure, &result);
    client_note_testing(client);
    client_keep_facts(client);
    accepted = tls_accepts(&client->plan.decision, failure.stage);
    if (is_too_old(client, &failure, &result))
        accepted = false;
    log_tls(client, &failure, accepted);
    if (accepted) {
        say_ehlo(client);
        return;
    }
    tls_session_cache_forget(&client->plan.session);
    loss = client_loss_of(client, failure.stage, failure.reason);
    loss.tls = true;
    loss.result = result;
    client_lose_with(client, &loss);
}

void
client_on_hello_reply(struct client *client)
{
    switch ((int)client->state) {
    case CLIENT_GREETING:
        if (client->reply.code == 220)
            say_ehlo(client);
        else
            client_lose_by_reply(client, STAGE_GREETING);
        break;
    case CLIENT_EHLO:
        on_ehlo(client);
        break;
    case CLIENT_HELO:
        if (client->reply.code / 100 == 2)
            greeted(client);
        else
            client_lose_by_reply(client, STAGE_EHLO);
        break;
    default:
        assert(client->state == CLIENT_STARTTLS);
        on_starttls(client);
        break;
    }
}
