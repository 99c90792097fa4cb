/* tests/crash/spool_kill.c - a writer of the spool is killed again and again;
 * whatever it was told to be durable must be there afterwards, whole.
 *
 * The child reports every message whose commit succeeded through a pipe.  It
 * dies by SIGKILL at a random moment, or by faultfs right before a chosen
 * system call. */
#include "crash/faultfs.h"
#include "spool/test_support.h"
#include <signal.h>
#include <sys/wait.h>

enum { ROUNDS = 16, MESSAGES = 48, IN_FLIGHT = 8 };

static const struct row {
    const char *name;
    const char *rules; /* with the number of calls to let pass; NULL: a time */
    unsigned step;     /* calls between two rounds */
} rows[] = {
    {"killed at random times", NULL, 0},
    {"killed before a write", "write:kill:path=spool/:after=%u", 3},
    {"killed before a sync", "sync:kill:path=spool/:after=%u", 3},
    {"killed before a rename", "rename:kill:after=%u", 1},
    {"killed before a creation", "create:kill:after=%u", 1},
    {"killed after a short write",
     "write:short:path=.seg;sync:kill:path=.seg:after=%u", 2},
};

static struct loop *loop;
static bool durable[ROUNDS * MESSAGES];

static uint64_t
length_of(unsigned seed)
{
    return seed % 6 == 5 ? 70000 + seed : 37 * seed % 9000;
}

/* --- The child ---------------------------------------------------------- */

struct sending {
    int pipe;
    unsigned seed;
    size_t *open;
};

static void
report(void *owner, const struct err *error)
{
    struct sending *sending = owner;

    if (error == NULL &&
        write(sending->pipe, &sending->seed, sizeof sending->seed) == -1)
        _exit(1);
    --*sending->open;
}

static void
ignore_room(void *owner)
{
    (void)owner;
}

static void
begin_message(struct spool *spool, struct sending *sending)
{
    static const struct spool_draft_owner calls = {ignore_room, report};
    struct spool_draft *draft = spool_draft_new(spool, loop, &calls, sending);
    uint64_t length = length_of(sending->seed);
    char *bytes = mem_alloc_raw(length);

    for (uint64_t i = 0; i < length; i++)
        bytes[i] = pattern(sending->seed, i);
    (void)spool_draft_write(draft, (struct sv){bytes, length});
    mem_free(bytes);
    commit_draft(draft, sending->seed);
}

static void
send_messages(unsigned first, int pipe)
{
    static struct sending sendings[MESSAGES];
    struct err err = {0};
    struct spool *spool = spool_open_intake(test_dir, &small_limits, &err);
    size_t open = 0;

    if (spool == NULL)
        _exit(1);
    for (unsigned i = 0; i < MESSAGES; i++) {
        sendings[i] = (struct sending){pipe, first + i, &open};
        open++;
        begin_message(spool, &sendings[i]);
        while (open >= IN_FLIGHT) {
            loop_advance(loop, 0);
            nap();
        }
    }
    for (int i = 0; i < 1000 && open > 0; i++) {
        loop_advance(loop, 0);
        nap();
    }
    _exit(0);
}

static void
run_child(const struct row *row, unsigned round, int pipe)
{
    char rules[128] = "";

    if (row->rules != NULL) {
        struct sv before = sv_of(row->rules);
        struct sv head = sv_take_until(&before, '%');

        snprintf(rules, sizeof rules, "%.*s%u", SV_ARG(head),
                 round * row->step);
        faultfs_set(rules);
    }
    log_capture(NULL, NULL);
    send_messages(round * MESSAGES, pipe);
}

/* --- The parent --------------------------------------------------------- */

static void
collect(int pipe)
{
    unsigned seed;

    while (read(pipe, &seed, sizeof seed) == (ssize_t)sizeof seed) {
        assert_true(seed < COUNT_OF(durable));
        durable[seed] = true;
    }
}

static void
one_round(const struct row *row, unsigned round)
{
    int ends[2];
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        close(ends[0]);
        run_child(row, round, ends[1]);
    }
    close(ends[1]);
    if (row->rules == NULL) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000 * (long)(round + 1)},
                  NULL);
        kill(child, SIGKILL);
    }
    collect(ends[0]);
    close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static struct found found;

static void
check_all(void)
{
    struct spool *spool = open_intake(&small_limits);
    struct err err = {0};
    size_t at = 0;

    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.damaged, 0);
    for (unsigned seed = 0; seed < COUNT_OF(durable); seed++) {
        bool seen = false;

        for (at = 0; at < found.records && !seen; at++)
            seen = found.seeds[at] == seed;
        assert_true(seen || !durable[seed]);
    }
    for (at = 0; at < found.records; at++)
        assert_int_equal(
            check_content(spool, loop, found.places[at], found.seeds[at]), 0);
    spool_close(spool);
    FILE *null = fopen("/dev/null", "w");
    assert_int_equal(spool_verify(test_dir, null, &err), 0);
    fclose(null);
}

static void
check(void **state)
{
    const struct row *row = *state;
    size_t count = 0;

    make_dir();
    memset(durable, 0, sizeof durable);
    loop = loop_new_manual(1000, 1700000000);
    for (unsigned round = 0; round < ROUNDS; round++) {
        one_round(row, round);
        check_all();
    }
    for (size_t i = 0; i < COUNT_OF(durable); i++)
        count += durable[i];
    print_message("%zu of %zu messages were acknowledged\n", count,
                  COUNT_OF(durable));
    assert_true(count > 0);
    loop_free(loop);
    remove_dir();
}

int
main(void)
{
    return RUN_ROWS("spool kill", check, rows);
}
