/* control/certificates.h - the certificates of the configuration in force, as
 * the controller looks after them.
 *
 * Files are looked at every `certificate_check`.  A pair that has changed and
 * settled is checked as the receiver would use it.  If it is good, the
 * supervisor is asked to load the files anew: the transaction of a reload, so
 * sessions at work keep what they have.  If not, the alert certificate.NAME
 * says why, and the old pair stays in use.
 *
 * The end of each certificate is announced by the alert certificate.NAME.expiry
 * and the event certificate.expiry at the moments of tls/expiry.h. */
#ifndef CONTROL_CERTIFICATES_H
#define CONTROL_CERTIFICATES_H
#include "service/service.h"

struct certificates;

/* settings are referenced. All on the main loop. */
struct certificates *certificates_new(struct service_host *host,
                                      struct settings *settings);
void certificates_free(struct certificates *certificates);

/* The three steps of a reload.  prepare: before other processes read the
 * files, so that a change during the reload is found by a later look. */
void certificates_prepare(struct certificates *certificates,
                          struct settings *candidate);
void certificates_commit(struct certificates *certificates);
void certificates_abandon(struct certificates *certificates);

/* An array: name, not_after, days_left, state, used_by, error. */
json_t *certificates_describe(const struct certificates *certificates);
#endif
