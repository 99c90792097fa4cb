/* transmit/queue_world.h - for tests: a queue on a real spool in a folder of
 * its own, with the receiver's side of it, a loop, and frozen clocks that the
 * test moves.  Calls (rpc) are answered into JSON. */
#ifndef TRANSMIT_QUEUE_WORLD_H
#define TRANSMIT_QUEUE_WORLD_H
#include "transmit/queue_internal.h"

/* What every configuration begins with. */
#define WORLD_YAML                                                             \
    "hostname: gw.example\n"                                                   \
    "state_dir: state\n"                                                       \
    "listeners:\n"                                                             \
    "  Relay: {type: private, address: \"127.0.0.1:2587\",\n"                  \
    "          relay_for: [127.0.0.0/8]}\n"

struct world_session {
    struct link link;
    struct destination *destination;
};

struct world {
    char dir[64];
    struct loop *loop;
    struct settings *settings;
    struct spool *intake, *ledger;
    struct queue *queue;
    struct list sessions; /* asked for and not yet ended */
    size_t asked;         /* sessions asked for, ever */
};

/* A new folder under $TMPDIR or /tmp. */
void world_init(struct world *world, const char *yaml);
/* Both spools and the queue on the folder as it is. */
void world_open(struct world *world);
void world_close(struct world *world); /* as a proper stop does */
void world_fini(struct world *world);  /* removes the folder */

struct world_message {
    const char *sender;
    const char *recipients; /* separated by blanks */
    unsigned notify;        /* of all */
    unsigned demands;       /* enum envelope_tls */
    const char *envid, *orcpt;
    enum envelope_ret ret;
    const char *content; /* NULL: a small one */
};
/* Accepts a message and waits until it is durable. */
void world_accept(struct world *world, const struct world_message *message);
/* Many small ones, from a@src.example to u@<domain>. */
void world_accept_many(struct world *world, size_t count, const char *domain);
/* Runs the loop for this many real milliseconds. */
void world_pump(struct world *world, unsigned ms);
/* Runs the loop until the queue has nothing under way (or 10 s are over). */
void world_settle(struct world *world);
void world_advance(struct world *world, uint64_t ms); /* the frozen clocks */

/* The session asked for first; NULL: none. */
struct destination *world_session(struct world *world);
void world_put_back(struct world *world, struct destination *destination);
void world_session_end(struct world *world, struct destination *destination,
                       bool worked);
/* Takes the next parcel and gives it back with this outcome for everybody. */
bool world_deliver(struct world *world, struct destination *destination,
                   enum ledger_outcome outcome);

/* A call of the command line: the result ({"error": …} for errors), a new
 * reference; items go to *items (may be NULL), a new array. */
json_t *world_call(struct world *world, const char *method, json_t *params,
                   json_t **items);
#endif
