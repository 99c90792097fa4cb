/* A domain as bytes.  Little-endian:
 *
 *   u8 kind: 1 what is known of a domain, 2 nothing any more
 *   u8 length, domain
 *   and for kind 1:
 *   u8 flags: 1 pinned
 *   i64 fetched, i64 used, i64 refresh_at (seconds since 1970)
 *   u8 length, id
 *   u32 length, policy as its owner's file would have it (0: there is none)
 *   u16 length, history (sts_history.c)
 *
 * The policy is text so that one parser decides, on the wire and on disk, what
 * is one. */
#include "evidence/sts_internal.h"

#include "mail/address.h"

enum { KIND_DOMAIN = 1, KIND_REMOVED = 2, FLAG_PINNED = 1 };

static void
add_int(struct buf *out, uint64_t value, size_t bytes)
{
    char *to = buf_reserve(out, bytes);

    for (size_t i = 0; i < bytes; i++)
        to[i] = (char)(value >> (8 * i) & 255u);
    buf_grew(out, bytes);
}

static void
add_text(struct buf *out, struct sv text, size_t width)
{
    add_int(out, text.n, width);
    buf_add(out, text);
}

static void
add_policy(struct buf *out, const struct sts_policy *policy)
{
    struct buf text = {0};

    if (policy != NULL)
        sts_policy_print(policy, &text);
    add_text(out, buf_view(&text), 4);
    buf_fini(&text);
}

void
sts_stored_encode(const struct sts_entry *entry, struct buf *out)
{
    add_int(out, KIND_DOMAIN, 1);
    add_text(out, sv_of(entry->domain), 1);
    add_int(out, entry->pinned ? FLAG_PINNED : 0, 1);
    add_int(out, (uint64_t)entry->fetched, 8);
    add_int(out, (uint64_t)entry->used, 8);
    add_int(out, (uint64_t)entry->refresh_at, 8);
    add_text(out, sv_of(entry->id), 1);
    add_policy(out, entry->policy);
    add_text(out, buf_view(&entry->history), 2);
}

void
sts_stored_removal(const char *domain, struct buf *out)
{
    add_int(out, KIND_REMOVED, 1);
    add_text(out, sv_of(domain), 1);
}

/* --- Reading ------------------------------------------------------------ */

static bool
take_int(struct sv *in, uint64_t *value, size_t bytes)
{
    if (in->n < bytes)
        return false;
    *value = 0;
    for (size_t i = 0; i < bytes; i++)
        *value |= (uint64_t)(unsigned char)in->p[i] << (8 * i);
    *in = sv_from(*in, bytes);
    return true;
}

static bool
take_time(struct sv *in, int64_t *value)
{
    uint64_t bits;

    /* Sums with an age must not overflow. */
    if (!take_int(in, &bits, 8) || bits > INT64_MAX / 2)
        return false;
    *value = (int64_t)bits;
    return true;
}

static bool
take_text(struct sv *in, struct sv *text, size_t width)
{
    uint64_t length;

    if (!take_int(in, &length, width) || length > in->n)
        return false;
    *text = sv_slice(*in, 0, (size_t)length);
    *in = sv_from(*in, (size_t)length);
    return true;
}

static bool
take_domain(struct sv *in, char *domain)
{
    struct sv text;

    return take_text(in, &text, 1) && mail_domain_valid(text) &&
           sv_to_cstr(text, domain, MAIL_DOMAIN_MAX + 1);
}

struct parts {
    uint64_t flags;
    int64_t fetched, used, refresh_at;
    struct sv id, policy, history;
};

static bool
take_parts(struct sv *in, struct parts *parts)
{
    return take_int(in, &parts->flags, 1) && take_time(in, &parts->fetched) &&
           take_time(in, &parts->used) && take_time(in, &parts->refresh_at) &&
           take_text(in, &parts->id, 1) && parts->id.n <= STS_ID_MAX &&
           take_text(in, &parts->policy, 4) &&
           take_text(in, &parts->history, 2) && in->n == 0 &&
           sts_history_valid(parts->history);
}

static void
fill(struct sts_entry *entry, const struct parts *parts)
{
    entry->pinned = parts->flags & FLAG_PINNED && entry->policy != NULL;
    entry->fetched = parts->fetched;
    entry->used = parts->used;
    entry->refresh_at = parts->refresh_at;
    if (!sv_to_cstr(parts->id, entry->id, sizeof entry->id))
        entry->id[0] = '\0';
    buf_fini(&entry->history);
    entry->history.p =
        parts->history.n > 0 ? mem_alloc_raw(parts->history.n) : NULL;
    entry->history.cap = parts->history.n;
    buf_add(&entry->history, parts->history);
}

static bool
apply_domain(struct sts_table *table, const char *domain, struct sv in)
{
    struct sts_policy *policy = NULL;
    struct sts_entry *entry;
    struct parts parts;
    char reason[160];

    if (!take_parts(&in, &parts))
        return false;
    if (parts.policy.n > 0) {
        policy = sts_policy_parse(parts.policy, reason);
        if (policy == NULL)
            return false;
    }
    entry = sts_table_find(table, domain);
    if (entry == NULL)
        entry = sts_table_add(table, domain);
    sts_policy_unref(entry->policy);
    entry->policy = policy;
    fill(entry, &parts);
    sts_table_keep(table, entry);
    sts_table_touch(table, entry);
    return true;
}

static bool
apply_removal(struct sts_table *table, const char *domain)
{
    struct sts_entry *entry = sts_table_find(table, domain);

    if (entry != NULL)
        sts_table_remove(table, entry);
    return true;
}

bool
sts_stored_apply(struct sts_table *table, struct sv record)
{
    char domain[MAIL_DOMAIN_MAX + 1];
    uint64_t kind;

    if (!take_int(&record, &kind, 1) || !take_domain(&record, domain))
        return false;
    if (kind == KIND_DOMAIN)
        return apply_domain(table, domain, record);
    return kind == KIND_REMOVED && apply_removal(table, domain);
}
