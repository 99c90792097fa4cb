#include "supervise/channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr header; /* for the alignment */
    char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
};

bool
channel_pair(int fds[2], struct err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   fds) == 0)
        return true;
    err_sys(err, "channel");
    return false;
}

static void
attach(struct msghdr *packet, union control *control, const int *fds,
       size_t fd_count)
{
    struct cmsghdr *header;

    assert(fd_count <= CHANNEL_FDS_MAX);
    memset(control, 0, sizeof *control);
    packet->msg_control = control->bytes;
    packet->msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    header = CMSG_FIRSTHDR(packet);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
}

bool
channel_send(int fd, const struct channel_message *message, const int *fds,
             size_t fd_count, struct err *err)
{
    struct channel_message copy = *message; /* sendmsg() takes no const */
    struct iovec io = {&copy, sizeof copy};
    struct msghdr packet = {.msg_iov = &io, .msg_iovlen = 1};
    union control control;
    ssize_t sent;

    if (fd_count > 0)
        attach(&packet, &control, fds, fd_count);
    do
        sent = sendmsg(fd, &packet, MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    if (sent == (ssize_t)sizeof *message)
        return true;
    err_sys(err, "channel");
    return false;
}

static void
close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* Also where the packet is refused its descriptors must not leak. */
static size_t
detach(struct msghdr *packet, int *fds)
{
    size_t count = 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(packet); h != NULL;
         h = CMSG_NXTHDR(packet, h)) {
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        assert(count + n <= CHANNEL_FDS_MAX); /* the room given to recvmsg */
        memcpy(fds + count, CMSG_DATA(h), n * sizeof(int));
        count += n;
    }
    return count;
}

enum channel_result
channel_receive(int fd, struct channel_message *message, int *fds,
                size_t *fd_count, struct err *err)
{
    struct iovec io = {message, sizeof *message};
    struct msghdr packet = {.msg_iov = &io, .msg_iovlen = 1};
    union control control;
    size_t count = 0;
    ssize_t got;

    if (fds != NULL) {
        packet.msg_control = control.bytes;
        packet.msg_controllen = sizeof control.bytes;
    }
    do
        got = recvmsg(fd, &packet, MSG_CMSG_CLOEXEC);
    while (got == -1 && errno == EINTR);
    if (got == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return CHANNEL_AGAIN;
    if (got == -1 && errno != ECONNRESET) {
        err_sys(err, "channel");
        return CHANNEL_ERROR;
    }
    if (got <= 0)
        return CHANNEL_EOF;
    if (fds != NULL)
        *fd_count = count = detach(&packet, fds);
    if (got != (ssize_t)sizeof *message ||
        packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || message->type == 0 ||
        message->type >= CHANNEL_TYPES) {
        close_all(fds, count);
        err_set(err, "channel: a message that cannot be");
        return CHANNEL_ERROR;
    }
    message->source[sizeof message->source - 1] = '\0';
    message->name[sizeof message->name - 1] = '\0';
    message->text[sizeof message->text - 1] = '\0';
    return CHANNEL_OK;
}

void
channel_copy(char *dst, size_t size, const char *text)
{
    size_t n = strlen(text);

    if (n >= size)
        n = size - 1;
    memcpy(dst, text, n);
    dst[n] = '\0';
}
