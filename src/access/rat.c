/* All patterns live in one map under their canonical text; a match asks for
 * the few texts that could fit, the most specific first.  A pattern cannot be
 * taken for one of another kind: '@' stands in no domain, the leading dot in
 * no other, and ALL is kept apart. */
#include "access/rat.h"
#include "base/map.h"
#include "mail/address.h"
#include <stdatomic.h>

enum {
    PATTERN_MAX = 2 * MAIL_DOMAIN_MAX,
    QUOTED_MAX = 2 * MAIL_LOCAL_MAX, /* every byte a quoted pair */
    SHOWN_MAX = 100,                 /* bytes of a pattern in a message */
    KEY_MAX = MAIL_LOCAL_MAX + 1 + MAIL_DOMAIN_MAX + 1,
};

enum pattern_kind {
    PATTERN_MAILBOX,
    PATTERN_USER,
    PATTERN_DOMAIN,
    PATTERN_SUBDOMAINS,
    PATTERN_ALL,
};

struct rule {
    char *pattern; /* owned */
    char *key;     /* owned; canonical */
    enum pattern_kind kind;
    bool accept;
    uint32_t options;
};

struct rat {
    _Atomic unsigned references;
    struct rule *rules; /* owned */
    size_t rule_count;
    struct map keys;      /* struct rule */
    struct rule *all;     /* NULL: nobody said */
    bool users;           /* a PATTERN_USER or PATTERN_MAILBOX is there */
    size_t domain_labels; /* of the deepest PATTERN_SUBDOMAINS */
};

/* Takes the quotes off (RFC 5321 section 4.1.2: "\x" is x) and lowers; the
 * length, or 0 when the local part is empty, too long or broken. */
static size_t
plain_local(struct sv local, char *out)
{
    bool quoted =
        local.n >= 2 && local.p[0] == '"' && local.p[local.n - 1] == '"';
    size_t n = 0;

    if (quoted)
        local = sv_slice(local, 1, local.n - 2);
    if (local.n > QUOTED_MAX)
        return 0;
    for (size_t i = 0; i < local.n; i++) {
        if (quoted && local.p[i] == '\\' && ++i == local.n)
            return 0;
        if (n == MAIL_LOCAL_MAX)
            return 0;
        out[n++] = char_lower(local.p[i]);
    }
    return n;
}

static bool
refuse(struct err *err, struct sv text, const char *why)
{
    err_set(err, "recipient pattern \"%.*s\" %s",
            SV_ARG(sv_slice(text, 0, SHOWN_MAX)), why);
    return false;
}

/* A local part as it stands in a pattern: what RFC 5321 section 4.1.2 allows,
 * told by giving it a domain. */
static bool
local_valid(struct sv local)
{
    char mailbox[2 * KEY_MAX];
    struct mail_path path;
    int n;

    if (local.n == 0 || local.n > MAIL_LOCAL_MAX)
        return false;
    n = snprintf(mailbox, sizeof mailbox, "%.*s@example.org", SV_ARG(local));
    return mail_mailbox_parse((struct sv){mailbox, (size_t)n}, &path) &&
           path.local.n == local.n;
}

static bool
address_key(struct sv text, size_t at, struct rule *rule, char *key,
            struct err *err)
{
    struct sv local = sv_slice(text, 0, at), domain = sv_from(text, at + 1);
    size_t n;

    if (!local_valid(local))
        return refuse(err, text,
                      "has a bad local part: boss@example.org, or boss@ for "
                      "any domain, is wanted; a whole domain is written "
                      "without @");
    n = plain_local(local, key);
    if (n == 0)
        return refuse(err, text, "has an empty local part");
    key[n++] = '@';
    key[n] = '\0';
    rule->kind = domain.n == 0 ? PATTERN_USER : PATTERN_MAILBOX;
    if (domain.n == 0 || mail_domain_canonical(domain, key + n))
        return true;
    return refuse(err, text,
                  domain.p[0] == '.'
                      ? "has a local part in all subdomains: write boss@ for "
                        "any domain, or a row for each"
                      : "has a bad domain behind the @: boss@example.org is "
                        "wanted");
}

static bool
domain_key(struct sv text, struct rule *rule, char *key, struct err *err)
{
    struct sv domain = text;

    if (sv_starts_nocase(text, SV("*.")))
        return refuse(err, text,
                      "has a star: .example.org stands for all domains below "
                      "example.org");
    rule->kind = PATTERN_DOMAIN;
    if (sv_take_char(&domain, '.')) {
        rule->kind = PATTERN_SUBDOMAINS;
        *key++ = '.';
    }
    if (mail_domain_canonical(domain, key) &&
        !(rule->kind == PATTERN_SUBDOMAINS && key[0] == '['))
        return true;
    return refuse(err, text,
                  "is none of: a domain (example.org), its subdomains "
                  "(.example.org), a mailbox (boss@example.org), a user of "
                  "any domain (boss@) or ALL");
}

static bool
parse_pattern(struct sv text, struct rule *rule, char *key, struct err *err)
{
    size_t at = sv_last_index(text, '@');

    key[0] = '\0';
    if (text.n > PATTERN_MAX)
        return refuse(err, text, "is too long");
    if (sv_is_nocase(text, "ALL")) {
        rule->kind = PATTERN_ALL;
        return true;
    }
    if (at != SV_NONE)
        return address_key(text, at, rule, key, err);
    return domain_key(text, rule, key, err);
}

bool
rat_pattern_check(struct sv text, struct err *err)
{
    char key[KEY_MAX];
    struct rule rule;

    return parse_pattern(text, &rule, key, err);
}

static size_t
count_dots(const char *name)
{
    size_t dots = 0;

    for (; *name != '\0'; name++)
        dots += *name == '.';
    return dots;
}

/* The row that has the same key, or NULL. */
static const struct rule *
keep(struct rat *rat, struct rule *rule)
{
    const struct rule *former;

    if (rule->kind == PATTERN_ALL) {
        former = rat->all;
        rat->all = rule;
        return former;
    }
    if (rule->kind == PATTERN_SUBDOMAINS &&
        count_dots(rule->key) > rat->domain_labels)
        rat->domain_labels = count_dots(rule->key);
    if (rule->kind == PATTERN_USER || rule->kind == PATTERN_MAILBOX)
        rat->users = true;
    return map_put(&rat->keys, sv_of(rule->key), rule);
}

static bool
add_row(struct rat *rat, const struct rat_row *row, struct err *err)
{
    struct rule *rule = &rat->rules[rat->rule_count];
    const struct rule *former;
    char key[KEY_MAX];

    if (!parse_pattern(row->pattern, rule, key, err))
        return false;
    rat->rule_count++;
    rule->pattern = sv_dup(row->pattern);
    rule->key = mem_strdup(key);
    rule->accept = row->accept;
    rule->options = row->options;
    former = keep(rat, rule);
    if (former == NULL)
        return true;
    err_set(err,
            "recipient pattern \"%s\" stands there twice (\"%s\" in row %zu): "
            "one of them must go",
            rule->pattern, former->pattern, (size_t)(former - rat->rules) + 1);
    return false;
}

struct rat *
rat_new(const struct rat_row *rows, size_t count, struct err *err)
{
    struct rat *rat = mem_alloc(sizeof *rat);

    atomic_init(&rat->references, 1);
    rat->rules = mem_alloc_array(count, sizeof *rat->rules);
    for (size_t i = 0; i < count; i++) {
        if (!add_row(rat, &rows[i], err)) {
            err_wrap(err, "recipient access table row %zu", i + 1);
            rat_unref(rat);
            return NULL;
        }
    }
    return rat;
}

struct rat *
rat_ref(struct rat *rat)
{
    atomic_fetch_add(&rat->references, 1);
    return rat;
}

void
rat_unref(struct rat *rat)
{
    if (rat == NULL || atomic_fetch_sub(&rat->references, 1) > 1)
        return;
    for (size_t i = 0; i < rat->rule_count; i++) {
        mem_free(rat->rules[i].pattern);
        mem_free(rat->rules[i].key);
    }
    map_fini(&rat->keys);
    mem_free(rat->rules);
    mem_free(rat);
}

size_t
rat_row_count(const struct rat *rat)
{
    return rat->rule_count;
}

struct sv
rat_pattern(const struct rat *rat, size_t row)
{
    assert(row < rat->rule_count);
    return sv_of(rat->rules[row].pattern);
}

/* Look-ups give the first rule found that is not except (which lint leaves
 * out to see what would be without it). */
static const struct rule *
find(const struct rat *rat, struct sv key, const struct rule *except)
{
    const struct rule *rule = map_get(&rat->keys, key);

    return rule == except ? NULL : rule;
}

/* Ranks 1 and 2: the key is "local@domain", then its beginning. */
static const struct rule *
find_user(const struct rat *rat, struct sv local, struct sv domain,
          const struct rule *except)
{
    char key[KEY_MAX];
    size_t n = plain_local(local, key);
    const struct rule *rule;

    if (n == 0 || domain.n > MAIL_DOMAIN_MAX)
        return NULL;
    key[n++] = '@';
    if (domain.n > 0)
        memcpy(key + n, domain.p, domain.n);
    rule = find(rat, (struct sv){key, n + domain.n}, except);
    return rule != NULL ? rule : find(rat, (struct sv){key, n}, except);
}

/* Rank 3.  A domain that is none (".example.org") could hit another kind. */
static const struct rule *
find_domain(const struct rat *rat, struct sv domain, const struct rule *except)
{
    const struct rule *rule = find(rat, domain, except);

    return rule != NULL && rule->kind == PATTERN_DOMAIN ? rule : NULL;
}

/* Where the longest suffix begins that a row could have: a name of a hundred
 * labels costs no more than another. */
static size_t
first_suffix(const struct rat *rat, struct sv domain)
{
    size_t i = domain.n, dots = 0;

    while (i > 0 && dots < rat->domain_labels)
        dots += domain.p[--i] == '.';
    return i;
}

/* Rank 4; nothing stands before a dot at 0. */
static const struct rule *
find_suffix(const struct rat *rat, struct sv domain, const struct rule *except)
{
    for (size_t i = first_suffix(rat, domain); i < domain.n; i++) {
        const struct rule *rule;

        if (domain.p[i] != '.' || i == 0)
            continue;
        rule = find(rat, sv_from(domain, i), except);
        if (rule != NULL)
            return rule;
    }
    return NULL;
}

static const struct rule *
match(const struct rat *rat, struct sv local, struct sv domain,
      const struct rule *except)
{
    const struct rule *rule = NULL;

    if (rat->users)
        rule = find_user(rat, local, domain, except);
    if (rule == NULL)
        rule = find_domain(rat, domain, except);
    if (rule == NULL)
        rule = find_suffix(rat, domain, except);
    return rule != NULL || rat->all == except ? rule : rat->all;
}

void
rat_match(const struct rat *rat, struct sv local, struct sv domain,
          struct rat_match *result)
{
    const struct rule *rule = match(rat, local, domain, NULL);

    *result = (struct rat_match){.row = RAT_NONE};
    if (rule == NULL)
        return;
    result->row = (size_t)(rule - rat->rules);
    result->accept = rule->accept;
    result->options = rule->options;
}

/* The rule that would speak for the recipients of this one; false where that
 * differs from recipient to recipient. */
static bool
without(const struct rat *rat, const struct rule *rule,
        const struct rule **instead)
{
    struct sv key = sv_of(rule->key), local = {0}, domain = key;
    size_t at = sv_last_index(key, '@');

    switch (rule->kind) {
    case PATTERN_MAILBOX:
        local = sv_slice(key, 0, at);
        domain = sv_from(key, at + 1);
        break;
    case PATTERN_SUBDOMAINS: /* the suffixes of its key are those left */
    case PATTERN_DOMAIN:
        break;
    case PATTERN_USER:
    case PATTERN_ALL:
        return false;
    }
    *instead = match(rat, local, domain, rule);
    return true;
}

static void
lint_rule(const struct rat *rat, const struct rule *rule,
          struct rat_finding *finding)
{
    const struct rule *instead;
    bool accept = false;
    uint32_t options = 0;

    finding->kind = RAT_LINT_NO_EFFECT;
    finding->by = RAT_NONE;
    if (!without(rat, rule, &instead))
        return;
    if (instead != NULL) {
        accept = instead->accept;
        options = instead->options;
        finding->by = (size_t)(instead - rat->rules);
    }
    if (accept == rule->accept && options == rule->options)
        finding->row = (size_t)(rule - rat->rules);
}

void
rat_lint(const struct rat *rat,
         void (*on_finding)(const struct rat_finding *finding, void *arg),
         void *arg)
{
    for (size_t i = 0; i < rat->rule_count; i++) {
        const struct rule *rule = &rat->rules[i];
        struct rat_finding finding = {.row = RAT_NONE, .by = RAT_NONE};

        if (rule->kind == PATTERN_USER && rule->accept)
            finding = (struct rat_finding){RAT_LINT_ANY_DOMAIN, i, RAT_NONE};
        else if (rule->kind == PATTERN_ALL && rule->accept)
            finding = (struct rat_finding){RAT_LINT_OPEN, i, RAT_NONE};
        else
            lint_rule(rat, rule, &finding);
        if (finding.row != RAT_NONE)
            on_finding(&finding, arg);
    }
}
