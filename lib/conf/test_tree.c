/* The bounds of the YAML reader. */
#include "base/buf.h"
#include "conf/conf.h"
#include "conf/tree.h"
#include "unit.h"

/* before, then middle count times, then after. */
static const struct row {
    const char *name;
    const char *before, *middle, *after;
    size_t count;
    const char *message; /* NULL: it is taken */
} rows[] = {
    {"deepest", "a: ", "[", "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", 31, NULL},
    {"too deep", "a: ", "[", "", 33,
     "t:1:35: maps and lists are nested too deep"},
    {"far too deep", "a: ", "[", "", 100000,
     "t:1:35: maps and lists are nested too deep"},
    {"far too deep by indentation", "", "- ", "", 100000,
     "t:1:65: maps and lists are nested too deep"},
    {"many values", "a: [", "1, ", "1]", 99990, NULL},
    {"too many values", "a: [", "1, ", "1]", 100000,
     "t:1:299999: the file holds too many values"},
    {"largest", "# ", "x", "\n", (1 << 20) - 3, NULL},
    {"too large", "# ", "x", "\n", (1 << 20) - 2,
     "t: is larger than 1048576 bytes"},
};

static void
check(void **state)
{
    const struct row *r = *state;
    struct buf text = {0};
    struct arena arena;
    struct err err = {0};
    const struct conf_node *root;

    buf_add_str(&text, r->before);
    for (size_t i = 0; i < r->count; i++)
        buf_add_str(&text, r->middle);
    buf_add_str(&text, r->after);
    arena_init(&arena, 4096);
    root = conf_tree_parse(&arena, buf_view(&text), "t", &err);
    assert_string_equal(err.text, r->message != NULL ? r->message : "");
    assert_int_equal(root != NULL, r->message == NULL);
    arena_fini(&arena);
    buf_fini(&text);
}

int
main(void)
{
    return RUN_ROWS("conf_tree", check, rows);
}
