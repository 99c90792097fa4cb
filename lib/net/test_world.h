/* net/test_world.h - what the tests of connections share: a loop with a
 * listener on loopback, one server side and one client side, and ways to run
 * the loop until something is so. */
#ifndef NET_TEST_WORLD_H
#define NET_TEST_WORLD_H
#include "base/buf.h"
#include "net/conn.h"
#include "tls/test_pki.h"
#include "unit.h"

#define ALL_VERSIONS                                                           \
    (TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13)

struct side {
    struct conn *conn;
    unsigned seen[7]; /* by enum conn_event */
    struct buf in;
    struct tls_failure failure;
    char version[16];
    bool resumed, echo;
    void (*hook)(struct side *side, enum conn_event event);
    size_t to_send, sent; /* of a stream of known bytes */
    size_t received;      /* of such a stream; checked */
    bool mismatch;
};

extern struct tls_certificate_files ca, ec;
extern struct tls_context *server_tls, *client_tls;
extern struct loop *loop;
extern int listen_fd;
extern struct net_address listen_address;
extern struct acceptor *acceptor;
extern struct side server, client;
/* Called with a new server side, in the acceptor's callback. */
extern void (*on_accepted)(struct side *side);

/* Before and after each test. */
int set_up(void **state);
int tear_down(void **state);
#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int world_run(const char *name, const struct CMUnitTest *tests, size_t count);

void run_until(bool (*reached)(void)); /* or fails the test after 20 s */
void run_for(uint64_t ms);

/* Goals. */
bool both_connected(void);
bool both_ready(void);
bool both_failed(void);
bool client_over(void);
bool server_over(void);
bool server_has_echoed(void);
bool all_received(void);

void dial(void);                    /* client.conn connects to the listener */
int dial_raw(void);                 /* the same as a blocking descriptor */
void accept_tls(struct side *side); /* for on_accepted */
/* Dials, and starts TLS on both sides once connected. */
void connect_tls(const struct tls_session_key *key);

/* For conn_accept() and conn_connect(): counts, keeps input or hands it to
 * side->hook. */
void on_event(void *owner, struct conn *conn, enum conn_event event);
void side_fini(struct side *side); /* closes */

/* A stream of known bytes: to_send are written as output drains, what comes is
 * compared. */
char stream_byte(size_t at);
void pump(struct side *side);
void take_stream(struct side *side);
void stream_hook(struct side *side, enum conn_event event);
#endif
