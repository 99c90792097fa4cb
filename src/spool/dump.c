/* `waxgate spool dump`: every record in words, a line each; what came from
 * peers is escaped. */
#include "base/arena.h"
#include "base/utf8.h"
#include "spool/ledger.h"
#include "spool/survey.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

struct dump {
    struct survey survey;
    struct spool_dump_options options;
    FILE *out;
    struct buf line;
    struct arena arena;
};

/* --- Values ------------------------------------------------------------- */

static void
add_escaped(struct buf *line, struct sv text)
{
    /* Text that is not UTF-8 is bytes: each becomes one code point. */
    bool utf8 = utf8_valid(text);

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '"' || c == '\\')
            buf_printf(line, "\\%c", c);
        else if (char_is_print(c) || (utf8 && (c & 0x80)))
            buf_add_char(line, c);
        else
            buf_printf(line, "\\u%04x", (unsigned)(unsigned char)c);
    }
}

static void
add_text(struct dump *dump, const char *key, struct sv text)
{
    if (text.n == 0)
        return;
    buf_printf(&dump->line, dump->options.json ? ",\"%s\":\"" : " %s=\"", key);
    add_escaped(&dump->line, text);
    buf_add_char(&dump->line, '"');
}

static void
add_number(struct dump *dump, const char *key, uint64_t value)
{
    buf_printf(&dump->line,
               dump->options.json ? ",\"%s\":%" PRIu64 : " %s=%" PRIu64, key,
               value);
}

static void
add_bool(struct dump *dump, const char *key, bool value)
{
    if (value)
        buf_printf(&dump->line, dump->options.json ? ",\"%s\":true" : " %s",
                   key);
}

static void
add_time(struct dump *dump, const char *key, int64_t us)
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    char text[64];

    if (us <= 0 || gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return;
    add_text(dump, key, sv_of(text));
}

/* --- Records ------------------------------------------------------------ */

static void
add_message(struct dump *dump, const struct scan_item *item)
{
    struct envelope envelope;
    struct err err = {0};

    add_number(dump, "id", item->record.id);
    add_number(dump, "length", item->record.content_length);
    add_bool(dump, "file", item->record.body != 0);
    add_bool(dump, "damaged", item->content_damaged);
    if (!envelope_decode(item->head, &dump->arena, &envelope, &err)) {
        add_text(dump, "error", sv_of(err.text));
        return;
    }
    add_text(dump, "queue", envelope.queue_id);
    add_text(dump, "client", envelope.client_address);
    buf_add_str(&dump->line, dump->options.json ? ",\"from\":\"" : " from=\"");
    add_escaped(&dump->line, envelope.sender);
    buf_add_str(&dump->line, dump->options.json ? "\",\"to\":[" : "\" to=[");
    for (size_t i = 0; i < envelope.recipient_count; i++) {
        buf_add_str(&dump->line, i == 0 ? "\"" : ",\"");
        add_escaped(&dump->line, envelope.recipients[i].address);
        buf_add_char(&dump->line, '"');
    }
    buf_add_char(&dump->line, ']');
}

static void
add_results(struct dump *dump, const struct ledger_attempt *attempt)
{
    bool json = dump->options.json;

    buf_add_str(&dump->line, json ? ",\"results\":[" : " results=[");
    for (size_t i = 0; i < attempt->result_count; i++) {
        const struct ledger_result *result = &attempt->results[i];

        buf_printf(&dump->line,
                   json ? "%s{\"recipient\":%" PRIu32
                          ",\"outcome\":\"%s\",\"code\":%u,\"text\":\""
                        : "%s%" PRIu32 " %s %u \"",
                   i == 0 ? "" : ",", result->recipient,
                   ledger_outcome_name(result->outcome), result->code);
        add_escaped(&dump->line, result->text);
        buf_add_str(&dump->line, json ? "\"}" : "\"");
    }
    buf_add_char(&dump->line, ']');
}

static void
add_attempt(struct dump *dump, const struct scan_item *item)
{
    struct ledger_attempt attempt;
    struct err err = {0};

    if (!ledger_attempt_decode(item->head, &dump->arena, &attempt, &err)) {
        add_text(dump, "error", sv_of(err.text));
        return;
    }
    add_number(dump, "id", attempt.id);
    add_text(dump, "queue", attempt.queue_id);
    add_number(dump, "attempt", attempt.attempt);
    add_time(dump, "next", attempt.next_retry_us);
    add_text(dump, "destination", attempt.destination);
    add_text(dump, "host", attempt.host);
    add_text(dump, "ip", attempt.ip);
    add_text(dump, "tls", attempt.tls_version);
    add_text(dump, "cipher", attempt.tls_cipher);
    add_text(dump, "policy", attempt.tls.authority);
    add_text(dump, "whys", attempt.tls.reasons);
    add_text(dump, "dane", attempt.tls.dane);
    add_text(dump, "sts", attempt.tls.sts);
    add_text(dump, "subject", attempt.tls.subject);
    add_text(dump, "reason", attempt.reason);
    add_bool(dump, "final", attempt.message_final);
    add_results(dump, &attempt);
}

static void
add_action(struct dump *dump, const struct scan_item *item)
{
    struct ledger_action action;
    struct err err = {0};

    if (!ledger_action_decode(item->head, &action, &err)) {
        add_text(dump, "error", sv_of(err.text));
        return;
    }
    add_number(dump, "id", action.id);
    add_text(dump, "action", sv_of(ledger_action_name(action.kind)));
    add_text(dump, "by", action.by);
}

static void
add_session(struct dump *dump, const struct scan_item *item)
{
    static const char *const policies[] = {
        [LEDGER_POLICY_NONE] = "none",
        [LEDGER_POLICY_TLSA] = "tlsa",
        [LEDGER_POLICY_STS] = "sts",
    };
    struct ledger_session session;
    struct err err = {0};

    if (!ledger_session_decode(item->head, &session, &err)) {
        add_text(dump, "error", sv_of(err.text));
        return;
    }
    add_text(dump, "domain", session.domain);
    add_text(dump, "policy", sv_of(policies[session.policy]));
    add_text(dump, "policy_id", session.policy_id);
    add_text(dump, "result", sv_of(ledger_tls_result_name(session.result)));
    add_bool(dump, "enforced", session.enforced);
    add_text(dump, "host", session.host);
    add_text(dump, "ip", session.ip);
    add_text(dump, "tls", session.tls_version);
    add_text(dump, "cipher", session.tls_cipher);
    add_text(dump, "reason", session.reason);
    add_text(dump, "delivery", session.delivery);
}

static void
add_by_type(struct dump *dump, const struct scan_item *item)
{
    switch (item->record.type) {
    case SPOOL_MESSAGE:
        add_message(dump, item);
        return;
    case SPOOL_ATTEMPT:
        add_attempt(dump, item);
        return;
    case SPOOL_ACTION:
        add_action(dump, item);
        return;
    case SPOOL_SESSION:
        add_session(dump, item);
        return;
    case SPOOL_NOTE:
        break;
    }
    add_text(dump, "payload", item->head);
}

/* --- Content ------------------------------------------------------------ */

static void
add_bytes(struct dump *dump, int fd, uint64_t offset, uint64_t n)
{
    char piece[16 << 10];

    while (n > 0) {
        size_t want = n < sizeof piece ? (size_t)n : sizeof piece;
        ssize_t got = read_fully(fd, piece, want, offset);

        if (got <= 0)
            return;
        add_escaped(&dump->line, (struct sv){piece, (size_t)got});
        fwrite(dump->line.p + dump->line.start, 1, buf_length(&dump->line),
               dump->out);
        buf_reset(&dump->line);
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
}

static void
add_content(struct dump *dump, const struct survey_segment *segment,
            const struct scan_item *item)
{
    const struct record *record = &item->record;
    char name[BODY_NAME];
    int fd;

    buf_add_str(&dump->line,
                dump->options.json ? ",\"content\":\"" : " content=\"");
    if (record->body == 0) {
        add_bytes(dump, segment->fd,
                  item->offset + RECORD_HEADER + record->head_length,
                  record->content_length);
    } else {
        body_name(segment->number, record->body, name);
        fd = openat(dump->survey.body_dir[dump->options.journal], name,
                    O_RDONLY | O_CLOEXEC);
        if (fd != -1) {
            add_bytes(dump, fd, 0, record->content_length);
            close(fd);
        }
    }
    buf_add_char(&dump->line, '"');
}

/* --- Lines -------------------------------------------------------------- */

static void
begin_line(struct dump *dump, uint32_t segment, uint64_t offset,
           const char *type)
{
    buf_printf(&dump->line,
               dump->options.json ? "{\"place\":\"%08" PRIu32 ":%" PRIu64
                                    "\",\"type\":\"%s\""
                                  : "%08" PRIu32 ":%" PRIu64 " %s",
               segment, offset, type);
}

static void
end_line(struct dump *dump)
{
    buf_add_str(&dump->line, dump->options.json ? "}\n" : "\n");
    fwrite(dump->line.p + dump->line.start, 1, buf_length(&dump->line),
           dump->out);
    buf_reset(&dump->line);
}

static void
on_segment(void *arg, const struct survey_segment *segment)
{
    (void)arg;
    (void)segment;
}

static void
on_record(void *arg, const struct survey_segment *segment,
          const struct scan_item *item)
{
    struct dump *dump = arg;

    if (item->record.sequence < dump->options.from_sequence)
        return;
    begin_line(dump, segment->number, item->offset,
               record_type_name(item->record.type));
    add_number(dump, "sequence", item->record.sequence);
    add_time(dump, "time", item->record.wall_us);
    add_by_type(dump, item);
    arena_reset(&dump->arena);
    if (dump->options.content && item->record.type == SPOOL_MESSAGE)
        add_content(dump, segment, item);
    end_line(dump);
}

static void
on_problem(void *arg, uint32_t segment, uint64_t offset, const char *what)
{
    struct dump *dump = arg;

    begin_line(dump, segment, offset, "damaged");
    add_text(dump, "reason", sv_of(what));
    end_line(dump);
}

bool
spool_dump(const char *state_dir, const struct spool_dump_options *options,
           FILE *out, struct err *err)
{
    static const struct survey_calls calls = {
        .on_segment = on_segment,
        .on_record = on_record,
        .on_problem = on_problem,
    };
    struct dump dump = {.options = *options, .out = out};
    bool ok;

    arena_init(&dump.arena, 4096);
    ok = survey_open(&dump.survey, state_dir, err);
    if (ok) {
        ok = survey_walk(&dump.survey, options->journal, &calls, &dump, err);
        survey_close(&dump.survey);
    }
    if (ok && (fflush(out) != 0 || ferror(out))) {
        err_sys(err, "write");
        ok = false;
    }
    buf_fini(&dump.line);
    arena_fini(&dump.arena);
    return ok;
}
