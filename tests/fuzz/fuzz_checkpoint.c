/* The snapshot of the queue: any bytes are refused or give a queue that can be
 * written again and read back as the same bytes. */
#include "transmit/queue_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char yaml[] =
    "hostname: gw.example\n"
    "state_dir: state\n"
    "listeners:\n"
    "  Relay: {type: private, address: \"127.0.0.1:2587\",\n"
    "          relay_for: [127.0.0.0/8]}\n"
    "routes: {.routed.example: \"127.0.0.1:2526\"}\n";

static struct settings *settings;
static struct loop *loop;

static void
start(void)
{
    struct settings_options options = {.check_files = false};
    struct err err;

    settings = settings_load(sv_of(yaml), "fuzz", &options, &err);
    assert(settings != NULL);
    clock_freeze(1000000, 1800000000);
    loop = loop_new_manual(1000000, 1800000000);
}

static struct queue *
new_queue(void)
{
    struct queue_calls calls = {0};
    struct queue *queue = queue_new(NULL, loop, settings, &calls);

    queue->closing = true; /* its turns on the loop do nothing */
    return queue;
}

static void
drop_queue(struct queue *queue)
{
    queue_free(queue);
    loop_advance(loop, 0);
}

/* Numbers of domains and reasons may differ from the first writing, sizes and
 * counts may not: a third generation equals the second. */
static void
check_again(struct queue *queue)
{
    struct buf first = {0}, second = {0};
    struct queue *again = new_queue();
    struct err err;
    bool ok;

    checkpoint_encode(queue, clock_wall_us(), &first);
    ok = checkpoint_decode(again, buf_view(&first), clock_wall_us(), &err);
    assert(ok);
    checkpoint_encode(again, clock_wall_us(), &second);
    assert(buf_length(&first) == buf_length(&second));
    assert(again->messages.count == queue->messages.count);
    assert(again->recipients.count == queue->recipients.count);
    buf_fini(&first);
    buf_fini(&second);
    drop_queue(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv bytes = {(const char *)data, size};
    struct queue *queue;
    struct reason reason;
    struct err err;

    if (settings == NULL)
        start();
    if (reason_parse(bytes, &reason))
        assert(reason.text.n <= size);
    queue = new_queue();
    if (checkpoint_decode(queue, bytes, clock_wall_us(), &err))
        check_again(queue);
    drop_queue(queue);
    return 0;
}
