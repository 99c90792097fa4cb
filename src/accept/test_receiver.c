/* The receiver as a service on a real loop: accepting, the change of its
 * configuration under living sessions, limits, draining. */
#include "base/buf.h"
#include "service/service.h"
#include "unit.h"
#include <ftw.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    char folder[64];
    struct loop *loop;
    struct service_host host;
    struct service_socket socket;
    struct net_address address;
    int listen_fd;
    void *receiver;
    bool drained;
};

static void
run_here(struct service_host *host, size_t loop, void (*run)(void *arg),
         void *arg)
{
    (void)host;
    (void)loop;
    run(arg);
}

static void
ignore_alert(struct service_host *host, const char *key, bool raised,
             const char *text)
{
    (void)host;
    (void)key;
    (void)raised;
    (void)text;
}

static void
ignore_log(void *arg, struct sv line)
{
    (void)arg;
    (void)line;
}

static struct settings *
make_settings(const struct fixture *f, const char *hostname)
{
    const struct settings_options options = {.check_files = false};
    struct settings *settings;
    struct buf yaml = {0};
    struct err err;

    buf_printf(&yaml,
               "hostname: %s\nstate_dir: %s\n"
               "listeners:\n"
               "  A: {type: public, address: '127.0.0.1:2525',\n"
               "      domains: [a.test], max_connections: 2}\n"
               "spool: {segment_size: 1M, inline_limit: 256K, min_free: 1M,\n"
               "        spare_segments: 1}\n",
               hostname, f->folder);
    settings = settings_load(buf_view(&yaml), "test", &options, &err);
    buf_fini(&yaml);
    if (settings == NULL)
        fail_msg("%s", err.text);
    return settings;
}

static void
listen_anywhere(struct fixture *f)
{
    struct sockaddr_in any = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;

    f->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&any, sizeof any),
                     0);
    assert_int_equal(listen(f->listen_fd, 16), 0);
    getsockname(f->listen_fd, (struct sockaddr *)&bound, &length);
    net_address_from_sockaddr((struct sockaddr *)&bound, &f->address);
}

static int
set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    struct settings *settings;
    struct err err;

    snprintf(f->folder, sizeof f->folder, "/tmp/receiver.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    log_capture(ignore_log, NULL);
    f->loop = loop_new(&err);
    assert_non_null(f->loop);
    f->host = (struct service_host){.loops = &f->loop,
                                    .loop_count = 1,
                                    .on_loop = run_here,
                                    .alert = ignore_alert};
    listen_anywhere(f);
    f->socket = (struct service_socket){
        .listener = "A", .fds = &f->listen_fd, .count = 1};
    settings = make_settings(f, "first.test");
    f->receiver =
        receiver_service.start(&f->host, settings, &f->socket, 1, &err);
    if (f->receiver == NULL)
        fail_msg("%s", err.text);
    settings_unref(settings);
    *state = f;
    return 0;
}

static int
remove_one(const char *path, const struct stat *status, int type,
           struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void
turn(struct fixture *f)
{
    uv_run(loop_uv(f->loop), UV_RUN_NOWAIT);
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    receiver_service.stop(f->receiver);
    for (int i = 0; i < 5; i++)
        turn(f);
    loop_free(f->loop);
    close(f->listen_fd);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(f);
    return 0;
}

static int
dial(struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(
        connect(fd, &f->address.sa, net_address_length(&f->address)), 0);
    return fd;
}

/* The next bytes begin so, within some seconds of the loop's work. */
static void
expect(struct fixture *f, int fd, const char *start)
{
    char text[512];
    ssize_t n = -1;

    for (int i = 0; i < 5000 && n < 0; i++) {
        turn(f);
        n = recv(fd, text, sizeof text, MSG_DONTWAIT);
        if (n < 0)
            usleep(1000);
    }
    assert_true(n >= 0);
    assert_true((size_t)n >= strlen(start));
    assert_memory_equal(text, start, strlen(start));
}

static void
say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void
sessions_keep_their_configuration(void **state)
{
    struct fixture *f = *state;
    struct settings *second = make_settings(f, "second.test");
    struct err err;
    int old = dial(f), new;

    expect(f, old, "220 first.test ");
    assert_true(
        receiver_service.prepare(f->receiver, second, &f->socket, 1, &err));
    receiver_service.commit(f->receiver);
    settings_unref(second);
    new = dial(f);
    expect(f, new, "220 second.test ");
    say(old, "HELO x\r\n");
    expect(f, old, "250 first.test ");
    close(old);
    close(new);
}

static void
abandoned_candidate_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct settings *second = make_settings(f, "second.test");
    struct err err;
    int fd;

    assert_true(
        receiver_service.prepare(f->receiver, second, &f->socket, 1, &err));
    receiver_service.abandon(f->receiver);
    settings_unref(second);
    fd = dial(f);
    expect(f, fd, "220 first.test ");
    close(fd);
}

static void
candidate_without_socket_is_refused(void **state)
{
    struct fixture *f = *state;
    struct settings *second = make_settings(f, "second.test");
    struct err err;

    assert_false(receiver_service.prepare(f->receiver, second, NULL, 0, &err));
    assert_string_equal(err.text, "listener A has no socket");
    settings_unref(second);
}

static void
limit_holds_over_a_reload(void **state)
{
    struct fixture *f = *state;
    struct settings *second = make_settings(f, "second.test");
    struct err err;
    int one = dial(f), two, three;

    expect(f, one, "220 ");
    assert_true(
        receiver_service.prepare(f->receiver, second, &f->socket, 1, &err));
    receiver_service.commit(f->receiver);
    settings_unref(second);
    two = dial(f);
    expect(f, two, "220 ");
    three = dial(f);
    expect(f, three, "421 4.4.5 Too many connections to this listener\r\n");
    expect(f, three, ""); /* the end */
    say(one, "QUIT\r\n");
    expect(f, one, "221 ");
    close(three);
    three = dial(f);
    expect(f, three, "220 ");
    close(one);
    close(two);
    close(three);
}

static void
on_drained(void *arg)
{
    struct fixture *f = arg;

    f->drained = true;
}

static void
drains(void **state)
{
    struct fixture *f = *state;
    int idle = dial(f), busy = dial(f);

    expect(f, idle, "220 ");
    expect(f, busy, "220 ");
    say(busy, "EHLO x\r\n");
    expect(f, busy, "250-");
    say(busy, "MAIL FROM:<>\r\n");
    expect(f, busy, "250 ");
    receiver_service.drain(f->receiver, on_drained, f);
    expect(f, idle, "421 4.3.2 ");
    turn(f);
    assert_false(f->drained);
    say(busy, "RSET\r\n");
    expect(f, busy, "250 2.0.0 ok\r\n421 4.3.2 ");
    for (int i = 0; i < 100 && !f->drained; i++)
        turn(f);
    assert_true(f->drained);
    close(idle);
    close(busy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sessions_keep_their_configuration),
        TEST(abandoned_candidate_leaves_no_trace),
        TEST(candidate_without_socket_is_refused),
        TEST(limit_holds_over_a_reload),
        TEST(drains),
    };

    return cmocka_run_group_tests_name("receiver", tests, NULL, NULL);
}
