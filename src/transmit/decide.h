/* transmit/decide.h - which TLS a hop needs: a pure function.
 * Delivery and explanation both call it; its reasons are stored with every
 * attempt.  DANE, MTA-STS and message demands enter as further evidence. */
#ifndef TRANSMIT_DECIDE_H
#define TRANSMIT_DECIDE_H
#include "settings/settings.h"
#include "tls/context.h"

enum tls_floor {
    FLOOR_CLEAR,         /* TLS is not tried */
    FLOOR_OPPORTUNISTIC, /* TLS if it works; clear text as fallback says */
    FLOOR_ENCRYPTED,     /* TLS or nothing */
    FLOOR_VERIFIED,      /* TLS with a certificate that proves a name */
};
enum tls_authentication { AUTH_NONE, AUTH_PREFERRED, AUTH_REQUIRED };

struct tls_evidence {
    const char *domain; /* recipient or route domain, canonical */
    const char *host;   /* MX host name as looked up; or literal */
    bool host_is_literal;
    const struct destination_settings *control;
};

struct tls_decision {
    enum tls_floor floor;
    enum tls_authentication authentication;
    enum tls_fallback fallback; /* when floor is opportunistic */
    char server_name[256];      /* SNI; "" for none */
    char names[2][256];         /* any of them satisfies; "" unused */
    const struct destination_settings *control; /* profile, certificate, trust
                                                 * and switches */
    const char *reason;                         /* static: what decided */
    struct tls_session_key key; /* digest of all of this, for caches */
};

void decide(const struct tls_evidence *evidence, struct tls_decision *decision);
const char *tls_floor_name(enum tls_floor floor);
#endif
