/* The SQLite backend. */
#include "store/store.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOOK_OVER_MAX = 8 << 20, /* bytes of a file that is read when opened: more
                              * would keep the caller's thread too long */
    FAILURES_MAX = 5,        /* in a row, until the store counts as lost */
};

struct store {
    sqlite3 *db;
    char *path;            /* owned */
    struct map statements; /* by SQL text: struct store_query, owned */
    struct stat file;      /* as it was when it was opened */
    unsigned failures;     /* of input and output since the last commit */
    bool damaged;
};

struct store_query {
    struct store *store;
    sqlite3_stmt *statement; /* NULL: could not be prepared */
    int result;              /* of the last step */
    char error[256];         /* why there is no statement; else empty */
    bool busy;               /* begun and not ended */
    bool single;             /* its text was busy already: goes when it ends */
};

/* --- Errors --------------------------------------------------------------- */

static int
code_of(int result)
{
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return EBUSY;
    case SQLITE_FULL:
        return ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return EBADMSG;
    case SQLITE_CONSTRAINT:
        return EEXIST;
    default:
        return EIO;
    }
}

static void
note_failure(struct store *store, int result)
{
    int code = code_of(result);

    if (code == EBADMSG)
        store->damaged = true;
    if (code == EIO && store->failures < FAILURES_MAX)
        store->failures++;
}

static void
set_error(struct err *err, struct store *store, int result, const char *text)
{
    note_failure(store, result);
    err_set(err, "database %s: %s", store->path, text);
    if (err != NULL)
        err->code = code_of(result);
}

static bool
execute(struct store *store, const char *sql, struct err *err)
{
    int result = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

    if (result != SQLITE_OK)
        set_error(err, store, result, sqlite3_errmsg(store->db));
    return result == SQLITE_OK;
}

/* --- Opening -------------------------------------------------------------- */

/* SQLite gives the files beside it the rights of this one. */
static bool
make_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd == -1) {
        err_sys(err, "open database %s", path);
        return false;
    }
    close(fd);
    return true;
}

static bool
look_over(struct store *store, struct err *err)
{
    struct store_query *query;
    char verdict[200] = "";

    if (store->file.st_size > LOOK_OVER_MAX)
        return true;
    query = STORE_QUERY(store, "pragma quick_check(1)");
    if (store_next(query))
        (void)!sv_to_cstr(sv_slice(store_text(query, 0), 0, sizeof verdict - 1),
                          verdict, sizeof verdict);
    if (!store_end(query, err))
        return false;
    if (strcmp(verdict, "ok") == 0)
        return true;
    set_error(err, store, SQLITE_CORRUPT, "it is damaged");
    err_wrap(err, "%s", verdict);
    return false;
}

static bool
set_up(struct store *store, const struct store_options *options,
       struct err *err)
{
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, (int)options->busy_ms);
    return execute(store,
                   "pragma journal_mode = wal;"
                   "pragma synchronous = full;"
                   "pragma foreign_keys = on;"
                   "pragma trusted_schema = off;",
                   err) &&
           look_over(store, err);
}

struct store *
store_open(const char *path, const struct store_options *options,
           struct err *err)
{
    struct store *store;
    int result;

    if (!make_file(path, err))
        return NULL;
    store = mem_alloc(sizeof *store);
    store->path = mem_strdup(path);
    result = sqlite3_open_v2(path, &store->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK)
        set_error(err, store, result, sqlite3_errstr(result));
    else if (stat(path, &store->file) == -1)
        err_sys(err, "look at database %s", path);
    else if (set_up(store, options, err))
        return store;
    store_close(store);
    return NULL;
}

/* SQLite goes on with a file that was removed, and nobody sees what it writes.
 */
static bool
is_in_place(const struct store *store)
{
    struct stat st;

    return stat(store->path, &st) == 0 && st.st_dev == store->file.st_dev &&
           st.st_ino == store->file.st_ino;
}

enum store_health
store_health(const struct store *store)
{
    if (!is_in_place(store))
        return STORE_LOST;
    if (store->damaged)
        return STORE_DAMAGED;
    return store->failures < FAILURES_MAX ? STORE_SOUND : STORE_LOST;
}

static void
query_free(struct store_query *query)
{
    sqlite3_finalize(query->statement);
    mem_free(query);
}

void
store_close(struct store *store)
{
    size_t cursor = 0;
    struct sv sql;
    void *query;

    if (store == NULL)
        return;
    while (map_next(&store->statements, &cursor, &sql, &query))
        query_free(query);
    map_fini(&store->statements);
    sqlite3_close(store->db);
    mem_free(store->path);
    mem_free(store);
}

bool
store_set_aside(const char *path, struct err *err)
{
    static const char *const parts[] = {"-wal", "-shm", ""};
    struct buf from = {0}, to = {0};
    bool ok = true;

    /* The file itself last: as long as it is there this can be done again. */
    for (size_t i = 0; ok && i < COUNT_OF(parts); i++) {
        buf_reset(&from);
        buf_reset(&to);
        buf_printf(&from, "%s%s", path, parts[i]);
        buf_printf(&to, "%s.damaged%s", path, parts[i]);
        unlink(buf_cstr(&to));
        ok = rename(buf_cstr(&from), buf_cstr(&to)) == 0 || errno == ENOENT;
        if (!ok)
            err_sys(err, "rename %s", buf_cstr(&from));
    }
    buf_fini(&from);
    buf_fini(&to);
    return ok;
}

/* --- Transactions --------------------------------------------------------- */

/* IMMEDIATE: a lock that cannot be had is found here and not in the middle. */
bool
store_begin(struct store *store, struct err *err)
{
    return execute(store, "begin immediate", err);
}

bool
store_commit(struct store *store, struct err *err)
{
    if (execute(store, "commit", err)) {
        store->failures = 0;
        return true;
    }
    store_rollback(store);
    return false;
}

void
store_rollback(struct store *store)
{
    /* Some errors have rolled back already. */
    if (!sqlite3_get_autocommit(store->db))
        (void)!execute(store, "rollback", NULL);
}

/* --- Statements ----------------------------------------------------------- */

static struct store_query *
query_new(struct store *store, const char *sql)
{
    struct store_query *query = mem_alloc(sizeof *query);

    query->store = store;
    query->result = sqlite3_prepare_v3(
        store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &query->statement, NULL);
    if (query->result != SQLITE_OK)
        snprintf(query->error, sizeof query->error, "%s",
                 sqlite3_errmsg(store->db));
    return query;
}

/* A prepared one that is free; what could not be prepared is not kept. */
static struct store_query *
query_get(struct store *store, const char *sql)
{
    struct store_query *query = map_get(&store->statements, sv_of(sql));
    bool taken = query != NULL;

    if (taken && !query->busy)
        return query;
    query = query_new(store, sql);
    query->single = taken || query->statement == NULL;
    if (!query->single)
        map_put(&store->statements, sv_of(sql), query);
    return query;
}

static int
bind(sqlite3_stmt *statement, int place, const struct store_value *value)
{
    switch (value->type) {
    case STORE_I64_VALUE:
        return sqlite3_bind_int64(statement, place, value->i64);
    case STORE_TEXT_VALUE:
        return sqlite3_bind_text64(
            statement, place, value->text.n == 0 ? "" : value->text.p,
            value->text.n, SQLITE_TRANSIENT, SQLITE_UTF8);
    case STORE_NULL_VALUE:
        break;
    }
    return sqlite3_bind_null(statement, place);
}

struct store_query *
store_query(struct store *store, const struct store_value *values, size_t count)
{
    struct store_query *query = query_get(store, values[0].sql);
    char name[24];

    query->busy = true;
    if (query->statement == NULL)
        return query;
    query->result = SQLITE_OK;
    for (size_t i = 1; i < count && query->result == SQLITE_OK; i++) {
        snprintf(name, sizeof name, "$%zu", i);
        int place = sqlite3_bind_parameter_index(query->statement, name);
        assert(place > 0); /* a value that the statement does not use */
        query->result = bind(query->statement, place, &values[i]);
    }
    return query;
}

bool
store_next(struct store_query *query)
{
    if (query->statement == NULL ||
        (query->result != SQLITE_OK && query->result != SQLITE_ROW))
        return false;
    query->result = sqlite3_step(query->statement);
    return query->result == SQLITE_ROW;
}

int64_t
store_i64(const struct store_query *query, int column)
{
    return sqlite3_column_int64(query->statement, column);
}

struct sv
store_text(const struct store_query *query, int column)
{
    const unsigned char *text = sqlite3_column_text(query->statement, column);

    return (struct sv){(const char *)text,
                       (size_t)sqlite3_column_bytes(query->statement, column)};
}

bool
store_is_null(const struct store_query *query, int column)
{
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

bool
store_end(struct store_query *query, struct err *err)
{
    bool ok = query->result == SQLITE_OK || query->result == SQLITE_ROW ||
              query->result == SQLITE_DONE;

    if (!ok)
        set_error(err, query->store, query->result,
                  query->error[0] != '\0' ? query->error
                                          : sqlite3_errmsg(query->store->db));
    if (query->statement != NULL) {
        sqlite3_reset(query->statement);
        sqlite3_clear_bindings(query->statement);
    }
    query->busy = false;
    if (query->single)
        query_free(query);
    return ok;
}

bool
store_run(struct store *store, struct err *err,
          const struct store_value *values, size_t count)
{
    struct store_query *query = store_query(store, values, count);

    while (store_next(query))
        ;
    return store_end(query, err);
}

int64_t
store_changes(const struct store *store)
{
    return sqlite3_changes64(store->db);
}

/* --- Schema --------------------------------------------------------------- */

static bool
read_version(struct store *store, const char *name, size_t *version,
             struct err *err)
{
    struct store_query *query;

    if (!execute(store,
                 "create table if not exists schema_version ("
                 " name text primary key, version integer not null)",
                 err))
        return false;
    query =
        STORE_QUERY(store, "select version from schema_version where name = $1",
                    STORE_TEXT(name));
    *version = store_next(query) ? (size_t)store_i64(query, 0) : 0;
    return store_end(query, err);
}

static bool
step_up(struct store *store, const struct store_schema *schema, size_t step,
        struct err *err)
{
    if (!store_begin(store, err))
        return false;
    if (execute(store, schema->steps[step], err) &&
        STORE_RUN(store, err,
                  "insert into schema_version (name, version) values ($1, $2) "
                  "on conflict (name) do update set version = $2",
                  STORE_TEXT(schema->name), STORE_I64(step + 1)))
        return store_commit(store, err);
    store_rollback(store);
    err_wrap(err, "schema %s, step %zu", schema->name, step + 1);
    return false;
}

bool
store_migrate(struct store *store, const struct store_schema *schema,
              struct err *err)
{
    size_t version;

    if (!read_version(store, schema->name, &version, err))
        return false;
    if (version > schema->step_count) {
        err_set(err,
                "database %s: schema %s has version %zu, this program knows "
                "%zu",
                store->path, schema->name, version, schema->step_count);
        return false;
    }
    for (; version < schema->step_count; version++)
        if (!step_up(store, schema, version, err))
            return false;
    return true;
}
