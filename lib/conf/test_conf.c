/* The machinery on a small table of its own: every type, words, defaults,
 * inheritance, and what is printed. */
#include "base/buf.h"
#include "conf/conf.h"
#include "unit.h"

struct colour {
    char *name;
    uint32_t red;
    uint32_t green;
};

struct thing {
    bool flag;
    uint16_t small;
    uint64_t large;
    uint64_t size;
    uint64_t time;
    char *text;
    char *path;
    unsigned choice;
    unsigned set;
    struct net_address address;
    bool secret;
    struct net_prefix *nets;
    size_t net_count;
    char **words;
    size_t word_count;
    char **pairs;
    size_t pair_count;
    struct colour *colours;
    size_t colour_count;
    struct colour *paint;
    struct colour **palette;
    size_t palette_count;
};

static const struct conf_field colour_rows[] = {
    {.name = "red",
     .type = CONF_U32,
     .offset = CONF_OFFSET(struct colour, red, uint32_t),
     .dflt = "1",
     .doc = "Red."},
    {.name = "green",
     .type = CONF_U32,
     .offset = CONF_OFFSET(struct colour, green, uint32_t),
     .dflt = "2",
     .doc = "Green."},
};
static const struct conf_table colour_table = {
    CONF_ROWS(colour_rows),
    .size = sizeof(struct colour),
    .entry = "NAME",
    .named = true,
    .name_offset = offsetof(struct colour, name),
    .inherit = CONF_INHERIT_NAMED};

static const struct conf_name choices[] = {{"left", 0}, {"right", 1}, {0}};
static const struct conf_name flags[] = {{"a", 1}, {"b", 2}, {"c", 4}, {0}};

#define AT(member, type) CONF_OFFSET(struct thing, member, type)
static const struct conf_field rows[] = {
    {.name = "flag",
     .type = CONF_BOOL,
     .offset = AT(flag, bool),
     .dflt = "on",
     .doc = "A flag."},
    {.name = "small",
     .type = CONF_U16,
     .offset = AT(small, uint16_t),
     .dflt = "25",
     .min = 1,
     .doc = "A port."},
    {.name = "large",
     .type = CONF_U64,
     .offset = AT(large, uint64_t),
     .doc = "Unbounded."},
    {.name = "size",
     .type = CONF_SIZE,
     .offset = AT(size, uint64_t),
     .dflt = "10K",
     .word = "unlimited",
     .doc = "A size."},
    {.name = "time",
     .type = CONF_DURATION,
     .offset = AT(time, uint64_t),
     .dflt = "90s",
     .doc = "A time."},
    {.name = "text",
     .type = CONF_STRING,
     .offset = AT(text, char *),
     .dflt = "some words",
     .doc = "A text."},
    {.name = "path",
     .type = CONF_PATH,
     .offset = AT(path, char *),
     .dflt = "./file",
     .word = "-",
     .doc = "A file."},
    {.name = "choice",
     .type = CONF_ENUM,
     .offset = AT(choice, unsigned),
     .names = choices,
     .dflt = "right",
     .doc = "A choice."},
    {.name = "set",
     .type = CONF_FLAGS,
     .offset = AT(set, unsigned),
     .names = flags,
     .dflt = "{a: on}",
     .doc = "A set."},
    {.name = "address",
     .type = CONF_ADDRESS,
     .offset = AT(address, struct net_address),
     .dflt = "tls://127.0.0.1:1",
     .prefix = "tls://",
     .prefix_offset = AT(secret, bool),
     .doc = "An address."},
    {.name = "nets",
     .type = CONF_PREFIXES,
     .offset = AT(nets, struct net_prefix *),
     .count_offset = AT(net_count, size_t),
     .word = "off",
     .dflt = "[10.0.0.0/8]",
     .doc = "Networks."},
    {.name = "words",
     .type = CONF_STRINGS,
     .offset = AT(words, char **),
     .count_offset = AT(word_count, size_t),
     .dflt = "[x, y z]",
     .max = 3,
     .doc = "Words."},
    {.name = "pairs",
     .type = CONF_PAIRS,
     .offset = AT(pairs, char **),
     .count_offset = AT(pair_count, size_t),
     .doc = "Pairs."},
    {.name = "colours",
     .type = CONF_STRUCT_MAP,
     .offset = AT(colours, struct colour *),
     .count_offset = AT(colour_count, size_t),
     .table = &colour_table,
     .doc = "Colours."},
    {.name = "paint",
     .type = CONF_REF,
     .offset = AT(paint, struct colour *),
     .target = "colours",
     .word = "none",
     .dflt = "none",
     .doc = "One."},
    {.name = "palette",
     .type = CONF_REFS,
     .offset = AT(palette, struct colour **),
     .count_offset = AT(palette_count, size_t),
     .target = "colours",
     .doc = "Several."},
};
static const struct conf_table table = {CONF_ROWS(rows),
                                        .size = sizeof(struct thing)};

static const struct case_row {
    const char *name, *yaml;
    const char *printed; /* what was given, or the message */
} cases[] = {
    {"nothing", "", ""},
    {"words for switches", "flag: No", "flag: off\n"},
    {"another word", "flag: TRUE", "flag: on\n"},
    {"quotes are fine", "small: \"7\"", "small: 7\n"},
    {"smallest number", "small: 0",
     "t:1:8: small: \"0\" is out of bounds "
     "(1..65535)"},
    {"largest number", "small: 65535", "small: 65535\n"},
    {"number too large", "small: 65536",
     "t:1:8: small: \"65536\" is out of bounds (1..65535)"},
    {"zeros in front", "small: 0007", "small: 7\n"},
    {"blank inside", "small: 1 2",
     "t:1:8: small: \"1 2\" is not a number (1..65535)"},
    {"unbounded", "large: 18446744073709551614",
     "large: 18446744073709551614\n"},
    {"beyond it", "large: 18446744073709551616",
     "t:1:8: large: \"18446744073709551616\" is out of bounds"},
    {"bytes", "size: 1000", "size: 1000\n"},
    {"kilobytes", "size: 2048k", "size: 2M\n"},
    {"word", "size: unlimited", "size: unlimited\n"},
    {"zero is the word", "size: 0", "size: unlimited\n"},
    {"milliseconds", "time: 1500ms", "time: 1500ms\n"},
    {"hours", "time: 48h", "time: 2d\n"},
    {"no time", "time: 0s", "time: 0s\n"},
    {"minutes are not months", "time: 5M", "time: 5m\n"},
    {"quotes in text", "text: 'say \"a\\b\"'",
     "text: \"say \\\"a\\\\b\\\"\"\n"},
    {"empty text", "text: ''", "text: \"\"\n"},
    {"hash in text", "text: 'a # b'", "text: \"a # b\"\n"},
    {"dash in front", "text: '-a'", "text: \"-a\"\n"},
    {"relative path", "path: x/y", "path: /etc/w/x/y\n"},
    {"absolute path", "path: /x", "path: /x\n"},
    {"path word", "path: '-'", "path: \"-\"\n"},
    {"choice", "choice: left", "choice: left\n"},
    {"flags changed", "set: {b: on}", "set: {a: on, b: on, c: off}\n"},
    {"flags replaced", "set: [c]", "set: {a: off, b: off, c: on}\n"},
    {"no flags", "set: []", "set: {a: off, b: off, c: off}\n"},
    {"address", "address: '[::1]:25'", "address: \"[::1]:25\"\n"},
    {"address with prefix", "address: TLS://[::1]:25",
     "address: \"tls://[::1]:25\"\n"},
    {"network", "nets: 192.0.2.7", "nets: [\"192.0.2.7/32\"]\n"},
    {"no network", "nets: off", "nets: off\n"},
    {"empty list", "nets: []", "nets: off\n"},
    {"one word", "words: a", "words: [a]\n"},
    {"words", "words: [a, 'b c', \"d\"]", "words: [a, \"b c\", d]\n"},
    {"too many words", "words: [a, b, c, d]",
     "t:1:8: words: has 4 entries; 3 are the most"},
    {"empty word", "words: ['']", "t:1:9: words[0]: must not be empty"},
    {"null word", "words: [~]", "words: [\"~\"]\n"},
    {"pairs", "pairs: {a: b=c, d: e}", "pairs: {a: \"b=c\", d: e}\n"},
    {"pair of a list", "pairs: {a: [b]}",
     "t:1:12: pairs.a: must be a single value, not a list"},
    {"inherited", "colours: {a: {inherit: b}, b: {red: 7}}",
     "colours:\n  a:\n    inherit: b\n  b:\n    red: 7\n"},
    {"empty entry", "colours: {a: {}}", "colours:\n  a: {}\n"},
    {"reference before its target", "paint: a\ncolours: {a: {red: 3}}",
     "colours:\n  a:\n    red: 3\npaint: a\n"},
    {"no reference", "paint: none", "paint: none\n"},
    {"references", "palette: [a, b, a]\ncolours: {b: {}, a: {}}",
     "colours:\n  b: {}\n  a: {}\npalette: [a, b, a]\n"},
    {"merge key", "<<: {flag: on}", "t:1:1: \"<<\": there is no such setting"},
    {"windows line ends", "flag: off\r\nsmall: 1\r\n", "flag: off\nsmall: 1\n"},
    {"byte order mark",
     "\xef\xbb\xbf"
     "flag: off\n",
     "flag: off\n"},
    {"document marks", "---\nflag: off\n...\n", "flag: off\n"},
};

struct loaded {
    struct arena arena;
    struct thing thing;
    struct conf_doc *doc;
    struct err err;
};

static void
load(struct loaded *l, const char *yaml)
{
    const struct conf_source source = {sv_of(yaml), "t", "/etc/w"};

    memset(l, 0, sizeof *l);
    arena_init(&l->arena, 4096);
    l->doc = conf_load(&table, &l->thing, &source, &l->arena, &l->err);
}

static void
unload(struct loaded *l)
{
    conf_doc_free(l->doc);
    arena_fini(&l->arena);
}

static void
check(void **state)
{
    const struct case_row *r = *state;
    struct buf out = {0};
    struct loaded l;

    load(&l, r->yaml);
    if (l.doc != NULL)
        conf_print(l.doc, false, &out);
    else
        buf_add_str(&out, l.err.text);
    assert_string_equal(buf_cstr(&out), r->printed);
    buf_fini(&out);
    unload(&l);
}

static void
test_defaults(void **state)
{
    struct loaded l;
    const struct thing *t = &l.thing;

    (void)state;
    load(&l, "");
    assert_non_null(l.doc);
    assert_true(t->flag);
    assert_int_equal(t->small, 25);
    assert_int_equal(t->size, 10240);
    assert_int_equal(t->time, 90000);
    assert_string_equal(t->text, "some words");
    assert_string_equal(t->path, "/etc/w/file");
    assert_int_equal(t->choice, 1);
    assert_int_equal(t->set, 1);
    assert_true(t->secret);
    assert_int_equal(net_address_port(&t->address), 1);
    assert_int_equal(t->net_count, 1);
    assert_int_equal(t->word_count, 2);
    assert_string_equal(t->words[1], "y z");
    assert_int_equal(t->colour_count, 0);
    assert_null(t->paint);
    unload(&l);
}

static void
test_inheritance(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "colours:\n"
             "  c: {inherit: b, green: 9}\n"
             "  b: {inherit: a, red: 8}\n"
             "  a: {red: 7, green: 6}\n"
             "palette: [a, c]\n");
    assert_non_null(l.doc);
    assert_int_equal(l.thing.colours[0].red, 8);
    assert_int_equal(l.thing.colours[0].green, 9);
    assert_int_equal(l.thing.colours[1].green, 6);
    assert_ptr_equal(l.thing.palette[1], &l.thing.colours[0]);
    assert_true(conf_given(l.doc, &colour_table, &l.thing.colours[1], "green"));
    unload(&l);
}

static void
test_refuse(void **state)
{
    struct loaded l;
    struct err err;

    (void)state;
    load(&l, "colours:\n  a: {red: 7}\n");
    assert_false(conf_refuse(l.doc, &colour_table, l.thing.colours, "red", &err,
                             "is %s", "ugly"));
    assert_string_equal(err.text, "t:2:12: colours.a.red: is ugly");
    assert_false(conf_refuse(l.doc, &colour_table, l.thing.colours, "green",
                             &err, "is pale"));
    assert_string_equal(err.text, "t:2:3: colours.a.green: is pale");
    assert_false(conf_refuse(l.doc, &colour_table, l.thing.colours, NULL, &err,
                             "is odd"));
    assert_string_equal(err.text, "t:2:3: colours.a: is odd");
    unload(&l);
}

static void
test_manual(void **state)
{
    struct buf out = {0};

    (void)state;
    conf_manual(&table, &out);
    assert_non_null(strstr(buf_cstr(&out),
                           "### `size`\n\n*size, unlimited; default: `10K`; "
                           "takes effect at reload*\n\nA size.\n"));
    assert_non_null(strstr(buf_cstr(&out), "## `colours.NAME`\n"));
    assert_non_null(strstr(buf_cstr(&out), "### `colours.NAME.red`\n"));
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_inheritance),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_manual),
    };

    return RUN_ROWS("conf", check, cases) +
           cmocka_run_group_tests_name("conf api", tests, NULL, NULL);
}
