/* accept/client_lookup.h - what DNS says of a client that has connected: its
 * confirmed name, and the DNS lists that hold it.
 *
 * Only what the host access table needs to settle is asked for, and asking
 * stops as soon as it is settled.  A name counts when the PTR record of the
 * address gives it and its own addresses lead back.  No answer, a bogus one or
 * an error is the same as none. */
#ifndef ACCEPT_CLIENT_LOOKUP_H
#define ACCEPT_CLIENT_LOOKUP_H
#include "access/hat.h"
#include "dns/dns.h"

struct client_lookup;

/* on_done comes once after client_lookup_start(), never from inside it; set a
 * time-out: there is no other.  The table is referenced. */
struct client_lookup *client_lookup_new(struct dns_resolver *resolver,
                                        struct loop *loop, struct hat *hat,
                                        const struct net_address *client,
                                        void (*on_done)(void *arg), void *arg);
/* False: nothing needs to be asked, and on_done will not come. */
MUST_USE bool client_lookup_start(struct client_lookup *lookup);
/* Also before on_done, which then never comes.  NULL is fine. */
void client_lookup_free(struct client_lookup *lookup);

/* What is known so far; valid as long as the look-up. */
const struct hat_client *
client_lookup_facts(const struct client_lookup *lookup);
#endif
