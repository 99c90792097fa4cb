/* What comes in front of commands: the PROXY header, and lines.
 *
 * A line ends at CRLF and nowhere else; this is the only place where commands
 * are cut out of the stream.  A bare LF ends the session, because somebody may
 * have put it into an address to make a second command of the rest; what
 * follows it is not looked at.  Whatever is decided here depends on the bytes
 * alone, never on how they were split into packets. */
#include "accept/smtpd.h"
#include "net/proxy.h"

enum {
    /* RFC 5321 section 4.5.3.1.4: 512 octets with the CRLF; the largest
     * extension is that of RCPT: RFC 3461 section 5 (ORCPT 508, NOTIFY 28). */
    LINE_OCTETS = 512 + 536,
    SKIP_OCTETS = 64 * 1024, /* a longer line ends the session */
    TLS_HANDSHAKE_RECORD = 0x16,
};

static const struct refusal bare_newline = {500, "5.5.2",
                                            "Lines must end in CR LF"};
static const struct refusal too_long = {500, "5.5.2", "Line too long"};

static bool
end_line_too_long(struct smtpd *s)
{
    smtpd_dismiss(s, &too_long, "line-too-long");
    return false;
}

/* Length up to and with the CRLF that ends the line, or SV_NONE. */
static size_t
find_crlf(struct sv in, bool after_cr)
{
    for (size_t i = 0; i < in.n; i++) {
        size_t lf = sv_index(sv_from(in, i), '\n');

        if (lf == SV_NONE)
            return SV_NONE;
        i += lf;
        if (i == 0 ? after_cr : in.p[i - 1] == '\r')
            return i + 1;
    }
    return SV_NONE;
}

static bool
skip_line(struct smtpd *s)
{
    struct sv in = sv_slice(conn_input(s->conn), 0, SKIP_OCTETS - s->skipped);
    size_t length = find_crlf(in, s->skip_cr);

    if (length != SV_NONE) {
        smtpd_consume(s, length);
        s->skipping = false;
        if (smtpd_count_bad(s))
            smtpd_refuse(s, &too_long);
        return true;
    }
    s->skip_cr = in.n > 0 ? in.p[in.n - 1] == '\r' : s->skip_cr;
    s->skipped += (uint32_t)in.n;
    smtpd_consume(s, in.n);
    return s->skipped < SKIP_OCTETS ? false : end_line_too_long(s);
}

static bool
execute_line(struct smtpd *s, size_t length)
{
    char line[LINE_OCTETS];

    memcpy(line, conn_input(s->conn).p, length);
    smtpd_consume(s, length + 2);
    smtpd_command(s, (struct sv){line, length});
    return true;
}

bool
smtpd_take_line(struct smtpd *s)
{
    struct sv in = conn_input(s->conn);
    size_t lf;

    if (in.n == 0)
        return false;
    if (s->skipping)
        return skip_line(s);
    if (in.p[0] == TLS_HANDSHAKE_RECORD) {
        smtpd_end(s, "tls-on-clear-port");
        return false;
    }
    in = sv_slice(in, 0, LINE_OCTETS);
    lf = sv_index(in, '\n');
    if (lf == SV_NONE && in.n < LINE_OCTETS)
        return false;
    if (lf == SV_NONE) {
        s->skipping = true;
        s->skip_cr = false;
        s->skipped = 0;
        return true;
    }
    if (lf == 0 || in.p[lf - 1] != '\r') {
        smtpd_dismiss(s, &bare_newline, "bare-newline");
        return false;
    }
    return execute_line(s, lf - 1);
}

bool
smtpd_take_proxy(struct smtpd *s)
{
    struct proxy_header header;
    size_t length;

    switch (proxy_parse(conn_input(s->conn), &header, &length)) {
    case PROXY_PARTIAL:
        return false;
    case PROXY_BAD:
        smtpd_end(s, "proxy-header");
        return false;
    case PROXY_OK:
        break;
    }
    if (!header.local)
        conn_set_addresses(s->conn, &header.source, &header.destination);
    smtpd_consume(s, length);
    smtpd_identify(s);
    return true;
}
