/* record/record_internal.h - the record as its own files see it. */
#ifndef RECORD_RECORD_INTERNAL_H
#define RECORD_RECORD_INTERNAL_H
#include "base/list.h"
#include "record/dispatch.h"
#include "record/notices.h"
#include "record/record.h"
#include "record/tail.h"

struct record {
    struct service_host *host;
    struct loop *loop;
    struct record_world *world;     /* in force */
    struct record_world *candidate; /* between prepare and commit */
    struct store *store;            /* NULL: could not be opened yet */
    struct timer timer;             /* of the next look at the store */
    int64_t first_day;              /* days before are not counted */
    bool late; /* a session of a day that is over was read */
    struct tail *tail;
    struct dispatch *dispatch;
    struct notices *notices;
    struct list waiters; /* calls of tlsrpt.send */
};

/* Something became of a report. */
void calls_step(struct record *record, int64_t day, const char *domain);
/* Ends the calls that wait. */
void calls_give_up(struct record *record, const char *reason);
#endif
