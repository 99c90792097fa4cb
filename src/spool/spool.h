/* spool/spool.h - the durable store between accept/ and transmit/.
 *
 * A message is ours from the moment its commit reports success: before that a
 * crash leaves no trace of it, after that no crash may lose it.
 *
 * Two journals, one writer each: `intake` is written by the receiver, `ledger`
 * by the sender.  A journal is a sequence of segment files of records;
 * FORMAT.md draws the bytes.  Whoever writes opens the journal with
 * spool_open_intake() or spool_open_ledger(); any process may read both.
 * Writing is group commit: a thread writes what has gathered with one write
 * and one fdatasync, then publishes the durable position in shared memory and
 * wakes the readers.  Readers never see what is not durable. */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H
#include "base/err.h"
#include "base/sv.h"
#include "mail/envelope.h"
#include "net/loop.h"
#include "settings/settings.h"

enum spool_journal { SPOOL_INTAKE, SPOOL_LEDGER };

/* Where a record lies: journal, segment and offset in eight bytes. */
struct spool_place {
    uint64_t packed; /* 0: nowhere */
};
enum spool_journal spool_place_journal(struct spool_place place);
uint32_t spool_place_segment(struct spool_place place);
uint64_t spool_place_offset(struct spool_place place); /* bytes */

/* Types of records.  MESSAGE stands in both journals: in the ledger it is a
 * message that the sender made itself (a DSN) or copied forward out of an old
 * segment; the others are the ledger's own (spool/ledger.h). */
enum spool_record_type {
    SPOOL_MESSAGE = 1,
    SPOOL_ATTEMPT = 2,
    SPOOL_ACTION = 3,
    SPOOL_NOTE = 4,
    SPOOL_SESSION = 5,
};

/* A message keeps this number for life, also when it is copied forward.  The
 * top bit tells that it was born in the ledger. */
typedef uint64_t spool_message_id;

struct spool; /* both journals of one state directory */

/* Opens the spool as the writer of one journal: recovers it (FORMAT.md), locks
 * it against a second writer, starts the writer thread, and creates what is
 * missing.  limits are copied.  NULL on failure. */
MUST_USE struct spool *spool_open_intake(const char *state_dir,
                                         const struct spool_settings *limits,
                                         struct err *err);
MUST_USE struct spool *spool_open_ledger(const char *state_dir,
                                         const struct spool_settings *limits,
                                         struct err *err);
/* For readers only: controller, verify, dump. */
MUST_USE struct spool *spool_open_reader(const char *state_dir,
                                         struct err *err);
/* Commits what was appended.  Calls that are under way still come, so the loops
 * of drafts are freed after this. */
void spool_close(struct spool *spool);
void spool_set_limits(struct spool *spool, const struct spool_settings *limits);

/* --- Accepting a message (receiver) ------------------------------------- */

struct spool_draft; /* one message still being received */

struct spool_draft_owner {
    /* The draft takes more again after spool_draft_write() said WAIT. */
    void (*on_room)(void *owner);
    /* Committed: error is NULL; or failed: the reason.  The draft is gone.
     * Called on the loop given to spool_draft_new(). */
    void (*on_done)(void *owner, const struct err *error);
};

/* Begins a message; on_room and on_done come on this loop. */
struct spool_draft *spool_draft_new(struct spool *spool, struct loop *loop,
                                    const struct spool_draft_owner *calls,
                                    void *owner);
enum spool_flow { SPOOL_GO, SPOOL_WAIT };
/* Appends content (copied).  Up to inline_limit it stays in memory (counted
 * against memory_limit); beyond, it is written to a file by a thread.  WAIT:
 * the bytes were taken, but no more should come before on_room.  An I/O error
 * shows at commit. */
enum spool_flow spool_draft_write(struct spool_draft *draft, struct sv bytes);
uint64_t spool_draft_length(const struct spool_draft *draft);
/* Makes it durable; envelope is encoded before this returns.  on_done follows,
 * never from inside. */
void spool_draft_commit(struct spool_draft *draft,
                        const struct envelope *envelope);
/* Drops the message; also right for a draft whose commit is under way and
 * whose owner goes away: no call comes any more. */
void spool_draft_abort(struct spool_draft *draft);

/* Whether a message of this many bytes (0: unknown) may be begun now. False:
 * low disk, full queue, or a journal that fails; reason says which.  Cheap: no
 * system call (the state is refreshed in the background). */
bool spool_accepts(struct spool *spool, uint64_t bytes, const char **reason);

/* "B" + 8 hex digits of seconds + 4 hex digits, unique on this spool, also
 * across restarts (at most 65,536 a second; then it runs ahead). out holds
 * SPOOL_ID_TEXT bytes.  Any thread. */
#define SPOOL_ID_TEXT 16
const char *spool_make_id(struct spool *spool, char *out);

/* --- Reading (sender, controller, tools) -------------------------------- */

struct spool_record {
    enum spool_record_type type;
    uint64_t sequence; /* within its journal */
    int64_t wall_us;   /* when it was written */
    struct spool_place place;
    spool_message_id id;     /* MESSAGE: the message's number */
    struct sv head;          /* envelope, or the payload of other types; valid
                              * until the next call on the reader */
    uint64_t content_length; /* MESSAGE */
    bool content_damaged;    /* known to fail its checksum */
};

struct spool_reader;
/* Reads a journal from this sequence number on (0: the oldest there is). */
MUST_USE struct spool_reader *spool_reader_new(struct spool *spool,
                                               enum spool_journal journal,
                                               uint64_t from_sequence,
                                               struct err *err);
enum spool_read { SPOOL_RECORD, SPOOL_END, SPOOL_DAMAGED, SPOOL_FAILED };
/* The next durable record.  END: no more now.  DAMAGED: something between was
 * unreadable and was skipped; err says what and where, record->place names the
 * segment; go on.  FAILED: I/O error; it may be tried again. */
enum spool_read spool_reader_next(struct spool_reader *reader,
                                  struct spool_record *record, struct err *err);
void spool_reader_free(struct spool_reader *reader);

/* Calls on_more(arg) on the loop when either journal has grown; coalesced. One
 * watcher a process. NULL when it cannot be made. */
struct spool_watcher;
MUST_USE struct spool_watcher *spool_watch(struct spool *spool,
                                           struct loop *loop,
                                           void (*on_more)(void *arg),
                                           void *arg, struct err *err);
void spool_watch_free(struct spool_watcher *watcher);

/* Content of one message: safe to use from any thread, one at a time. Keeps
 * its segment from being reclaimed while open. */
struct spool_content;
MUST_USE struct spool_content *spool_content_open(struct spool *spool,
                                                  struct spool_place place,
                                                  struct err *err);
uint64_t spool_content_length(const struct spool_content *content);
/* Encoded envelope, as in spool_record.head; read from disk, kept until close.
 * Empty on failure. */
struct sv spool_content_envelope(struct spool_content *content,
                                 struct err *err);
/* Reads up to n bytes at offset into dst without blocking on the disk:
 * bytes read, 0 at the end; -1: error; SPOOL_BLOCKED: not in memory, use
 * spool_content_fetch(). */
enum { SPOOL_BLOCKED = -2 };
ssize_t spool_content_read(struct spool_content *content, uint64_t offset,
                           char *dst, size_t n, struct err *err);
/* The same for threads that may wait for the disk: never SPOOL_BLOCKED. */
ssize_t spool_content_read_blocking(struct spool_content *content,
                                    uint64_t offset, char *dst, size_t n,
                                    struct err *err);
/* The same on a pool thread; on_read comes on the loop with what read() would
 * have returned. One fetch at a time; content and dst must stay until then. */
void spool_content_fetch(struct spool_content *content, struct loop *loop,
                         uint64_t offset, char *dst, size_t n,
                         void (*on_read)(void *arg, ssize_t got,
                                         const struct err *err),
                         void *arg);
void spool_content_close(struct spool_content *content);

/* --- Writing the ledger (sender) ---------------------------------------- */

/* Appends a record; parts are copied.  on_durable (may be NULL) is called on
 * the writer thread once it is on disk (error NULL).  Where a write or sync
 * fails the journal moves to a new segment and writes the record again there,
 * in order; error is set only when the spool is closed while it fails.  *place
 * is the record's. */
void spool_ledger_append(struct spool *spool, enum spool_record_type type,
                         struct sv payload,
                         void (*on_durable)(void *arg, struct spool_place place,
                                            const struct err *error),
                         void *arg);
/* A message made here, or copied forward under its old number (id != 0). The
 * content is read from `content` (any thread may block on it: called on a pool
 * thread), or is the view `text` when content is NULL. Blocks until durable. */
MUST_USE bool spool_ledger_message(struct spool *spool,
                                   const struct envelope *envelope,
                                   struct spool_content *content,
                                   struct sv text, spool_message_id *id,
                                   struct spool_place *place, struct err *err);
/* Waits until everything appended is durable.  False while the journal fails:
 * the records are kept and written later. */
MUST_USE bool spool_ledger_sync(struct spool *spool, struct err *err);

/* The sender's snapshot of its queue, so that a start need not read everything:
 * written atomically (temporary file, fsync, rename). intake_next and
 * ledger_next are the sequence numbers from which the journals must be read
 * again on top of it. Blocks: call on a pool thread. */
MUST_USE bool spool_checkpoint_write(struct spool *spool, struct sv snapshot,
                                     uint64_t intake_next, uint64_t ledger_next,
                                     struct err *err);
/* False and err->code == ENOENT: there is none (read the journals from 0). A
 * damaged one is set aside, logged and treated as none. snapshot is appended
 * to *out. */
MUST_USE bool spool_checkpoint_read(struct spool *spool, struct buf *out,
                                    uint64_t *intake_next,
                                    uint64_t *ledger_next, struct err *err);

/* Reclaim: the sender says that nothing it needs lies in segments of this
 * journal before `segment`, except those listed in keep (ascending).  Frees
 * what no other registered reader needs (below twice min_free bytes of room:
 * also what one needs): recycled as spare segments or removed, large bodies
 * with them.  Blocks: call on a pool thread. Returns the number of segments
 * freed. */
size_t spool_reclaim(struct spool *spool, enum spool_journal journal,
                     uint32_t before_segment, const uint32_t *keep,
                     size_t keep_count);
/* Something in the segment of this place could not be read or understood, and
 * may be a message: when the segment is reclaimed it is not freed but moved to
 * aside/, for the administrator.  Remembered across restarts; any thread. */
void spool_set_aside(struct spool *spool, struct spool_place place);
/* The body file of a message, if it has one, may go (its final record is
 * durable). Cheap; the unlink happens elsewhere. */
void spool_content_drop(struct spool *spool, struct spool_place place);
/* A further reader (the controller's database) registers how far it is; reclaim
 * keeps everything from there on while there is room (spool_reclaim()), so a
 * reader that falls behind may find a gap in the sequence. Persistent under its
 * name. */
MUST_USE bool spool_reader_keep(struct spool *spool, const char *name,
                                uint64_t intake_next, uint64_t ledger_next,
                                struct err *err);

/* The queue's size, published by the sender for spool_accepts(). */
void spool_publish_queue(struct spool *spool, uint64_t messages,
                         uint64_t bytes);

struct spool_status {
    uint64_t intake_durable, ledger_durable; /* sequence numbers */
    uint32_t intake_segments, ledger_segments, spare_segments;
    uint64_t free_bytes;
    uint64_t queue_messages, queue_bytes;
    uint64_t commits, batches; /* of this process: messages per fsync */
    bool failing;              /* the last write or sync failed */
    char failure[256];
};
void spool_status_get(struct spool *spool, struct spool_status *status);

/* `waxgate spool verify` and `dump`: print to out (may be stdout); verify
 * returns the number of problems found. */
size_t spool_verify(const char *state_dir, FILE *out, struct err *err);
struct spool_dump_options {
    enum spool_journal journal;
    bool json, content;
    uint64_t from_sequence;
};
MUST_USE bool spool_dump(const char *state_dir,
                         const struct spool_dump_options *options, FILE *out,
                         struct err *err);
#endif
