/* record/dispatch.h - sends the reports that are due.
 *
 * Every few seconds it plans the reports of days that are over, looks up where
 * those that are due shall go, and sends them there: by mail through the queue,
 * or by HTTPS.  Where each report stands is in the database (report_table.h),
 * so a restart goes on where it was.  All on the loop. */
#ifndef RECORD_DISPATCH_H
#define RECORD_DISPATCH_H
#include "record/world.h"
#include "store/store.h"

struct dispatch;

struct dispatch_owner {
    /* Whether all sessions of days that are over have been counted. */
    bool (*is_counted)(void *owner);
    /* Something became of a report: a look-up, a target, its end. */
    void (*on_step)(void *owner, int64_t day, const char *domain);
    void *owner;
};
/* world is borrowed until the next dispatch_set_world(). */
struct dispatch *dispatch_new(struct loop *loop, struct store *store,
                              struct record_world *world,
                              const struct dispatch_owner *owner);
void dispatch_free(struct dispatch *dispatch); /* NULL is fine */
/* What is under way with the old one is broken off and tried again. */
void dispatch_set_world(struct dispatch *dispatch, struct record_world *world);
void dispatch_kick(struct dispatch *dispatch); /* look now */
/* A session of a day that is over was counted: it may need a report yet. */
void dispatch_look_back(struct dispatch *dispatch);

/* Appends the report of a day as JSON: what it would be now. False: the
 * database fails. */
struct tlsrpt_json_options;
MUST_USE bool dispatch_content(struct store *store,
                               const struct record_world *world, int64_t day,
                               const char *domain, const char *report_id,
                               const struct tlsrpt_json_options *options,
                               struct buf *out, struct err *err);
#endif
