/* What the sender writes: records without content, and messages of its own. */
#include "base/crc32c.h"
#include "spool/body.h"
#include "spool/content.h"
#include "spool/journal.h"
#include "spool/segment.h"
#include <errno.h>
#include <unistd.h>

enum { COPY_PIECE = 64 << 10 };

/* --- Records ------------------------------------------------------------ */

struct append {
    struct journal_entry entry;
    void (*on_durable)(void *arg, struct spool_place place,
                       const struct err *error);
    void *arg;
    char payload[];
};

static void
append_written(struct journal_entry *entry, const struct err *error)
{
    struct append *append = CONTAINER_OF(entry, struct append, entry);

    if (append->on_durable != NULL)
        append->on_durable(append->arg, entry->place, error);
    mem_free(append);
}

void
spool_ledger_append(struct spool *spool, enum spool_record_type type,
                    struct sv payload,
                    void (*on_durable)(void *arg, struct spool_place place,
                                       const struct err *error),
                    void *arg)
{
    struct append *append = mem_alloc_raw(sizeof *append + payload.n);

    assert(spool_has_writer(spool, SPOOL_LEDGER));
    assert(type != SPOOL_MESSAGE && payload.n <= RECORD_HEAD_MAX);
    *append = (struct append){
        .entry.record.type = type,
        .entry.on_written = append_written,
        .on_durable = on_durable,
        .arg = arg,
    };
    if (payload.n > 0)
        memcpy(append->payload, payload.p, payload.n);
    append->entry.head = (struct sv){append->payload, payload.n};
    journal_append(spool->journal, &append->entry);
}

bool
spool_ledger_sync(struct spool *spool, struct err *err)
{
    assert(spool_has_writer(spool, SPOOL_LEDGER));
    return journal_wait(spool->journal, err);
}

/* --- Messages ----------------------------------------------------------- */

struct message {
    struct journal_entry entry;
    struct spool *spool;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done, failed;
    struct err *err; /* the caller's, may be NULL */
};

static void
message_written(struct journal_entry *entry, const struct err *error)
{
    struct message *message = CONTAINER_OF(entry, struct message, entry);

    pthread_mutex_lock(&message->lock);
    message->is_done = true;
    message->failed = error != NULL;
    if (error != NULL && message->err != NULL)
        *message->err = *error;
    pthread_cond_signal(&message->done);
    pthread_mutex_unlock(&message->lock);
}

static bool
wait_written(struct message *message)
{
    pthread_mutex_init(&message->lock, NULL);
    pthread_cond_init(&message->done, NULL);
    journal_append(message->spool->journal, &message->entry);
    pthread_mutex_lock(&message->lock);
    while (!message->is_done)
        pthread_cond_wait(&message->done, &message->lock);
    pthread_mutex_unlock(&message->lock);
    pthread_mutex_destroy(&message->lock);
    pthread_cond_destroy(&message->done);
    return !message->failed;
}

/* A body that has a file already gets a second name: nothing is copied. */
static bool
link_body(struct message *message, const struct spool_content *content,
          struct err *err)
{
    struct spool_place place = content_place(content);
    const struct record *from = content_record(content);
    struct record *record = &message->entry.record;
    char old_name[BODY_NAME];
    char new_name[BODY_NAME];

    record->body = body_number_new();
    record->content_length = from->content_length;
    record->content_crc = from->content_crc;
    body_name(spool_place_segment(place), from->body, old_name);
    body_name(0, record->body, new_name);
    if (linkat(message->spool->body_dir[spool_place_journal(place)], old_name,
               message->spool->body_dir[SPOOL_LEDGER], new_name, 0) == 0)
        return true;
    err_sys(err, "link body file %s", old_name);
    return false;
}

static bool
read_content(struct message *message, struct spool_content *content,
             struct err *err)
{
    struct record *record = &message->entry.record;
    struct block_pool *pool = &message->spool->blocks;
    char *piece = mem_alloc_raw(COPY_PIECE);
    uint64_t at = 0;
    ssize_t got;

    while ((got = spool_content_read_blocking(content, at, piece, COPY_PIECE,
                                              err)) > 0) {
        block_chain_add(pool, &message->entry.content,
                        (struct sv){piece, (size_t)got});
        at += (uint64_t)got;
    }
    mem_free(piece);
    record->content_length = at;
    record->content_crc = content_record(content)->content_crc;
    return got == 0;
}

/* A text that is too long to lie in line. */
static bool
write_body(struct message *message, struct sv text, struct err *err)
{
    struct record *record = &message->entry.record;
    char name[BODY_NAME];
    bool ok;
    int fd;

    record->body = body_number_new();
    fd = body_create(message->spool, SPOOL_LEDGER, record->body, err);
    if (fd == -1)
        return false;
    ok = write_fully(fd, text.p, text.n, 0) && fdatasync(fd) == 0;
    if (!ok) {
        err_sys(err, "write body file");
        unlinkat(message->spool->body_dir[SPOOL_LEDGER],
                 body_name(0, record->body, name), 0);
    }
    close(fd);
    return ok;
}

static bool
take_text(struct message *message, struct sv text, struct err *err)
{
    struct record *record = &message->entry.record;

    record->content_length = text.n;
    record->content_crc = crc32c(0, text.p, text.n);
    if (text.n > message->spool->limits.inline_limit)
        return write_body(message, text, err);
    message->entry.text = text;
    return true;
}

static bool
take_content(struct message *message, struct spool_content *content,
             struct sv text, struct err *err)
{
    if (content == NULL)
        return take_text(message, text, err);
    if (content_record(content)->body != 0)
        return link_body(message, content, err);
    return read_content(message, content, err);
}

bool
spool_ledger_message(struct spool *spool, const struct envelope *envelope,
                     struct spool_content *content, struct sv text,
                     spool_message_id *id, struct spool_place *place,
                     struct err *err)
{
    struct message message = {
        .spool = spool,
        .err = err,
        .entry.record = {.type = SPOOL_MESSAGE, .id = *id},
        .entry.on_written = message_written,
    };
    struct buf head = {0};
    bool ok;

    assert(spool_has_writer(spool, SPOOL_LEDGER));
    envelope_encode(envelope, &head);
    message.entry.head = buf_view(&head);
    ok = take_content(&message, content, text, err) && wait_written(&message);
    if (ok) {
        *id = message.entry.record.id;
        *place = message.entry.place;
    } else {
        err_wrap(err, "write message to the ledger");
    }
    block_chain_release(&spool->blocks, &message.entry.content);
    buf_fini(&head);
    return ok;
}
