#include "tls/expiry.h"

#define DAY 86400

const char *
tls_expiry_name(enum tls_expiry expiry)
{
    static const char *const names[] = {
        [EXPIRY_FAR] = "far",         [EXPIRY_30_DAYS] = "30-days",
        [EXPIRY_14_DAYS] = "14-days", [EXPIRY_7_DAYS] = "7-days",
        [EXPIRY_1_DAY] = "1-day",     [EXPIRY_OVER] = "expired",
    };

    assert((unsigned)expiry < COUNT_OF(names));
    return names[expiry];
}

enum tls_expiry
tls_expiry_of(int64_t not_after, int64_t now)
{
    int64_t left = not_after - now;

    if (left <= 0)
        return EXPIRY_OVER;
    if (left <= DAY)
        return EXPIRY_1_DAY;
    if (left <= 7 * DAY)
        return EXPIRY_7_DAYS;
    if (left <= 14 * DAY)
        return EXPIRY_14_DAYS;
    return left <= 30 * DAY ? EXPIRY_30_DAYS : EXPIRY_FAR;
}

/* The newest moment for an alert that is not in the future. */
static int64_t
latest_moment(int64_t not_after, int64_t now)
{
    int64_t left = not_after - now;

    if (left > 14 * DAY)
        return not_after - 30 * DAY;
    if (left > 0) /* whole days before the end, rounded up */
        return not_after - (left + DAY - 1) / DAY * DAY;
    return not_after + -left / DAY * DAY;
}

enum tls_expiry
tls_expiry_alert(int64_t not_after, int64_t last_alert, int64_t now)
{
    enum tls_expiry expiry = tls_expiry_of(not_after, now);

    if (expiry == EXPIRY_FAR || last_alert >= latest_moment(not_after, now))
        return EXPIRY_FAR;
    return expiry;
}
