#include "net/conn_internal.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define RECV_ROUNDS 4   /* buffers read before others get their turn */
#define DRAIN_ROUNDS 16 /* the same once writing has failed */
#define IOV_MAX_USED 32
#define DISCARD_ON_CLOSE 1048576

static void
fail_code(struct conn *conn, enum tls_stage stage, const char *what, int code)
{
    conn_fail(conn, stage, "%s: %s", what, strerror(code));
}

/* Out of descriptors, memory or ports. */
static bool
is_shortage(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOBUFS ||
           code == ENOMEM || code == EADDRNOTAVAIL;
}

static void
fail_connect(struct conn *conn, const char *what, int code)
{
    conn->failed_locally = is_shortage(code);
    fail_code(conn, STAGE_CONNECT, what, code);
}

/* Reading ---------------------------------------------------------------- */

/* False: there is nothing more to read now. */
static bool
receive(struct conn *conn)
{
    struct loop *loop = conn->loop;
    ssize_t n;

    loop_need_scratch(loop);
    do {
        n = recv(conn->fd, loop->wire, LOOP_WIRE, 0);
    } while (n == -1 && errno == EINTR);
    if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n == -1)
        fail_code(conn, STAGE_IO, "read", errno);
    else if (n == 0)
        conn_take_eof(conn);
    else if (conn->tls != NULL)
        conn_tls_feed(conn, (struct sv){loop->wire, (size_t)n});
    else
        conn_take_input(conn, (struct sv){loop->wire, (size_t)n});
    return n == LOOP_WIRE;
}

static void
finish_connect(struct conn *conn)
{
    int code = 0;
    socklen_t length = sizeof code;
    struct sockaddr_storage local;
    socklen_t local_length = sizeof local;

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &code, &length) == -1)
        code = errno;
    conn->state = CONN_OPEN;
    conn->output_full = false;
    if (code != 0) {
        fail_code(conn, STAGE_CONNECT, "connect", code);
        conn->output_over = true;
        return;
    }
    if (getsockname(conn->fd, (struct sockaddr *)&local, &local_length) == 0)
        net_address_from_sockaddr((struct sockaddr *)&local, &conn->local);
    conn->due |= BIT(CONN_CONNECTED);
}

/* Writing failed, but what the peer said before it went may wait in the kernel,
 * a reply among it that says why: it is read and told first. */
static void
drain(struct conn *conn)
{
    int rounds = DRAIN_ROUNDS;

    while (rounds-- > 0 && conn_wants_input(conn)) {
        bool more = receive(conn);

        conn->due &= ~(BIT(CONN_EOF) | BIT(CONN_ERROR));
        conn_settle(conn);
        if (!more)
            break;
    }
    if (conn->state == CONN_OPEN && !conn->told_failure) {
        conn_failed(conn);
        conn_settle(conn);
    }
}

void
conn_turn(struct conn *conn, bool readable)
{
    int rounds = RECV_ROUNDS;

    if (conn->busy || conn->state == CONN_DEAD)
        return;
    conn->low_rounds = 0;
    conn_settle(conn);
    while (readable && rounds-- > 0 && !conn->output_over &&
           conn_wants_input(conn)) {
        readable = receive(conn);
        conn_settle(conn);
    }
    if (conn->output_over && conn->state == CONN_OPEN && !conn->told_failure)
        drain(conn);
}

/* Writing ---------------------------------------------------------------- */

static void
write_failed(struct conn *conn, int code)
{
    conn->output_over = true;
    output_clear(&conn->clear, &conn->loop->output);
    output_clear(&conn->wire, &conn->loop->output);
    if (conn->failure == NULL)
        tls_failure_set(conn_failure_slot(conn), STAGE_IO, "write: %s",
                        strerror(code));
    conn_schedule(conn);
}

/* Returns what the kernel took. */
static size_t
send_iov(struct conn *conn, struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t n;

    do {
        n = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);
    if (n >= 0)
        return (size_t)n;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
        conn->output_full = true;
    else
        write_failed(conn, errno);
    return 0;
}

void
conn_socket_send(struct conn *conn)
{
    if (conn->state == CONN_CONNECTING || conn->state == CONN_DEAD)
        return;
    while (conn->wire.length > 0 && !conn->output_full && !conn->output_over) {
        struct iovec iov[IOV_MAX_USED];
        int count = output_iov(&conn->wire, iov, IOV_MAX_USED);
        size_t offered = 0, taken;

        for (int i = 0; i < count; i++)
            offered += iov[i].iov_len;
        taken = send_iov(conn, iov, count);
        if (taken > 0)
            output_consume(&conn->wire, &conn->loop->output, taken);
        if (taken < offered)
            conn->output_full = !conn->output_over;
    }
}

size_t
conn_socket_send_now(struct conn *conn, struct sv bytes)
{
    struct iovec iov = {.iov_len = bytes.n};
    size_t taken;

    /* The kernel only reads there; the type knows no const. */
    memcpy(&iov.iov_base, &bytes.p, sizeof iov.iov_base);

    if (conn->fake != NULL || conn->state != CONN_OPEN || conn->output_full ||
        conn->output_over)
        return 0;
    taken = send_iov(conn, &iov, 1);
    if (taken < bytes.n && !conn->output_over)
        conn->output_full = true;
    return taken;
}

/* Waiting ---------------------------------------------------------------- */

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct conn *conn = poll->data;

    /* libuv reports an error of the socket and stops watching; recv() or
     * SO_ERROR tell which one it is. */
    if (status < 0) {
        conn->interest = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (events & UV_WRITABLE) {
        conn->output_full = false;
        if (conn->state == CONN_CONNECTING)
            finish_connect(conn);
    }
    /* Pausing does not touch epoll: most pauses end before more comes.  Only
     * when there is something to read is the interest taken back. */
    if ((events & UV_READABLE) && conn->paused && conn->interest != 0) {
        conn->interest &= ~UV_READABLE;
        if (conn->interest == 0)
            uv_poll_stop(poll);
        else
            uv_poll_start(poll, conn->interest, on_poll);
    }
    conn_turn(conn, events & UV_READABLE);
}

static int
wanted_interest(const struct conn *conn)
{
    int wanted = 0;

    if (conn->state == CONN_CONNECTING)
        return UV_WRITABLE;
    if (conn_wants_input(conn) && !conn->told_failure)
        wanted |= UV_READABLE;
    else if (conn->paused && !conn->input_over && conn->state == CONN_OPEN)
        wanted |= conn->interest & UV_READABLE; /* see on_poll() */
    if ((conn->wire.length > 0 && !conn->output_over) ||
        (conn->due & BIT(CONN_OUTPUT_LOW)))
        wanted |= UV_WRITABLE;
    return wanted;
}

void
conn_socket_update(struct conn *conn)
{
    int wanted;

    if (conn->fake != NULL || conn->fd == -1 || conn->state == CONN_DEAD)
        return;
    wanted = wanted_interest(conn);
    if (wanted == conn->interest)
        return;
    conn->interest = wanted;
    if (wanted == 0)
        uv_poll_stop(&conn->poll);
    else
        uv_poll_start(&conn->poll, wanted, on_poll);
}

/* Beginning and end ------------------------------------------------------ */

static void
set_no_delay(int fd)
{
    int on = 1;

    /* Output is gathered here; the kernel need not wait for more.  No harm
     * where it does not apply. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static bool
watch_socket(struct conn *conn)
{
    int rc = uv_poll_init(&conn->loop->uv, &conn->poll, conn->fd);

    conn->poll.data = conn;
    if (rc == 0)
        return true;
    close(conn->fd);
    conn->fd = -1;
    fail_connect(conn, "watch socket", -rc);
    conn->output_over = true;
    return false;
}

struct conn *
conn_accept(struct loop *loop, int fd, const struct net_address *peer,
            conn_on_event *on_event, void *owner)
{
    struct conn *conn = conn_new(loop, peer, on_event, owner);
    struct sockaddr_storage local;
    socklen_t length = sizeof local;

    assert(!loop->manual);
    conn->state = CONN_OPEN;
    conn->fd = fd;
    if (getsockname(fd, (struct sockaddr *)&local, &length) == 0)
        net_address_from_sockaddr((struct sockaddr *)&local, &conn->local);
    set_no_delay(fd);
    watch_socket(conn);
    conn_schedule(conn);
    return conn;
}

static void
begin_connect(struct conn *conn, const struct net_address *local)
{
    conn->fd = socket(conn->peer.sa.sa_family,
                      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd == -1) {
        fail_connect(conn, "socket", errno);
        return;
    }
    if (!watch_socket(conn))
        return;
    set_no_delay(conn->fd);
    if (local != NULL && local->sa.sa_family != AF_UNSPEC &&
        bind(conn->fd, &local->sa, net_address_length(local)) == -1)
        fail_connect(conn, "bind", errno);
    else if (connect(conn->fd, &conn->peer.sa,
                     net_address_length(&conn->peer)) == -1 &&
             errno != EINPROGRESS)
        fail_connect(conn, "connect", errno);
}

struct conn *
conn_connect(struct loop *loop, const struct net_address *peer,
             const struct net_address *local, conn_on_event *on_event,
             void *owner)
{
    struct conn *conn = conn_new(loop, peer, on_event, owner);

    assert(!loop->manual);
    conn->state = CONN_CONNECTING;
    begin_connect(conn, local);
    if (conn->failure != NULL) {
        conn->state = CONN_OPEN;
        conn->output_over = true;
    }
    conn_schedule(conn);
    return conn;
}

static void
on_handle_closed(uv_handle_t *handle)
{
    conn_free(handle->data);
}

static void
on_no_handle(struct task *task)
{
    conn_free(CONTAINER_OF(task, struct conn, turn));
}

void
conn_socket_close(struct conn *conn)
{
    if (conn->fd == -1) {
        conn->turn.run = on_no_handle;
        loop_defer(conn->loop, &conn->turn);
        return;
    }
    uv_close((uv_handle_t *)&conn->poll, on_handle_closed);
    if (conn->linger > 0 && !conn->output_over) {
        shutdown(conn->fd, SHUT_WR);
        /* With unread input the kernel answers by a reset, which may destroy
         * our last reply before the peer has read it. */
        if (!conn->input_over)
            (void)recv(conn->fd, NULL, DISCARD_ON_CLOSE, MSG_TRUNC);
    }
    close(conn->fd);
    conn->fd = -1;
}
