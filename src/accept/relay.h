/* accept/relay.h - who may send where: facts in, verdict out; no I/O.
 * The host access table and the rules of src/policy/ will stand here. */
#ifndef ACCEPT_RELAY_H
#define ACCEPT_RELAY_H
#include "settings/settings.h"

struct relay_facts {
    const struct listener_settings *listener;
    const struct net_address *client;
    struct sv domain; /* of the recipient, canonical or [literal] */
};

enum relay_verdict {
    RELAY_LOCAL,   /* the domain is ours */
    RELAY_TRUSTED, /* the client may send anywhere */
    RELAY_DENIED,
};
enum relay_verdict relay_decide(const struct relay_facts *facts);

/* The domain of <postmaster>, which has none: RFC 5321 section 4.5.1. */
const char *relay_postmaster_domain(const struct listener_settings *listener,
                                    const char *hostname);
#endif
