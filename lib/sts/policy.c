/* The policy file (RFC 8461 section 3.2): lines of "name: value", ended by LF
 * or CRLF.  A policy is refused where the grammar is broken or something
 * required is missing.  A single mx that no host can match is only left out: to
 * refuse the whole for it would open what its owner wanted closed. */
#include "sts/policy_internal.h"

#include "base/utf8.h"
#include "mail/address.h"
#include "net/address.h"
#include <stdatomic.h>

enum {
    NAME_MAX_LENGTH = 32,
    REASON_SIZE = 160,
    DIGITS_MAX = 10, /* of max_age */
};

struct parse {
    char *reason; /* of REASON_SIZE; the first remark stays */
    size_t line;  /* from 1 */
    bool version, has_mode, has_max_age;
    enum sts_mode mode;
    uint32_t max_age;
    struct buf names; /* patterns, each with a NUL behind */
    size_t name_count;
    size_t mx_lines;
};

static void remark(struct parse *parse, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void remark_list(char *to, size_t line, const char *fmt, va_list args)
    PRINTF_LIKE(3, 0);

static void
remark_list(char *to, size_t line, const char *fmt, va_list args)
{
    int n = line > 0 ? snprintf(to, REASON_SIZE, "line %zu: ", line) : 0;

    vsnprintf(to + n, REASON_SIZE - (size_t)n, fmt, args);
}

/* Something that is ignored. */
static void
remark(struct parse *parse, const char *fmt, ...)
{
    va_list args;

    if (parse->reason[0] != '\0')
        return;
    va_start(args, fmt);
    remark_list(parse->reason, parse->line, fmt, args);
    va_end(args);
}

static bool refuse(struct parse *parse, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Something that makes it no policy; always false. */
static bool
refuse(struct parse *parse, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    remark_list(parse->reason, parse->line, fmt, args);
    va_end(args);
    return false;
}

/* --- Fields ------------------------------------------------------------- */

static bool
set_version(struct parse *parse, struct sv value)
{
    if (parse->version)
        remark(parse, "a second version is ignored");
    else if (!sv_is(value, "STSv1"))
        return refuse(parse, "the version is not STSv1");
    parse->version = true;
    return true;
}

static bool
set_mode(struct parse *parse, struct sv value)
{
    if (parse->has_mode) {
        remark(parse, "a second mode is ignored");
        return true;
    }
    for (int mode = STS_MODE_NONE; mode <= STS_MODE_ENFORCE; mode++) {
        if (sv_is(value, sts_mode_name((enum sts_mode)mode))) {
            parse->mode = (enum sts_mode)mode;
            parse->has_mode = true;
            return true;
        }
    }
    return refuse(parse, "the mode is not enforce, testing or none");
}

static bool
set_max_age(struct parse *parse, struct sv value)
{
    uint64_t seconds;

    if (parse->has_max_age) {
        remark(parse, "a second max_age is ignored");
        return true;
    }
    if (value.n > DIGITS_MAX || !sv_to_u64(value, &seconds))
        return refuse(parse, "max_age is not a number of 1 to 10 digits");
    if (seconds > STS_MAX_AGE) {
        remark(parse, "max_age is above %d, which it counts as", STS_MAX_AGE);
        seconds = STS_MAX_AGE;
    }
    parse->max_age = (uint32_t)seconds;
    parse->has_max_age = true;
    return true;
}

static bool
is_ip(struct sv text)
{
    struct net_address address;

    return net_address_parse(text, 0, &address);
}

/* "*.example.org", "mx.example.org"; NULL: fine, else what is wrong. */
static const char *
canonical_pattern(struct sv value, char *out)
{
    struct sv domain = value;
    size_t n = sv_take_prefix(&domain, SV("*.")) ? 2 : 0;

    if (is_ip(domain) || (domain.n > 0 && domain.p[0] == '['))
        return "is an address, which no MX record can hold";
    if (domain.n > 0 && domain.p[domain.n - 1] == '.')
        return "ends with a dot";
    memcpy(out, "*.", n);
    if (!mail_domain_canonical(domain, out + n))
        return "is not a host name";
    return NULL;
}

static bool
add_mx(struct parse *parse, struct sv value)
{
    char pattern[MAIL_DOMAIN_MAX + 3];
    const char *wrong = canonical_pattern(value, pattern);
    struct sv shown = sv_slice(value, 0, 60);

    parse->mx_lines++;
    if (wrong != NULL) {
        remark(parse, "\"%.*s\" %s; ignored", SV_ARG(shown), wrong);
        return true;
    }
    if (parse->name_count == STS_PATTERNS_MAX)
        return refuse(parse, "there are more than %d mx", STS_PATTERNS_MAX);
    if (!sv_eq_nocase(sv_of(pattern), value))
        remark(parse, "an mx should be written in ASCII: %.80s", pattern);
    buf_add(&parse->names, (struct sv){pattern, strlen(pattern) + 1});
    parse->name_count++;
    return true;
}

static const struct field {
    const char *name;
    bool (*set)(struct parse *parse, struct sv value);
} fields[] = {
    {"version", set_version},
    {"mode", set_mode},
    {"max_age", set_max_age},
    {"mx", add_mx},
};

/* --- Lines -------------------------------------------------------------- */

static bool
is_name_char(char c)
{
    return char_is_alnum(c) || c == '_' || c == '-' || c == '.';
}

/* sts-policy-ext-value: visible characters with blanks between them. */
static bool
value_is_text(struct sv value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (c < ' ' || c == 0x7f)
            return false;
    }
    return value.n > 0 && utf8_valid(value);
}

static bool
parse_line(struct parse *parse, struct sv line)
{
    struct sv name = sv_take_while(&line, is_name_char);
    struct sv value;

    if (name.n == 0 || name.n > NAME_MAX_LENGTH || !char_is_alnum(name.p[0]) ||
        !sv_take_char(&line, ':'))
        return refuse(parse, "it is not of the form \"name: value\"");
    value = sv_trim(line);
    if (!value_is_text(value))
        return refuse(parse, "the value of %.*s is empty or no text",
                      SV_ARG(name));
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (sv_is(name, fields[i].name))
            return fields[i].set(parse, value);
    return true; /* an extension */
}

static bool
is_blank_line(char c)
{
    return char_is_blank(c) || c == '\r' || c == '\n';
}

static bool
parse_lines(struct parse *parse, struct sv text)
{
    while (text.n > 0) {
        struct sv rest = text, line;

        sv_take_while(&rest, is_blank_line);
        if (rest.n == 0)
            return true; /* blank lines at the end */
        line = sv_take_until(&text, '\n');
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        parse->line++;
        if (line.n == 0)
            return refuse(parse, "it is blank");
        if (!parse_line(parse, line))
            return false;
    }
    return true;
}

static bool
is_complete(struct parse *parse)
{
    parse->line = 0;
    if (!parse->version)
        return refuse(parse, "there is no version");
    if (!parse->has_mode)
        return refuse(parse, "there is no mode");
    if (!parse->has_max_age)
        return refuse(parse, "there is no max_age");
    if (parse->name_count > 0 || parse->mode == STS_MODE_NONE)
        return true;
    /* What was wrong with the only ones is the better reason. */
    if (parse->mx_lines == 0)
        return refuse(parse, "there is no mx");
    if (parse->reason[0] == '\0')
        return refuse(parse, "no mx can be used");
    return false;
}

struct sts_policy *
sts_policy_parse(struct sv text, char *reason)
{
    struct parse parse = {.reason = reason};
    struct sts_policy *policy = NULL;

    reason[0] = '\0';
    if (text.n > STS_POLICY_BYTES)
        refuse(&parse, "it is larger than %d bytes", STS_POLICY_BYTES);
    else if (parse_lines(&parse, text) && is_complete(&parse))
        policy = sts_policy_new(parse.mode, parse.max_age,
                                buf_view(&parse.names), parse.name_count);
    buf_fini(&parse.names);
    return policy;
}

/* --- The object --------------------------------------------------------- */

/* The counter, the public part, the pointers and the names in one piece. */
struct counted {
    atomic_size_t references;
    struct sts_policy policy;
    const char *patterns[];
};

static struct counted *
counted(struct sts_policy *policy)
{
    return CONTAINER_OF(policy, struct counted, policy);
}

struct sts_policy *
sts_policy_new(enum sts_mode mode, uint32_t max_age, struct sv names,
               size_t count)
{
    size_t head = sizeof(struct counted) + count * sizeof(char *);
    struct counted *all = mem_alloc_raw(head + names.n);
    char *name = (char *)all + head;

    atomic_init(&all->references, 1);
    all->policy = (struct sts_policy){
        .mode = mode,
        .max_age = max_age,
        .pattern_count = count,
        .patterns = all->patterns,
    };
    if (names.n > 0)
        memcpy(name, names.p, names.n);
    for (size_t i = 0; i < count; i++) {
        all->patterns[i] = name;
        name += strlen(name) + 1;
    }
    return &all->policy;
}

struct sts_policy *
sts_policy_ref(struct sts_policy *policy)
{
    atomic_fetch_add(&counted(policy)->references, 1);
    return policy;
}

void
sts_policy_unref(struct sts_policy *policy)
{
    if (policy != NULL &&
        atomic_fetch_sub(&counted(policy)->references, 1) == 1)
        mem_free(counted(policy));
}

const char *
sts_mode_name(enum sts_mode mode)
{
    static const char *const names[] = {"none", "testing", "enforce"};

    return names[mode];
}

void
sts_policy_print(const struct sts_policy *policy, struct buf *out)
{
    buf_printf(out, "version: STSv1\nmode: %s", sts_mode_name(policy->mode));
    for (size_t i = 0; i < policy->pattern_count; i++)
        buf_printf(out, "\nmx: %s", policy->patterns[i]);
    buf_printf(out, "\nmax_age: %u", policy->max_age);
}
