/* accept/relay.h - who may send where: facts in, verdict out; no I/O. */
#ifndef ACCEPT_RELAY_H
#define ACCEPT_RELAY_H
#include "settings/settings.h"

struct relay_facts {
    const struct listener_settings *listener;
    const struct mail_flow_policy *policy; /* of the client */
    struct sv local;                       /* of the recipient, as written */
    struct sv domain;                      /* canonical or [literal] */
};

enum relay_verdict {
    RELAY_LOCAL,   /* the recipient access table accepts it */
    RELAY_TRUSTED, /* the client may send anywhere */
    RELAY_DENIED,
};
/* *row: of `rat`, borrowed; NULL: none fits, or one of `domains`. */
enum relay_verdict relay_decide(const struct relay_facts *facts,
                                const struct rat_entry_settings **row);

/* The domain of <postmaster>, which has none: RFC 5321 section 4.5.1. */
const char *relay_postmaster_domain(const struct listener_settings *listener,
                                    const char *hostname);
#endif
