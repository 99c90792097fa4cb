/* The database: what is committed stays, what fails is told with its reason. */
#include "store/store.h"

#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct store_options patient = {.busy_ms = 2000};
static const struct store_options hasty = {.busy_ms = 0};
static const char *const steps[] = {
    "create table pets (name text primary key, legs integer);",
    "alter table pets add column owner text not null default 'nobody';",
};
static const struct store_schema first = {"pets", steps, 1};
static const struct store_schema second = {"pets", steps, 2};

static char dir[64], path[96];

static int
make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a.db", dir);
    return 0;
}

static int
remove_dir(void **state)
{
    static const char *const ends[] = {
        "", "-wal", "-shm", ".damaged", ".damaged-wal", ".damaged-shm"};
    char name[128];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
    return rmdir(dir);
}

static struct store *
open_pets(void)
{
    struct err err = {0};
    struct store *store = store_open(path, &patient, &err);

    assert_non_null(store);
    assert_true(store_migrate(store, &first, &err));
    return store;
}

static void
add(struct store *store, const char *name, int64_t legs)
{
    struct err err = {0};

    assert_true(STORE_RUN(store, &err,
                          "insert into pets (name, legs) values ($1, $2)",
                          STORE_TEXT(name), STORE_I64(legs)));
    assert_int_equal(store_changes(store), 1);
}

static int64_t
count(struct store *store)
{
    struct store_query *query = STORE_QUERY(store, "select count(*) from pets");
    int64_t n;

    assert_true(store_next(query));
    n = store_i64(query, 0);
    assert_true(store_end(query, NULL));
    return n;
}

static void
values_come_back(void **state)
{
    struct store *store = open_pets();
    struct store_query *query;
    struct err err = {0};

    (void)state;
    add(store, "cat", 4);
    assert_true(STORE_RUN(store, &err,
                          "insert into pets (legs, name) values ($2, $1)",
                          STORE_SV(SV("a\0b")), STORE_NULL));
    query = STORE_QUERY(store, "select name, legs from pets order by name");
    assert_true(store_next(query));
    assert_int_equal(store_text(query, 0).n, 3);
    assert_true(store_is_null(query, 1));
    assert_int_equal(store_i64(query, 1), 0);
    assert_true(store_next(query));
    assert_sv(store_text(query, 0), "cat");
    assert_int_equal(store_i64(query, 1), 4);
    assert_false(store_next(query));
    assert_false(store_next(query));
    assert_true(store_end(query, &err));
    store_close(store);
}

static void
one_text_twice_at_a_time(void **state)
{
    static const char sql[] = "select name from pets order by name";
    struct store *store = open_pets();
    struct store_query *outer, *inner;

    (void)state;
    add(store, "a", 1);
    add(store, "b", 2);
    outer = STORE_QUERY(store, sql);
    assert_true(store_next(outer));
    inner = STORE_QUERY(store, sql);
    assert_true(store_next(inner) && store_next(inner));
    assert_sv(store_text(inner, 0), "b");
    assert_sv(store_text(outer, 0), "a");
    assert_true(store_end(inner, NULL));
    assert_true(store_next(outer));
    assert_true(store_end(outer, NULL));
    store_close(store);
}

static void
errors_have_codes(void **state)
{
    struct store *store = open_pets();
    struct err err = {0};

    (void)state;
    add(store, "cat", 4);
    assert_false(STORE_RUN(store, &err, "insert into pets (name) values ($1)",
                           STORE_TEXT("cat")));
    assert_int_equal(err.code, EEXIST);
    assert_non_null(strstr(err.text, path));
    assert_false(STORE_RUN(store, &err, "select * from nowhere"));
    assert_non_null(strstr(err.text, "nowhere"));
    store_close(store);
}

static void
rollback_leaves_nothing(void **state)
{
    struct store *store = open_pets();

    (void)state;
    assert_true(store_begin(store, NULL));
    add(store, "cat", 4);
    store_rollback(store);
    assert_int_equal(count(store), 0);
    assert_true(store_begin(store, NULL));
    add(store, "dog", 4);
    assert_true(store_commit(store, NULL));
    store_rollback(store); /* of nothing */
    assert_int_equal(count(store), 1);
    store_close(store);
}

static void
a_lock_is_told(void **state)
{
    struct store *one = open_pets();
    struct err err = {0};
    struct store *two = store_open(path, &hasty, &err);

    (void)state;
    assert_non_null(two);
    assert_true(store_begin(one, &err));
    assert_false(store_begin(two, &err));
    assert_int_equal(err.code, EBUSY);
    assert_true(store_commit(one, &err));
    assert_true(store_begin(two, &err));
    store_rollback(two);
    store_close(one);
    store_close(two);
}

/* A child commits one row, writes another without committing, and is gone. */
static void
a_killed_writer(void **state)
{
    struct store *store;
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        store = open_pets();
        add(store, "cat", 4);
        if (!store_begin(store, NULL))
            _exit(1);
        add(store, "dog", 4);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store = open_pets();
    assert_int_equal(count(store), 1);
    store_close(store);
}

static void
schema_grows(void **state)
{
    struct store *store = open_pets();
    struct store_query *query;
    struct err err = {0};

    (void)state;
    add(store, "cat", 4);
    assert_true(store_migrate(store, &second, &err));
    assert_true(store_migrate(store, &second, &err));
    query = STORE_QUERY(store, "select owner from pets");
    assert_true(store_next(query));
    assert_sv(store_text(query, 0), "nobody");
    assert_true(store_end(query, NULL));
    assert_false(store_migrate(store, &first, &err));
    assert_non_null(strstr(err.text, "version 2, this program knows 1"));
    store_close(store);
}

static void
a_failed_step_is_not_half_done(void **state)
{
    static const char *const bad[] = {
        "create table pets (name text);",
        "create table more (x text); insert into nowhere values (1);",
    };
    static const struct store_schema schema = {"bad", bad, 2};
    struct err err = {0};
    struct store *store = store_open(path, &patient, &err);

    (void)state;
    assert_false(store_migrate(store, &schema, &err));
    assert_non_null(strstr(err.text, "schema bad, step 2"));
    assert_false(STORE_RUN(store, &err, "select * from more"));
    assert_int_equal(count(store), 0);
    store_close(store);
}

static void
only_we_can_read_it(void **state)
{
    struct store *store = open_pets();
    char wal[128];
    struct stat st;

    (void)state;
    add(store, "cat", 4);
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    store_close(store);
}

static void
scribble(const char *text, off_t at)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
    close(fd);
}

static void
damage_is_found(void **state)
{
    struct err err = {0};
    struct store *store = open_pets();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char name[16];

        snprintf(name, sizeof name, "pet %d", i);
        add(store, name, i);
    }
    store_close(store);
    scribble("this is not what stood here before", 4096 * 3);
    assert_null(store_open(path, &patient, &err));
    assert_int_equal(err.code, EBADMSG);
    assert_non_null(strstr(err.text, path));
}

/* Too much to be read when it is opened: found when it is met. */
static void
damage_of_a_large_file_is_met(void **state)
{
    char page[4000];
    struct err err = {0};
    struct store *store = open_pets();
    struct stat st;

    (void)state;
    memset(page, 'x', sizeof page);
    assert_true(store_begin(store, &err));
    for (int i = 0; i < 1300; i++) {
        memcpy(page, &i, sizeof i);
        assert_true(STORE_RUN(
            store, &err, "insert into pets (name, legs) values ($1, $2)",
            STORE_SV(((struct sv){page, sizeof page})), STORE_I64(i)));
    }
    assert_true(store_commit(store, &err));
    store_close(store);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 8 << 20);
    for (off_t at = 8192; at < st.st_size; at += 4096)
        scribble("this is not what stood here before", at);
    store = store_open(path, &patient, &err);
    assert_non_null(store);
    assert_int_equal(store_health(store), STORE_SOUND);
    assert_false(STORE_RUN(store, &err, "select sum(legs) from pets"));
    assert_int_equal(err.code, EBADMSG);
    assert_int_equal(store_health(store), STORE_DAMAGED);
    store_close(store);
}

static void
a_file_that_went_is_lost(void **state)
{
    struct store *store = open_pets();

    (void)state;
    assert_int_equal(store_health(store), STORE_SOUND);
    unlink(path);
    assert_int_equal(store_health(store), STORE_LOST);
    scribble("", 0); /* another one in its place */
    assert_int_equal(store_health(store), STORE_LOST);
    store_close(store);
}

static void
another_file_is_refused_and_set_aside(void **state)
{
    struct err err = {0};
    struct store *store;

    (void)state;
    scribble("Dear diary, this is certainly no database. Dear diary, this is "
             "certainly no database. Dear diary, not at all I should say.",
             0);
    assert_null(store_open(path, &patient, &err));
    assert_int_equal(err.code, EBADMSG);
    assert_true(store_set_aside(path, &err));
    store = open_pets();
    add(store, "cat", 4);
    store_close(store);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(values_come_back),
        TEST(one_text_twice_at_a_time),
        TEST(errors_have_codes),
        TEST(rollback_leaves_nothing),
        TEST(a_lock_is_told),
        TEST(a_killed_writer),
        TEST(schema_grows),
        TEST(a_failed_step_is_not_half_done),
        TEST(only_we_can_read_it),
        TEST(damage_is_found),
        TEST(damage_of_a_large_file_is_met),
        TEST(a_file_that_went_is_lost),
        TEST(another_file_is_refused_and_set_aside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
