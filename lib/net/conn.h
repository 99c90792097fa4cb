/* net/conn.h - one stream connection; TCP and TLS behind one face.
 * The owner is told of seven events and never sees sockets, partial writes or
 * records:
 *
 *   CONN_CONNECTED   a connect finished (outbound only)
 *   CONN_TLS_READY   the handshake finished; conn_tls() tells the facts
 *   CONN_DATA        conn_input() grew
 *   CONN_OUTPUT_LOW  queued output fell to the mark of conn_set_output_low()
 *   CONN_EOF         the peer closed its side in order
 *   CONN_TIMEOUT     the time of conn_set_timeout() passed
 *   CONN_ERROR       connect, handshake, read or write failed;
 *                    conn_failure() tells stage and reason
 *
 * After CONN_EOF, CONN_TIMEOUT and CONN_ERROR the owner calls conn_close().
 * Objects never die inside their own callback: conn_close() only marks, and the
 * loop frees when the callback has returned.  No event comes after
 * conn_close().
 *
 * Input lies in the loop's own buffer while on_event runs and is kept only as
 * far as the owner did not consume it, so an idle connection holds no buffer.
 * Output is gathered and written once when the callback returns. */
#ifndef NET_CONN_H
#define NET_CONN_H
#include "base/err.h"
#include "base/sv.h"
#include "net/address.h"
#include "net/loop.h"
#include "tls/facts.h"

struct conn;
struct tls_context;
struct tls_dane;
struct tls_session_key;

enum conn_event {
    CONN_CONNECTED,
    CONN_TLS_READY,
    CONN_DATA,
    CONN_OUTPUT_LOW,
    CONN_EOF,
    CONN_TIMEOUT,
    CONN_ERROR,
};

typedef void conn_on_event(void *owner, struct conn *conn,
                           enum conn_event event);

/* Takes over an accepted, connected descriptor, whatever happens.  Reading
 * starts when the callback that created it returns to the loop. */
struct conn *conn_accept(struct loop *loop, int fd,
                         const struct net_address *peer,
                         conn_on_event *on_event, void *owner);

/* Begins to connect; CONN_CONNECTED or CONN_ERROR follows, never from inside
 * this call.  local may be NULL (any).  Set a time-out: there is no other. */
struct conn *conn_connect(struct loop *loop, const struct net_address *peer,
                          const struct net_address *local,
                          conn_on_event *on_event, void *owner);

/* A connection in memory for tests on a manual loop: conn_fake_receive() gives
 * it bytes from the peer (all events due are delivered before it returns),
 * what it writes is collected in *output until conn_fake_take().  TLS on it is
 * simulated: conn_start_tls() succeeds when conn_fake_tls_ready() says so, with
 * the facts given. */
struct conn *conn_fake(struct loop *loop, const struct net_address *peer,
                       conn_on_event *on_event, void *owner);
void conn_fake_receive(struct conn *conn, struct sv bytes);
void conn_fake_eof(struct conn *conn);
void conn_fake_tls_ready(struct conn *conn, const struct tls_facts *facts);
/* Bytes written since the last call, into *out (appended). */
struct buf;
void conn_fake_take(struct conn *conn, struct buf *out);
/* The peer takes no output, or takes it again. */
void conn_fake_stall(struct conn *conn, bool stalled);
bool conn_fake_closed(const struct conn *conn);
/* Keeps a closed fake readable for the test; frees it. */
void conn_fake_free(struct conn *conn);

/* What came and was not consumed.  Valid until the callback returns or the
 * next conn_consume().  More comes on top while the connection is not paused,
 * so an owner that waits for the end of something bounds its length. */
struct sv conn_input(const struct conn *conn);
void conn_consume(struct conn *conn, size_t n);

/* Stops reading from the peer (its data waits in the kernel) and starts again;
 * after conn_resume() a CONN_DATA comes for input still there. Pausing inside
 * CONN_DATA leaves the rest of the input for later. */
void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);

/* Queues bytes for the peer; copies.  Never blocks, never fails here: a broken
 * connection shows as CONN_ERROR. */
void conn_write(struct conn *conn, struct sv bytes);
/* Bytes queued and not yet with the kernel. */
size_t conn_output_pending(const struct conn *conn);
/* CONN_OUTPUT_LOW comes once, when pending output has fallen to mark bytes or
 * below after it was above. */
void conn_set_output_low(struct conn *conn, size_t mark);

/* Handshake in the role of server or client; CONN_TLS_READY or CONN_ERROR
 * follows.  Server after STARTTLS: call it after writing the 220; the caller
 * has checked that conn_input() is empty: bytes there were sent in clear and
 * must not count as protected, so they make it fail with STAGE_INJECTED.  What
 * was written before goes out in clear, what is written after waits for the
 * handshake.  The context is referenced.  server_name: SNI, empty for none (as
 * for an address literal, RFC 6066 section 3).  key: client session resumption
 * under this key, NULL for none.  A server of TLS 1.3 may refuse the client's
 * certificate after CONN_TLS_READY: the stage of a later CONN_ERROR tells. */
void conn_start_tls_server(struct conn *conn, struct tls_context *context);
void conn_start_tls_client(struct conn *conn, struct tls_context *context,
                           struct sv server_name,
                           const struct tls_session_key *key);
/* Client, to a server that has to match TLSA records: see
 * tls_stream_new_client_dane().  dane may be NULL, and is copied. */
void conn_start_tls_client_dane(struct conn *conn, struct tls_context *context,
                                struct sv server_name,
                                const struct tls_session_key *key,
                                const struct tls_dane *dane);

/* The same where conn_input() holds the beginning of the handshake already:
 * behind a PROXY header on a listener with implicit TLS, and nowhere else. */
void conn_start_tls_server_with_input(struct conn *conn,
                                      struct tls_context *context);

/* Time-out from now; each call replaces the former, 0 switches it off.
 * Traffic does not extend it. */
void conn_set_timeout(struct conn *conn, uint64_t ms);

/* Flushes what is queued for at most linger_ms, then closes (with close_notify
 * under TLS, without waiting for the peer's, which may never come).  0: drops
 * it at once. */
void conn_close(struct conn *conn, uint64_t linger_ms);

struct loop *conn_loop(const struct conn *conn);
const struct net_address *conn_peer(const struct conn *conn);
const struct net_address *conn_local(const struct conn *conn);
/* Replaces the peer's address by what a PROXY header said. */
void conn_set_addresses(struct conn *conn, const struct net_address *peer,
                        const struct net_address *local);
bool conn_is_tls(const struct conn *conn); /* handshake finished */
const struct tls_facts *conn_tls(const struct conn *conn); /* valid if is_tls,
                                                or after a failed handshake */
/* The peer's certificate is for this host name (tls_stream_matches_name()).
 * After CONN_TLS_READY.  A fake has no certificate: there the name is compared
 * with its facts' peer_subject. */
bool conn_tls_matches_name(const struct conn *conn, struct sv name);
/* See tls_stream_dane_try(); false for a fake. */
bool conn_tls_dane_try(const struct conn *conn, const struct tls_dane *dane,
                       struct tls_dane_facts *facts);
/* See tls_stream_chain(); 0 for a fake. */
size_t conn_tls_chain(const struct conn *conn,
                      struct tls_certificate_facts **chain, size_t max);
/* Valid in and after CONN_ERROR and CONN_TIMEOUT. */
const struct tls_failure *conn_failure(const struct conn *conn);

/* The connection could not even be begun because something ran out here
 * (descriptors, ports, memory): that says nothing about the peer. */
bool conn_failed_locally(const struct conn *conn);

/* Accepts on a listening socket until freed. on_accept gets the descriptor
 * (nonblocking, close-on-exec) and owns it.  Out of descriptors (EMFILE,
 * ENFILE, ENOBUFS) it backs off for a while instead of spinning, and says so
 * (accept.exhausted); the last descriptors of the process are never given to
 * peers, so that files can be opened and calls answered still. */
struct acceptor;
struct acceptor *acceptor_new(struct loop *loop, int listen_fd,
                              void (*on_accept)(void *arg, int fd,
                                                const struct net_address *peer),
                              void *arg);
void acceptor_pause(struct acceptor *acceptor, bool paused);
void acceptor_free(struct acceptor *acceptor); /* does not close listen_fd */
#endif
