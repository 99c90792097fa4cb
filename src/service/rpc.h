/* service/rpc.h - calls between processes and from the command line, over Unix
 * stream sockets in the state directory (mode 0600).
 *
 * One call per connection.  Request: one line of JSON {"method": "queue.list",
 * "params": {…}}.  Answer: any number of lines {"item": …}, then exactly one
 * {"result": …} or {"error": "text"}.  Requests are bounded (64 KiB), and so is
 * the time for them to arrive; a client keeps its side open until it has the
 * answer, and one that takes no output for a minute is dropped. */
#ifndef SERVICE_RPC_H
#define SERVICE_RPC_H
#include "base/err.h"
#include "net/loop.h"
#include <jansson.h>

/* Server side: one call.  Valid until rpc_result() or rpc_error(); if the
 * client goes away, answers go nowhere. */
struct rpc_call;
const char *rpc_method(const struct rpc_call *call);
const json_t *rpc_params(const struct rpc_call *call); /* an object */
void rpc_item(struct rpc_call *call, json_t *item); /* steals the reference */
/* Output not yet taken by the client: a long listing pauses above some 100 KB
 * and goes on when on_low is called: once, never from inside this call, also
 * when the client has gone away. */
size_t rpc_pending(const struct rpc_call *call);
void rpc_on_low(struct rpc_call *call, void (*on_low)(void *arg), void *arg);
bool rpc_gone(const struct rpc_call *call); /* the client went away */
void rpc_result(struct rpc_call *call, json_t *result); /* steals; ends call */
void rpc_error(struct rpc_call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct rpc_server;
/* Serves calls on a listening Unix socket (owned by the caller, made
 * nonblocking here). */
struct rpc_server *
rpc_server_new(struct loop *loop, int listen_fd,
               void (*on_call)(void *arg, struct rpc_call *call), void *arg);
/* Drops all connections.  Calls that were handed out stay valid until they are
 * ended, as always. */
void rpc_server_free(struct rpc_server *server);

/* Client side, on a loop: forwards a call to the socket of another process and
 * copies its answer back (the controller does this for the command line). */
void rpc_forward(struct loop *loop, const char *socket_path,
                 struct rpc_call *call);

/* Client side, on a loop: one call of which only the result is wanted; items
 * are skipped.  on_answer comes once, never from inside: result is borrowed and
 * NULL when there is none, then error says why. Nothing within timeout_ms is an
 * error. params is stolen and may be NULL. */
void rpc_ask(struct loop *loop, const char *socket_path, const char *method,
             json_t *params, uint64_t timeout_ms,
             void (*on_answer)(void *arg, const json_t *result,
                               const char *error),
             void *arg);

/* Client side, blocking: for the command line. on_item may be NULL; *result is
 * a new reference on success. False: err says what failed, also the error that
 * the server answered. */
MUST_USE bool rpc_request(const char *socket_path, const char *method,
                          json_t *params, /* stolen; may be NULL */
                          void (*on_item)(void *arg, const json_t *item),
                          void *arg, json_t **result, struct err *err);
#endif
