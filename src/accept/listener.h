/* accept/listener.h - a listener as the sessions of all loops share it.
 *
 * struct listener lives as long as the process knows its name: it counts.
 * struct listener_revision is what one configuration says of it, immutable and
 * reference-counted: a session keeps the one with which it began.
 *
 * Who may connect is decided here, before any TLS work is done for a peer. */
#ifndef ACCEPT_LISTENER_H
#define ACCEPT_LISTENER_H
#include "accept/rate.h"
#include "access/hat.h"
#include "access/rat.h"
#include "settings/settings.h"
#include "tls/describe.h"
#include "tls/expiry.h"

/* Since the process started, except the first. */
struct listener_counts {
    _Atomic uint64_t open;        /* connections now */
    _Atomic uint64_t connections; /* admitted */
    _Atomic uint64_t throttled;   /* turned away by a limit */
    _Atomic uint64_t rejected;    /* turned away by the host access table */
    _Atomic uint64_t accepted;    /* messages */
    _Atomic uint64_t refused;     /* messages and recipients */
    _Atomic uint64_t tls_ok;      /* handshakes */
    _Atomic uint64_t tls_failed;
    _Atomic uint64_t tls_throttled; /* handshakes turned away by a limit */
    _Atomic uint64_t certificates_refused; /* of clients */
};

struct listener {
    char *name; /* owned */
    struct listener_counts counts;
    /* Per client, of all loops together; they outlive a new configuration. */
    struct rate_gauge *clients;     /* owned: connections */
    struct rate_window *recipients; /* owned: in the last hour */
    struct rate_window *invalid;    /* owned: … that were refused */
    struct rate_bucket *handshakes; /* owned */
    struct rate_meter all_handshakes;
    /* owned: certificates of clients, and when it was last said that they end
     * (seconds since 1970) */
    struct rate_memory *endings;
    _Atomic unsigned references;
};

struct listener *listener_new(const char *name);
struct listener *listener_ref(struct listener *listener);
void listener_unref(struct listener *listener); /* NULL is fine */

struct dns_resolver;
struct listener_revision {
    struct listener *listener;               /* referenced */
    struct settings *settings;               /* referenced */
    const struct listener_settings *options; /* inside settings */
    struct tls_context **contexts; /* owned; one for each of options->policies,
                                    * NULL: no TLS */
    struct dns_resolver *resolver; /* referenced; NULL: names are not looked up
                                    */
    _Atomic unsigned references;
};

/* Builds the TLS contexts too.  References all; NULL on failure. */
MUST_USE struct listener_revision *
listener_revision_new(struct listener *listener, struct settings *settings,
                      const struct listener_settings *options,
                      struct dns_resolver *resolver, struct err *err);
struct listener_revision *
listener_revision_ref(struct listener_revision *revision);
void listener_revision_unref(struct listener_revision *revision);

/* The connection must begin with a header of the PROXY protocol. */
bool listener_wants_proxy(const struct listener_revision *revision,
                          const struct net_address *peer);

/* The policy that the host access table has for a client. */
const struct mail_flow_policy *
listener_policy(const struct listener_revision *revision,
                const struct hat_client *client, struct hat_match *match);

/* Both count, or say no by the text of the reply (421 4.4.5).  What was
 * admitted is given back by the function of the same name. */
MUST_USE bool listener_admit(struct listener_revision *revision,
                             const char **why);
void listener_dismiss(struct listener_revision *revision);
MUST_USE bool listener_admit_client(struct listener_revision *revision,
                                    const struct net_address *client,
                                    const struct mail_flow_policy *policy,
                                    const char **why);
void listener_dismiss_client(struct listener_revision *revision,
                             const struct net_address *client);

/* A TLS handshake may begin now; counts it. */
MUST_USE bool listener_admit_handshake(struct listener_revision *revision,
                                       const struct net_address *client,
                                       const struct mail_flow_policy *policy,
                                       uint64_t now_ms);
/* A client showed this certificate: whether it is to be said now that it ends,
 * or has ended; EXPIRY_FAR: not now.  Counts as said. */
enum tls_expiry
listener_note_ending(struct listener_revision *revision,
                     const struct tls_certificate_facts *certificate,
                     int64_t now_s);
/* One more recipient within the hour; counts it. */
MUST_USE bool listener_admit_recipient(struct listener_revision *revision,
                                       const struct net_address *client,
                                       const struct mail_flow_policy *policy,
                                       uint64_t now_ms);
/* The client named a recipient that the tables do not have. */
void listener_count_invalid(struct listener_revision *revision,
                            const struct net_address *client,
                            const struct mail_flow_policy *policy,
                            uint64_t now_ms);
/* It has named more of them within the hour than its policy allows. */
bool listener_suspects_harvest(const struct listener_revision *revision,
                               const struct net_address *client,
                               const struct mail_flow_policy *policy,
                               uint64_t now_ms);
#endif
