/* mail/received.h - the Received field, RFC 5321 section 4.4. */
#ifndef MAIL_RECEIVED_H
#define MAIL_RECEIVED_H
#include "base/buf.h"

struct received {
    struct sv helo;        /* what the client called itself */
    struct sv client_name; /* confirmed reverse name; empty: none */
    struct sv client_ip;   /* "192.0.2.1" or "2001:db8::1" */
    struct sv by;          /* our host name */
    struct sv product;     /* "Waxgate"; empty: left out */
    struct sv protocol;    /* SMTP, ESMTP, ESMTPS, UTF8SMTPS … (RFC 3848) */
    struct sv id;
    struct sv recipient;   /* for <…>; empty: none, or more than one */
    struct sv tls_version; /* empty: clear text, or the clause is off */
    struct sv tls_cipher;
    int tls_bits;         /* 0: left out */
    struct sv tls_verify; /* "no client certificate", "verified" …; empty */
    int64_t wall_s;
};

/* Appends the folded field with its CRLF:
 * Received: from HELO (NAME [IP])
 *  by GW with ESMTPS (Waxgate) (using TLS: TLSv1.3, TLS_AES_256_GCM_SHA384)
 *  (256 bits, no client certificate)
 *  id B… for <a@b>; DATE
 * Everything from the peer is cleaned and cut (RFC 5321 section 4.4, RFC 5322
 * section 2.1.1). */
void received_write(struct buf *out, const struct received *received);
#endif
