/* mail/reply.h - SMTP replies, RFC 5321 section 4.2, with enhanced codes of
 * RFC 2034 and RFC 3463: how a server states one and how a client reads one. */
#ifndef MAIL_REPLY_H
#define MAIL_REPLY_H
#include "base/buf.h"

struct mail_status { /* enhanced status code; class 0: none */
    uint16_t class, subject, detail;
};
/* "5.7.1" at the start of text; *text moves past it and one blank. */
bool mail_status_take(struct sv *text, struct mail_status *status);

/* Reads replies from a server.  Bounded (512 octets a line, RFC 5321 section
 * 4.5.3.1.5; MAIL_REPLY_TEXT_MAX for the text kept; 100 lines), all lines must
 * carry the same code (section 4.2.1), lines end in CRLF. */
enum { MAIL_REPLY_TEXT_MAX = 1024, MAIL_REPLY_LINES_MAX = 100 };

struct mail_reply {
    unsigned code;             /* 200..599 */
    struct mail_status status; /* of the first line, if it has one */
    unsigned lines;
    size_t length;                  /* of text */
    char text[MAIL_REPLY_TEXT_MAX]; /* lines joined by LF, codes stripped
                                     * (the enhanced one too); printable or
                                     * UTF-8, everything else replaced */
    /* private: */
    bool more;
};
enum mail_reply_result { MAIL_REPLY_DONE, MAIL_REPLY_MORE, MAIL_REPLY_BAD };

void mail_reply_init(struct mail_reply *reply);
/* Takes one reply's lines from *in as far as they are there.  MORE: *in holds
 * no further whole line.  After DONE call mail_reply_init() for the next one.
 * on_line (may be NULL) sees each line's text as it came, behind the code: that
 * is how EHLO is read. */
enum mail_reply_result
mail_reply_take(struct sv *in, struct mail_reply *reply,
                void (*on_line)(void *arg, unsigned index, struct sv text),
                void *arg);
#endif
