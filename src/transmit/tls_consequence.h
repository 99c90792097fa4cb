/* transmit/tls_consequence.h - what follows when TLS fails at a stage: pure.
 *
 * The client acts by these functions and `waxgate explain` prints what they
 * say, so the table that an administrator reads is what will happen. */
#ifndef TRANSMIT_TLS_CONSEQUENCE_H
#define TRANSMIT_TLS_CONSEQUENCE_H
#include "transmit/decide.h"

enum tls_consequence {
    CONSEQUENCE_CLEAR,      /* goes on in clear text on this connection */
    CONSEQUENCE_CLEAR_NEXT, /* the connection is over; the next goes without */
    CONSEQUENCE_ENCRYPTED,  /* goes over TLS all the same */
    CONSEQUENCE_NOT_HERE,   /* nothing goes to this server now */
};
const char *tls_consequence_name(enum tls_consequence consequence);

/* The first three are about decisions that let the server be used.
 *
 * The server offers no STARTTLS, or refused it with a reply that leaves the
 * connection open: may the message go in clear text now? */
bool tls_may_go_clear(const struct tls_decision *decision,
                      enum tls_stage stage);
/* TLS failed and the connection is over: may the next one do without? */
bool tls_may_go_clear_next(const struct tls_decision *decision,
                           enum tls_stage stage);
/* The handshake succeeded, and the check of the certificate ended at this
 * stage (NONE: it passed): is that good enough? */
bool tls_accepts(const struct tls_decision *decision, enum tls_stage stage);

/* All of it for one stage. */
enum tls_consequence tls_consequence(const struct tls_decision *decision,
                                     enum tls_stage stage);
#endif
