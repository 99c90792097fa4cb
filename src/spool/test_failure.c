/* A disk that refuses: what was acknowledged stays, what failed is reported,
 * and the spool gets on by itself when the disk does. */
#include "crash/faultfs.h"
#include "spool/ledger.h"
#include "spool/test_support.h"

static struct loop *loop;
static struct spool *spool;

static bool
accepts(void)
{
    const char *reason;

    return spool_accepts(spool, 100, &reason);
}

static void
wait_accepting(bool wanted)
{
    for (int i = 0; i < 100000 && accepts() != wanted; i++)
        nap();
    assert_int_equal(accepts(), wanted);
}

static bool
try_store(unsigned seed, uint64_t length)
{
    struct outcome outcome = {0};

    commit_draft(make_draft(spool, loop, seed, length, &outcome), seed);
    wait_until(loop, &outcome.done, 1);
    if (outcome.failed > 0)
        assert_int_not_equal(strlen(outcome.reason), 0);
    return outcome.failed == 0;
}

/* --- Intake ------------------------------------------------------------- */

static const struct row {
    const char *name, *rules;
    uint64_t length;
    bool stored;  /* the message of the faulty time */
    bool failing; /* the spool refuses as long as the fault lasts */
} rows[] = {
    {"write fails", "write:EIO:path=.seg", 300, false, false},
    {"write and everything fails", "any:EIO", 300, false, true},
    {"write finds no room", "any:ENOSPC:path=intake", 300, false, true},
    {"sync fails once", "sync:EIO:path=.seg:count=1", 300, false, false},
    {"sync fails for ever", "sync:EIO", 300, false, true},
    {"sync fails, and the directory", "sync:EIO:path=intake", 300, false, true},
    {"sync fails, then no new segment", "sync:EIO;create:ENOSPC;rename:EIO",
     300, false, true},
    {"writes come short", "write:short", 9000, true, false},
    {"body cannot be created", "create:ENOSPC:path=body", 300000, false, false},
    {"body cannot be written", "write:ENOSPC:path=body", 300000, false, false},
    {"body cannot be synced", "sync:EIO:path=body/tmp", 300000, false, false},
    {"body cannot be renamed", "rename:EIO:path=body", 300000, false, false},
    {"body directory cannot be synced", "sync:EIO:path=body", 300000, false,
     false},
};

static void
check(void **state)
{
    const struct row *row = *state;
    struct found found;
    struct err err = {0};

    assert_true(try_store(1, 1000));
    assert_true(try_store(2, 200000));
    faultfs_set(row->rules);
    assert_int_equal(try_store(3, row->length), row->stored);
    assert_true(faultfs_hits() > 0);
    if (row->failing) {
        wait_accepting(false);
        assert_false(try_store(4, 100));
    }
    faultfs_set(NULL);
    wait_accepting(true);
    assert_true(try_store(5, 400));
    for (int restart = 0; restart < 2; restart++) {
        read_all(spool, SPOOL_INTAKE, 0, &found);
        assert_int_equal(found.damaged, 0);
        assert_int_equal(found.records, row->stored ? 4 : 3);
        assert_int_equal(found.seeds[found.records - 1], 5);
        for (size_t i = 0; i < found.records; i++)
            assert_int_equal(
                check_content(spool, loop, found.places[i], found.seeds[i]), 0);
        spool_close(spool);
        assert_int_equal(spool_verify(test_dir, stderr, &err), 0);
        spool = open_intake(&small_limits);
    }
}

/* Every system call of the spool fails in turn, once. */
static const struct row turns[] = {
    {"each write fails in turn", "write:EIO", 300000, false, false},
    {"each sync fails in turn", "sync:EIO", 300000, false, false},
    {"each rename fails in turn", "rename:EIO", 300000, false, false},
    {"each creation fails in turn", "create:EIO", 300000, false, false},
    {"each allocation fails in turn", "allocate:ENOSPC", 300000, false, false},
};

static void
check_turns(void **state)
{
    const struct row *row = *state;
    unsigned stored[256];
    struct found found;
    size_t count = 0;
    size_t at = 0;

    for (unsigned turn = 0; turn < 24; turn++) {
        char rules[64];

        snprintf(rules, sizeof rules, "%s:after=%u:count=1", row->rules, turn);
        faultfs_set(rules);
        for (unsigned i = 0; i < 4; i++) {
            unsigned seed = turn * 4 + i;

            if (try_store(seed, i % 2 ? row->length : 200000 / (i + 1)))
                stored[count++] = seed;
        }
        faultfs_set(NULL);
        wait_accepting(true);
    }
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.damaged, 0);
    assert_true(count > 24);
    for (size_t i = 0; i < count; i++) {
        while (at < found.records && found.seeds[at] != stored[i])
            at++;
        assert_true(at < found.records); /* nothing acknowledged is missing */
    }
    assert_int_equal(found.records, count); /* and nothing refused is there */
}

/* --- Ledger ------------------------------------------------------------- */

static size_t durable, refused;

static void
on_durable(void *arg, struct spool_place place, const struct err *error)
{
    (void)arg;
    (void)place;
    __atomic_add_fetch(error == NULL ? &durable : &refused, 1,
                       __ATOMIC_SEQ_CST);
}

static size_t
durable_now(void)
{
    return __atomic_load_n(&durable, __ATOMIC_SEQ_CST);
}

static void
append(spool_message_id id)
{
    struct ledger_action action = {id, ACTION_HOLD, SV("test")};
    struct buf payload = {0};

    ledger_action_encode(&action, &payload);
    spool_ledger_append(spool, SPOOL_ACTION, buf_view(&payload), on_durable,
                        NULL);
    buf_fini(&payload);
}

/* The ledger holds what it could not write and keeps the order. */
static void
ledger_holds(void **state)
{
    struct err err = {0};
    struct spool_record record;
    struct spool_reader *reader;
    uint64_t expected = 1;

    (void)state;
    spool_close(spool);
    spool = spool_open_ledger(test_dir, &small_limits, &err);
    assert_non_null(spool);
    durable = refused = 0;
    for (unsigned i = 1; i <= 300; i++) {
        append(i);
        if (i == 100) {
            assert_true(spool_ledger_sync(spool, &err));
            faultfs_set("sync:EIO");
        }
        if (i == 200) {
            assert_false(spool_ledger_sync(spool, &err));
            assert_true(durable_now() <= 100);
            faultfs_set(NULL);
        }
    }
    for (int i = 0; i < 100000 && durable_now() < 300; i++)
        nap();
    assert_int_equal(durable_now(), 300);
    assert_int_equal(refused, 0);
    assert_true(spool_ledger_sync(spool, &err));
    reader = spool_reader_new(spool, SPOOL_LEDGER, 0, &err);
    while (spool_reader_next(reader, &record, &err) == SPOOL_RECORD) {
        struct ledger_action action;

        assert_true(ledger_action_decode(record.head, &action, &err));
        assert_int_equal(action.id, expected++);
    }
    assert_int_equal(expected, 301);
    spool_reader_free(reader);
}

static int
set_up(void **state)
{
    (void)state;
    faultfs_set(NULL);
    make_dir();
    loop = loop_new_manual(1000, 1700000000);
    spool = open_intake(&small_limits);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    faultfs_set(NULL);
    spool_close(spool);
    loop_advance(loop, 0); /* what was on its way */
    loop_free(loop);
    remove_dir();
    return 0;
}

static void
with_spool(void **state, void (*run)(void **state))
{
    set_up(state);
    run(state);
    tear_down(state);
}

static void
check_row(void **state)
{
    with_spool(state, check);
}

static void
check_turn(void **state)
{
    with_spool(state, check_turns);
}

int
main(void)
{
    const struct CMUnitTest ledger[] = {
        cmocka_unit_test_setup_teardown(ledger_holds, set_up, tear_down),
    };

    return RUN_ROWS("spool failure", check_row, rows) +
           RUN_ROWS("spool failure in turn", check_turn, turns) +
           cmocka_run_group_tests(ledger, NULL, NULL);
}
