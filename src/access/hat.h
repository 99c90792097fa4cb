/* access/hat.h - the host access table: which row speaks for a client.
 *
 * A table is an ordered list of rows; a row names a sender group and matches a
 * client by any of its senders or by any of its DNS lists.  The first row that
 * matches settles the matter.  A row that continues is only noted: it never
 * settles anything, so it shows what a row would catch before it is armed.
 *
 * hat_new() compiles the rows once into sorted address spans and hashed names:
 * the cost of a match does not grow with a walk over the rows, and a match
 * allocates nothing.  A table is immutable and counted; any thread may use it.
 *
 * Senders:
 *   192.0.2.1  2001:db8::1                  one address
 *   192.0.2.0/24  2001:db8::/32             a network
 *   198.51.100.7-12  192.0.2.1-192.0.2.9    from the first to the last;
 *   2001:db8::1-ff  2001:db8::1-2001:db8::9 short: what follows the last dot
 *                                           or colon
 *   203.0.113.  10.  2001:db8:              addresses that begin so, in whole
 *                                           numbers: /24, /8, /32
 *   mail.partner.example                    the host of that name
 *   .partner.example                        hosts below it, not itself
 *   ALL                                     everybody
 * IPv4-mapped addresses are IPv4 on both sides, so ::/0 is IPv6 alone.  A row
 * of the group ALL without senders and DNS lists has the sender ALL.
 *
 * Names match only a confirmed name: the PTR record of the client gives it and
 * its A or AAAA records lead back to the client.  Whoever passes the bare PTR
 * lets everybody choose his own sender group. */
#ifndef ACCESS_HAT_H
#define ACCESS_HAT_H
#include "base/err.h"
#include "base/sv.h"
#include "net/address.h"

enum {
    HAT_CONTINUE_MAX = 64, /* rows that continue; more are refused */
    HAT_ZONES_MAX = 64,    /* different DNS lists in one table */
    HAT_QUERY_MAX = 254,   /* text of a DNS list query with its NUL */
};

#define HAT_NONE SIZE_MAX /* no row */

/* One row as it is written; everything is borrowed during hat_new() only. */
struct hat_row {
    struct sv group;
    const struct sv *senders;
    size_t sender_count;
    const struct sv *dns_lists; /* zones: "zen.dnsbl.example" */
    size_t dns_list_count;
    uint32_t policy; /* the caller's; handed back by a match */
    bool goes_on;    /* behaviour "continue" */
};

struct hat;

/* NULL on failure: err names the row, the text, what is wrong with it and
 * what would be right.  No rows make a table that matches nobody. */
MUST_USE struct hat *hat_new(const struct hat_row *rows, size_t count,
                             struct err *err);
struct hat *hat_ref(struct hat *hat);
void hat_unref(struct hat *hat); /* NULL is fine */

/* The checks that hat_new() makes of one text, for whoever knows the line and
 * column in which it stands. */
MUST_USE bool hat_sender_check(struct sv text, struct err *err);
MUST_USE bool hat_zone_check(struct sv text, struct err *err);

/* So much of the Internet that nobody can mean to trust it: more than a /8 of
 * IPv4 or a /7 of IPv6 (the largest private networks), all hosts below a
 * top-level domain, ALL.  False for what is no sender. */
bool hat_sender_is_wide(struct sv text);

size_t hat_row_count(const struct hat *hat);
struct sv hat_group(const struct hat *hat, size_t row);
uint32_t hat_policy(const struct hat *hat, size_t row);
bool hat_has_names(const struct hat *hat); /* a row needs the client's name */
size_t hat_zone_count(const struct hat *hat);
struct sv hat_zone(const struct hat *hat, size_t zone); /* NUL-terminated */

/* What is known of a client. */
struct hat_client {
    const struct net_address *address; /* AF_UNSPEC: only names, DNS lists and
                                        * ALL can match */
    struct sv name;  /* confirmed (see above), any case; "": none */
    uint64_t listed; /* bit i: DNS list hat_zone(hat, i) has the address; a
                      * list that gave no answer has not */
};

struct hat_match {
    size_t row;      /* HAT_NONE: no row settles it */
    uint32_t policy; /* of the row */
    uint64_t passed; /* rows before it that matched and continue: see
                      * hat_next_passed() */
};

void hat_match(const struct hat *hat, const struct hat_client *client,
               struct hat_match *match);
/* Takes one row out of *passed, lowest first; false when none is left. */
bool hat_next_passed(const struct hat *hat, uint64_t *passed, size_t *row);

/* What must still be looked up before hat_match() can be trusted, given what
 * client holds already: only what stands in a row before the one that matches
 * now.  So an address settled by the first row costs no query at all.  What
 * was looked up without a result is asked for again: the caller knows.
 * Asking again after one answer may spare the other look-ups. */
struct hat_need {
    bool name;
    uint64_t zones; /* bit i: hat_zone(hat, i) */
};
struct hat_need hat_need(const struct hat *hat,
                         const struct hat_client *client);

/* The sender or DNS list of the row that matches the client, as it is
 * written; empty when none does.  Walks the row: for people, not for every
 * connection. */
struct sv hat_why(const struct hat *hat, size_t row,
                  const struct hat_client *client);

enum hat_lint_kind {
    HAT_LINT_EMPTY_ROW,   /* neither senders nor DNS lists */
    HAT_LINT_DEAD_ROW,    /* can never match: rows before it take all of it */
    HAT_LINT_DEAD_SENDER, /* the same for one sender of a living row */
    HAT_LINT_NOT_TOTAL,   /* some clients match no row: ALL is missing */
};
struct hat_finding {
    enum hat_lint_kind kind;
    size_t row;       /* HAT_NONE for NOT_TOTAL */
    struct sv sender; /* or DNS list, for DEAD_SENDER */
    size_t by;        /* DEAD_*: a row that takes it (of several, the first) */
};
/* Calls on_finding for each; what the finding points to lives in hat.  All of
 * it is about clients that have an address. */
void hat_lint(const struct hat *hat,
              void (*on_finding)(const struct hat_finding *finding, void *arg),
              void *arg);

/* The name to ask for A records: "7.100.51.198.zone" or 32 reversed nibbles
 * and the zone (RFC 5782 sections 2.1 and 2.4).  out holds HAT_QUERY_MAX
 * bytes.  False without an address or when the name would be too long, which
 * a checked zone never is. */
MUST_USE bool hat_dns_list_query(const struct net_address *address,
                                 struct sv zone, char *out);
/* An A record of the answer means "listed": it lies in 127.0.0.0/8 (RFC 5782
 * section 2.1), but not in 127.255.255.0/24, where lists answer that they
 * refuse the resolver.  A zone that has died and become a wildcard for a web
 * server lists nobody. */
bool hat_dns_list_listed(const struct net_address *answer);
#endif
