/* service/link.h - what a service learns from the supervisor and may ask of it.
 *
 * The struct belongs to the common main of the service's process, which keeps
 * it current; a service reads it and calls the functions on its main loop. Only
 * the controller is told of the processes and of the alerts of others. */
#ifndef SERVICE_LINK_H
#define SERVICE_LINK_H
#include "base/base.h"

enum { LINK_PROCESSES_MAX = 4, LINK_ALERTS_MAX = 64 };

enum link_state {
    LINK_DOWN,     /* waits to be started again */
    LINK_STARTING, /* has not confirmed its configuration */
    LINK_READY,
    LINK_DRAINING, /* ends */
};

struct link_process {
    char name[32]; /* "receiver" */
    enum link_state state;
    uint32_t pid;      /* 0 while it is down */
    uint32_t restarts; /* since the supervisor started */
    int64_t since;     /* seconds since 1970: when this pid was started */
};

struct link_alert {
    char source[32]; /* who raised it */
    char key[96];
    char text[512];
    int64_t since; /* seconds since 1970 */
};

/* How a reload ended: everywhere in force, or nowhere and text says why. */
typedef void link_on_reload(void *arg, bool ok, uint64_t revision,
                            const char *text);

struct supervisor_link {
    int64_t started; /* seconds since 1970: the supervisor's start */
    struct link_process processes[LINK_PROCESSES_MAX];
    size_t process_count;
    struct link_alert alerts[LINK_ALERTS_MAX]; /* oldest first */
    size_t alert_count;
    /* Asks for a reload; on_reload comes once. */
    void (*reload)(struct supervisor_link *link, link_on_reload *on_reload,
                   void *arg);
    /* The same of the configuration in force: its text is not read anew, the
     * files that it names are. */
    void (*reload_files)(struct supervisor_link *link,
                         link_on_reload *on_reload, void *arg);
};

const char *link_state_name(enum link_state state); /* "ready" */
#endif
