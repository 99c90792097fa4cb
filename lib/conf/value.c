#include "conf/value.h"
#include "base/buf.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: printing takes the first that divides. */
static const struct unit size_units[] = {
    {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}};
static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

void *
conf_member(const struct conf_field *field, void *object)
{
    return (char *)object + field->offset;
}

const void *
conf_member_const(const struct conf_field *field, const void *object)
{
    return (const char *)object + field->offset;
}

bool
conf_type_is_number(enum conf_type type)
{
    return type == CONF_U16 || type == CONF_U32 || type == CONF_U64 ||
           type == CONF_SIZE || type == CONF_DURATION;
}

bool
conf_type_is_scalar(enum conf_type type)
{
    return conf_type_is_number(type) || type == CONF_BOOL ||
           type == CONF_STRING || type == CONF_PATH || type == CONF_ENUM ||
           type == CONF_ADDRESS;
}

const char *
conf_quote(struct sv text, char *room)
{
    size_t n = 0;
    const size_t most = CONF_QUOTE_MAX - 6; /* "…" quotes and NUL */

    room[n++] = '"';
    for (size_t i = 0; i < text.n; i++) {
        if (n >= most) {
            n = n > most ? most : n;
            memcpy(room + n, "...", 3);
            n += 3;
            break;
        }
        room[n++] = '?';
        if (char_is_print(text.p[i]))
            room[n - 1] = text.p[i];
    }
    room[n++] = '"';
    room[n] = '\0';
    return room;
}

/* Numbers */

static uint64_t
type_max(enum conf_type type)
{
    if (type == CONF_U16)
        return UINT16_MAX;
    return type == CONF_U32 ? UINT32_MAX : UINT64_MAX - 1;
}

static uint64_t
field_max(const struct conf_field *field)
{
    return field->max != 0 ? field->max : type_max(field->type);
}

/* More than a uint64_t holds is UINT64_MAX, which is above every bound. */
static bool
digits_parse(struct sv digits, uint64_t *value)
{
    if (digits.n == 0)
        return false;
    if (!sv_to_u64(digits, value))
        *value = UINT64_MAX;
    return true;
}

/* Digits and a unit of the list; the empty unit only where it is listed. */
static bool
scaled_parse(struct sv text, const struct unit *units, size_t count,
             uint64_t *value)
{
    struct sv digits = sv_take_while(&text, char_is_digit);
    uint64_t number;

    if (!digits_parse(digits, &number))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!sv_is_nocase(text, units[i].name))
            continue;
        if (__builtin_mul_overflow(number, units[i].factor, value))
            *value = UINT64_MAX;
        return true;
    }
    return false;
}

static bool
number_parse(enum conf_type type, struct sv text, uint64_t *value)
{
    struct sv digits;

    if (type == CONF_SIZE)
        return scaled_parse(text, size_units, COUNT_OF(size_units), value);
    if (type == CONF_DURATION)
        return scaled_parse(text, time_units, COUNT_OF(time_units), value);
    digits = sv_take_while(&text, char_is_digit);
    return text.n == 0 && digits_parse(digits, value);
}

static void
scaled_print(uint64_t value, const struct unit *units, size_t count,
             struct buf *out)
{
    const struct unit *unit = &units[count - 1];

    for (size_t i = count; value != 0 && i-- > 0;)
        if (value % units[i].factor == 0)
            unit = &units[i];
    /* 0 takes the smallest unit but one: "0" and "0s". */
    if (value == 0 && count > 1 && unit->name[0] != '\0')
        unit = &units[count - 2];
    buf_printf(out, "%llu%s", (unsigned long long)(value / unit->factor),
               unit->name);
}

void
conf_number_print(enum conf_type type, uint64_t value, struct buf *out)
{
    if (type == CONF_SIZE)
        scaled_print(value, size_units, COUNT_OF(size_units), out);
    else if (type == CONF_DURATION)
        scaled_print(value, time_units, COUNT_OF(time_units), out);
    else
        buf_printf(out, "%llu", (unsigned long long)value);
}

void
conf_bounds_print(const struct conf_field *field, struct buf *out)
{
    if (conf_type_is_number(field->type) &&
        (field->min != 0 || field->max != 0)) {
        conf_number_print(field->type, field->min, out);
        buf_add_str(out, "..");
        if (field_max(field) <= UINT32_MAX || field->max != 0)
            conf_number_print(field->type, field_max(field), out);
    }
    if (field->word != NULL)
        buf_printf(out, "%s%s", buf_length(out) > 0 ? " or " : "", field->word);
}

static const char *
number_noun(enum conf_type type)
{
    if (type == CONF_SIZE)
        return "is not a size such as 512, 64K or 10M";
    if (type == CONF_DURATION)
        return "is not a time such as 500ms, 30s, 5m or 72h";
    return "is not a number";
}

static bool
number_refuse(const struct conf_field *field, struct sv text, const char *why,
              struct err *err)
{
    char room[CONF_QUOTE_MAX];
    struct buf bounds = {0};

    conf_bounds_print(field, &bounds);
    if (buf_length(&bounds) > 0)
        err_set(err, "%s %s (%s)", conf_quote(text, room), why,
                buf_cstr(&bounds));
    else
        err_set(err, "%s %s", conf_quote(text, room), why);
    buf_fini(&bounds);
    return false;
}

static void
number_store(enum conf_type type, void *member, uint64_t value)
{
    if (type == CONF_U16)
        *(uint16_t *)member = (uint16_t)value;
    else if (type == CONF_U32)
        *(uint32_t *)member = (uint32_t)value;
    else
        *(uint64_t *)member = value;
}

static uint64_t
number_fetch(enum conf_type type, const void *member)
{
    if (type == CONF_U16)
        return *(const uint16_t *)member;
    if (type == CONF_U32)
        return *(const uint32_t *)member;
    return *(const uint64_t *)member;
}

static bool
number_take(const struct conf_field *field, struct sv text, void *member,
            struct err *err)
{
    uint64_t value;

    if (field->word != NULL && sv_is(text, field->word)) {
        number_store(field->type, member, field->word_value);
        return true;
    }
    if (!number_parse(field->type, text, &value))
        return number_refuse(field, text, number_noun(field->type), err);
    /* The number behind the word is as good as the word. */
    if ((value < field->min || value > field_max(field)) &&
        (field->word == NULL || value != field->word_value))
        return number_refuse(field, text, "is out of bounds", err);
    number_store(field->type, member, value);
    return true;
}

static void
number_show(const struct conf_field *field, const void *member, struct buf *out)
{
    uint64_t value = number_fetch(field->type, member);

    if (field->word != NULL && value == field->word_value)
        buf_add_str(out, field->word);
    else
        conf_number_print(field->type, value, out);
}

/* Words */

bool
conf_bool_parse(struct sv text, bool *value, struct err *err)
{
    static const char *const yes[] = {"on", "true", "yes"};
    static const char *const no[] = {"off", "false", "no"};
    char room[CONF_QUOTE_MAX];

    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        *value = sv_is_nocase(text, yes[i]);
        if (*value || sv_is_nocase(text, no[i]))
            return true;
    }
    err_set(err, "%s is neither on nor off", conf_quote(text, room));
    return false;
}

static bool
enum_take(const struct conf_field *field, struct sv text, void *member,
          struct err *err)
{
    struct conf_nearest nearest = {.word = text};
    char room[CONF_QUOTE_MAX];
    struct buf names = {0};

    for (const struct conf_name *n = field->names; n->name != NULL; n++) {
        if (sv_is(text, n->name)) {
            memcpy(member, &n->value, sizeof n->value);
            buf_fini(&names);
            return true;
        }
        conf_nearest_try(&nearest, n->name);
        buf_printf(&names, "%s%s", n == field->names ? "" : ", ", n->name);
    }
    err_set(err, "%s is none of: %s", conf_quote(text, room), buf_cstr(&names));
    conf_nearest_say(&nearest, err);
    buf_fini(&names);
    return false;
}

static void
enum_show(const struct conf_field *field, const void *member, struct buf *out)
{
    unsigned value;

    memcpy(&value, member, sizeof value);
    for (const struct conf_name *n = field->names; n->name != NULL; n++)
        if (n->value == value) {
            buf_add_str(out, n->name);
            return;
        }
    abort(); /* a value that the row has no name for */
}

/* Strings */

static bool
length_check(const struct conf_field *field, struct sv text, struct err *err)
{
    char room[CONF_QUOTE_MAX];
    bool is_list = field->type == CONF_STRINGS || field->type == CONF_PAIRS;
    uint64_t max = CONF_STRING_MAX, min = 0;

    if (!is_list && field->max != 0)
        max = field->max;
    if (!is_list)
        min = field->min;
    if (text.n > max) {
        err_set(err, "%s is longer than %llu bytes", conf_quote(text, room),
                (unsigned long long)max);
        return false;
    }
    if (text.n < min) {
        err_set(err, "must not be empty");
        return false;
    }
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f) {
            err_set(err, "%s holds a control character",
                    conf_quote(text, room));
            return false;
        }
    return true;
}

char *
conf_path_absolute(const struct conf_scope *scope, struct sv path)
{
    struct sv whole;

    while (sv_take_prefix(&path, SV("./")))
        continue;
    if (path.n > 0 && path.p[0] == '/')
        return arena_cstr(scope->arena, path);
    whole =
        arena_printf(scope->arena, "%s/%.*s",
                     strcmp(scope->directory, "/") == 0 ? "" : scope->directory,
                     SV_ARG(path));
    return arena_cstr(scope->arena, whole);
}

bool
conf_string_parse(const struct conf_field *field,
                  const struct conf_scope *scope, struct sv text, char **kept,
                  struct err *err)
{
    if (!length_check(field, text, err))
        return false;
    if (field->canonical != NULL)
        return field->canonical(scope, text, kept, err);
    if (field->type == CONF_PATH && text.n > 0)
        *kept = conf_path_absolute(scope, text);
    else
        *kept = arena_cstr(scope->arena, text);
    return true;
}

static bool
string_take(const struct conf_field *field, const struct conf_scope *scope,
            struct sv text, void *member, struct err *err)
{
    char *kept;

    /* The word, and the empty default of an optional string, stay as they
     * are. */
    if ((field->word != NULL && sv_is(text, field->word)) ||
        (text.n == 0 && field->min == 0))
        kept = arena_cstr(scope->arena, text);
    else if (!conf_string_parse(field, scope, text, &kept, err))
        return false;
    memcpy(member, &kept, sizeof kept);
    return true;
}

static bool
is_safe(char c)
{
    return char_is_alnum(c) || c == '_' || c == '.' || c == '/' || c == '-';
}

void
conf_string_print(struct sv text, struct buf *out)
{
    struct sv rest = text;
    bool plain = text.n > 0 && text.p[0] != '-' && text.p[0] != '.';

    sv_take_while(&rest, is_safe);
    if (plain && rest.n == 0) {
        buf_add(out, text);
        return;
    }
    buf_add_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, text.p[i]);
    }
    buf_add_char(out, '"');
}

/* Addresses */

static bool
address_take(const struct conf_field *field, struct sv text, void *object,
             struct err *err)
{
    struct net_address *address = conf_member(field, object);
    char room[CONF_QUOTE_MAX];
    struct sv rest = text;

    if (field->prefix != NULL) {
        bool *flag = (bool *)((char *)object + field->prefix_offset);

        *flag = sv_take_prefix_nocase(&rest, sv_of(field->prefix));
    }
    if (net_address_parse_port(rest, address))
        return true;
    err_set(err,
            "%s is not an IP address with a port, such as 192.0.2.1:25 or "
            "[2001:db8::1]:25",
            conf_quote(text, room));
    return false;
}

static void
address_show(const struct conf_field *field, const void *object,
             struct buf *out)
{
    char room[NET_ADDRESS_TEXT];
    bool flag = false;

    if (field->prefix != NULL)
        flag = *(const bool *)((const char *)object + field->prefix_offset);
    net_address_text(conf_member_const(field, object), room);
    buf_printf(out, "\"%s%s\"", flag ? field->prefix : "", room);
}

bool
conf_value_parse(const struct conf_field *field, const struct conf_scope *scope,
                 struct sv text, void *object, struct err *err)
{
    void *member = conf_member(field, object);

    if (conf_type_is_number(field->type))
        return number_take(field, text, member, err);
    if (field->type == CONF_BOOL)
        return conf_bool_parse(text, member, err);
    if (field->type == CONF_ENUM)
        return enum_take(field, text, member, err);
    if (field->type == CONF_ADDRESS)
        return address_take(field, text, object, err);
    return string_take(field, scope, text, member, err);
}

void
conf_value_print(const struct conf_field *field, const void *object,
                 struct buf *out)
{
    const void *member = conf_member_const(field, object);

    if (conf_type_is_number(field->type))
        number_show(field, member, out);
    else if (field->type == CONF_BOOL)
        buf_add_str(out, *(const bool *)member ? "on" : "off");
    else if (field->type == CONF_ENUM)
        enum_show(field, member, out);
    else if (field->type == CONF_ADDRESS)
        address_show(field, object, out);
    else
        conf_string_print(sv_of(*(char *const *)member), out);
}
