/* control/status.h - the state of the gateway as one JSON object: what the
 * supervisor tells of the processes, what receiver and sender say of
 * themselves, and the spool as any reader sees it. */
#ifndef CONTROL_STATUS_H
#define CONTROL_STATUS_H
#include "service/link.h"
#include "service/service.h"

struct status;
struct status *status_new(struct service_host *host);
void status_free(struct status *status);

/* Ends the call, when all have answered or failed to within some seconds.
 * certificates, an array, is stolen. */
void status_answer(struct status *status, const struct settings *settings,
                   json_t *certificates, struct rpc_call *call);
json_t *status_alerts(const struct supervisor_link *link); /* an array */
/* NULL when the supervisor has not told of it. */
const struct link_process *status_process(const struct supervisor_link *link,
                                          const char *name);
#endif
