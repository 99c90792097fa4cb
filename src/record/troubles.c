#include "record/troubles.h"

#include "record/counts.h"

enum { REASON_BYTES = 200, NAME_BYTES = 255, KINDS_MAX = 40 };

bool
troubles_concern(const struct ledger_session *session)
{
    return session->policy != LEDGER_POLICY_NONE &&
           session->result != TLS_RESULT_OK;
}

static bool
count_kinds(struct store *store, struct sv domain, int64_t *kinds,
            struct err *err)
{
    struct store_query *query = STORE_QUERY(
        store, "select count(*) from tls_troubles where domain = $1",
        STORE_SV(domain));

    *kinds = store_next(query) ? store_i64(query, 0) : 0;
    return store_end(query, err);
}

bool
troubles_add(struct store *store, const struct ledger_session *session,
             struct err *err)
{
    struct sv reason = sv_slice(session->reason, 0, REASON_BYTES);
    struct sv host = sv_slice(session->host, 0, NAME_BYTES);
    int64_t kinds;

    if (!count_kinds(store, session->domain, &kinds, err))
        return false;
    if (kinds >= KINDS_MAX)
        reason = host = (struct sv){0};
    return STORE_RUN(
        store, err,
        "insert into tls_troubles (domain, type, result, stage, host, reason,"
        " enforced, sessions, first_at, last_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8)"
        " on conflict (domain, type, result, stage, host, reason, enforced)"
        " do update set sessions = tls_troubles.sessions + 1, last_at = $8",
        STORE_SV(session->domain),
        STORE_TEXT(counts_policy_name(session->policy)),
        STORE_TEXT(ledger_tls_result_name(session->result)),
        STORE_TEXT(tls_stage_name(session->stage)), STORE_SV(host),
        STORE_SV(reason), STORE_I64(session->enforced),
        STORE_I64(session->ended_us / 1000000));
}

size_t
troubles_domains(struct store *store, int64_t told_before, struct arena *arena,
                 const char **domains, size_t room)
{
    struct store_query *query =
        STORE_QUERY(store,
                    "select t.domain from tls_troubles t"
                    " where not exists (select 1 from tls_notices n"
                    "  where n.domain = t.domain and n.told_at > $1)"
                    " group by t.domain order by min(t.first_at), t.domain"
                    " limit $2",
                    STORE_I64(told_before), STORE_I64(room));
    size_t count = 0;

    while (count < room && store_next(query))
        domains[count++] = arena_cstr(arena, store_text(query, 0));
    return store_end(query, NULL) ? count : 0;
}

size_t
troubles_load(struct store *store, const char *domain, struct arena *arena,
              struct trouble *rows, size_t room)
{
    struct store_query *query = STORE_QUERY(
        store,
        "select type, result, stage, host, reason, enforced, sessions,"
        " first_at, last_at from tls_troubles where domain = $1"
        " order by enforced desc, sessions desc, host, reason limit $2",
        STORE_TEXT(domain), STORE_I64(room));
    size_t count = 0;

    while (count < room && store_next(query))
        rows[count++] = (struct trouble){
            .type = arena_cstr(arena, store_text(query, 0)),
            .result = arena_cstr(arena, store_text(query, 1)),
            .stage = arena_cstr(arena, store_text(query, 2)),
            .host = arena_cstr(arena, store_text(query, 3)),
            .reason = arena_cstr(arena, store_text(query, 4)),
            .enforced = store_i64(query, 5) != 0,
            .sessions = (uint64_t)store_i64(query, 6),
            .first_at = store_i64(query, 7),
            .last_at = store_i64(query, 8),
        };
    return store_end(query, NULL) ? count : 0;
}

bool
troubles_told(struct store *store, const char *domain, int64_t told_at,
              struct err *err)
{
    return STORE_RUN(store, err,
                     "insert into tls_notices (domain, told_at)"
                     " values ($1, $2)"
                     " on conflict (domain) do update set told_at = $2",
                     STORE_TEXT(domain), STORE_I64(told_at));
}

/* Sessions may have been added since the rows were read. */
static bool
clear_one(struct store *store, const char *domain, const struct trouble *row,
          struct err *err)
{
    return STORE_RUN(store, err,
                     "update tls_troubles set sessions = sessions - $8,"
                     " first_at = last_at"
                     " where domain = $1 and type = $2 and result = $3"
                     " and stage = $4 and host = $5 and reason = $6"
                     " and enforced = $7",
                     STORE_TEXT(domain), STORE_TEXT(row->type),
                     STORE_TEXT(row->result), STORE_TEXT(row->stage),
                     STORE_TEXT(row->host), STORE_TEXT(row->reason),
                     STORE_I64(row->enforced), STORE_I64(row->sessions));
}

bool
troubles_clear(struct store *store, const char *domain,
               const struct trouble *rows, size_t count, struct err *err)
{
    bool ok;

    if (!store_begin(store, err))
        return false;
    ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = clear_one(store, domain, &rows[i], err);
    ok = ok && STORE_RUN(store, err,
                         "delete from tls_troubles where domain = $1"
                         " and sessions <= 0",
                         STORE_TEXT(domain));
    if (ok)
        return store_commit(store, err);
    store_rollback(store);
    return false;
}
