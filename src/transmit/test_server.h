/* transmit/test_server.h - a mail server on loopback for the tests of
 * deliveries: real sockets, real TLS, and the manners that a test gives it. */
#ifndef TRANSMIT_TEST_SERVER_H
#define TRANSMIT_TEST_SERVER_H
#include "base/list.h"
#include "mail/content.h"
#include "net/conn.h"
#include "tls/context.h"

struct behaviour {
    bool down;               /* nobody listens */
    const char *greeting;    /* NULL: "220 …" */
    const char *ehlo;        /* "PIPELINING\n…"; NULL: none */
    const char *starttls;    /* NULL: not offered */
    const char *rcpt;        /* NULL: 250 */
    const char *done;        /* NULL: 250 */
    const char *certificate; /* NAME of pki_make(): its names; NULL: none */
    bool old_tls;            /* none later than TLS 1.1 */
    bool broken_tls;         /* writes rubbish after the 220 */
    bool silent;             /* no answer to the content */
    unsigned peers_max;      /* 421 for more at a time; 0: no limit */
    unsigned close_after;    /* at the MAIL after so many messages; 0: never */
};

struct server {
    struct loop *loop;
    const struct behaviour *how;
    struct acceptor *acceptor;
    struct tls_context *tls;
    struct list peers;
    int fd;
    uint16_t port;
    unsigned connections, messages;
    unsigned requiretls; /* MAIL commands that said so */
};

void server_start(struct server *server, struct loop *loop, const char *ip,
                  const struct behaviour *how);
void server_stop(struct server *server);
/* Closes its oldest connection. */
void server_drop(struct server *server);
#endif
