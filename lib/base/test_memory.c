/* Arenas and buffers. */
#include "base/arena.h"
#include "base/buf.h"
#include "unit.h"

static void
test_arena_alloc(void **state UNUSED)
{
    struct arena arena;

    arena_init(&arena, 256);
    assert_null(arena.blocks);
    for (size_t size = 0; size < 600; size += 7) {
        char *p = arena_alloc(&arena, size);

        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(p[i], 0);
            p[i] = 'x'; /* must not show in later allocations */
        }
    }
    arena_fini(&arena);
}

static void
test_arena_reset(void **state UNUSED)
{
    struct arena arena;
    void *first;

    arena_init(&arena, 256);
    first = arena_alloc(&arena, 100);
    assert_int_equal(arena_used(&arena), 112);
    arena_reset(&arena);
    assert_int_equal(arena_used(&arena), 0);
    assert_ptr_equal(arena_alloc(&arena, 100), first);
    arena_release(&arena);
    assert_null(arena.blocks);
    arena_reset(&arena);
    arena_fini(&arena);
}

/* One large message must not make a session keep a large block. */
static void
test_arena_large_block_goes(void **state UNUSED)
{
    struct arena arena;

    arena_init(&arena, 256);
    arena_alloc(&arena, 100000);
    arena_reset(&arena);
    assert_null(arena.blocks);
    arena_fini(&arena);
}

static void
test_arena_large_keeps_current(void **state UNUSED)
{
    struct arena arena;
    char *a, *b;

    arena_init(&arena, 256);
    a = arena_alloc(&arena, 16);
    arena_alloc(&arena, 1000);
    b = arena_alloc(&arena, 16);
    assert_ptr_equal(b, a + 16);
    arena_fini(&arena);
}

static void
test_arena_text(void **state UNUSED)
{
    struct arena arena;
    struct sv text;

    arena_init(&arena, 64);
    text = arena_printf(&arena, "%s-%d", "queue", 7);
    assert_sv(text, "queue-7");
    assert_int_equal(text.p[text.n], 0);
    assert_string_equal(arena_cstr(&arena, SV("abc")), "abc");
    assert_sv(arena_copy(&arena, (struct sv){0}), "");
    text = arena_copy(&arena, SV("a\0b"));
    assert_int_equal(text.n, 3);
    arena_fini(&arena);
}

static void
test_buf_builds(void **state UNUSED)
{
    struct buf buf = {0};

    assert_int_equal(buf_view(&buf).n, 0);
    assert_string_equal(buf_cstr(&buf), "");
    buf_add(&buf, (struct sv){0});
    buf_add_str(&buf, "ab");
    buf_add_char(&buf, 'c');
    buf_printf(&buf, "-%d-%s", 42, "x");
    assert_sv(buf_view(&buf), "abc-42-x");
    assert_string_equal(buf_cstr(&buf), "abc-42-x");
    buf_reset(&buf);
    assert_int_equal(buf_length(&buf), 0);
    buf_fini(&buf);
    buf_add_str(&buf, "again");
    assert_sv(buf_view(&buf), "again");
    buf_fini(&buf);
}

/* A stream that is consumed as it comes needs no more than what it holds. */
static void
test_buf_stream(void **state UNUSED)
{
    struct buf buf = {0};
    unsigned char next = 0, seen = 0;

    for (int round = 0; round < 2000; round++) {
        size_t n = (size_t)(round * 7 % 50);

        for (size_t i = 0; i < n; i++)
            buf_add_char(&buf, (char)next++);
        while (buf_length(&buf) > (size_t)(round % 40)) {
            assert_int_equal((unsigned char)buf_view(&buf).p[0], seen++);
            buf_consume(&buf, 1);
        }
    }
    assert_true(buf.cap <= 512);
    buf_fini(&buf);
}

static void
test_buf_reserve(void **state UNUSED)
{
    struct buf buf = {0};

    memset(buf_reserve(&buf, 1000), 'r', 1000);
    buf_grew(&buf, 1000);
    buf_consume(&buf, 999);
    assert_sv(buf_view(&buf), "r");
    memset(buf_reserve(&buf, 5000), 's', 5000);
    buf_grew(&buf, 5000);
    assert_int_equal(buf_length(&buf), 5001);
    assert_int_equal(buf_view(&buf).p[0], 'r');
    buf_fini(&buf);
}

static void
test_allocation_of_nothing(void **state UNUSED)
{
    void *p = mem_alloc(0);

    assert_non_null(p);
    p = mem_resize(p, 0);
    assert_non_null(p);
    mem_free(p);
    mem_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_alloc),
        cmocka_unit_test(test_arena_reset),
        cmocka_unit_test(test_arena_large_block_goes),
        cmocka_unit_test(test_arena_large_keeps_current),
        cmocka_unit_test(test_arena_text),
        cmocka_unit_test(test_buf_builds),
        cmocka_unit_test(test_buf_stream),
        cmocka_unit_test(test_buf_reserve),
        cmocka_unit_test(test_allocation_of_nothing),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
