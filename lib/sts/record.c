/* The TXT record of a domain with MTA-STS (RFC 8461 section 3.1):
 *
 *   sts-text-record = sts-version 1*(sts-field-delim sts-field)
 *                     [sts-field-delim]
 *   sts-field-delim = *WSP ";" *WSP
 */
#include "sts/sts.h"

enum { NAME_MAX_LENGTH = 32 };

const char *
sts_record_verdict_name(enum sts_record_verdict verdict)
{
    static const char *const names[] = {"none", "ok", "invalid"};

    return names[verdict];
}

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

/* What a record is recognised by.  The text of section 3.1 wants "v=STSv1;"
 * at the front and the grammar allows blanks before the semicolon. */
static bool
is_ours(struct sv text, bool *blanks)
{
    if (!sv_take_prefix(&text, SV("v=STSv1")))
        return false;
    *blanks = text.n > 0 && char_is_blank(text.p[0]);
    return take_delimiter(&text);
}

static bool
is_name_char(char c)
{
    return char_is_alnum(c) || c == '_' || c == '-' || c == '.';
}

static bool
is_value_char(char c)
{
    return c > ' ' && c < 0x7f && c != ';' && c != '=';
}

static bool
set_id(struct sv value, struct sts_record *record)
{
    bool first = record->id[0] == '\0';
    struct sv rest = value;

    sv_take_while(&rest, char_is_alnum);
    if (rest.n > 0 || value.n == 0 || value.n > STS_ID_MAX) {
        snprintf(record->reason, sizeof record->reason,
                 "the id is not 1 to 32 letters and digits");
        return false;
    }
    if (first)
        memcpy(record->id, value.p, value.n);
    else
        snprintf(record->reason, sizeof record->reason,
                 "there are several ids; the first counts");
    return true;
}

/* sts-id, or name "=" value of an extension. */
static bool
take_field(struct sv *in, struct sts_record *record)
{
    struct sv name = sv_take_while(in, is_name_char);
    struct sv value;

    if (name.n == 0 || name.n > NAME_MAX_LENGTH || !char_is_alnum(name.p[0]) ||
        !sv_take_char(in, '=')) {
        snprintf(record->reason, sizeof record->reason,
                 "a field is not of the form name=value");
        return false;
    }
    value = sv_take_while(in, is_value_char);
    if (sv_is(name, "id"))
        return set_id(value, record);
    if (value.n == 0)
        snprintf(record->reason, sizeof record->reason,
                 "field %.*s has no value", SV_ARG(name));
    return value.n > 0;
}

static bool
take_fields(struct sv text, struct sts_record *record)
{
    sv_take_prefix(&text, SV("v=STSv1"));
    while (text.n > 0) {
        if (!take_delimiter(&text)) {
            snprintf(record->reason, sizeof record->reason,
                     "there is a blank or another character where a semicolon "
                     "or the end is due");
            return false;
        }
        if (text.n > 0 && !take_field(&text, record))
            return false;
    }
    if (record->id[0] == '\0')
        snprintf(record->reason, sizeof record->reason, "there is no id");
    return record->id[0] != '\0';
}

static enum sts_record_verdict
parse_one(struct sv text, bool blanks, struct sts_record *record)
{
    if (!take_fields(text, record)) {
        record->id[0] = '\0';
        return STS_RECORD_INVALID;
    }
    if (blanks && record->reason[0] == '\0')
        snprintf(record->reason, sizeof record->reason,
                 "blanks before the first semicolon; some senders ignore such "
                 "a record");
    return STS_RECORD_OK;
}

static enum sts_record_verdict
none(struct sts_record *record, size_t count)
{
    if (count > 0)
        snprintf(record->reason, sizeof record->reason,
                 "no TXT record begins with v=STSv1;");
    return STS_RECORD_NONE;
}

enum sts_record_verdict
sts_record_parse(const struct sv *texts, size_t count,
                 struct sts_record *record)
{
    struct sv found = {0};
    size_t ours = 0;
    bool odd = false;

    *record = (struct sts_record){0};
    for (size_t i = 0; i < count; i++) {
        bool blanks;

        if (!is_ours(texts[i], &blanks))
            continue;
        /* By the letter of section 3.1 one with blanks is none: it must not
         * turn a good one into "several". */
        if (ours > 0 && odd && !blanks)
            ours = 0;
        else if (ours > 0 && !odd && blanks)
            continue;
        found = texts[i];
        odd = blanks;
        ours++;
    }
    if (ours == 0)
        return none(record, count);
    if (ours == 1)
        return parse_one(found, odd, record);
    snprintf(record->reason, sizeof record->reason,
             "%zu records begin with v=STSv1; and only one may", ours);
    return STS_RECORD_NONE;
}
