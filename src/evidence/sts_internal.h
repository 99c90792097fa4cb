/* evidence/sts_internal.h - the parts behind evidence/sts.h.
 *
 *   sts.c          look-ups of deliveries, from any loop
 *   sts_table.c    what is known of each domain, in memory
 *   sts_history.c  the last fetches of a domain
 *   sts_flight.c   a record is looked up and a policy fetched
 *   sts_sweep.c    refresh, expiry, alerts
 *   sts_stored.c   a domain as bytes on disk
 *   sts_file.c     the file that keeps them
 *   sts_view.c     calls of the command line
 *
 * Threads: cache->lock guards the table with its entries and the lists of
 * flights.  DNS, fetches and timers belong to the main loop.  The file has a
 * thread of its own, which takes the lock for short spells. */
#ifndef EVIDENCE_STS_INTERNAL_H
#define EVIDENCE_STS_INTERNAL_H
#include "evidence/sts.h"

#include "base/buf.h"
#include "base/map.h"
#include "evidence/sts_file.h"
#include "https/https.h"
#include <pthread.h>

enum {
    STS_FETCHES = 32,         /* at a time */
    STS_REFRESHES = 8,        /* of them in the background */
    STS_TXT_MS = 300000,      /* an answer is remembered, if its TTL allows */
    STS_TXT_ERROR_MS = 30000, /* … and that there was none */
    STS_PASSING = 50000,      /* domains without a policy that are remembered */
    STS_HISTORY = 10,         /* fetches of a domain */
    STS_KEEP_FAILED_S = 604800, /* what failed can be looked at for a week */
    STS_IN_USE_S = 90 * 86400,  /* since the last message: then no refresh */
    STS_SWEEP_MS = 1000,
    STS_SWEEP_ROUND = 60, /* sweeps to get round all domains */
};

/* What the record said, when it was last looked at. */
enum sts_said {
    SAID_NOTHING, /* was not looked at */
    SAID_NONE,
    SAID_OK,
    SAID_INVALID,
    SAID_ERROR, /* it could not be looked up */
};

struct sts_flight;

struct sts_entry {
    struct link used_link;
    struct list *list; /* that used_link is on: a list of the table */
    uint32_t slot;
    bool kept; /* on disk: has a policy or a history */
    bool pinned;
    bool alerted;

    struct sts_policy *policy; /* reference; NULL: none */
    char id[STS_ID_MAX + 1];   /* of the record when it was fetched */
    int64_t fetched;           /* seconds since 1970 */
    int64_t used;              /* … by a delivery */
    int64_t refresh_at;

    enum sts_said said;
    char said_id[STS_ID_MAX + 1];
    uint64_t said_until; /* clock_mono_ms() */
    char *said_reason;   /* owned; NULL: nothing to say */

    char failed_id[STS_ID_MAX + 1];
    uint64_t paused_until; /* clock_mono_ms(); for failed_id */

    struct sts_flight *flight; /* under way; then the entry stays */
    struct buf history;        /* sts_history.c */
    char domain[];
};

struct sts_table {
    struct map by_domain;
    struct sts_entry **slots; /* owned; by number, NULL: free */
    size_t end, cap;
    uint32_t *free_slots; /* owned */
    size_t free_count, free_cap;
    /* Longest unused first.  Of what is kept those that had no policy when they
     * were last written are in the second. */
    struct list kept, policyless, passing;
};

/* --- sts_table.c: all with the lock held -------------------------------- */

void sts_table_init(struct sts_table *table); /* of zeroes */
void sts_table_fini(struct sts_table *table);
struct sts_entry *sts_table_find(const struct sts_table *table,
                                 const char *domain);
struct sts_entry *sts_table_add(struct sts_table *table, const char *domain);
void sts_table_remove(struct sts_table *table, struct sts_entry *entry);
/* Also when it got a policy, or lost it. */
void sts_table_keep(struct sts_table *table, struct sts_entry *entry);
void sts_table_touch(struct sts_table *table, struct sts_entry *entry);
void sts_table_sort(struct sts_table *table);         /* kept, by use */
size_t sts_table_kept(const struct sts_table *table); /* how many */
/* The one to go where there are more than max; NULL: none. */
struct sts_entry *sts_table_surplus(struct sts_table *table, size_t max);

/* The policy counts now. */
bool sts_entry_in_force(const struct sts_entry *entry, int64_t now);
/* A fetch for the id of its record failed a short while ago. */
bool sts_entry_is_paused(const struct sts_entry *entry);
int64_t sts_entry_expires(const struct sts_entry *entry);
void sts_entry_drop_policy(struct sts_entry *entry);
/* What a delivery is told; policy is borrowed from the entry. */
void sts_entry_describe(const struct sts_entry *entry, int64_t now,
                        struct sts_evidence *evidence);

/* --- sts_history.c ------------------------------------------------------ */

struct sts_fetch {
    int64_t time; /* seconds since 1970 */
    uint32_t ms;
    bool ok;
    struct sv id, stage, reason; /* borrowed */
};
void sts_history_add(struct buf *history, const struct sts_fetch *fetch);
/* Takes the oldest off the front of *rest. */
MUST_USE bool sts_history_next(struct sv *rest, struct sts_fetch *fetch);
MUST_USE bool sts_history_last(const struct buf *history,
                               struct sts_fetch *fetch);
MUST_USE bool sts_history_valid(struct sv history);

/* --- sts_stored.c ------------------------------------------------------- */

void sts_stored_encode(const struct sts_entry *entry, struct buf *out);
void sts_stored_removal(const char *domain, struct buf *out);
/* Puts what the bytes say into the table; false: they say nothing that makes
 * sense, and nothing was changed. */
MUST_USE bool sts_stored_apply(struct sts_table *table, struct sv record);

/* --- the cache ---------------------------------------------------------- */

struct sts_cache {
    struct loop *loop;
    struct settings *settings;     /* reference; with the lock */
    struct dns_resolver *resolver; /* reference; main loop */
    struct https_client *https;    /* owned; main loop */
    struct sts_file *file;         /* owned */
    void (*on_alert)(void *arg, const char *key, bool raised, const char *text);
    void *alert_arg;

    pthread_mutex_t lock;
    struct sts_table table;
    struct list starting; /* flights that the main loop shall begin */
    bool start_posted;
    struct task start;

    /* main loop only */
    struct list flying;   /* flights that were begun */
    struct list waiting;  /* … and wait for their turn to fetch */
    struct list listings; /* for the command line; sts_view.c */
    size_t fetching, refreshing;
    struct timer sweep;
    size_t sweep_at; /* slot */
    bool file_alerted;
    bool closed; /* the start task frees what is left */
};

/* sts_flight.c */
struct sts_flight_options {
    bool skip_record; /* what is remembered of it is good */
    bool refresh;     /* fetch though the id is the same */
    bool background;
    bool by_hand; /* also within a pause, also pinned */
};
struct sts_flight {
    struct link link; /* starting, flying or waiting */
    struct sts_cache *cache;
    struct sts_entry *entry;
    struct sts_flight_options options;
    struct list queries; /* struct sts_query; with the lock */
    struct list callers; /* struct sts_caller; main loop */
    struct dns_query *dns;
    struct https_call *call;
    uint64_t waiting_since; /* loop_now() */
    uint64_t began;         /* loop_now(), of the fetch */
    bool renewed;           /* the policy came with this flight */
    bool changed;           /* there is something to be kept */
};
/* Lock held, any thread. */
struct sts_flight *sts_flight_new(struct sts_cache *cache,
                                  struct sts_entry *entry,
                                  const struct sts_flight_options *options);
void sts_flights_start(struct task *task);
void sts_flights_expire_waiting(struct sts_cache *cache);
void sts_flights_fetch_again(struct sts_cache *cache); /* with a new client */
void sts_flights_drop(struct sts_cache *cache);

/* sts.c */
void sts_queries_answer(struct sts_flight *flight, int64_t now); /* lock held */
void sts_cache_save(struct sts_cache *cache, struct sts_entry *entry);
void sts_cache_remove(struct sts_cache *cache, struct sts_entry *entry);
void sts_cache_trim(struct sts_cache *cache);

/* sts_sweep.c */
void sts_sweep_start(struct sts_cache *cache);
void sts_refresh_plan(const struct sts_cache *cache, struct sts_entry *entry,
                      int64_t now, bool succeeded);
void sts_alert_update(struct sts_cache *cache, struct sts_entry *entry,
                      int64_t now);

/* sts_view.c: somebody who waits for the end of a refresh. */
struct sts_caller {
    struct link link;
    struct rpc_call *call;
};
void sts_callers_answer(struct sts_flight *flight);
void sts_listings_drop(struct sts_cache *cache);
#endif
