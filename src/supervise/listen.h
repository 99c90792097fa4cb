/* supervise/listen.h - the listening sockets.
 *
 * A listener has one socket for each event loop of the receiver; the kernel
 * spreads connections over them (SO_REUSEPORT).  They live here, in the
 * supervisor, so that connections wait in the kernel while a receiver is
 * restarted. */
#ifndef SUPERVISE_LISTEN_H
#define SUPERVISE_LISTEN_H
#include "net/address.h"
#include "settings/settings.h"

struct listen_row {
    char *name; /* owned */
    struct net_address address;
    uint32_t backlog;
    int *fds; /* owned array */
    size_t count;
    bool shared; /* the descriptors are also in the set before or after */
};

/* A zeroed set is empty. */
struct listen_set {
    struct listen_row *rows; /* owned */
    size_t count;
};

/* Makes the set that the settings ask for, with so many sockets for each
 * listener.  Sockets of `current` whose address
 * stays are taken over: both sets then hold them, until listen_set_replace() or
 * listen_set_abandon().  On failure nothing is left open. */
MUST_USE bool listen_set_open(struct listen_set *set,
                              const struct settings *settings,
                              struct listen_set *current, size_t loops,
                              struct err *err);
/* The new set is in force: closes what only the old one had. */
void listen_set_replace(struct listen_set *current, struct listen_set *set);
/* The new set is not wanted: closes what only it has. */
void listen_set_abandon(struct listen_set *current, struct listen_set *set);
void listen_set_close(struct listen_set *set);

/* A listening Unix socket, mode 0600, in place of what a former process left.
 * -1 on failure. */
MUST_USE int listen_unix(const char *path, struct err *err);
#endif
