/* Lists and maps, each against a simple model. */
#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "unit.h"

struct item {
    int number;
    struct link link;
};

/* The numbers on the list, as text. */
static void
assert_list(const struct list *list, const char *expected)
{
    char text[64];
    size_t n = 0, length = 0;

    LIST_FOREACH (link, list) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%d",
                              CONTAINER_OF(link, struct item, link)->number);
        length++;
    }
    text[n] = '\0';
    assert_string_equal(text, expected);
    assert_int_equal(list->length, length);
}

static void
test_list_order(void **state UNUSED)
{
    struct item item[5] = {{.number = 0},
                           {.number = 1},
                           {.number = 2},
                           {.number = 3},
                           {.number = 4}};
    struct list list;

    list_init(&list);
    assert_true(list_empty(&list));
    assert_null(list_pop_front(&list));
    list_push_back(&list, &item[1].link);
    list_push_back(&list, &item[3].link);
    list_push_front(&list, &item[0].link);
    list_insert_before(&list, &item[3].link, &item[2].link);
    assert_list(&list, "0123");
    list_remove(&list, &item[1].link);
    assert_false(link_on_list(&item[1].link));
    assert_true(link_on_list(&item[2].link));
    assert_list(&list, "023");
    assert_ptr_equal(list_pop_front(&list), &item[0].link);
    assert_list(&list, "23");
}

static void
test_list_join(void **state UNUSED)
{
    struct item item[4] = {
        {.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list a, b;

    list_init(&a);
    list_init(&b);
    list_join(&a, &b);
    assert_list(&a, "");
    list_push_back(&b, &item[0].link);
    list_push_back(&b, &item[1].link);
    list_join(&a, &b);
    assert_list(&a, "01");
    assert_list(&b, "");
    list_push_back(&b, &item[2].link);
    list_join(&a, &b);
    list_push_back(&a, &item[3].link);
    assert_list(&a, "0123");
}

static void
test_list_safe_removal(void **state UNUSED)
{
    struct item item[4] = {
        {.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list list;

    list_init(&list);
    for (size_t i = 0; i < COUNT_OF(item); i++)
        list_push_back(&list, &item[i].link);
    LIST_FOREACH_SAFE (link, next, &list) {
        if (CONTAINER_OF(link, struct item, link)->number % 2 == 0)
            list_remove(&list, link);
    }
    assert_list(&list, "13");
}

static void
test_map_basics(void **state UNUSED)
{
    struct map map = {0};
    int a, b;

    assert_null(map_get(&map, SV("x")));
    assert_null(map_remove(&map, SV("x")));
    assert_null(map_put(&map, SV(""), &a));
    assert_null(map_put(&map, SV("a\0b"), &b));
    assert_null(map_get(&map, SV("a")));
    assert_ptr_equal(map_get(&map, SV("a\0b")), &b);
    assert_ptr_equal(map_put(&map, SV(""), &b), &a);
    assert_int_equal(map.count, 2);
    assert_ptr_equal(map_remove(&map, (struct sv){0}), &b);
    assert_int_equal(map.count, 1);
    map_fini(&map);
    assert_int_equal(map.count, 0);
}

#define KEYS 500

static struct sv
key_of(size_t i, char *dst, size_t size)
{
    return (struct sv){dst, (size_t)snprintf(dst, size, "key-%zu", i)};
}

/* Random operations beside an array that says what the map must hold. */
static void
test_map_model(void **state UNUSED)
{
    static int values[KEYS];
    int *model[KEYS] = {0};
    struct map map = {0};
    size_t count = 0;
    char text[32];

    for (int step = 0; step < 50000; step++) {
        size_t i = random_below(KEYS);
        struct sv key = key_of(i, text, sizeof text);

        if (random_below(2) == 0) {
            assert_ptr_equal(map_put(&map, key, &values[i]), model[i]);
            count += model[i] == NULL;
            model[i] = &values[i];
        } else {
            assert_ptr_equal(map_remove(&map, key), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        }
        assert_int_equal(map.count, count);
        assert_true(map.cap <= 2048); /* marks do not make it grow */
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&map, key_of(i, text, sizeof text)), model[i]);
    map_fini(&map);
}

/* Every entry is seen once though half of them go on the way. */
static void
test_map_walk(void **state UNUSED)
{
    static int seen[KEYS];
    struct map map = {0};
    size_t cursor = 0, walked = 0;
    struct sv key;
    void *value;
    char text[32];

    for (size_t i = 0; i < KEYS; i++)
        map_put(&map, key_of(i, text, sizeof text), &seen[i]);
    while (map_next(&map, &cursor, &key, &value)) {
        int *count = value;

        assert_int_equal((*count)++, 0);
        assert_ptr_equal(map_get(&map, key), value);
        if (++walked % 2 == 0)
            assert_ptr_equal(map_remove_at(&map, cursor), value);
    }
    assert_int_equal(walked, KEYS);
    assert_int_equal(map.count, KEYS / 2);
    map_fini(&map);
}

static void
test_hash(void **state UNUSED)
{
    char zeros[64] = {0};

    assert_true(hash_bytes(SV("abc")) == hash_bytes(SV("abc")));
    for (size_t n = 0; n < sizeof zeros; n++)
        assert_true(hash_bytes((struct sv){zeros, n}) !=
                    hash_bytes((struct sv){zeros, n + 1}));
}

static void
test_random(void **state UNUSED)
{
    unsigned seen = 0;

    for (int i = 0; i < 1000; i++)
        seen |= BIT(random_below(5));
    assert_int_equal(seen, 31);
    assert_int_equal(random_below(1), 0);
    assert_true(random_u64() != random_u64());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_order),
        cmocka_unit_test(test_list_join),
        cmocka_unit_test(test_list_safe_removal),
        cmocka_unit_test(test_map_basics),
        cmocka_unit_test(test_map_model),
        cmocka_unit_test(test_map_walk),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests_name("containers", tests, NULL, NULL);
}
