/* transmit/tls_sentence.h - a failure of TLS as one sentence for people.
 *
 * The queue view, failure notices, alerts and `waxgate tls-check` all print
 * what is made here, so an administrator reads the same words everywhere: what
 * the server did, and who demanded more than that. Pure. */
#ifndef TRANSMIT_TLS_SENTENCE_H
#define TRANSMIT_TLS_SENTENCE_H
#include "evidence/dane.h"
#include "evidence/sts.h"
#include "tls/facts.h"

enum { TLS_SENTENCE_TEXT = 480 }; /* room for every sentence */

/* Pointers may be NULL and texts "" where nothing is known. */
struct tls_sentence {
    const struct tls_failure *failure; /* required */
    const char *host;                  /* the server, as looked up */
    const char *domain;                /* of the mail; of the policy */
    /* What the server presented, and which names would have been good. */
    const struct tls_certificate_facts *peer;
    enum tls_verdict verdict; /* of its chain, without the name; NONE: unknown
                               */
    const char *const *names;
    size_t name_count;
    /* Who demanded it, the strongest first: the one that is there is named. */
    const struct dane_evidence *dane; /* only where its records decided */
    const struct sts_evidence *sts;   /* only where its policy decided */
    const char *demand; /* else: "destination control: required" */
    int64_t now_s;      /* seconds since 1970 */
};

/* "mx2.example.net presented a certificate for mail.example.org only; the
 * MTA-STS policy of example.net (enforce, id 20260101, fetched 3 h ago) demands
 * mx2.example.net".  Printable ASCII, cut with "..." when it does not fit.
 * Returns out. */
const char *tls_explain_sentence(const struct tls_sentence *facts, char *out,
                                 size_t size);

/* "(enforce, id 20260101, fetched 3 h ago)"; the policy must be there. */
const char *tls_sts_text(const struct sts_evidence *sts, int64_t now_s,
                         char *out, size_t size);
#endif
