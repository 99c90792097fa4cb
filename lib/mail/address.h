/* mail/address.h - envelope addresses and domain names.
 * Parsing is strict (RFC 5321 section 4.1.2, RFC 6531 section 3.3) and copies
 * nothing: results point into the input. */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H
#include "base/sv.h"

enum {
    MAIL_LOCAL_MAX = 64,   /* octets, RFC 5321 section 4.5.3.1.1 */
    MAIL_DOMAIN_MAX = 255, /* section 4.5.3.1.2 */
    MAIL_PATH_MAX = 256,   /* section 4.5.3.1.3, with < and > */
};

struct mail_path {
    struct sv mailbox; /* local@domain without <> and source route; "" : <> */
    struct sv local;   /* as written, quotes included */
    struct sv domain;  /* as written: name or [literal]; "" for <> and, in a
                        * forward path, for <postmaster> */
    bool utf8;         /* holds bytes above 0x7f */
    bool literal;      /* domain is an address literal */
};

/* A path with its angle brackets at the start of *in, which moves past it.
 * Source routes ("<@a,@b:x@y>") are accepted and dropped (RFC 5321 section
 * 4.1.1.3). <> is for the reverse-path only, <postmaster> for the forward
 * path only (section 4.1.1.3). */
enum mail_path_kind { MAIL_REVERSE_PATH, MAIL_FORWARD_PATH };
MUST_USE bool mail_path_take(struct sv *in, enum mail_path_kind kind,
                             struct mail_path *path);
/* A bare mailbox "local@domain"; nothing may follow. */
MUST_USE bool mail_mailbox_parse(struct sv text, struct mail_path *path);

/* Letters, digits, hyphens and dots, labels of 1..63, at most 255 octets, no
 * hyphen at the ends of a label; UTF-8 labels count as letters. No trailing
 * dot. */
bool mail_domain_valid(struct sv domain);
/* [192.0.2.1], [IPv6:2001:db8::1] */
bool mail_literal_valid(struct sv domain);

/* The form used for lookups and as keys: A-labels, lower case, no trailing dot
 * (IDNA 2008, RFC 5891).  Literals are only lowered.  False when it cannot be
 * made.  out holds MAIL_DOMAIN_MAX + 1 bytes and is NUL-terminated. */
MUST_USE bool mail_domain_canonical(struct sv domain, char *out);
#endif
