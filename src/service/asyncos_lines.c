/* Events of the log as lines of AsyncOS mail_logs.  One row per event; whatever
 * a line tells stands in the event's own fields. */
#include "base/clock.h"
#include "service/asyncos_log.h"
#include <stdarg.h>
#include <time.h>

enum {
    LINE_MAX_BYTES = 1500,
    TEXT_MAX_BYTES = 500, /* of one value */
};

struct lines {
    const struct log_record *record;
    void (*on_line)(void *arg, struct sv line);
    void *arg;
};

static void PRINTF_LIKE(2, 3)
    put(const struct lines *lines, const char *fmt, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof text)
        n = (int)sizeof text - 1;
    lines->on_line(lines->arg, (struct sv){text, (size_t)n});
}

/* --- Values --------------------------------------------------------------- */

struct text {
    char at[TEXT_MAX_BYTES + 1];
};

/* Words of a peer: printable ASCII on one line; a quote of the kind that stands
 * around them gets a backslash. */
static const char *
clean(struct sv in, char quote, struct text *out)
{
    size_t n = 0;

    for (size_t i = 0; i < in.n && n + 2 < sizeof out->at; i++) {
        char c = in.p[i];

        if (c == '\r' || c == '\n')
            c = ' ';
        if (c < ' ' || c > '~')
            c = '?';
        if (quote != '\0' && (c == quote || c == '\\'))
            out->at[n++] = '\\';
        out->at[n++] = c;
    }
    out->at[n] = '\0';
    return out->at;
}

static const char *
value(const struct lines *lines, const char *key, struct text *out)
{
    return clean(log_record_text(lines->record, key), '\0', out);
}

static bool
is(const struct lines *lines, const char *key, const char *word)
{
    return sv_is(log_record_text(lines->record, key), word);
}

/* "S6b0252f600000": the letter is the kind, the rest hexadecimal. */
static uint64_t
id(const struct lines *lines, const char *key)
{
    struct sv text = log_record_text(lines->record, key);
    uint64_t number = 0;

    if (text.n < 2 || text.n > 16)
        return 0;
    for (size_t i = 1; i < text.n; i++) {
        char c = char_lower(text.p[i]);

        if (!char_is_hex(c))
            return 0;
        number = number * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return number;
}

#define ICID ((unsigned long long)id(l, "session"))
#define DCID ((unsigned long long)id(l, "delivery"))
#define MID ((unsigned long long)id(l, "queue"))
#define NUMBER(key) ((unsigned long long)log_record_number(l->record, (key)))

/* "192.0.2.1:25" and "[2001:db8::1]:25" without the port. */
static const char *
host_of(const struct lines *l, const char *key, struct text *out)
{
    struct sv text = log_record_text(l->record, key);
    size_t colon = sv_last_index(text, ':');

    if (colon != SV_NONE)
        text = sv_slice(text, 0, colon);
    if (text.n > 1 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = sv_slice(text, 1, text.n - 2);
    return clean(text, '\0', out);
}

/* --- Receiving ------------------------------------------------------------ */

static const char *
behavior(const struct lines *l)
{
    static const struct {
        const char *ours, *theirs;
    } words[] = {{"accept", "ACCEPT"},
                 {"relay", "RELAY"},
                 {"reject", "REJECT"},
                 {"tcprefuse", "TCPREFUSE"}};

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (is(l, "behavior", words[i].ours))
            return words[i].theirs;
    return "CONTINUE";
}

static void
on_connect_in(const struct lines *l)
{
    bool named = log_record_text(l->record, "name").n > 0;
    struct text a, b, c, d;

    put(l,
        "New SMTP ICID %llu interface %s (%s) address %s reverse dns host %s "
        "verified %s",
        ICID, value(l, "listener", &a), host_of(l, "local", &b),
        host_of(l, "peer", &c), named ? value(l, "name", &d) : "unknown",
        named ? "yes" : "no");
    put(l, "ICID %llu %s SG %s match %s SBRS None", ICID, behavior(l),
        value(l, "group", &a), value(l, "matched", &b));
}

static void
on_tls_in(const struct lines *l)
{
    struct text a, b;

    if (is(l, "result", "ok"))
        put(l, "ICID %llu TLS success protocol %s cipher %s", ICID,
            value(l, "version", &a), value(l, "cipher", &b));
    else
        put(l, "ICID %llu TLS failed: %s", ICID, value(l, "reason", &a));
}

static void
on_refuse(const struct lines *l)
{
    if (NUMBER("code") == 530)
        put(l, "ICID %llu TLS was required but remote host did not initiate it",
            ICID);
}

static void
put_start(const struct lines *l, unsigned long long mid,
          unsigned long long icid)
{
    struct text a;

    put(l, "Start MID %llu ICID %llu", mid, icid);
    put(l, "MID %llu ICID %llu From: <%s>", mid, icid, value(l, "from", &a));
}

static void
put_rcpt(const struct lines *l, unsigned long long mid, unsigned long long icid)
{
    struct text a;

    put(l, "MID %llu ICID %llu RID %llu To: <%s>", mid, icid, NUMBER("rcpt"),
        value(l, "to", &a));
}

static void
on_rcpt(const struct lines *l)
{
    if (NUMBER("rcpt") == 0)
        put_start(l, MID, ICID);
    put_rcpt(l, MID, ICID);
}

static void
put_ready(const struct lines *l)
{
    struct text a;

    put(l, "MID %llu ready %llu bytes from <%s>", MID, NUMBER("size"),
        value(l, "from", &a));
    put(l, "MID %llu queued for delivery", MID);
}

static void
on_close_in(const struct lines *l)
{
    if (is(l, "reason", "eof") || is(l, "reason", "connection-lost"))
        put(l, "ICID %llu lost", ICID);
    put(l, "ICID %llu close", ICID);
}

/* --- Mail of our own ------------------------------------------------------ */

static void
on_submit(const struct lines *l)
{
    put_start(l, MID, 0);
    put_rcpt(l, MID, 0);
    put_ready(l);
}

static void
on_notice(const struct lines *l)
{
    unsigned long long notice = (unsigned long long)id(l, "notice");

    put(l, "MID %llu was generated for bounce of MID %llu", notice, MID);
    put_start(l, notice, 0);
    put_rcpt(l, notice, 0);
    put(l, "MID %llu queued for delivery", notice);
}

/* --- Delivery ------------------------------------------------------------- */

static void
on_connect_out(const struct lines *l)
{
    struct text a, b, c, d;

    if (is(l, "result", "ok"))
        put(l, "New SMTP DCID %llu interface %s address %s port %llu", DCID,
            value(l, "local", &a), value(l, "ip", &b), NUMBER("port"));
    else
        put(l,
            "Connection Error: DCID %llu domain: %s IP: %s port: %llu details: "
            "[Errno 0] %s interface: %s reason: network error",
            DCID, value(l, "destination", &a), value(l, "ip", &b),
            NUMBER("port"), value(l, "reason", &c), value(l, "local", &d));
}

static void
on_tls_out(const struct lines *l)
{
    bool demanded = is(l, "floor", "encrypted") || is(l, "floor", "verified");
    struct text a, b, c;

    if (is(l, "result", "ok"))
        put(l, "DCID %llu TLS success protocol %s cipher %s for %s", DCID,
            value(l, "version", &a), value(l, "cipher", &b),
            value(l, "destination", &c));
    if (!is(l, "result", "failed"))
        return;
    put(l, "DCID %llu TLS failed: %s", DCID, value(l, "reason", &a));
    if (demanded)
        put(l,
            "DCID %llu IP %s TLS was required but could not be successfully "
            "negotiated",
            DCID, value(l, "ip", &a));
}

static void
on_close_out(const struct lines *l)
{
    put(l, "DCID %llu close", DCID);
}

/* The words that AsyncOS has for an enhanced code. */
static const char *
status_words(const struct lines *l)
{
    struct sv status = log_record_text(l->record, "status");

    if (is(l, "outcome", "expired"))
        return "Delivery expired (message too old)";
    if (sv_ends_nocase(status, SV(".1.2")))
        return "Bad destination host";
    return status.n > 3 && status.p[2] == '1' && status.p[3] == '.'
               ? "Unknown address error"
               : "Other mail system problem";
}

static void
put_failure(const struct lines *l, const char *what)
{
    struct sv text = log_record_text(l->record, "text");
    struct text a, b;

    if (text.n == 0)
        text = log_record_text(l->record, "reason");
    put(l, "%s: DCID %llu MID %llu to RID %llu - %s - %s ('%03llu', ['%s']) []",
        what, DCID, MID, NUMBER("recipient"), value(l, "status", &a),
        status_words(l), NUMBER("code"), clean(text, '\'', &b));
}

static void
put_delivered(const struct lines *l)
{
    struct text a;

    put(l, "Delivery start DCID %llu MID %llu to RID [%llu]", DCID, MID,
        NUMBER("recipient"));
    put(l, "Message done DCID %llu MID %llu to RID [%llu]", DCID, MID,
        NUMBER("recipient"));
    put(l, "MID %llu RID [%llu] Response '%s'", MID, NUMBER("recipient"),
        clean(log_record_text(l->record, "text"), '\'', &a));
}

static void
put_pending(const struct lines *l)
{
    time_t when = (time_t)(clock_wall_s() +
                           (int64_t)log_record_number(l->record, "next_s"));
    struct tm parts;
    char text[64];

    gmtime_r(&when, &parts);
    strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &parts);
    put(l, "Message %llu to RID [%llu] pending till %s", MID,
        NUMBER("recipient"), text);
}

static void
on_result(const struct lines *l)
{
    if (is(l, "outcome", "delivered") || is(l, "outcome", "relayed")) {
        put_delivered(l);
    } else if (is(l, "outcome", "deferred")) {
        put_failure(l, "Delayed");
        put_pending(l);
    } else {
        put_failure(l, "Bounced");
    }
}

static void
on_done(const struct lines *l)
{
    put(l, "Message finished MID %llu done", MID);
}

/* -------------------------------------------------------------------------- */

static const struct row {
    const char *event;
    void (*write)(const struct lines *l);
} rows[] = {
    {"smtpd.connect", on_connect_in},
    {"smtpd.tls", on_tls_in},
    {"smtpd.refuse", on_refuse},
    {"smtpd.rcpt", on_rcpt},
    {"smtpd.message", put_ready},
    {"smtpd.close", on_close_in},
    {"delivery.connect", on_connect_out},
    {"delivery.tls", on_tls_out},
    {"delivery.close", on_close_out},
    {"queue.result", on_result},
    {"queue.done", on_done},
    {"queue.notice", on_notice},
    {"queue.submit", on_submit},
};

void
asyncos_log_lines(const struct log_record *record,
                  void (*on_line)(void *arg, struct sv line), void *arg)
{
    const struct lines lines = {record, on_line, arg};

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strcmp(rows[i].event, record->event) == 0) {
            rows[i].write(&lines);
            return;
        }
}
