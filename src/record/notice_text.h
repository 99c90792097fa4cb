/* record/notice_text.h - the mail that tells an administrator of failures of a
 * policy.  Pure. */
#ifndef RECORD_NOTICE_TEXT_H
#define RECORD_NOTICE_TEXT_H
#include "base/buf.h"
#include "record/troubles.h"

struct notice {
    const char *from;
    char *const *recipients;
    size_t recipient_count;
    const char *hostname; /* of this gateway */
    const char *domain;   /* whose policy failed */
    const char *unique;   /* letters, digits, hyphens */
    const struct trouble *troubles;
    size_t trouble_count;
    uint64_t interval_s; /* until the next about this domain, at least */
    int64_t wall_s;
};
/* Appends the message; lines end in CRLF. */
void notice_write(const struct notice *notice, struct buf *out);
#endif
