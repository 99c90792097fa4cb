/* transmit/explain_internal.h - the parts behind transmit/explain.h: explain.c
 * leads a question from its address to what is known of each server,
 * explain_alias.c completes that, explain_json.c writes it down, tls_check.c
 * and dane_show.c connect, tls_advice.c says what would have to change. */
#ifndef TRANSMIT_EXPLAIN_INTERNAL_H
#define TRANSMIT_EXPLAIN_INTERNAL_H
#include "transmit/delivery_internal.h"
#include "transmit/explain.h"
#include "transmit/tls_consequence.h"

enum question_kind {
    QUESTION_ROUTE,
    QUESTION_EXPLAIN,
    QUESTION_CHECK,
    QUESTION_DANE,
};

struct explainer {
    struct loop *loop;
    struct delivery *delivery;
    struct sts_cache *cache; /* may be NULL */
    struct list questions;   /* running */
    struct list closing;     /* of struct client: saying QUIT */
    unsigned next_id;
};

/* A server by name: what holds for all of its addresses. */
struct question_host {
    struct question *question;
    const struct route_target *target; /* its first */
    size_t target_count;               /* they follow each other */
    struct dane_query *query;          /* running, or NULL */
    struct dane_evidence *dane;        /* reference; NULL: not asked for */
    struct tls_evidence evidence;      /* what decide() gets */
    struct tls_decision decision;
};

struct tls_check;
struct dane_show;
struct alias_trace;

struct question {
    struct explainer *explainer;
    struct link link;
    struct rpc_call *call;
    enum question_kind kind;
    struct revision *revision;         /* reference */
    char domain[256];                  /* canonical */
    const char *policy_domain;         /* that decisions are about */
    uint16_t port;                     /* instead of the usual; 0 */
    unsigned demands;                  /* enum envelope_tls */
    const struct route_settings *rule; /* static route; NULL: by MX */
    struct destination destination;    /* key and domain owned */
    const struct destination_settings *control;
    struct route_query *route_query;
    struct route *route;         /* owned */
    struct alias_trace *aliases; /* owned */
    size_t alias_count;
    void (*on_aliases)(struct question *question);
    struct sts_query *sts_query;
    struct sts_evidence sts; /* policy referenced */
    bool has_sts;            /* it was looked up */
    struct question_host hosts[ROUTE_HOSTS_MAX];
    size_t host_count;
    size_t pending; /* look-ups running, and one while they are started */
    struct timer watch;
    uint64_t limit;          /* ms on the loop's clock */
    struct tls_check *check; /* owned; NULL before */
    struct dane_show *show;  /* owned; NULL before */
};

/* explain.c: the answer is given (rpc_result or rpc_error). */
void question_end(struct question *question);

/* explain_alias.c: asks for what the route's trace does not say, then calls
 * then(), also from inside. */
void explain_find_aliases(struct question *question,
                          void (*then)(struct question *question));
void explain_drop_aliases(struct question *question);

/* explain_json.c: new references. */
json_t *explain_route_json(const struct question *question);
json_t *explain_control_json(const struct question *question);
json_t *explain_sts_json(const struct question *question);
json_t *explain_dane_json(const struct dane_evidence *dane); /* or NULL */
json_t *explain_host_json(const struct question_host *host);
json_t *explain_decision_json(const struct question_host *host);
json_t *explain_queue_json(const struct question *question);
json_t *explain_demands_json(unsigned demands);

/* tls_check.c */
void tls_check_start(struct question *question);
void tls_check_free(struct tls_check *check); /* NULL is fine */
/* The time is up or the caller gone: what is running ends. */
void tls_check_stop(struct tls_check *check);

/* dane_show.c: the same. */
void dane_show_start(struct question *question);
void dane_show_free(struct dane_show *show); /* NULL is fine */
void dane_show_stop(struct dane_show *show);
#endif
