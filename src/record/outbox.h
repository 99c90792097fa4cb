/* record/outbox.h - mail of our own on its way into the queue.
 *
 * The message is written to STATE_DIR/outbox/NAME and the sender is asked to
 * take it (queue.submit, transmit/queue.h).  The same name is taken once, so a
 * caller who heard no answer may ask again, after a crash too. */
#ifndef RECORD_OUTBOX_H
#define RECORD_OUTBOX_H
#include "base/err.h"
#include "base/sv.h"
#include "net/loop.h"

struct outbox_mail {
    const char *name; /* of the file: letters, digits, dots, hyphens */
    struct sv message;
    char *const *recipients;
    size_t recipient_count;
    bool tls_optional; /* goes whatever TLS does (RFC 8689) */
};

/* on_done comes once, never from inside: queue_id, or NULL and the reason.  On
 * success the caller writes down that it is sent, then calls outbox_remove().
 * The call cannot be taken back. */
void outbox_send(struct loop *loop, const char *state_dir,
                 const struct outbox_mail *mail,
                 void (*on_done)(void *arg, const char *queue_id,
                                 const char *reason),
                 void *arg);
void outbox_remove(const char *state_dir, const char *name);
/* Removes files that were last changed before this moment (seconds since 1970):
 * a crash between the two steps above leaves them. */
void outbox_clean(const char *state_dir, int64_t before);
#endif
