/* DATA and BDAT: content through the decoder into the draft.
 *
 * Whatever is wrong with a message, its octets are read to their true end
 * before it is refused: to the CRLF.CRLF that everybody agrees on, or to the
 * number that BDAT named (RFC 3030 section 2).  Otherwise what follows would be
 * taken for commands.  Verdicts come at the end, in fixed order, so that they
 * do not depend on how the bytes came in. */
#include "accept/smtpd.h"

enum {
    SLICE = 16 * 1024,  /* decoded at a time; then the spool may say wait */
    HOPS_MAX = 100,     /* Received fields, RFC 5321 section 6.3 */
    CHUNKS_FREE = 1000, /* chunks of any size; then 1 KiB on average */
    SWALLOW_TIMES = 10, /* the size limit, read of refused content */
    SWALLOW_FREE = 64 * 1024 * 1024,
};

static const struct refusal bare_newline = {
    550, "5.6.0", "Message refused: bare CR, LF or NUL in the content"};
static const struct refusal too_large = {552, "5.3.4",
                                         "message size exceeds limit"};
static const struct refusal loop = {554, "5.4.6",
                                    "Too many hops, mail loop suspected"};
static const struct refusal queue_full = {452, "4.3.1", "queue full"};
static const struct refusal no_recipients = {554, "5.5.1",
                                             "No valid recipients"};
static const struct refusal sequence = {503, "5.5.1",
                                        "Bad sequence of commands"};
static const struct refusal tls_first = {530, "5.7.0",
                                         "Must issue a STARTTLS command first"};
static const struct refusal bdat_syntax = {501, "5.5.4",
                                           "Syntax: BDAT octets [LAST]"};
static const struct refusal too_many_chunks = {
    421, "4.7.0", "Too many small chunks, disconnecting"};
static const struct refusal too_much = {
    552, "5.3.4", "Message much too large, disconnecting"};

/* Content ----------------------------------------------------------------- */

/* NULL: nothing is wrong so far. */
static const struct refusal *
judge(const struct smtpd *s)
{
    const struct transaction *tx = s->tx;
    unsigned broken = CONTENT_NUL; /* nothing can be made of it */

    if (s->policy->bare_newline == NEWLINE_REJECT)
        broken |= CONTENT_BARE_CR | CONTENT_BARE_LF;
    if (tx->decoder.flaws & broken)
        return &bare_newline;
    if (tx->size > s->policy->max_message_size)
        return &too_large;
    if (tx->counter.received > HOPS_MAX)
        return &loop;
    return NULL;
}

static void
on_content(void *arg, struct sv run)
{
    struct smtpd *s = arg;
    struct transaction *tx = s->tx;

    mail_counter_feed(&tx->counter, run);
    tx->size += run.n;
    if (judge(s) != NULL) {
        tx->swallowed += run.n;
        if (tx->draft != NULL)
            spool_draft_abort(tx->draft);
        tx->draft = NULL;
        s->waits &= ~(unsigned)WAIT_ROOM;
    }
    if (tx->draft != NULL && spool_draft_write(tx->draft, run) == SPOOL_WAIT)
        s->waits |= WAIT_ROOM;
}

/* Nobody may make us read for ever what we do not want. */
static bool
swallows_too_much(struct smtpd *s, uint64_t octets)
{
    uint64_t limit = s->policy->max_message_size;

    if (octets / SWALLOW_TIMES <= limit + SWALLOW_FREE / SWALLOW_TIMES)
        return false;
    smtpd_dismiss(s, &too_much, "too-much-refused-content");
    return true;
}

static void
refuse_message(struct smtpd *s, const struct refusal *refusal)
{
    atomic_fetch_add(&s->listener->listener->counts.refused, 1);
    s->ended++;
    smtpd_refuse(s, refusal);
    smtpd_reset(s);
    smtpd_enter(s, SMTPD_READY);
}

static void
finish_message(struct smtpd *s)
{
    const struct refusal *refusal = judge(s);

    s->waits &= ~(unsigned)WAIT_ROOM;
    if (refusal != NULL)
        refuse_message(s, refusal);
    else
        smtpd_commit(s);
}

/* Reading stops where the decoder told the spool more than it likes. */
static void
pause_if_told(struct smtpd *s)
{
    if (s->waits & WAIT_ROOM)
        smtpd_wait(s, WAIT_ROOM);
}

/* DATA -------------------------------------------------------------------- */

static bool
has_room(struct smtpd *s)
{
    const char *why;

    if (spool_accepts(s->home->spool, 0, &why))
        return true;
    log_event(&s->log, LOG_WARNING, "smtpd.full", LOG_STR("why", why));
    return false;
}

struct reply
smtpd_data(struct smtpd *s, struct sv args)
{
    (void)args;
    if (s->state == SMTPD_MAIL)
        return reply_refuse(&no_recipients);
    if (!has_room(s))
        return reply_refuse(&queue_full);
    smtpd_draft_begin(s, true);
    smtpd_enter(s, SMTPD_DATA);
    return reply_make(354, NULL, "go ahead");
}

bool
smtpd_take_data(struct smtpd *s)
{
    struct sv in = sv_slice(conn_input(s->conn), 0, SLICE);
    size_t before = in.n;

    if (in.n == 0)
        return false;
    content_decode(&s->tx->decoder, &in, on_content, s);
    smtpd_consume(s, before - in.n);
    if (s->tx->decoder.ended)
        finish_message(s);
    else if (!swallows_too_much(s, s->tx->swallowed))
        pause_if_told(s);
    return true;
}

/* BDAT -------------------------------------------------------------------- */

struct chunk {
    uint64_t octets;
    bool last;
};

static bool
take_chunk_args(struct sv args, struct chunk *chunk)
{
    struct sv size = sv_take_until(&args, ' ');

    *chunk = (struct chunk){0};
    args = sv_trim(args);
    if (args.n > 0 && !sv_is_nocase(args, "LAST"))
        return false;
    chunk->last = args.n > 0;
    return size.n <= 20 && sv_to_u64(size, &chunk->octets);
}

static const struct refusal *
check_chunk(struct smtpd *s)
{
    if (smtpd_lacks_tls(s))
        return &tls_first;
    if (s->state == SMTPD_MAIL)
        return &no_recipients;
    if (s->state != SMTPD_RCPT && s->state != SMTPD_BDAT)
        return &sequence;
    if (s->state == SMTPD_RCPT && !has_room(s))
        return &queue_full;
    return NULL;
}

/* Chunks of a byte each cost us more than the peer. */
static bool
has_too_many_chunks(struct smtpd *s)
{
    struct transaction *tx = s->tx;

    if (++tx->chunks <= CHUNKS_FREE + tx->size / 1024)
        return false;
    smtpd_dismiss(s, &too_many_chunks, "too-many-chunks");
    return true;
}

static struct reply
chunk_taken(const struct smtpd *s)
{
    return reply_make(250, "2.0.0", "%llu octets so far",
                      (unsigned long long)s->tx->size);
}

static void
refuse_chunk(struct smtpd *s)
{
    const struct refusal *refusal = s->chunk_refusal;

    smtpd_enter(s, s->chunk_back);
    /* A client may send its chunks without waiting for the reply to MAIL. */
    if (refusal != &sequence || s->mail_refused || smtpd_count_bad(s))
        smtpd_refuse(s, refusal);
}

static void
finish_chunk(struct smtpd *s)
{
    const struct refusal *refusal;
    struct reply reply;

    if (s->chunk_refusal != NULL) {
        refuse_chunk(s);
        return;
    }
    if (s->chunk_last)
        content_decode_end(&s->tx->decoder, on_content, s);
    refusal = judge(s);
    if (s->chunk_last || refusal != NULL) {
        /* What the client sends of this message from now on has no
         * transaction any more, without any fault of its own. */
        s->mail_refused = refusal != NULL;
        finish_message(s);
        return;
    }
    smtpd_enter(s, SMTPD_BDAT);
    reply = chunk_taken(s);
    smtpd_say(s, &reply);
    pause_if_told(s);
}

struct reply
smtpd_bdat(struct smtpd *s, struct sv args)
{
    struct chunk chunk;

    /* Without the number nobody knows where the next command begins. */
    if (!take_chunk_args(args, &chunk)) {
        smtpd_dismiss(s, &bdat_syntax, "bdat-syntax");
        return REPLY_LATER;
    }
    s->chunk_refusal = check_chunk(s);
    if (s->chunk_refusal == NULL && has_too_many_chunks(s))
        return REPLY_LATER;
    if (swallows_too_much(s, chunk.octets))
        return REPLY_LATER;
    if (s->chunk_refusal == NULL && s->state == SMTPD_RCPT)
        smtpd_draft_begin(s, false);
    s->chunk_left = chunk.octets;
    s->chunk_last = chunk.last;
    s->chunk_back = s->state;
    smtpd_enter(s, SMTPD_CHUNK);
    if (chunk.octets == 0)
        finish_chunk(s);
    return REPLY_LATER;
}

bool
smtpd_take_chunk(struct smtpd *s)
{
    uint64_t most = s->chunk_left < SLICE ? s->chunk_left : SLICE;
    struct sv in = sv_slice(conn_input(s->conn), 0, most);
    size_t length = in.n;

    if (length == 0)
        return false;
    if (s->chunk_refusal == NULL)
        content_decode(&s->tx->decoder, &in, on_content, s);
    smtpd_consume(s, length);
    s->chunk_left -= length;
    if (s->chunk_left == 0)
        finish_chunk(s);
    else if (s->chunk_refusal != NULL ||
             !swallows_too_much(s, s->tx->swallowed))
        pause_if_told(s);
    return true;
}
