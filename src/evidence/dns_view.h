/* evidence/dns_view.h - what the resolver of this process sees, and whether it
 * can be believed.
 *
 *   dns.lookup {"name", "type"}  one look-up with state, aliases and records
 *   dns.status                   the test of validation, counters of look-ups
 *                                and of DANE
 *
 * It also keeps the test of validation going (dns/validation.h) and says so
 * when that fails, under the key "dns.validation". */
#ifndef EVIDENCE_DNS_VIEW_H
#define EVIDENCE_DNS_VIEW_H
#include "dns/dns.h"
#include "service/rpc.h"
#include "settings/settings.h"

struct dns_view;
/* Everything runs on this loop.  on_alert may be NULL. */
struct dns_view *dns_view_new(struct loop *loop,
                              void (*on_alert)(void *arg, const char *key,
                                               bool raised, const char *text),
                              void *arg);
/* At the start and after each reload: the tests begin anew.  The resolver is
 * referenced; of the settings nothing is kept. */
void dns_view_set(struct dns_view *view, const struct dns_settings *settings,
                  struct dns_resolver *resolver);
void dns_view_request(struct dns_view *view, struct rpc_call *call);
/* Ends calls that run.  NULL is fine. */
void dns_view_free(struct dns_view *view);

/* One answer as dns.lookup gives it; a new reference. */
json_t *dns_answer_json(const char *name, enum dns_type type,
                        const struct dns_answer *answer);
#endif
