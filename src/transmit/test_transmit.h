/* transmit/test_transmit.h - a queue and a spool in memory, for the tests of
 * client and delivery.  They stand in for the real functions of the same
 * names. */
#ifndef TRANSMIT_TEST_TRANSMIT_H
#define TRANSMIT_TEST_TRANSMIT_H
#include "transmit/queue.h"
#include <pthread.h>

enum { FAKE_RECIPIENTS_MAX = 8 };

struct fake_mail { /* what a parcel is made of */
    const char *sender;
    const char *to[FAKE_RECIPIENTS_MAX]; /* up to the first NULL */
    const char *content;
    size_t repeat; /* the content so many times over; 0: once */
    bool eight_bit, smtputf8, header_utf8;
    bool body8;
    const char *envid, *orcpt;
    enum envelope_ret ret;
    unsigned notify;
    unsigned demands; /* enum envelope_tls */
    bool blocked;     /* content must be fetched */
    bool damaged;     /* and that fails */
};

struct parcel *fake_parcel_new(const struct fake_mail *mail, unsigned number);
void fake_parcel_free(struct parcel *parcel);
/* "relayed 250 2.0.0, failed 550 5.1.1" into text. */
void fake_parcel_outcome(const struct parcel *parcel, char *text, size_t size);

/* The queue of one destination.  Every function takes its lock. */
struct queue {
    pthread_mutex_t lock;
    struct list ready; /* of struct parcel */
    struct buf events; /* "done …\n", "failed …\n", "ended …\n" */
    size_t done, ended;
    uint32_t failures;            /* what queue_failures() answers */
    void (*on_change)(void *arg); /* after each event, with the lock */
    void *arg;
};
/* A call whose answer is gathered; the loop stops with the result. */
struct rpc_call {
    struct loop *loop;
    const char *method;
    json_t *items, *result;
};

void fake_queue_init(struct queue *queue);
void fake_queue_fini(struct queue *queue);
void fake_queue_add(struct queue *queue, struct parcel *parcel);
#endif
