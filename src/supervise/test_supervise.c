/* The supervisor's parts that stand alone: messages between processes,
 * listening sockets, the state directory. */
#include "supervise/channel.h"
#include "supervise/listen.h"
#include "supervise/state_dir.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t
open_descriptors(void)
{
    size_t count = 0;

    for (int fd = 0; fd < 512; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            count++;
    return count;
}

/* --- channel ---------------------------------------------------------------
 */

static struct {
    int fds[2];
    struct channel_message message;
    int received[CHANNEL_FDS_MAX];
    size_t count;
    struct err err;
} line;

static int
open_line(void **state UNUSED)
{
    line.count = 0;
    return channel_pair(line.fds, &line.err) ? 0 : -1;
}

static int
close_line(void **state UNUSED)
{
    close(line.fds[0]);
    close(line.fds[1]);
    return 0;
}

static enum channel_result
receive(bool with_descriptors)
{
    return channel_receive(line.fds[1], &line.message,
                           with_descriptors ? line.received : NULL, &line.count,
                           &line.err);
}

static void
message_arrives(void **state UNUSED)
{
    struct channel_message message = {
        .type = CHANNEL_ALERT, .flag = 1, .number = 7, .values = {1, -2}};

    CHANNEL_TEXT(message.text, "a text");
    assert_int_equal(receive(true), CHANNEL_AGAIN);
    assert_true(channel_send(line.fds[0], &message, NULL, 0, &line.err));
    assert_int_equal(receive(true), CHANNEL_OK);
    assert_int_equal(line.count, 0);
    assert_memory_equal(&line.message, &message, sizeof message);
    assert_int_equal(receive(true), CHANNEL_AGAIN);
}

static void
descriptors_arrive(void **state UNUSED)
{
    const struct channel_message message = {.type = CHANNEL_SOCKETS};
    size_t before = open_descriptors();
    int fds[CHANNEL_FDS_MAX];

    for (size_t i = 0; i < COUNT_OF(fds); i++)
        fds[i] = line.fds[0];
    assert_true(
        channel_send(line.fds[0], &message, fds, COUNT_OF(fds), &line.err));
    assert_int_equal(receive(true), CHANNEL_OK);
    assert_int_equal(line.count, COUNT_OF(fds));
    for (size_t i = 0; i < line.count; i++) {
        assert_true(fcntl(line.received[i], F_GETFD) & FD_CLOEXEC);
        close(line.received[i]);
    }
    assert_int_equal(open_descriptors(), before);
}

static void
unwanted_descriptors_are_refused(void **state UNUSED)
{
    const struct channel_message message = {.type = CHANNEL_READY};
    size_t before = open_descriptors();

    assert_true(
        channel_send(line.fds[0], &message, &line.fds[0], 1, &line.err));
    assert_int_equal(receive(false), CHANNEL_ERROR);
    assert_int_equal(open_descriptors(), before);
}

static void
foreign_messages_are_refused(void **state UNUSED)
{
    struct channel_message message = {.type = CHANNEL_TYPES};

    assert_true(channel_send(line.fds[0], &message, NULL, 0, &line.err));
    assert_int_equal(receive(true), CHANNEL_ERROR);
    message.type = 0;
    assert_true(channel_send(line.fds[0], &message, NULL, 0, &line.err));
    assert_int_equal(receive(true), CHANNEL_ERROR);
    assert_int_equal(send(line.fds[0], &message, 10, 0), 10);
    assert_int_equal(receive(true), CHANNEL_ERROR);
}

static void
texts_end(void **state UNUSED)
{
    struct channel_message message = {.type = CHANNEL_READY};

    memset(message.name, 'x', sizeof message.name);
    memset(message.text, 'x', sizeof message.text);
    assert_true(channel_send(line.fds[0], &message, NULL, 0, &line.err));
    assert_int_equal(receive(true), CHANNEL_OK);
    assert_int_equal(strlen(line.message.name), sizeof message.name - 1);
    assert_int_equal(strlen(line.message.text), sizeof message.text - 1);
    channel_copy(message.name, 4, "abcdef");
    assert_string_equal(message.name, "abc");
}

static void
end_is_seen(void **state UNUSED)
{
    close(line.fds[0]);
    assert_int_equal(receive(true), CHANNEL_EOF);
    line.fds[0] = -1;
}

static void
reader_that_sleeps(void **state UNUSED)
{
    const struct channel_message message = {.type = CHANNEL_READY};
    int sent = 0;

    while (sent < 10000 &&
           channel_send(line.fds[0], &message, NULL, 0, &line.err))
        sent++;
    assert_int_equal(line.err.code, EAGAIN);
    assert_true(sent > 50);
    for (int i = 0; i < sent; i++)
        assert_int_equal(receive(true), CHANNEL_OK);
}

/* --- listening sockets -----------------------------------------------------
 */

static struct listener_settings
listener(const char *name, const char *address)
{
    struct listener_settings made = {.backlog = 10};

    memcpy(&made.name, &name, sizeof made.name); /* it is never written */
    assert_true(net_address_parse_port(sv_of(address), &made.address));
    return made;
}

static bool
accepts(const char *address)
{
    struct net_address to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    assert_true(net_address_parse_port(sv_of(address), &to));
    ok = connect(fd, &to.sa, net_address_length(&to)) == 0;
    close(fd);
    return ok;
}

#define ONE "127.0.0.84:21901"
#define TWO "127.0.0.84:21902"

static void
listeners_come_and_go(void **state UNUSED)
{
    struct listener_settings first[] = {listener("A", ONE)};
    struct listener_settings then[] = {listener("B", ONE), listener("C", TWO)};
    struct settings settings = {.listeners = first, .listener_count = 1};
    struct settings candidate = {.listeners = then, .listener_count = 2};
    struct listen_set none = {0}, current, next;
    size_t before = open_descriptors();
    struct err err;

    assert_true(listen_set_open(&current, &settings, &none, 3, &err));
    assert_int_equal(current.rows[0].count, 3);
    assert_true(listen_set_open(&next, &candidate, &current, 3, &err));
    assert_true(accepts(ONE) && accepts(TWO));
    listen_set_abandon(&current, &next);
    assert_true(accepts(ONE));
    assert_false(accepts(TWO));
    assert_int_equal(open_descriptors(), before + 3);

    assert_true(listen_set_open(&next, &candidate, &current, 3, &err));
    listen_set_replace(&current, &next);
    assert_int_equal(current.count, 2);
    assert_true(accepts(ONE) && accepts(TWO));
    assert_int_equal(open_descriptors(), before + 6);

    then[0] = then[1];
    candidate.listener_count = 1;
    assert_true(listen_set_open(&next, &candidate, &current, 3, &err));
    listen_set_replace(&current, &next);
    assert_false(accepts(ONE));
    assert_true(accepts(TWO));
    listen_set_close(&current);
    assert_int_equal(open_descriptors(), before);
}

static void
busy_port_is_refused(void **state UNUSED)
{
    struct listener_settings both[] = {listener("A", TWO), listener("B", ONE)};
    struct settings one = {.listeners = &both[1], .listener_count = 1};
    struct settings all = {.listeners = both, .listener_count = 2};
    struct listen_set none = {0}, other, set;
    size_t before;
    struct err err;

    assert_true(listen_set_open(&other, &one, &none, 1, &err));
    before = open_descriptors();
    assert_false(listen_set_open(&set, &all, &none, 2, &err));
    assert_int_equal(err.code, EADDRINUSE);
    assert_non_null(strstr(err.text, "listener B"));
    assert_int_equal(open_descriptors(), before);
    assert_false(accepts(TWO));
    listen_set_close(&other);
}

/* --- state directory -------------------------------------------------------
 */

static char directory[64];

static int
make_directory(void **state UNUSED)
{
    snprintf(directory, sizeof directory, "/tmp/test-state-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int
remove_directory(void **state UNUSED)
{
    static const char *const names[] = {"run/lock", "run/x.sock", "run", ""};
    char path[96];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        remove(path);
    }
    return 0;
}

static void
layout_is_private(void **state UNUSED)
{
    char path[96];
    struct stat status;
    struct err err;
    int fd;

    assert_true(state_dir_make(directory, (uid_t)-1, (gid_t)-1, &err));
    assert_true(state_dir_make(directory, (uid_t)-1, (gid_t)-1, &err));
    snprintf(path, sizeof path, "%s/run", directory);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/run/x.sock", directory);
    for (int i = 0; i < 2; i++) { /* the second time in place of the first */
        fd = listen_unix(path, &err);
        assert_true(fd >= 0);
        close(fd);
    }
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void
directory_that_is_a_link(void **state UNUSED)
{
    char path[96];
    struct err err;

    snprintf(path, sizeof path, "%s/run", directory);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_false(state_dir_make(directory, (uid_t)-1, (gid_t)-1, &err));
}

static void
lock_has_one_holder(void **state UNUSED)
{
    int first, second;
    char mine[64];
    struct err err;

    snprintf(mine, sizeof mine, "process %ld", (long)getpid());
    assert_true(state_dir_make(directory, (uid_t)-1, (gid_t)-1, &err));
    assert_int_equal(state_dir_lock(directory, &first, &err), STATE_DIR_LOCKED);
    assert_int_equal(state_dir_lock(directory, &second, &err),
                     STATE_DIR_FAILED);
    assert_non_null(strstr(err.text, mine));
    close(first);
    assert_int_equal(state_dir_lock(directory, &first, &err), STATE_DIR_LOCKED);
    close(first);
}

/* The holder of the number is dead, somebody who inherited the lock is not. */
static void
lock_outlives_its_holder(void **state UNUSED)
{
    int lock_fd, ignored;
    struct err err;
    pid_t pid;

    assert_true(state_dir_make(directory, (uid_t)-1, (gid_t)-1, &err));
    assert_int_equal(state_dir_lock(directory, &lock_fd, &err),
                     STATE_DIR_LOCKED);
    pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(ftruncate(lock_fd, 0), 0);
    assert_true(dprintf(lock_fd, "%ld\n", (long)pid) > 0);
    assert_int_equal(state_dir_lock(directory, &ignored, &err),
                     STATE_DIR_ENDING);
    close(lock_fd);
}

#define WITH_LINE(test)                                                        \
    cmocka_unit_test_setup_teardown(test, open_line, close_line)
#define WITH_DIRECTORY(test)                                                   \
    cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LINE(message_arrives),
        WITH_LINE(descriptors_arrive),
        WITH_LINE(unwanted_descriptors_are_refused),
        WITH_LINE(foreign_messages_are_refused),
        WITH_LINE(texts_end),
        WITH_LINE(end_is_seen),
        WITH_LINE(reader_that_sleeps),
        cmocka_unit_test(listeners_come_and_go),
        cmocka_unit_test(busy_port_is_refused),
        WITH_DIRECTORY(layout_is_private),
        WITH_DIRECTORY(directory_that_is_a_link),
        WITH_DIRECTORY(lock_has_one_holder),
        WITH_DIRECTORY(lock_outlives_its_holder),
    };

    return cmocka_run_group_tests_name("supervise", tests, NULL, NULL);
}
