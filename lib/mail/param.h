/* mail/param.h - ESMTP parameters and xtext. */
#ifndef MAIL_PARAM_H
#define MAIL_PARAM_H
#include "base/buf.h"

/* esmtp-param = SP keyword ["=" value], RFC 5321 section 4.1.2.
 * *in moves past the parameter on success and stays put on failure.  *value is
 * empty without "=". */
MUST_USE bool mail_param_take(struct sv *in, struct sv *key, struct sv *value);

/* RFC 3461 section 4: decodes into out (text.n bytes are enough; not NUL-
 * terminated); false for anything that is not xtext, or that decodes to a
 * control byte ("+00", "+0A" …). */
MUST_USE bool mail_xtext_decode(struct sv text, char *out, size_t *length);
void mail_xtext_encode(struct sv text, struct buf *out); /* appends */
#endif
