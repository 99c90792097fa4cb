/* The client side without a loop, for the command line. */
#include "service/rpc_internal.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ANSWER_TIMEOUT = 180
}; /* seconds without a byte: a reload may take
    * the time that its processes are given */

static int
request_connect(const char *path, struct err *err)
{
    struct timeval limit = {.tv_sec = ANSWER_TIMEOUT};
    struct sockaddr_un address;
    int fd;

    if (!rpc_socket_address(path, &address, err))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        err_sys(err, "socket");
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    err_sys(err, "%s", path);
    close(fd);
    return -1;
}

static bool
send_all(int fd, struct sv bytes, struct err *err)
{
    while (bytes.n > 0) {
        ssize_t sent = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);

        if (sent == -1 && errno == EINTR)
            continue;
        if (sent == -1) {
            err_sys(err, "send the request");
            return false;
        }
        bytes = sv_from(bytes, (size_t)sent);
    }
    return true;
}

static bool
read_more(int fd, struct buf *in, struct err *err)
{
    size_t room = 65536;
    char *dst = buf_reserve(in, room);
    ssize_t got;

    do
        got = recv(fd, dst, room, 0);
    while (got == -1 && errno == EINTR);
    if (got == -1 && errno == EAGAIN)
        err_set(err, "no answer within %d seconds", ANSWER_TIMEOUT);
    else if (got == -1)
        err_sys(err, "read the answer");
    else if (got == 0)
        err_set(err, "the process ended the connection without an answer");
    else if (buf_length(in) > RPC_LINE_MAX)
        err_set(err, "a line of the answer is too long");
    else {
        buf_grew(in, (size_t)got);
        return true;
    }
    return false;
}

struct answer {
    void (*on_item)(void *arg, const json_t *item);
    void *arg;
    json_t *result; /* owned */
    bool failed;
};

/* True when that was the last line. */
static bool
take_line(struct answer *answer, struct sv text, struct err *err)
{
    json_t *line = json_loadb(text.p, text.n, 0, NULL);
    json_t *item = json_object_get(line, "item");
    const char *error = json_string_value(json_object_get(line, "error"));

    if (item != NULL) {
        if (answer->on_item != NULL)
            answer->on_item(answer->arg, item);
        json_decref(line);
        return false;
    }
    answer->result = json_incref(json_object_get(line, "result"));
    if (answer->result == NULL) {
        answer->failed = true;
        err_set(err, "%s", error != NULL ? error : "answer not understood");
    }
    json_decref(line);
    return true;
}

static bool
read_answer(int fd, struct answer *answer, struct err *err)
{
    struct buf in = {0};
    bool ended = false;

    while (!ended) {
        size_t end = sv_index(buf_view(&in), '\n');

        if (end == SV_NONE) {
            if (!read_more(fd, &in, err))
                break;
            continue;
        }
        ended = take_line(answer, sv_slice(buf_view(&in), 0, end), err);
        buf_consume(&in, end + 1);
    }
    buf_fini(&in);
    return ended && !answer->failed;
}

bool
rpc_request(const char *socket_path, const char *method, json_t *params,
            void (*on_item)(void *arg, const json_t *item), void *arg,
            json_t **result, struct err *err)
{
    struct answer answer = {.on_item = on_item, .arg = arg};
    struct buf out = {0};
    bool ok = false;
    int fd;

    rpc_encode_request(method, params, &out);
    json_decref(params);
    fd = request_connect(socket_path, err);
    if (fd != -1) {
        ok = send_all(fd, buf_view(&out), err) && read_answer(fd, &answer, err);
        close(fd);
    }
    buf_fini(&out);
    *result = answer.result;
    return ok;
}
