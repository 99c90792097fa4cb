#include "settings/advanced.h"
#include "settings/tables.h"

struct name_row {
    const char *name;
    const char *old_name; /* before version 10, where it differs */
    enum advanced_type type;
    const char *path[2]; /* below servers.NODE or sender; none: unsupported */
};

static const struct name_row tls_rows[] = {
    {"SSLMethodSSLv2", NULL, ADVANCED_INTEGER, {"tls_versions", "SSLv2"}},
    {"SSLMethodSSLv3", NULL, ADVANCED_INTEGER, {"tls_versions", "SSLv3"}},
    {"SSLMethodTLSv1_0",
     "SSLMethodTLSv1.0",
     ADVANCED_INTEGER,
     {"tls_versions", "TLSv1.0"}},
    {"SSLMethodTLSv1_1",
     "SSLMethodTLSv1.1",
     ADVANCED_INTEGER,
     {"tls_versions", "TLSv1.1"}},
    {"SSLMethodTLSv1_2",
     "SSLMethodTLSv1.2",
     ADVANCED_INTEGER,
     {"tls_versions", "TLSv1.2"}},
    {"SSLMethodTLSv1_3",
     "SSLMethodTLSv1.3",
     ADVANCED_INTEGER,
     {"tls_versions", "TLSv1.3"}},
    {"TLSCipherStrength", NULL, ADVANCED_STRING, {"tls_strength"}},
    {"TLSCipherList", NULL, ADVANCED_STRING, {"tls_ciphers"}},
};

/* Switches that stand for one field of the whole tree. */
static const struct switch_row {
    const char *name; /* with its prefix */
    const char *path[3];
    const char *on, *off;
} switch_rows[] = {
    {"Sender.EnableMTASTS",
     {"destinations", "default", "mta_sts"},
     "on",
     "off"},
    {"Sender.EnableDANE",
     {"destinations", "default", "dane"},
     "opportunistic",
     "no"},
    {"Controller.EnableTLSRPT", {"tls_reports", "enabled"}, "on", "off"},
};

const char *
advanced_type_name(enum advanced_type type)
{
    switch (type) {
    case ADVANCED_INTEGER:
        return "Integer";
    case ADVANCED_BOOLEAN:
        return "Boolean";
    case ADVANCED_STRING:
        return "String";
    }
    abort();
}

/* Names */

static bool
is_node_char(char c)
{
    return char_is_alnum(c) || c == '_' || c == '-';
}

bool
advanced_node(const struct conf_scope *scope, struct sv text, char **kept,
              struct err *err)
{
    struct sv rest = text;
    char room[CONF_QUOTE_MAX];

    sv_take_while(&rest, is_node_char);
    if (text.n == 0 || text.n > 63 || rest.n > 0) {
        err_set(err,
                "%s is not the name of a node (1 to 63 letters, digits, \"_\" "
                "and \"-\")",
                conf_quote(text, room));
        return false;
    }
    *kept = arena_cstr(scope->arena, text);
    sv_lower_into(text, *kept);
    return true;
}

bool
advanced_name(const struct conf_scope *scope, struct sv text, char **kept,
              struct err *err)
{
    (void)err;
    *kept = arena_cstr(scope->arena, text);
    return true;
}

struct split {
    const char *scope; /* "Servers.", "Sender." or "" */
    struct sv node;    /* after "Servers." */
    struct sv setting;
};

static bool
take_scope(struct sv *rest, const char *scope, bool any_case)
{
    return any_case ? sv_take_prefix_nocase(rest, sv_of(scope))
                    : sv_take_prefix(rest, sv_of(scope));
}

static struct split
split_name(struct sv name, bool any_case)
{
    struct split s = {.scope = "", .setting = name};

    if (take_scope(&s.setting, "Sender.", any_case)) {
        s.scope = "Sender.";
    } else if (take_scope(&s.setting, "Servers.", any_case)) {
        s.scope = "Servers.";
        s.node = sv_take_until(&s.setting, '.');
    }
    return s;
}

static const struct name_row *
find_row(struct sv setting, bool old_spelling)
{
    for (size_t i = 0; i < COUNT_OF(tls_rows); i++) {
        const struct name_row *row = &tls_rows[i];

        if (sv_is(setting, row->name))
            return row;
        if (old_spelling &&
            (sv_is_nocase(setting, row->name) ||
             (row->old_name != NULL && sv_is_nocase(setting, row->old_name))))
            return row;
    }
    return NULL;
}

static const struct switch_row *
find_switch(struct sv name, bool any_case)
{
    for (size_t i = 0; i < COUNT_OF(switch_rows); i++) {
        const char *known = switch_rows[i].name;

        if (sv_is(name, known) || (any_case && sv_is_nocase(name, known)))
            return &switch_rows[i];
    }
    return NULL;
}

static bool
refuse_name(struct sv name, struct err *err)
{
    struct split s = split_name(name, true);
    const struct name_row *near = find_row(s.setting, true);
    char room[CONF_QUOTE_MAX];

    const struct switch_row *other = find_switch(name, true);

    if (other != NULL)
        err_set(err, "there is no advanced setting %s; write %s",
                conf_quote(name, room), other->name);
    else if (near != NULL)
        err_set(err, "there is no advanced setting %s; write %s%.*s%s%s",
                conf_quote(name, room), s.scope, SV_ARG(s.node),
                s.node.n > 0 ? "." : "", near->name);
    else
        err_set(err, "there is no advanced setting %s", conf_quote(name, room));
    return false;
}

bool
advanced_is_known(struct sv name)
{
    return find_switch(name, true) != NULL ||
           find_row(split_name(name, true).setting, true) != NULL;
}

/* Values */

static bool
read_integer(struct sv value, struct advanced *out, struct err *err)
{
    char room[CONF_QUOTE_MAX];

    if (!sv_is(value, "0") && !sv_is(value, "1")) {
        err_set(err, "must be 0 or 1, not %s", conf_quote(value, room));
        return false;
    }
    out->value = sv_is(value, "1") ? "on" : "off";
    return true;
}

static bool
read_strength(struct sv value, struct advanced *out, struct err *err)
{
    static const struct {
        const char *text, *meaning;
    } rows[] = {{"High", "high"},
                {"Medium", "medium"},
                {"Low", "low"},
                {"Insecure Compatibility", "low"}};
    char room[CONF_QUOTE_MAX];

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (sv_is_nocase(value, rows[i].text)) {
            out->value = rows[i].meaning;
            return true;
        }
    err_set(err, "%s is none of: High, Medium, Low", conf_quote(value, room));
    return false;
}

static bool
read_list(struct arena *arena, struct sv value, struct advanced *out,
          struct err *err)
{
    for (size_t i = 0; i < value.n; i++)
        if (!char_is_print(value.p[i])) {
            err_set(err, "holds a character that no cipher list has");
            return false;
        }
    if (value.n == 0 || value.n > CONF_STRING_MAX) {
        err_set(err, value.n == 0 ? "is empty; leave it out instead"
                                  : "is too long");
        return false;
    }
    out->value = arena_cstr(arena, value);
    return true;
}

static bool
read_value(struct arena *arena, const struct name_row *row, struct sv value,
           struct advanced *out, struct err *err)
{
    if (row->type == ADVANCED_INTEGER)
        return read_integer(value, out, err);
    if (strcmp(row->path[0], "tls_strength") == 0)
        return read_strength(value, out, err);
    return read_list(arena, value, out, err);
}

static bool
find_path(struct arena *arena, const struct split *s,
          const struct name_row *row, struct advanced *out, struct err *err)
{
    const struct conf_scope scope = {arena, "/"};
    char *node;

    if (strcmp(s->scope, "Sender.") == 0) {
        out->path[out->path_count++] = "sender";
    } else {
        if (s->scope[0] == '\0')
            node = arena_cstr(arena, SV("default"));
        else if (!advanced_node(&scope, s->node, &node, err))
            return false;
        out->path[out->path_count++] = "servers";
        out->path[out->path_count++] = node;
    }
    for (size_t i = 0; i < COUNT_OF(row->path) && row->path[i] != NULL; i++)
        out->path[out->path_count++] = row->path[i];
    return true;
}

static bool
read_switch(const struct switch_row *row, struct sv value, struct advanced *out,
            struct err *err)
{
    bool on = sv_is_nocase(value, "true") || sv_is(value, "1");
    char room[CONF_QUOTE_MAX];

    if (!on && !sv_is_nocase(value, "false") && !sv_is(value, "0")) {
        err_set(err, "must be true or false, not %s", conf_quote(value, room));
        return false;
    }
    out->type = ADVANCED_BOOLEAN;
    out->value = on ? row->on : row->off;
    for (size_t i = 0; i < COUNT_OF(row->path) && row->path[i] != NULL; i++)
        out->path[out->path_count++] = row->path[i];
    return true;
}

bool
advanced_find(struct arena *arena, struct sv name, struct sv value,
              const struct advanced_options *options, struct advanced *out,
              struct err *err)
{
    struct split s = split_name(name, options->old_spelling);
    const struct name_row *row = find_row(s.setting, options->old_spelling);

    const struct switch_row *other = find_switch(name, options->old_spelling);

    *out = (struct advanced){0};
    if (other != NULL) {
        out->name = arena_cstr(arena, sv_of(other->name));
        return read_switch(other, value, out, err);
    }
    if (row == NULL)
        return refuse_name(name, err);
    if (!find_path(arena, &s, row, out, err))
        return false;
    out->type = row->type;
    out->name = arena_cstr(
        arena, arena_printf(arena, "%s%.*s%s%s", s.scope, SV_ARG(s.node),
                            s.node.n > 0 ? "." : "", row->name));
    return read_value(arena, row, value, out, err);
}

bool
advanced_resolve(const struct conf_scope *scope, struct sv name,
                 struct sv value, struct conf_alias *alias, struct err *err)
{
    const struct advanced_options options = {.old_spelling = false};
    struct advanced found;

    if (!advanced_find(scope->arena, name, value, &options, &found, err))
        return false;
    static_assert(sizeof alias->path == sizeof found.path, "same steps");
    memcpy(alias->path, found.path, sizeof alias->path);
    alias->count = found.path_count;
    alias->value = found.value;
    return true;
}
