/* transmit/delivery_internal.h - the parts behind transmit/delivery.h:
 * delivery.c spreads sessions over the loops, delivery_session.c is the life of
 * one, delivery_failure.c says why servers could not be used,
 * delivery_revision.c holds what one revision of the settings needs,
 * delivery_status.c answers the command line.
 *
 * What belongs to whom: a session belongs to its worker's loop, except its
 * pool membership, `destination` while it is kept, and `woken`, which the lock
 * guards.  While `woken` is set a task is on its way to the session's loop, and
 * only that task may end the session. */
#ifndef TRANSMIT_DELIVERY_INTERNAL_H
#define TRANSMIT_DELIVERY_INTERNAL_H
#include "dns/dns.h"
#include "tls/context.h"
#include "transmit/client.h"
#include "transmit/delivery.h"
#include "transmit/delivery_memory.h"
#include "transmit/pool.h"
#include "transmit/route.h"
#include "transmit/tls_trouble.h"
#include <stdatomic.h>

/* What destinations with the same TLS settings share. */
struct revision_context {
    const struct destination_settings *control; /* the first of them */
    struct tls_context *context;                /* owned */
    struct tls_context *classic; /* owned; for the second try of a handshake,
                                  * NULL: there is none */
};

struct revision {
    atomic_size_t references;
    struct settings *settings;     /* reference */
    struct dns_resolver *resolver; /* reference */
    struct revision_context *contexts;
    size_t context_count;
    size_t *context_of; /* index for each of settings->destinations */
};
MUST_USE struct revision *
revision_new(struct loop *loop, struct settings *settings, struct err *err);
struct revision *revision_ref(struct revision *revision);
void revision_unref(struct revision *revision); /* NULL is fine */
/* Borrowed; NULL when the decision does without TLS. */
const struct revision_context *
revision_context(const struct revision *revision,
                 const struct tls_decision *decision);

/* What is on one loop; touched only there. */
struct worker {
    struct delivery *delivery;
    struct loop *loop;
    struct list sessions; /* of struct session */
    struct list closing;  /* of struct client: saying QUIT */
    struct task task;     /* drain or drop */
};

struct delivery {
    struct worker *workers; /* owned; [0] is the main loop */
    size_t worker_count;
    struct queue *queue;
    struct tls_troubles *troubles; /* NULL: none */
    size_t next_worker;            /* main loop only */
    pthread_mutex_t lock;
    struct revision *current, *prepared; /* references */
    struct pool pool;                    /* of struct session */
    struct map connected;                /* by destination: struct connected */
    size_t users; /* sessions, and tasks on their way that need this */
    bool draining;
    bool freeing; /* delivery_free() has begun: the queue may be gone */
    bool freed;   /* ... and is over: the last user frees the rest */
    void (*on_idle)(void *arg);
    void *idle_arg;
    struct task idle_task;
    bool idle_posted;
    uint64_t keep_ms;  /* how long a connection waits for more mail */
    uint64_t pause_ms; /* before a session too many for the server ends */
    atomic_uint next_id;
    struct delivery_memory down;  /* "ip:port" */
    struct delivery_memory clear; /* decision key and host */
};

struct session {
    struct delivery *delivery;
    struct worker *worker;
    struct revision *revision;       /* reference */
    struct destination *destination; /* the queue's; NULL while kept */
    const struct destination_settings *control;
    char *key;                 /* owned: the destination's, also while kept */
    struct link link;          /* worker's; on it from the first wake */
    struct pool_member pooled; /* locked */
    struct task wake;
    bool woken;                /* locked: wake is posted */
    struct route_query *query; /* running, or NULL */
    struct route *route;       /* owned */
    size_t target;             /* of the connection */
    size_t next_target;
    struct client *client;  /* NULL: none */
    bool ready;             /* it has come to on_ready */
    bool classic;           /* second try of a handshake */
    bool connected;         /* counted in delivery->connected */
    struct parcel *parcel;  /* waits for a server */
    struct parcel *sending; /* given to the client */
    enum client_lack lack;  /* of a server before, of `parcel` */
    bool detour;            /* on a server worse than the best for one parcel */
    bool worked;
    uint64_t started;
    struct timer pause;
    /* The most telling failure of the targets so far. */
    int failure_rank; /* 0: none */
    struct destination_failure failure;
    char failed_host[256], failed_ip[NET_ADDRESS_TEXT];
    bool all_permanent; /* each target has refused for good */
};

/* delivery_session.c, all on the session's loop except session_new(). */
struct session *session_new(struct delivery *delivery, struct worker *worker,
                            struct destination *destination);
void session_drain(struct session *session);
void session_drop(struct session *session); /* at once */
/* One of delivery->users is over; tells the owner of a drain when none is left,
 * and frees the delivery when its owner has. */
void delivery_user_gone(struct delivery *delivery);

/* delivery_failure.c */
void session_note_loss(struct session *session, const struct client_loss *loss);
/* TLS failed with the client's server. */
void session_count_tls(const struct session *session,
                       const struct tls_failure *failure);
/* No server was good enough: tells the operator where that is for want of
 * TLS. */
void session_note_kept_back(const struct session *session);
void session_note_route(struct session *session, const struct route *route);
/* Servers that could not be looked up count among those that could not be
 * asked. */
void session_note_incomplete(struct session *session);
/* For parcels that were tried on nothing but this. */
void session_blame_parcel(const struct session *session, struct parcel *parcel);
void session_log_failure(const struct session *session);
void session_log_attempt(const struct session *session,
                         const struct parcel *parcel);
#endif
