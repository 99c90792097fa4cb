#include "net/conn_internal.h"

struct fake {
    struct buf output;
    struct tls_facts facts;
    bool has_facts;
    bool stalled; /* the peer takes no output */
};

struct conn *
conn_fake(struct loop *loop, const struct net_address *peer,
          conn_on_event *on_event, void *owner)
{
    struct conn *conn = conn_new(loop, peer, on_event, owner);

    conn->state = CONN_OPEN;
    conn->fake = mem_alloc(sizeof *conn->fake);
    return conn;
}

static void
turn(struct conn *conn)
{
    conn_turn(conn, false);
    if (conn->loop->manual)
        loop_advance(conn->loop, 0);
}

void
conn_fake_receive(struct conn *conn, struct sv bytes)
{
    struct sv copy = bytes;

    if (conn->state != CONN_OPEN || conn->input_over)
        return;
    /* What lies in kept may be consumed only by the owner's callback, so a
     * paused fake gathers like a socket does. */
    conn_keep_rest(conn);
    buf_add(&conn->kept, copy);
    if (bytes.n > 0)
        conn->due |= BIT(CONN_DATA);
    turn(conn);
}

void
conn_fake_eof(struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn->input_over)
        return;
    conn_take_eof(conn);
    turn(conn);
}

void
conn_fake_tls_ready(struct conn *conn, const struct tls_facts *facts)
{
    assert(conn->tls_begun && !conn->tls_ready);
    conn->fake->facts = *facts;
    tls_facts_complete(&conn->fake->facts);
    conn->fake->has_facts = true;
    conn->tls_ready = true;
    conn->due |= BIT(CONN_TLS_READY);
    turn(conn);
}

void
conn_fake_take(struct conn *conn, struct buf *out)
{
    buf_add(out, buf_view(&conn->fake->output));
    buf_reset(&conn->fake->output);
}

void
conn_fake_stall(struct conn *conn, bool stalled)
{
    conn->fake->stalled = stalled;
    turn(conn);
}

bool
conn_fake_closed(const struct conn *conn)
{
    return conn->state >= CONN_CLOSING;
}

void
conn_fake_free(struct conn *conn)
{
    if (conn == NULL)
        return;
    conn_close(conn, 0);
    conn_free(conn);
}

static void
collect(struct conn *conn, struct output *from)
{
    while (from->length > 0) {
        struct sv first = output_first(from);

        buf_add(&conn->fake->output, first);
        output_consume(from, &conn->loop->output, first.n);
    }
}

void
conn_fake_send(struct conn *conn)
{
    if (conn->fake->stalled)
        return;
    collect(conn, &conn->wire);
    if (conn->tls_ready)
        collect(conn, &conn->clear);
}

void
conn_fake_close(struct conn *conn)
{
    assert(conn->state == CONN_DEAD); /* stays readable until freed */
}

void
conn_fake_release(struct conn *conn)
{
    if (conn->fake == NULL)
        return;
    buf_fini(&conn->fake->output);
    mem_free(conn->fake);
}

const struct tls_facts *
conn_fake_tls(const struct conn *conn)
{
    return conn->fake->has_facts ? &conn->fake->facts : NULL;
}
