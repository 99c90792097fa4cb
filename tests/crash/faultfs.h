/* tests/crash/faultfs.h - file system calls that fail when a test says so.
 *
 * Linked into a unit test, or loaded with LD_PRELOAD into a whole process. The
 * rules come from faultfs_set(), else from the environment: WAXGATE_FAULTS
 * holds them, or WAXGATE_FAULTS_FILE names a file that holds them and is read
 * again whenever it changes (an empty file ends all faults).
 *
 * Rules are separated by ';'.  A rule is call:action and then any of
 *   after=N  let N matching calls pass first (default 0)
 *   count=N  act on that many calls, then never again (default: for ever)
 *   path=P   only on files whose path holds P
 * call:   write (write, pwrite, pwritev), sync (fsync, fdatasync), rename,
 *         create (open with O_CREAT), allocate (fallocate), link, unlink; or
 *         any
 * action: EIO, ENOSPC, EDQUOT, EMFILE, EROFS; short (half of what was to be
 *         written is); kill (SIGKILL to the process, before the call); delay
 *         (50 ms, then the call)
 *
 * Example: sync:EIO:after=10:count=1:path=/intake/ */
#ifndef TESTS_CRASH_FAULTFS_H
#define TESTS_CRASH_FAULTFS_H

/* Replaces all rules and their counts; NULL: none. */
void faultfs_set(const char *rules);
/* How often a rule has acted since faultfs_set(). */
unsigned long faultfs_hits(void);

#endif
