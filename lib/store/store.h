/* store/store.h - a small relational database behind one face.
 *
 * The backend is SQLite in one file; the calls and the SQL are such that a
 * database on the network can take its place: parameters are written $1, $2 …,
 * conflicts as "on conflict … do …", and nothing relies on a dialect's types.
 * A committed transaction survives a crash of the machine (WAL, synchronous
 * FULL).
 *
 *   struct store_query *q = STORE_QUERY(
 *       store, "select domain, sessions from counts where day = $1",
 *       STORE_I64(day));
 *   while (store_next(q))
 *       note(store_text(q, 0), store_i64(q, 1));
 *   ok = store_end(q, err);
 *
 * A store belongs to one thread at a time.  Statements are prepared once and
 * kept.  Errors carry a code: EBUSY (somebody else holds the lock), ENOSPC,
 * EBADMSG (damaged), EEXIST (a constraint), EIO for anything else. */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include "base/err.h"
#include "base/sv.h"

struct store;

struct store_options {
    uint64_t busy_ms; /* how long a lock held by another is waited for */
};
/* Opens or makes the file (mode 0600) and, if it is small enough to be read at
 * once, looks it over: a damaged one is an error with code EBADMSG and is left
 * as it is.  Damage in a larger one is found when it is met. */
MUST_USE struct store *store_open(const char *path,
                                  const struct store_options *options,
                                  struct err *err);
void store_close(struct store *store); /* NULL is fine */
/* How it has been since it was opened; asks the file system, not the database.
 * What is not sound must be closed and opened anew, a damaged one after
 * store_set_aside(). */
enum store_health {
    STORE_SOUND,
    STORE_DAMAGED, /* a call ended with EBADMSG */
    STORE_LOST     /* the file was removed or replaced, or several calls in a
                    * row ended with EIO */
};
enum store_health store_health(const struct store *store);
/* Renames a damaged database (and what belongs to it) to PATH.damaged, in place
 * of an older one, so that a new one can be begun. */
MUST_USE bool store_set_aside(const char *path, struct err *err);

/* --- Schema --------------------------------------------------------------- */

/* Steps[i] leads from version i to i + 1 and is never changed once released.
 * Each runs in a transaction with its number.  A schema that is newer than the
 * program is an error. */
struct store_schema {
    const char *name; /* of the part that owns the tables */
    const char *const *steps;
    size_t step_count;
};
MUST_USE bool store_migrate(struct store *store,
                            const struct store_schema *schema, struct err *err);

/* --- Transactions --------------------------------------------------------- */

MUST_USE bool store_begin(struct store *store, struct err *err);
/* A failure rolls back. */
MUST_USE bool store_commit(struct store *store, struct err *err);
void store_rollback(struct store *store);

/* --- Statements ----------------------------------------------------------- */

struct store_value {
    enum { STORE_NULL_VALUE, STORE_I64_VALUE, STORE_TEXT_VALUE } type;
    int64_t i64;
    struct sv text;  /* borrowed during the call that takes it */
    const char *sql; /* of the first of a list; last member, so that what
                      * follows it in STORE_VALUES() is the next element */
};
#define STORE_I64(v)                                                           \
    ((struct store_value){.type = STORE_I64_VALUE, .i64 = (int64_t)(v)})
#define STORE_SV(v)                                                            \
    ((struct store_value){.type = STORE_TEXT_VALUE, .text = (v)})
#define STORE_TEXT(v) STORE_SV(sv_of(v))
#define STORE_NULL ((struct store_value){.type = STORE_NULL_VALUE})

/* A statement and its values: "…", STORE_I64(1), STORE_TEXT("a") */
#define STORE_VALUES(...)                                                      \
    (const struct store_value[]){[0].sql = __VA_ARGS__},                       \
        sizeof((const struct store_value[]){[0].sql = __VA_ARGS__}) /          \
            sizeof(struct store_value)

struct store_query;
/* Starts a statement; never NULL: what fails is told by store_end(), and
 * store_next() is false then.  values[0] is the statement, $1 is values[1]. Its
 * text is the key of the prepared statement, so it should be constant. */
struct store_query *store_query(struct store *store,
                                const struct store_value *values, size_t count);
#define STORE_QUERY(store, ...) store_query((store), STORE_VALUES(__VA_ARGS__))
bool store_next(struct store_query *query); /* there is a row */
/* Columns of the row, from 0; texts until the next call on the query. NULL is
 * 0 and empty. */
int64_t store_i64(const struct store_query *query, int column);
struct sv store_text(const struct store_query *query, int column);
bool store_is_null(const struct store_query *query, int column);
/* Ends the statement, whether or not all rows were read. */
MUST_USE bool store_end(struct store_query *query, struct err *err);

/* A statement of which no rows are wanted. */
MUST_USE bool store_run(struct store *store, struct err *err,
                        const struct store_value *values, size_t count);
#define STORE_RUN(store, err, ...)                                             \
    store_run((store), (err), STORE_VALUES(__VA_ARGS__))
int64_t store_changes(const struct store *store); /* rows, of the last run */
#endif
