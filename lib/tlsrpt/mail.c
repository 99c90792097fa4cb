#include "tlsrpt/mail.h"

#include "mail/date.h"
#include "mail/header.h"

static void add_field(struct buf *out, const char *name, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void
add_field(struct buf *out, const char *name, const char *fmt, ...)
{
    struct buf value = {0};
    va_list args;

    va_start(args, fmt);
    buf_vprintf(&value, fmt, args);
    va_end(args);
    mail_field_write(out, name, buf_view(&value));
    buf_fini(&value);
}

static void
add_header(const struct tlsrpt_mail *mail, struct buf *out)
{
    char date[MAIL_DATE_TEXT];

    add_field(out, "Date", "%s", mail_date_text(mail->wall_s, date));
    add_field(out, "From", "%.*s", SV_ARG(mail->from));
    add_field(out, "To", "%.*s", SV_ARG(mail->to));
    add_field(
        out, "Subject", "Report Domain: %.*s Submitter: %.*s Report-ID: <%.*s>",
        SV_ARG(mail->domain), SV_ARG(mail->submitter), SV_ARG(mail->report_id));
    add_field(out, "Message-ID", "<%.*s@%.*s>", SV_ARG(mail->unique),
              SV_ARG(mail->submitter));
    add_field(out, "Auto-Submitted", "auto-generated");
    add_field(out, "TLS-Report-Domain", "%.*s", SV_ARG(mail->domain));
    add_field(out, "TLS-Report-Submitter", "%.*s", SV_ARG(mail->submitter));
    /* RFC 8460 section 3: it goes whatever TLS does; RFC 8689 says so. */
    add_field(out, "TLS-Required", "No");
    add_field(out, "MIME-Version", "1.0");
    add_field(out, "Content-Type",
              "multipart/report; report-type=\"tlsrpt\"; boundary=\"=_%.*s\"",
              SV_ARG(mail->unique));
    buf_add_str(out, "\r\n");
}

static void
add_boundary(const struct tlsrpt_mail *mail, const char *end, struct buf *out)
{
    buf_printf(out, "--=_%.*s%s\r\n", SV_ARG(mail->unique), end);
}

static void
add_text(const struct tlsrpt_mail *mail, struct buf *out)
{
    add_boundary(mail, "", out);
    buf_add_str(out, "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
    buf_printf(out,
               "This is a report of how TLS went when %.*s delivered mail\r\n"
               "to %.*s on %s (UTC). The report itself, for programs,\r\n"
               "is attached; RFC 8460 describes it.\r\n\r\n",
               SV_ARG(mail->submitter), SV_ARG(mail->domain), mail->day);
}

static void
add_base64(struct sv bytes, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno"
                                 "pqrstuvwxyz0123456789+/";
    enum { LINE_BYTES = 57 }; /* 76 characters */

    for (size_t i = 0; i < bytes.n; i += 3) {
        struct sv three = sv_slice(bytes, i, 3);
        uint32_t group = 0;

        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < three.n ? (unsigned char)three.p[k] : 0u);
        buf_add_char(out, digits[group >> 18]);
        buf_add_char(out, digits[group >> 12 & 63]);
        buf_add_char(out, three.n > 1 ? digits[group >> 6 & 63] : '=');
        buf_add_char(out, three.n > 2 ? digits[group & 63] : '=');
        if ((i + 3) % LINE_BYTES == 0 || i + 3 >= bytes.n)
            buf_add_str(out, "\r\n");
    }
}

void
tlsrpt_mail_write(const struct tlsrpt_mail *mail, struct buf *out)
{
    add_header(mail, out);
    add_text(mail, out);
    add_boundary(mail, "", out);
    add_field(out, "Content-Type", "application/tlsrpt+gzip");
    add_field(out, "Content-Transfer-Encoding", "base64");
    buf_printf(out,
               "Content-Disposition: attachment;\r\n"
               "\tfilename=\"%.*s\"\r\n\r\n",
               SV_ARG(mail->file_name));
    add_base64(mail->gzip, out);
    add_boundary(mail, "--", out);
}
