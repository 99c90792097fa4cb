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
/* For a supervisor that is root: from now on it acts with the rights of that
 * user, so that no file that the user can replace by a link is opened, made or
 * given away with root's, except between raise and lower.  Without a call of
 * privilege_borrow() those two do nothing. */
MUST_USE bool privilege_borrow(const char *user, struct err *err);
void privilege_raise(void);
void privilege_lower(void);
/* Becomes that user for good, with the user's groups (so that a group may be
 * given the right to read keys). */
MUST_USE bool privilege_drop(const char *user, struct err *err);
/* No capabilities, no more rights by exec, no core files (keys are in memory),
 * as many descriptors as the hard limit allows, SIGTERM when the parent dies.
 */
MUST_USE bool privilege_confine(struct err *err);
#endif
