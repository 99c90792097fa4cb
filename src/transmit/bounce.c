/* Notifications: made on pool threads, because the original is read and the new
 * message must be durable before the outcome it tells of becomes final (see
 * queue_settle.c for the order and what a crash does). */
#include "mail/address.h"
#include "mail/header.h"
#include "transmit/dsn.h"
#include "transmit/queue_internal.h"

enum {
    BOUNCE_WORKERS = 2,
    BOUNCE_AGAIN_MS = 10000, /* after the spool refused (full disk) */
};

/* --- On a pool thread ----------------------------------------------------- */

struct original {
    struct spool_content *content;
    struct envelope envelope;
    struct arena *arena;
};

static bool
open_original(struct settlement *s, struct original *original)
{
    struct sv bytes;

    original->arena = &s->arena;
    original->content = spool_content_open(s->queue->spool, s->place, &s->err);
    if (original->content == NULL)
        return false;
    bytes = spool_content_envelope(original->content, &s->err);
    return bytes.n > 0 && envelope_decode(bytes, original->arena,
                                          &original->envelope, &s->err);
}

/* As much of the content as n bytes; less when the disk fails: a notification
 * without the original is better than none. */
static void
read_original(struct spool_content *content, uint64_t n, struct buf *out)
{
    uint64_t at = 0;

    while (at < n) {
        size_t want = n - at < 65536 ? (size_t)(n - at) : 65536;
        char *to = buf_reserve(out, want);
        struct err err;
        ssize_t got = spool_content_read_blocking(content, at, to, want, &err);

        if (got <= 0)
            return;
        buf_grew(out, (size_t)got);
        at += (uint64_t)got;
    }
}

static enum dsn_kind
kind_of(const struct settlement *s, const struct ledger_result *result)
{
    if (s->kind == SETTLE_WARN)
        return DSN_DELAY;
    return result->outcome == OUTCOME_RELAYED ? DSN_SUCCESS : DSN_FAILURE;
}

static const struct bounce_profile_settings *
profile_of(const struct settlement *s, const struct envelope_recipient *to)
{
    return settings_destination(s->settings, to->domain)->bounce_profile;
}

static void
add_original(const struct original *original, struct dsn *dsn,
             uint64_t max_copy, struct buf *text)
{
    const struct envelope *envelope = &original->envelope;
    uint64_t length = spool_content_length(original->content);
    uint64_t header = envelope->header_bytes;

    dsn->original_whole =
        dsn_wants_whole(envelope, dsn->kind, length, max_copy);
    if (header > length)
        header = length;
    read_original(original->content, dsn->original_whole ? length : header,
                  text);
    dsn->original = buf_view(text);
}

/* The recipients that want this kind of notification. */
static size_t
choose_recipients(const struct settlement *s, const struct original *original,
                  enum dsn_kind kind, struct dsn_recipient *chosen)
{
    const struct envelope *envelope = &original->envelope;
    size_t count = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct ledger_result *result = &s->results[i];
        const struct envelope_recipient *to;

        if (kind_of(s, result) != kind ||
            result->recipient >= envelope->recipient_count)
            continue;
        to = &envelope->recipients[result->recipient];
        if (!dsn_wanted(envelope, to, kind))
            continue;
        chosen[count++] = (struct dsn_recipient){
            .recipient = to,
            .result = result,
            .attempt = &s->attempt,
            .will_retry_until_s =
                (s->arrived_us +
                 (int64_t)profile_of(s, to)->max_time_in_queue * 1000) /
                1000000,
        };
    }
    return count;
}

/* To the sender, from nobody, never answered (RFC 3461 section 6).  What had to
 * be kept under TLS on its way here is kept so on its way back (RFC 8689
 * section 5); the other demands were about the way to the recipient. */
static bool
address_notice(struct settlement *s, const struct envelope *about,
               struct envelope *envelope)
{
    char domain[MAIL_DOMAIN_MAX + 1], id[SPOOL_ID_TEXT];
    struct envelope_recipient *to = arena_alloc(&s->arena, sizeof *to);
    struct mail_path path;

    if (!mail_mailbox_parse(about->sender, &path) || path.domain.n == 0 ||
        !mail_domain_canonical(path.domain, domain))
        return false;
    to->address = arena_copy(&s->arena, about->sender);
    to->domain = arena_copy(&s->arena, sv_of(domain));
    to->notify = NOTIFY_NEVER;
    *envelope = (struct envelope){
        .queue_id =
            arena_copy(&s->arena, sv_of(spool_make_id(s->queue->spool, id))),
        .tls_demands = about->tls_demands & ENVELOPE_REQUIRETLS,
        .recipients = to,
        .recipient_count = 1,
    };
    return true;
}

static bool
store_notice(struct settlement *s, struct dsn *dsn, struct buf *text)
{
    struct bounce_mail *mail = &s->mails[s->mail_count];
    struct envelope *envelope = &mail->envelope;
    struct sv whole;

    if (!address_notice(s, dsn->envelope, envelope)) {
        log_event(NULL, LOG_WARNING, "queue.no_return_address",
                  LOG_SV("queue", s->attempt.queue_id),
                  LOG_SV("from", dsn->envelope->sender));
        return true;
    }
    dsn->queue_id = envelope->queue_id;
    dsn_write(dsn, text);
    whole = buf_view(text);
    envelope->header_bytes = (uint32_t)mail_header_length(whole);
    for (size_t i = 0; i < whole.n; i++)
        if ((unsigned char)whole.p[i] > 0x7f) {
            envelope->eight_bit = true;
            envelope->smtputf8 = dsn->envelope->smtputf8;
            envelope->body = BODY_8BITMIME;
            break;
        }
    mail->facts = (struct message_facts){
        .arrived_us = dsn->wall_s * 1000000,
        .bytes = whole.n,
        .queue_id = envelope->queue_id,
    };
    if (!spool_ledger_message(s->queue->spool, envelope, NULL, whole,
                              &mail->facts.id, &mail->facts.place, &s->err))
        return false;
    s->mail_count++;
    return true;
}

static bool
make_notice(struct settlement *s, const struct original *original,
            enum dsn_kind kind)
{
    struct dsn_recipient *chosen =
        arena_alloc(&s->arena, s->count * sizeof *chosen);
    struct buf copy = {0}, text = {0};
    struct dsn dsn = {
        .kind = kind,
        .hostname = s->settings->hostname,
        .wall_s = clock_wall_s(),
        .envelope = &original->envelope,
        .arrived_s = s->arrived_us / 1000000,
        .recipients = chosen,
        .recipient_count = choose_recipients(s, original, kind, chosen),
    };
    bool ok = true;

    if (dsn.recipient_count > 0) {
        add_original(original, &dsn,
                     profile_of(s, chosen[0].recipient)->max_copy, &copy);
        ok = store_notice(s, &dsn, &text);
    }
    buf_fini(&copy);
    buf_fini(&text);
    return ok;
}

static void
bounce_run(struct pool_work *work)
{
    static const enum dsn_kind kinds[] = {DSN_FAILURE, DSN_SUCCESS, DSN_DELAY};
    struct settlement *s = CONTAINER_OF(work, struct settlement, work);
    struct original original = {0};

    s->failed = false;
    s->unreadable = !open_original(s, &original);
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (!s->unreadable && !s->failed && s->mail_count < COUNT_OF(s->mails))
            s->failed = !make_notice(s, &original, kinds[i]);
    if (original.content != NULL)
        spool_content_close(original.content);
}

/* --- On the main loop ----------------------------------------------------- */

static bool
got_through(const struct settlement *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->results[i].outcome != OUTCOME_RELAYED)
            return false;
    return true;
}

/* A failure that could not be told must not be final: the message is kept for
 * the administrator.  A delay or a success that cannot be told is only logged:
 * kept, what got through would be sent a second time. */
static void
keep_unreadable(struct queue *queue, struct settlement *s)
{
    log_event(NULL, LOG_ERROR, "queue.unreadable",
              LOG_SV("queue", s->attempt.queue_id),
              LOG_STR("error", s->err.text));
    if (s->kind == SETTLE_WARN) {
        settlement_free(s);
        return;
    }
    if (got_through(s)) {
        settle_finish(s);
        return;
    }
    message_hold(queue, s->message);
    for (size_t i = 0; i < s->count; i++)
        schedule_enter(queue, s->handles[i], RCPT_HELD, clock_mono_ms());
    queue_record_action(queue, s->message, ACTION_HOLD, "queue", s->call,
                        s->answer);
    s->answer = NULL;
    settlement_free(s);
}

static void
enter_notices(struct queue *queue, struct settlement *s)
{
    for (size_t i = 0; i < s->mail_count; i++) {
        struct bounce_mail *mail = &s->mails[i];

        message_add_envelope(queue, &mail->facts, &mail->envelope);
        segment_saw(queue, mail->facts.place);
        queue->changes++;
        log_event(NULL, LOG_INFO, "queue.notice",
                  LOG_SV("queue", s->attempt.queue_id),
                  LOG_SV("notice", mail->facts.queue_id),
                  LOG_SV("to", mail->envelope.recipients[0].address));
    }
    s->mail_count = 0;
}

static void
bounce_done(struct pool_work *work)
{
    struct settlement *s = CONTAINER_OF(work, struct settlement, work);
    struct queue *queue = s->queue;

    pthread_mutex_lock(&queue->lock);
    queue->bouncing--;
    enter_notices(queue, s);
    keep_floor_done(queue, &s->floor);
    if (s->failed) {
        log_event(NULL, LOG_ERROR, "queue.notice_failed",
                  LOG_SV("queue", s->attempt.queue_id),
                  LOG_STR("error", s->err.text));
        s->not_before = clock_mono_ms() + BOUNCE_AGAIN_MS;
        list_push_back(&queue->bounces, &s->link);
    } else if (s->unreadable) {
        keep_unreadable(queue, s);
    } else if (s->kind == SETTLE_WARN) {
        if (queue_find_id(queue, s->attempt.id) == s->message)
            queue_record_action(queue, s->message, ACTION_WARNED, "queue", NULL,
                                NULL);
        settlement_free(s);
    } else {
        settle_finish(s);
    }
    queue_kick(queue);
    pthread_mutex_unlock(&queue->lock);
}

void
bounce_enqueue(struct queue *queue, struct settlement *s)
{
    s->settings = settings_ref(queue->settings);
    s->work.run = bounce_run;
    s->work.done = bounce_done;
    list_push_back(&queue->bounces, &s->link);
    queue_kick(queue);
}

/* The first that may begin now; those that failed wait for their time. */
static struct settlement *
next_bounce(struct queue *queue)
{
    uint64_t now = clock_mono_ms();

    LIST_FOREACH (link, &queue->bounces) {
        struct settlement *s = CONTAINER_OF(link, struct settlement, link);

        if (s->not_before > now)
            continue;
        list_remove(&queue->bounces, link);
        return s;
    }
    return NULL;
}

void
bounce_start(struct queue *queue)
{
    for (;;) {
        struct settlement *s = NULL;

        pthread_mutex_lock(&queue->lock);
        if (queue->bouncing < BOUNCE_WORKERS)
            s = next_bounce(queue);
        if (s != NULL) {
            queue->bouncing++;
            keep_floor(queue, &s->floor);
        }
        pthread_mutex_unlock(&queue->lock);
        if (s == NULL)
            return;
        pool_begin(queue, &s->work);
    }
}
