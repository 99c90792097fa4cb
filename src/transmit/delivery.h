/* transmit/delivery.h - sessions with other servers.
 *
 * A delivery finds the servers of a destination (route.h), decides which TLS
 * each hop needs (decide.h), connects, and sends parcels from the queue until
 * there is none; then it keeps the connection for a while in case more comes.
 * Failures are typed (tls/facts.h) from the start: a TLS failure never shows as
 * a routing error. */
#ifndef TRANSMIT_DELIVERY_H
#define TRANSMIT_DELIVERY_H
#include "net/loop.h"
#include "service/rpc.h"
#include "transmit/queue.h"

struct delivery; /* all sessions of this process */
struct tls_troubles;

/* loops: sessions are spread over them. */
MUST_USE struct delivery *delivery_new(struct loop **loops, size_t loop_count,
                                       struct settings *settings,
                                       struct err *err);
void delivery_set_queue(struct delivery *delivery, struct queue *queue);
/* Where failures of TLS are written down; NULL: nowhere.  Before the first
 * session. */
void delivery_set_troubles(struct delivery *delivery,
                           struct tls_troubles *troubles);
/* Where policies of other domains are asked for; NULL: nowhere.  Before the
 * first session. */
struct sts_cache;
void delivery_set_sts(struct delivery *delivery, struct sts_cache *sts);
/* Gets how TLS went on each connection, for reports; on any loop's thread,
 * texts are valid during the call.  Before the first session. */
typedef void delivery_on_session(void *arg,
                                 const struct ledger_session *session);
void delivery_set_on_session(struct delivery *delivery,
                             delivery_on_session *on_session, void *arg);
/* Builds what the settings need (TLS contexts, resolver), aside; then use it
 * for new sessions or drop it. */
MUST_USE bool delivery_prepare(struct delivery *delivery,
                               struct settings *settings, struct err *err);
void delivery_commit(struct delivery *delivery);
void delivery_abandon(struct delivery *delivery);
/* The one of the current settings, borrowed until the next commit: others of
 * this process ask through it too, and so share what it remembers. */
struct dns_resolver *delivery_resolver(struct delivery *delivery);

/* queue_calls.on_session_wanted: uses a kept connection or makes one. */
void delivery_session_wanted(void *delivery, struct destination *destination);

/* Ends kept connections, lets running transactions finish; idle(arg) on the
 * main loop when none is left. */
void delivery_drain(struct delivery *delivery, void (*idle)(void *arg),
                    void *arg);
void delivery_free(struct delivery *delivery); /* drops what is still open */

/* `delivery.sessions`, for status. */
void delivery_request(struct delivery *delivery, struct rpc_call *call);
#endif
