#include "access/rat.h"
#include "unit.h"

/* A table as text: "pattern pattern=options !pattern"; ! rejects. */
enum { ROWS_MAX = 16 };

static struct rat *
rat_of(const char *text, struct err *err)
{
    struct rat_row rows[ROWS_MAX];
    struct sv rest = sv_of(text);
    size_t n = 0;

    while (rest.n > 0) {
        struct sv options = sv_take_until(&rest, ' ');
        struct rat_row *row = &rows[n++];

        *row = (struct rat_row){.accept = !sv_take_char(&options, '!')};
        row->pattern = sv_take_until(&options, '=');
        if (options.n > 0)
            assert_true(sv_to_u32(options, &row->options));
    }
    return rat_new(rows, n, err);
}

#define TYPICAL                                                                \
    "example.org=1 .example.org=2 !sales.example.org=3 "                       \
    ".lab.example.org=4 !boss@example.org=5 postmaster@=6 "                    \
    "\"odd,name\"@example.net=7 [192.0.2.1]=8 !ALL=9"

static const struct match_row {
    const char *name, *table, *local, *domain;
    uint32_t options; /* of the row that matches; 0: none does */
    bool accept;
} match_rows[] = {
    {"domain", TYPICAL, "ann", "example.org", 1, true},
    {"below the domain", TYPICAL, "ann", "x.example.org", 2, true},
    {"far below", TYPICAL, "ann", "a.b.c.d.e.f.example.org", 2, true},
    {"the exact domain before the suffix", TYPICAL, "ann", "sales.example.org",
     3, false},
    {"the longest suffix", TYPICAL, "ann", "x.lab.example.org", 4, true},
    {"the suffix is not the domain", TYPICAL, "ann", "lab.example.org", 2,
     true},
    {"suffix by labels, not letters", TYPICAL, "ann", "evilexample.org", 9,
     false},
    {"mailbox before domain", TYPICAL, "boss", "example.org", 5, false},
    {"mailbox, case", TYPICAL, "BoSS", "example.org", 5, false},
    {"mailbox, quoted", TYPICAL, "\"boss\"", "example.org", 5, false},
    {"mailbox, quoted pair", TYPICAL, "\"b\\oss\"", "example.org", 5, false},
    {"mailbox of another domain", TYPICAL, "boss", "x.example.org", 2, true},
    {"longer local part", TYPICAL, "boss2", "example.org", 1, true},
    {"sub-address is another mailbox", TYPICAL, "boss+x", "example.org", 1,
     true},
    {"user of any domain", TYPICAL, "postmaster", "other.example", 6, true},
    {"user before domain", TYPICAL, "Postmaster", "sales.example.org", 6, true},
    {"user without a domain", TYPICAL, "postmaster", "", 6, true},
    {"nobody without a domain", TYPICAL, "ann", "", 9, false},
    {"quoted pattern", TYPICAL, "\"odd,name\"", "example.net", 7, true},
    {"literal", TYPICAL, "ann", "[192.0.2.1]", 8, true},
    {"another literal", TYPICAL, "ann", "[192.0.2.2]", 9, false},
    {"ALL", TYPICAL, "ann", "other.example", 9, false},
    {"ALL accepts", "all=1 !x.example=2", "ann", "other.example", 1, true},
    {"ALL is no domain", "ALL=1", "ann", "ALL", 1, true},
    {"without ALL", "example.org=1", "ann", "other.example", 0, false},
    {"empty table", "", "ann", "example.org", 0, false},
    {"pattern in capitals", "Example.ORG=1", "ann", "example.org", 1, true},
    {"pattern in UTF-8",
     "b\xc3\xbc"
     "cher.example=1",
     "ann", "xn--bcher-kva.example", 1, true},
    {"domain that begins with a dot", ".example.org=1", "ann", ".example.org",
     0, false},
    {"local part that is too long", "boss@example.org=1 !example.org=2",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "example.org", 2, false},
    {"half a quoted pair", "boss@example.org=1 !example.org=2", "\"boss\\\"",
     "example.org", 2, false},
    {"local part with @", "boss@example.org=1 !ALL=2", "\"boss@example.org\"",
     "evil.example", 2, false},
    {"user with @ in quotes", "!\"a@b\"@=1 ALL=2", "\"a@b\"", "x.example", 1,
     false},
};

static void
check_match(void **state)
{
    const struct match_row *r = *state;
    struct err err = {0};
    struct rat *rat = rat_of(r->table, &err);
    struct rat_match match;

    assert_string_equal(err.text, "");
    assert_non_null(rat);
    rat_match(rat, sv_of(r->local), sv_of(r->domain), &match);
    assert_int_equal(match.options, r->options);
    assert_int_equal(match.accept, r->accept);
    assert_int_equal(match.row == RAT_NONE, r->options == 0);
    rat_unref(rat);
}

static const struct refused_row {
    const char *name, *table, *says;
} refused_rows[] = {
    {"twice", "example.org Example.org", "stands there twice"},
    {"twice, quoted", "boss@example.org \"boss\"@example.org", "twice"},
    {"ALL twice", "ALL !all", "twice"},
    {"row is named", "a.example b..example", "row 2: "},
    {"a star", "*.example.org", "has a star"},
    {"an at alone", "@example.org", "without @"},
    {"an at and nothing", "@", "local part"},
    {"two ats", "a@b@example.org", "local part"},
    {"empty in quotes", "\"\"@example.org", "local part"},
    {"blank", "boss\t@example.org", "local part"},
    {"bad domain", "boss@-x.example", "bad domain"},
    {"user below a domain", "boss@.example.org", "in all subdomains"},
    {"a dot", ".", "none of"},
    {"two dots", "..example.org", "none of"},
    {"below a literal", ".[192.0.2.1]", "none of"},
    {"an address without brackets", "boss@192.0.2.0/24", "bad domain"},
};

static void
check_refused(void **state)
{
    const struct refused_row *r = *state;
    struct err err = {0};

    assert_null(rat_of(r->table, &err));
    if (strstr(err.text, r->says) == NULL)
        fail_msg("said: %s", err.text);
}

static const struct lint_row {
    const char *name, *table, *found;
} lint_rows[] = {
    {"nothing", "example.org=1 boss@example.org=2 !ALL", ""},
    {"mailbox as its domain", "example.org boss@example.org", "same 1 as 0;"},
    {"other options", "example.org boss@example.org=1", ""},
    {"other verdict", "example.org !boss@example.org", ""},
    {"mailbox as its user", "!boss@ !boss@example.org example.org",
     "same 1 as 0;"},
    {"domain as the suffix", ".example.org a.example.org", "same 1 as 0;"},
    {"suffix as the wider", ".example.org .a.example.org", "same 1 as 0;"},
    {"suffix as the wider, not the widest",
     ".example.org !.a.example.org .b.a.example.org", ""},
    {"reject as ALL", "!example.org !ALL", "same 0 as 1;"},
    {"reject without ALL", "!example.org", "same 0 as none;"},
    {"user in every domain", "boss@", "any 0;"},
    {"user rejected", "!boss@", ""},
    {"open", "ALL", "open 0;"},
};

static void
add_finding(const struct rat_finding *finding, void *arg)
{
    char *found = arg;
    size_t n = strlen(found), room = 128 - n;

    switch (finding->kind) {
    case RAT_LINT_NO_EFFECT:
        if (finding->by == RAT_NONE)
            snprintf(found + n, room, "same %zu as none;", finding->row);
        else
            snprintf(found + n, room, "same %zu as %zu;", finding->row,
                     finding->by);
        break;
    case RAT_LINT_ANY_DOMAIN:
        snprintf(found + n, room, "any %zu;", finding->row);
        break;
    case RAT_LINT_OPEN:
        snprintf(found + n, room, "open %zu;", finding->row);
        break;
    }
}

static void
check_lint(void **state)
{
    const struct lint_row *r = *state;
    struct err err = {0};
    struct rat *rat = rat_of(r->table, &err);
    char found[128] = "";

    assert_string_equal(err.text, "");
    assert_non_null(rat);
    rat_lint(rat, add_finding, found);
    assert_string_equal(found, r->found);
    rat_unref(rat);
}

static void
test_rows_are_kept(void **state UNUSED)
{
    struct err err;
    struct rat *rat = rat_of("Example.org Boss@example.org", &err);

    assert_non_null(rat);
    assert_int_equal(rat_row_count(rat), 2);
    assert_sv(rat_pattern(rat, 1), "Boss@example.org");
    assert_ptr_equal(rat_ref(rat), rat);
    rat_unref(rat);
    assert_sv(rat_pattern(rat, 0), "Example.org");
    rat_unref(rat);
    rat_unref(NULL);
    assert_true(rat_pattern_check(SV("boss@"), &err));
    assert_false(rat_pattern_check(SV(""), &err));
}

static uint64_t seed;

static uint32_t
draw(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

static void
draw_domain(char *text, size_t size)
{
    uint32_t labels = 1 + draw(3);
    int n = 0;

    for (uint32_t i = 0; i < labels; i++)
        n += snprintf(text + n, size - (size_t)n, "%c.", (char)('a' + draw(3)));
    snprintf(text + n, size - (size_t)n, "x");
}

/* The reference: how well a pattern fits, 0 not at all; the longer suffix is
 * the better one. */
static size_t
rank(const char *pattern, const char *local, const char *domain)
{
    char mailbox[128];
    size_t n = strlen(domain), m = strlen(pattern);

    snprintf(mailbox, sizeof mailbox, "%s@%s", local, domain);
    if (strcmp(pattern, mailbox) == 0)
        return 1003;
    if (pattern[m - 1] == '@')
        return strncmp(pattern, mailbox, m) == 0 ? 1002 : 0;
    if (strcmp(pattern, domain) == 0)
        return 1001;
    if (pattern[0] == '.' && n > m && strcmp(domain + n - m, pattern) == 0)
        return 1 + m;
    return strcmp(pattern, "ALL") == 0 ? 1 : 0;
}

enum { RANDOM_ROWS = 20 };

static void
draw_pattern(char *text, size_t size)
{
    char domain[32], user = (char)('p' + draw(3));

    draw_domain(domain, sizeof domain);
    switch (draw(8)) {
    case 0:
    case 1:
        snprintf(text, size, "%s", domain);
        return;
    case 2:
    case 3:
        snprintf(text, size, ".%s", domain);
        return;
    case 4:
        snprintf(text, size, "%c@", user);
        return;
    case 5:
        snprintf(text, size, "ALL");
        return;
    default:
        snprintf(text, size, "%c@%s", user, domain);
        return;
    }
}

static void
compare_recipient(const struct rat *rat, char texts[RANDOM_ROWS][48],
                  size_t count)
{
    char local[2] = {(char)('p' + draw(4)), '\0'}, domain[32];
    size_t best = 0, row = RAT_NONE;
    struct rat_match match;

    draw_domain(domain, sizeof domain);
    for (size_t i = 0; i < count; i++) {
        if (rank(texts[i], local, domain) > best) {
            best = rank(texts[i], local, domain);
            row = i;
        }
    }
    rat_match(rat, sv_of(local), sv_of(domain), &match);
    assert_true(match.row == row);
}

static void
test_random_tables(void **state UNUSED)
{
    for (uint64_t start = 1; start < 200; start++) {
        char texts[RANDOM_ROWS][48];
        struct rat_row rows[RANDOM_ROWS];
        struct rat *rat;
        size_t n = 0;

        seed = start;
        for (int i = 0; i < RANDOM_ROWS; i++) {
            size_t k = 0;

            draw_pattern(texts[n], sizeof texts[n]);
            while (strcmp(texts[k], texts[n]) != 0)
                k++;
            rows[n] = (struct rat_row){sv_of(texts[n]), true, 0};
            n += k == n; /* else it is there already */
        }
        rat = rat_new(rows, n, NULL);
        assert_non_null(rat);
        for (int i = 0; i < 100; i++)
            compare_recipient(rat, texts, n);
        rat_unref(rat);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_kept),
        cmocka_unit_test(test_random_tables),
    };

    return RUN_ROWS("rat_match", check_match, match_rows) +
           RUN_ROWS("rat_refused", check_refused, refused_rows) +
           RUN_ROWS("rat_lint", check_lint, lint_rows) +
           cmocka_run_group_tests_name("rat", tests, NULL, NULL);
}
