/* Life of a session: states, events, waiting, the end. */
#include "accept/smtpd.h"

enum {
    LINGER = 5000,           /* ms for the last reply to get out */
    COMMIT_GRACE = 1000,     /* ms a commit gets when the time is up */
    OUTPUT_HIGH = 16 * 1024, /* replies that may wait for the peer */
    OUTPUT_LOW = 4 * 1024,
};

static const struct refusal timed_out = {421, "4.4.2", "Connection timed out"};
static const struct refusal expired = {421, "4.4.2",
                                       "Exceeded allowable connection time"};
static const struct refusal stuck = {
    421, "4.3.0", "Cannot store the message now, try again later"};
static const struct refusal closing_down = {
    421, "4.3.2", "Service shutting down, try again later"};

#define AS_STATE_ROW(state, name, limit, take, next)                           \
    {name, offsetof(struct receive_timeouts, limit), take, next},
static const struct state {
    const char *name;
    size_t limit; /* offset in struct receive_timeouts */
    bool (*take)(struct smtpd *s);
    unsigned next;
} states[] = {SMTPD_STATES(AS_STATE_ROW)};

const char *
smtpd_state_name(enum smtpd_state state)
{
    return states[state].name;
}

void
smtpd_enter(struct smtpd *s, enum smtpd_state to)
{
    assert(to == s->state || to == SMTPD_CLOSING ||
           (states[s->state].next & BIT(to)) != 0);
    if (log_wants(LOG_DEBUG))
        log_event(&s->log, LOG_DEBUG, "smtpd.state",
                  LOG_STR("from", states[s->state].name),
                  LOG_STR("to", states[to].name));
    s->state = to;
}

/* The limit of the phase runs from the last step that brought it forward: a
 * command, a piece of content.  Half a line brings nothing forward. */
static void
arm(struct smtpd *s)
{
    const struct receive_timeouts *timeouts = &smtpd_options(s)->timeouts;
    uint64_t ms;

    if (s->waits & WAIT_OUTPUT)
        ms = timeouts->write;
    else
        memcpy(&ms, (const char *)timeouts + states[s->state].limit, sizeof ms);
    conn_set_timeout(s->conn, ms);
}

/* Waiting ----------------------------------------------------------------- */

void
smtpd_wait(struct smtpd *s, enum smtpd_wait what)
{
    s->waits |= what;
    conn_pause(s->conn);
}

void
smtpd_go_on(struct smtpd *s, enum smtpd_wait what)
{
    s->waits &= ~(unsigned)what;
    if (s->waits == 0 && s->state != SMTPD_CLOSING) {
        arm(s);
        conn_resume(s->conn);
    }
}

/* A peer that sends commands and reads no replies makes us hold few of them,
 * then nothing more is read from it. */
static void
check_output(struct smtpd *s)
{
    if (s->state == SMTPD_CLOSING ||
        conn_output_pending(s->conn) <= OUTPUT_HIGH)
        return;
    smtpd_wait(s, WAIT_OUTPUT);
    conn_set_output_low(s->conn, OUTPUT_LOW);
}

void
smtpd_consume(struct smtpd *s, size_t n)
{
    s->bytes_in += n;
    conn_consume(s->conn, n);
}

static void
take_input(struct smtpd *s)
{
    bool progress = false;

    while (s->waits == 0 && states[s->state].take != NULL &&
           states[s->state].take(s)) {
        progress = true;
        check_output(s);
        smtpd_leave_if_due(s);
    }
    if (progress && s->state != SMTPD_CLOSING)
        arm(s);
}

/* TLS --------------------------------------------------------------------- */

void
smtpd_start_tls(struct smtpd *s)
{
    struct tls_context *context = smtpd_tls_context(s);

    smtpd_enter(s, SMTPD_HANDSHAKE);
    arm(s);
    /* Behind a PROXY header the first bytes of TLS may be here already; after
     * STARTTLS the caller has looked that there are none. */
    if (s->proxied && smtpd_options(s)->implicit_tls)
        conn_start_tls_server_with_input(s->conn, context);
    else
        conn_start_tls_server(s->conn, context);
}

void
smtpd_forget(struct smtpd *s)
{
    smtpd_reset(s);
    mem_free(s->helo);
    s->helo = NULL;
    s->esmtp = s->mail_refused = false;
}

static void
say_greeting(struct smtpd *s)
{
    struct reply reply = reply_make(s->policy->banner_code, NULL, "%s %s",
                                    smtpd_hostname(s), s->policy->banner_text);

    smtpd_say(s, &reply);
}

/* RFC 3207 section 4.2: nothing learned before is kept.  After STARTTLS the
 * client speaks first. */
static void
on_tls_ready(struct smtpd *s)
{
    atomic_fetch_add(&s->listener->listener->counts.tls_ok, 1);
    smtpd_log_tls(s);
    smtpd_log_ending(s);
    smtpd_forget(s);
    smtpd_enter(s, SMTPD_HELO);
    if (smtpd_options(s)->implicit_tls)
        say_greeting(s);
    arm(s);
}

static void
on_tls_failed(struct smtpd *s, const char *reason)
{
    const struct tls_failure *failure = conn_failure(s->conn);

    atomic_fetch_add(&s->listener->listener->counts.tls_failed, 1);
    smtpd_log_tls_failed(s, tls_stage_name(failure->stage), failure->reason);
    smtpd_end(s, reason);
}

/* Events ------------------------------------------------------------------ */

static void
on_timeout(struct smtpd *s)
{
    if (s->state == SMTPD_HANDSHAKE)
        on_tls_failed(s, "timeout");
    else if (s->state == SMTPD_LOOKUP)
        smtpd_identify_now(s);
    else if (s->state == SMTPD_PROXY)
        smtpd_end(s, "timeout");
    else if (s->waits & WAIT_OUTPUT)
        smtpd_end(s, "write-timeout");
    else if (s->waits != 0)
        smtpd_dismiss(s, &stuck, "spool-timeout");
    else
        smtpd_dismiss(s, &timed_out, "timeout");
}

static void
on_error(struct smtpd *s)
{
    if (s->state == SMTPD_HANDSHAKE)
        on_tls_failed(s, "tls-failed");
    else
        smtpd_end(s, "connection-lost");
}

/* During the handshake conn keeps the bytes to itself; clear ones that come
 * through were sent to be taken for part of the protected session (RFC 3207
 * section 6). */
static void
on_data(struct smtpd *s)
{
    if (s->state == SMTPD_HANDSHAKE)
        smtpd_end(s, "starttls-injection");
    else
        take_input(s);
}

void
smtpd_on_event(void *owner, struct conn *conn, enum conn_event event)
{
    struct smtpd *s = owner;

    (void)conn;
    switch (event) {
    case CONN_DATA:
        on_data(s);
        break;
    case CONN_TLS_READY:
        on_tls_ready(s);
        break;
    case CONN_OUTPUT_LOW:
        smtpd_go_on(s, WAIT_OUTPUT);
        break;
    case CONN_EOF:
        smtpd_end(s, "eof");
        break;
    case CONN_TIMEOUT:
        on_timeout(s);
        break;
    case CONN_ERROR:
        on_error(s);
        break;
    case CONN_CONNECTED: /* we never connect */
        break;
    }
    smtpd_settle(s);
}

/* A commit under way is waited for: the client would have to send the message
 * again, and it would be there twice. */
static void
on_lifetime_over(struct timer *timer)
{
    struct smtpd *s = CONTAINER_OF(timer, struct smtpd, lifetime);

    if (s->state == SMTPD_COMMIT)
        timer_arm(timer, COMMIT_GRACE);
    else if (s->state == SMTPD_PROXY || s->state == SMTPD_LOOKUP ||
             s->state == SMTPD_HANDSHAKE)
        smtpd_end(s, "session-timeout");
    else
        smtpd_dismiss(s, &expired, "session-timeout");
    smtpd_settle(s);
}

/* Beginning and end ------------------------------------------------------- */

struct smtpd *
smtpd_new(struct smtpd_home *home, struct listener_revision *listener)
{
    struct smtpd *s = mem_alloc(sizeof *s);

    s->home = home;
    s->listener = listener;
    s->started = loop_now(home->loop);
    smtpd_make_id(s->id, sizeof s->id);
    s->log.fields[0] = LOG_STR("session", s->id);
    timer_init(&s->lifetime, home->loop, on_lifetime_over);
    list_push_back(&home->sessions, &s->link);
    return s;
}

void
smtpd_start(struct smtpd *s, struct conn *conn,
            const struct smtpd_admission *admission)
{
    s->conn = conn;
    s->proxied = admission->proxied;
    timer_arm(&s->lifetime, smtpd_options(s)->timeouts.session);
    if (s->proxied) {
        smtpd_enter(s, SMTPD_PROXY);
    } else {
        smtpd_identify(s);
    }
    if (s->state != SMTPD_CLOSING)
        arm(s);
    smtpd_settle(s);
}

void
smtpd_greet(struct smtpd *s)
{
    if (smtpd_options(s)->implicit_tls) {
        if (smtpd_may_handshake(s))
            smtpd_start_tls(s);
        return;
    }
    smtpd_enter(s, SMTPD_HELO);
    say_greeting(s);
    arm(s);
}

void
smtpd_end(struct smtpd *s, const char *reason)
{
    if (s->state == SMTPD_CLOSING)
        return;
    s->reason = reason;
    s->closed_in = s->state;
    smtpd_enter(s, SMTPD_CLOSING);
}

static void
release(struct smtpd *s)
{
    struct smtpd_home *home = s->home;

    smtpd_forget(s);
    client_lookup_free(s->lookup);
    mem_free(s->client_name);
    timer_fini(&s->lifetime);
    list_remove(&home->sessions, &s->link);
    if (s->counted)
        listener_dismiss_client(s->listener, conn_peer(s->conn));
    listener_dismiss(s->listener);
    listener_revision_unref(s->listener);
    conn_close(s->conn, s->waits & WAIT_OUTPUT ? 0 : LINGER);
    mem_free(s);
    if (home->draining && list_empty(&home->sessions))
        home->on_empty(home->arg);
}

void
smtpd_settle(struct smtpd *s)
{
    if (s->state != SMTPD_CLOSING)
        return;
    smtpd_log_close(s);
    release(s);
}

/* Draining ---------------------------------------------------------------- */

void
smtpd_leave_if_due(struct smtpd *s)
{
    if (!s->leaving)
        return;
    if (s->state == SMTPD_PROXY || s->state == SMTPD_LOOKUP ||
        s->state == SMTPD_HANDSHAKE)
        smtpd_end(s, "drain");
    else if (s->state == SMTPD_HELO || s->state == SMTPD_READY)
        smtpd_dismiss(s, &closing_down, "drain");
}

void
smtpd_home_drain(struct smtpd_home *home)
{
    home->draining = true;
    if (list_empty(&home->sessions)) {
        home->on_empty(home->arg);
        return;
    }
    LIST_FOREACH_SAFE (link, next, &home->sessions) {
        struct smtpd *s = CONTAINER_OF(link, struct smtpd, link);

        s->leaving = true;
        smtpd_leave_if_due(s);
        smtpd_settle(s);
    }
}

void
smtpd_home_drop(struct smtpd_home *home)
{
    home->draining = false;
    LIST_FOREACH_SAFE (link, next, &home->sessions) {
        struct smtpd *s = CONTAINER_OF(link, struct smtpd, link);

        smtpd_end(s, "shutdown");
        smtpd_settle(s);
    }
}
