#include "accept/rate_keys.h"
#include "base/map.h"

#define NO_ENTRY UINT32_MAX

enum {
    STRIPES = 64, /* a power of two */
    CACHE_LINE = 64,
};

struct rate_stripe {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct rate_entry *entries; /* owned; the first used ones were in use */
    uint32_t *heads;            /* owned; hash chains: entry + 1, or 0 */
    uint32_t size;              /* of entries and of heads: a power of two */
    uint32_t used;
    uint32_t free;           /* removed entries, linked by chain: index */
    uint32_t oldest, newest; /* NO_ENTRY */
    struct rate_key key;     /* it is locked for, hashed once */
    uint32_t slot;           /* of its chain in heads */
};

static uint64_t
hash_key(struct rate_key key)
{
    return hash_bytes((struct sv){(const char *)&key, sizeof key});
}

static void
stripe_init(struct rate_stripe *stripe, uint32_t size)
{
    pthread_mutex_init(&stripe->lock, NULL);
    stripe->entries = mem_alloc_array(size, sizeof *stripe->entries);
    stripe->heads = mem_alloc_array(size, sizeof *stripe->heads);
    stripe->size = size;
    stripe->free = stripe->oldest = stripe->newest = NO_ENTRY;
}

void
rate_keys_init(struct rate_keys *keys, uint32_t max_keys)
{
    uint32_t size = 4;
    void *stripes;

    assert(max_keys > 0 && max_keys <= UINT32_MAX / 4);
    while (size < max_keys / STRIPES + (max_keys % STRIPES != 0))
        size *= 2;
    stripes = aligned_alloc(CACHE_LINE, STRIPES * sizeof *keys->stripes);
    if (stripes == NULL)
        abort();
    memset(stripes, 0, STRIPES * sizeof *keys->stripes);
    keys->stripes = stripes;
    for (int i = 0; i < STRIPES; i++)
        stripe_init(&keys->stripes[i], size);
}

void
rate_keys_fini(struct rate_keys *keys)
{
    for (int i = 0; i < STRIPES; i++) {
        pthread_mutex_destroy(&keys->stripes[i].lock);
        mem_free(keys->stripes[i].entries);
        mem_free(keys->stripes[i].heads);
    }
    free(keys->stripes);
    keys->stripes = NULL;
}

/* The low bits of the hash choose the stripe, the high ones the chain. */
struct rate_stripe *
rate_keys_lock(struct rate_keys *keys, struct rate_key key)
{
    uint64_t hash = hash_key(key);
    struct rate_stripe *stripe = &keys->stripes[hash % STRIPES];

    pthread_mutex_lock(&stripe->lock);
    stripe->key = key;
    stripe->slot = (uint32_t)(hash >> 32) & (stripe->size - 1);
    return stripe;
}

void
rate_keys_unlock(struct rate_stripe *stripe)
{
    pthread_mutex_unlock(&stripe->lock);
}

static bool
same_key(struct rate_key a, struct rate_key b)
{
    return a.who == b.who && a.scope == b.scope;
}

struct rate_entry *
rate_stripe_find(struct rate_stripe *stripe)
{
    uint32_t at = stripe->heads[stripe->slot];

    while (at != 0) {
        struct rate_entry *entry = &stripe->entries[at - 1];

        if (same_key(entry->key, stripe->key))
            return entry;
        at = entry->chain;
    }
    return NULL;
}

static uint32_t
index_of(const struct rate_stripe *stripe, const struct rate_entry *entry)
{
    return (uint32_t)(entry - stripe->entries);
}

static void
make_newest(struct rate_stripe *stripe, struct rate_entry *entry)
{
    uint32_t at = index_of(stripe, entry);

    entry->older = stripe->newest;
    entry->newer = NO_ENTRY;
    if (stripe->newest != NO_ENTRY)
        stripe->entries[stripe->newest].newer = at;
    else
        stripe->oldest = at;
    stripe->newest = at;
}

static void
leave_order(struct rate_stripe *stripe, const struct rate_entry *entry)
{
    if (entry->older != NO_ENTRY)
        stripe->entries[entry->older].newer = entry->newer;
    else
        stripe->oldest = entry->newer;
    if (entry->newer != NO_ENTRY)
        stripe->entries[entry->newer].older = entry->older;
    else
        stripe->newest = entry->older;
}

static struct rate_entry *
take_free(struct rate_stripe *stripe)
{
    struct rate_entry *entry;

    if (stripe->free != NO_ENTRY) {
        entry = &stripe->entries[stripe->free];
        stripe->free = entry->chain;
        return entry;
    }
    if (stripe->used < stripe->size)
        return &stripe->entries[stripe->used++];
    return NULL;
}

struct rate_entry *
rate_stripe_add(struct rate_stripe *stripe)
{
    struct rate_entry *entry = take_free(stripe);
    uint32_t *head = &stripe->heads[stripe->slot];

    if (entry == NULL)
        return NULL;
    *entry = (struct rate_entry){
        .key = stripe->key, .slot = stripe->slot, .chain = *head};
    *head = index_of(stripe, entry) + 1;
    make_newest(stripe, entry);
    return entry;
}

struct rate_entry *
rate_stripe_touch(struct rate_stripe *stripe)
{
    struct rate_entry *entry = rate_stripe_find(stripe);

    if (entry != NULL) {
        leave_order(stripe, entry);
        make_newest(stripe, entry);
        return entry;
    }
    entry = rate_stripe_add(stripe);
    if (entry != NULL)
        return entry;
    rate_stripe_remove(stripe, &stripe->entries[stripe->oldest]);
    return rate_stripe_add(stripe);
}

void
rate_stripe_remove(struct rate_stripe *stripe, struct rate_entry *entry)
{
    uint32_t at = index_of(stripe, entry);
    uint32_t *link = &stripe->heads[entry->slot];

    while (*link != at + 1) {
        assert(*link != 0); /* every entry in use is in its chain */
        link = &stripe->entries[*link - 1].chain;
    }
    *link = entry->chain;
    leave_order(stripe, entry);
    entry->chain = stripe->free;
    stripe->free = at;
}
