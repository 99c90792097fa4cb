#include "dns/dns_internal.h"

const unsigned dns_time_limits[DNS_TIME_COUNT - 1] = {1, 10, 100, 1000, 10000};

static const enum dns_type types[DNS_TYPE_COUNT] = {
    DNS_A,  DNS_NS,  DNS_CNAME, DNS_SOA,  DNS_PTR,
    DNS_MX, DNS_TXT, DNS_AAAA,  DNS_TLSA,
};

/* Relaxed everywhere: they are read by people. */
static atomic_ullong answers[DNS_TYPE_COUNT][DNS_STATE_COUNT];
static atomic_ullong timed_outs, times[DNS_TIME_COUNT], total_us;

static void
add(atomic_ullong *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t
value(atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void
dns_count(enum dns_type type, enum dns_state state, bool timed_out, uint64_t us)
{
    size_t row = 0, slot = 0;

    while (row < DNS_TYPE_COUNT && types[row] != type)
        row++;
    while (slot < DNS_TIME_COUNT - 1 && us > dns_time_limits[slot] * 1000ull)
        slot++;
    if (row < DNS_TYPE_COUNT)
        add(&answers[row][state], 1);
    if (timed_out)
        add(&timed_outs, 1);
    add(&times[slot], 1);
    add(&total_us, us);
}

void
dns_counts_read(struct dns_counts *counts)
{
    for (size_t row = 0; row < DNS_TYPE_COUNT; row++) {
        counts->types[row] = types[row];
        for (size_t state = 0; state < DNS_STATE_COUNT; state++)
            counts->answers[row][state] = value(&answers[row][state]);
    }
    for (size_t slot = 0; slot < DNS_TIME_COUNT; slot++)
        counts->times[slot] = value(&times[slot]);
    counts->timed_out = value(&timed_outs);
    counts->total_us = value(&total_us);
}
