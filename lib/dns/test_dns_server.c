#include "dns/test_dns_server.h"
#include "base/buf.h"
#include "base/sv.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 12, PACKET_MAX = 8192 };

struct test_dns_server {
    const struct test_dns_record *records;
    int udp, tcp, stop[2];
    char address[32];
    pthread_t thread;
};

static void
put16(struct buf *out, unsigned value)
{
    buf_add_char(out, (char)(value >> 8));
    buf_add_char(out, (char)value);
}

static void
put_name(struct buf *out, struct sv name)
{
    while (name.n > 0) {
        struct sv label = sv_take_until(&name, '.');

        buf_add_char(out, (char)label.n);
        buf_add(out, label);
    }
    buf_add_char(out, '\0');
}

static void
put_raw(struct buf *out, struct sv hex)
{
    for (; hex.n >= 2; hex = sv_from(hex, 2)) {
        char pair[3] = {hex.p[0], hex.p[1], '\0'};

        buf_add_char(out, (char)strtoul(pair, NULL, 16));
    }
}

static void
put_rdata(struct buf *out, const struct test_dns_record *record)
{
    struct sv data = sv_of(record->data);
    char bytes[16];
    uint32_t preference = 0;

    if (sv_take_prefix(&data, SV("\\#"))) {
        put_raw(out, data);
        return;
    }
    switch ((int)record->type) {
    case DNS_A:
        if (inet_pton(AF_INET, record->data, bytes) == 1)
            buf_add(out, (struct sv){bytes, 4});
        break;
    case DNS_AAAA:
        if (inet_pton(AF_INET6, record->data, bytes) == 1)
            buf_add(out, (struct sv){bytes, 16});
        break;
    case DNS_MX:
        if (!sv_to_u32(sv_take_until(&data, ' '), &preference))
            abort();
        put16(out, preference);
        put_name(out, sv_is(data, ".") ? (struct sv){0} : data);
        break;
    case DNS_CNAME:
    case DNS_PTR:
        put_name(out, data);
        break;
    default:
        buf_add_char(out, (char)data.n);
        buf_add(out, data);
        break;
    }
}

static void
put_record(struct buf *out, const struct test_dns_record *record)
{
    struct buf rdata = {0};

    put_name(out, sv_of(record->name));
    put16(out, (unsigned)record->type);
    put16(out, 1);
    put16(out, 0);
    put16(out, 60); /* TTL */
    put_rdata(&rdata, record);
    put16(out, (unsigned)buf_length(&rdata));
    buf_add(out, buf_view(&rdata));
    buf_fini(&rdata);
}

/* Follows a CNAME as a server of one zone would. */
static unsigned
put_answers(struct buf *out, const struct test_dns_record *records,
            const char *name, unsigned type, int *rcode)
{
    unsigned count = 0;

    *rcode = 3; /* NXDOMAIN, unless the name is met */
    for (const struct test_dns_record *r = records; r->name != NULL; r++) {
        bool alias = r->type == DNS_CNAME && type != DNS_CNAME;

        if (!sv_is_nocase(sv_of(r->name), name))
            continue;
        if (r->data == NULL && r->rcode != 0 && (unsigned)r->type == type) {
            *rcode = r->rcode;
            return 0;
        }
        *rcode = 0;
        if (r->data == NULL || ((unsigned)r->type != type && !alias))
            continue;
        put_record(out, r);
        count++;
        if (alias)
            return count + put_answers(out, records, r->data, type, rcode);
    }
    return count;
}

/* False: there shall be no answer. */
static bool
answer(const struct test_dns_server *server, struct sv query, struct buf *out)
{
    struct buf answers = {0};
    char name[300] = "";
    size_t at = HEADER, n = 0;
    unsigned type, count;
    int rcode;

    while (at < query.n && query.p[at] != 0) {
        size_t length = (uint8_t)query.p[at++];

        if (at + length + 5 > query.n || n + length + 2 > sizeof name)
            return false;
        if (n > 0)
            name[n++] = '.';
        memcpy(name + n, query.p + at, length);
        n += length;
        at += length;
    }
    name[n] = '\0';
    at++;
    if (at + 4 > query.n)
        return false;
    type = (unsigned)((uint8_t)query.p[at] << 8 | (uint8_t)query.p[at + 1]);
    count = put_answers(&answers, server->records, name, type, &rcode);
    buf_add(out, sv_slice(query, 0, 2));
    put16(out, 0x8580u | (rcode > 0 ? (unsigned)rcode : 0));
    put16(out, 1);
    put16(out, count);
    put16(out, 0);
    put16(out, 0);
    buf_add(out, sv_slice(query, HEADER, at + 4 - HEADER));
    buf_add(out, buf_view(&answers));
    buf_fini(&answers);
    return rcode != -1;
}

static void
serve_udp(const struct test_dns_server *server)
{
    char packet[PACKET_MAX];
    struct sockaddr_in from;
    socklen_t from_length = sizeof from;
    ssize_t n = recvfrom(server->udp, packet, sizeof packet, 0,
                         (struct sockaddr *)&from, &from_length);
    struct buf out = {0};

    if (n > HEADER && answer(server, (struct sv){packet, (size_t)n}, &out)) {
        if (buf_length(&out) > 1232) { /* too long: come by TCP */
            out.p[2] = (char)(out.p[2] | 2);
            out.p[7] = 0;
            out.end = (size_t)n < buf_length(&out) ? (size_t)n : out.end;
            out.p[6] = 0;
        }
        (void)!sendto(server->udp, out.p, buf_length(&out), 0,
                      (struct sockaddr *)&from, from_length);
    }
    buf_fini(&out);
}

static void
serve_tcp(const struct test_dns_server *server)
{
    char packet[PACKET_MAX];
    int fd = accept(server->tcp, NULL, NULL);
    ssize_t n = read(fd, packet, sizeof packet);
    struct buf out = {0};

    if (n > HEADER + 2 &&
        answer(server, (struct sv){packet + 2, (size_t)n - 2}, &out)) {
        char length[2] = {(char)(buf_length(&out) >> 8),
                          (char)buf_length(&out)};

        (void)!write(fd, length, 2);
        (void)!write(fd, out.p, buf_length(&out));
    }
    buf_fini(&out);
    close(fd);
}

static void *
run(void *arg)
{
    const struct test_dns_server *server = arg;
    struct pollfd fds[] = {{.fd = server->udp, .events = POLLIN},
                           {.fd = server->tcp, .events = POLLIN},
                           {.fd = server->stop[0], .events = POLLIN}};

    while (poll(fds, COUNT_OF(fds), -1) > 0 && fds[2].revents == 0) {
        if (fds[0].revents & POLLIN)
            serve_udp(server);
        if (fds[1].revents & POLLIN)
            serve_tcp(server);
    }
    return NULL;
}

static bool
bind_both(struct test_dns_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->udp, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(server->udp, (struct sockaddr *)&address, &length) != 0)
        return false;
    snprintf(server->address, sizeof server->address, "127.0.0.1@%u",
             ntohs(address.sin_port));
    return bind(server->tcp, (struct sockaddr *)&address, sizeof address) ==
               0 &&
           listen(server->tcp, 16) == 0;
}

/* The port that UDP was given may be somebody else's for TCP: then another. */
static bool
bind_somewhere(struct test_dns_server *server)
{
    for (int i = 0; i < 100; i++) {
        if (bind_both(server))
            return true;
        close(server->udp);
        close(server->tcp);
    }
    return false;
}

struct test_dns_server *
test_dns_server_new(const struct test_dns_record *records)
{
    struct test_dns_server *server = mem_alloc(sizeof *server);

    server->records = records;
    if (!bind_somewhere(server) || pipe(server->stop) != 0 ||
        pthread_create(&server->thread, NULL, run, server) != 0)
        abort();
    return server;
}

const char *
test_dns_server_address(const struct test_dns_server *server)
{
    return server->address;
}

void
test_dns_server_free(struct test_dns_server *server)
{
    (void)!write(server->stop[1], "", 1);
    pthread_join(server->thread, NULL);
    close(server->udp);
    close(server->tcp);
    close(server->stop[0]);
    close(server->stop[1]);
    mem_free(server);
}
