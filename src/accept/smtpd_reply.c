#include "accept/smtpd.h"
#include <stdarg.h>

struct reply
reply_make(unsigned code, const char *status, const char *fmt, ...)
{
    struct reply reply = {.code = code, .status = status};
    va_list args;

    va_start(args, fmt);
    vsnprintf(reply.text, sizeof reply.text, fmt, args);
    va_end(args);
    return reply;
}

struct reply
reply_refuse(const struct refusal *refusal)
{
    return reply_make(refusal->code, refusal->status, "%s", refusal->text);
}

void
smtpd_write(struct smtpd *s, struct sv bytes)
{
    s->bytes_out += bytes.n;
    conn_write(s->conn, bytes);
}

void
smtpd_say(struct smtpd *s, const struct reply *reply)
{
    char line[REPLY_TEXT + 32];
    int n;

    if (reply->code == 0)
        return;
    n = snprintf(line, sizeof line, "%u %s%s%s\r\n", reply->code,
                 reply->status != NULL ? reply->status : "",
                 reply->status != NULL ? " " : "", reply->text);
    assert(n > 0 && (size_t)n < sizeof line);
    smtpd_write(s, (struct sv){line, (size_t)n});
    if (reply->code >= 400)
        smtpd_log_refuse(s, reply);
}

void
smtpd_refuse(struct smtpd *s, const struct refusal *refusal)
{
    struct reply reply = reply_refuse(refusal);

    smtpd_say(s, &reply);
}

/* The reason stands in smtpd.close, so no smtpd.refuse tells it again. */
void
smtpd_dismiss(struct smtpd *s, const struct refusal *refusal,
              const char *reason)
{
    char line[REPLY_TEXT];
    int n = snprintf(line, sizeof line, "%u %s %s\r\n", refusal->code,
                     refusal->status, refusal->text);

    assert(n > 0 && (size_t)n < sizeof line);
    smtpd_write(s, (struct sv){line, (size_t)n});
    smtpd_end(s, reason);
}
