/* A server on a loop in its own thread, clients in the test's: what they send
 * and see is what a real command line would. */
#include "service/rpc.h"
#include "unit.h"

#include "base/buf.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTED = 20000, MANY = 200 };

static struct {
    char directory[64];
    char front[96], back[96]; /* the front forwards everything to the back */
    struct loop *loop;
    struct rpc_server *servers[2];
    int fds[2];
    pthread_t thread;
    struct task stop;
    struct rpc_call *kept; /* by "keep", until "let-go" */
    struct timer tick;
} world;

struct listing {
    struct rpc_call *call;
    int next;
    size_t highest; /* output pending at most */
};

static void
list_more(void *arg)
{
    struct listing *listing = arg;
    struct rpc_call *call = listing->call;

    while (listing->next < LISTED && !rpc_gone(call)) {
        if (rpc_pending(call) > listing->highest)
            listing->highest = rpc_pending(call);
        if (rpc_pending(call) > 100000) {
            rpc_on_low(call, list_more, listing);
            return;
        }
        rpc_item(call, json_pack("{s:i, s:s}", "n", listing->next++, "text",
                                 "some text to fill the socket with"));
    }
    rpc_result(call, json_integer((json_int_t)listing->highest));
    mem_free(listing);
}

static void
on_answer(void *arg, const json_t *result, const char *error)
{
    rpc_result(arg, json_pack("{s:b, s:s}", "ok", result != NULL, "error",
                              error != NULL ? error : ""));
}

static void
on_back_call(void *arg UNUSED, struct rpc_call *call)
{
    struct sv method = sv_of(rpc_method(call));
    json_t *params = json_deep_copy(rpc_params(call));

    if (sv_is(method, "echo")) {
        rpc_result(call, params);
        return;
    }
    json_decref(params);
    if (sv_is(method, "list")) {
        struct listing *listing = mem_alloc(sizeof *listing);

        listing->call = call;
        list_more(listing);
    } else if (sv_is(method, "keep")) {
        world.kept = call;
    } else if (sv_is(method, "let-go")) {
        bool gone = world.kept != NULL && rpc_gone(world.kept);

        if (world.kept != NULL)
            rpc_result(world.kept, json_null());
        world.kept = NULL;
        rpc_result(call, json_boolean(gone));
    } else if (sv_is(method, "ask")) {
        rpc_ask(world.loop, world.back, "list", NULL, 5000, on_answer, call);
    } else if (sv_is(method, "ask-nobody")) {
        rpc_ask(world.loop, "/nonexistent/socket", "list", NULL, 5000,
                on_answer, call);
    } else {
        rpc_error(call, "no method %s", rpc_method(call));
    }
}

static void
on_front_call(void *arg UNUSED, struct rpc_call *call)
{
    rpc_forward(world.loop, world.back, call);
}

static int
listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(
        sv_to_cstr(sv_of(path), address.sun_path, sizeof address.sun_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 100), 0);
    return fd;
}

static void
on_stop(struct task *task UNUSED)
{
    rpc_server_free(world.servers[0]);
    rpc_server_free(world.servers[1]);
    loop_stop(world.loop);
}

static void *
run_loop(void *arg UNUSED)
{
    loop_run(world.loop);
    return NULL;
}

static int
open_world(void **state UNUSED)
{
    struct err err;

    snprintf(world.directory, sizeof world.directory, "/tmp/test-rpc-XXXXXX");
    assert_non_null(mkdtemp(world.directory));
    snprintf(world.front, sizeof world.front, "%s/front", world.directory);
    snprintf(world.back, sizeof world.back, "%s/back", world.directory);
    world.fds[0] = listen_at(world.front);
    world.fds[1] = listen_at(world.back);
    world.loop = loop_new(&err);
    assert_non_null(world.loop);
    world.servers[0] =
        rpc_server_new(world.loop, world.fds[0], on_front_call, NULL);
    world.servers[1] =
        rpc_server_new(world.loop, world.fds[1], on_back_call, NULL);
    return pthread_create(&world.thread, NULL, run_loop, NULL);
}

static int
close_world(void **state UNUSED)
{
    world.stop.run = on_stop;
    loop_post(world.loop, &world.stop);
    pthread_join(world.thread, NULL);
    loop_free(world.loop);
    close(world.fds[0]);
    close(world.fds[1]);
    unlink(world.front);
    unlink(world.back);
    return rmdir(world.directory);
}

static int
connect_raw(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(
        sv_to_cstr(sv_of(path), address.sun_path, sizeof address.sun_path));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address),
                     0);
    return fd;
}

/* Everything until the server closes; at most some seconds. */
static void
read_all(int fd, struct buf *out)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    while (poll(&wait, 1, 5000) == 1) {
        char *dst = buf_reserve(out, 4096);
        ssize_t got = recv(fd, dst, 4096, 0);

        if (got <= 0)
            return;
        buf_grew(out, (size_t)got);
    }
    fail_msg("the server keeps the connection open");
}

static const struct request_row {
    const char *name, *request, *answer;
} requests[] = {
    {"echo", "{\"method\":\"echo\",\"params\":{\"a\":[1,\"x\"]}}\n",
     "{\"result\":{\"a\":[1,\"x\"]}}\n"},
    {"NUL in a text", "{\"method\":\"echo\\u0000x\"}\n",
     "{\"error\":\"the request is not a JSON object\"}\n"},
    {"no params", "{\"method\":\"echo\"}\n", "{\"result\":{}}\n"},
    {"unknown method", "{\"method\":\"fly\"}\n",
     "{\"error\":\"no method fly\"}\n"},
    {"method with controls", "{\"method\":\"a\\nb\"}\n",
     "{\"error\":\"no method a\\nb\"}\n"},
    {"not JSON", "GET / HTTP/1.1\r\n",
     "{\"error\":\"the request is not a JSON object\"}\n"},
    {"empty line", "\n", "{\"error\":\"the request is not a JSON object\"}\n"},
    {"array", "[1,2]\n", "{\"error\":\"the request is not a JSON object\"}\n"},
    {"no method", "{}\n", "{\"error\":\"the request has no method\"}\n"},
    {"method is a number", "{\"method\":1}\n",
     "{\"error\":\"the request has no method\"}\n"},
    {"params is a list", "{\"method\":\"echo\",\"params\":[]}\n",
     "{\"error\":\"params is not an object\"}\n"},
    {"key twice", "{\"method\":\"echo\",\"method\":\"list\"}\n",
     "{\"error\":\"the request is not a JSON object\"}\n"},
    {"bytes behind the request", "{\"method\":\"echo\"}\n{\"method\":\"x\"}\n",
     "{\"result\":{}}\n"},
    {"not UTF-8", "{\"method\":\"\xff\"}\n",
     "{\"error\":\"the request is not a JSON object\"}\n"},
};

static void
check_request(void **state)
{
    const struct request_row *row = *state;
    struct buf out = {0};
    int fd = connect_raw(world.back);

    assert_int_equal(send(fd, row->request, strlen(row->request), 0),
                     strlen(row->request));
    read_all(fd, &out);
    assert_sv(buf_view(&out), row->answer);
    buf_fini(&out);
    close(fd);
}

static void
request_bytewise(void **state UNUSED)
{
    const char request[] = "{\"method\":\"echo\"}\n";
    struct buf out = {0};
    int fd = connect_raw(world.back);

    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_int_equal(send(fd, &request[i], 1, 0), 1);
        usleep(500);
    }
    read_all(fd, &out);
    assert_sv(buf_view(&out), "{\"result\":{}}\n");
    buf_fini(&out);
    close(fd);
}

static void
request_too_long(void **state UNUSED)
{
    char block[8192];
    struct buf out = {0};
    int fd = connect_raw(world.back);

    memset(block, 'x', sizeof block);
    for (int i = 0; i < 9; i++)
        if (send(fd, block, sizeof block, MSG_NOSIGNAL) == -1)
            break;
    read_all(fd, &out);
    assert_sv(buf_view(&out), "{\"error\":\"the request is too long\"}\n");
    buf_fini(&out);
    close(fd);
}

static void
count_item(void *arg, const json_t *item)
{
    int *count = arg;

    assert_int_equal(json_integer_value(json_object_get(item, "n")), *count);
    ++*count;
}

static void
list_through(const char *path)
{
    struct err err = {0};
    json_t *result;
    int count = 0;

    if (!rpc_request(path, "list", NULL, count_item, &count, &result, &err))
        fail_msg("%s", err.text);
    assert_int_equal(count, LISTED);
    assert_true(json_integer_value(result) < 200000);
    json_decref(result);
}

static void
list_whole(void **state UNUSED)
{
    list_through(world.back);
}

static void
list_forwarded(void **state UNUSED)
{
    list_through(world.front);
}

static void
list_slowly(void **state UNUSED)
{
    const char request[] = "{\"method\":\"list\"}\n";
    struct buf out = {0};
    int fd = connect_raw(world.front);

    send(fd, request, sizeof request - 1, 0);
    usleep(200000); /* everything on the way is full by now */
    read_all(fd, &out);
    assert_true(sv_ends_nocase(buf_view(&out), SV("}\n")));
    assert_true(buf_length(&out) > (size_t)LISTED * 40);
    buf_fini(&out);
    close(fd);
}

static bool
let_go(void)
{
    struct err err = {0};
    json_t *result;
    bool gone;

    if (!rpc_request(world.back, "let-go", NULL, NULL, NULL, &result, &err))
        fail_msg("%s", err.text);
    gone = json_is_true(result);
    json_decref(result);
    return gone;
}

static void
leave_while_kept(const char *path)
{
    const char request[] = "{\"method\":\"keep\"}\n";
    int fd = connect_raw(path);

    send(fd, request, sizeof request - 1, 0);
    usleep(100000);
    close(fd);
    usleep(100000);
    assert_true(let_go());
}

static void
client_leaves(void **state UNUSED)
{
    leave_while_kept(world.back);
}

static void
client_leaves_forward(void **state UNUSED)
{
    leave_while_kept(world.front);
}

static void
client_leaves_listing(void **state UNUSED)
{
    const char request[] = "{\"method\":\"list\"}\n";

    for (int i = 0; i < 20; i++) {
        int fd = connect_raw(i % 2 == 0 ? world.back : world.front);

        send(fd, request, sizeof request - 1, 0);
        usleep(5000);
        close(fd);
    }
    list_through(world.front);
}

static void
many_at_once(void **state UNUSED)
{
    const char request[] = "{\"method\":\"echo\"}\n";
    static int fds[MANY];

    /* More than are served at a time: the others wait, none is refused. */
    for (int i = 0; i < MANY / 2; i++)
        fds[i] = connect_raw(world.back);
    for (int i = 0; i < MANY / 2; i++)
        assert_true(send(fds[i], request, sizeof request - 1, 0) > 0);
    for (int i = 0; i < MANY / 2; i++) {
        struct buf out = {0};

        read_all(fds[i], &out);
        assert_sv(buf_view(&out), "{\"result\":{}}\n");
        buf_fini(&out);
        close(fds[i]);
    }
}

static void
ask(const char *method, bool ok)
{
    struct err err = {0};
    json_t *result;

    if (!rpc_request(world.back, method, NULL, NULL, NULL, &result, &err))
        fail_msg("%s", err.text);
    assert_int_equal(json_is_true(json_object_get(result, "ok")), ok);
    json_decref(result);
}

static void
ask_on_loop(void **state UNUSED)
{
    ask("ask", true);
    ask("ask-nobody", false);
}

static void
server_errors(void **state UNUSED)
{
    struct err err = {0};
    json_t *result;

    assert_false(rpc_request(world.front, "fly", json_object(), NULL, NULL,
                             &result, &err));
    assert_string_equal(err.text, "no method fly");
    assert_null(result);
    assert_false(rpc_request("/nonexistent/socket", "fly", NULL, NULL, NULL,
                             &result, &err));
    assert_int_equal(err.code, ENOENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_bytewise),
        cmocka_unit_test(request_too_long),
        cmocka_unit_test(list_whole),
        cmocka_unit_test(list_forwarded),
        cmocka_unit_test(list_slowly),
        cmocka_unit_test(client_leaves),
        cmocka_unit_test(client_leaves_forward),
        cmocka_unit_test(client_leaves_listing),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(ask_on_loop),
        cmocka_unit_test(server_errors),
    };
    int failed;

    open_world(NULL);
    failed = RUN_ROWS("rpc requests", check_request, requests);
    failed += cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
    close_world(NULL);
    return failed;
}
