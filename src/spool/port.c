#include "spool/port.h"

struct port {
    struct port *next; /* set before the port is seen by others */
    struct loop *loop;
    struct task task;
    struct list gathered; /* the writer thread's own */

    pthread_mutex_t lock;
    struct list sent;
    bool posted; /* task is on its way */
    bool closed; /* the spool is gone: the task frees the port */
};

/* Ports are only ever added while the spool is open, so walking the list
 * needs no lock. */
struct port_list {
    struct port *_Atomic first;
    pthread_mutex_t lock; /* of adding */
};

static void
port_free(struct port *port)
{
    pthread_mutex_destroy(&port->lock);
    mem_free(port);
}

struct port_list *
port_list_new(void)
{
    struct port_list *list = mem_alloc(sizeof *list);

    pthread_mutex_init(&list->lock, NULL);
    return list;
}

static void
port_close(struct port *port)
{
    pthread_mutex_lock(&port->lock);
    bool posted = port->posted;
    port->closed = true;
    pthread_mutex_unlock(&port->lock);
    if (!posted)
        port_free(port);
}

void
port_list_free(struct port_list *list)
{
    struct port *port = list->first;

    while (port != NULL) {
        struct port *next = port->next;

        port_close(port);
        port = next;
    }
    pthread_mutex_destroy(&list->lock);
    mem_free(list);
}

/* One at a time under the lock: a call may cancel another.  NULL: no more, and
 * then the port is not ours any more, or *closed says that it is. */
static struct port_call *
take_call(struct port *port, bool *closed)
{
    struct link *link;

    pthread_mutex_lock(&port->lock);
    link = list_pop_front(&port->sent);
    if (link == NULL)
        port->posted = false;
    *closed = port->closed;
    pthread_mutex_unlock(&port->lock);
    return link == NULL ? NULL : CONTAINER_OF(link, struct port_call, link);
}

static void
run_calls(struct task *task)
{
    struct port *port = CONTAINER_OF(task, struct port, task);
    struct port_call *call;
    bool closed;

    while ((call = take_call(port, &closed)) != NULL)
        call->run(call);
    if (closed)
        port_free(port);
}

static struct port *
find_port(struct port_list *list, const struct loop *loop)
{
    for (struct port *port = list->first; port != NULL; port = port->next) {
        if (port->loop == loop)
            return port;
    }
    return NULL;
}

struct port *
port_of(struct port_list *list, struct loop *loop)
{
    struct port *port = find_port(list, loop);

    if (port != NULL)
        return port;
    port = mem_alloc(sizeof *port);
    port->loop = loop;
    port->task.run = run_calls;
    list_init(&port->gathered);
    list_init(&port->sent);
    pthread_mutex_init(&port->lock, NULL);
    pthread_mutex_lock(&list->lock);
    port->next = list->first;
    list->first = port;
    pthread_mutex_unlock(&list->lock);
    return port;
}

/* Takes the lock with it, so that nothing sent is ever outside of `sent`. */
static void
unlock_and_post(struct port *port)
{
    bool post = !port->posted;

    port->posted = true;
    pthread_mutex_unlock(&port->lock);
    if (post)
        loop_post(port->loop, &port->task);
}

void
port_send(struct port *port, struct port_call *call)
{
    pthread_mutex_lock(&port->lock);
    list_push_back(&port->sent, &call->link);
    unlock_and_post(port);
}

void
port_gather(struct port *port, struct port_call *call)
{
    list_push_back(&port->gathered, &call->link);
}

void
port_flush_all(struct port_list *list)
{
    for (struct port *port = list->first; port != NULL; port = port->next) {
        if (list_empty(&port->gathered))
            continue;
        pthread_mutex_lock(&port->lock);
        list_join(&port->sent, &port->gathered);
        unlock_and_post(port);
    }
}

void
port_cancel(struct port *port, struct port_call *call)
{
    pthread_mutex_lock(&port->lock);
    if (link_on_list(&call->link))
        list_remove(&port->sent, &call->link);
    pthread_mutex_unlock(&port->lock);
}
