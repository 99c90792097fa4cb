/* tls/expiry.h - when an administrator is told that a certificate ends.
 * Pure functions: the caller has the clock and remembers the last alert. */
#ifndef TLS_EXPIRY_H
#define TLS_EXPIRY_H
#include "base/base.h"

/* How urgent: 30 days before; daily from 14 days on; the last 7 days; the last
 * day; and daily once it is over. */
enum tls_expiry {
    EXPIRY_FAR,
    EXPIRY_30_DAYS,
    EXPIRY_14_DAYS,
    EXPIRY_7_DAYS,
    EXPIRY_1_DAY,
    EXPIRY_OVER,
};
const char *tls_expiry_name(enum tls_expiry expiry); /* "14-days" */

enum tls_expiry tls_expiry_of(int64_t not_after, int64_t now);

/* The alert that is due now, EXPIRY_FAR when none is.  All times are seconds
 * since 1970; last_alert: when the last one was given, 0: never.  However often
 * it is asked, each of the moments (30 days before, 14, 13, … 1, the end, and
 * every day after it) gives one alert; moments that were slept through give one
 * together. */
enum tls_expiry tls_expiry_alert(int64_t not_after, int64_t last_alert,
                                 int64_t now);
#endif
