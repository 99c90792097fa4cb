/* The formats: bytes to text, text to lines, lines to names and values. */
#include "settings/import_internal.h"

/* Encoding */

static void
put_utf8(char **out, uint32_t c)
{
    if (c < 0x80) {
        *(*out)++ = (char)c;
        return;
    }
    if (c < 0x800) {
        *(*out)++ = (char)(0xc0 | (c >> 6));
    } else {
        if (c < 0x10000) {
            *(*out)++ = (char)(0xe0 | (c >> 12));
        } else {
            *(*out)++ = (char)(0xf0 | (c >> 18));
            *(*out)++ = (char)(0x80 | ((c >> 12) & 0x3f));
        }
        *(*out)++ = (char)(0x80 | ((c >> 6) & 0x3f));
    }
    *(*out)++ = (char)(0x80 | (c & 0x3f));
}

static uint32_t
unit_at(struct sv bytes, size_t i)
{
    return (uint32_t)(unsigned char)bytes.p[i] |
           (uint32_t)(unsigned char)bytes.p[i + 1] << 8;
}

/* UTF-16LE without its mark; two bytes become at most three. */
static bool
decode_utf16(struct arena *arena, struct sv in, struct sv *text,
             struct err *err)
{
    char *start = arena_alloc(arena, in.n / 2 * 3 + 1), *out = start;

    for (size_t i = 0; i + 1 < in.n; i += 2) {
        uint32_t c = unit_at(in, i), low;

        if (c >= 0xd800 && c < 0xe000) {
            low = i + 3 < in.n ? unit_at(in, i + 2) : 0;
            if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000) {
                err_set(err, "not valid UTF-16 at byte %zu", i + 2);
                return false;
            }
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            i += 2;
        }
        put_utf8(&out, c);
    }
    *text = (struct sv){start, (size_t)(out - start)};
    if (in.n % 2 == 0)
        return true;
    err_set(err, "ends within a character of UTF-16");
    return false;
}

bool
import_decode(struct arena *arena, struct sv bytes, struct sv *text,
              struct err *err)
{
    struct sv rest = bytes;

    *text = (struct sv){0};
    if (sv_take_prefix(&rest, SV("\xff\xfe"))) {
        if (!decode_utf16(arena, rest, text, err))
            return false;
    } else if (sv_take_prefix(&rest, SV("\xfe\xff"))) {
        err_set(err, "is UTF-16 with the high byte first; save it as UTF-8");
        return false;
    } else {
        sv_take_prefix(&rest, SV("\xef\xbb\xbf"));
        *text = rest;
    }
    if (text->n > 0 && memchr(text->p, 0, text->n) != NULL) {
        err_set(err, "holds zero bytes: not a text, or UTF-16 without its "
                     "byte order mark");
        return false;
    }
    return true;
}

/* Lines */

struct reader {
    struct import *import;
    struct sv rest;
    unsigned line; /* number of the one in hand */
    size_t count;
    /* .reg: the key that is open */
    bool registry;
    bool ours;
    struct sv scope;
};

static bool
next_line(struct reader *r, struct sv *line)
{
    if (r->rest.n == 0)
        return false;
    *line = sv_take_until(&r->rest, '\n');
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    *line = sv_trim(*line);
    r->line++;
    return true;
}

static void
add(struct reader *r, struct sv name, const char *ignore, const char *refuse)
{
    import_add(r->import, &(struct import_item){.line = r->line,
                                                .name = name,
                                                .ignore = ignore,
                                                .refuse = refuse});
}

/* Registry */

static struct sv
take_component(struct sv *path)
{
    return sv_take_until(path, '\\');
}

static bool
is_product(struct sv component)
{
    return sv_starts_nocase(component, SV("MailMarshal")) ||
           sv_ends_nocase(component, SV("MailMarshal")) ||
           sv_is_nocase(component, "Secure Email Gateway");
}

/* [HKEY_LOCAL_MACHINE\SOFTWARE\…\MailMarshal\…\Servers\GW1]: what follows the
 * product says for whom the values are. */
static void
open_key(struct reader *r, struct sv path)
{
    r->ours = false;
    r->scope = (struct sv){0};
    while (path.n > 0 && !r->ours)
        r->ours = is_product(take_component(&path));
    while (path.n > 0) {
        struct sv component = take_component(&path);

        if (sv_is_nocase(component, "Sender")) {
            r->scope = SV("Sender.");
        } else if (sv_is_nocase(component, "Servers") && path.n > 0) {
            component = take_component(&path);
            r->scope = arena_printf(&r->import->arena, "Servers.%.*s.",
                                    SV_ARG(component));
        }
    }
}

static bool
take_quoted(struct arena *arena, struct sv *in, struct sv *out)
{
    char *copy = arena_alloc(arena, in->n + 1);
    size_t n = 0;

    if (!sv_take_char(in, '"'))
        return false;
    while (in->n > 0 && in->p[0] != '"') {
        if (in->p[0] == '\\' && in->n > 1)
            *in = sv_from(*in, 1);
        copy[n++] = in->p[0];
        *in = sv_from(*in, 1);
    }
    *out = (struct sv){copy, n};
    return sv_take_char(in, '"');
}

static bool
read_dword(struct arena *arena, struct sv digits, struct sv *value)
{
    uint32_t number = 0;

    if (digits.n == 0 || digits.n > 8)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        char c = char_lower(digits.p[i]);

        if (!char_is_hex(c))
            return false;
        number =
            number << 4 | (uint32_t)(char_is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    *value = arena_printf(arena, "%u", number);
    return true;
}

static void
skip_continuation(struct reader *r, struct sv line)
{
    while (line.n > 0 && line.p[line.n - 1] == '\\')
        if (!next_line(r, &line))
            return;
}

static void
registry_data(struct reader *r, struct import_item *item, struct sv data)
{
    struct arena *arena = &r->import->arena;
    struct sv rest = data;

    if (sv_take_prefix_nocase(&rest, SV("dword:"))) {
        item->type = SV("Integer");
        if (!read_dword(arena, sv_trim(rest), &item->value))
            item->refuse = "dword: needs up to 8 hexadecimal digits";
    } else if (sv_is(data, "-")) {
        item->ignore = "it only deletes a value";
    } else if (sv_starts_nocase(data, SV("hex"))) {
        item->ignore = "binary values hold none of these settings";
    } else if (!take_quoted(arena, &rest, &item->value) ||
               sv_trim(rest).n > 0) {
        item->refuse = "it is neither dword: nor text in quotes";
    }
}

static void
registry_line(struct reader *r, struct sv line)
{
    struct import_item item = {.line = r->line, .scope = r->scope};
    struct sv rest = line;

    if (sv_take_char(&rest, '[')) {
        if (sv_take_char(&rest, '-'))
            open_key(r, SV(""));
        else
            open_key(r, sv_take_until(&rest, ']'));
        return;
    }
    if (sv_take_char(&rest, '@')) {
        add(r, SV("@"), "the nameless value of a key is no setting", NULL);
        skip_continuation(r, line);
        return;
    }
    if (!take_quoted(&r->import->arena, &rest, &item.name) ||
        !sv_take_char(&rest, '=')) {
        add(r, line, NULL, "it is not \"name\"=value");
        return;
    }
    registry_data(r, &item, sv_trim(rest));
    if (!r->ours) {
        item.refuse = NULL;
        item.ignore = "its key is not one of MailMarshal";
    }
    import_add(r->import, &item);
    if (sv_starts_nocase(sv_trim(rest), SV("hex")))
        skip_continuation(r, line);
}

/* Lists */

static struct sv
unquote(struct sv text)
{
    text = sv_trim(text);
    if (text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"')
        return sv_slice(text, 1, text.n - 2);
    return text;
}

/* Name,Type,Value: everything after the second separator is the value. */
static void
separated_line(struct reader *r, struct sv line, char separator)
{
    struct import_item item = {.line = r->line};
    struct sv rest = line;

    item.name = unquote(sv_take_until(&rest, separator));
    item.type = unquote(sv_take_until(&rest, separator));
    item.value = unquote(rest);
    if (sv_is_nocase(item.name, "Name") && sv_is_nocase(item.type, "Type"))
        return;
    if (item.type.n == 0)
        item.refuse = "it is not Name,Type,Value";
    import_add(r->import, &item);
}

static void
assigned_line(struct reader *r, struct sv line)
{
    struct import_item item = {.line = r->line};

    item.value = line;
    item.name = unquote(sv_take_until(&item.value, '='));
    item.value = unquote(item.value);
    import_add(r->import, &item);
}

/* sslconfig */

static const struct {
    const char *name, *setting;
} methods[] = {
    /* The longer first: "tlsv1" begins the others and means 1.0. */
    {"sslv2", "SSLMethodSSLv2"},     {"sslv3", "SSLMethodSSLv3"},
    {"tlsv1.0", "SSLMethodTLSv1_0"}, {"tlsv1_0", "SSLMethodTLSv1_0"},
    {"tlsv1.1", "SSLMethodTLSv1_1"}, {"tlsv1_1", "SSLMethodTLSv1_1"},
    {"tlsv1.2", "SSLMethodTLSv1_2"}, {"tlsv1_2", "SSLMethodTLSv1_2"},
    {"tlsv1.3", "SSLMethodTLSv1_3"}, {"tlsv1_3", "SSLMethodTLSv1_3"},
    {"tlsv1", "SSLMethodTLSv1_0"},
};
static const char *const switches[] = {"SSLMethodSSLv2",   "SSLMethodSSLv3",
                                       "SSLMethodTLSv1_0", "SSLMethodTLSv1_1",
                                       "SSLMethodTLSv1_2", "SSLMethodTLSv1_3"};

static const char *
take_method(struct sv *in)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (sv_take_prefix_nocase(in, sv_of(methods[i].name)))
            return methods[i].setting;
    return NULL;
}

static void
method_line(struct reader *r, struct sv scope, struct sv label, struct sv value)
{
    bool on[COUNT_OF(switches)] = {false};

    while (value.n > 0) {
        const char *setting;

        if (strchr("/,+ \t", value.p[0]) != NULL) {
            value = sv_from(value, 1);
            continue;
        }
        setting = take_method(&value);
        if (setting == NULL) {
            add(r, label, NULL, "it holds a method that is not known");
            return;
        }
        for (size_t i = 0; i < COUNT_OF(switches); i++)
            on[i] |= strcmp(switches[i], setting) == 0;
    }
    for (size_t i = 0; i < COUNT_OF(switches); i++)
        import_add(r->import,
                   &(struct import_item){.line = r->line,
                                         .scope = scope,
                                         .name = sv_of(switches[i]),
                                         .value = on[i] ? SV("1") : SV("0")});
}

/* "Inbound SMTP method: tlsv1/tlsv1.2"; false when the line is none of
 * these. */
static bool
sslconfig_line(struct reader *r, struct sv line)
{
    struct sv value = line;
    struct sv label = sv_trim(sv_take_until(&value, ':'));
    struct sv scope = SV("");

    value = sv_trim(value);
    if (sv_is_nocase(label, "sslconfig settings") && value.n == 0)
        return true;
    if (sv_starts_nocase(label, SV("Outbound SMTP ")))
        scope = SV("Sender.");
    else if (sv_starts_nocase(label, SV("GUI HTTPS ")))
        add(r, label, "Waxgate has no web interface of its own here", NULL);
    else if (!sv_starts_nocase(label, SV("Inbound SMTP ")))
        return false;
    if (sv_starts_nocase(label, SV("GUI ")))
        return true;
    if (sv_ends_nocase(label, SV(" method")))
        method_line(r, scope, label, value);
    else if (sv_ends_nocase(label, SV(" ciphers")))
        import_add(r->import, &(struct import_item){.line = r->line,
                                                    .scope = scope,
                                                    .name = SV("TLSCipherList"),
                                                    .value = value});
    else
        add(r, label, "it is neither method nor ciphers", NULL);
    return true;
}

static void
list_line(struct reader *r, struct sv line)
{
    size_t comma = sv_index(line, ','), equals = sv_index(line, '=');

    if (sslconfig_line(r, line))
        return;
    if (sv_has(line, '\t') && equals == SV_NONE)
        separated_line(r, line, '\t');
    else if (comma < equals)
        separated_line(r, line, ',');
    else if (equals != SV_NONE)
        assigned_line(r, line);
    else
        add(r, line, NULL, "it is neither Name,Type,Value nor Name = Value");
}

static bool
is_registry(struct sv line)
{
    return sv_starts_nocase(line, SV("Windows Registry Editor")) ||
           sv_is_nocase(line, "REGEDIT4");
}

bool
import_parse(struct import *import, struct sv text, struct err *err)
{
    struct reader r = {.import = import, .rest = text};
    struct sv line;

    while (next_line(&r, &line)) {
        if (line.n == 0 || line.p[0] == ';' || line.p[0] == '#')
            continue;
        if (++r.count > IMPORT_LINES_MAX) {
            err_set(err, "has more than %d lines", IMPORT_LINES_MAX);
            return false;
        }
        if (r.count == 1 && is_registry(line))
            r.registry = true;
        else if (r.registry)
            registry_line(&r, line);
        else
            list_line(&r, line);
    }
    return true;
}
