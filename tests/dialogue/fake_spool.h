/* tests/dialogue/fake_spool.h - a spool in memory that does as it is told:
 * linked in place of the real one (its functions are defined here, so none of
 * the library's is taken).  Include it in one file of a program. */
#ifndef TESTS_DIALOGUE_FAKE_SPOOL_H
#define TESTS_DIALOGUE_FAKE_SPOOL_H
#include "mail/header.h"
#include "spool/spool.h"

struct spool {
    bool refuses;  /* spool_accepts() says no */
    bool is_slow;  /* each write says WAIT until fake_room() */
    bool is_stuck; /* commits wait for fake_finish() */
    int fails;     /* errno of every commit, 0: they succeed */
    unsigned ids;
    unsigned drafts;          /* alive */
    unsigned committed;       /* messages */
    struct buf content;       /* of all committed messages, one after another */
    struct spool_draft *last; /* the youngest alive */
};

struct spool_draft {
    struct spool *spool;
    struct loop *loop;
    struct spool_draft_owner calls;
    void *owner;
    struct buf content;
    struct task done;
    bool committing, posted, waiting;
};

static void
fake_free(struct spool_draft *draft)
{
    draft->spool->drafts--;
    if (draft->spool->last == draft)
        draft->spool->last = NULL;
    buf_fini(&draft->content);
    mem_free(draft);
}

static void
fake_done(struct task *task)
{
    struct spool_draft *draft = CONTAINER_OF(task, struct spool_draft, done);
    struct spool *spool = draft->spool;
    struct err err;

    if (draft->owner == NULL) {
        fake_free(draft);
        return;
    }
    if (spool->fails != 0) {
        err_code(&err, spool->fails, "sync");
    } else {
        spool->committed++;
        buf_add(&spool->content, buf_view(&draft->content));
    }
    draft->calls.on_done(draft->owner, spool->fails != 0 ? &err : NULL);
    fake_free(draft);
}

static void UNUSED
fake_finish(struct spool_draft *draft)
{
    draft->posted = true;
    loop_post(draft->loop, &draft->done);
}

static void UNUSED
fake_room(struct spool_draft *draft)
{
    draft->waiting = false;
    draft->calls.on_room(draft->owner);
}

struct spool_draft *
spool_draft_new(struct spool *spool, struct loop *loop,
                const struct spool_draft_owner *calls, void *owner)
{
    struct spool_draft *draft = mem_alloc(sizeof *draft);

    draft->spool = spool;
    draft->loop = loop;
    draft->calls = *calls;
    draft->owner = owner;
    draft->done.run = fake_done;
    spool->drafts++;
    spool->last = draft;
    return draft;
}

enum spool_flow
spool_draft_write(struct spool_draft *draft, struct sv bytes)
{
    assert(!draft->committing);
    buf_add(&draft->content, bytes);
    draft->waiting = draft->spool->is_slow;
    return draft->waiting ? SPOOL_WAIT : SPOOL_GO;
}

uint64_t
spool_draft_length(const struct spool_draft *draft)
{
    return buf_length(&draft->content);
}

void
spool_draft_commit(struct spool_draft *draft, const struct envelope *envelope)
{
    struct buf encoded = {0};

    assert(!draft->committing && envelope->recipient_count > 0);
    envelope_encode(envelope, &encoded);
    buf_fini(&encoded);
    assert(envelope->header_bytes ==
           mail_header_length(buf_view(&draft->content)));
    draft->committing = true;
    if (!draft->spool->is_stuck)
        fake_finish(draft);
}

void
spool_draft_abort(struct spool_draft *draft)
{
    draft->owner = NULL;
    if (!draft->posted)
        fake_free(draft);
}

bool
spool_accepts(struct spool *spool, uint64_t bytes, const char **reason)
{
    (void)bytes;
    *reason = "full";
    return !spool->refuses;
}

const char *
spool_make_id(struct spool *spool, char *out)
{
    snprintf(out, SPOOL_ID_TEXT, "B%012x", spool->ids++);
    return out;
}
#endif
