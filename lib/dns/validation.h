/* dns/validation.h - does DNSSEC work here?
 *
 * Two names are looked up when it begins and daily: one whose signature holds
 * and one whose signature does not.  Where an answer shows that nothing is
 * validated, that is said; where no answer comes, only that it could not be
 * tested.  It never waits for anything, and nothing waits for it.
 *
 * It only tells, nothing is switched off: a resolver that does not validate
 * calls everything insecure, so DANE counts as not available and what demands
 * it waits.  An answer that does not validate is no proof that validation is
 * broken: an attacker could forge one to switch DANE off.  Nor is one from the
 * name whose signature should not hold: whoever owns it may have repaired or
 * unsigned his zone, and must not rule over everybody's DANE. */
#ifndef DNS_VALIDATION_H
#define DNS_VALIDATION_H
#include "dns/dns.h"

enum dns_validation_state {
    VALIDATION_OFF,      /* no names to test with */
    VALIDATION_RUNNING,  /* the first test is not over */
    VALIDATION_WORKS,    /* both came as they should, as far as they came */
    VALIDATION_UNTESTED, /* no answers; tried again soon */
    VALIDATION_MISSING,  /* the signed name is insecure: nothing is validated */
    VALIDATION_FAILS,    /* the signed name does not validate */
    VALIDATION_BROKEN,   /* the wrong signature was accepted, or is right now */
};
const char *dns_validation_name(enum dns_validation_state state);
/* That an administrator should know of it. */
bool dns_validation_is_bad(enum dns_validation_state state);

struct dns_validation;
struct dns_validation_options {
    struct loop *loop;
    const char *signed_name; /* of a zone: its SOA is asked for; "": none */
    const char *bogus_name;  /* … the same; "": none */
    uint64_t interval_ms;    /* between tests; 0: a day */
    uint64_t retry_ms;       /* after one without answers; 0: ten minutes */
    void (*on_result)(void *arg, enum dns_validation_state state,
                      const char *text); /* after each test; a sentence */
    void *arg;
};
/* Begins.  Everything is copied, the resolver referenced. */
struct dns_validation *
dns_validation_new(struct dns_resolver *resolver,
                   const struct dns_validation_options *options);
void dns_validation_free(struct dns_validation *validation); /* NULL is fine */

enum dns_validation_state
dns_validation_get(const struct dns_validation *validation);
const char *dns_validation_text(const struct dns_validation *validation);
/* When the last test ended, seconds since 1970; 0: none did. */
int64_t dns_validation_time(const struct dns_validation *validation);
#endif
