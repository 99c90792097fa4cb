#include "supervise/listen.h"

#include "supervise/privilege.h"
#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { UNIX_BACKLOG = 64 };

static void
row_close(struct listen_row *row)
{
    for (size_t i = 0; i < row->count; i++)
        close(row->fds[i]);
    row->count = 0;
}

static void
set_free(struct listen_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        mem_free(set->rows[i].name);
        mem_free(set->rows[i].fds);
    }
    mem_free(set->rows);
    *set = (struct listen_set){0};
}

static int
socket_bind(const struct net_address *address, bool reuse_port)
{
    int fd = socket(address->sa.sa_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, why;
    bool ok;

    if (fd == -1)
        return -1;
    ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (ok && reuse_port)
        ok = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    /* "[::]:25" and "0.0.0.0:25" are two listeners. */
    if (ok && address->sa.sa_family == AF_INET6)
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
    privilege_raise(); /* for ports below 1024 */
    ok = ok && bind(fd, &address->sa, net_address_length(address)) == 0;
    why = errno;
    privilege_lower();
    if (ok)
        return fd;
    close(fd);
    errno = why;
    return -1;
}

/* With SO_REUSEPORT a second gateway of the same user would bind the same port
 * without a word and get every other connection.  A bind without it is the
 * question whether somebody listens there. */
static bool
port_is_free(const struct net_address *address)
{
    int fd = socket_bind(address, false);

    if (fd == -1)
        return false;
    close(fd);
    return true;
}

static bool
row_open(struct listen_row *row, bool alone, size_t loops)
{
    int fd;

    row->fds = mem_alloc_array(loops, sizeof *row->fds);
    if (alone && !port_is_free(&row->address))
        return false;
    while (row->count < loops) {
        fd = socket_bind(&row->address, true);

        if (fd == -1)
            return false;
        row->fds[row->count++] = fd;
        if (listen(fd, (int)row->backlog) == -1)
            return false;
    }
    return true;
}

static bool
same_address(const struct net_address *a, const struct net_address *b)
{
    return net_address_same_ip(a, b) &&
           net_address_port(a) == net_address_port(b);
}

static struct listen_row *
find_address(struct listen_set *set, const struct net_address *address)
{
    for (size_t i = 0; i < set->count; i++)
        if (same_address(&set->rows[i].address, address))
            return &set->rows[i];
    return NULL;
}

/* A socket of ours for all addresses beside one for a single address: the port
 * is in use, but by us (a reload may go from the one to the other). */
static bool
overlaps(const struct listen_set *set, const struct net_address *address)
{
    assert(set->count == 0 || set->rows != NULL);
    for (size_t i = 0; i < set->count; i++) {
        const struct net_address *other = &set->rows[i].address;

        if (set->rows[i].count > 0 &&
            other->sa.sa_family == address->sa.sa_family &&
            net_address_port(other) == net_address_port(address) &&
            (net_address_is_any(other) || net_address_is_any(address)))
            return true;
    }
    return false;
}

static void
row_take_over(struct listen_row *row, struct listen_row *old)
{
    row->fds = mem_alloc_array(old->count, sizeof *row->fds);
    memcpy(row->fds, old->fds, old->count * sizeof *row->fds);
    row->count = old->count;
    row->shared = old->shared = true;
}

static bool
row_make(struct listen_set *set, const struct listener_settings *listener,
         struct listen_set *current, size_t loops, struct err *err)
{
    struct listen_row *old = find_address(current, &listener->address);
    struct listen_row *row = &set->rows[set->count++];
    char text[NET_ADDRESS_TEXT];
    bool alone;

    row->name = mem_strdup(listener->name);
    row->address = listener->address;
    row->backlog = listener->backlog;
    net_address_text(&listener->address, text);
    if (old != NULL) {
        row_take_over(row, old);
        return true;
    }
    alone = !overlaps(set, &row->address) && !overlaps(current, &row->address);
    if (row_open(row, alone, loops))
        return true;
    err_sys(err, "listener %s: cannot listen on %s", listener->name, text);
    return false;
}

bool
listen_set_open(struct listen_set *set, const struct settings *settings,
                struct listen_set *current, size_t loops, struct err *err)
{
    *set = (struct listen_set){0};
    set->rows = mem_alloc_array(settings->listener_count, sizeof *set->rows);
    for (size_t i = 0; i < settings->listener_count; i++) {
        if (!row_make(set, &settings->listeners[i], current, loops, err)) {
            listen_set_abandon(current, set);
            return false;
        }
    }
    return true;
}

static void
close_unshared(struct listen_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (!set->rows[i].shared)
            row_close(&set->rows[i]);
}

static void
unshare(struct listen_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        set->rows[i].shared = false;
}

void
listen_set_replace(struct listen_set *current, struct listen_set *set)
{
    close_unshared(current);
    set_free(current);
    unshare(set);
    for (size_t i = 0; i < set->count; i++)
        for (size_t j = 0; j < set->rows[i].count; j++)
            listen(set->rows[i].fds[j], (int)set->rows[i].backlog);
    *current = *set;
    *set = (struct listen_set){0};
}

void
listen_set_abandon(struct listen_set *current, struct listen_set *set)
{
    close_unshared(set);
    set_free(set);
    unshare(current);
}

void
listen_set_close(struct listen_set *set)
{
    unshare(set);
    close_unshared(set);
    set_free(set);
}

static bool
unix_bind(int fd, const struct sockaddr_un *address)
{
    mode_t mask;
    int rc;

    if (unlink(address->sun_path) == -1 && errno != ENOENT)
        return false;
    mask = umask(0177);
    rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
    umask(mask);
    return rc == 0 && listen(fd, UNIX_BACKLOG) == 0;
}

int
listen_unix(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (!sv_to_cstr(sv_of(path), address.sun_path, sizeof address.sun_path)) {
        err_set(err, "%s: too long for a socket (at most %zu bytes)", path,
                sizeof address.sun_path - 1);
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd != -1 && unix_bind(fd, &address))
        return fd;
    err_sys(err, "%s", path);
    if (fd != -1)
        close(fd);
    return -1;
}
