#include "supervise/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

bool
privilege_find(const char *user, struct privilege_user *found, struct err *err)
{
    const struct passwd *entry;

    errno = 0;
    entry = getpwnam(user);
    if (entry == NULL && errno != 0) {
        err_sys(err, "look up the user %s", user);
        return false;
    }
    if (entry == NULL) {
        err_set(err, "there is no user %s on this machine", user);
        return false;
    }
    *found = (struct privilege_user){entry->pw_uid, entry->pw_gid};
    return true;
}

static uid_t borrowed; /* 0: none */

bool
privilege_borrow(const char *user, struct err *err)
{
    struct privilege_user to;

    if (!privilege_find(user, &to, err))
        return false;
    if (initgroups(user, to.gid) == -1 || setegid(to.gid) == -1) {
        err_sys(err, "take the groups of the user %s", user);
        return false;
    }
    borrowed = to.uid;
    privilege_lower();
    return true;
}

void
privilege_raise(void)
{
    if (borrowed != 0 && seteuid(0) == -1)
        abort(); /* the saved user is root: cannot be */
}

void
privilege_lower(void)
{
    if (borrowed != 0 && seteuid(borrowed) == -1)
        abort();
}

bool
privilege_drop(const char *user, struct err *err)
{
    struct privilege_user to;

    if (!privilege_find(user, &to, err))
        return false;
    if (initgroups(user, to.gid) == -1 ||
        setresgid(to.gid, to.gid, to.gid) == -1 ||
        setresuid(to.uid, to.uid, to.uid) == -1) {
        err_sys(err, "become the user %s", user);
        return false;
    }
    if (to.uid != 0 && setuid(0) == 0) {
        err_set(err, "the user %s could become root again", user);
        return false;
    }
    return true;
}

/* The service manager may have given us the right to bind low ports; that is
 * the supervisor's alone.  Root keeps what it has: then it was asked for. */
static bool
drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version =
                                                  _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (geteuid() == 0)
        return true;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
           syscall(SYS_capset, &header, none) == 0;
}

static void
raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections otherwise */
}

/* Processes of the same user may not look into each other's memory; the leak
 * checker of the sanitizer build must. */
static bool
hide_memory(void)
{
#ifdef SANITIZED
    return true;
#else
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
#endif
}

bool
privilege_confine(struct err *err)
{
    const struct rlimit no_core = {0, 0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 || !drop_capabilities() ||
        setrlimit(RLIMIT_CORE, &no_core) == -1 || !hide_memory() ||
        prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) == -1) {
        err_sys(err, "confine the process");
        return false;
    }
    raise_descriptor_limit();
    return true;
}
