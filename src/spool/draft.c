/* A message being received.
 *
 *   MEMORY --too long, or memory is short--> FILE
 *   MEMORY --commit--> COMMITTING (in the journal's queue)
 *   FILE --commit--> the pool finishes the file --> COMMITTING
 *
 * Everything here runs on the draft's loop except on_finished, on_dropped and
 * on_written.  The draft is freed on its loop after on_done, or by abort; a
 * draft with a file that is aborted is freed by the pool. */
#include "base/crc32c.h"
#include "spool/body.h"
#include "spool/journal.h"
#include "spool/port.h"

enum { HAND_OVER = 32 << 10 }; /* bytes gathered for the pool */

struct spool_draft {
    struct journal_entry entry;
    struct body_file body;
    struct spool *spool;
    struct port *port;
    struct spool_draft_owner calls;
    void *owner;
    struct port_call room, done;
    struct buf head;
    struct block_chain chain; /* not yet handed over */
    size_t gathered;          /* bytes in it, of a body in a file */
    uint64_t length;
    uint32_t crc;
    bool in_file, committing;
    struct err *error; /* owned; why the commit failed */
};

static void
draft_free(struct spool_draft *draft)
{
    buf_fini(&draft->head);
    mem_free(draft->error);
    mem_free(draft);
}

/* --- Calls on the loop -------------------------------------------------- */

static void
run_room(struct port_call *call)
{
    struct spool_draft *draft = CONTAINER_OF(call, struct spool_draft, room);

    draft->calls.on_room(draft->owner);
}

static void
run_done(struct port_call *call)
{
    struct spool_draft *draft = CONTAINER_OF(call, struct spool_draft, done);

    if (!draft->entry.dropped)
        draft->calls.on_done(draft->owner, draft->error);
    draft_free(draft);
}

/* --- Calls on the spool's threads --------------------------------------- */

static void
keep_error(struct spool_draft *draft, const struct err *error)
{
    if (error == NULL)
        return;
    draft->error = mem_alloc_raw(sizeof *error);
    *draft->error = *error;
}

static void
on_written(struct journal_entry *entry, const struct err *error)
{
    struct spool_draft *draft = CONTAINER_OF(entry, struct spool_draft, entry);

    block_chain_release(&draft->spool->blocks, &entry->content);
    keep_error(draft, error);
    port_gather(draft->port, &draft->done);
}

static void
on_room(struct body_file *body)
{
    struct spool_draft *draft = CONTAINER_OF(body, struct spool_draft, body);

    port_send(draft->port, &draft->room);
}

static void
on_finished(struct body_file *body, const struct err *error)
{
    struct spool_draft *draft = CONTAINER_OF(body, struct spool_draft, body);

    if (error == NULL) {
        journal_append(draft->spool->journal, &draft->entry);
        return;
    }
    keep_error(draft, error);
    port_send(draft->port, &draft->done);
}

static void
on_dropped(struct body_file *body)
{
    struct spool_draft *draft = CONTAINER_OF(body, struct spool_draft, body);

    if (draft->committing)
        port_send(draft->port, &draft->done);
    else
        draft_free(draft);
}

/* --- Receiving ---------------------------------------------------------- */

struct spool_draft *
spool_draft_new(struct spool *spool, struct loop *loop,
                const struct spool_draft_owner *calls, void *owner)
{
    struct spool_draft *draft = mem_alloc(sizeof *draft);

    assert(spool_has_writer(spool, SPOOL_INTAKE));
    draft->spool = spool;
    draft->port = port_of(spool->ports, loop);
    draft->calls = *calls;
    draft->owner = owner;
    draft->room.run = run_room;
    draft->done.run = run_done;
    draft->entry.on_written = on_written;
    draft->body.on_room = on_room;
    draft->body.on_finished = on_finished;
    draft->body.on_dropped = on_dropped;
    return draft;
}

static bool
belongs_in_file(const struct spool_draft *draft, size_t more)
{
    const struct spool *spool = draft->spool;

    return draft->length + more > spool->limits.inline_limit ||
           spool->blocks.used + more > spool->limits.memory_limit;
}

static enum spool_flow
hand_over(struct spool_draft *draft)
{
    draft->gathered = 0;
    return body_add(draft->spool->bodies, &draft->body, &draft->chain)
               ? SPOOL_WAIT
               : SPOOL_GO;
}

enum spool_flow
spool_draft_write(struct spool_draft *draft, struct sv bytes)
{
    assert(!draft->committing);
    if (!draft->in_file && belongs_in_file(draft, bytes.n)) {
        draft->in_file = true;
        draft->gathered = draft->length;
        body_begin(&draft->body);
    }
    draft->crc = crc32c(draft->crc, bytes.p, bytes.n);
    draft->length += bytes.n;
    block_chain_add(&draft->spool->blocks, &draft->chain, bytes);
    if (!draft->in_file)
        return SPOOL_GO;
    draft->gathered += bytes.n;
    return draft->gathered >= HAND_OVER ? hand_over(draft) : SPOOL_GO;
}

uint64_t
spool_draft_length(const struct spool_draft *draft)
{
    return draft->length;
}

/* --- The end ------------------------------------------------------------ */

static void
refuse_commit(struct spool_draft *draft, const char *why)
{
    struct err err;

    err_set(&err, "%s", why);
    keep_error(draft, &err);
    block_chain_release(&draft->spool->blocks, &draft->chain);
    if (draft->in_file)
        body_drop(draft->spool->bodies, &draft->body);
    else
        port_send(draft->port, &draft->done);
}

static void
commit_file(struct spool_draft *draft)
{
    draft->entry.record.body = draft->body.number;
    (void)hand_over(draft);
    body_finish(draft->spool->bodies, &draft->body);
}

static void
commit_memory(struct spool_draft *draft)
{
    draft->entry.content = draft->chain;
    draft->chain = (struct block_chain){0};
    journal_append(draft->spool->journal, &draft->entry);
}

/* No on_room after this, not even one that is on its way. */
static void
silence_room(struct spool_draft *draft)
{
    if (!draft->in_file)
        return;
    body_quiet(draft->spool->bodies, &draft->body);
    port_cancel(draft->port, &draft->room);
}

void
spool_draft_commit(struct spool_draft *draft, const struct envelope *envelope)
{
    struct journal_entry *entry = &draft->entry;

    assert(!draft->committing);
    silence_room(draft);
    draft->committing = true;
    envelope_encode(envelope, &draft->head);
    entry->head = buf_view(&draft->head);
    entry->record.type = SPOOL_MESSAGE;
    entry->record.content_length = draft->length;
    entry->record.content_crc = draft->crc;
    if (entry->head.n > RECORD_HEAD_MAX)
        refuse_commit(draft, "the envelope is too large");
    else if (draft->in_file)
        commit_file(draft);
    else
        commit_memory(draft);
}

void
spool_draft_abort(struct spool_draft *draft)
{
    if (draft->committing) {
        draft->entry.dropped = true;
        return;
    }
    silence_room(draft);
    block_chain_release(&draft->spool->blocks, &draft->chain);
    if (draft->in_file)
        body_drop(draft->spool->bodies, &draft->body);
    else
        draft_free(draft);
}
