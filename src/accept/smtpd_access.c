/* Who the client is to us, and what it gets: the host access table, its
 * policy, and what that says of TLS. */
#include "accept/smtpd.h"
#include "tls/context.h"

static const struct refusal sender_needs_tls = {
    530, "5.7.0", "This sender must issue a STARTTLS command first"};
static const struct refusal too_many_handshakes = {
    421, "4.4.5", "Too many TLS sessions at this time"};

/* Identifying ------------------------------------------------------------- */

static void
say_rejection(struct smtpd *s)
{
    const struct mail_flow_policy *policy = s->policy;
    struct reply reply = reply_make(policy->reject_code, NULL, "%s %s",
                                    policy->hostname, policy->reject_text);

    smtpd_say(s, &reply);
}

/* RFC 5321 section 3.1: after a greeting with 554 the client may say QUIT, and
 * every other command is out of place.  Where TLS comes first nobody could
 * read a word. */
static void
reject(struct smtpd *s)
{
    atomic_fetch_add(&s->listener->listener->counts.rejected, 1);
    if (smtpd_options(s)->implicit_tls) {
        smtpd_end(s, "rejected");
        return;
    }
    s->rejected = true;
    smtpd_enter(s, SMTPD_HELO);
    say_rejection(s);
}

static bool
admit(struct smtpd *s)
{
    struct refusal refusal = {421, "4.4.5", NULL};

    if (listener_admit_client(s->listener, conn_peer(s->conn), s->policy,
                              &refusal.text)) {
        s->counted = true;
        return true;
    }
    log_event(&s->log, LOG_INFO, "smtpd.refuse", LOG_U64("code", 421),
              LOG_STR("status", "4.4.5"), LOG_STR("why", refusal.text));
    if (smtpd_options(s)->implicit_tls)
        smtpd_end(s, "too-many-connections");
    else
        smtpd_dismiss(s, &refusal, "too-many-connections");
    return false;
}

static void
follow_policy(struct smtpd *s)
{
    if (s->policy->behavior == BEHAVIOR_TCPREFUSE) {
        atomic_fetch_add(&s->listener->listener->counts.rejected, 1);
        smtpd_end(s, "tcprefuse");
    } else if (!admit(s)) {
        return;
    } else if (s->policy->behavior == BEHAVIOR_REJECT) {
        reject(s);
    } else {
        smtpd_greet(s);
    }
}

static void
settle_policy(struct smtpd *s, const struct hat_client *client)
{
    if (client->name.n > 0)
        s->client_name = sv_dup(client->name);
    s->policy = listener_policy(s->listener, client, &s->match);
    smtpd_log_connect(s, client);
    follow_policy(s);
}

void
smtpd_identify_now(struct smtpd *s)
{
    struct client_lookup *lookup = s->lookup;

    s->lookup = NULL;
    smtpd_go_on(s, WAIT_LOOKUP);
    settle_policy(s, client_lookup_facts(lookup));
    client_lookup_free(lookup);
}

static void
on_lookup_done(void *arg)
{
    struct smtpd *s = arg;

    smtpd_identify_now(s);
    smtpd_settle(s);
}

void
smtpd_identify(struct smtpd *s)
{
    struct hat_client client = {.address = conn_peer(s->conn)};

    if (s->listener->resolver != NULL) {
        s->lookup = client_lookup_new(s->listener->resolver, s->home->loop,
                                      smtpd_options(s)->hat_table,
                                      conn_peer(s->conn), on_lookup_done, s);
        if (client_lookup_start(s->lookup)) {
            smtpd_enter(s, SMTPD_LOOKUP);
            smtpd_wait(s, WAIT_LOOKUP);
            return;
        }
        client_lookup_free(s->lookup);
        s->lookup = NULL;
    }
    settle_policy(s, &client);
}

/* TLS --------------------------------------------------------------------- */

struct tls_context *
smtpd_tls_context(const struct smtpd *s)
{
    return s->listener->contexts[s->match.policy];
}

bool
smtpd_may_handshake(struct smtpd *s)
{
    if (listener_admit_handshake(s->listener, conn_peer(s->conn), s->policy,
                                 loop_now(s->home->loop)))
        return true;
    if (smtpd_options(s)->implicit_tls)
        smtpd_end(s, "too-many-handshakes");
    else
        smtpd_dismiss(s, &too_many_handshakes, "too-many-handshakes");
    return false;
}

bool
smtpd_lacks_tls(const struct smtpd *s)
{
    return s->policy->tls == RECEIVE_TLS_REQUIRED && !conn_is_tls(s->conn);
}

/* With "preferred" a client may have no certificate, but not a wrong one. */
static bool
lacks_certificate(const struct smtpd *s)
{
    enum tls_verify verify;

    if (!s->policy->verify_client || !conn_is_tls(s->conn))
        return false;
    verify = conn_tls(s->conn)->verify;
    return verify == TLS_VERIFY_FAILED ||
           (verify == TLS_VERIFY_NONE &&
            s->policy->tls == RECEIVE_TLS_REQUIRED);
}

const struct refusal *
smtpd_check_sender(struct smtpd *s, struct sv address, struct refusal *room,
                   char *text)
{
    const struct tls_facts *facts;

    if (!conn_is_tls(s->conn) && settings_needs_tls(s->policy, address))
        return &sender_needs_tls;
    if (!lacks_certificate(s))
        return NULL;
    facts = conn_tls(s->conn);
    atomic_fetch_add(&s->listener->listener->counts.certificates_refused, 1);
    snprintf(text, SMTPD_REASON, "A valid client certificate is needed: %s",
             tls_verdict_sentence(facts->verdict));
    *room = (struct refusal){550, "5.7.0", text};
    return room;
}
