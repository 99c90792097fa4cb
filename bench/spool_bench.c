/* bench/spool_bench.c - how many messages a second the intake makes durable,
 * beside what bare fdatasync can do on the same disk.
 *
 *   spool_bench DIR [threads [messages [bytes [in_flight]]]]
 *
 * Every thread has an event loop's part: it keeps in_flight messages open and
 * begins the next when one is durable.  Afterwards the journal is read from
 * the start, as a sender does that begins without a checkpoint. */
#include "base/clock.h"
#include "spool/spool.h"
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { RAW_SYNCS = 2000, RAW_FILE = 8 << 20, PAGE = 4096 };

struct bench {
    struct spool *spool;
    size_t messages, bytes, in_flight; /* of one thread */
    char *text;
};

struct sender {
    const struct bench *bench;
    struct loop *loop;
    pthread_t thread;
    size_t begun, done;
};

static void
die(const char *what, const struct err *err)
{
    fprintf(stderr, "spool_bench: %s: %s\n", what, err->text);
    exit(1);
}

/* --- The disk alone ----------------------------------------------------- */

/* Syncs a second of one overwritten page. */
static double
raw_syncs(const char *dir)
{
    static char page[PAGE];
    char path[4096];
    uint64_t start;
    int fd;

    snprintf(path, sizeof path, "%s/raw", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (off_t at = 0; fd != -1 && at < RAW_FILE; at += PAGE)
        (void)!pwrite(fd, page, sizeof page, at);
    if (fd == -1 || fsync(fd) == -1) {
        perror(path);
        exit(1);
    }
    start = clock_mono_us();
    for (int i = 0; i < RAW_SYNCS; i++) {
        (void)!pwrite(fd, page, sizeof page, (off_t)i * PAGE % RAW_FILE);
        (void)!fdatasync(fd);
    }
    close(fd);
    unlink(path);
    return RAW_SYNCS * 1e6 / (double)(clock_mono_us() - start);
}

/* --- Writing ------------------------------------------------------------ */

static void
on_room(void *owner)
{
    (void)owner;
}

static void
on_done(void *owner, const struct err *error)
{
    struct sender *sender = owner;

    if (error != NULL)
        die("commit", error);
    sender->done++;
}

static void
begin_message(struct sender *sender)
{
    static const struct spool_draft_owner calls = {on_room, on_done};
    const struct bench *bench = sender->bench;
    struct spool_draft *draft =
        spool_draft_new(bench->spool, sender->loop, &calls, sender);
    struct envelope_recipient to = {SV("bob@example.org"), SV("example.org"),
                                    SV(""), 0};
    struct envelope envelope = {.sender = SV("ann@example.org"),
                                .recipients = &to};
    char id[SPOOL_ID_TEXT];

    envelope.queue_id = sv_of(spool_make_id(bench->spool, id));
    envelope.recipient_count = 1;
    (void)spool_draft_write(draft, (struct sv){bench->text, bench->bytes});
    spool_draft_commit(draft, &envelope);
    sender->begun++;
}

static void *
run_sender(void *arg)
{
    struct sender *sender = arg;
    const struct bench *bench = sender->bench;

    while (sender->done < bench->messages) {
        size_t before = sender->done;

        while (sender->begun < bench->messages &&
               sender->begun - sender->done < bench->in_flight)
            begin_message(sender);
        loop_advance(sender->loop, 0);
        if (sender->done == before)
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    return NULL;
}

static double
write_all(const struct bench *bench, struct sender *senders, size_t threads)
{
    uint64_t start = clock_mono_us();

    for (size_t i = 0; i < threads; i++) {
        senders[i] = (struct sender){.bench = bench,
                                     .loop = loop_new_manual(0, 1700000000)};
        if (pthread_create(&senders[i].thread, NULL, run_sender, &senders[i]) !=
            0)
            exit(1);
    }
    for (size_t i = 0; i < threads; i++)
        pthread_join(senders[i].thread, NULL);
    return (double)(bench->messages * threads) * 1e6 /
           (double)(clock_mono_us() - start);
}

/* --- Reading ------------------------------------------------------------ */

static void
read_all(const char *dir)
{
    struct err err = {0};
    uint64_t start = clock_mono_us();
    struct spool *spool = spool_open_reader(dir, &err);
    struct spool_reader *reader =
        spool == NULL ? NULL : spool_reader_new(spool, SPOOL_INTAKE, 0, &err);
    struct spool_record record;
    size_t count = 0;

    if (reader == NULL)
        die("read", &err);
    while (spool_reader_next(reader, &record, &err) == SPOOL_RECORD)
        count++;
    printf("start: %zu records scanned in %.3f s\n", count,
           (double)(clock_mono_us() - start) / 1e6);
    spool_reader_free(reader);
    spool_close(spool);
}

static size_t
argument(int argc, char **argv, int i, size_t dflt)
{
    return i < argc ? strtoul(argv[i], NULL, 10) : dflt;
}

int
main(int argc, char **argv)
{
    size_t threads = argument(argc, argv, 2, 2);
    struct bench bench = {
        .messages = argument(argc, argv, 3, 100000) / threads,
        .bytes = argument(argc, argv, 4, 4096),
        .in_flight = argument(argc, argv, 5, 64),
    };
    struct spool_settings limits = {
        .segment_size = 64 << 20,
        .inline_limit = 1 << 20,
        .memory_limit = 256 << 20,
        .spare_segments = 4,
    };
    struct err err = {0};
    struct spool_status status;
    struct sender *senders = mem_alloc_array(threads, sizeof *senders);

    if (argc < 2) {
        fprintf(stderr, "usage: spool_bench DIR [threads [messages [bytes "
                        "[in_flight]]]]\n");
        return 2;
    }
    double syncs = raw_syncs(argv[1]);
    bench.text = mem_alloc(bench.bytes);
    bench.spool = spool_open_intake(argv[1], &limits, &err);
    if (bench.spool == NULL)
        die("open", &err);
    double rate = write_all(&bench, senders, threads);
    spool_status_get(bench.spool, &status);
    printf("disk:  %.0f syncs a second\n", syncs);
    printf("spool: %.0f messages of %zu bytes a second, %.1f to a sync, "
           "%.1f times the bare syncs\n",
           rate, bench.bytes, (double)status.commits / (double)status.batches,
           rate / syncs);
    spool_close(bench.spool);
    for (size_t i = 0; i < threads; i++)
        loop_free(senders[i].loop);
    mem_free(senders);
    mem_free(bench.text);
    read_all(argv[1]);
    return 0;
}
