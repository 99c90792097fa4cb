#include "record/counts.h"

#include "record/database.h"

enum {
    DETAIL_MAX = 100,     /* kinds of failure of a policy that keep reason and
                           * greeting */
    HOSTS_MAX = 1000,     /* … and that keep anything beyond the result */
    REASON_BYTES = 200,   /* of a reason */
    NAME_BYTES = 255,     /* of a host name */
    POLICY_BYTES = 16384, /* of a policy's text */
    POLICIES_MAX = 100,   /* of a domain on a day that keep their text */
};

/* RFC 8460 section 4.4, policy-type. */
const char *
counts_policy_name(enum ledger_policy policy)
{
    switch (policy) {
    case LEDGER_POLICY_TLSA:
        return "tlsa";
    case LEDGER_POLICY_STS:
        return "sts";
    case LEDGER_POLICY_NONE:
        break;
    }
    return "no-policy-found";
}

/* --- Which policy --------------------------------------------------------- */

struct key {
    int64_t day;
    struct sv domain;
    const char *type;
    struct sv sts_id;
    struct sv content;
    struct sv host;
};

static bool
take_policy(struct store_query *query, int64_t *policy, struct err *err)
{
    *policy = store_next(query) ? store_i64(query, 0) : 0;
    return store_end(query, err);
}

static bool
find_by_content(struct store *store, const struct key *key, int64_t *policy,
                struct err *err)
{
    return take_policy(
        STORE_QUERY(store,
                    "select policy from tls_policies where day = $1"
                    " and domain = $2 and type = $3 and sts_id = $4"
                    " and content = $5",
                    STORE_I64(key->day), STORE_SV(key->domain),
                    STORE_TEXT(key->type), STORE_SV(key->sts_id),
                    STORE_SV(key->content)),
        policy, err);
}

/* The text of this policy was lost with the session that had it. */
static bool
fill_policy(struct store *store, const struct key *key, int64_t *policy,
            struct err *err)
{
    if (key->sts_id.n == 0)
        return true;
    if (!take_policy(
            STORE_QUERY(store,
                        "select policy from tls_policies where day = $1"
                        " and domain = $2 and type = $3 and sts_id = $4"
                        " and content = ''",
                        STORE_I64(key->day), STORE_SV(key->domain),
                        STORE_TEXT(key->type), STORE_SV(key->sts_id)),
            policy, err))
        return false;
    return *policy == 0 ||
           STORE_RUN(store, err,
                     "update tls_policies set content = $2 where policy = $1",
                     STORE_I64(*policy), STORE_SV(key->content));
}

/* A session without the text of its policy had the same as one before it: of
 * that id, if it can be at that host (TLSA records are a host's), the newest.
 */
static bool
find_by_id(struct store *store, const struct key *key, int64_t *policy,
           struct err *err)
{
    return take_policy(
        STORE_QUERY(store,
                    "select policy from tls_policies where day = $1"
                    " and domain = $2 and type = $3 and sts_id = $4"
                    " order by case when host = $5 then 0 else 1 end,"
                    " policy desc limit 1",
                    STORE_I64(key->day), STORE_SV(key->domain),
                    STORE_TEXT(key->type), STORE_SV(key->sts_id),
                    STORE_SV(key->host)),
        policy, err);
}

static bool
count_policies(struct store *store, const struct key *key, int64_t *count,
               struct err *err)
{
    return take_policy(
        STORE_QUERY(store,
                    "select count(*) from tls_policies where day = $1"
                    " and domain = $2",
                    STORE_I64(key->day), STORE_SV(key->domain)),
        count, err);
}

static bool
make_policy(struct store *store, const struct key *key, int64_t *policy,
            struct err *err)
{
    if (!take_policy(STORE_QUERY(store, "select coalesce(max(policy), 0) + 1"
                                        " from tls_policies"),
                     policy, err))
        return false;
    return STORE_RUN(store, err,
                     "insert into tls_policies (policy, day, domain, type,"
                     " sts_id, content, host, succeeded, failed)"
                     " values ($1, $2, $3, $4, $5, $6, $7, 0, 0)",
                     STORE_I64(*policy), STORE_I64(key->day),
                     STORE_SV(key->domain), STORE_TEXT(key->type),
                     STORE_SV(key->sts_id), STORE_SV(key->content),
                     STORE_SV(key->host));
}

static bool
get_policy(struct store *store, const struct key *key, int64_t *policy,
           struct err *err)
{
    bool ok = key->content.n > 0 ? find_by_content(store, key, policy, err)
                                 : find_by_id(store, key, policy, err);
    struct key vague = *key;
    int64_t count;

    if (ok && *policy == 0 && key->content.n > 0)
        ok = fill_policy(store, key, policy, err);
    if (!ok || *policy != 0)
        return ok;
    if (!count_policies(store, key, &count, err))
        return false;
    if (count < POLICIES_MAX)
        return make_policy(store, key, policy, err);
    /* Somebody publishes another one for every look-up. */
    vague.sts_id = vague.content = (struct sv){0};
    return find_by_content(store, &vague, policy, err) &&
           (*policy != 0 || make_policy(store, &vague, policy, err));
}

/* --- Counting ------------------------------------------------------------- */

static bool
count_kinds(struct store *store, int64_t policy, int64_t *kinds,
            struct err *err)
{
    return take_policy(
        STORE_QUERY(store,
                    "select count(*) from tls_failures where policy = $1",
                    STORE_I64(policy)),
        kinds, err);
}

static bool
upsert_failure(struct store *store, int64_t policy,
               const struct ledger_session *s, struct err *err)
{
    return STORE_RUN(
        store, err,
        "insert into tls_failures (policy, result, host, ip, helo, local_ip,"
        " reason, enforced, sessions) values ($1, $2, $3, $4, $5, $6, $7, $8, "
        "1)"
        " on conflict (policy, result, host, ip, helo, local_ip, reason,"
        " enforced) do update set sessions = tls_failures.sessions + 1",
        STORE_I64(policy), STORE_TEXT(ledger_tls_result_name(s->result)),
        STORE_SV(s->host), STORE_SV(s->ip), STORE_SV(s->helo),
        STORE_SV(s->local_ip), STORE_SV(s->reason), STORE_I64(s->enforced));
}

/* Limits are soft: what already has a row of its own loses it too when the
 * policy has too many; nobody reads a hundred kinds of failure. */
static bool
add_failure(struct store *store, int64_t policy,
            const struct ledger_session *session, struct err *err)
{
    struct ledger_session kind = *session;
    int64_t kinds;

    if (!count_kinds(store, policy, &kinds, err))
        return false;
    kind.reason = sv_slice(kind.reason, 0, REASON_BYTES);
    kind.helo = sv_slice(kind.helo, 0, NAME_BYTES);
    kind.host = sv_slice(kind.host, 0, NAME_BYTES);
    if (kinds >= DETAIL_MAX)
        kind.reason = kind.helo = (struct sv){0};
    if (kinds >= HOSTS_MAX)
        kind.host = kind.ip = kind.local_ip = (struct sv){0};
    return upsert_failure(store, policy, &kind, err);
}

bool
counts_add(struct store *store, const struct ledger_session *session,
           struct err *err)
{
    const struct key key = {
        .day = day_of(session->ended_us / 1000000),
        .domain = session->domain,
        .type = counts_policy_name(session->policy),
        .sts_id = session->policy_id,
        .content = sv_slice(session->policy_text, 0, POLICY_BYTES),
        .host = sv_slice(session->host, 0, NAME_BYTES),
    };
    bool ok = session->result == TLS_RESULT_OK;
    int64_t policy;

    if (!get_policy(store, &key, &policy, err))
        return false;
    if (!STORE_RUN(store, err,
                   "update tls_policies set succeeded = succeeded + $2,"
                   " failed = failed + $3 where policy = $1",
                   STORE_I64(policy), STORE_I64(ok), STORE_I64(!ok)))
        return false;
    return ok || add_failure(store, policy, session, err);
}

/* --- Reading -------------------------------------------------------------- */

/* Room for rows that are counted first; 0 when the database fails. */
static size_t
take_count(struct store_query *query)
{
    int64_t n;

    return take_policy(query, &n, NULL) ? (size_t)n : 0;
}

static bool
load_failures(struct store *store, int64_t number, struct arena *arena,
              struct tlsrpt_policy *policy, struct err *err)
{
    size_t room = take_count(STORE_QUERY(
        store, "select count(*) from tls_failures where policy = $1",
        STORE_I64(number)));
    struct store_query *query = STORE_QUERY(
        store,
        "select result, local_ip, host, helo, ip, reason, sum(sessions)"
        " from tls_failures where policy = $1"
        " group by result, local_ip, host, helo, ip, reason"
        " order by sum(sessions) desc, result, host, ip, reason",
        STORE_I64(number));

    policy->failures =
        arena_alloc(arena, (room + 1) * sizeof *policy->failures);
    while (policy->failure_count < room && store_next(query)) {
        struct tlsrpt_failure *failure =
            &policy->failures[policy->failure_count++];

        failure->result = arena_copy(arena, store_text(query, 0));
        failure->sending_ip = arena_copy(arena, store_text(query, 1));
        failure->receiving_host = arena_copy(arena, store_text(query, 2));
        failure->receiving_helo = arena_copy(arena, store_text(query, 3));
        failure->receiving_ip = arena_copy(arena, store_text(query, 4));
        failure->reason = arena_copy(arena, store_text(query, 5));
        failure->sessions = (uint64_t)store_i64(query, 6);
    }
    return store_end(query, err);
}

bool
counts_load(struct store *store, int64_t day, const char *domain,
            struct arena *arena, struct tlsrpt_report *report, struct err *err)
{
    size_t room =
        1 + take_count(STORE_QUERY(store,
                                   "select count(*) from tls_policies"
                                   " where day = $1 and domain = $2",
                                   STORE_I64(day), STORE_TEXT(domain)));
    struct store_query *query = STORE_QUERY(
        store,
        "select policy, type, content, succeeded, failed from tls_policies"
        " where day = $1 and domain = $2 order by policy",
        STORE_I64(day), STORE_TEXT(domain));
    bool ok = true;

    report->policies = arena_alloc(arena, room * sizeof *report->policies);
    while (ok && report->policy_count < room && store_next(query)) {
        struct tlsrpt_policy *policy =
            &report->policies[report->policy_count++];

        policy->type = arena_copy(arena, store_text(query, 1));
        policy->text = arena_copy(arena, store_text(query, 2));
        policy->domain = sv_of(domain);
        policy->succeeded = (uint64_t)store_i64(query, 3);
        policy->failed = (uint64_t)store_i64(query, 4);
        ok = load_failures(store, store_i64(query, 0), arena, policy, err);
    }
    return store_end(query, ok ? err : NULL) && ok;
}
