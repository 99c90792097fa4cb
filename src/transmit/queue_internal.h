/* transmit/queue_internal.h - the parts of the queue, and who may touch what.
 *
 *   queue.c          the face: open, take, done
 *   queue_message.c  messages and recipients in their tables
 *   queue_domain.c   domain -> destination, by routes and destination controls
 *   queue_reason.c   why the last attempt failed, shared between recipients
 *   queue_slab.c     compact tables
 *   schedule.c       states of recipients, turns, sessions, back-off
 *   queue_settle.c   what an outcome means: ledger, retry, notice
 *   queue_record.c   records on their way to the ledger
 *   bounce.c         notifications, made on pool threads
 *   tail.c           follows and replays the journals
 *   checkpoint.c     the snapshot as bytes
 *   queue_pool.c     work on pool threads
 *   queue_keep.c     when to write checkpoints, reclaim, copy forward
 *   queue_admin.c    calls of the command line; queue_list.c the long ones
 *   queue_submit.c   mail of our own
 *
 * Locking.  queue->lock guards everything below unless a comment says
 * otherwise.  Functions that need it are called with it held, except those
 * marked "unlocked".  Never held while calling out (calls of the owner, rpc_,
 * blocking work of the spool); spool_ledger_append() and the cheap calls of
 * the spool are allowed under it, because calls back from the spool touch only
 * what queue->done_lock guards. */
#ifndef TRANSMIT_QUEUE_INTERNAL_H
#define TRANSMIT_QUEUE_INTERNAL_H
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "transmit/queue.h"
#include "transmit/queue_slab.h"
#include <pthread.h>
#include <stdatomic.h>

/* --- What is kept per message and per recipient ------------------------- */

enum message_flag {
    MESSAGE_HELD = 1,
    MESSAGE_NULL_SENDER = 2, /* never notify anybody */
    MESSAGE_MOVING = 4,      /* being copied forward: not handed out */
    MESSAGE_DELETE = 8,      /* what is active goes, unless it gets through */
    MESSAGE_DELETE_NOTIFY = 16, /* … and the sender is told */
};

struct message {
    uint32_t recipients; /* first */
    uint32_t open;       /* recipients without a final record appended */
    spool_message_id id; /* 0: a free place in the slab */
    struct spool_place place;
    int64_t arrived_us;
    uint64_t bytes; /* of content */
    char queue_id[SPOOL_ID_TEXT];
    uint32_t flags;
    uint32_t padding;
};

/* RCPT_CLOSING: a final record is appended, not yet known durable. */
#define RCPT_STATES(X)                                                         \
    X(RCPT_NEW, "new")                                                         \
    X(RCPT_READY, "ready")                                                     \
    X(RCPT_ACTIVE, "active")                                                   \
    X(RCPT_WAITING, "waiting")                                                 \
    X(RCPT_HELD, "held")                                                       \
    X(RCPT_CLOSING, "closing")
#define AS_RCPT_ENUM(name, text) name,
enum rcpt_state { RCPT_STATES(AS_RCPT_ENUM) RCPT_STATE_COUNT };
#undef AS_RCPT_ENUM
const char *rcpt_state_name(enum rcpt_state state);

enum { RCPT_WARNED = 16 }; /* beside the four bits of enum envelope_notify */

struct rcpt {
    uint32_t next;    /* of the same message */
    uint32_t message; /* 0: a free place in the slab */
    uint32_t domain;  /* number of its struct domain */
    uint32_t index;   /* in the envelope */
    union {
        uint32_t before; /* READY: neighbour in the destination's list */
        uint32_t place;  /* WAITING: place in the heap */
    };
    uint32_t behind;  /* READY */
    uint32_t reason;  /* number, 0: none */
    uint32_t tried_s; /* wall clock of the last attempt, 0: none */
    uint64_t when; /* monotonic ms. READY: since; WAITING: until; HELD: until,
                    * as it was before */
    uint16_t attempts;
    uint8_t state; /* enum rcpt_state */
    uint8_t flags; /* enum envelope_notify, RCPT_WARNED */
};

/* --- Destinations -------------------------------------------------------- */

struct domain {
    char *name;       /* canonical; owned */
    unsigned demands; /* enum envelope_tls, of every message to it */
    uint32_t number;
    uint32_t recipients; /* in the queue; 0: it goes */
    struct destination_queue *destination;
};

struct destination_queue {
    struct destination self;  /* the face that sessions see */
    uint32_t number;          /* in queue->destinations */
    uint32_t place;           /* in queue->resting */
    struct link hungry, busy; /* see schedule.c */
    uint32_t ready_first, ready_last;
    uint32_t count[RCPT_STATE_COUNT];
    uint32_t domains; /* struct domain that point here */
    uint32_t sessions;
    uint32_t opening;        /* of them, about: have taken nothing yet */
    uint32_t turn;           /* parcels since its last turn */
    uint32_t failures;       /* in a row, of the destination as a whole */
    uint32_t barren;         /* sessions in a row that brought nothing */
    bool starving;           /* on which ring it stands */
    bool proven;             /* it took or refused a message */
    bool resting;            /* until when; on the heap */
    bool held_back;          /* a session got nothing, for the ledger's sake */
    bool limited;            /* … rests because of its recipient_limit */
    uint32_t period_count;   /* recipients handed out since period_start */
    uint64_t period_start;   /* monotonic ms */
    uint64_t until, granted; /* monotonic ms */
    uint64_t idle_since;
    uint32_t reason; /* of the last failure as a whole */
    int64_t failed_first_s, failed_last_s, worked_s; /* wall; 0: never */
    const struct destination_settings *control;
};

/* --- Reasons -------------------------------------------------------------- */

/* What is remembered of an attempt for a recipient; as bytes it is the key
 * under which it is shared (queue_reason.c). */
struct reason {
    enum tls_stage stage;
    uint16_t code;
    struct mail_status status;
    uint16_t port;
    uint16_t tls_bits;
    bool tls_resumed;
    struct sv text; /* of the result */
    struct sv why;  /* of the failure */
    struct sv host, ip, tls_version, tls_cipher, tls_verify, delivery;
    struct ledger_tls tls;
};

struct reason_entry;
struct reasons {
    struct map map;       /* bytes -> entry */
    struct table entries; /* struct reason_entry */
    size_t bytes;
};

/* --- Work under way ------------------------------------------------------- */

/* What became of some recipients of one message (queue_settle.c). */
struct settlement;

/* A record on its way to the ledger. */
struct queue_record {
    struct link link;
    struct queue *queue;
    enum spool_record_type type;
    struct buf payload;
    uint32_t message;
    uint32_t *finished; /* recipients that go when it is durable; owned */
    size_t finished_count;
    struct rpc_call *call; /* answered when it is durable; may be NULL */
    json_t *answer;        /* owned */
    bool failed;
    struct spool_place place;
};

/* Work on a pool thread.  done() is called on the main loop; when the queue is
 * closed first, by the closing thread. */
struct pool_ticket;
struct pool_work {
    struct pool_ticket *ticket; /* while under way */
    struct link link;
    void (*run)(struct pool_work *work);  /* unlocked, pool thread */
    void (*done)(struct pool_work *work); /* unlocked */
};

/* Messages that lie in a segment. */
struct segment_live {
    uint32_t segment;
    uint32_t messages;
    uint64_t bytes;      /* of them in the segment itself, about */
    uint64_t not_before; /* ms: copying forward failed, later again */
};
struct segments {
    struct segment_live *live; /* owned; ascending, none without messages */
    size_t count, cap;
    uint32_t last;       /* segment of the newest record known durable */
    uint32_t checkpoint; /* segments before: the checkpoint has it all */
};

/* What is posted to the loop, apart from the queue: it may still be on its way
 * when the queue is closed. */
struct poster {
    struct task task;
    struct queue *queue; /* NULL: closed */
    atomic_bool posted;
};

/* --- The queue ------------------------------------------------------------ */

enum {
    QUEUE_SESSIONS_MAX = 1000,   /* all destinations together */
    QUEUE_SESSIONS_UNPROVEN = 5, /* until a destination has answered once */
    QUEUE_BATCH = 8,             /* ready recipients per session */
    QUEUE_TURN = 50,             /* parcels, while others wait for a session */
    QUEUE_UNWRITTEN_MAX = 256,   /* final ones on their way to the ledger */
    QUEUE_RECORDS_MAX = 2048,    /* … and all together */
    QUEUE_OLD_READY_MS = 1000,   /* then one more session */
    QUEUE_IDLE_DESTINATION_MS = 300000,
};

struct queue {
    pthread_mutex_t lock;
    struct spool *spool;
    struct loop *loop;
    struct settings *settings; /* referenced */
    struct queue_calls calls;
    struct tls_troubles *troubles; /* for the view; NULL: none */

    struct slab messages, recipients;
    struct index by_id, by_queue_id;
    struct map domain_names;
    struct table domains; /* struct domain */
    struct reasons reasons;
    uint64_t bytes; /* of all contents */
    uint64_t count[RCPT_STATE_COUNT];

    /* schedule.c */
    struct map destination_keys;
    struct table destinations;    /* struct destination_queue */
    struct list hungry, starving; /* want a session; and have none */
    struct list busy;             /* have ready work and sessions */
    struct heap waiting, resting;
    uint32_t sessions, sessions_max;
    uint64_t swept;

    /* queue.c */
    struct poster *poster;
    struct timer timer;
    uint32_t parcels; /* held by sessions */
    bool draining, closing;
    void (*on_idle)(void *arg);
    void *on_idle_arg;
    struct list failing; /* struct sweep: destinations that failed */

    /* queue_record.c; done and done_lock, as marked */
    pthread_mutex_t done_lock;
    pthread_cond_t done_cond;
    struct list done;  /* done_lock */
    size_t records;    /* done_lock: appended, not yet back */
    size_t finals;     /* done_lock: … of them with a final outcome */
    struct list again; /* could not be written; tried at again_at */
    uint64_t again_at;
    bool ledger_failing;

    /* bounce.c */
    struct list bounces; /* struct settlement, not begun */
    unsigned bouncing;
    struct list works; /* struct pool_work under way */
    unsigned works_running;
    pthread_cond_t works_cond;

    /* tail.c */
    struct spool_reader *intake;
    struct spool_watcher *watcher;
    atomic_bool tail_wanted;
    uint64_t tail_again_at; /* reading failed: not before; 0: it works */
    uint64_t intake_next;
    struct map *gone; /* during a replay: ids that are final */

    /* queue_keep.c */
    struct segments segments[2]; /* by enum spool_journal */
    struct list floors;          /* struct floor */
    /* A position that the ledger had reached some time ago. */
    uint64_t position;
    uint32_t position_segment;
    struct list listings; /* queue_list.c */
    bool checkpointing, reclaiming, moving, reclaim_wanted;
    uint64_t changes; /* records since the last checkpoint */
    uint64_t checkpoint_at, checkpoint_made, move_at, position_at;
};

/* --- queue_message.c ------------------------------------------------------ */

struct message *queue_message(const struct queue *queue, uint32_t number);
struct rcpt *queue_rcpt(const struct queue *queue, uint32_t number);
uint32_t queue_find_id(const struct queue *queue, spool_message_id id);
uint32_t queue_find_text(const struct queue *queue, struct sv queue_id);

/* For the two indexes. */
uint64_t queue_hash_id(const void *owner, uint32_t number);
uint64_t queue_hash_text(const void *owner, uint32_t number);

struct message_facts {
    spool_message_id id;
    struct spool_place place;
    int64_t arrived_us;
    uint64_t bytes;
    struct sv queue_id;
    uint32_t flags;
};
/* A message without recipients yet.  An id that is known is an error of the
 * caller. */
uint32_t message_add(struct queue *queue, const struct message_facts *facts);
/* A recipient in state NEW at the end of the message's chain. */
uint32_t rcpt_add(struct queue *queue, uint32_t message, uint32_t index,
                  struct sv domain, unsigned demands, unsigned notify);
/* Message and recipients out of an envelope, all ready (or held). */
uint32_t message_add_envelope(struct queue *queue,
                              const struct message_facts *facts,
                              const struct envelope *envelope);
/* Nothing more of it is handed out; what is active is held when it is back. */
void message_hold(struct queue *queue, uint32_t number);
/* Takes a recipient out of everything; with the last one the message goes and
 * its content is dropped. */
void rcpt_remove(struct queue *queue, uint32_t number);
void message_remove(struct queue *queue, uint32_t number);
void message_move(struct queue *queue, uint32_t number,
                  struct spool_place place);
size_t queue_memory(const struct queue *queue); /* bytes, about */

/* --- queue_domain.c ------------------------------------------------------- */

/* Or makes it. */
struct domain *domain_get(struct queue *queue, struct sv name,
                          unsigned demands);
/* ["requiretls", …]; the caller's. */
json_t *queue_demands_json(unsigned demands);
bool queue_demands_known(unsigned demands);
void domain_drop(struct queue *queue, struct domain *domain);
/* Domains find their destinations anew. */
void domain_reroute(struct queue *queue);
struct domain *domain_at(const struct queue *queue, uint32_t number);
/* NULL for a hole. */
struct destination_queue *destination_at(const struct queue *queue,
                                         uint32_t number);
struct destination_queue *destination_of(const struct queue *queue,
                                         const struct rcpt *rcpt);
struct destination_queue *destination_find(const struct queue *queue,
                                           struct sv key);
/* Frees destinations that were empty for a while; all: those empty now. */
void destination_sweep(struct queue *queue, uint64_t now, bool all);
void destination_fini_all(struct queue *queue);

/* --- queue_reason.c ------------------------------------------------------- */

/* The number of a reason, referenced once more; 0 when memory for reasons is
 * used up. */
uint32_t reason_intern(struct reasons *reasons, const struct reason *reason);
uint32_t reason_intern_bytes(struct reasons *reasons, struct sv bytes);
void reason_drop(struct reasons *reasons, uint32_t number);
void reason_hold(struct reasons *reasons, uint32_t number);
struct sv reason_bytes(const struct reasons *reasons, uint32_t number);
/* Views into the entry. */
void reason_view(const struct reasons *reasons, uint32_t number,
                 struct reason *reason);
MUST_USE bool reason_parse(struct sv bytes, struct reason *reason);
void reason_of(const struct ledger_attempt *attempt,
               const struct ledger_result *result, struct reason *reason);
void reasons_fini(struct reasons *reasons);
/* Replaces the recipient's reason (the reference is taken over). */
void rcpt_set_reason(struct queue *queue, struct rcpt *rcpt, uint32_t number);

/* --- schedule.c ----------------------------------------------------------- */

/* Delay before try number attempts + 1: first, doubled each time, at most max,
 * then 20% more or less; dice is any number. */
uint64_t schedule_backoff(uint64_t first, uint64_t max, uint32_t attempts,
                          uint32_t dice);
void schedule_init(struct queue *queue);
void schedule_fini(struct queue *queue);
/* The only writers of rcpt->state. */
void schedule_enter(struct queue *queue, uint32_t rcpt, enum rcpt_state state,
                    uint64_t when);
/* … to the front of its destination's list. */
void schedule_ready_first(struct queue *queue, uint32_t rcpt);
void schedule_leave(struct queue *queue, uint32_t rcpt);
void schedule_consider(struct queue *queue, struct destination_queue *d);
void schedule_unlist(struct queue *queue, struct destination_queue *d);
/* Sessions to ask for now, in fair turn; the caller calls the owner. */
size_t schedule_grant(struct queue *queue, struct destination_queue **granted,
                      size_t max);
/* What the clock brings. */
void schedule_due(struct queue *queue, uint64_t now);
uint64_t schedule_next(const struct queue *queue, uint64_t now); /* ms */
void schedule_rest(struct queue *queue, struct destination_queue *d,
                   uint64_t ms);
/* How many of at most `max` recipients may be handed out within the
 * destination's limit; 0: none, and it rests until the next period. */
uint32_t schedule_allowance(struct queue *queue, struct destination_queue *d,
                            uint32_t max);
void schedule_wake(struct queue *queue, struct destination_queue *d);
void schedule_worked(struct queue *queue, struct destination_queue *d);
/* Not served now: another's turn, or it rests. */
bool schedule_refuses(struct queue *queue, struct destination_queue *d);

/* --- queue_settle.c ------------------------------------------------------- */

/* While a message of ours is being written, it may be durable and yet unknown
 * to the queue: a checkpoint taken meanwhile must not pass this position. */
struct floor {
    struct link link;
    uint64_t sequence;
    uint32_t segment;
};

/* What an outcome leads to, gathered for one message. */
struct settlement {
    struct link link;
    struct pool_work work;
    struct queue *queue;
    struct arena arena;
    uint32_t message;
    struct ledger_attempt attempt; /* texts in the arena */
    struct ledger_result *results;
    uint32_t *handles; /* recipient of each result */
    size_t count;
    enum settlement_kind {
        SETTLE_RECORD, /* the ledger only */
        SETTLE_BOUNCE, /* first a notification, then the ledger */
        SETTLE_WARN,   /* a delay notification, then a note of it */
    } kind;
    int64_t arrived_us;
    struct spool_place place;
    struct settings *settings; /* referenced */
    struct rpc_call *call;     /* for the record */
    json_t *answer;
    /* bounce.c: what was stored */
    struct bounce_mail {
        struct message_facts facts;
        struct envelope envelope;
    } mails[2];
    size_t mail_count;
    bool failed, unreadable;
    struct err err;
    uint64_t not_before;
    struct floor floor;
};

struct settle_input {
    uint32_t message;
    const struct ledger_attempt *facts; /* results unset */
    struct ledger_result *results;      /* may be changed: expiry */
    const uint32_t *handles;
    size_t count;
    const struct envelope *envelope; /* for the log; may be NULL */
    bool counts; /* as an attempt; not: the administrator's deed */
    bool notify; /* failures are told to the sender (if due) */
    struct rpc_call *call;
    json_t *answer;
};
void settle(struct queue *queue, const struct settle_input *input);
/* The settlement's record is due: appends it and frees the settlement. */
void settle_finish(struct settlement *settlement);
void settlement_free(struct settlement *settlement);
bool settle_expired(const struct queue *queue, const struct message *message,
                    const struct rcpt *rcpt, int64_t wall_us);

/* A destination that failed, and what of its mail is still to be settled. */
struct sweep {
    struct link link;
    struct destination_queue *destination; /* counted as a session */
    uint32_t first;                        /* chain of recipients by behind */
    struct destination_failure failure;
    struct arena arena;
    struct ledger_attempt facts;
    bool final;
};
/* Settles a slice; true: there is more. */
bool sweep_slice(struct queue *queue);
void sweep_begin(struct queue *queue, struct destination_queue *d,
                 const struct destination_failure *failure);

/* --- queue_record.c ------------------------------------------------------- */

struct queue_record *queue_record_new(struct queue *queue,
                                      enum spool_record_type type,
                                      uint32_t message);
/* More records are on their way than may be lost by a crash. Takes done_lock.
 */
bool queue_record_lagging(struct queue *queue);
/* A sweep must wait: the ledger or the notifications lag behind it.  Earlier
 * than the former, so that it keeps nobody else from working. */
bool queue_record_crowded(struct queue *queue);
void queue_record_append(
    struct queue_record *record); /* owned by the queue from here */
void queue_record_action(struct queue *queue, uint32_t message,
                         enum ledger_action_kind kind, const char *by,
                         struct rpc_call *call, json_t *answer);
/* Unlocked, main loop: handles what has become durable. */
void queue_record_collect(struct queue *queue);
/* Unlocked; at close: nothing is in the hands of the spool any more.  False
 * when that cannot be reached. */
MUST_USE bool queue_record_wait(struct queue *queue);
void queue_record_drop(struct queue *queue); /* what never became durable */

/* --- bounce.c ------------------------------------------------------------- */

void bounce_enqueue(struct queue *queue, struct settlement *settlement);
/* Unlocked, main loop: begins what may begin. */
void bounce_start(struct queue *queue);

/* --- queue_pool.c --------------------------------------------------------- */

void pool_begin(struct queue *queue, struct pool_work *work); /* unlocked */
void pool_finish(struct queue *queue); /* unlocked; at close: none is left */

/* --- tail.c --------------------------------------------------------------- */

MUST_USE bool tail_open(struct queue *queue, struct err *err);
/* Monotonic ms of a next try after so long a wait by the wall clock: a clock
 * that was set back does not make mail wait for longer than a retry may. */
uint64_t tail_when(const struct queue *queue, const struct rcpt *rcpt,
                   uint64_t now, int64_t wait_ms);
/* Unlocked, main loop: a slice of what is new. */
void tail_read(struct queue *queue);
void tail_close(struct queue *queue);

/* --- checkpoint.c --------------------------------------------------------- */

/* The snapshot of the queue as bytes; times are stored by the wall clock. */
void checkpoint_encode(struct queue *queue, int64_t wall_us, struct buf *out);
/* Fills an empty queue.  False: not a checkpoint of ours; the queue may then
 * hold a part of it and must be emptied. */
MUST_USE bool checkpoint_decode(struct queue *queue, struct sv bytes,
                                int64_t wall_us, struct err *err);

/* --- queue_keep.c --------------------------------------------------------- */

void segment_live_add(struct queue *queue, struct spool_place place,
                      uint64_t bytes);
void segment_live_remove(struct queue *queue, struct spool_place place,
                         uint64_t bytes);
void segment_saw(struct queue *queue, struct spool_place place);
void keep_floor(struct queue *queue, struct floor *floor);
void keep_floor_done(struct queue *queue, struct floor *floor);
void keep_position(struct queue *queue); /* unlocked */
void keep_tick(struct queue *queue);     /* unlocked, main loop */
/* ms until keep_tick() should run; UINT64_MAX: at its leisure. */
uint64_t keep_next(const struct queue *queue);
/* Now, blocking; unlocked; for the end. */
MUST_USE bool keep_checkpoint(struct queue *queue, struct err *err);
void keep_fini(struct queue *queue);

/* --- queue.c -------------------------------------------------------------- */

/* Something is to be done on the main loop.  Locked or not. */
void queue_kick(struct queue *queue);
/* Empties everything (a checkpoint turned out to be damaged). */
void queue_clear(struct queue *queue);
struct queue *queue_new(struct spool *spool, struct loop *loop,
                        struct settings *settings,
                        const struct queue_calls *calls);
void queue_free(struct queue *queue);

/* --- queue_admin.c, queue_list.c ------------------------------------------ */

void admin_finish_delete(struct queue *queue, uint32_t message,
                         const uint32_t *handles, size_t count);
/* As JSON (a new reference). */
json_t *admin_message(const struct queue *queue, uint32_t message);
json_t *admin_time(int64_t wall_s); /* null for 0 */
json_t *admin_sv(struct sv text);
void admin_reason(const struct queue *queue, uint32_t number, json_t *into);
/* Unlocked, main loop: answers now or later. */
void list_begin(struct queue *queue, struct rpc_call *call);
void list_show(struct queue *queue, struct rpc_call *call);
void list_abandon(struct queue *queue); /* at close */

/* --- queue_submit.c ------------------------------------------------------- */

/* Unlocked, main loop: answers later. */
void submit_begin(struct queue *queue, struct rpc_call *call);
#endif
