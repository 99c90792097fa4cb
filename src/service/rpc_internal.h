/* service/rpc_internal.h - what the server and the client side of a call share.
 * Private to service/. */
#ifndef SERVICE_RPC_INTERNAL_H
#define SERVICE_RPC_INTERNAL_H
#include "base/buf.h"
#include "base/sv.h"
#include "service/rpc.h"

enum {
    RPC_REQUEST_MAX = 64 << 10,  /* bytes of a request line */
    RPC_LINE_MAX = 16 << 20,     /* bytes of one line of an answer */
    RPC_HIGH = 128 << 10,        /* unsent output above which a relay pauses */
    RPC_LOW = 32 << 10,          /* and below which it goes on */
    RPC_CALLS_MAX = 64,          /* connections of one server at a time */
    RPC_REQUEST_TIMEOUT = 10000, /* ms for the request to arrive */
    RPC_STALL_TIMEOUT = 60000,   /* ms without progress on an answer */
};

/* Fills in the address of a Unix socket; false when the path is too long. */
struct sockaddr_un;
bool rpc_socket_address(const char *path, struct sockaddr_un *address,
                        struct err *err);

/* The request line, with its LF, into *out. params is borrowed. */
void rpc_encode_request(const char *method, json_t *params, struct buf *out);

/* A line of an answer (without LF) as it came from another process; the last
 * one ends the call. */
bool rpc_line_is_item(struct sv line);
void rpc_relay(struct rpc_call *call, struct sv line, bool last);

/* Called once when the client of the call goes away; NULL to forget. */
void rpc_on_gone(struct rpc_call *call, void (*on_gone)(void *arg), void *arg);
#endif
