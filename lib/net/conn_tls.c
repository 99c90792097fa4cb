#include "net/conn_internal.h"
#include "tls/context.h"

static void
on_emit(void *arg, struct sv ciphertext)
{
    struct conn *conn = arg;

    output_add(&conn->wire, &conn->loop->output, ciphertext);
}

/* No clear byte may become TLS input: whoever put it there wants it to be taken
 * for part of the protected session (RFC 3207 section 6).  The caller has
 * looked; this is the second lock of the door. */
static bool
refuse_injected(struct conn *conn)
{
    if (conn_input(conn).n == 0)
        return false;
    conn->fresh = (struct sv){0};
    buf_fini(&conn->kept);
    conn_fail(conn, STAGE_INJECTED,
              "clear-text bytes stood between STARTTLS and the handshake");
    return true;
}

static bool
may_start(const struct conn *conn)
{
    assert(conn->tls == NULL && !conn->tls_begun);
    return conn->state == CONN_OPEN && conn->failure == NULL;
}

static void
start_server(struct conn *conn, struct tls_context *context)
{
    if (conn->fake != NULL)
        conn->tls_begun = true; /* conn_fake_tls_ready() goes on */
    else
        conn->tls = tls_stream_new_server(context, on_emit, conn);
    conn_schedule(conn);
}

void
conn_start_tls_server(struct conn *conn, struct tls_context *context)
{
    if (may_start(conn) && !refuse_injected(conn))
        start_server(conn, context);
}

void
conn_start_tls_server_with_input(struct conn *conn, struct tls_context *context)
{
    if (may_start(conn))
        start_server(conn, context);
}

void
conn_start_tls_client(struct conn *conn, struct tls_context *context,
                      struct sv server_name, const struct tls_session_key *key)
{
    conn_start_tls_client_dane(conn, context, server_name, key, NULL);
}

void
conn_start_tls_client_dane(struct conn *conn, struct tls_context *context,
                           struct sv server_name,
                           const struct tls_session_key *key,
                           const struct tls_dane *dane)
{
    if (!may_start(conn) || refuse_injected(conn))
        return;
    if (conn->fake != NULL)
        conn->tls_begun = true;
    else
        conn->tls = tls_stream_new_client_dane(context, server_name, key, dane,
                                               on_emit, conn);
    conn_schedule(conn);
}

void
conn_tls_begin(struct conn *conn)
{
    struct buf first = {0};

    if (conn->tls == NULL || conn->tls_begun || conn->state != CONN_OPEN)
        return;
    conn->tls_begun = true;
    conn->due &= ~BIT(CONN_DATA);
    conn_keep_rest(conn);
    first = conn->kept;
    conn->kept = (struct buf){0};
    conn_tls_feed(conn, buf_view(&first));
    buf_fini(&first);
}

/* True: the handshake is over and *in stands behind it. */
static bool
shake_hands(struct conn *conn, struct sv *in)
{
    struct tls_failure failure;

    switch (tls_stream_handshake(conn->tls, in, &failure)) {
    case TLS_OK:
        conn->tls_ready = true;
        conn->due |= BIT(CONN_TLS_READY);
        return true;
    case TLS_AGAIN:
        return false;
    case TLS_EOF:
    case TLS_ERROR:
    default:
        conn_fail(conn, failure.stage, "%s", failure.reason);
        return false;
    }
}

/* One buffer's worth.  The clear text is never longer than what came plus one
 * record kept by the library, so it fits and TLS_OK (full) cannot be. */
static void
decrypt(struct conn *conn, struct sv in)
{
    struct tls_failure failure;
    enum tls_result result;
    size_t n;

    loop_need_scratch(conn->loop);
    if (conn->fresh.n > 0)
        conn_keep_rest(conn); /* the buffer is about to be used again */
    result = tls_stream_read(conn->tls, &in, conn->loop->plain, LOOP_PLAIN, &n,
                             &failure);
    conn_take_input(conn, (struct sv){conn->loop->plain, n});
    if (result == TLS_EOF)
        conn_take_eof(conn);
    else if (result == TLS_ERROR)
        conn_fail(conn, failure.stage, "%s", failure.reason);
}

void
conn_tls_feed(struct conn *conn, struct sv ciphertext)
{
    if (!conn->tls_ready && !shake_hands(conn, &ciphertext))
        return;
    while (ciphertext.n > 0 && !conn->input_over) {
        decrypt(conn, sv_slice(ciphertext, 0, LOOP_WIRE));
        ciphertext = sv_from(ciphertext, LOOP_WIRE);
    }
}

void
conn_tls_write(struct conn *conn, struct sv bytes)
{
    struct tls_failure failure;

    if (conn->output_over ||
        tls_stream_write(conn->tls, bytes, &failure) == TLS_OK)
        return;
    conn->output_over = true;
    conn_fail(conn, failure.stage, "%s", failure.reason);
}

void
conn_tls_encrypt(struct conn *conn)
{
    if (conn->fake != NULL || conn->tls == NULL)
        return;
    while (conn->clear.length > 0) {
        struct sv first = output_first(&conn->clear);

        if (conn->failure == NULL || conn->failure->stage == STAGE_TIMEOUT)
            conn_tls_write(conn, first);
        output_consume(&conn->clear, &conn->loop->output, first.n);
    }
}
