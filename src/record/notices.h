/* record/notices.h - tells the administrator by mail, as soon as it happens,
 * that a policy of a destination failed: at most one mail about a domain in
 * failure_interval, with the counts since the last.  All on the loop. */
#ifndef RECORD_NOTICES_H
#define RECORD_NOTICES_H
#include "record/world.h"
#include "store/store.h"

struct notices;

/* world is borrowed until the next notices_set_world(). */
struct notices *notices_new(struct loop *loop, struct store *store,
                            struct record_world *world);
void notices_free(struct notices *notices); /* NULL is fine */
void notices_set_world(struct notices *notices, struct record_world *world);
/* There may be something to tell. */
void notices_kick(struct notices *notices);
#endif
