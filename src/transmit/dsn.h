/* transmit/dsn.h - delivery status notifications as text: RFC 3464 in the
 * multipart/report of RFC 6522, with the choices of RFC 3461.
 * Pure: facts in, message out; the queue decides whether one is due. */
#ifndef TRANSMIT_DSN_H
#define TRANSMIT_DSN_H
#include "mail/envelope.h"
#include "spool/ledger.h"

enum dsn_kind { DSN_FAILURE, DSN_DELAY, DSN_SUCCESS };

struct dsn_recipient {
    const struct envelope_recipient *recipient;
    const struct ledger_result *result;
    const struct ledger_attempt *attempt; /* the one that decided */
    int64_t will_retry_until_s;           /* DSN_DELAY; 0: not said */
};

struct dsn {
    enum dsn_kind kind;
    struct sv queue_id; /* of the DSN */
    const char *hostname;
    int64_t wall_s;
    const struct envelope *envelope; /* of the message it is about */
    int64_t arrived_s;
    const struct dsn_recipient *recipients;
    size_t recipient_count;
    struct sv original; /* header section, or the whole message */
    bool original_whole;
};

/* Who gets the notification for this outcome, after NOTIFY (RFC 3461 section
 * 4.1) and never for a null sender (RFC 5321 section 4.5.5). */
bool dsn_wanted(const struct envelope *envelope,
                const struct envelope_recipient *recipient, enum dsn_kind kind);
/* How much of the original belongs into it: RET=HDRS, REQUIRETLS, size, kind.
 */
bool dsn_wants_whole(const struct envelope *envelope, enum dsn_kind kind,
                     uint64_t content_length, uint64_t max_copy);
/* Appends the complete message (header section and parts, CRLF). The sentence
 * for people says stage and reason of a TLS failure in words. 7-bit unless the
 * original has UTF-8 headers (then message/global, RFC 6533). */
void dsn_write(const struct dsn *dsn, struct buf *out);
#endif
