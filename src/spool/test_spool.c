/* The way of a message: draft, commit, reader, content. */
#include "spool/spool_internal.h"
#include "spool/test_support.h"
#include <pthread.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct loop *loop;
static struct spool *spool;

/* --- Round trip --------------------------------------------------------- */

static const struct round_trip {
    const char *name;
    uint64_t lengths[4]; /* up to the first 0 after the first */
    uint64_t memory_limit;
} round_trips[] = {
    {"empty", {0}, 64 << 20},
    {"one byte", {1}, 64 << 20},
    {"small", {4096, 100, 8192}, 64 << 20},
    {"exactly the inline limit", {64 << 10}, 64 << 20},
    {"one byte more: a file", {(64 << 10) + 1}, 64 << 20},
    {"files between", {100, 300000, 200, 5000000}, 64 << 20},
    {"no memory: every one a file", {1, 4096, 20000}, 0},
};

static void
check_round_trip(void **state)
{
    const struct round_trip *row = *state;
    struct spool_settings limits = small_limits;
    struct found found;
    size_t count = 0;

    make_dir();
    loop = loop_new_manual(1000, 1700000000);
    limits.memory_limit = row->memory_limit;
    spool = open_intake(&limits);
    for (; count < 4 && (count == 0 || row->lengths[count] != 0); count++)
        store(spool, loop, (unsigned)count, row->lengths[count]);
    for (int restart = 0; restart < 2; restart++) {
        read_all(spool, SPOOL_INTAKE, 0, &found);
        assert_int_equal(found.records, count);
        assert_int_equal(found.damaged, 0);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(found.seeds[i], i);
            assert_int_equal(check_content(spool, loop, found.places[i], i), 0);
        }
        spool_close(spool);
        spool = open_intake(&limits);
    }
    spool_close(spool);
    loop_advance(loop, 0); /* what was on its way */
    loop_free(loop);
    remove_dir();
}

/* --- The rest, each with a name ----------------------------------------- */

enum { WRITERS = 8, EACH = 40 };

struct writer {
    pthread_t thread;
    struct loop *loop;
    unsigned first;
};

static void *
write_some(void *arg)
{
    struct writer *writer = arg;
    struct loop *own = writer->loop;
    unsigned first = writer->first;
    struct outcome outcome = {0};

    for (unsigned i = 0; i < EACH; i++)
        commit_draft(make_draft(spool, own, first + i, 2000 + i, &outcome),
                     first + i);
    wait_until(own, &outcome.done, EACH);
    assert_int_equal(outcome.failed, 0);
    return NULL;
}

static void
many_threads(void)
{
    struct writer writers[WRITERS];
    bool seen[WRITERS * EACH] = {false};
    struct spool_status status;
    struct found found;

    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].first = i * EACH;
        writers[i].loop = loop_new_manual(1000, 1700000000);
        assert_int_equal(
            pthread_create(&writers[i].thread, NULL, write_some, &writers[i]),
            0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, WRITERS * EACH);
    for (size_t i = 0; i < found.records; i++)
        seen[found.seeds[i]] = true;
    for (size_t i = 0; i < WRITERS * EACH; i++)
        assert_true(seen[i]);
    spool_status_get(spool, &status);
    assert_int_equal(status.commits, WRITERS * EACH);
    assert_true(status.batches < status.commits);
    assert_int_equal(status.intake_durable, WRITERS * EACH);
    spool_close(spool); /* before the loops that it posts to */
    for (unsigned i = 0; i < WRITERS; i++)
        loop_free(writers[i].loop);
    spool = open_intake(&small_limits);
}

static size_t
count_bodies(void)
{
    char path[128];
    size_t count = 0;

    snprintf(path, sizeof path, "ls %s/spool/intake/body | wc -l", test_dir);
    FILE *pipe = popen(path, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%zu", &count), 1);
    pclose(pipe);
    return count;
}

static void
abort_early(void)
{
    struct outcome outcome = {0};
    struct found found;

    spool_draft_abort(make_draft(spool, loop, 1, 0, &outcome));
    spool_draft_abort(make_draft(spool, loop, 2, 5000, &outcome));
    spool_draft_abort(make_draft(spool, loop, 3, 3000000, &outcome));
    store(spool, loop, 4, 100);
    for (int i = 0; i < 5000 && count_bodies() > 0; i++)
        nap();
    assert_int_equal(count_bodies(), 0);
    assert_int_equal(outcome.done, 0);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, 1);
}

static void
abort_during_commit(void)
{
    struct outcome outcome = {0};

    for (unsigned i = 0; i < 20; i++) {
        uint64_t length = i % 2 ? 300000 : 300;
        struct spool_draft *draft =
            make_draft(spool, loop, i, length, &outcome);

        commit_draft(draft, i);
        spool_draft_abort(draft);
    }
    store(spool, loop, 99, 100);
    loop_advance(loop, 0);
    assert_int_equal(outcome.done, 0);
}

static bool
accepts(uint64_t bytes)
{
    const char *reason = NULL;
    bool yes = spool_accepts(spool, bytes, &reason);

    assert_true(yes == (reason == NULL));
    return yes;
}

static void
limits_of_acceptance(void)
{
    struct spool_settings limits = small_limits;

    assert_true(accepts(0) && accepts(1 << 20));
    limits.min_free = UINT64_MAX / 2;
    spool_set_limits(spool, &limits);
    assert_false(accepts(0));
    limits.min_free = 0;
    limits.max_messages = 10;
    limits.max_bytes = 1000;
    spool_set_limits(spool, &limits);
    spool_publish_queue(spool, 9, 900);
    assert_true(accepts(0) && accepts(100));
    assert_false(accepts(101));
    spool_publish_queue(spool, 10, 900);
    assert_false(accepts(0));
    spool_publish_queue(spool, 9, 1000);
    assert_false(accepts(0));
    spool_publish_queue(spool, 0, 0);
    assert_true(accepts(0));
}

static void
ids(void)
{
    char last[SPOOL_ID_TEXT] = "";
    char id[SPOOL_ID_TEXT];

    /* Ids of one length compare as text in the order of their making. */
    for (int restart = 0; restart < 3; restart++) {
        for (int i = 0; i < 70000; i++) {
            assert_ptr_equal(spool_make_id(spool, id), id);
            assert_int_equal(strlen(id), 13);
            assert_true(strcmp(last, id) < 0);
            memcpy(last, id, sizeof last);
        }
        spool_close(spool);
        spool = open_intake(&small_limits);
    }
}

/* The sender makes ids too, for the messages that it writes itself. */
static void
ids_of_two_writers(void)
{
    struct err err = {0};
    struct spool *ledger = spool_open_ledger(test_dir, &small_limits, &err);
    char last[SPOOL_ID_TEXT] = "";

    assert_non_null(ledger);
    for (int i = 0; i < 1000; i++) {
        char id[SPOOL_ID_TEXT];

        spool_make_id(i % 3 ? spool : ledger, id);
        assert_true(strcmp(last, id) < 0);
        memcpy(last, id, sizeof last);
    }
    spool_close(ledger);
}

static void
one_writer(void)
{
    struct err err = {0};

    assert_null(spool_open_intake(test_dir, &small_limits, &err));
    assert_non_null(strstr(err.text, "another process"));
}

static void
large_message_memory(void)
{
    static char megabyte[1 << 20];
    struct outcome outcome = {0};
    struct spool_draft *draft =
        spool_draft_new(spool, loop, &counting, &outcome);
    size_t waits = 0;

    for (int i = 0; i < 64 * 16; i++) {
        struct sv piece = {megabyte, sizeof megabyte / 16};

        if (spool_draft_write(draft, piece) == SPOOL_WAIT)
            wait_until(loop, &outcome.rooms, ++waits);
        assert_true(spool->blocks.used <= 1 << 20);
    }
    commit_draft(draft, 1);
    wait_until(loop, &outcome.done, 1);
    assert_int_equal(outcome.failed, 0);
    assert_int_equal(spool->blocks.used, 0);
}

static void
read_from_sequence(void)
{
    struct found found;

    for (unsigned i = 0; i < 100; i++) /* several segments */
        store(spool, loop, i, 30000);
    for (unsigned from = 1; from <= 101; from += 9) {
        read_all(spool, SPOOL_INTAKE, from, &found);
        assert_int_equal(found.records, 101 - from);
        if (found.records > 0)
            assert_int_equal(found.seeds[0], from - 1);
    }
}

/* --- Two processes ------------------------------------------------------ */

/* Starts this program anew as the other process: a mere fork() would inherit
 * the locks that the journal's threads hold in the allocator. */
static pid_t
start_other(const char *role)
{
    char program[] = "/proc/self/exe";
    char *argv[] = {program, (char *)(uintptr_t)role, test_dir, NULL};
    pid_t child;

    assert_int_equal(posix_spawn(&child, program, NULL, NULL, argv, environ),
                     0);
    return child;
}

static void
follow(size_t wanted)
{
    struct err err = {0};
    struct spool *other = spool_open_reader(test_dir, &err);
    struct spool_reader *reader =
        spool_reader_new(other, SPOOL_INTAKE, 0, &err);
    struct spool_record record;
    size_t count = 0;

    for (int idle = 0; count < wanted && idle < 50000;) {
        switch (spool_reader_next(reader, &record, &err)) {
        case SPOOL_RECORD:
            if (seed_of(record.head) != count++)
                _exit(2);
            break;
        case SPOOL_END:
            idle++;
            nap();
            break;
        case SPOOL_DAMAGED:
        case SPOOL_FAILED:
            fprintf(stderr, "%s\n", err.text);
            _exit(3);
        }
    }
    _exit(count == wanted ? 0 : 4);
}

static void
expect_success(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Over segment switches and a restart of the writer. */
static void
reader_elsewhere(void)
{
    pid_t child = start_other("follow");

    for (unsigned i = 0; i < 300; i++) {
        if (i % 100 == 99) {
            spool_close(spool);
            spool = open_intake(&small_limits);
        }
        store(spool, loop, i, 20000);
    }
    expect_success(child);
}

struct watching {
    struct loop *loop;
    struct spool_reader *reader;
    size_t count, calls;
};

static void
on_more(void *arg)
{
    struct watching *watching = arg;
    struct spool_record record;
    struct err err = {0};

    watching->calls++;
    while (spool_reader_next(watching->reader, &record, &err) == SPOOL_RECORD)
        watching->count++;
    if (watching->count >= 50)
        loop_stop(watching->loop);
}

static void
watch_child(void)
{
    struct err err = {0};
    struct spool *other = spool_open_reader(test_dir, &err);
    struct watching watching = {
        .loop = loop_new(&err),
        .reader = spool_reader_new(other, SPOOL_INTAKE, 0, &err),
    };
    struct spool_watcher *watcher =
        spool_watch(other, watching.loop, on_more, &watching, &err);

    if (watcher == NULL)
        _exit(2);
    alarm(30);
    loop_run(watching.loop);
    spool_watch_free(watcher);
    _exit(watching.count == 50 ? 0 : 3);
}

static void
watcher_wakes(void)
{
    pid_t child = start_other("watch");

    for (unsigned i = 0; i < 50; i++) {
        store(spool, loop, i, 100);
        if (i % 10 == 0) /* long enough for the reader to fall asleep */
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    expect_success(child);
}

static void
verify_and_dump(void)
{
    struct spool_dump_options options = {.json = true, .content = true};
    struct err err = {0};
    char *text = NULL;
    size_t size = 0;

    store(spool, loop, 1, 10);
    store(spool, loop, 2, 100000);
    for (int live = 1; live >= 0; live--) {
        FILE *out = open_memstream(&text, &size);

        assert_int_equal(spool_verify(test_dir, out, &err), 0);
        assert_true(spool_dump(test_dir, &options, out, &err));
        fclose(out);
        assert_non_null(strstr(text, " segments, 2 records"));
        assert_non_null(strstr(text, "\"queue\":\"Q2\""));
        free(text);
        if (live)
            spool_close(spool);
    }
    spool = open_intake(&small_limits);
    assert_true(spool_verify("/nonexistent", stderr, &err) > 0);
    assert_false(spool_dump("/nonexistent", &options, stderr, &err));
}

static void
close_commits(void)
{
    struct outcome outcome = {0};
    struct found found;

    for (unsigned i = 0; i < 10; i++)
        commit_draft(make_draft(spool, loop, i, i * 20000, &outcome), i);
    spool_close(spool);
    loop_advance(loop, 0);
    assert_int_equal(outcome.done, 10);
    assert_int_equal(outcome.failed, 0);
    spool = open_intake(&small_limits);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, 10);
}

static const struct named {
    const char *name;
    void (*run)(void);
} named[] = {
    {"many threads share syncs", many_threads},
    {"abort before commit", abort_early},
    {"abort during commit", abort_during_commit},
    {"limits of acceptance", limits_of_acceptance},
    {"ids never repeat", ids},
    {"ids of two writers", ids_of_two_writers},
    {"a second writer is refused", one_writer},
    {"64 MiB in bounded memory", large_message_memory},
    {"reading from a sequence number", read_from_sequence},
    {"a reader in another process", reader_elsewhere},
    {"a watcher in another process", watcher_wakes},
    {"verify and dump", verify_and_dump},
    {"close commits", close_commits},
};

static void
check_named(void **state)
{
    const struct named *row = *state;

    make_dir();
    loop = loop_new_manual(1000, 1700000000);
    spool = open_intake(&small_limits);
    row->run();
    spool_close(spool);
    loop_advance(loop, 0); /* what was on its way */
    loop_free(loop);
    remove_dir();
}

/* Without arguments the tests; else ROLE DIRECTORY of start_other(). */
int
main(int argc, char **argv)
{
    if (argc == 3) {
        snprintf(test_dir, sizeof test_dir, "%s", argv[2]);
        if (strcmp(argv[1], "follow") == 0)
            follow(300);
        watch_child();
    }
    return RUN_ROWS("round trip", check_round_trip, round_trips) +
           RUN_ROWS("spool", check_named, named);
}
