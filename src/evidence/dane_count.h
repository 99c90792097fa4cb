/* evidence/dane_count.h - how often DANE was asked, and what came of it, since
 * this process began.  From any thread. */
#ifndef EVIDENCE_DANE_COUNT_H
#define EVIDENCE_DANE_COUNT_H
#include "evidence/dane.h"
#include <jansson.h>

/* A look-up ended; dane_lookup() calls it. */
void dane_count_lookup(enum dane_state state);
/* A handshake with a server that had to match ended; for who delivers. */
void dane_count_match(const struct tls_dane_facts *facts);

/* {"lookups": {"usable": 3, …}, "matched": {"DANE-EE": 2, "DANE-TA": 1},
 * "mismatched": 0}; the caller's. */
json_t *dane_count_json(void);
#endif
