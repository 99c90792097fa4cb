#include "tlsrpt/record.h"

#include "base/buf.h"
#include "mail/address.h"

enum { EXTENSION_NAME_MAX = 32, URI_MAX = 2000, REST_SHOWN = 40 };

static bool
is_value(char c) /* tlsrpt-ext-value */
{
    return c > ' ' && c < 0x7f && c != '=' && c != ';';
}

static bool
is_name(char c) /* tlsrpt-ext-name, after its first */
{
    return char_is_alnum(c) || c == '_' || c == '-' || c == '.';
}

/* RFC 3986 appendix A: unreserved, reserved and "%", without what the record
 * itself uses: "," and ";" and "!" must be encoded. */
static bool
is_uri(char c)
{
    return char_is_alnum(c) || (c != '\0' && strchr("-._~:/?#[]@$&'()*+=%", c));
}

/* *WSP ";" *WSP */
static bool
take_delimiter(struct sv *in)
{
    struct sv rest = *in;

    sv_take_while(&rest, char_is_blank);
    if (!sv_take_char(&rest, ';'))
        return false;
    sv_take_while(&rest, char_is_blank);
    *in = rest;
    return true;
}

static bool
take_version(struct sv *in)
{
    return sv_take_prefix(in, SV("v=TLSRPTv1"));
}

bool
tlsrpt_record_is(struct sv text)
{
    return take_version(&text) && take_delimiter(&text);
}

/* --- URIs ----------------------------------------------------------------- */

static unsigned
hex(char c)
{
    return char_is_digit(c) ? (unsigned)(c - '0')
                            : (unsigned)(char_lower(c) - 'a' + 10);
}

/* False for a "%" that is followed by something else than two digits. */
static bool
percent_decode(struct sv text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '%') {
            buf_add_char(out, text.p[i]);
            continue;
        }
        if (text.n - i < 3 || !char_is_hex(text.p[i + 1]) ||
            !char_is_hex(text.p[i + 2]))
            return false;
        buf_add_char(out, (char)(hex(text.p[i + 1]) << 4 | hex(text.p[i + 2])));
        i += 2;
    }
    return true;
}

/* RFC 6068: "mailto:" [ to ] [ "?" hfields ]; header fields are not taken from
 * a stranger, and there is one address. */
static bool
parse_mail(struct sv rest, struct arena *arena, struct tlsrpt_target *target)
{
    struct buf decoded = {0};
    struct mail_path path;
    bool ok = percent_decode(sv_take_until(&rest, '?'), &decoded) &&
              mail_mailbox_parse(buf_view(&decoded), &path) && !path.utf8;

    target->scheme = TLSRPT_MAIL;
    if (ok)
        target->address = arena_cstr(arena, buf_view(&decoded));
    buf_fini(&decoded);
    return ok;
}

/* "https://" host …; whether it can be reached is seen when it is tried. */
static bool
parse_https(struct sv rest, struct tlsrpt_target *target)
{
    struct sv host = {0};
    struct buf decoded = {0};
    bool ok = percent_decode(rest, &decoded);

    buf_fini(&decoded);
    if (rest.n > 0) /* then a NUL follows */
        host = sv_slice(rest, 0, strcspn(rest.p, "/?#"));
    target->scheme = TLSRPT_HTTPS;
    target->address = target->uri;
    return ok && host.n > 0 && !sv_has(host, '@');
}

static bool
add_uri(struct tlsrpt_record *record, struct sv uri, struct arena *arena,
        struct err *err)
{
    struct tlsrpt_target *target = &record->targets[record->target_count];
    bool ok = true;
    struct sv rest;

    target->uri = arena_cstr(arena, uri);
    rest = sv_of(target->uri);
    if (sv_take_prefix_nocase(&rest, SV("mailto:")))
        ok = parse_mail(rest, arena, target);
    else if (sv_take_prefix_nocase(&rest, SV("https://")))
        ok = parse_https(rest, target);
    else {
        record->ignored++;
        return true;
    }
    if (ok)
        record->target_count++;
    else
        err_set(err, "rua: \"%s\" is not an address that can be used",
                target->uri);
    return ok;
}

/* tlsrpt-rua, behind "rua=" */
static bool
take_uris(struct sv *in, struct tlsrpt_record *record, struct arena *arena,
          struct err *err)
{
    do {
        struct sv uri = sv_take_while(in, is_uri);

        if (uri.n == 0 || uri.n > URI_MAX) {
            err_set(err, "rua: a URI is missing or too long");
            return false;
        }
        if (record->target_count == TLSRPT_TARGETS_MAX)
            record->ignored++;
        else if (!add_uri(record, uri, arena, err))
            return false;
        struct sv rest = *in;
        sv_take_while(&rest, char_is_blank);
        if (rest.n == 0 || *rest.p != ',')
            return true; /* blanks belong to the delimiter */
        *in = sv_from(rest, 1);
        sv_take_while(in, char_is_blank);
    } while (true);
}

/* --- Fields --------------------------------------------------------------- */

static bool
take_extension(struct sv *in, struct err *err)
{
    struct sv name = sv_take_while(in, is_name);

    if (name.n == 0 || name.n > EXTENSION_NAME_MAX ||
        !char_is_alnum(name.p[0])) {
        err_set(err, "the name of a field is missing or malformed");
        return false;
    }
    if (!sv_take_char(in, '=') || sv_take_while(in, is_value).n == 0) {
        err_set(err, "field %.*s has no value", SV_ARG(name));
        return false;
    }
    return true;
}

/* Several "rua" add up. */
static bool
take_field(struct sv *in, struct tlsrpt_record *record, bool *found,
           struct arena *arena, struct err *err)
{
    if (!sv_take_prefix(in, SV("rua=")))
        return take_extension(in, err);
    *found = true;
    return take_uris(in, record, arena, err);
}

/* The text is a stranger's: it may hold anything. */
static void
refuse_rest(struct sv rest, struct err *err)
{
    char shown[REST_SHOWN + 1];
    size_t n = rest.n < REST_SHOWN ? rest.n : REST_SHOWN;

    for (size_t i = 0; i < n; i++)
        shown[i] = (char)(char_is_print(rest.p[i]) ? rest.p[i] : '?');
    shown[n] = '\0';
    err_set(err, "\";\" is missing before \"%s\"", shown);
}

bool
tlsrpt_record_parse(struct sv text, struct arena *arena,
                    struct tlsrpt_record *record, struct err *err)
{
    struct sv in = text;
    bool found = false;

    *record = (struct tlsrpt_record){0};
    record->targets =
        arena_alloc(arena, (TLSRPT_TARGETS_MAX + 1) * sizeof *record->targets);
    if (!take_version(&in)) {
        err_set(err, "it does not begin with v=TLSRPTv1");
        return false;
    }
    /* 1*(field-delim tlsrpt-field) [field-delim] */
    while (take_delimiter(&in) && in.n > 0)
        if (!take_field(&in, record, &found, arena, err))
            return false;
    if (in.n > 0) {
        refuse_rest(in, err);
        return false;
    }
    if (!found)
        err_set(err, "there is no rua");
    return found;
}

bool
tlsrpt_record_choose(const struct sv *texts, size_t count, struct arena *arena,
                     struct tlsrpt_record *record, struct err *err)
{
    struct sv chosen = {0};
    size_t found = 0;

    for (size_t i = 0; i < count; i++)
        if (tlsrpt_record_is(texts[i])) {
            chosen = texts[i];
            found++;
        }
    if (found == 1)
        return tlsrpt_record_parse(chosen, arena, record, err);
    err_set(err, found == 0 ? "there is no record of TLS reporting"
                            : "there are several records of TLS reporting");
    return false;
}
