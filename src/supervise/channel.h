/* supervise/channel.h - what supervisor and service processes say to each
 * other.
 *
 * One SOCK_SEQPACKET pair for each process.  Every message is one packet of
 * the same fixed size, so that the supervisor, which may be root, parses
 * nothing that a service wrote: it reads numbers and texts of known length.
 * Descriptors travel only downwards.
 *
 *   supervisor                                service process
 *     ── REVISION (memfd: configuration) ──▶
 *     ── SOCKETS (a listener's), each ─────▶
 *     ── PREPARE ──────────────────────────▶  starts, or checks the candidate
 *     ◀───────────────── READY or REFUSED ──
 *     ── COMMIT or ABANDON ────────────────▶  (not after a start)
 *     ◀──────────────────────── COMMITTED ──
 */
#ifndef SUPERVISE_CHANNEL_H
#define SUPERVISE_CHANNEL_H
#include "base/err.h"

enum {
    CHANNEL_FD = 3,      /* of the service process */
    CHANNEL_LOCK_FD = 4, /* the state directory's lock, kept only */
    CHANNEL_FDS_MAX =
        128, /* descriptors in one message; the kernel takes 253 */
    CHANNEL_REFUSAL_MAX = 640 /* a name and the text of a struct err */
};

enum channel_type {
    /* To the process. */
    CHANNEL_REVISION = 1, /* number: revision; values[0]: loops, [1]: start of
                           * the supervisor; flag: files changed, not the text;
                           * text: path; one descriptor */
    CHANNEL_SOCKETS,      /* name: listener, or "" for the socket of calls */
    CHANNEL_PREPARE,      /* number: revision */
    CHANNEL_COMMIT,       /* number: revision */
    CHANNEL_ABANDON,      /* number: revision */
    CHANNEL_LOG_REOPEN,
    CHANNEL_PING, /* answer with the same when all loops have turned */
    CHANNEL_DRAIN,
    CHANNEL_STOP,
    CHANNEL_PROCESS,  /* name; number: index; values: state, pid, restarts,
                       * since; to the controller */
    CHANNEL_RELOADED, /* flag: done; number: revision; text; values[0]: it was
                       * of the files only; to the controller */
    /* From the process. */
    CHANNEL_READY,     /* number: revision */
    CHANNEL_REFUSED,   /* number: revision; text */
    CHANNEL_COMMITTED, /* number: revision: it is in force here */
    CHANNEL_RELOAD,    /* the controller asks; flag: of the files only */
    /* Both ways. */
    CHANNEL_ALERT, /* flag: raised; name: key; text; source; values[0]: since */
    CHANNEL_TYPES
};

struct channel_message {
    uint32_t type; /* enum channel_type */
    uint32_t flag;
    uint64_t number;
    int64_t values[4];
    char source[32];
    char name[96];
    char text[1024];
};

/* Both ends close-on-exec and nonblocking. */
MUST_USE bool channel_pair(int fds[2], struct err *err);

/* Sends one message; fds stay the caller's.  False with err->code EAGAIN when
 * the other side does not read. Any thread. */
MUST_USE bool channel_send(int fd, const struct channel_message *message,
                           const int *fds, size_t fd_count, struct err *err);

enum channel_result { CHANNEL_OK, CHANNEL_AGAIN, CHANNEL_EOF, CHANNEL_ERROR };
/* The next message, texts terminated.  fds holds CHANNEL_FDS_MAX places and
 * *fd_count comes back; or fds is NULL: none are accepted. */
enum channel_result channel_receive(int fd, struct channel_message *message,
                                    int *fds, size_t *fd_count,
                                    struct err *err);

/* Copies as much of the text as fits a member. */
void channel_copy(char *dst, size_t size, const char *text);
#define CHANNEL_TEXT(member, text) channel_copy((member), sizeof(member), text)
#endif
