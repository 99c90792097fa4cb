/* transmit/explain.h - what would happen to mail for an address, and why.
 *
 * Calls for the command line and the console, all made of the parts by which
 * mail is delivered: route_find(), the look-ups of evidence/, decide(), and for
 * the last two struct client.
 *
 *   route.show  {"address"}                which servers, and what was left out
 *   explain     {"address", "demands",     … and which TLS each would have to
 *                "sender"}                 give, and what a failure leads to
 *   tls.check   {"address", "demands"}     … and what they do give: connects to
 *                                          each up to the point where mail
 *                                          would be sent, and sends none
 *   dane.show   {"address"}                the TLSA records of every server by
 *                                          MX, whatever the settings say, and
 *                                          whether it matches them now
 *
 * "address" is a domain, an address literal or a mailbox; for the last two
 * ":PORT" may follow a domain.  "demands": names of envelope_tls_text() with
 * commas between.  "sender": "<>" is told nothing.  tls.check gives an item for
 * each server as it is done.  docs/explain.md shows the answers. */
#ifndef TRANSMIT_EXPLAIN_H
#define TRANSMIT_EXPLAIN_H
#include "evidence/sts.h"
#include "service/rpc.h"
#include "transmit/delivery.h"

struct explainer;

/* Everything runs on this loop, the sender's main one.  delivery and cache are
 * borrowed; cache NULL: MTA-STS is not looked up. */
struct explainer *explainer_new(struct loop *loop, struct delivery *delivery,
                                struct sts_cache *cache);
/* Breaks off what is running; before the delivery and the cache are freed. */
void explainer_free(struct explainer *explainer); /* NULL is fine */

/* "route.show", "explain", "tls.check", "dane.show". */
bool explainer_knows(const char *method);
void explainer_request(struct explainer *explainer, struct rpc_call *call);
#endif
