/* mail/date.h - dates as RFC 5322 section 3.3 writes them. */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H
#include "base/sv.h"

#define MAIL_DATE_TEXT 40
/* "Sun, 22 Nov 2026 00:44:12 +0100": local time with its offset.  text holds
 * MAIL_DATE_TEXT bytes; returns it. */
const char *mail_date_text(int64_t wall_s, char *text);
/* "2026-11-22T00:44:12Z", for JSON; same size. */
const char *mail_date_iso(int64_t wall_s, char *text);
#endif
