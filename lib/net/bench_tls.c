/* bench_tls - what an idle TLS connection costs in memory, and a handshake in
 * CPU time, on the server's side.  The clients live in a child process, so the
 * numbers of this one are the server's alone.
 *
 *   bench_tls [CONNECTIONS] [1.2|1.3] */
#include "net/conn.h"
#include "tls/test_pki.h"
#include <malloc.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static struct tls_context *context;
static size_t wanted, ready;
static struct conn **conns;
static size_t accepted;

static void
on_event(void *owner, struct conn *conn, enum conn_event event)
{
    (void)owner;
    if (event == CONN_TLS_READY)
        conn_write(conn, SV("220 mx.test ESMTP\r\n"));
    if (event == CONN_DATA) {
        conn_consume(conn, conn_input(conn).n);
        conn_write(conn, SV("250 mx.test\r\n"));
        if (++ready == wanted)
            loop_stop(loop);
    }
    if (event == CONN_ERROR) {
        fprintf(stderr, "%s\n", conn_failure(conn)->reason);
        exit(1);
    }
}

static void
on_accept(void *arg, int fd, const struct net_address *peer)
{
    (void)arg;
    conns[accepted] = conn_accept(loop, fd, peer, on_event, NULL);
    conn_start_tls_server(conns[accepted++], context);
}

static void
run_client(const struct sockaddr_in *to, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_max_proto_version(ctx, version);
    for (size_t i = 0; i < wanted; i++) {
        SSL *ssl = SSL_new(ctx);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char bytes[100];

        if (connect(fd, (const struct sockaddr *)to, sizeof *to) == -1 ||
            SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1 ||
            SSL_read(ssl, bytes, sizeof bytes) <= 0 ||
            SSL_write(ssl, "EHLO a\r\n", 8) != 8 ||
            SSL_read(ssl, bytes, sizeof bytes) <= 0)
            _exit(1);
    }
    pause();
    _exit(0);
}

static double
cpu_ms(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static size_t
resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re"); /* "total resident …" */
    char line[100] = "", *second;

    if (file == NULL)
        return 0;
    second = fgets(line, sizeof line, file) != NULL ? strchr(line, ' ') : NULL;
    fclose(file);
    return (second != NULL ? strtoul(second, NULL, 10) : 0) *
           (size_t)sysconf(_SC_PAGESIZE);
}

static void
measure(int listen_fd, pid_t child)
{
    struct acceptor *acceptor = acceptor_new(loop, listen_fd, on_accept, NULL);
    size_t heap = mallinfo2().uordblks, resident = resident_bytes();
    double cpu = cpu_ms();

    loop_run(loop);
    cpu = cpu_ms() - cpu;
    heap = mallinfo2().uordblks - heap;
    resident = resident_bytes() - resident;
    printf("connections %zu, each: heap %zu bytes, resident %zu bytes, "
           "accept + handshake + EHLO %.3f ms CPU\n",
           wanted, heap / wanted, resident / wanted, cpu / (double)wanted);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    for (size_t i = 0; i < accepted; i++)
        conn_close(conns[i], 0);
    acceptor_free(acceptor);
    loop_free(loop);
}

int
main(int argc, char **argv)
{
    bool old = argc > 2 && strcmp(argv[2], "1.2") == 0;
    struct tls_profile profile = {.versions = TLS_BIT_TLS12 | TLS_BIT_TLS13};
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t length = sizeof in;
    struct rlimit limit;
    struct err err = {0};
    struct tls_certificate_files files;
    int fd;
    pid_t child;

    wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    conns = mem_alloc_array(wanted + 1, sizeof(struct conn *));
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) == -1 ||
        listen(fd, 1024) == -1 ||
        getsockname(fd, (struct sockaddr *)&in, &length) == -1)
        return 1;
    child = fork();
    if (child == 0)
        run_client(&in, old ? TLS1_2_VERSION : TLS1_3_VERSION);
    files = pki_make(&(struct pki_options){
        .name = "bench", .type = "RSA", .names = "DNS:mx.test"});
    loop = loop_new(&err);
    if (!tls_init(&err) || loop == NULL ||
        (context = tls_context_new_server(&profile, &files, 1, SV("bench"),
                                          &err)) == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    measure(fd, child);
    tls_context_unref(context);
    mem_free(conns);
    return 0;
}
