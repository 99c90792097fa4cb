/* transmit/destination.h - where mail goes next: the unit of scheduling.
 *
 * Recipients whose mail takes the same way under the same policy share a
 * destination: the same route or domain, the same destination control, and the
 * same demands of the messages, so that one session has one set of them.  Fair
 * sharing, concurrency, back-off and connection reuse all work by destination.
 * The queue owns destinations and frees one that holds nothing. */
#ifndef TRANSMIT_DESTINATION_H
#define TRANSMIT_DESTINATION_H
#include "base/list.h"
#include "settings/settings.h"

struct destination {
    char *key;    /* "example.org", or "route:default/partner.example" */
    char *domain; /* canonical domain whose MX or literal is used; "" : route */
    struct sv policy_domain; /* whose destination control applies; in key */
    unsigned demands; /* enum envelope_tls: of every message in it; in key */
    /* The queue's part follows and is private to it. */
    struct destination_queue *queue;
};
#endif
