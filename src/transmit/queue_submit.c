/* Mail of our own: a file in STATE_DIR/outbox becomes a message in the ledger.
 *
 * Beside the file NAME stands a link, whose target is the queue id:
 *
 *   .NAME.taking   the message may be in the ledger, or not
 *   .NAME.taken    it is
 *
 * so that whoever did not hear the answer asks again and gets the same one,
 * also after a crash of either side.  The link goes when the file is gone: who
 * removes the file says that he knows.  A crash between the two links leaves
 * the question to the queue, which has read the ledger by then; only a message
 * that was delivered in the same moment goes out a second time. */
#include "mail/address.h"
#include "mail/header.h"
#include "transmit/queue_internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME_OCTETS = 128,
    LINK_NAME = NAME_OCTETS + 16,
    SUBMIT_BYTES = 64 << 20,
    RECIPIENTS_MAX = 100,
};

struct submission {
    struct pool_work work;
    struct queue *queue;
    struct settings *settings; /* referenced */
    struct rpc_call *call;
    struct arena arena;
    const char *file; /* in the arena */
    struct envelope envelope;
    char queue_id[SPOOL_ID_TEXT];
    struct message_facts facts;
    struct floor floor;
    int outbox;  /* its folder; -1: not open */
    bool stored; /* in the ledger by this call, not by an earlier one */
    bool failed;
    struct err err;
};

/* One at a time: two calls for the same file would not see each other. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* --- The links ------------------------------------------------------------ */

static const char *
link_name(const struct submission *s, const char *state, char *out)
{
    snprintf(out, LINK_NAME, ".%s.%s", s->file, state);
    return out;
}

static bool
read_link(struct submission *s, const char *state)
{
    char name[LINK_NAME];
    ssize_t n = readlinkat(s->outbox, link_name(s, state, name), s->queue_id,
                           sizeof s->queue_id - 1);

    s->queue_id[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool
write_link(struct submission *s)
{
    char name[LINK_NAME];

    link_name(s, "taking", name);
    if (symlinkat(s->queue_id, s->outbox, name) != 0 || fsync(s->outbox) != 0) {
        err_sys(&s->err, "outbox: %s", name);
        return false;
    }
    return true;
}

static void
confirm_link(struct submission *s)
{
    char from[LINK_NAME], to[LINK_NAME];

    (void)renameat(s->outbox, link_name(s, "taking", from), s->outbox,
                   link_name(s, "taken", to));
}

/* ".NAME.taken" of a file that is gone. */
static bool
is_left_over(const struct submission *s, const char *entry)
{
    struct sv name = sv_of(entry);
    struct stat status;
    char file[NAME_OCTETS + 1];

    if (!sv_take_char(&name, '.') || name.n == 0 || name.p[0] == '.')
        return false;
    if (sv_ends_nocase(name, SV(".taken")))
        name.n -= strlen(".taken");
    else if (sv_ends_nocase(name, SV(".taking")))
        name.n -= strlen(".taking");
    else
        return false;
    return sv_to_cstr(name, file, sizeof file) &&
           fstatat(s->outbox, file, &status, AT_SYMLINK_NOFOLLOW) != 0 &&
           errno == ENOENT;
}

static void
sweep(struct submission *s)
{
    int fd = openat(s->outbox, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        if (is_left_over(s, entry->d_name))
            (void)unlinkat(s->outbox, entry->d_name, 0);
    closedir(dir);
}

/* --- The message, on a pool thread ---------------------------------------- */

static bool
open_outbox(struct submission *s)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/outbox", s->settings->state_dir);
    s->outbox = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->outbox < 0)
        err_sys(&s->err, "%s", path);
    return s->outbox >= 0;
}

/* Whole, into *out. */
static bool
read_file(struct submission *s, int fd, struct buf *out)
{
    struct stat status;
    ssize_t got = 1;

    if (fstat(fd, &status) != 0) {
        err_sys(&s->err, "%s", s->file);
        return false;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > SUBMIT_BYTES) {
        err_set(&s->err, "%s: not a file of at most 64 MiB", s->file);
        return false;
    }
    while (got > 0 && buf_length(out) <= SUBMIT_BYTES) {
        char *to = buf_reserve(out, 65536);

        got = read(fd, to, 65536);
        if (got > 0)
            buf_grew(out, (size_t)got);
    }
    if (got < 0)
        err_sys(&s->err, "%s", s->file);
    else if (got > 0)
        err_set(&s->err, "%s: more than 64 MiB", s->file);
    return got == 0;
}

static bool
load_file(struct submission *s, struct buf *out)
{
    int fd = openat(s->outbox, s->file,
                    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    bool ok;

    if (fd < 0) {
        err_sys(&s->err, "%s", s->file);
        return false;
    }
    ok = read_file(s, fd, out);
    close(fd);
    return ok;
}

/* What the spool holds ends its lines in CR LF. */
static bool
has_clean_lines(struct sv text)
{
    bool cr = false;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '\0' || cr != (c == '\n'))
            return false;
        cr = c == '\r';
    }
    return !cr;
}

static bool
has_high_bytes(struct sv text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] > 0x7f)
            return true;
    return false;
}

static bool
needs_utf8(const struct envelope *envelope)
{
    if (has_high_bytes(envelope->sender))
        return true;
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (has_high_bytes(envelope->recipients[i].address))
            return true;
    return false;
}

static bool
describe(struct submission *s, struct sv text)
{
    struct envelope *envelope = &s->envelope;
    struct sv header = text;
    struct mail_counter counter;
    struct mail_field field;

    if (!mail_field_next(&header, &field) || !has_clean_lines(text)) {
        err_set(&s->err, "%s: not a message with CR LF line ends", s->file);
        return false;
    }
    mail_counter_init(&counter);
    mail_counter_feed(&counter, text);
    envelope->header_bytes = (uint32_t)counter.header_bytes;
    envelope->eight_bit = counter.eight_bit;
    envelope->header_utf8 = counter.header_utf8;
    envelope->body = counter.eight_bit ? BODY_8BITMIME : BODY_7BIT;
    envelope->smtputf8 = counter.header_utf8 || needs_utf8(envelope);
    return true;
}

static bool
store(struct submission *s, struct sv text)
{
    if (!describe(s, text))
        return false;
    if (s->queue_id[0] == '\0') {
        spool_make_id(s->queue->spool, s->queue_id);
        if (!write_link(s))
            return false;
    }
    s->envelope.queue_id = sv_of(s->queue_id);
    s->facts = (struct message_facts){
        .arrived_us = clock_wall_us(),
        .bytes = text.n,
        .queue_id = s->envelope.queue_id,
    };
    s->stored = spool_ledger_message(s->queue->spool, &s->envelope, NULL, text,
                                     &s->facts.id, &s->facts.place, &s->err);
    return s->stored;
}

static bool
is_queued(struct queue *queue, const char *queue_id)
{
    bool found;

    pthread_mutex_lock(&queue->lock);
    found = queue_find_text(queue, sv_of(queue_id)) != 0;
    pthread_mutex_unlock(&queue->lock);
    return found;
}

static bool
take_file(struct submission *s)
{
    struct buf text = {0};
    bool ok;

    if (!open_outbox(s))
        return false;
    sweep(s);
    if (read_link(s, "taken"))
        return true;
    if (read_link(s, "taking") && is_queued(s->queue, s->queue_id)) {
        confirm_link(s);
        return true;
    }
    ok = load_file(s, &text) && store(s, buf_view(&text));
    buf_fini(&text);
    if (ok)
        confirm_link(s);
    return ok;
}

static void
submit_run(struct pool_work *work)
{
    struct submission *s = CONTAINER_OF(work, struct submission, work);

    pthread_mutex_lock(&turn);
    s->failed = !take_file(s);
    pthread_mutex_unlock(&turn);
    if (s->outbox >= 0)
        close(s->outbox);
}

/* --- On the main loop ----------------------------------------------------- */

static void
submission_free(struct submission *s)
{
    settings_unref(s->settings);
    arena_fini(&s->arena);
    mem_free(s);
}

static void
log_submission(const struct submission *s)
{
    const struct envelope *envelope = &s->envelope;
    char demands[ENVELOPE_TLS_TEXT];

    log_event(NULL, LOG_INFO, "queue.submit", LOG_STR("queue", s->queue_id),
              LOG_STR("file", s->file), LOG_SV("from", envelope->sender),
              LOG_SV("to", envelope->recipients[0].address),
              LOG_U64("rcpts", envelope->recipient_count),
              LOG_U64("size", s->facts.bytes),
              LOG_IF(envelope->tls_demands != 0,
                     LOG_STR("demands", envelope_tls_text(envelope->tls_demands,
                                                          demands))));
}

static void
enter(struct queue *queue, struct submission *s)
{
    message_add_envelope(queue, &s->facts, &s->envelope);
    segment_saw(queue, s->facts.place);
    queue->changes++;
    log_submission(s);
}

static void
submit_done(struct pool_work *work)
{
    struct submission *s = CONTAINER_OF(work, struct submission, work);
    struct queue *queue = s->queue;

    pthread_mutex_lock(&queue->lock);
    if (s->stored)
        enter(queue, s);
    keep_floor_done(queue, &s->floor);
    queue_kick(queue);
    pthread_mutex_unlock(&queue->lock);
    if (s->failed)
        rpc_error(s->call, "%s", s->err.text);
    else
        rpc_result(s->call, json_pack("{s:s}", "queue_id", s->queue_id));
    submission_free(s);
}

/* --- The call ------------------------------------------------------------- */

/* A plain name, so that nothing outside of the folder can be meant, and none
 * of our links. */
static bool
is_plain_name(struct sv name)
{
    if (name.n == 0 || name.n > NAME_OCTETS || name.p[0] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!char_is_alnum(name.p[i]) && name.p[i] != '.' && name.p[i] != '-' &&
            name.p[i] != '_')
            return false;
    return true;
}

static struct sv
text_of(const json_t *json)
{
    return json_is_string(json)
               ? (struct sv){json_string_value(json), json_string_length(json)}
               : (struct sv){0};
}

static bool
take_address(struct submission *s, struct sv text,
             struct envelope_recipient *to)
{
    char domain[MAIL_DOMAIN_MAX + 1];
    struct mail_path path;

    if (!mail_mailbox_parse(text, &path) || path.domain.n == 0 ||
        !mail_domain_canonical(path.domain, domain)) {
        err_set(&s->err, "\"%.*s\" is no address", SV_ARG(text));
        return false;
    }
    *to = (struct envelope_recipient){
        .address = arena_copy(&s->arena, text),
        .domain = arena_copy(&s->arena, sv_of(domain)),
    };
    return true;
}

static bool
take_recipients(struct submission *s, const json_t *list)
{
    size_t count = json_array_size(list);
    struct envelope_recipient *to;

    if (count == 0 || count > RECIPIENTS_MAX) {
        err_set(&s->err, "recipients: 1 to %d are needed", RECIPIENTS_MAX);
        return false;
    }
    to = arena_alloc(&s->arena, count * sizeof *to);
    for (size_t i = 0; i < count; i++) {
        if (!take_address(s, text_of(json_array_get(list, i)), &to[i]))
            return false;
        if (s->envelope.sender.n == 0)
            to[i].notify = NOTIFY_NEVER; /* there is nobody to tell */
    }
    s->envelope.recipients = to;
    s->envelope.recipient_count = count;
    return true;
}

static bool
take_demands(struct submission *s, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct sv name = text_of(json_array_get(list, i));

        if (!envelope_tls_add(name, &s->envelope.tls_demands)) {
            err_set(&s->err, "demands: there is no \"%.*s\"", SV_ARG(name));
            return false;
        }
    }
    return true;
}

static bool
take_sender(struct submission *s, struct sv text)
{
    struct envelope_recipient sender = {0};

    if (text.n > 0 && !take_address(s, text, &sender))
        return false;
    s->envelope.sender = sender.address;
    return true;
}

static bool
take_params(struct submission *s, const json_t *params)
{
    struct sv file = text_of(json_object_get(params, "file"));

    if (!is_plain_name(file)) {
        err_set(&s->err, "file: a plain name in the outbox is needed");
        return false;
    }
    s->file = arena_cstr(&s->arena, file);
    return take_sender(s, text_of(json_object_get(params, "sender"))) &&
           take_recipients(s, json_object_get(params, "recipients")) &&
           take_demands(s, json_object_get(params, "demands"));
}

void
submit_begin(struct queue *queue, struct rpc_call *call)
{
    struct submission *s = mem_alloc(sizeof *s);

    s->queue = queue;
    s->call = call;
    s->outbox = -1;
    s->work.run = submit_run;
    s->work.done = submit_done;
    arena_init(&s->arena, 1024);
    pthread_mutex_lock(&queue->lock);
    s->settings = settings_ref(queue->settings);
    pthread_mutex_unlock(&queue->lock);
    if (!take_params(s, rpc_params(call))) {
        rpc_error(call, "%s", s->err.text);
        submission_free(s);
        return;
    }
    pthread_mutex_lock(&queue->lock);
    keep_floor(queue, &s->floor);
    pthread_mutex_unlock(&queue->lock);
    pool_begin(queue, &s->work);
}
