/* tlsrpt/mail.h - a report as mail, RFC 8460 section 5.3.  Unsigned: the
 * caller puts DKIM signatures in front. */
#ifndef TLSRPT_MAIL_H
#define TLSRPT_MAIL_H
#include "base/buf.h"

struct tlsrpt_mail {
    struct sv from, to;  /* mailboxes, ASCII */
    struct sv submitter; /* domain that reports */
    struct sv domain;    /* that it is about */
    struct sv report_id; /* "left@right" */
    struct sv unique;    /* letters, digits, hyphens; of this mail alone */
    const char *day;     /* "2026-11-22" */
    struct sv file_name; /* of the attachment */
    struct sv gzip;      /* the report, compressed */
    int64_t wall_s;
};
/* Appends the message; lines end in CRLF. */
void tlsrpt_mail_write(const struct tlsrpt_mail *mail, struct buf *out);
#endif
