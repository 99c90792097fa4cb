/* The tail of the ledger under a killer: a child counts while this process
 * writes sessions and kills the child again and again.  In the end every
 * session is counted once. */
#include "record/counts.h"
#include "record/database.h"
#include "record/tail.h"
#include "spool/spool.h"
#include "unit.h"
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLS = 15, PER_ROUND = 300, DOMAINS = 7 };

static char dir[64];
static const char *program;

/* --- The child: counts until it is killed --------------------------------- */

struct counter {
    struct store *store;
    struct loop *loop;
    uint64_t wanted; /* stop when the position is beyond; 0: never */
};

static bool
on_session(void *owner, const struct ledger_session *session, struct err *err)
{
    return counts_add(((struct counter *)owner)->store, session, err);
}

static void
on_committed(void *owner, bool caught_up)
{
    struct counter *counter = owner;
    uint64_t next;
    struct err err = {0};

    if (caught_up && counter->wanted != 0 &&
        database_position(counter->store, &next, &err) &&
        next > counter->wanted)
        loop_stop(counter->loop);
}

static bool
on_other_ledger(void *owner, struct err *err)
{
    return database_begin_again(((struct counter *)owner)->store, 0, err);
}

static void
on_trouble(void *owner, const char *reason)
{
    (void)owner;
    if (reason != NULL)
        fprintf(stderr, "trouble: %s\n", reason);
}

static int
count_sessions(const char *state_dir, uint64_t wanted)
{
    struct err err = {0};
    bool damaged;
    struct counter counter = {
        .store = database_open(state_dir, 0, &damaged, &err),
        .loop = loop_new(&err),
        .wanted = wanted,
    };
    const struct tail_calls calls = {on_session, on_committed, on_other_ledger,
                                     on_trouble, &counter};
    struct tail *tail;

    if (counter.store == NULL || counter.loop == NULL || damaged) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    tail = tail_new(counter.loop, state_dir, counter.store, &calls);
    loop_run(counter.loop);
    tail_free(tail);
    store_close(counter.store);
    loop_free(counter.loop);
    return 0;
}

/* --- The parent ----------------------------------------------------------- */

static pid_t
start_child(const char *wanted)
{
    char name[] = "count", number[32];
    char *argv[] = {(char *)(uintptr_t)program, name, dir, number, NULL};
    pid_t pid;

    snprintf(number, sizeof number, "%s", wanted);
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    return pid;
}

static void
append_sessions(struct spool *spool, int *made)
{
    struct err err = {0};

    for (int i = 0; i < PER_ROUND; i++, (*made)++) {
        char domain[32];
        struct buf payload = {0};
        struct ledger_session session = {
            .ended_us = 1700000000000000,
            .result = *made % 3 == 0 ? TLS_RESULT_EXPIRED : TLS_RESULT_OK,
        };

        snprintf(domain, sizeof domain, "d%d.example", *made % DOMAINS);
        session.domain = sv_of(domain);
        ledger_session_encode(&session, &payload);
        spool_ledger_append(spool, SPOOL_SESSION, buf_view(&payload), NULL,
                            NULL);
        buf_fini(&payload);
        if (i % 50 == 0)
            assert_true(spool_ledger_sync(spool, &err));
    }
    assert_true(spool_ledger_sync(spool, &err));
}

static void
kill_child(pid_t pid, int round)
{
    int status;
    struct timespec while_it_works = {.tv_nsec =
                                          (17 + round * 37 % 290) * 1000000L};

    nanosleep(&while_it_works, NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static int
remove_entry(const char *path, const struct stat *st, int type,
             struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static int64_t
sum(struct store *store, const char *sql)
{
    struct store_query *query =
        store_query(store, (const struct store_value[]){{.sql = sql}}, 1);
    int64_t n = store_next(query) ? store_i64(query, 0) : -1;

    assert_true(store_end(query, NULL));
    return n;
}

static void
check_sums(int made)
{
    struct err err = {0};
    bool damaged;
    struct store *store = database_open(dir, 0, &damaged, &err);

    assert_non_null(store);
    assert_false(damaged);
    assert_int_equal(sum(store, "select sum(succeeded + failed)"
                                " from tls_policies"),
                     made);
    assert_int_equal(sum(store, "select sum(sessions) from tls_failures"),
                     (made + 2) / 3);
    assert_int_equal(sum(store, "select count(*) from tls_policies"), DOMAINS);
    store_close(store);
}

static const struct spool_settings limits = {
    .segment_size = 1 << 20,
    .inline_limit = 64 << 10,
    .memory_limit = 64 << 20,
    .spare_segments = 1,
};

/* The database is of another spool, whose numbers were higher. */
static void
another_ledger_is_read_from_its_start(void **state)
{
    struct err err = {0};
    struct spool_status status;
    struct spool *spool;
    struct store *store;
    bool damaged;
    int made = 0;

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-tail-XXXXXX");
    assert_non_null(mkdtemp(dir));
    store = database_open(dir, 0, &damaged, &err);
    assert_non_null(store);
    assert_true(database_set_position(store, 1000000000, &err));
    store_close(store);
    spool = spool_open_ledger(dir, &limits, &err);
    assert_non_null(spool);
    append_sessions(spool, &made);
    spool_status_get(spool, &status);
    assert_int_equal(count_sessions(dir, status.ledger_durable - 1), 0);
    check_sums(made);
    spool_close(spool);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void
every_session_once(void **state)
{
    struct err err = {0};
    struct spool_status status;
    struct spool *spool;
    char wanted[32];
    int made = 0, ended;
    pid_t pid;

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-tail-XXXXXX");
    assert_non_null(mkdtemp(dir));
    spool = spool_open_ledger(dir, &limits, &err);
    assert_non_null(spool);
    for (int round = 0; round < KILLS; round++) {
        pid = start_child("0");
        append_sessions(spool, &made);
        kill_child(pid, round);
    }
    spool_status_get(spool, &status);
    snprintf(wanted, sizeof wanted, "%" PRIu64, status.ledger_durable);
    pid = start_child(wanted);
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    assert_int_equal(ended, 0);
    check_sums(made);
    spool_close(spool);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_ledger_is_read_from_its_start),
        cmocka_unit_test(every_session_once),
    };
    uint64_t wanted;

    program = argv[0];
    if (argc == 4 && sv_to_u64(sv_of(argv[3]), &wanted))
        return count_sessions(argv[2], wanted);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
