/* supervise/supervisor_internal.h - the supervisor's parts.  One thread; every
 * part has a tick that does what is due and gives the time of the next (ms,
 * monotonic; NEVER), and the loop in supervisor.c sleeps until then. */
#ifndef SUPERVISE_SUPERVISOR_INTERNAL_H
#define SUPERVISE_SUPERVISOR_INTERNAL_H
#include "service/link.h"
#include "supervise/channel.h"
#include "supervise/listen.h"
#include <sys/types.h>

#define NEVER UINT64_MAX

enum {
    CHILDREN = 3,
    BACKOFF_FIRST = 100,     /* ms before the first restart, then doubled */
    BACKOFF_LAST = 30000,    /* ms between restarts at most */
    SETTLED = 60000,         /* ms of life that make a child good again */
    START_TIMEOUT = 600000,  /* ms: recovery of a large spool takes a while */
    PREPARE_TIMEOUT = 60000, /* ms for all answers to a reload */
    COMMIT_TIMEOUT = 20000,  /* ms for all to have put it in force */
    STOP_GRACE = 5000,       /* ms between "stop now" and SIGKILL */
};

struct child {
    const char *name;
    enum link_state state;
    pid_t pid;    /* 0: none */
    int channel;  /* -1: none */
    int calls_fd; /* its Unix socket, kept from start to start */
    uint32_t restarts;
    bool listens;        /* gets the listeners' sockets */
    bool controls;       /* gets news of the others */
    bool asked;          /* a reload waits for its answer */
    bool pinged;         /* no answer yet */
    int64_t since;       /* wall, seconds */
    uint64_t started_at; /* ms, monotonic, as all that follow */
    uint64_t start_at;   /* state DOWN */
    uint64_t kill_at;
    uint64_t ping_at; /* the next ping, or the end of the wait for an answer */
    uint64_t backoff; /* ms; 0: settled */
    char refusal[512];
};

/* A configuration with all that belongs to it. */
struct revision {
    uint64_t number;
    struct settings *settings;
    int text_fd;   /* sealed memory with the YAML */
    bool of_files; /* a candidate: files changed, the text is in force */
    struct listen_set listeners;
};

enum reload_by {
    RELOAD_BY_SIGNAL = 1,
    RELOAD_BY_CONTROLLER = 2,
    RELOAD_OF_FILES = 4, /* the controller asks; the text stays */
};

struct reload {
    bool active;
    bool committing; /* active, and nobody can refuse any more */
    unsigned wanted; /* enum reload_by: not begun yet */
    unsigned by;     /* who waits for the active one */
    struct revision candidate;
    uint64_t deadline;
};

struct drain {
    bool active;
    uint64_t begun, deadline;
    bool hurry;
};

struct supervisor {
    char *config_path;        /* absolute; owned */
    struct revision revision; /* in force */
    uint64_t last_number;
    size_t loops;
    char *user; /* what services become, or NULL; owned */
    uid_t uid;  /* (uid_t)-1: stay */
    gid_t gid;
    int lock_fd, signal_fd;
    int64_t started;
    struct child children[CHILDREN]; /* in the order of the drain */
    struct reload reload;
    struct drain drain;
    struct link_alert alerts[LINK_ALERTS_MAX];
    size_t alert_count;
    bool announced; /* all were ready once */
    bool ended;
    int status;               /* of the exit */
    uint64_t watchdog_period; /* ms between our signs of life to the service
                               * manager; 0: not asked for */
    uint64_t watchdog_at;
};

/* --- revision.c ---------------------------------------------------------- */
/* Reads and checks the file; listeners are not opened yet. */
MUST_USE bool revision_load(struct supervisor *s, struct revision *revision,
                            struct err *err);
/* The same from the text in force: files that it names may be others now. */
MUST_USE bool revision_load_again(struct supervisor *s,
                                  struct revision *revision, struct err *err);
void revision_close(struct revision *revision);
/* Gives the candidate's listeners back to the one in force. */
void revision_abandon(struct supervisor *s, struct revision *candidate);
MUST_USE bool revision_open_log(const struct settings *settings,
                                struct err *err);

/* --- child_process.c ----------------------------------------------------- */
void children_init(struct supervisor *s);
void children_start(struct supervisor *s);
uint64_t children_tick(struct supervisor *s, uint64_t now);
void children_reap(struct supervisor *s); /* SIGCHLD */
void child_channel_ready(struct supervisor *s, struct child *child);
void child_send(struct supervisor *s, struct child *child,
                const struct channel_message *message, const int *fds,
                size_t fd_count);
void child_send_type(struct supervisor *s, struct child *child,
                     enum channel_type type, uint64_t number);
void child_send_revision(struct supervisor *s, struct child *child,
                         const struct revision *revision);
void child_set_state(struct supervisor *s, struct child *child,
                     enum link_state state);
struct child *children_controller(struct supervisor *s);

/* --- reload.c ------------------------------------------------------------ */
void reload_request(struct supervisor *s, enum reload_by by);
uint64_t reload_tick(struct supervisor *s, uint64_t now);
/* refusal NULL: the child is ready for the revision. */
void reload_answer(struct supervisor *s, struct child *child, uint64_t number,
                   const char *refusal);
void reload_committed(struct supervisor *s, struct child *child,
                      uint64_t number);
void reload_child_died(struct supervisor *s, struct child *child);
void reload_cancel(struct supervisor *s);

/* --- drain.c ------------------------------------------------------------- */
void drain_begin(struct supervisor *s); /* the second time: at once */
uint64_t drain_tick(struct supervisor *s, uint64_t now);
void drain_hurry(struct supervisor *s);

/* --- alerts.c ------------------------------------------------------------ */
void alert_set(struct supervisor *s, const char *source, const char *key,
               bool raised, const char *text);
void alert_own(struct supervisor *s, const char *key, bool raised,
               const char *text); /* logged here */
void alerts_forget(struct supervisor *s, const char *source);
void alerts_replay(struct supervisor *s);

/* --- notify.c: the service manager --------------------------------------- */
void notify_init(struct supervisor *s);
uint64_t notify_tick(struct supervisor *s, uint64_t now);
void notify_ready(struct supervisor *s);
void notify_reloading(void);
void notify_stopping(void);
#endif
