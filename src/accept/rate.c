/* The counters over rate_keys.  An entry has two numbers; what they mean:
 *   gauge    a = how many are open; the entry goes when none is
 *   window   a = number of the current fixed window, b = the count in it in
 *            the low, that of the window before in the high 32 bits
 *   bucket   a = the time in ns at which the bucket is full again
 *   memory   a = the number */
#include "accept/rate.h"
#include "accept/rate_keys.h"

#define NS_PER_US UINT64_C(1000)
#define NS_PER_S UINT64_C(1000000000)

struct rate_gauge {
    struct rate_keys keys;
};

struct rate_window {
    struct rate_keys keys;
    uint32_t span_ms;
};

struct rate_bucket {
    struct rate_keys keys;
};

/* The family stands above the scope, so that no address of one family is
 * taken for one of the other. */
struct rate_key
rate_key_of(const struct net_address *client, uint32_t scope)
{
    struct rate_key key = {0, scope};

    if (client->sa.sa_family == AF_INET) {
        key.who = ntohl(client->in.sin_addr.s_addr);
        key.scope |= UINT64_C(1) << 32;
    } else if (client->sa.sa_family == AF_INET6) {
        memcpy(&key.who, client->in6.sin6_addr.s6_addr, sizeof key.who);
        key.scope |= UINT64_C(2) << 32;
    }
    return key;
}

struct rate_gauge *
rate_gauge_new(uint32_t max_keys)
{
    struct rate_gauge *gauge = mem_alloc(sizeof *gauge);

    rate_keys_init(&gauge->keys, max_keys);
    return gauge;
}

void
rate_gauge_free(struct rate_gauge *gauge)
{
    if (gauge == NULL)
        return;
    rate_keys_fini(&gauge->keys);
    mem_free(gauge);
}

bool
rate_gauge_enter(struct rate_gauge *gauge, struct rate_key key, uint32_t limit)
{
    struct rate_stripe *stripe = rate_keys_lock(&gauge->keys, key);
    struct rate_entry *entry = rate_stripe_find(stripe);
    bool enters = false;

    if (entry == NULL && limit > 0)
        entry = rate_stripe_add(stripe);
    if (entry != NULL && entry->a < limit) {
        entry->a++;
        enters = true;
    }
    rate_keys_unlock(stripe);
    return enters;
}

void
rate_gauge_leave(struct rate_gauge *gauge, struct rate_key key)
{
    struct rate_stripe *stripe = rate_keys_lock(&gauge->keys, key);
    struct rate_entry *entry = rate_stripe_find(stripe);

    assert(entry != NULL); /* else more left than entered */
    if (--entry->a == 0)
        rate_stripe_remove(stripe, entry);
    rate_keys_unlock(stripe);
}

uint32_t
rate_gauge_now(struct rate_gauge *gauge, struct rate_key key)
{
    struct rate_stripe *stripe = rate_keys_lock(&gauge->keys, key);
    const struct rate_entry *entry = rate_stripe_find(stripe);
    uint32_t now = entry != NULL ? (uint32_t)entry->a : 0;

    rate_keys_unlock(stripe);
    return now;
}

struct rate_window *
rate_window_new(uint32_t max_keys, uint32_t span_ms)
{
    struct rate_window *window = mem_alloc(sizeof *window);

    assert(span_ms > 0);
    rate_keys_init(&window->keys, max_keys);
    window->span_ms = span_ms;
    return window;
}

void
rate_window_free(struct rate_window *window)
{
    if (window == NULL)
        return;
    rate_keys_fini(&window->keys);
    mem_free(window);
}

/* An entry as it is at a time. */
struct counted {
    uint64_t number;          /* of the fixed window */
    uint32_t current, former; /* counts */
    uint64_t sum;             /* current and what is left of former */
};

static struct counted
count_at(const struct rate_entry *entry, uint64_t now_ms, uint32_t span_ms)
{
    struct counted counted = {.number = now_ms / span_ms};
    uint64_t passed = now_ms % span_ms;

    if (entry->a > counted.number) { /* a loop's clock is ahead of ours */
        counted.number = entry->a;
        passed = 0;
    }
    if (entry->a == counted.number) {
        counted.current = (uint32_t)entry->b;
        counted.former = (uint32_t)(entry->b >> 32);
    } else if (entry->a + 1 == counted.number) {
        counted.former = (uint32_t)entry->b;
    }
    /* Rounded up: a limit is never passed by a fraction. */
    counted.sum = (counted.former * (span_ms - passed) + span_ms - 1) / span_ms;
    counted.sum += counted.current;
    return counted;
}

bool
rate_window_add(struct rate_window *window, struct rate_key key,
                uint64_t now_ms, uint32_t amount, uint32_t limit)
{
    struct rate_stripe *stripe = rate_keys_lock(&window->keys, key);
    struct rate_entry *entry = rate_stripe_touch(stripe);
    struct counted counted = count_at(entry, now_ms, window->span_ms);
    uint64_t current = (uint64_t)counted.current + amount;
    bool fits = limit == RATE_UNLIMITED || counted.sum + amount <= limit;

    if (fits) {
        if (current > UINT32_MAX)
            current = UINT32_MAX;
        entry->a = counted.number;
        entry->b = (uint64_t)counted.former << 32 | current;
    }
    rate_keys_unlock(stripe);
    return fits;
}

uint32_t
rate_window_count(struct rate_window *window, struct rate_key key,
                  uint64_t now_ms)
{
    struct rate_stripe *stripe = rate_keys_lock(&window->keys, key);
    const struct rate_entry *entry = rate_stripe_find(stripe);
    uint64_t sum = 0;

    if (entry != NULL)
        sum = count_at(entry, now_ms, window->span_ms).sum;
    rate_keys_unlock(stripe);
    return sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

struct rate_bucket *
rate_bucket_new(uint32_t max_keys)
{
    struct rate_bucket *bucket = mem_alloc(sizeof *bucket);

    rate_keys_init(&bucket->keys, max_keys);
    return bucket;
}

void
rate_bucket_free(struct rate_bucket *bucket)
{
    if (bucket == NULL)
        return;
    rate_keys_fini(&bucket->keys);
    mem_free(bucket);
}

/* A bucket is one number, the time at which it is full again: each token
 * taken moves that by one interval, and it may lie no further ahead than a
 * whole bucket.  False leaves *full_at. */
static bool
take_token(uint64_t *full_at, uint64_t now_us, struct rate_limit limit)
{
    uint64_t now = now_us * NS_PER_US, from = now, interval;

    if (limit.per_second == RATE_UNLIMITED)
        return true;
    if (limit.per_second == 0 || limit.burst == 0)
        return false;
    interval = NS_PER_S / limit.per_second;
    if (*full_at > now)
        from = *full_at;
    if (from - now > (limit.burst - 1) * interval)
        return false;
    *full_at = from + interval;
    return true;
}

bool
rate_bucket_take(struct rate_bucket *bucket, struct rate_key key,
                 uint64_t now_us, struct rate_limit limit)
{
    struct rate_stripe *stripe = rate_keys_lock(&bucket->keys, key);
    struct rate_entry *entry = rate_stripe_touch(stripe);
    bool taken = take_token(&entry->a, now_us, limit);

    rate_keys_unlock(stripe);
    return taken;
}

struct rate_memory {
    struct rate_keys keys;
};

struct rate_memory *
rate_memory_new(uint32_t max_keys)
{
    struct rate_memory *memory = mem_alloc(sizeof *memory);

    rate_keys_init(&memory->keys, max_keys);
    return memory;
}

void
rate_memory_free(struct rate_memory *memory)
{
    if (memory == NULL)
        return;
    rate_keys_fini(&memory->keys);
    mem_free(memory);
}

uint64_t
rate_memory_get(struct rate_memory *memory, struct rate_key key)
{
    struct rate_stripe *stripe = rate_keys_lock(&memory->keys, key);
    const struct rate_entry *entry = rate_stripe_find(stripe);
    uint64_t value = entry != NULL ? entry->a : 0;

    rate_keys_unlock(stripe);
    return value;
}

void
rate_memory_set(struct rate_memory *memory, struct rate_key key, uint64_t value)
{
    struct rate_stripe *stripe = rate_keys_lock(&memory->keys, key);

    rate_stripe_touch(stripe)->a = value;
    rate_keys_unlock(stripe);
}

bool
rate_meter_take(struct rate_meter *meter, uint64_t now_us,
                struct rate_limit limit)
{
    uint64_t former =
        atomic_load_explicit(&meter->full_at, memory_order_relaxed);
    uint64_t full_at;

    do {
        full_at = former;
        if (!take_token(&full_at, now_us, limit))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &meter->full_at, &former, full_at, memory_order_relaxed,
        memory_order_relaxed));
    return true;
}
