/* supervise/state_dir.h - the state directory's layout, owner and lock.
 *
 *   STATE/            0750  spool and what else the services keep
 *   STATE/run/        0700  sockets of the processes
 *   STATE/run/lock          held by the one supervisor; its process id inside
 */
#ifndef SUPERVISE_STATE_DIR_H
#define SUPERVISE_STATE_DIR_H
#include "base/err.h"
#include <sys/types.h>

/* Makes what is missing.  uid (uid_t)-1: everything stays ours. */
MUST_USE bool state_dir_make(const char *path, uid_t uid, gid_t gid,
                             struct err *err);
/* LOCKED: *lock_fd is to be kept open as long as the lock shall hold; the
 * service processes inherit it, so that it also tells when the last of them has
 * ended.  FAILED: err names the process that holds it.  ENDING: the supervisor
 * that took it is dead, its processes are finishing their work. */
enum state_dir_lock { STATE_DIR_LOCKED, STATE_DIR_ENDING, STATE_DIR_FAILED };
MUST_USE enum state_dir_lock state_dir_lock(const char *path, int *lock_fd,
                                            struct err *err);
#endif
