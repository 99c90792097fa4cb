/* transmit/tls_trouble.h - which destinations TLS fails with, how often, since
 * when; and the alert that tells the operator of those for which mail waits
 * because of it.
 *
 * One alert stands for a destination, however many messages wait: it is raised
 * with the first failure that kept mail back, and cleared once, when the
 * destination takes mail again or nothing has failed for a week.  Bounded.
 * Thread-safe. */
#ifndef TRANSMIT_TLS_TROUBLE_H
#define TRANSMIT_TLS_TROUBLE_H
#include "base/sv.h"
#include "tls/facts.h"
#include <jansson.h>

struct tls_troubles;

/* alert: as service_host.alert, from any thread; it must not call back here.
 * The text lives during the call. */
struct tls_troubles *tls_troubles_new(void (*alert)(void *arg, const char *key,
                                                    bool raised,
                                                    const char *text),
                                      void *arg);
void tls_troubles_free(struct tls_troubles *troubles); /* NULL is fine */

struct tls_trouble_event {
    const char *destination; /* key */
    const char *domain;      /* of the mail; "": several */
    struct sv host, ip;
    const struct tls_failure *failure;
    uint64_t queued; /* recipients that wait for it */
    int64_t now_s;   /* wall clock */
    bool alert;      /* the operator wants to be told */
};
/* TLS failed with one server. */
void tls_troubles_count(struct tls_troubles *troubles,
                        const struct tls_trouble_event *event);
/* … and for want of TLS no mail could be sent to the destination. */
void tls_troubles_kept_back(struct tls_troubles *troubles,
                            const struct tls_trouble_event *event);
/* The destination has taken mail. */
void tls_troubles_worked(struct tls_troubles *troubles,
                         const char *destination);
/* Clears what is a week old; for a periodic call. */
void tls_troubles_expire(struct tls_troubles *troubles, int64_t now_s);

/* {"count", "first", "last", "host", "ip", "stage", "reason", "alert",
 * "stages": {"handshake": {"count", "first", "last"}}}, times in seconds since
 * 1970; NULL: TLS never failed.  A new reference. */
json_t *tls_troubles_json(struct tls_troubles *troubles,
                          const char *destination);
#endif
