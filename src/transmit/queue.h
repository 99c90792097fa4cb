/* transmit/queue.h - what waits to be delivered, and when.
 *
 * The queue knows every message that is not final: its recipients, each with
 * its destination, state and next time.  It follows the intake journal, writes
 * every outcome to the ledger, and rebuilds itself from both at a start.
 * Message bodies and addresses stay in the spool; memory holds at most about
 * 400 bytes for a message with one recipient.
 *
 * The queue is a monitor: every function may be called from any loop's thread
 * and takes its lock for a short time; calls back come without the lock.
 *
 * States of a recipient:
 *
 *   ready ──take──▶ active ──done: delivered, failed──▶ final
 *     ▲               │
 *     │ time comes    ├──done: deferred──▶ waiting
 *     └───────────────┴────────────────────┘      held: on none of these
 */
#ifndef TRANSMIT_QUEUE_H
#define TRANSMIT_QUEUE_H
#include "base/arena.h"
#include "mail/envelope.h"
#include "service/rpc.h"
#include "spool/ledger.h"
#include "spool/spool.h"
#include "transmit/destination.h"

struct queue;

struct queue_calls {
    /* The destination has more ready work than sessions: open one more. Called
     * on the main loop, never under the lock; the session ends with
     * queue_session_ended(). */
    void (*on_session_wanted)(void *owner, struct destination *destination);
    void *owner;
};

/* Opens the queue on a spool opened for the ledger: reads checkpoint and
 * journals.  calls are made from loop. */
MUST_USE struct queue *queue_open(struct spool *spool, struct loop *loop,
                                  struct settings *settings,
                                  const struct queue_calls *calls,
                                  struct err *err);
/* Writes a checkpoint and frees; nothing may be active. */
void queue_close(struct queue *queue);
/* What the view of destinations tells of TLS; NULL: nothing. */
struct tls_troubles;
void queue_set_troubles(struct queue *queue, struct tls_troubles *troubles);
void queue_set_settings(struct queue *queue, struct settings *settings);
/* No more work is handed out; on_idle is called on the main loop when nothing
 * is active. */
void queue_drain(struct queue *queue, void (*on_idle)(void *arg), void *arg);

/* One message on its way to one destination, with some of its recipients. The
 * holder (a delivery session) fills in outcomes and gives it back. */
struct parcel_recipient {
    const struct envelope_recipient *recipient;
    uint32_t index; /* in the envelope */
    /* Set by the holder: */
    bool decided;
    enum ledger_outcome outcome;
    uint16_t code;
    struct mail_status status;
    struct sv text; /* in the parcel's arena */
};

struct parcel {
    struct arena arena; /* for texts that must live until queue_done() */
    spool_message_id id;
    struct envelope envelope;
    struct spool_content *content;
    uint32_t attempt; /* 1.. */
    int64_t arrived_us;
    struct parcel_recipient *recipients;
    size_t recipient_count;
    /* Set by the holder before queue_done(): how it went out. text fields in
     * the arena or static; id, results, attempt and next_retry are the
     * queue's to fill in. */
    struct ledger_attempt facts;
    struct destination *destination;
    struct link link; /* free for the holder */
};

/* The next parcel for this destination, at most max_recipients; NULL when
 * nothing is ready.  Reads the envelope from the spool. */
struct parcel *queue_take(struct queue *queue, struct destination *destination,
                          uint32_t max_recipients);
/* Gives it back; undecided recipients are deferred with the parcel's facts as
 * the reason.  Writes the ledger, plans the next try, makes the DSNs. */
void queue_done(struct queue *queue, struct parcel *parcel);
/* Gives it back untried (the session ended before it could be sent): ready
 * again at once, no attempt counted. */
void queue_untake(struct queue *queue, struct parcel *parcel);

/* No server of the destination could be used: what is ready for it is deferred
 * with this reason (an attempt for each message), and the destination itself
 * rests: new mail for it waits with the same reason until its next try.  final:
 * refused for good (no such domain, null MX): everything fails with status. */
struct destination_failure {
    bool final;
    uint16_t code;
    struct mail_status status;
    struct tls_failure failure;
    struct sv host, ip;
    struct ledger_tls tls; /* what was decided there, and shown */
    struct sv tls_version, tls_cipher, tls_verify;
};
void queue_destination_failed(struct queue *queue,
                              struct destination *destination,
                              const struct destination_failure *failure);
/* Recipients in the queue for this destination, in any state. */
uint64_t queue_waiting(struct queue *queue,
                       const struct destination *destination);
/* How often what is to be sent next has failed before: the destination as a
 * whole since it last worked, or a message among the first that are ready. */
uint32_t queue_failures(struct queue *queue,
                        const struct destination *destination);
/* A session asked for by on_session_wanted is over. worked: it delivered or got
 * a decision for something, so the destination is well. */
void queue_session_ended(struct queue *queue, struct destination *destination,
                         bool worked);

/* `queue.list|show|retry|hold|release|delete`, `queue.stats`, and
 *
 *   queue.submit {"file": "NAME", "sender": "", "recipients": ["a@b"],
 *                 "demands": ["tls-optional", "tls-report"]}
 *             -> {"queue_id": "B…"}
 *
 * Mail of our own (TLS reports, notices).  The caller has put a whole message,
 * header section and all, with CR LF line ends and of at most 64 MiB, into the
 * file STATE_DIR/outbox/NAME (letters, digits, dots, hyphens and underscores,
 * at most 128, no dot in front); nothing is added to it.  sender may be empty
 * or left out: then failures are told to nobody.  recipients: 1 to 100.
 * demands may be left out; the names are those of envelope_tls_text().
 *
 * The answer comes when the message is on disk.  As long as the file is there,
 * another call for the same name gives the same queue_id and sends nothing a
 * second time, also after a crash of either side; so the caller writes down
 * that it is done before it removes the file, and never takes a name twice.  An
 * error: nothing was sent, and the call may be made again. */
void queue_request(struct queue *queue, struct rpc_call *call);

struct queue_stats {
    uint64_t messages, bytes, ready, active, waiting, held;
    uint64_t destinations;
};
void queue_stats(struct queue *queue, struct queue_stats *stats);
#endif
