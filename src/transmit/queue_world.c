#include "transmit/queue_world.h"
#include "mail/address.h"
#include "mail/header.h"
#include <ftw.h>
#include <unistd.h>

static void
die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    abort();
}

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void
world_init(struct world *world, const char *yaml)
{
    struct settings_options options = {.check_files = false, .revision = 1};
    const char *tmp = getenv("TMPDIR");
    struct err err;

    memset(world, 0, sizeof *world);
    list_init(&world->sessions);
    snprintf(world->dir, sizeof world->dir, "%s/waxgate-queue-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(world->dir) == NULL)
        abort();
    clock_freeze(1000000, 1800000000);
    world->settings = settings_load(sv_of(yaml), "test", &options, &err);
    if (world->settings == NULL)
        die("settings", &err);
    world->loop = loop_new(&err);
    if (world->loop == NULL)
        die("loop", &err);
}

void
world_fini(struct world *world)
{
    loop_free(world->loop);
    settings_unref(world->settings);
    nftw(world->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void
world_put_back(struct world *world, struct destination *destination)
{
    struct world_session *session = mem_alloc(sizeof *session);

    session->destination = destination;
    list_push_front(&world->sessions, &session->link);
}

static void
on_session_wanted(void *owner, struct destination *destination)
{
    struct world *world = owner;
    struct world_session *session = mem_alloc(sizeof *session);

    session->destination = destination;
    list_push_back(&world->sessions, &session->link);
    world->asked++;
}

void
world_open(struct world *world)
{
    struct queue_calls calls = {.on_session_wanted = on_session_wanted,
                                .owner = world};
    struct err err;

    world->intake =
        spool_open_intake(world->dir, &world->settings->spool, &err);
    if (world->intake == NULL)
        die("intake", &err);
    world->ledger =
        spool_open_ledger(world->dir, &world->settings->spool, &err);
    if (world->ledger == NULL)
        die("ledger", &err);
    world->queue =
        queue_open(world->ledger, world->loop, world->settings, &calls, &err);
    if (world->queue == NULL)
        die("queue", &err);
}

void
world_close(struct world *world)
{
    struct destination *left;

    queue_drain(world->queue, NULL, NULL);
    world_settle(world);
    while ((left = world_session(world)) != NULL)
        world_session_end(world, left, false);
    queue_close(world->queue);
    spool_close(world->ledger);
    spool_close(world->intake);
    world_pump(world, 1);
    world->queue = NULL;
}

/* --- The loop and the clocks ---------------------------------------------- */

struct stopper {
    struct timer timer;
};

static void
on_stop(struct timer *timer)
{
    loop_stop(timer->loop);
}

void
world_pump(struct world *world, unsigned ms)
{
    struct timer timer;

    timer_init(&timer, world->loop, on_stop);
    timer_arm(&timer, ms);
    loop_run(world->loop);
    timer_fini(&timer);
}

static bool
is_busy(struct world *world)
{
    struct queue *queue = world->queue;
    struct spool_status status;
    bool busy;

    spool_status_get(world->intake, &status);
    pthread_mutex_lock(&queue->lock);
    busy = queue->works_running > 0 || !list_empty(&queue->works) ||
           !list_empty(&queue->failing) || queue->poster->posted ||
           queue->tail_wanted || queue->count[RCPT_CLOSING] > 0;
    pthread_mutex_unlock(&queue->lock);
    pthread_mutex_lock(&queue->done_lock);
    busy = busy || queue->records > 0 || !list_empty(&queue->done);
    pthread_mutex_unlock(&queue->done_lock);
    return busy;
}

void
world_settle(struct world *world)
{
    queue_kick(world->queue);
    for (int i = 0, quiet = 0; i < 10000 && quiet < 3; i++) {
        world_pump(world, 1);
        quiet = is_busy(world) ? 0 : quiet + 1;
    }
}

void
world_advance(struct world *world, uint64_t ms)
{
    clock_advance_ms(ms);
    world_settle(world);
}

/* --- Mail ------------------------------------------------------------------
 */

struct acceptance {
    struct loop *loop;
    size_t left;
};

static void
on_room(void *owner)
{
    (void)owner;
}

static void
on_done(void *owner, const struct err *error)
{
    struct acceptance *acceptance = owner;

    if (error != NULL)
        die("commit", error);
    if (--acceptance->left == 0)
        loop_stop(acceptance->loop);
}

static void
commit(struct world *world, struct acceptance *acceptance,
       struct envelope *envelope, struct sv content)
{
    static const struct spool_draft_owner calls = {on_room, on_done};
    char id[SPOOL_ID_TEXT];
    struct spool_draft *draft =
        spool_draft_new(world->intake, world->loop, &calls, acceptance);

    envelope->queue_id = sv_of(spool_make_id(world->intake, id));
    envelope->header_bytes = (uint32_t)mail_header_length(content);
    (void)spool_draft_write(draft, content);
    spool_draft_commit(draft, envelope);
}

static const char small[] = "From: <ann@src.example>\r\nSubject: small\r\n"
                            "\r\nHello.\r\n";

void
world_accept(struct world *world, const struct world_message *message)
{
    struct envelope_recipient to[64];
    struct acceptance acceptance = {world->loop, 1};
    struct sv list = sv_of(message->recipients);
    struct envelope envelope = {
        .sender = sv_of(message->sender),
        .envid = sv_of(message->envid),
        .ret = message->ret,
        .tls_demands = message->demands,
        .client_address = SV("192.0.2.1"),
        .client_name = SV("client.example"),
        .session = SV("s1"),
        .listener = SV("Inbound"),
        .recipients = to,
    };

    while (list.n > 0) {
        struct sv address = sv_take_until(&list, ' ');

        to[envelope.recipient_count++] = (struct envelope_recipient){
            .address = address,
            .domain = sv_from(address, sv_last_index(address, '@') + 1),
            .notify = message->notify,
            .orcpt = sv_of(message->orcpt),
        };
    }
    commit(world, &acceptance, &envelope,
           sv_of(message->content != NULL ? message->content : small));
    loop_run(world->loop);
    if (world->queue != NULL)
        world_settle(world);
}

void
world_accept_many(struct world *world, size_t count, const char *domain)
{
    struct acceptance acceptance = {world->loop, count};

    for (size_t i = 0; i < count; i++) {
        char address[128];
        struct envelope_recipient to = {.domain = sv_of(domain)};
        struct envelope envelope = {.sender = SV("ann@src.example"),
                                    .recipients = &to,
                                    .recipient_count = 1};

        snprintf(address, sizeof address, "u%zu@%s", i, domain);
        to.address = sv_of(address);
        commit(world, &acceptance, &envelope, sv_of(small));
    }
    loop_run(world->loop);
    if (world->queue != NULL)
        world_settle(world);
}

/* --- Sessions ---------------------------------------------------------------
 */

struct destination *
world_session(struct world *world)
{
    struct link *link = list_pop_front(&world->sessions);
    struct world_session *session;
    struct destination *destination;

    if (link == NULL)
        return NULL;
    session = CONTAINER_OF(link, struct world_session, link);
    destination = session->destination;
    mem_free(session);
    return destination;
}

void
world_session_end(struct world *world, struct destination *destination,
                  bool worked)
{
    queue_session_ended(world->queue, destination, worked);
    world_settle(world);
}

bool
world_deliver(struct world *world, struct destination *destination,
              enum ledger_outcome outcome)
{
    struct parcel *parcel = queue_take(world->queue, destination, 100);

    if (parcel == NULL)
        return false;
    parcel->facts.host = SV("mx.example");
    parcel->facts.ip = SV("192.0.2.25");
    for (size_t i = 0; i < parcel->recipient_count; i++) {
        struct parcel_recipient *to = &parcel->recipients[i];

        to->decided = true;
        to->outcome = outcome;
        to->code = outcome == OUTCOME_FAILED     ? 550
                   : outcome == OUTCOME_DEFERRED ? 451
                                                 : 250;
        to->status.class = to->code / 100;
        to->status.detail = 1;
        to->text = SV("as told");
    }
    queue_done(world->queue, parcel);
    world_settle(world);
    return true;
}

/* --- Calls ------------------------------------------------------------------
 */

struct rpc_call {
    const char *method;
    json_t *params, *items, *result;
};

const char *
rpc_method(const struct rpc_call *call)
{
    return call->method;
}

const json_t *
rpc_params(const struct rpc_call *call)
{
    return call->params;
}

void
rpc_item(struct rpc_call *call, json_t *item)
{
    json_array_append_new(call->items, item);
}

size_t
rpc_pending(const struct rpc_call *call)
{
    return json_array_size(call->items) % 200 == 0 ? 1000000 : 0;
}

void
rpc_on_low(struct rpc_call *call, void (*on_low)(void *arg), void *arg)
{
    (void)call;
    on_low(arg);
}

bool
rpc_gone(const struct rpc_call *call)
{
    (void)call;
    return false;
}

void
rpc_result(struct rpc_call *call, json_t *result)
{
    call->result = result != NULL ? result : json_object();
}

void
rpc_error(struct rpc_call *call, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    call->result = json_pack("{s:s}", "error", text);
}

json_t *
world_call(struct world *world, const char *method, json_t *params,
           json_t **items)
{
    struct rpc_call call = {
        .method = method,
        .params = params != NULL ? params : json_object(),
        .items = json_array(),
    };

    queue_request(world->queue, &call);
    for (int i = 0; i < 10000 && call.result == NULL; i++)
        world_pump(world, 1);
    json_decref(call.params);
    if (items != NULL)
        *items = call.items;
    else
        json_decref(call.items);
    world_settle(world);
    return call.result;
}
