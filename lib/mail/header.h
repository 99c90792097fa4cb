/* mail/header.h - the header section of a message, RFC 5322 section 2.2.
 * Reads what came from the wire: malformed lines are skipped, never refused. */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H
#include "base/buf.h"
#include "mail/tls_required.h"

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

/* What the receiver learns of a message while it arrives in pieces: the number
 * of Received fields (for the limit of RFC 5321 section 6.3), bytes above 0x7f,
 * where the header section ends, and whether it says "TLS-Required: No". */
enum mail_counter_at {               /* within the header section */
                       COUNTER_LINE, /* at the start of a line */
                       COUNTER_CR,   /* behind a CR that began one */
                       COUNTER_NAME,
                       COUNTER_VALUE, /* of TLS-Required */
                       COUNTER_REST,  /* of a line that does not matter */
};
struct mail_counter {
    size_t received;     /* Received fields seen so far */
    size_t tls_required; /* TLS-Required fields */
    size_t header_bytes;
    bool in_header;   /* the empty line has not come yet */
    bool eight_bit;   /* a byte above 0x7f was seen, anywhere */
    bool header_utf8; /* … in the header section */
    /* private */
    bool in_value; /* a line that goes on belongs to a TLS-Required field */
    enum mail_counter_at at;
    unsigned name_length;
    char name[16];
    struct tls_required_value tls_value; /* of the last such field */
};
void mail_counter_init(struct mail_counter *counter);
void mail_counter_feed(struct mail_counter *counter, struct sv bytes);
/* RFC 8689 section 3: the message, as far as it came, has exactly one
 * TLS-Required field, and it says "No". */
bool mail_counter_tls_optional(const struct mail_counter *counter);
#endif
