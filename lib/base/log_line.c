/* Escaping: a key=value value is quoted when it is empty or holds anything but
 * plain text; within the quotes a quote and a backslash get a backslash, and
 * what is not harmless text is written \xNN, byte by byte.  JSON strings hold
 * the same text: control characters as \u00NN, bytes that are no UTF-8 as the
 * four characters \xNN. */
#include "base/clock.h"
#include "base/log_internal.h"
#include "base/utf8.h"
#include <inttypes.h>
#include <time.h>

/* Kept free at the end for the mark of a line that was cut and its end. */
#define RESERVE 32

struct out {
    char *p;
    size_t n, limit;
    bool full; /* something did not fit */
};

static void
put(struct out *out, struct sv view)
{
    if (view.n > out->limit - out->n) {
        out->full = true;
        return;
    }
    if (view.n > 0)
        memcpy(out->p + out->n, view.p, view.n);
    out->n += view.n;
}

static void
put_byte_escape(struct out *out, const char *prefix, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";

    put(out, sv_of(prefix));
    put(out, (struct sv){&digits[byte >> 4], 1});
    put(out, (struct sv){&digits[byte & 15], 1});
}

/* Characters that steer a terminal or turn the direction of the text could
 * make a line look like what it is not. */
static bool
is_harmless(uint32_t c)
{
    return c >= 0x20 && !(c >= 0x7f && c <= 0x9f) &&
           !(c >= 0x200b && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) &&
           !(c >= 0x2060 && c <= 0x206f) && c != 0x061c && c != 0xfeff;
}

static bool
is_plain(struct sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (!char_is_print(c) || c == ' ' || c == '=' || c == '"' || c == '\\')
            return false;
    }
    return text.n > 0;
}

static bool
is_bare(char c)
{
    return char_is_print(c) && c != '"' && c != '\\';
}

/* The character at the front of *text, which is not bare. */
static void
put_character(struct out *out, enum log_format format, struct sv *text)
{
    uint32_t c = 0;
    size_t n = utf8_decode(*text, &c);
    bool json = format == LOG_JSON;
    size_t taken = n > 0 ? n : 1;

    if (c == '"' || c == '\\') {
        put(out, SV("\\"));
        put(out, sv_slice(*text, 0, 1));
    } else if (n > 0 && is_harmless(c)) {
        put(out, sv_slice(*text, 0, n));
    } else if (json && n > 0 && c < 0x100) {
        put_byte_escape(out, "\\u00", (unsigned char)c);
    } else {
        for (size_t i = 0; i < taken; i++)
            put_byte_escape(out, json ? "\\\\x" : "\\x",
                            (unsigned char)text->p[i]);
    }
    *text = sv_from(*text, taken);
}

static void
put_quoted(struct out *out, enum log_format format, struct sv text)
{
    put(out, SV("\""));
    while (text.n > 0) {
        put(out, sv_take_while(&text, is_bare));
        if (text.n > 0)
            put_character(out, format, &text);
    }
    put(out, SV("\""));
}

static void
put_text(struct out *out, enum log_format format, struct sv text)
{
    struct sv head = sv_slice(text, 0, LOG_VALUE_MAX);

    if (format == LOG_KEY_VALUE && is_plain(head))
        put(out, head);
    else
        put_quoted(out, format, head);
}

static void
put_value(struct out *out, enum log_format format,
          const struct log_field *field)
{
    char number[24];

    switch (field->type) {
    case LOG_TYPE_SV:
        put_text(out, format, field->value.text);
        return;
    case LOG_TYPE_U64:
        snprintf(number, sizeof number, "%" PRIu64, field->value.u64);
        break;
    case LOG_TYPE_I64:
        snprintf(number, sizeof number, "%" PRId64, field->value.i64);
        break;
    case LOG_TYPE_BOOL:
        snprintf(number, sizeof number, "%s",
                 field->value.u64 != 0 ? "true" : "false");
        break;
    }
    put(out, sv_of(number));
}

/* All of the field or nothing of it: half a value would mislead. */
static void
put_field(struct out *out, enum log_format format,
          const struct log_field *field)
{
    size_t before = out->n;

    if (field->key == NULL || out->full)
        return;
    put(out, format == LOG_JSON ? SV(",\"") : SV(" "));
    put(out, sv_of(field->key));
    put(out, format == LOG_JSON ? SV("\":") : SV("="));
    put_value(out, format, field);
    if (out->full)
        out->n = before;
}

/* The outermost context first. */
static void
put_context(struct out *out, enum log_format format,
            const struct log_context *context)
{
    if (context == NULL)
        return;
    put_context(out, format, context->parent);
    for (size_t i = 0; i < COUNT_OF(context->fields); i++)
        put_field(out, format, &context->fields[i]);
}

/* 2026-11-22T00:44:12.123456Z.  The part up to the second is kept between
 * lines, because taking the date apart costs more than the rest of a line. */
static void
put_time(struct out *out)
{
    static _Thread_local int64_t kept_second = INT64_MIN;
    static _Thread_local char kept[32];
    int64_t now = clock_wall_us();
    int64_t second = now / 1000000;
    char fraction[24];

    if (second != kept_second) {
        time_t when = (time_t)second;
        struct tm tm;

        gmtime_r(&when, &tm);
        strftime(kept, sizeof kept, "%Y-%m-%dT%H:%M:%S", &tm);
        kept_second = second;
    }
    snprintf(fraction, sizeof fraction, ".%06dZ", (int)(now % 1000000));
    put(out, sv_of(kept));
    put(out, sv_of(fraction));
}

static void
put_head(struct out *out, const struct log_head *head)
{
    put_time(out);
    put(out, SV(" "));
    put(out, sv_of(log_level_name(head->level)));
    put(out, SV(" "));
    put(out, sv_of(head->process != NULL ? head->process : "-"));
    put(out, SV(" "));
    put(out, sv_of(head->event));
}

static void
put_json_head(struct out *out, const struct log_head *head)
{
    put(out, SV("{\"time\":\""));
    put_time(out);
    put(out, SV("\",\"level\":\""));
    put(out, sv_of(log_level_name(head->level)));
    put(out, SV("\",\"process\":"));
    put_quoted(out, LOG_JSON,
               sv_of(head->process != NULL ? head->process : "-"));
    put(out, SV(",\"event\":"));
    put_quoted(out, LOG_JSON, sv_of(head->event));
}

void
log_line_make(struct log_line *line, enum log_format format,
              const struct log_head *head, const struct log_context *context,
              const struct log_field *fields, size_t count)
{
    struct out out = {.p = line->text, .limit = sizeof line->text - RESERVE};

    if (format == LOG_JSON)
        put_json_head(&out, head);
    else
        put_head(&out, head);
    put_context(&out, format, context);
    for (size_t i = 0; i < count; i++)
        put_field(&out, format, &fields[i]);

    out.limit = sizeof line->text;
    if (out.full) {
        out.full = false;
        put_field(&out, format, &LOG_BOOL("cut", true));
    }
    put(&out, format == LOG_JSON ? SV("}\n") : SV("\n"));
    line->length = out.n;
}
