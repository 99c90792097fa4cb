/* supervise/privilege.h - who a process runs as and what it may still do. */
#ifndef SUPERVISE_PRIVILEGE_H
#define SUPERVISE_PRIVILEGE_H
#include "base/err.h"
#include <sys/types.h>

struct privilege_user {
    uid_t uid;
    gid_t gid;
};

MUST_USE bool privilege_find(const char *user, struct privilege_user *found,
                             struct err *err);
/* Becomes that user for good, with the user's groups (so that a group may be
 * given the right to read keys). */
MUST_USE bool privilege_drop(const char *user, struct err *err);
/* No capabilities, no more rights by exec, no core files (keys are in memory),
 * as many descriptors as the hard limit allows, SIGTERM when the parent dies.
 */
MUST_USE bool privilege_confine(struct err *err);
#endif
