/* hat_bench - what the tables of src/access/ and src/accept/ cost a connection.
 * Prints nanoseconds an operation, the best of some rounds: the machine has
 * other work, and only what it can do is of interest.
 *
 *   hat_bench [entries]     10000 without */
#include "accept/rate.h"
#include "access/hat.h"
#include "base/clock.h"

enum { ROUNDS = 7, TURNS = 200000, CLIENTS = 4096, TEXT_MAX = 64 };

static uint64_t seed = 1;

static uint32_t
draw(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 32);
}

/* All kinds of senders, one after the other. */
static void
draw_sender(char *text, size_t i)
{
    uint32_t a = draw(), low = draw() % 200;

    switch (i % 6) {
    case 0:
        snprintf(text, TEXT_MAX, "%u.%u.%u.0/24", 1 + (a >> 24) % 220,
                 a >> 16 & 255, a >> 8 & 255);
        return;
    case 1:
        snprintf(text, TEXT_MAX, "%u.%u.%u.%u", 1 + (a >> 24) % 220,
                 a >> 16 & 255, a >> 8 & 255, a & 255);
        return;
    case 2:
        snprintf(text, TEXT_MAX, "%u.%u.%u.%u-%u", 1 + (a >> 24) % 220,
                 a >> 16 & 255, a >> 8 & 255, low, low + 50);
        return;
    case 3:
        snprintf(text, TEXT_MAX, "2001:%x:%x::/48", a >> 16, a & 0xffff);
        return;
    case 4:
        snprintf(text, TEXT_MAX, "mx%zu.host%u.example", i, a);
        return;
    default:
        snprintf(text, TEXT_MAX, ".net%u.domain%zu.example", a, i);
        return;
    }
}

/* per_row senders in each row, and ALL at the end. */
static struct hat *
build(const struct sv *senders, size_t entries, size_t per_row)
{
    size_t count = (entries + per_row - 1) / per_row;
    struct hat_row *rows = mem_alloc_array(count + 1, sizeof *rows);
    struct err err;
    struct hat *hat;

    for (size_t i = 0; i < count; i++) {
        size_t first = i * per_row, left = entries - first;

        rows[i] = (struct hat_row){
            .group = SV("GROUP"),
            .senders = senders + first,
            .sender_count = left < per_row ? left : per_row,
        };
    }
    rows[count] = (struct hat_row){.group = SV("ALL")};
    hat = hat_new(rows, count + 1, &err);
    mem_free(rows);
    if (hat != NULL)
        return hat;
    fprintf(stderr, "hat_bench: %s\n", err.text);
    exit(1);
}

struct run {
    const struct hat *hat;
    struct net_address clients[CLIENTS];
    struct rate_key keys[CLIENTS];
    struct sv name;
    struct rate_gauge *gauge;
    struct rate_window *window;
    struct rate_bucket *bucket;
    uint64_t sum; /* of what came out, so that nothing is optimised away */
};

static void
do_match(struct run *run, uint32_t i)
{
    struct hat_client client = {.address = &run->clients[i % CLIENTS],
                                .name = run->name};
    struct hat_match match;

    hat_match(run->hat, &client, &match);
    run->sum += match.row;
}

static void
do_need(struct run *run, uint32_t i)
{
    struct hat_client client = {.address = &run->clients[i % CLIENTS]};

    run->sum += hat_need(run->hat, &client).name;
}

static void
do_gauge(struct run *run, uint32_t i)
{
    if (!rate_gauge_enter(run->gauge, run->keys[i % CLIENTS], 10))
        return;
    rate_gauge_leave(run->gauge, run->keys[i % CLIENTS]);
    run->sum++;
}

static void
do_window(struct run *run, uint32_t i)
{
    run->sum += rate_window_add(run->window, run->keys[i % CLIENTS], i, 1, 100);
}

static void
do_bucket(struct run *run, uint32_t i)
{
    struct rate_limit limit = {10, 10};

    run->sum += rate_bucket_take(run->bucket, run->keys[i % CLIENTS], i, limit);
}

static void
measure(struct run *run, const char *what,
        void (*operation)(struct run *run, uint32_t i))
{
    uint64_t best = UINT64_MAX;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_mono_us(), took;

        for (uint32_t i = 0; i < TURNS; i++)
            operation(run, i);
        took = clock_mono_us() - start;
        if (took < best)
            best = took;
    }
    printf("%-36s %6.0f ns\n", what, (double)best * 1000 / TURNS);
}

static void
draw_clients(struct run *run, bool ipv6)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        char text[TEXT_MAX];
        uint32_t a = draw();

        if (ipv6)
            snprintf(text, sizeof text, "2001:%x:%x::1", a >> 16, a & 0xffff);
        else
            snprintf(text, sizeof text, "%u.%u.%u.%u", a >> 24, a >> 16 & 255,
                     a >> 8 & 255, a & 255);
        if (!net_address_parse(sv_of(text), 25, &run->clients[i]))
            abort();
        run->keys[i] = rate_key_of(&run->clients[i], 0);
    }
}

static void
measure_matches(struct run *run)
{
    char labels[251];

    for (size_t i = 0; i < sizeof labels; i++)
        labels[i] = i % 2 == 0 ? 'a' : '.';
    draw_clients(run, true);
    measure(run, "match, IPv6", do_match);
    draw_clients(run, false);
    measure(run, "match, IPv4", do_match);
    measure(run, "what is needed, IPv4", do_need);
    run->name = SV("mail-1.out.partner.example");
    measure(run, "match, IPv4 and name", do_match);
    run->name = (struct sv){labels, sizeof labels};
    measure(run, "match, IPv4 and name of 126 labels", do_match);
}

static void
measure_rates(struct run *run)
{
    run->gauge = rate_gauge_new(100000);
    run->window = rate_window_new(100000, 3600000);
    run->bucket = rate_bucket_new(100000);
    measure(run, "gauge, enter and leave", do_gauge);
    measure(run, "window, add", do_window);
    measure(run, "bucket, take", do_bucket);
    rate_gauge_free(run->gauge);
    rate_window_free(run->window);
    rate_bucket_free(run->bucket);
}

static void
measure_table(struct run *run, const struct sv *senders, size_t entries,
              size_t per_row)
{
    uint64_t start = clock_mono_us();
    struct hat *hat = build(senders, entries, per_row);

    printf("%zu entries, %zu in a row: compiled in %.1f ms\n", entries, per_row,
           (double)(clock_mono_us() - start) / 1000);
    run->hat = hat;
    run->name = (struct sv){0};
    measure_matches(run);
    hat_unref(hat);
}

int
main(int argc, char **argv)
{
    static struct run run; /* too large for the stack */
    uint32_t entries = 10000;
    struct sv *senders;
    char(*texts)[TEXT_MAX];

    if (argc > 2 ||
        (argc == 2 && (!sv_to_u32(sv_of(argv[1]), &entries) || entries == 0))) {
        fprintf(stderr, "usage: hat_bench [entries]\n");
        return 2;
    }
    senders = mem_alloc_array(entries, sizeof *senders);
    texts = mem_alloc_array(entries, sizeof *texts);
    for (size_t i = 0; i < entries; i++) {
        draw_sender(texts[i], i);
        senders[i] = sv_of(texts[i]);
    }
    measure_table(&run, senders, entries, 1);
    measure_table(&run, senders, entries, 100);
    measure_rates(&run);
    printf("(checksum %llu)\n", (unsigned long long)run.sum);
    mem_free(senders);
    mem_free(texts);
    return 0;
}
