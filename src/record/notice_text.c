#include "record/notice_text.h"

#include "mail/date.h"
#include "mail/header.h"
#include <inttypes.h>
#include <time.h>

static const struct result_sentence {
    const char *result, *sentence;
} sentences[] = {
    {"starttls-not-supported", "the server offers or accepts no TLS"},
    {"certificate-host-mismatch",
     "the certificate is for another name than that of the server"},
    {"certificate-expired", "the certificate has expired"},
    {"certificate-not-trusted",
     "the certificate comes from an authority that is not trusted"},
    {"validation-failure", "the server could not be validated"},
    {"tlsa-invalid", "no TLSA record matches what the server presented"},
    {"dnssec-invalid", "a DNSSEC signature does not hold"},
    {"dane-required", "DANE is required here, and there is no usable record"},
    {"sts-policy-fetch-error", "the policy could not be fetched"},
    {"sts-policy-invalid", "the policy cannot be understood"},
    {"sts-webpki-invalid", "the policy host has no valid certificate"},
};

static const char *
sentence_of(const char *result)
{
    for (size_t i = 0; i < COUNT_OF(sentences); i++)
        if (strcmp(sentences[i].result, result) == 0)
            return sentences[i].sentence;
    return result;
}

static const char *
policy_of(const struct trouble *trouble)
{
    if (strcmp(trouble->type, "tlsa") == 0)
        return "DANE";
    return trouble->enforced ? "MTA-STS, enforce" : "MTA-STS, testing";
}

static uint64_t
sum(const struct notice *notice)
{
    uint64_t n = 0;

    for (size_t i = 0; i < notice->trouble_count; i++)
        n += notice->troubles[i].sessions;
    return n;
}

static bool
any_enforced(const struct notice *notice)
{
    for (size_t i = 0; i < notice->trouble_count; i++)
        if (notice->troubles[i].enforced)
            return true;
    return false;
}

static void
add_field(struct buf *out, const char *name, struct buf *value)
{
    mail_field_write(out, name, buf_view(value));
    buf_reset(value);
}

static void
add_header(const struct notice *notice, struct buf *out)
{
    struct buf value = {0};
    char date[MAIL_DATE_TEXT];
    uint64_t sessions = sum(notice);

    buf_add_str(&value, mail_date_text(notice->wall_s, date));
    add_field(out, "Date", &value);
    buf_printf(&value, "Waxgate <%s>", notice->from);
    add_field(out, "From", &value);
    for (size_t i = 0; i < notice->recipient_count; i++)
        buf_printf(&value, "%s%s", i == 0 ? "" : ", ", notice->recipients[i]);
    add_field(out, "To", &value);
    buf_printf(&value, "TLS failure: %s (%s): %" PRIu64 " connection%s",
               notice->domain, policy_of(&notice->troubles[0]), sessions,
               sessions == 1 ? "" : "s");
    add_field(out, "Subject", &value);
    buf_printf(&value, "<%s@%s>", notice->unique, notice->hostname);
    add_field(out, "Message-ID", &value);
    buf_add_str(&value, "auto-generated");
    add_field(out, "Auto-Submitted", &value);
    buf_add_str(out, "MIME-Version: 1.0\r\n"
                     "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
    buf_fini(&value);
}

/* What peers said has been escaped nowhere yet. */
static void
add_printable(const char *text, struct buf *out)
{
    for (; *text != '\0'; text++)
        buf_add_char(out, char_is_print(*text) ? *text : '?');
}

static const char *
moment(int64_t seconds, char *room, size_t size)
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL ||
        strftime(room, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(room, size, "?");
    return room;
}

static void
add_line(struct buf *out, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    buf_printf(out, "  %-12s", name);
    add_printable(value, out);
    buf_add_str(out, "\r\n");
}

static void
add_trouble(const struct trouble *trouble, struct buf *out)
{
    char room[64];

    buf_printf(out, "%" PRIu64 " connection%s: %s\r\n", trouble->sessions,
               trouble->sessions == 1 ? "" : "s", sentence_of(trouble->result));
    add_line(out, "Server:", trouble->host);
    add_line(out, "Policy:", policy_of(trouble));
    add_line(out, "Stage:",
             strcmp(trouble->stage, "none") == 0 ? "" : trouble->stage);
    add_line(out, "Reason:", trouble->reason);
    add_line(out, "Result:", trouble->result);
    add_line(out, "First:", moment(trouble->first_at, room, sizeof room));
    add_line(out, "Last:", moment(trouble->last_at, room, sizeof room));
    add_line(out, "Mail:",
             trouble->enforced
                 ? "was not given to this server; it goes to another one of "
                   "the domain, or waits"
                 : "was delivered all the same: the policy is only tested");
    buf_add_str(out, "\r\n");
}

void
notice_write(const struct notice *notice, struct buf *out)
{
    add_header(notice, out);
    buf_printf(out,
               "When %s delivered mail to %s, connections did not\r\n"
               "satisfy the TLS policy that the domain publishes.\r\n\r\n",
               notice->hostname, notice->domain);
    for (size_t i = 0; i < notice->trouble_count; i++)
        add_trouble(&notice->troubles[i], out);
    if (any_enforced(notice))
        buf_printf(out,
                   "  waxgate queue list --destination %s\r\n"
                   "shows what waits, and\r\n",
                   notice->domain);
    buf_printf(out,
               "  waxgate tls-check %s\r\n"
               "tries the domain's servers now.\r\n\r\n"
               "The next mail about this domain comes %" PRIu64
               " minutes from now at the\r\nearliest, with the counts since "
               "this one.\r\n",
               notice->domain, notice->interval_s / 60);
}
