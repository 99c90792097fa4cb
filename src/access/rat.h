/* access/rat.h - the recipient access table: whose mail a listener takes.
 *
 * Patterns and their rank; the most specific that fits decides, and the order
 * in which they are written means nothing (the table is a mapping):
 *   1  user@example.org    that mailbox
 *   2  user@               that local part in any domain
 *   3  example.org         every mailbox of the domain; also [192.0.2.1]
 *   4  .example.org        every domain below it, not itself; the longest wins
 *   5  ALL                 everything else; when it is missing: reject
 * Local parts are compared without regard to the case of ASCII letters and to
 * quoting, else "Boss"@example.org would slip past a row for boss@example.org
 * (RFC 5321 section 4.1.2 has both name one mailbox).
 *
 * Not here: <postmaster> without a domain, which every listener takes (RFC
 * 5321 section 4.5.1); sub-addresses (boss+tag@), which are names of their own.
 *
 * A table is immutable and counted; any thread may use it; a match hashes a
 * few names and allocates nothing. */
#ifndef ACCESS_RAT_H
#define ACCESS_RAT_H
#include "base/err.h"
#include "base/sv.h"

#define RAT_NONE SIZE_MAX /* no row */

struct rat_row {
    struct sv pattern; /* borrowed during rat_new() only */
    bool accept;
    uint32_t options; /* the caller's; handed back by a match */
};

struct rat;

/* NULL on failure: err names the pattern, what is wrong with it and what would
 * be right; a pattern that stands there twice is refused. */
MUST_USE struct rat *rat_new(const struct rat_row *rows, size_t count,
                             struct err *err);
struct rat *rat_ref(struct rat *rat);
void rat_unref(struct rat *rat); /* NULL is fine */

/* The check that rat_new() makes of one pattern. */
MUST_USE bool rat_pattern_check(struct sv text, struct err *err);

size_t rat_row_count(const struct rat *rat);
struct sv rat_pattern(const struct rat *rat, size_t row); /* as written */

struct rat_match {
    size_t row; /* RAT_NONE: no row fits, which rejects */
    bool accept;
    uint32_t options; /* of the row; 0 without one */
};

/* local as the client wrote it, quotes included; domain as
 * mail_domain_canonical() makes it. */
void rat_match(const struct rat *rat, struct sv local, struct sv domain,
               struct rat_match *match);

enum rat_lint_kind {
    RAT_LINT_NO_EFFECT,  /* without it row by would say the same; by RAT_NONE:
                          * no row would fit, and this one has no options */
    RAT_LINT_ANY_DOMAIN, /* accepts user@ in every domain of the world, which
                          * makes a relay for that name */
    RAT_LINT_OPEN,       /* accepts ALL: an open relay where a listener is
                          * public */
};
struct rat_finding {
    enum rat_lint_kind kind;
    size_t row;
    size_t by;
};
void rat_lint(const struct rat *rat,
              void (*on_finding)(const struct rat_finding *finding, void *arg),
              void *arg);
#endif
