/* transmit/delivery_internal.h - the parts behind transmit/delivery.h:
 * delivery.c spreads sessions over the loops, delivery_session.c is the life of
 * one, delivery_policy.c gathers the evidence about its servers,
 * delivery_failure.c says why servers could not be used, delivery_report.c
 * writes down how TLS went,
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
#include "evidence/dane.h"
#include "evidence/sts.h"
#include "mail/address.h"
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

/* As the destination's own, but for the profile; NULL: err says why not. */
MUST_USE struct tls_context *
revision_new_context(const struct destination_settings *control,
                     const struct tls_profile *profile, struct err *err);

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
    struct tls_troubles *troubles;   /* NULL: none */
    struct sts_cache *sts;           /* NULL: MTA-STS is off */
    delivery_on_session *on_session; /* NULL: sessions are not written down */
    void *session_arg;
    size_t next_worker; /* main loop only */
    pthread_mutex_t lock;
    struct revision *current, *prepared; /* references */
    struct pool pool;                    /* of struct session */
    struct map connected;                /* by destination: struct connected */
    struct map unsure; /* by destination: struct unsure, of delivery_policy.c */
    size_t users;      /* sessions, and tasks on their way that need this */
    bool draining;
    bool freeing; /* delivery_free() has begun: the queue may be gone */
    bool freed;   /* ... and is over: the last user frees the rest */
    void (*on_idle)(void *arg);
    void *idle_arg;
    struct task idle_task;
    bool idle_posted;
    uint64_t keep_ms;  /* how long a connection waits for more mail */
    uint64_t pause_ms; /* before a session too many for the server ends */
    uint64_t stale_ms; /* then route and evidence are looked up anew before the
                        * next connection or message of a long session */
    uint64_t told_ms;  /* how long a policy's text is not told again */
    atomic_uint next_id;
    struct delivery_memory down;  /* "ip:port" */
    struct delivery_memory clear; /* decision key and host */
    struct delivery_memory told;  /* policies written down of late */
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
    /* Evidence, as old as the route (delivery_policy.c). */
    struct sts_query *sts_query;   /* running, or NULL */
    struct sts_evidence sts;       /* policy referenced */
    bool sts_known, sts_fresh;     /* … looked up anew after a failure */
    struct dane_query *dane_query; /* running, or NULL */
    struct dane_evidence **dane;   /* for each target; owned, references */
    size_t dane_count;
    uint64_t evidence_at;                    /* ms on the loop's clock */
    char policy_domain[MAIL_DOMAIN_MAX + 1]; /* that decisions are about */
    uint32_t unsure;  /* attempts in a row that knew no policy: at the begin */
    uint32_t attempt; /* one more, for decide() */
    void (*then)(struct session *session); /* when a look-up is answered */
    struct client_loss fresh_loss;         /* waits for a fresh policy */
    struct arena notes;                    /* texts of `failure` */
    size_t target;                         /* of the connection */
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
};

/* delivery_session.c, all on the session's loop except session_new(). */
struct session *session_new(struct delivery *delivery, struct worker *worker,
                            struct destination *destination);
void session_drain(struct session *session);
void session_drop(struct session *session); /* at once */
/* One of delivery->users is over; tells the owner of a drain when none is left,
 * and frees the delivery when its owner has. */
void delivery_user_gone(struct delivery *delivery);

/* delivery_policy.c */

/* Forgets what was known of the servers; with a new route. */
void session_forget_evidence(struct session *session);
void session_cancel_lookups(struct session *session);
/* The destination's policy, and how often it could not be found out: at the
 * begin. */
void session_begin_policy(struct session *session);
/* The destination failed as a whole: counts where no policy could be found
 * out. */
void session_count_unsure(struct session *session);
void delivery_forget_unsure(struct delivery *delivery); /* all, at the end */
/* What is known of a target, for decide(). */
void session_evidence(const struct session *session, size_t target,
                      struct tls_evidence *evidence);
/* Look up what decide() would use and is not known; then() follows, also from
 * inside. */
void session_find_policy(struct session *session,
                         void (*then)(struct session *session));
void session_find_records(struct session *session, size_t target,
                          void (*then)(struct session *session));
/* True: the policy is looked up once more before a failure under it is final,
 * and then() follows. */
bool session_find_fresh(struct session *session,
                        void (*then)(struct session *session));
/* So old that it is gathered anew before the next connection. */
bool session_is_stale(const struct session *session);
/* Mail that comes now deserves a decision of its own: this connection, which
 * has been of use or was kept, was decided by what is stale, or there is a
 * policy by now that it did not know. */
bool session_is_overtaken(const struct session *session);

/* delivery_report.c: one record for each connection. */
void session_report_client(const struct session *session,
                           const struct client_loss *loss); /* NULL: it works */
void session_report_refusal(const struct session *session, size_t target,
                            const struct tls_decision *decision);

/* delivery_failure.c */
/* A server that decide() refuses. */
void session_note_refusal(struct session *session, size_t target,
                          const struct tls_decision *decision);
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
