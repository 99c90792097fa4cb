#include "mail/reply.h"
#include "base/utf8.h"

enum { LINE_OCTETS_MAX = 512 }; /* RFC 5321 section 4.5.3.1.5, with CRLF */

/* 1 to 3 digits. */
static bool
take_number(struct sv *in, uint16_t *number)
{
    struct sv digits = sv_take_while(in, char_is_digit);
    uint32_t value;

    if (digits.n > 3 || !sv_to_u32(digits, &value))
        return false;
    *number = (uint16_t)value;
    return true;
}

/* RFC 3463 section 2: class "." subject "." detail. */
bool
mail_status_take(struct sv *text, struct mail_status *status)
{
    struct sv rest = *text;
    struct mail_status found;

    if (!take_number(&rest, &found.class) || !sv_take_char(&rest, '.') ||
        !take_number(&rest, &found.subject) || !sv_take_char(&rest, '.') ||
        !take_number(&rest, &found.detail))
        return false;
    if (found.class != 2 && found.class != 4 && found.class != 5)
        return false;
    if (rest.n > 0 && !sv_take_char(&rest, ' '))
        return false;
    *text = rest;
    *status = found;
    return true;
}

void
mail_reply_init(struct mail_reply *reply)
{
    /* Not the text: 1 KiB for every command would be wasted. */
    reply->code = 0;
    reply->status = (struct mail_status){0};
    reply->lines = 0;
    reply->length = 0;
    reply->more = true;
}

static void
keep(struct mail_reply *reply, struct sv bytes)
{
    if (bytes.n <= sizeof reply->text - reply->length) {
        memcpy(reply->text + reply->length, bytes.p, bytes.n);
        reply->length += bytes.n;
    }
}

/* Cut behind the last character that fits: once one did not, none follows. */
static void
keep_text(struct mail_reply *reply, struct sv text)
{
    if (reply->lines > 0)
        keep(reply, SV("\n"));
    while (text.n > 0) {
        uint32_t c = 0;
        size_t n = utf8_decode(text, &c);
        bool clean = n > 0 && c >= 0x20 && !(c >= 0x7f && c < 0xa0);

        if (sizeof reply->text - reply->length < 4)
            return;
        keep(reply, clean ? sv_slice(text, 0, n) : SV("?"));
        text = sv_from(text, n > 0 ? n : 1);
    }
}

/* "250" and what separates it from the text. */
static bool
take_code(struct sv *line, unsigned *code, bool *more)
{
    uint32_t value;

    if (!sv_to_u32(sv_slice(*line, 0, 3), &value) || value < 200 || value > 599)
        return false;
    *line = sv_from(*line, 3);
    *code = value;
    *more = sv_take_char(line, '-');
    return *more || line->n == 0 || sv_take_char(line, ' ');
}

/* The enhanced code counts only where its class is that of the code (RFC 2034
 * section 4); otherwise it is text. */
static void
take_status(struct sv *text, struct mail_reply *reply)
{
    struct mail_status status;
    struct sv rest = *text;

    if (!mail_status_take(&rest, &status) || status.class != reply->code / 100)
        return;
    *text = rest;
    if (reply->lines == 0)
        reply->status = status;
}

static bool
take_reply_line(struct sv line, struct mail_reply *reply,
                void (*on_line)(void *arg, unsigned index, struct sv text),
                void *arg)
{
    unsigned code;

    if (!take_code(&line, &code, &reply->more) ||
        reply->lines == MAIL_REPLY_LINES_MAX)
        return false;
    if (reply->lines > 0 && code != reply->code)
        return false;
    reply->code = code;
    if (on_line != NULL)
        on_line(arg, reply->lines, line);
    take_status(&line, reply);
    keep_text(reply, line);
    reply->lines++;
    return true;
}

enum mail_reply_result
mail_reply_take(struct sv *in, struct mail_reply *reply,
                void (*on_line)(void *arg, unsigned index, struct sv text),
                void *arg)
{
    while (reply->more) {
        size_t lf = sv_index(sv_slice(*in, 0, LINE_OCTETS_MAX), '\n');

        if (lf == SV_NONE)
            return in->n < LINE_OCTETS_MAX ? MAIL_REPLY_MORE : MAIL_REPLY_BAD;
        if (lf == 0 || in->p[lf - 1] != '\r' ||
            !take_reply_line(sv_slice(*in, 0, lf - 1), reply, on_line, arg))
            return MAIL_REPLY_BAD;
        *in = sv_from(*in, lf + 1);
    }
    return MAIL_REPLY_DONE;
}
