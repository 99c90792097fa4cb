/* transmit/decide_internal.h - the parts behind transmit/decide.h: decide.c
 * decides, decide_key.c makes the digest, decide_text.c the words. */
#ifndef TRANSMIT_DECIDE_INTERNAL_H
#define TRANSMIT_DECIDE_INTERNAL_H
#include "transmit/decide.h"

/* Fills in decision->key; the rest of the decision is complete. */
void decide_key(const struct tls_evidence *evidence,
                struct tls_decision *decision);
#endif
