/* service/service.h - what the receiver, the sender and the controller are to
 * the process that runs them.
 *
 * supervise/ starts one process for each service, gives it event loops (each on
 * a thread of its own; loops[0] is the main one and runs the calls below), the
 * sockets it shall listen on, and settings.  A reload is a transaction over all
 * processes: prepare() everywhere, then commit() everywhere or abandon()
 * everywhere. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H
#include "base/err.h"
#include "net/loop.h"
#include "service/rpc.h"
#include "settings/settings.h"

/* Listening sockets of one listener: one descriptor for each loop (the kernel
 * spreads connections, SO_REUSEPORT).  They belong to the supervisor's process
 * tree and survive a restart of the service; the service gets duplicates, owned
 * by this struct's maker and valid until the next commit(). */
struct service_socket {
    const char *listener; /* name */
    int *fds;
    size_t count; /* loop_count */
};

struct service_host {
    struct loop **loops;
    size_t loop_count;
    /* Calls run(arg) on that loop's thread and waits until it has returned:
     * for start and commit, which must touch what belongs to a loop. From the
     * main loop only; for loop 0 it simply calls. */
    void (*on_loop)(struct service_host *host, size_t loop,
                    void (*run)(void *arg), void *arg);
    /* Tells the operator of a condition: logged as alert.raise / alert.clear
     * and shown by `waxgate status`.  The same key again is not logged again;
     * what is shown is the last text. Any thread. */
    void (*alert)(struct service_host *host, const char *key, bool raised,
                  const char *text);
    struct supervisor_link *supervisor; /* service/link.h; NULL without one */
};

struct service {
    const char *name;        /* "receiver" */
    unsigned loops_per_core; /* 0: only the main loop; 1: settings->loops */
    /* The service's own state, or NULL with err. settings is referenced by the
     * service as long as it uses it. */
    void *(*start)(struct service_host *host, struct settings *settings,
                   const struct service_socket *sockets, size_t socket_count,
                   struct err *err);
    /* Checks the candidate and builds all that it needs, aside. */
    bool (*prepare)(void *self, struct settings *candidate,
                    const struct service_socket *sockets, size_t socket_count,
                    struct err *err);
    void (*commit)(void *self);  /* cannot fail */
    void (*abandon)(void *self); /* drops what prepare() made */
    /* Takes nothing new and calls host's drained(arg) on the main loop when
     * all sessions have ended (or told the peers 421 between transactions). */
    void (*drain)(void *self, void (*drained)(void *arg), void *arg);
    void (*stop)(void *self); /* frees; after drain or when time is up */
    /* A call of the command line or API; answers with rpc_… now or later. */
    void (*request)(void *self, struct rpc_call *call);
};

extern const struct service receiver_service;   /* accept/receiver.c */
extern const struct service sender_service;     /* transmit/sender.c */
extern const struct service controller_service; /* control/controller.c */
#endif
