/* The last fetches of a domain as one run of bytes, oldest first, so that a
 * hundred thousand domains with ten fetches each stay small.  Each is
 *
 *   {i64 time, u32 ms, u8 ok, u8 length of id, of stage, of reason, texts}
 *
 * in little-endian; the same bytes stand in the file. */
#include "evidence/sts_internal.h"

enum { HEAD = 16, REASON_MAX = 200 };

static void
put(char *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (char)(value >> (8 * i) & 255u);
}

static uint64_t
get(const char *from, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)from[i] << (8 * i);
    return value;
}

bool
sts_history_next(struct sv *rest, struct sts_fetch *fetch)
{
    const char *p = rest->p;
    size_t id, stage, reason;

    if (rest->n < HEAD)
        return false;
    id = (unsigned char)p[13];
    stage = (unsigned char)p[14];
    reason = (unsigned char)p[15];
    if (rest->n - HEAD < id + stage + reason)
        return false;
    *fetch = (struct sts_fetch){
        .time = (int64_t)get(p, 8),
        .ms = (uint32_t)get(p + 8, 4),
        .ok = p[12] != 0,
        .id = {p + HEAD, id},
        .stage = {p + HEAD + id, stage},
        .reason = {p + HEAD + id + stage, reason},
    };
    *rest = sv_from(*rest, HEAD + id + stage + reason);
    return true;
}

static size_t
count(struct sv rest)
{
    struct sts_fetch fetch;
    size_t n = 0;

    while (sts_history_next(&rest, &fetch))
        n++;
    return n;
}

bool
sts_history_valid(struct sv history)
{
    struct sts_fetch fetch;

    while (sts_history_next(&history, &fetch))
        if (fetch.id.n > STS_ID_MAX)
            return false;
    return history.n == 0;
}

bool
sts_history_last(const struct buf *history, struct sts_fetch *fetch)
{
    struct sv rest = buf_view(history);
    bool any = false;

    while (sts_history_next(&rest, fetch))
        any = true;
    return any;
}

/* A buffer of exactly the size: there are many. */
void
sts_history_add(struct buf *history, const struct sts_fetch *fetch)
{
    struct sv reason = sv_slice(fetch->reason, 0, REASON_MAX);
    struct sv old = buf_view(history);
    size_t texts = fetch->id.n + fetch->stage.n + reason.n;
    struct buf longer = {0};
    struct sts_fetch dropped;
    char *p;

    while (count(old) >= STS_HISTORY)
        if (!sts_history_next(&old, &dropped))
            break;
    longer.cap = old.n + HEAD + texts;
    longer.p = mem_alloc_raw(longer.cap);
    buf_add(&longer, old);
    p = buf_reserve(&longer, HEAD + texts);
    put(p, (uint64_t)fetch->time, 8);
    put(p + 8, fetch->ms, 4);
    p[12] = fetch->ok;
    p[13] = (char)fetch->id.n;
    p[14] = (char)fetch->stage.n;
    p[15] = (char)reason.n;
    buf_grew(&longer, HEAD);
    buf_add(&longer, fetch->id);
    buf_add(&longer, fetch->stage);
    buf_add(&longer, reason);
    buf_fini(history);
    *history = longer;
}
