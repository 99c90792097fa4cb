/* One transaction: MAIL, RCPT and the content, pipelined as far as the server
 * allows (RFC 2920), in BDAT where it offers CHUNKING (RFC 3030). */
#include "transmit/client_internal.h"

enum {
    PIECE = 64 << 10,        /* bytes of content read at a time */
    OUTPUT_HIGH = 256 << 10, /* bytes queued: the server must take some first */
};

/* Content on its way from the spool to the connection; only inside a call. */
static _Thread_local char scratch[PIECE];

/* --- Commands ----------------------------------------------------------- */

static void
end_line(struct client *client)
{
    buf_add(&client->out, SV("\r\n"));
    client->due++;
}

static bool
is_printable(struct sv text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!char_is_print(text.p[i]) || text.p[i] == ' ')
            return false;
    return text.n > 0;
}

/* A mailbox that can stand between < and > without ending the command: the
 * receiver has parsed it, so this only guards against a damaged spool. */
static bool
is_sayable(struct sv mailbox)
{
    for (size_t i = 0; i < mailbox.n; i++)
        if ((unsigned char)mailbox.p[i] < ' ' || mailbox.p[i] == 0x7f)
            return false;
    return mailbox.n < 1000;
}

static void
add_param(struct buf *out, const char *name, struct sv value)
{
    if (!is_printable(value)) /* xtext is; anything else is left out */
        return;
    buf_add_char(out, ' ');
    buf_add_str(out, name);
    buf_add_char(out, '=');
    buf_add(out, value);
}

static bool
has_utf8(struct sv text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] > 0x7f)
            return true;
    return false;
}

static bool
says_smtputf8(const struct client_transaction *tx)
{
    const struct envelope *envelope = &tx->parcel->envelope;

    if ((envelope->smtputf8 && envelope->header_utf8) ||
        has_utf8(envelope->sender))
        return true;
    for (size_t i = 0; i < tx->count; i++)
        if (has_utf8(tx->recipients[i]->recipient->address))
            return true;
    return false;
}

/* RFC 3461 section 4.3 and 4.4, when the server offers DSN. */
static void
add_mail_dsn(struct buf *out, const struct envelope *envelope)
{
    if (envelope->ret != RET_UNSET)
        buf_add_str(out, envelope->ret == RET_FULL ? " RET=FULL" : " RET=HDRS");
    add_param(out, "ENVID", envelope->envid);
}

static void
write_mail(struct client *client)
{
    const struct envelope *envelope = &client->tx.parcel->envelope;
    struct buf *out = &client->out;

    buf_add(out, SV("MAIL FROM:<"));
    buf_add(out, envelope->sender);
    buf_add_char(out, '>');
    if (client->extensions & EXT_SIZE)
        buf_printf(out, " SIZE=%llu", (unsigned long long)client->tx.length);
    if ((client->extensions & EXT_8BITMIME) &&
        (envelope->eight_bit || envelope->body == BODY_8BITMIME))
        buf_add(out, SV(" BODY=8BITMIME"));
    if ((client->extensions & EXT_SMTPUTF8) && says_smtputf8(&client->tx))
        buf_add(out, SV(" SMTPUTF8"));
    /* RFC 8689 section 2, item 6. */
    if ((client->extensions & EXT_REQUIRETLS) &&
        (envelope->tls_demands & ENVELOPE_REQUIRETLS))
        buf_add(out, SV(" REQUIRETLS"));
    if (client->extensions & EXT_DSN)
        add_mail_dsn(out, envelope);
    end_line(client);
}

static void
add_notify(struct buf *out, unsigned notify)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        {NOTIFY_SUCCESS, "SUCCESS"},
        {NOTIFY_FAILURE, "FAILURE"},
        {NOTIFY_DELAY, "DELAY"},
    };
    const char *before = " NOTIFY=";

    if (notify & NOTIFY_NEVER) {
        buf_add(out, SV(" NOTIFY=NEVER"));
        return;
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (!(notify & names[i].bit))
            continue;
        buf_add_str(out, before);
        buf_add_str(out, names[i].name);
        before = ",";
    }
}

static void
write_rcpt(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    const struct envelope_recipient *to = tx->recipients[tx->told++]->recipient;
    struct buf *out = &client->out;

    buf_add(out, SV("RCPT TO:<"));
    buf_add(out, to->address);
    buf_add_char(out, '>');
    if (client->extensions & EXT_DSN) {
        add_notify(out, to->notify);
        add_param(out, "ORCPT", to->orcpt);
    }
    end_line(client);
}

static void
write_bdat(struct client *client)
{
    client->tx.chunked = client->tx.data_told = true;
    client_line(client, "BDAT %llu LAST",
                (unsigned long long)client->tx.length);
}

/* --- Content ------------------------------------------------------------ */

static void
emit(void *arg, struct sv run)
{
    conn_write(arg, run);
}

static void
write_piece(struct client *client, struct sv piece)
{
    struct client_transaction *tx = &client->tx;

    if (tx->chunked)
        conn_write(client->conn, piece);
    else
        content_encode(&tx->encoder, piece, emit, client->conn);
    tx->offset += piece.n;
}

static void
end_content(struct client *client)
{
    if (!client->tx.chunked) {
        conn_write(client->conn, content_encode_end(&client->tx.encoder));
        client->due++;
    }
    client_enter(client, CLIENT_DONE);
}

/* Our own trouble: the message must not seem complete to the server, so the
 * connection is dropped in the middle of it. */
static void
lose_content(struct client *client, ssize_t got, const struct err *err)
{
    client_lose(client, STAGE_IO, "the message cannot be read: %s",
                got == 0 ? "it is shorter than it should be" : err->text);
}

static void
fetch(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    uint64_t left = tx->length - tx->offset;

    if (client->fetched == NULL)
        client->fetched = mem_alloc_raw(PIECE);
    client->fetching = true;
    spool_content_fetch(tx->parcel->content, client->loop, tx->offset,
                        client->fetched, left < PIECE ? (size_t)left : PIECE,
                        client_on_fetched, client);
}

void
client_pump(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    struct err err = {0};

    if (client->fetching)
        return;
    while (tx->offset < tx->length &&
           conn_output_pending(client->conn) < OUTPUT_HIGH) {
        uint64_t left = tx->length - tx->offset;
        ssize_t got =
            spool_content_read(tx->parcel->content, tx->offset, scratch,
                               left < PIECE ? (size_t)left : PIECE, &err);

        if (got == SPOOL_BLOCKED) {
            fetch(client);
            return;
        }
        if (got <= 0) {
            lose_content(client, got, &err);
            return;
        }
        write_piece(client, (struct sv){scratch, (size_t)got});
    }
    if (tx->offset == tx->length)
        end_content(client);
    else
        client_enter(client, CLIENT_CONTENT); /* the limit begins anew */
}

static void finish(struct client *client);

void
client_take_fetched(struct client *client, ssize_t got, const struct err *err)
{
    if (client->tx.over) {
        finish(client);
        return;
    }
    if (got <= 0) {
        lose_content(client, got, err);
        return;
    }
    write_piece(client, (struct sv){client->fetched, (size_t)got});
    client_pump(client);
}

static void
begin_content(struct client *client)
{
    client_enter(client, CLIENT_CONTENT);
    client_pump(client);
}

/* The whole content when it is small and in memory already; else empty. */
static struct sv
small_content(const struct client_transaction *tx)
{
    size_t have = 0;
    struct err err;

    if (tx->length > PIECE)
        return (struct sv){0};
    while (have < tx->length) {
        ssize_t got =
            spool_content_read(tx->parcel->content, have, scratch + have,
                               (size_t)tx->length - have, &err);

        if (got <= 0)
            return (struct sv){0};
        have += (size_t)got;
    }
    return (struct sv){scratch, have};
}

/* --- Sending ------------------------------------------------------------ */

/* Everything that need not wait for an answer goes out in one write. DATA ends
 * a group (RFC 2920 section 3.1), BDAT does not and takes its content along. */
static void
write_group(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    struct sv content;

    while (tx->told < tx->count)
        write_rcpt(client);
    if (!(client->extensions & EXT_CHUNKING)) {
        client_line(client, "DATA");
        tx->data_told = true;
        return;
    }
    content = small_content(tx);
    if (content.n == 0)
        return;
    write_bdat(client);
    client_flush(client);
    write_piece(client, content);
}

static void
begin_mail(struct client *client)
{
    write_mail(client);
    if (client->extensions & EXT_PIPELINING)
        write_group(client);
    client_flush(client);
}

static void
set_transaction(struct client *client, struct parcel *parcel)
{
    struct client_transaction *tx = &client->tx;

    *tx = (struct client_transaction){
        .parcel = parcel,
        .recipients = arena_alloc(&parcel->arena,
                                  parcel->recipient_count * sizeof(void *)),
        .length = spool_content_length(parcel->content),
    };
    content_encoder_init(&tx->encoder);
    for (size_t i = 0; i < parcel->recipient_count; i++)
        if (!parcel->recipients[i].decided)
            tx->recipients[tx->count++] = &parcel->recipients[i];
    parcel->facts.started_us = loop_wall_us(client->loop);
}

void
client_send(struct client *client, struct parcel *parcel)
{
    assert(client_usable(client) && client->tx.parcel == NULL);
    client->limit = loop_now(client->loop) + client->plan.timeouts.session;
    set_transaction(client, parcel);
    assert(client->tx.count > 0);
    if (client->needs_rset) {
        client_line(client, "RSET");
        client_enter(client, CLIENT_RSET);
        if (!(client->extensions & EXT_PIPELINING)) {
            client_flush(client);
            return;
        }
    } else {
        client_enter(client, CLIENT_MAIL);
    }
    begin_mail(client);
}

size_t
client_screen(struct parcel *parcel)
{
    static const struct client_verdict sender = {
        OUTCOME_FAILED, 553, {5, 1, 7}, {"bad sender address", 18}};
    static const struct client_verdict mailbox = {
        OUTCOME_FAILED, 553, {5, 1, 3}, {"bad recipient address", 21}};
    bool good_sender = is_sayable(parcel->envelope.sender);
    size_t left = 0;

    for (size_t i = 0; i < parcel->recipient_count; i++) {
        struct parcel_recipient *to = &parcel->recipients[i];

        if (!good_sender)
            client_decide(to, &sender);
        else if (!is_sayable(to->recipient->address))
            client_decide(to, &mailbox);
        left += !to->decided;
    }
    return left;
}

/* --- Replies ------------------------------------------------------------ */

static void
finish(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    struct parcel *parcel = tx->parcel;

    client_write_facts(client, parcel,
                       tx->refusal.n > 0 ? STAGE_SMTP : STAGE_NONE,
                       tx->refusal);
    tx->parcel = NULL;
    client->messages++;
    if (loop_now(client->loop) >= client->deadline)
        client->broken = true;
    client_enter(client, CLIENT_READY);
    client->calls.on_sent(client->owner, parcel);
    if (client->broken && client->state == CLIENT_READY && !client->doomed) {
        struct client_loss loss = client_loss_of(client, STAGE_NONE, "");

        client_lose_with(client, &loss);
    }
}

static void
lose_protocol(struct client *client)
{
    client_lose(client, STAGE_PROTOCOL, "reply %u out of place (%s)",
                client->reply.code, client_state_name(client));
}

/* 4 or 5; others are 2 and 3. */
static bool
is_refusal(const struct client *client)
{
    return client->reply.code / 100 >= 4;
}

static struct client_verdict
take_refusal(struct client *client)
{
    struct client_verdict verdict = client_verdict_of_reply(client);

    client->tx.refusal = verdict.text.n > 0 ? verdict.text : SV("refused");
    return verdict;
}

static void
refuse_rest(struct client *client)
{
    struct client_verdict verdict = take_refusal(client);

    client_decide_rest(&client->tx, &verdict);
}

static void
on_rset(struct client *client)
{
    if (client->reply.code / 100 != 2) {
        lose_protocol(client);
        return;
    }
    client->needs_rset = false;
    client_enter(client, CLIENT_MAIL);
    if (!(client->extensions & EXT_PIPELINING))
        begin_mail(client);
}

static void
on_mail(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    bool pipelined = tx->told > 0;

    if (client->reply.code == 421 && client_is_old(client)) {
        /* It says that it closes, not what it thinks of the message. */
        client_lose_by_reply(client, STAGE_IO);
        return;
    }
    tx->any_reply = true;
    if (is_refusal(client)) {
        refuse_rest(client);
        tx->refused = true;
        if (!pipelined) {
            finish(client);
            return;
        }
    } else if (client->reply.code / 100 != 2) {
        lose_protocol(client);
        return;
    } else {
        client->needs_rset = true;
    }
    client_enter(client, CLIENT_RCPT);
    if (!pipelined) {
        write_rcpt(client);
        client_flush(client);
    }
}

/* "Too many recipients" from a server that has taken some already: RFC 5321
 * section 4.5.3.1.10 says 452, servers of older standards say 552. */
static bool
is_too_many(const struct client *client)
{
    const struct mail_status *status = &client->reply.status;

    return client->reply.code == 552 && client->tx.accepted > 0 &&
           (status->class == 0 ||
            (status->subject == 5 && status->detail == 3));
}

static void
refuse_recipient(struct client *client, struct parcel_recipient *to)
{
    struct client_verdict verdict = take_refusal(client);

    if (is_too_many(client)) {
        verdict.outcome = OUTCOME_DEFERRED;
        verdict.status = (struct mail_status){4, 5, 3};
    }
    client_decide(to, &verdict);
}

/* Every recipient has its answer. */
static void
after_rcpts(struct client *client)
{
    struct client_transaction *tx = &client->tx;

    if (tx->data_told) {
        client_enter(client, tx->chunked ? CLIENT_DONE : CLIENT_DATA);
    } else if (tx->accepted == 0) {
        finish(client);
    } else if (client->extensions & EXT_CHUNKING) {
        write_bdat(client);
        client_flush(client);
        begin_content(client);
    } else {
        client_line(client, "DATA");
        client_enter(client, CLIENT_DATA);
        client_flush(client);
    }
}

static void
on_rcpt(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    struct parcel_recipient *to = tx->recipients[tx->answered++];

    if (tx->refused) {
        /* Its fate is known from MAIL. */
    } else if (is_refusal(client)) {
        refuse_recipient(client, to);
    } else if (client->reply.code / 100 == 2) {
        tx->accepted++;
    } else {
        lose_protocol(client);
        return;
    }
    if (tx->answered == tx->count) {
        after_rcpts(client);
        return;
    }
    client_enter(client, CLIENT_RCPT);
    if (tx->answered == tx->told) {
        write_rcpt(client);
        client_flush(client);
    }
}

/* DATA went out with the recipients and none was accepted, yet the server
 * waits for a message: it gets an empty one (RFC 2920 section 3.1). */
static void
send_nothing(struct client *client)
{
    client->tx.empty = true;
    conn_write(client->conn, SV(".\r\n"));
    client->due++;
    client_enter(client, CLIENT_DONE);
}

static void
on_data(struct client *client)
{
    struct client_transaction *tx = &client->tx;

    if (client->reply.code == 354) {
        if (tx->accepted > 0)
            begin_content(client);
        else
            send_nothing(client);
    } else if (is_refusal(client)) {
        if (tx->accepted > 0)
            refuse_rest(client);
        finish(client);
    } else {
        lose_protocol(client);
    }
}

/* The reply that decides.  A good one cannot come while the server has not
 * even been given everything. */
static void
on_done(struct client *client)
{
    struct client_transaction *tx = &client->tx;
    unsigned class = client->reply.code / 100;

    if (class == 3 || (class == 2 && conn_output_pending(client->conn) > 0)) {
        lose_protocol(client);
        return;
    }
    /* After a refused BDAT the server may still have the transaction. */
    client->needs_rset = tx->chunked && class != 2;
    if (tx->accepted > 0 && is_refusal(client)) {
        refuse_rest(client);
    } else if (tx->accepted > 0) {
        struct client_verdict verdict = client_verdict_of_reply(client);

        client_decide_rest(tx, &verdict);
    }
    finish(client);
}

/* A reply while the content is still under way can only be a refusal; nothing
 * can follow on this connection.  A fetch that is running reads from the
 * parcel's content, so the parcel goes back when it is over. */
static void
on_early(struct client *client)
{
    if (!is_refusal(client)) {
        lose_protocol(client);
        return;
    }
    client->broken = true;
    refuse_rest(client);
    client->tx.over = true;
    if (!client->fetching)
        finish(client);
}

void
client_on_transaction_reply(struct client *client)
{
    switch ((int)client->state) {
    case CLIENT_RSET:
        on_rset(client);
        break;
    case CLIENT_MAIL:
        on_mail(client);
        break;
    case CLIENT_RCPT:
        on_rcpt(client);
        break;
    case CLIENT_DATA:
        on_data(client);
        break;
    case CLIENT_CONTENT:
        on_early(client);
        break;
    default:
        assert(client->state == CLIENT_DONE);
        on_done(client);
        break;
    }
}
