/* net/conn_internal.h - the inside of a connection, for the files of lib/net.
 *
 *   CONNECTING --> OPEN --> CLOSING --> DEAD
 *
 * CONNECTING: the descriptor becomes writable when the connect is over.
 * CLOSING:    conn_close() was called; queued output is flushed, no event is
 *             told any more.
 * DEAD:       the descriptor is closed; libuv still holds the handle, its close
 *             callback frees the memory.
 *
 * Events are bits in due; conn_turn() is the only function that tells them, so
 * callbacks never nest.  Everything that happens outside of it sets a bit and
 * calls conn_schedule(). */
#ifndef NET_CONN_INTERNAL_H
#define NET_CONN_INTERNAL_H
#include "base/buf.h"
#include "net/conn.h"
#include "net/loop_internal.h"
#include "net/output.h"
#include "tls/stream.h"

enum conn_state { CONN_CONNECTING, CONN_OPEN, CONN_CLOSING, CONN_DEAD };

struct conn {
    struct loop *loop;
    conn_on_event *on_event;
    void *owner;
    enum conn_state state;
    unsigned due;      /* BIT(enum conn_event) */
    bool busy;         /* inside conn_turn() */
    bool paused;       /* the owner wants no input */
    bool input_over;   /* nothing is read any more: EOF or failure */
    bool output_over;  /* writing failed; what is queued later is dropped */
    bool output_full;  /* the socket took less than it was offered */
    bool above_mark;   /* CONN_OUTPUT_LOW is owed */
    bool told_failure; /* CONN_ERROR was told: no more events */
    bool said_goodbye; /* close_notify is queued */
    bool failed_locally;
    unsigned char low_rounds; /* CONN_OUTPUT_LOW in this turn */

    struct sv fresh; /* input in the loop's buffer, behind kept */
    struct buf kept; /* input the owner did not consume */

    struct output clear; /* to be encrypted, under TLS only */
    struct output wire;  /* for the socket */
    size_t low_mark;

    struct tls_stream *tls; /* owned; NULL: none was started */
    bool tls_begun, tls_ready;

    struct timer timer;    /* the owner's time-out; lingering once closed */
    uint64_t timeout;      /* ms, as set; for the reason */
    uint64_t linger;       /* ms */
    struct task turn;      /* deferred conn_turn() */
    struct link lingering; /* on the loop's list while output is flushed */
    struct net_address peer, local;
    struct tls_failure *failure; /* owned; NULL: none yet */
    struct fake *fake;           /* owned; NULL: a real socket */

    int fd;
    int interest; /* what epoll watches, UV_READABLE | UV_WRITABLE */
    uv_poll_t poll;
};

/* conn.c */
struct conn *conn_new(struct loop *loop, const struct net_address *peer,
                      conn_on_event *on_event, void *owner);
void conn_free(struct conn *conn); /* memory; the last step */
void conn_schedule(struct conn *conn);
/* Tells the events due, writes what they produced, and closes or goes on. */
void conn_settle(struct conn *conn);
/* Notes the first failure only. */
void conn_fail(struct conn *conn, enum tls_stage stage, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
struct tls_failure *conn_failure_slot(struct conn *conn);
void conn_failed(struct conn *conn); /* the slot was filled */
/* Puts input that is in the loop's buffer where it may stay. */
void conn_keep_rest(struct conn *conn);
void conn_take_input(struct conn *conn, struct sv bytes);
void conn_take_eof(struct conn *conn);
bool conn_wants_input(const struct conn *conn);

/* conn_socket.c */
void conn_turn(struct conn *conn, bool readable);
void conn_socket_send(struct conn *conn);
/* Sends bytes past the empty queue; returns how many the kernel took. */
size_t conn_socket_send_now(struct conn *conn, struct sv bytes);
void conn_socket_update(struct conn *conn); /* tells epoll what is wanted */
void conn_socket_close(struct conn *conn);

/* conn_tls.c */
void conn_tls_begin(struct conn *conn); /* if started and not begun */
void conn_tls_feed(struct conn *conn, struct sv ciphertext);
void conn_tls_encrypt(struct conn *conn); /* clear to wire */
void conn_tls_write(struct conn *conn, struct sv bytes);

/* conn_fake.c */
void conn_fake_send(struct conn *conn);
void conn_fake_close(struct conn *conn);
void conn_fake_release(struct conn *conn);
const struct tls_facts *conn_fake_tls(const struct conn *conn);
#endif
