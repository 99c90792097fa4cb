/* accept/rate.h - counts per client: how many now, how many lately, how fast.
 *
 * Three tables of the same make, one for each kind of question, shared by all
 * event loops (every function but _new and _free may be called by any thread):
 *   rate_gauge    what is open now          connections per address
 *   rate_window   what came in the last     recipients per hour, connections
 *                 span of time              per minute
 *   rate_bucket   how fast it comes         TLS handshakes per second
 * and rate_meter, one bucket without keys, for a limit on all clients
 * together; and rate_memory, a number for each key, for what shall not be said
 * too often.
 *
 * Memory is bounded by max_keys and taken when the table is made.  A full
 * gauge refuses, because what is open must be counted; a full window or bucket
 * forgets the client that was seen longest ago, so whoever owns more addresses
 * than max_keys can make it forget: size it for the whole of an attack.
 *
 * Limits are arguments: two policies may share a table, and a new
 * configuration keeps the counts.  Time is an argument too, from a monotonic
 * clock; loops may disagree by some milliseconds, and a time that lies before
 * what a client has seen counts as that. */
#ifndef ACCEPT_RATE_H
#define ACCEPT_RATE_H
#include "net/address.h"
#include <stdatomic.h>

/* Who is counted. */
struct rate_key {
    uint64_t who;   /* the IPv4 address, or the first 64 bits of IPv6 */
    uint64_t scope; /* with the address family */
};

/* An IPv6 client is its /64: within that, a host chooses addresses at will.
 * scope keeps counts in one table apart: a number of a listener or policy. */
struct rate_key rate_key_of(const struct net_address *client, uint32_t scope);

#define RATE_UNLIMITED UINT32_MAX

/* Sizes are rounded up to whole stripes; max_keys > 0. */
struct rate_gauge;
struct rate_gauge *rate_gauge_new(uint32_t max_keys);
void rate_gauge_free(struct rate_gauge *gauge); /* NULL is fine */
/* One more, unless limit are open already or the table is full.  Each success
 * is given back by one leave with the same key. */
MUST_USE bool rate_gauge_enter(struct rate_gauge *gauge, struct rate_key key,
                               uint32_t limit);
void rate_gauge_leave(struct rate_gauge *gauge, struct rate_key key);
uint32_t rate_gauge_now(struct rate_gauge *gauge, struct rate_key key);

/* The window slides: the count is what came in this fixed window and the part
 * of the last one that the span still covers, as if that had come evenly.  So
 * no moment of the clock lets twice the limit through. */
struct rate_window;
struct rate_window *rate_window_new(uint32_t max_keys, uint32_t span_ms);
void rate_window_free(struct rate_window *window); /* NULL is fine */
/* Adds amount when the sum stays within limit; what is refused is not
 * counted, so a client that keeps asking is let in again in time. */
MUST_USE bool rate_window_add(struct rate_window *window, struct rate_key key,
                              uint64_t now_ms, uint32_t amount, uint32_t limit);
uint32_t rate_window_count(struct rate_window *window, struct rate_key key,
                           uint64_t now_ms);

/* A bucket of burst tokens that fills at per_second and begins full.  Neither
 * may be 0 unless nothing is to pass. */
struct rate_limit {
    uint32_t per_second; /* RATE_UNLIMITED: always passes */
    uint32_t burst;
};
struct rate_bucket;
struct rate_bucket *rate_bucket_new(uint32_t max_keys);
void rate_bucket_free(struct rate_bucket *bucket); /* NULL is fine */
MUST_USE bool rate_bucket_take(struct rate_bucket *bucket, struct rate_key key,
                               uint64_t now_us, struct rate_limit limit);

/* Forgets what was set longest ago when it is full. */
struct rate_memory;
struct rate_memory *rate_memory_new(uint32_t max_keys);
void rate_memory_free(struct rate_memory *memory); /* NULL is fine */
/* 0 for a key that is not remembered. */
uint64_t rate_memory_get(struct rate_memory *memory, struct rate_key key);
void rate_memory_set(struct rate_memory *memory, struct rate_key key,
                     uint64_t value);

/* Zeroed: full. */
struct rate_meter {
    _Atomic uint64_t full_at; /* private */
};
MUST_USE bool rate_meter_take(struct rate_meter *meter, uint64_t now_us,
                              struct rate_limit limit);
#endif
