/* mail/tls_required.h - the value of a "TLS-Required" header field (RFC 8689
 * section 3), read while it arrives.
 *
 *     TLS-Required: [CFWS] "No" [CFWS]
 *
 * "No" in any case; comments nest and may hold quoted pairs (RFC 5322 section
 * 3.2.2).  Every other value is none that we know. */
#ifndef MAIL_TLS_REQUIRED_H
#define MAIL_TLS_REQUIRED_H
#include "base/sv.h"

struct tls_required_value { /* private; zero: nothing came yet */
    uint8_t state;
    bool quoted;    /* the next byte belongs to a quoted pair */
    uint16_t depth; /* of comments */
};

/* Bytes of the value in any pieces: what follows the colon, with the line ends
 * of folding. */
void tls_required_feed(struct tls_required_value *value, struct sv bytes);
/* What has come so far is a whole value, and is "No". */
bool tls_required_is_no(const struct tls_required_value *value);
#endif
