/* A server against the SMTP client: what it says is the input, on a connection
 * in memory.  The first byte chooses what the client needs (TLS or not) and the
 * size of the pieces; then 0x01 ends the handshake, 0x02 closes, 0x03 lets a
 * minute pass, everything else is sent.
 *
 * Whatever the server does, each parcel comes back exactly once, and the client
 * is over when the time is. */
#include "base/buf.h"
#include "net/loop.h"
#include "transmit/client_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- A message in memory, in place of the spool's ------------------------- */

static const char content[] = "Subject: x\r\n\r\n.dots\r\nand lines\r\n";

struct spool_content {
    int unused;
};

uint64_t
spool_content_length(const struct spool_content *self)
{
    (void)self;
    return sizeof content - 1;
}

ssize_t
spool_content_read(struct spool_content *self, uint64_t offset, char *dst,
                   size_t n, struct err *err)
{
    size_t left = sizeof content - 1 - (size_t)offset;

    (void)self;
    (void)err;
    if (n > left)
        n = left;
    memcpy(dst, content + offset, n);
    return (ssize_t)n;
}

void
spool_content_fetch(struct spool_content *self, struct loop *loop,
                    uint64_t offset, char *dst, size_t n,
                    void (*on_read)(void *arg, ssize_t got,
                                    const struct err *err),
                    void *arg)
{
    (void)self;
    (void)loop;
    (void)offset;
    (void)dst;
    (void)n;
    (void)on_read;
    (void)arg;
    abort(); /* everything is in memory */
}

/* --- The owner ------------------------------------------------------------ */

enum { PARCELS = 3 };

struct owner {
    struct client *client;
    struct spool_content body;
    struct envelope_recipient to[2];
    struct parcel_recipient recipients[PARCELS][2];
    struct parcel parcels[PARCELS];
    int given, back;
    bool lost;
};

static void
make_parcel(struct owner *owner, int i)
{
    struct parcel *parcel = &owner->parcels[i];

    arena_init(&parcel->arena, 1024);
    parcel->envelope = (struct envelope){.queue_id = SV("B1"),
                                         .sender = SV("a@x.test"),
                                         .envid = SV("e"),
                                         .ret = RET_FULL,
                                         .recipients = owner->to,
                                         .recipient_count = 2};
    parcel->content = &owner->body;
    parcel->recipients = owner->recipients[i];
    parcel->recipient_count = 2;
    for (uint32_t j = 0; j < 2; j++)
        owner->recipients[i][j] =
            (struct parcel_recipient){.recipient = &owner->to[j], .index = j};
}

static void
send_next(struct owner *owner)
{
    struct parcel *parcel;

    while (owner->given < PARCELS) {
        make_parcel(owner, owner->given);
        parcel = &owner->parcels[owner->given++];
        if (client_lacks(owner->client, parcel) == CLIENT_LACKS_NOTHING) {
            client_send(owner->client, parcel);
            return;
        }
        owner->back++;
        arena_fini(&parcel->arena);
    }
    client_keep(owner->client, 5000);
}

static void
on_ready(void *arg)
{
    send_next(arg);
}

static void
on_sent(void *arg, struct parcel *parcel)
{
    struct owner *owner = arg;

    assert(owner->back < owner->given);
    owner->back++;
    arena_fini(&parcel->arena);
    if (client_usable(owner->client))
        send_next(owner);
}

static void
on_lost(void *arg, const struct client_loss *loss)
{
    struct owner *owner = arg;

    assert(!owner->lost);
    owner->lost = true;
    if (loss->unsent != NULL) {
        owner->back++;
        arena_fini(&loss->unsent->arena);
    }
    client_free(owner->client);
    owner->client = NULL;
}

/* --- The play ------------------------------------------------------------- */

static void
act(struct loop *loop, struct owner *owner, struct conn *conn, uint8_t byte)
{
    static const struct tls_facts facts = {.version = "TLSv1.3",
                                           .cipher = "x",
                                           .group = "",
                                           .verify = TLS_VERIFY_OK,
                                           .has_peer_certificate = true,
                                           .peer_subject = "mx.test"};

    if (byte == 3)
        loop_advance(loop, 60000);
    else if (byte == 2)
        conn_fake_eof(conn);
    else if (owner->client != NULL &&
             owner->client->state == CLIENT_HANDSHAKE && !conn_is_tls(conn))
        conn_fake_tls_ready(conn, &facts);
}

static void
play(struct loop *loop, struct owner *owner, struct conn *conn, struct sv in,
     size_t step)
{
    struct buf out = {0};

    while (in.n > 0) {
        size_t n = 0;

        while (n < in.n && n < step && (uint8_t)in.p[n] > 3)
            n++;
        if (n > 0)
            conn_fake_receive(conn, sv_slice(in, 0, n));
        else
            act(loop, owner, conn, (uint8_t)in.p[0]);
        in = sv_from(in, n > 0 ? n : 1);
        conn_fake_take(conn, &out);
        buf_reset(&out);
    }
    buf_fini(&out);
}

static void
quiet(void *arg, struct sv line)
{
    (void)arg;
    (void)line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct client_calls calls = {on_ready, on_sent, on_lost};
    struct owner owner = {.to = {{.address = SV("b@y.test"),
                                  .orcpt = SV("rfc822;b@y.test"),
                                  .notify = NOTIFY_FAILURE},
                                 {.address = SV("c@y.test")}}};
    struct client_plan plan = {
        .host = "mx.test",
        .helo = "gw.test",
        .delivery = "D1",
        .destination = "y.test",
        .decision = {.names = {"mx.test"}, .reason = "test"},
        .timeouts = {30000, 300000, 300000, 60000, 300000, 300000, 120000,
                     180000, 600000, 60000, 3600000},
    };
    struct loop *loop;
    struct conn *conn;

    if (size == 0)
        return 0;
    log_capture(quiet, NULL);
    loop = loop_new_manual(1000, 1000000);
    plan.decision.floor = (enum tls_floor)(data[0] & 3);
    plan.decision.authentication = data[0] & 4 ? AUTH_REQUIRED : AUTH_NONE;
    plan.decision.fallback = (enum tls_fallback)((data[0] >> 3) % 3);
    if (!net_address_parse(SV("192.0.2.1"), 25, &plan.address))
        abort();
    owner.client = client_make(loop, &plan, &calls, &owner);
    conn = conn_fake(loop, &plan.address, client_on_event, owner.client);
    client_attach(owner.client, conn, true);
    play(loop, &owner, conn, (struct sv){(const char *)data + 1, size - 1},
         (data[0] >> 5) + 1u < 8 ? (data[0] >> 5) + 1u : SIZE_MAX);
    for (int i = 0; i < 70; i++)
        loop_advance(loop, 60000);
    assert(owner.lost && owner.client == NULL && owner.back == owner.given);
    conn_fake_free(conn);
    loop_free(loop);
    return 0;
}
