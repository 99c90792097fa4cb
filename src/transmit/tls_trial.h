/* transmit/tls_trial.h - a handshake that failed, tried again with weaker
 * parameters, to find the least that the server needs.
 *
 * Each trial is a connection of its own, by the same plan but for the profile;
 * the first that comes to the point where mail would be sent ends it.  Nothing
 * is sent. */
#ifndef TRANSMIT_TLS_TRIAL_H
#define TRANSMIT_TLS_TRIAL_H
#include "transmit/client.h"
#include <jansson.h>

struct tls_trial;

/* True for failures that other parameters may heal. */
bool tls_trial_may_help(const struct tls_failure *failure);

/* What plan points to must live as long as the trial, and so must domain.
 * on_done comes once, never from inside: advice as tls_advice() gives it, one
 * entry, or NULL where nothing helped; the callback's.  It frees the trial. */
struct tls_trial *tls_trial_new(struct loop *loop,
                                const struct client_plan *plan,
                                const char *domain, struct list *closing,
                                void (*on_done)(void *arg, json_t *advice),
                                void *arg);
void tls_trial_free(struct tls_trial *trial); /* NULL is fine */
#endif
