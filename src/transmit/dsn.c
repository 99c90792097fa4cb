#include "transmit/dsn.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/param.h"
#include "tls/facts.h"

enum { WRAP = 72, TEXT_MAX = 1000 };

bool
dsn_wanted(const struct envelope *envelope,
           const struct envelope_recipient *recipient, enum dsn_kind kind)
{
    unsigned notify = recipient->notify;

    if (envelope->sender.n == 0 || (notify & NOTIFY_NEVER) != 0)
        return false;
    switch (kind) {
    case DSN_FAILURE:
        return notify == 0 || (notify & NOTIFY_FAILURE) != 0;
    case DSN_DELAY:
        return notify == 0 || (notify & NOTIFY_DELAY) != 0;
    case DSN_SUCCESS:
        return (notify & NOTIFY_SUCCESS) != 0;
    }
    return false;
}

/* RET is about failures only; other notifications carry the header section (RFC
 * 3461 section 4.3).  An 8-bit body is not returned: the notification itself
 * must pass any server, a lost one is worse than a short one. */
bool
dsn_wants_whole(const struct envelope *envelope, enum dsn_kind kind,
                uint64_t content_length, uint64_t max_copy)
{
    if (kind != DSN_FAILURE || envelope->ret == RET_HDRS)
        return false;
    if (envelope->tls_demands & ENVELOPE_REQUIRETLS)
        return false; /* RFC 8689 section 5: RET=FULL does not count */
    if (envelope->eight_bit && !(envelope->smtputf8 && envelope->header_utf8))
        return false;
    return content_length <= max_copy;
}

static bool
has_utf8(struct sv text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] > 0x7f)
            return true;
    return false;
}

/* Bytes above 0x7f may stand in the notification only as UTF-8 that its reader
 * is known to take (RFC 6533): he sent them himself under SMTPUTF8. */
static bool
is_global(const struct dsn *dsn)
{
    if (!dsn->envelope->smtputf8)
        return false;
    if (dsn->envelope->header_utf8 || has_utf8(dsn->envelope->sender))
        return true;
    for (size_t i = 0; i < dsn->recipient_count; i++)
        if (has_utf8(dsn->recipients[i].recipient->address))
            return true;
    return false;
}

/* One line of text from outside: no control bytes (a reply's lines are joined
 * by LF), bounded, 7-bit unless global. */
static struct sv
clean(struct arena *arena, struct sv text, bool global)
{
    char *out;

    if (text.n > TEXT_MAX)
        text.n = TEXT_MAX;
    out = arena_alloc(arena, text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c == '\r' || c == '\n' || c == '\t')
            c = ' ';
        if (c < 0x20 || c == 0x7f || (c > 0x7f && !global))
            c = '?';
        out[i] = (char)c;
    }
    return (struct sv){out, text.n};
}

static struct sv
decode_xtext(struct arena *arena, struct sv text)
{
    char *out = arena_alloc(arena, text.n + 1);
    size_t length;

    if (!mail_xtext_decode(text, out, &length))
        return text;
    return (struct sv){out, length};
}

struct writer {
    const struct dsn *dsn;
    struct buf *out;
    struct arena arena;
    bool global;
    char boundary[64];
};

static struct sv
cleaned(struct writer *w, struct sv text)
{
    return clean(&w->arena, text, w->global);
}

/* A paragraph, wrapped at blanks; words that are longer stay whole up to the
 * limit of a line (RFC 5322 section 2.1.1: TEXT_MAX is within it with the
 * indent cut). */
static void
paragraph(struct writer *w, const char *indent, struct sv text)
{
    size_t room = WRAP - strlen(indent);

    while (text.n > 0) {
        size_t n = text.n;

        if (n > room) {
            size_t at = sv_last_index(sv_slice(text, 0, room + 1), ' ');

            if (at == SV_NONE || at == 0) {
                at = sv_index(text, ' ');
                if (at == SV_NONE || at > 900)
                    at = text.n < 900 ? text.n : 900;
            }
            n = at;
        }
        buf_add_str(w->out, indent);
        buf_add(w->out, sv_trim(sv_slice(text, 0, n)));
        buf_add_str(w->out, "\r\n");
        text = sv_from(text, n);
        while (sv_take_char(&text, ' '))
            ;
    }
}

static void
say(struct writer *w, const char *text)
{
    paragraph(w, "", sv_of(text));
    buf_add_str(w->out, "\r\n");
}

static const char *
subject(enum dsn_kind kind)
{
    switch (kind) {
    case DSN_FAILURE:
        return "Undelivered mail returned to sender";
    case DSN_DELAY:
        return "Delayed mail (still being tried)";
    case DSN_SUCCESS:
        return "Mail was relayed";
    }
    return "";
}

/* The boundary must not occur in what is returned, whoever wrote that. */
static void
choose_boundary(struct writer *w)
{
    const struct dsn *dsn = w->dsn;
    unsigned n = 0;

    do
        snprintf(w->boundary, sizeof w->boundary, "=_%.*s.%u",
                 SV_ARG(sv_slice(cleaned(w, dsn->queue_id), 0, 32)), n++);
    while (dsn->original.n > 0 &&
           memmem(dsn->original.p, dsn->original.n, w->boundary,
                  strlen(w->boundary)) != NULL);
}

static void
field(struct writer *w, const char *name, struct sv value)
{
    if (value.n > 0)
        mail_field_write(w->out, name, cleaned(w, value));
}

static void
date_field(struct writer *w, const char *name, int64_t wall_s)
{
    char text[MAIL_DATE_TEXT];

    if (wall_s > 0)
        field(w, name, sv_of(mail_date_text(wall_s, text)));
}

static void
write_header(struct writer *w)
{
    const struct dsn *dsn = w->dsn;
    struct arena *arena = &w->arena;

    field(w, "From",
          arena_printf(arena, "Mail Delivery System <MAILER-DAEMON@%s>",
                       dsn->hostname));
    field(w, "To",
          arena_printf(arena, "<%.*s>", SV_ARG(dsn->envelope->sender)));
    field(w, "Subject", sv_of(subject(dsn->kind)));
    date_field(w, "Date", dsn->wall_s);
    field(
        w, "Message-ID",
        arena_printf(arena, "<%.*s@%s>", SV_ARG(dsn->queue_id), dsn->hostname));
    /* RFC 3834 section 5 */
    field(w, "Auto-Submitted", SV("auto-replied"));
    field(w, "MIME-Version", SV("1.0"));
    field(w, "Content-Type",
          arena_printf(arena,
                       "multipart/report; report-type=delivery-status; "
                       "boundary=\"%s\"",
                       w->boundary));
    if (w->global)
        field(w, "Content-Transfer-Encoding", SV("8bit"));
    buf_add_str(w->out, "\r\n");
}

static void
begin_part(struct writer *w, const char *type)
{
    buf_printf(w->out, "--%s\r\nContent-Type: %s\r\n", w->boundary, type);
    if (w->global)
        buf_add_str(w->out, "Content-Transfer-Encoding: 8bit\r\n");
    buf_add_str(w->out, "\r\n");
}

static struct sv
server_name(struct writer *w, const struct ledger_attempt *a)
{
    if (a->host.n == 0)
        return a->ip;
    if (a->ip.n == 0 || sv_eq(a->ip, a->host))
        return a->host;
    return arena_printf(&w->arena, "%.*s [%.*s]", SV_ARG(a->host),
                        SV_ARG(a->ip));
}

/* The words are ours, not a server's.  A code may stand beside them: where a
 * destination failed as a whole there is one (451) without any reply, and the
 * reason is the text.  A recipient that was refused before the connection broke
 * has a text of its own. */
static bool
is_local_failure(const struct dsn_recipient *r)
{
    const struct ledger_result *result = r->result;

    switch ((int)r->attempt->stage) {
    case STAGE_NONE:
    case STAGE_SMTP:
        return false;
    case STAGE_GREETING:
    case STAGE_EHLO:
        return result->code == 0;
    default:
        return result->code == 0 || sv_eq(result->text, r->attempt->reason);
    }
}

/* Where TLS failed the reason is a sentence already (tls_sentence.h): it names
 * the server, what was presented, and who demanded more than that. */
static bool
is_sentence(const struct ledger_attempt *a)
{
    return a->host.n > 0 && a->reason.n > a->host.n &&
           memmem(a->reason.p, a->reason.n, a->host.p, a->host.n) != NULL;
}

static struct sv
explain_sentence(struct writer *w, const struct ledger_attempt *a)
{
    if (a->ip.n == 0 || sv_eq(a->ip, a->host))
        return arena_printf(&w->arena, "%.*s.", SV_ARG(a->reason));
    return arena_printf(&w->arena, "%.*s. Its address was %.*s.",
                        SV_ARG(a->reason), SV_ARG(a->ip));
}

/* What went wrong, as a sentence: "mx.example.org [192.0.2.1]: the certificate
 * is not trusted (self-signed certificate)." */
static struct sv
explain(struct writer *w, const struct dsn_recipient *r)
{
    const struct ledger_attempt *a = r->attempt;
    const struct ledger_result *result = r->result;
    struct arena *arena = &w->arena;
    struct sv server = server_name(w, a);
    struct sv why = a->reason.n > 0 ? a->reason : result->text;

    if (is_local_failure(r) && is_sentence(a))
        return explain_sentence(w, a);
    if (is_local_failure(r))
        return arena_printf(
            arena, "%s%.*s%s%s%s%.*s%s", server.n > 0 ? "Server " : "",
            SV_ARG(server),
            server.n > 0 ? ": " : "The reason: ", tls_stage_sentence(a->stage),
            why.n > 0 ? " (" : "", SV_ARG(why), why.n > 0 ? ")." : ".");
    if (result->code != 0)
        return arena_printf(arena, "%s%.*s said: %u %u.%u.%u %.*s",
                            server.n > 0 ? "Server " : "The server",
                            SV_ARG(server), result->code, result->status.class,
                            result->status.subject, result->status.detail,
                            SV_ARG(result->text));
    return result->text.n > 0
               ? arena_printf(arena, "The reason: %.*s.", SV_ARG(result->text))
               : result->text;
}

static const char *
outcome_sentence(enum ledger_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_DEFERRED:
        return "It could not be delivered so far.";
    case OUTCOME_DELIVERED:
        return "It was delivered.";
    case OUTCOME_RELAYED:
        return "It was passed on to a server that does not send "
               "delivery notifications.";
    case OUTCOME_FAILED:
        return "It was refused or cannot be delivered.";
    case OUTCOME_EXPIRED:
        return "It could not be delivered in the time allowed. "
               "About the last attempt:";
    case OUTCOME_DELETED:
        return "It was removed from the queue by the administrator.";
    }
    return "";
}

static void
write_person(struct writer *w, const struct dsn_recipient *r)
{
    struct arena *arena = &w->arena;
    struct sv why = explain(w, r);

    buf_printf(w->out, "<%.*s>\r\n", SV_ARG(cleaned(w, r->recipient->address)));
    paragraph(w, "    ", sv_of(outcome_sentence(r->result->outcome)));
    if (why.n > 0 && r->result->outcome != OUTCOME_DELETED)
        paragraph(w, "    ", cleaned(w, why));
    if (w->dsn->kind == DSN_DELAY && r->will_retry_until_s > 0) {
        char date[MAIL_DATE_TEXT];

        paragraph(w, "    ",
                  arena_printf(arena, "It will be tried until %s.",
                               mail_date_text(r->will_retry_until_s, date)));
    }
    buf_add_str(w->out, "\r\n");
}

static void
write_text(struct writer *w)
{
    const struct dsn *dsn = w->dsn;

    begin_part(w, w->global ? "text/plain; charset=utf-8"
                            : "text/plain; charset=us-ascii");
    paragraph(w, "",
              arena_printf(&w->arena, "This is the mail system at %s.",
                           dsn->hostname));
    buf_add_str(w->out, "\r\n");
    switch (dsn->kind) {
    case DSN_FAILURE:
        say(w, "Your message could not be delivered to the recipients below. "
               "No further attempt will be made for them.");
        break;
    case DSN_DELAY:
        say(w, "Your message has not been delivered yet to the recipients "
               "below. You need not send it again: delivery is still being "
               "tried.");
        break;
    case DSN_SUCCESS:
        say(w, "Your message was passed on for the recipients below. You "
               "asked to be notified of its delivery; the next server cannot "
               "do this.");
        break;
    }
    for (size_t i = 0; i < dsn->recipient_count; i++)
        write_person(w, &dsn->recipients[i]);
    if (dsn->envelope->tls_demands & ENVELOPE_REQUIRETLS)
        say(w, "Your message demands TLS on its whole way (REQUIRETLS). This "
               "notification does so too, and holds only the header section "
               "of your message.");
}

static const char *
action(const struct dsn_recipient *r)
{
    switch (r->result->outcome) {
    case OUTCOME_DEFERRED:
        return "delayed";
    case OUTCOME_DELIVERED:
        return "delivered";
    case OUTCOME_RELAYED:
        return "relayed";
    case OUTCOME_FAILED:
    case OUTCOME_EXPIRED:
    case OUTCOME_DELETED:
        break;
    }
    return "failed";
}

/* "rfc822;ann@example.org": the type as the sender gave it, the address
 * decoded. */
static struct sv
original_recipient(struct writer *w, struct sv orcpt)
{
    struct sv type = sv_take_until(&orcpt, ';');

    if (orcpt.n == 0)
        return orcpt;
    return arena_printf(&w->arena, "%.*s; %.*s", SV_ARG(type),
                        SV_ARG(decode_xtext(&w->arena, orcpt)));
}

static struct sv
diagnostic(struct writer *w, const struct dsn_recipient *r)
{
    const struct ledger_result *result = r->result;
    const struct ledger_attempt *a = r->attempt;
    struct sv why = a->reason.n > 0 ? a->reason : result->text;

    if (is_local_failure(r))
        return arena_printf(&w->arena, "x-waxgate; %s: %.*s",
                            tls_stage_name(a->stage), SV_ARG(why));
    if (result->code != 0)
        return arena_printf(&w->arena, "smtp; %u %u.%u.%u %.*s", result->code,
                            result->status.class, result->status.subject,
                            result->status.detail, SV_ARG(result->text));
    if (result->text.n > 0)
        return arena_printf(&w->arena, "x-waxgate; %.*s", SV_ARG(result->text));
    return result->text;
}

/* The status of the reply and that of the notification differ for one that
 * expired: the class of the field must suit the action (RFC 3464 section
 * 2.3.4) as far as the code goes. */
static void
write_recipient(struct writer *w, const struct dsn_recipient *r)
{
    const struct ledger_attempt *a = r->attempt;
    const struct mail_status *status = &r->result->status;
    struct arena *arena = &w->arena;
    struct sv address = r->recipient->address;
    struct sv host = a->host.n > 0 ? a->host : a->ip;

    buf_add_str(w->out, "\r\n");
    field(w, "Original-Recipient", original_recipient(w, r->recipient->orcpt));
    field(w, "Final-Recipient",
          arena_printf(arena, "%s; %.*s",
                       has_utf8(address) ? "utf-8" : "rfc822",
                       SV_ARG(address)));
    field(w, "Action", sv_of(action(r)));
    field(w, "Status",
          arena_printf(arena, "%u.%u.%u", status->class, status->subject,
                       status->detail));
    if (host.n > 0)
        field(w, "Remote-MTA", arena_printf(arena, "dns; %.*s", SV_ARG(host)));
    field(w, "Diagnostic-Code", diagnostic(w, r));
    date_field(w, "Last-Attempt-Date", a->ended_us / 1000000);
    if (w->dsn->kind == DSN_DELAY)
        date_field(w, "Will-Retry-Until", r->will_retry_until_s);
}

static void
write_status(struct writer *w)
{
    const struct dsn *dsn = w->dsn;
    const struct envelope *envelope = dsn->envelope;
    struct arena *arena = &w->arena;

    begin_part(w, w->global ? "message/global-delivery-status"
                            : "message/delivery-status");
    field(w, "Original-Envelope-Id", decode_xtext(arena, envelope->envid));
    field(w, "Reporting-MTA", arena_printf(arena, "dns; %s", dsn->hostname));
    field(w, "X-Waxgate-Queue-ID", envelope->queue_id);
    field(w, "X-Waxgate-Sender",
          arena_printf(arena, "%s; %.*s",
                       has_utf8(envelope->sender) ? "utf-8" : "rfc822",
                       SV_ARG(envelope->sender)));
    date_field(w, "Arrival-Date", dsn->arrived_s);
    for (size_t i = 0; i < dsn->recipient_count; i++)
        write_recipient(w, &dsn->recipients[i]);
    buf_add_str(w->out, "\r\n");
}

/* Content of the spool has CRLF line ends only; a header section with raw 8-bit
 * bytes that nobody declared gets them replaced. */
static void
add_original(struct writer *w)
{
    struct sv in = w->dsn->original;
    char *to = buf_reserve(w->out, in.n + 2);

    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];

        to[i] = c > 0x7f && !w->global ? '?' : in.p[i];
    }
    buf_grew(w->out, in.n);
    if (in.n < 2 || memcmp(in.p + in.n - 2, "\r\n", 2) != 0)
        buf_add_str(w->out, "\r\n");
}

static void
write_original(struct writer *w)
{
    bool whole = w->dsn->original_whole;

    if (w->dsn->original.n == 0)
        return;
    if (w->global)
        begin_part(w, whole ? "message/global" : "message/global-headers");
    else
        begin_part(w, whole ? "message/rfc822" : "text/rfc822-headers");
    add_original(w);
}

void
dsn_write(const struct dsn *dsn, struct buf *out)
{
    struct writer w = {.dsn = dsn, .out = out, .global = is_global(dsn)};

    arena_init(&w.arena, 4096);
    choose_boundary(&w);
    write_header(&w);
    write_text(&w);
    write_status(&w);
    write_original(&w);
    buf_printf(out, "--%s--\r\n", w.boundary);
    arena_fini(&w.arena);
}
