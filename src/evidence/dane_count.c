#include "evidence/dane_count.h"
#include <stdatomic.h>

/* Relaxed everywhere: they are read by people. */
static atomic_ullong lookups[DANE_FAILED + 1];
static atomic_ullong matched_ta, matched_ee, mismatched;

static void
add(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static json_t *
number(atomic_ullong *counter)
{
    return json_integer(
        (json_int_t)atomic_load_explicit(counter, memory_order_relaxed));
}

void
dane_count_lookup(enum dane_state state)
{
    add(&lookups[state]);
}

void
dane_count_match(const struct tls_dane_facts *facts)
{
    if (!facts->asked)
        return;
    if (!facts->matched)
        add(&mismatched);
    else
        add(facts->usage == 2 ? &matched_ta : &matched_ee);
}

json_t *
dane_count_json(void)
{
    json_t *by_state = json_object();

    for (size_t i = 0; i < COUNT_OF(lookups); i++)
        if (i != DANE_OFF) /* then nothing is looked up */
            json_object_set_new(by_state, dane_state_name((enum dane_state)i),
                                number(&lookups[i]));
    return json_pack("{s:o, s:{s:o, s:o}, s:o}", "lookups", by_state, "matched",
                     "DANE-EE", number(&matched_ee), "DANE-TA",
                     number(&matched_ta), "mismatched", number(&mismatched));
}
