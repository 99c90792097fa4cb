#include "net/conn.h"
#include "net/conn_internal.h"
#include "tls/context.h"
#include <stdarg.h>

/* A fast reader could keep a writer busy for ever; others get their turn. */
#define LOW_ROUNDS 8

/* Under TLS a chunk of this size becomes a record at once, without a copy. */
#define BIG_WRITE TLS_RECORD

static void
on_turn(struct task *task)
{
    conn_turn(CONTAINER_OF(task, struct conn, turn), false);
}

static void
on_timer(struct timer *timer)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    const char *what = conn->state == CONN_CONNECTING          ? "connecting"
                       : conn->tls != NULL && !conn->tls_ready ? "TLS handshake"
                                                               : "waiting";

    if (conn->state == CONN_CLOSING) {
        output_clear(&conn->wire, &conn->loop->output); /* lingered enough */
        conn_turn(conn, false);
        return;
    }
    if (conn->failure == NULL)
        tls_failure_set(conn_failure_slot(conn), STAGE_TIMEOUT,
                        "%s: nothing came within %llu ms", what,
                        (unsigned long long)conn->timeout);
    conn->due |= BIT(CONN_TIMEOUT);
    conn_turn(conn, false);
}

struct conn *
conn_new(struct loop *loop, const struct net_address *peer,
         conn_on_event *on_event, void *owner)
{
    struct conn *conn = mem_alloc(sizeof *conn);

    conn->loop = loop;
    conn->on_event = on_event;
    conn->owner = owner;
    conn->fd = -1;
    conn->peer = *peer;
    conn->low_mark = SIZE_MAX;
    conn->turn.run = on_turn;
    timer_init(&conn->timer, loop, on_timer);
    return conn;
}

void
conn_free(struct conn *conn)
{
    loop_undefer(conn->loop, &conn->turn);
    conn_fake_release(conn);
    mem_free(conn->failure);
    mem_free(conn);
}

void
conn_schedule(struct conn *conn)
{
    if (!conn->busy && !link_on_list(&conn->turn.link))
        loop_defer(conn->loop, &conn->turn);
}

struct tls_failure *
conn_failure_slot(struct conn *conn)
{
    if (conn->failure == NULL)
        conn->failure = mem_alloc(sizeof *conn->failure);
    return conn->failure;
}

void
conn_failed(struct conn *conn)
{
    conn->input_over = true;
    conn->due |= BIT(CONN_ERROR);
    conn_schedule(conn);
}

void
conn_fail(struct conn *conn, enum tls_stage stage, const char *fmt, ...)
{
    char reason[sizeof conn->failure->reason];
    va_list args;

    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    if (conn->failure == NULL)
        tls_failure_set(conn_failure_slot(conn), stage, "%s", reason);
    conn_failed(conn);
}

/* Input ------------------------------------------------------------------ */

struct sv
conn_input(const struct conn *conn)
{
    return conn->fresh.n > 0 ? conn->fresh : buf_view(&conn->kept);
}

void
conn_consume(struct conn *conn, size_t n)
{
    if (conn->fresh.n > 0) {
        assert(n <= conn->fresh.n);
        conn->fresh = sv_from(conn->fresh, n);
    } else {
        buf_consume(&conn->kept, n);
    }
}

void
conn_keep_rest(struct conn *conn)
{
    if (conn->fresh.n > 0)
        buf_add(&conn->kept, conn->fresh);
    conn->fresh = (struct sv){0};
    if (buf_length(&conn->kept) == 0)
        buf_fini(&conn->kept); /* an idle connection holds no buffer */
}

/* fresh and kept are never both in use: one view must show it all. */
void
conn_take_input(struct conn *conn, struct sv bytes)
{
    if (bytes.n == 0)
        return;
    conn->due |= BIT(CONN_DATA);
    if (conn->fresh.n > 0)
        conn_keep_rest(conn);
    if (buf_length(&conn->kept) > 0)
        buf_add(&conn->kept, bytes);
    else
        conn->fresh = bytes;
}

void
conn_take_eof(struct conn *conn)
{
    conn->input_over = true;
    if (conn->tls != NULL && !conn->tls_ready)
        conn_fail(conn, STAGE_IO,
                  "the peer closed the connection during the TLS handshake");
    else
        conn->due |= BIT(CONN_EOF);
}

bool
conn_wants_input(const struct conn *conn)
{
    return conn->state == CONN_OPEN && !conn->paused && !conn->input_over;
}

void
conn_pause(struct conn *conn)
{
    conn->paused = true;
}

void
conn_resume(struct conn *conn)
{
    if (!conn->paused || conn->state >= CONN_CLOSING)
        return;
    conn->paused = false;
    if (conn_input(conn).n > 0)
        conn->due |= BIT(CONN_DATA);
    conn_schedule(conn);
}

/* Events ----------------------------------------------------------------- */

static void
check_low(struct conn *conn)
{
    if (conn->above_mark && conn_output_pending(conn) <= conn->low_mark) {
        conn->above_mark = false;
        conn->due |= BIT(CONN_OUTPUT_LOW);
    }
}

static void
flush(struct conn *conn)
{
    if (conn->tls_ready)
        conn_tls_encrypt(conn);
    if (conn->fake != NULL)
        conn_fake_send(conn);
    else
        conn_socket_send(conn);
    check_low(conn);
}

static bool
is_tellable(const struct conn *conn, enum conn_event event)
{
    if (!(conn->due & BIT(event)))
        return false;
    if (event == CONN_DATA || event == CONN_EOF)
        return !conn->paused;
    if (event == CONN_OUTPUT_LOW)
        return conn->low_rounds < LOW_ROUNDS;
    return true;
}

/* What belongs before the end is told before it. */
static const enum conn_event order_of_events[] = {
    CONN_CONNECTED, CONN_TLS_READY, CONN_DATA,    CONN_OUTPUT_LOW,
    CONN_EOF,       CONN_ERROR,     CONN_TIMEOUT,
};

/* The next one to tell, or -1. */
static int
next_event(const struct conn *conn)
{
    if (conn->state >= CONN_CLOSING || conn->told_failure)
        return -1;
    for (size_t i = 0; i < COUNT_OF(order_of_events); i++) {
        if (is_tellable(conn, order_of_events[i]))
            return (int)order_of_events[i];
    }
    return -1;
}

static bool
has_event(const struct conn *conn)
{
    return next_event(conn) != -1;
}

static bool
take_event(struct conn *conn, enum conn_event *event)
{
    int next = next_event(conn);

    if (next == -1)
        return false;
    *event = (enum conn_event)next;
    conn->due &= ~BIT(next);
    return true;
}

static void
tell(struct conn *conn, enum conn_event event)
{
    if (event == CONN_OUTPUT_LOW)
        conn->low_rounds++;
    if (event == CONN_ERROR) {
        conn->told_failure = true;
        conn->due = 0;
    }
    conn->on_event(conn->owner, conn, event);
}

/* Lets the last bytes out and goes from CLOSING to DEAD when they are, when
 * they cannot be, or when nobody wants to wait. */
static void
finish_close(struct conn *conn)
{
    if (!conn->said_goodbye) {
        conn->said_goodbye = true;
        if (conn->tls_ready && conn->linger > 0) {
            conn_tls_encrypt(conn);
            if (conn->tls != NULL)
                tls_stream_shutdown(conn->tls);
        }
        if (conn->linger > 0)
            timer_arm(&conn->timer, conn->linger);
    }
    flush(conn);
    if (conn->wire.length > 0 && conn->linger > 0 && !conn->output_over) {
        if (!link_on_list(&conn->lingering))
            list_push_back(&conn->loop->lingering, &conn->lingering);
        conn_socket_update(conn);
        return;
    }
    conn->state = CONN_DEAD;
    timer_fini(&conn->timer);
    loop_undefer(conn->loop, &conn->turn);
    if (link_on_list(&conn->lingering))
        list_remove(&conn->loop->lingering, &conn->lingering);
    output_clear(&conn->clear, &conn->loop->output);
    output_clear(&conn->wire, &conn->loop->output);
    tls_stream_free(conn->tls);
    conn->tls = NULL;
    conn->fresh = (struct sv){0};
    buf_fini(&conn->kept);
    if (conn->fake != NULL)
        conn_fake_close(conn);
    else
        conn_socket_close(conn);
}

static void
tell_all(struct conn *conn)
{
    enum conn_event event;

    while (take_event(conn, &event)) {
        if (event == CONN_ERROR)
            flush(conn); /* a TLS alert tells the peer why */
        tell(conn, event);
        conn_tls_begin(conn);
    }
}

/* Output is sent once, behind all events: what TLS itself says (a ticket, say)
 * goes with what the owner says, and a last reply with the close_notify. */
void
conn_settle(struct conn *conn)
{
    conn->busy = true;
    conn_tls_begin(conn);
    do {
        tell_all(conn);
        if (conn->state < CONN_CLOSING)
            flush(conn); /* which may make CONN_OUTPUT_LOW due */
    } while (has_event(conn));
    conn_keep_rest(conn);
    conn->busy = false;
    if (conn->state == CONN_CLOSING)
        finish_close(conn);
    else if (conn->state != CONN_DEAD)
        conn_socket_update(conn);
}

/* Output ----------------------------------------------------------------- */

void
conn_write(struct conn *conn, struct sv bytes)
{
    if (conn->state >= CONN_CLOSING || conn->output_over || conn->told_failure)
        return;
    if (conn->tls != NULL && conn->tls_ready && bytes.n >= BIG_WRITE &&
        conn->clear.length == 0) {
        conn_tls_write(conn, bytes);
    } else if (conn->tls != NULL || conn->tls_begun) {
        output_add(&conn->clear, &conn->loop->output, bytes);
    } else {
        if (bytes.n >= BIG_WRITE && conn->wire.length == 0)
            bytes = sv_from(bytes, conn_socket_send_now(conn, bytes));
        output_add(&conn->wire, &conn->loop->output, bytes);
    }
    if (conn_output_pending(conn) > conn->low_mark)
        conn->above_mark = true;
    conn_schedule(conn);
}

size_t
conn_output_pending(const struct conn *conn)
{
    return conn->clear.length + conn->wire.length;
}

bool
conn_failed_locally(const struct conn *conn)
{
    return conn->failed_locally;
}

void
conn_set_output_low(struct conn *conn, size_t mark)
{
    conn->low_mark = mark;
    conn->above_mark = conn_output_pending(conn) > mark;
}

/* The rest --------------------------------------------------------------- */

void
conn_set_timeout(struct conn *conn, uint64_t ms)
{
    if (conn->state >= CONN_CLOSING)
        return;
    conn->timeout = ms;
    if (ms == 0)
        timer_disarm(&conn->timer);
    else
        timer_arm(&conn->timer, ms);
}

void
conn_close(struct conn *conn, uint64_t linger_ms)
{
    if (conn->state >= CONN_CLOSING)
        return;
    timer_disarm(&conn->timer);
    conn->linger = conn->state == CONN_CONNECTING ? 0 : linger_ms;
    conn->state = CONN_CLOSING;
    conn->due = 0;
    if (conn->linger == 0) {
        output_clear(&conn->clear, &conn->loop->output);
        output_clear(&conn->wire, &conn->loop->output);
    }
    if (!conn->busy)
        finish_close(conn);
}

void
conn_drop_lingering(struct loop *loop)
{
    struct link *link;

    while ((link = list_first(&loop->lingering)) != NULL) {
        struct conn *conn = CONTAINER_OF(link, struct conn, lingering);

        conn->linger = 0;
        finish_close(conn);
    }
}

struct loop *
conn_loop(const struct conn *conn)
{
    return conn->loop;
}

const struct net_address *
conn_peer(const struct conn *conn)
{
    return &conn->peer;
}

const struct net_address *
conn_local(const struct conn *conn)
{
    return &conn->local;
}

void
conn_set_addresses(struct conn *conn, const struct net_address *peer,
                   const struct net_address *local)
{
    conn->peer = *peer;
    conn->local = *local;
}

bool
conn_is_tls(const struct conn *conn)
{
    return conn->tls_ready;
}

const struct tls_facts *
conn_tls(const struct conn *conn)
{
    if (conn->fake != NULL)
        return conn_fake_tls(conn);
    return conn->tls != NULL ? tls_stream_facts(conn->tls) : NULL;
}

bool
conn_tls_matches_name(const struct conn *conn, struct sv name)
{
    if (conn->fake != NULL)
        return sv_eq(sv_of(conn_fake_tls(conn)->peer_subject), name);
    return conn->tls != NULL && tls_stream_matches_name(conn->tls, name);
}

bool
conn_tls_dane_try(const struct conn *conn, const struct tls_dane *dane,
                  struct tls_dane_facts *facts)
{
    return conn->tls != NULL && tls_stream_dane_try(conn->tls, dane, facts);
}

size_t
conn_tls_chain(const struct conn *conn, struct tls_certificate_facts **chain,
               size_t max)
{
    return conn->tls != NULL ? tls_stream_chain(conn->tls, chain, max) : 0;
}

const struct tls_failure *
conn_failure(const struct conn *conn)
{
    static const struct tls_failure none = {.stage = STAGE_NONE};

    return conn->failure != NULL ? conn->failure : &none;
}
