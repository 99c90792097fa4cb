/* supervise/child_internal.h - the common main of a service process, in parts.
 * All runs on the main loop, but alerts may come from any thread. */
#ifndef SUPERVISE_CHILD_INTERNAL_H
#define SUPERVISE_CHILD_INTERNAL_H
#include "base/map.h"
#include "service/link.h"
#include "service/service.h"
#include "supervise/channel.h"
#include <pthread.h>

/* Sockets and settings that came together. */
struct child_revision {
    uint64_t number;
    bool of_files; /* files changed, not the text */
    int text_fd;   /* -1: none */
    char path[sizeof((struct channel_message *)NULL)->text];
    struct settings *settings;
    struct service_socket *sockets; /* owned, with their descriptors */
    size_t socket_count;
};

/* A ping goes through all loops and comes back to the main one. */
struct child_round {
    struct task task;
    size_t at;      /* the loop that it is on its way to */
    bool under_way; /* main loop only */
};

struct child_process {
    struct service_host host;
    struct supervisor_link link;
    const struct service *service;
    void *self;         /* the service's state; NULL before its start */
    pthread_t *threads; /* of loops 1 and up */
    pid_t parent;
    struct watch *channel;
    int calls_fd; /* -1: not here yet */
    struct rpc_server *server;
    struct child_revision current, candidate;
    bool prepared; /* the service holds candidate */
    bool draining;
    struct timer drain_limit;
    struct task finish;
    int status;
    struct child_round round;
    /* Under lock: */
    pthread_mutex_t lock;
    struct map alerts; /* texts by key, of those that are raised */
    /* Who waits for a reload. */
    struct child_waiter *waiters;
    size_t waiter_count;
};

/* --- child_loops.c ------------------------------------------------------- */
MUST_USE bool child_loops_open(struct child_process *child, size_t count,
                               struct err *err);
void child_loops_stop(struct child_process *child);
/* Answers a ping when every loop has turned once. */
void child_loops_ping(struct child_process *child);

/* --- child_revision.c ---------------------------------------------------- */
void child_on_revision(struct child_process *child,
                       const struct channel_message *message, int text_fd);
void child_on_sockets(struct child_process *child, const char *listener,
                      const int *fds, size_t count);
void child_on_prepare(struct child_process *child);
void child_on_commit(struct child_process *child);
void child_on_abandon(struct child_process *child);
/* Nobody shall connect any more: for all processes that hold these sockets. */
void child_sockets_shutdown(struct child_process *child);

/* --- child_link.c -------------------------------------------------------- */
void child_link_init(struct child_process *child);
void child_link_fini(struct child_process *child);
void child_on_process(struct child_process *child,
                      const struct channel_message *message);
void child_on_alert(struct child_process *child,
                    const struct channel_message *message);
void child_on_reloaded(struct child_process *child,
                       const struct channel_message *message);
/* To the supervisor; any thread. */
void child_tell(struct child_process *child,
                const struct channel_message *message);

/* --- child.c ------------------------------------------------------------- */
void child_finish(struct child_process *child, int status);
/* All are there: serves calls. */
void child_serve(struct child_process *child);
#endif
