/* What the spool's tests share: a directory of their own, waiting for the
 * writer thread, messages with known content.  Manual loops, so that calls
 * come only from wait_until(). */
#ifndef SPOOL_TEST_SUPPORT_H
#define SPOOL_TEST_SUPPORT_H
#include "spool/spool.h"
#include "unit.h"
#include <ftw.h>
#include <time.h>
#include <unistd.h>

static const struct spool_settings small_limits = {
    .segment_size = 1 << 20,
    .inline_limit = 64 << 10,
    .memory_limit = 64 << 20,
    .spare_segments = 1,
};

static char test_dir[64];
static const char *test_root = "/tmp";

static inline const char *
make_dir(void)
{
    snprintf(test_dir, sizeof test_dir, "%s/test-spool-XXXXXX", test_root);
    assert_non_null(mkdtemp(test_dir));
    return test_dir;
}

static inline int
remove_entry(const char *path, const struct stat *st, int type,
             struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void
remove_dir(void)
{
    nftw(test_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void
nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

/* Runs the loop until *flag is at least wanted; 20 seconds at most. */
static inline void
wait_until(struct loop *loop, const size_t *flag, size_t wanted)
{
    for (int i = 0; i < 100000 && *flag < wanted; i++) {
        loop_advance(loop, 0);
        if (*flag < wanted)
            nap();
    }
    assert_true(*flag >= wanted);
}

struct outcome {
    size_t done, failed, rooms;
    char reason[512];
};

static inline void
count_room(void *owner)
{
    ((struct outcome *)owner)->rooms++;
}

static inline void
count_done(void *owner, const struct err *error)
{
    struct outcome *outcome = owner;

    outcome->done++;
    if (error != NULL) {
        outcome->failed++;
        snprintf(outcome->reason, sizeof outcome->reason, "%s", error->text);
    }
}

static const struct spool_draft_owner counting = {count_room, count_done};

/* Byte i of the content with this seed. */
static inline char
pattern(unsigned seed, uint64_t i)
{
    return (char)((seed * 131 + i * 7 + (i >> 8)) & 0xff);
}

static inline void
write_pattern(struct spool_draft *draft, struct loop *loop, unsigned seed,
              uint64_t length, struct outcome *outcome)
{
    char piece[8192];

    for (uint64_t at = 0; at < length;) {
        size_t n =
            length - at < sizeof piece ? (size_t)(length - at) : sizeof piece;
        size_t rooms = outcome->rooms;

        for (size_t i = 0; i < n; i++)
            piece[i] = pattern(seed, at + i);
        if (spool_draft_write(draft, (struct sv){piece, n}) == SPOOL_WAIT)
            wait_until(loop, &outcome->rooms, rooms + 1);
        at += n;
    }
}

static inline struct spool_draft *
make_draft(struct spool *spool, struct loop *loop, unsigned seed,
           uint64_t length, struct outcome *outcome)
{
    struct spool_draft *draft =
        spool_draft_new(spool, loop, &counting, outcome);

    write_pattern(draft, loop, seed, length, outcome);
    assert_int_equal(spool_draft_length(draft), length);
    return draft;
}

static inline void
commit_draft(struct spool_draft *draft, unsigned seed)
{
    char name[32];
    struct envelope_recipient to = {.address = SV("bob@example.org"),
                                    .domain = SV("example.org")};
    struct envelope envelope = {
        .sender = SV("ann@example.org"),
        .recipients = &to,
        .recipient_count = 1,
    };

    snprintf(name, sizeof name, "Q%u", seed);
    envelope.queue_id = sv_of(name);
    spool_draft_commit(draft, &envelope);
}

/* One message, durable on return. */
static inline void
store(struct spool *spool, struct loop *loop, unsigned seed, uint64_t length)
{
    struct outcome outcome = {0};

    commit_draft(make_draft(spool, loop, seed, length, &outcome), seed);
    wait_until(loop, &outcome.done, 1);
    assert_int_equal(outcome.failed, 0);
}

static inline unsigned
seed_of(struct sv encoded_envelope)
{
    struct arena arena;
    struct envelope envelope;
    struct err err = {0};
    uint32_t seed;

    arena_init(&arena, 4096);
    assert_true(envelope_decode(encoded_envelope, &arena, &envelope, &err));
    assert_true(sv_take_char(&envelope.queue_id, 'Q'));
    assert_true(sv_to_u32(envelope.queue_id, &seed));
    arena_fini(&arena);
    return seed;
}

struct fetched {
    size_t done;
    ssize_t got;
};

static inline void
note_fetch(void *arg, ssize_t got, const struct err *err)
{
    struct fetched *fetched = arg;

    assert_true((got == -1) == (err != NULL));
    fetched->got = got;
    fetched->done++;
}

/* Reads all of it, as a delivery would; -1 where that fails. */
static inline ssize_t
check_content(struct spool *spool, struct loop *loop, struct spool_place place,
              unsigned seed)
{
    struct err err = {0};
    struct spool_content *content = spool_content_open(spool, place, &err);
    char piece[5000];
    uint64_t at = 0;
    ssize_t got;

    if (content == NULL)
        return -1;
    assert_int_equal(seed_of(spool_content_envelope(content, &err)), seed);
    for (;;) {
        got = spool_content_read(content, at, piece, sizeof piece, &err);
        if (got == SPOOL_BLOCKED) {
            struct fetched fetched = {0};

            spool_content_fetch(content, loop, at, piece, sizeof piece,
                                note_fetch, &fetched);
            wait_until(loop, &fetched.done, 1);
            got = fetched.got;
        }
        if (got <= 0)
            break;
        for (ssize_t i = 0; i < got; i++)
            assert_int_equal(piece[i], pattern(seed, at + (uint64_t)i));
        at += (uint64_t)got;
    }
    if (got == 0)
        assert_int_equal(at, spool_content_length(content));
    spool_content_close(content);
    return got;
}

static inline struct spool *
open_intake(const struct spool_settings *limits)
{
    struct err err = {0};
    struct spool *spool = spool_open_intake(test_dir, limits, &err);

    if (spool == NULL)
        print_error("%s\n", err.text);
    assert_non_null(spool);
    return spool;
}

static inline struct spool *
open_reader(void)
{
    struct err err = {0};
    struct spool *spool = spool_open_reader(test_dir, &err);

    assert_non_null(spool);
    return spool;
}

/* What a reader finds from the beginning to the end. */
struct found {
    size_t records, damaged;
    uint64_t last_sequence;
    unsigned seeds[4096];
    struct spool_place places[4096];
};

static inline void
read_all(struct spool *spool, enum spool_journal journal, uint64_t from,
         struct found *found)
{
    struct err err = {0};
    struct spool_reader *reader = spool_reader_new(spool, journal, from, &err);
    struct spool_record record;
    enum spool_read result;

    *found = (struct found){0};
    while ((result = spool_reader_next(reader, &record, &err)) != SPOOL_END) {
        assert_int_not_equal(result, SPOOL_FAILED);
        if (result == SPOOL_DAMAGED) {
            found->damaged++;
            continue;
        }
        assert_true(record.sequence > found->last_sequence);
        found->last_sequence = record.sequence;
        assert_true(found->records < COUNT_OF(found->seeds));
        found->places[found->records] = record.place;
        if (record.type == SPOOL_MESSAGE)
            found->seeds[found->records] = seed_of(record.head);
        found->records++;
    }
    spool_reader_free(reader);
}
#endif
