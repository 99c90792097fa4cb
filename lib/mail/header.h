/* mail/header.h - the header section of a message, RFC 5322 section 2.2.
 * Reads what came from the wire: malformed lines are skipped, never refused. */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H
#include "base/buf.h"

struct mail_field {
    struct sv name;  /* without the colon */
    struct sv value; /* raw: folded, without the final CRLF */
    struct sv whole; /* the field with its final CRLF */
};

/* The next field of a header section; *in moves past it.  False at the empty
 * line or the end (then *in stands behind the empty line, if there is one). */
bool mail_field_next(struct sv *in, struct mail_field *field);

/* Length of the header section, with the empty line that ends it if there. */
size_t mail_header_length(struct sv message);

/* Appends the value unfolded: CRLF before blanks goes, ends trimmed. */
void mail_unfold(struct sv value, struct buf *out);

/* Appends "Name: value CRLF", folded at blanks to lines of at most 78
 * characters where there are blanks and 998 in any case (RFC 5322 section
 * 2.1.1).  Bytes that could end the line (CR, LF, NUL and other controls) are
 * replaced by '?', so no value can start a field of its own. */
void mail_field_write(struct buf *out, const char *name, struct sv value);

/* Counts fields of this name incrementally while a message arrives in pieces:
 * for the limit on Received fields (RFC 5321 section 6.3). */
struct mail_counter {
    size_t received; /* Received fields seen so far */
    size_t header_bytes;
    bool in_header;   /* the empty line has not come yet */
    bool eight_bit;   /* a byte above 0x7f was seen, anywhere */
    bool header_utf8; /* … in the header section */
    /* private */
    char name[12];
    unsigned name_length, column;
    bool line_is_name;
};
void mail_counter_init(struct mail_counter *counter);
void mail_counter_feed(struct mail_counter *counter, struct sv bytes);
#endif
