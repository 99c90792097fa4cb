/* Work on pool threads.  The event loop's own storage (a ticket) is apart from
 * the work, so that a queue which is closed can finish its works itself and the
 * loop's late call finds nothing to do. */
#include "transmit/queue_internal.h"

struct pool_ticket {
    struct work work;
    struct queue *queue;
    struct pool_work *of; /* NULL: finished at close */
};

static void
ticket_run(struct work *work)
{
    struct pool_ticket *ticket = CONTAINER_OF(work, struct pool_ticket, work);
    struct queue *queue = ticket->queue;

    ticket->of->run(ticket->of);
    pthread_mutex_lock(&queue->lock);
    queue->works_running--;
    pthread_cond_broadcast(&queue->works_cond);
    pthread_mutex_unlock(&queue->lock);
}

static void
ticket_done(struct work *work)
{
    struct pool_ticket *ticket = CONTAINER_OF(work, struct pool_ticket, work);
    struct pool_work *of = ticket->of;
    struct queue *queue = ticket->queue;

    if (of != NULL) {
        pthread_mutex_lock(&queue->lock);
        list_remove(&queue->works, &of->link);
        pthread_mutex_unlock(&queue->lock);
        of->ticket = NULL;
        of->done(of);
        queue_kick(queue); /* somebody may wait until all is done */
    }
    mem_free(ticket);
}

void
pool_begin(struct queue *queue, struct pool_work *work)
{
    struct pool_ticket *ticket = mem_alloc(sizeof *ticket);

    ticket->work.run = ticket_run;
    ticket->work.done = ticket_done;
    ticket->queue = queue;
    ticket->of = work;
    work->ticket = ticket;
    pthread_mutex_lock(&queue->lock);
    list_push_back(&queue->works, &work->link);
    queue->works_running++;
    pthread_mutex_unlock(&queue->lock);
    loop_work(queue->loop, &ticket->work);
}

void
pool_finish(struct queue *queue)
{
    struct link *link;

    pthread_mutex_lock(&queue->lock);
    while (queue->works_running > 0)
        pthread_cond_wait(&queue->works_cond, &queue->lock);
    while ((link = list_pop_front(&queue->works)) != NULL) {
        struct pool_work *work = CONTAINER_OF(link, struct pool_work, link);

        work->ticket->of = NULL;
        work->ticket = NULL;
        pthread_mutex_unlock(&queue->lock);
        work->done(work);
        pthread_mutex_lock(&queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
}
