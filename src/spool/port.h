/* spool/port.h - carries completions from the spool's threads to event loops.
 *
 * One port per loop.  What becomes ready for a loop gathers in its port, and
 * one posted task delivers all of it: a batch of a thousand commits costs each
 * loop one wake-up. */
#ifndef SPOOL_PORT_H
#define SPOOL_PORT_H
#include "spool/spool_internal.h"

struct port;

/* A call to be made on the loop; storage of its owner, on one port at most. */
struct port_call {
    struct link link;
    void (*run)(struct port_call *call);
};

struct port_list *port_list_new(void);
/* Calls that were sent still come; the ports go after them. */
void port_list_free(struct port_list *list);
/* The port of a loop, made when it is asked for the first time.  Loop's own
 * thread. */
struct port *port_of(struct port_list *list, struct loop *loop);

/* Any thread. */
void port_send(struct port *port, struct port_call *call);
/* For the writer thread: gathered until port_flush_all(). */
void port_gather(struct port *port, struct port_call *call);
void port_flush_all(struct port_list *list);
/* A call that was sent (not one that was gathered) does not come any more.
 * Loop's own thread. */
void port_cancel(struct port *port, struct port_call *call);
#endif
