/* Scripts between the client and a server that is played from the row:
 *
 *   S text   the server sends this line (neighbours go in one write)
 *   C text   the client must have sent exactly these lines and no more
 *   T        the TLS handshake succeeds; "T bad", "T other": chain or name do
 *            not hold
 *   E        the server closes
 *   W ms     time passes
 *
 * Every row runs with whole writes and byte by byte. */
#include "net/loop.h"
#include "transmit/client_internal.h"
#include "transmit/test_transmit.h"
#include "unit.h"

#define HELLO "S 220 mx.test ESMTP\nC EHLO gw.test\n"
#define PLAIN HELLO "S 250 mx.test\n"
#define PIPE HELLO "S 250-mx.test\nS 250 PIPELINING\n"
#define CHUNK HELLO "S 250-mx.test\nS 250-PIPELINING\nS 250 CHUNKING\n"
#define MAIL "C MAIL FROM:<a@x.test>\n"
#define RCPT "C RCPT TO:<b@y.test>\n"
#define BODY "C Subject: x\nC \nC hi\nC .\n"
#define OPPORTUNISTIC FLOOR_OPPORTUNISTIC

static const struct fake_mail simple = {
    .sender = "a@x.test",
    .to = {"b@y.test"},
    .content = "Subject: x\r\n\r\nhi\r\n",
};

static const struct row {
    const char *name, *script, *events;
    enum tls_floor floor;
    enum tls_authentication authentication;
    enum tls_fallback fallback;
    unsigned parcels;      /* 0: 1 */
    struct fake_mail mail; /* sender NULL: simple */
    bool whole_only;
    bool clear;
} rows[] = {
    {"one step at a time",
     PLAIN MAIL "S 250 ok\n" RCPT "S 250 ok\nC DATA\nS 354 go\n" BODY
                "S 250 2.6.0 taken\n",
     "ready;sent relayed 250 2.6.0 none;", .parcels = 1},
    {"pipelined with DATA",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY
                    "S 250 taken\n",
     "ready;sent relayed 250 2.0.0 none;", .parcels = 1},
    {"pipelined with BDAT in one go",
     CHUNK MAIL RCPT "C BDAT 18 LAST\nC Subject: x\nC \nC hi\n"
                     "S 250 ok\nS 250 ok\nS 250 2.0.0 taken\n",
     "ready;sent relayed 250 2.0.0 none;", .parcels = 1},
    {"the next message follows at once",
     CHUNK MAIL RCPT "C BDAT 18 LAST\nC Subject: x\nC \nC hi\n"
                     "S 250 ok\nS 250 ok\nS 250 taken\n" MAIL RCPT
                     "C BDAT 18 LAST\nC Subject: x\nC \nC hi\n"
                     "S 250 ok\nS 250 ok\nS 250 taken\n",
     "ready;sent relayed 250 2.0.0 none;sent relayed 250 2.0.0 none;",
     .parcels = 2},
    {"DSN offered: delivered, parameters passed on",
     HELLO "S 250-mx.test\nS 250-SIZE 1000\nS 250-8BITMIME\nS 250 DSN\n"
           "C MAIL FROM:<a@x.test> SIZE=18 BODY=8BITMIME RET=HDRS ENVID=e+3D1\n"
           "S 250 ok\n"
           "C RCPT TO:<b@y.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@y.test\n"
           "S 250 ok\nC DATA\nS 354 go\n" BODY "S 250 taken\n",
     "ready;sent delivered 250 2.0.0 none;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "Subject: x\r\n\r\nhi\r\n",
              .body8 = true,
              .envid = "e+3D1",
              .orcpt = "rfc822;b@y.test",
              .ret = RET_HDRS,
              .notify = NOTIFY_SUCCESS | NOTIFY_DELAY}},
    {"DSN parameters that could break the line are left out",
     HELLO "S 250-mx.test\nS 250 DSN\n"
           "C MAIL FROM:<a@x.test>\nS 250 ok\n"
           "C RCPT TO:<b@y.test>\nS 550 5.1.1 no\n",
     "ready;sent failed 550 5.1.1 smtp;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "x\r\n",
              .envid = "a\r\nRCPT TO:<evil@z>",
              .orcpt = "rfc822; b"}},
    {"dots are doubled",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n"
                    "C ..\nC ..x\nC a.\nC .\nS 250 taken\n",
     "ready;sent relayed 250 2.0.0 none;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = ".\r\n.x\r\na.\r\n"}},
    {"content from the disk",
     CHUNK MAIL RCPT "S 250 ok\nS 250 ok\n"
                     "C BDAT 3 LAST\nC x\nS 250 taken\n",
     "ready;sent relayed 250 2.0.0 none;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "x\r\n",
              .blocked = true}},
    {"content that cannot be read is never ended",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\nC-\n",
     "ready;sent undecided io;lost io;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "x\r\n",
              .damaged = true}},
    {"SMTPUTF8 said where it is needed",
     HELLO "S 250-mx.test\nS 250-8BITMIME\nS 250 SMTPUTF8\n"
           "C MAIL FROM:<\xc3\xa4@x.test> BODY=8BITMIME SMTPUTF8\n"
           "S 550 5.6.7 no\n",
     "ready;sent failed 550 5.6.7 smtp;",
     .mail = {.sender = "\xc3\xa4@x.test",
              .to = {"b@y.test"},
              .content = "\xc3\xa4\r\n",
              .eight_bit = true,
              .smtputf8 = true}},
    {"SMTPUTF8 lacking", PLAIN, "ready;lacks 2 failed 0 5.6.7 none;",
     .mail = {.sender = "\xc3\xa4@x.test",
              .to = {"b@y.test"},
              .content = "x\r\n"}},
    {"8BITMIME lacking", PLAIN, "ready;lacks 1 failed 0 5.6.3 none;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "\xe4\r\n",
              .eight_bit = true}},
    {"too large for the server", HELLO "S 250-mx.test\nS 250 SIZE 10\n",
     "ready;lacks 3 failed 0 5.3.4 none;", .parcels = 1},
    {"a rule demands TLS, and clear text was decided", PLAIN,
     "ready;lacks 5 deferred 0 4.7.5 none;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "x\r\n",
              .demands = ENVELOPE_TLS_REQUIRED}},
    {"one recipient refused, one put off, one taken",
     PIPE MAIL "C RCPT TO:<b@y.test>\nC RCPT TO:<c@y.test>\n"
               "C RCPT TO:<d@y.test>\nC DATA\n"
               "S 250 ok\nS 550 5.1.1 no\nS 452 4.2.2 full\nS 250 ok\n"
               "S 354 go\nC x\nC .\nS 250 taken\n",
     "ready;sent failed 550 5.1.1, deferred 452 4.2.2, relayed 250 2.0.0 "
     "smtp;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test", "c@y.test", "d@y.test"},
              .content = "x\r\n"}},
    {"552 to a further recipient: too many at a time, not too many for ever",
     PIPE MAIL "C RCPT TO:<b@y.test>\nC RCPT TO:<c@y.test>\nC DATA\n"
               "S 250 ok\nS 250 ok\nS 552 too many recipients\n"
               "S 354 go\nC x\nC .\nS 250 taken\n",
     "ready;sent relayed 250 2.0.0, deferred 552 4.5.3 smtp;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test", "c@y.test"},
              .content = "x\r\n"}},
    {"552 that says something else is what it says",
     PIPE MAIL "C RCPT TO:<b@y.test>\nC RCPT TO:<c@y.test>\nC DATA\n"
               "S 250 ok\nS 250 ok\nS 552 5.2.2 full\n"
               "S 354 go\nC x\nC .\nS 250 taken\n",
     "ready;sent relayed 250 2.0.0, failed 552 5.2.2 smtp;",
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test", "c@y.test"},
              .content = "x\r\n"}},
    {"552 to the only recipient is final",
     PLAIN MAIL "S 250 ok\n" RCPT "S 552 full\n",
     "ready;sent failed 552 5.0.0 smtp;", .parcels = 1},
    {"all refused and DATA too: RSET before the next",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 550 no\nS 503 no\n"
                    "C RSET\n" MAIL RCPT "C DATA\n"
                    "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY
                    "S 250 taken\n",
     "ready;sent failed 550 5.0.0 smtp;sent relayed 250 2.0.0 none;",
     .parcels = 2},
    {"all refused and DATA accepted: an empty message, not counted",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 550 no\nS 354 go\nC .\n"
                    "S 250 taken\n" MAIL RCPT "C DATA\n",
     "ready;sent failed 550 5.0.0 smtp;", .parcels = 2},
    {"MAIL refused in a pipeline",
     PIPE MAIL RCPT "C DATA\nS 550 5.7.1 no\nS 503 no\nS 503 no\n" MAIL RCPT
                    "C DATA\n",
     "ready;sent failed 550 5.7.1 smtp;", .parcels = 2},
    {"a 5xx in a pipeline is kept when the server closes",
     PIPE MAIL RCPT "C DATA\nS 550 5.7.1 no\nE\n",
     "ready;sent failed 550 5.7.1 io;lost io;", .parcels = 1},
    {"DATA refused",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 451 4.3.0 later\n",
     "ready;sent deferred 451 4.3.0 smtp;", .parcels = 1},
    {"the message refused",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY
                    "S 554 5.7.1 spam\n",
     "ready;sent failed 554 5.7.1 smtp;", .parcels = 1},
    {"BDAT refused: RSET before the next",
     CHUNK MAIL RCPT "C BDAT 18 LAST\nC Subject: x\nC \nC hi\n"
                     "S 250 ok\nS 250 ok\nS 552 5.3.4 big\n"
                     "C RSET\n" MAIL RCPT
                     "C BDAT 18 LAST\nC Subject: x\nC \nC hi\n",
     "ready;sent failed 552 5.3.4 smtp;", .parcels = 2},
    {"an enhanced code of another class does not count",
     PLAIN MAIL "S 250 ok\n" RCPT "S 550 2.1.5 odd\n",
     "ready;sent failed 550 5.0.0 smtp;", .parcels = 1},
    {"no answer to the final dot is temporary",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY "W 700000\n",
     "ready;sent undecided timeout;lost timeout;", .parcels = 1},
    {"closed after the final dot is temporary",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY "E\n",
     "ready;sent undecided io;lost io;", .parcels = 1},
    {"421 to RCPT: kept, then closed",
     PLAIN MAIL "S 250 ok\n" RCPT "S 421 4.3.2 bye\n",
     "ready;sent deferred 421 4.3.2 smtp;lost none;", .parcels = 2},
    {"closed before a word about the message", PLAIN MAIL "E\n",
     "ready;lost io unsent;", .parcels = 1},
    {"closed between messages: the next is unsent, on an old connection",
     PLAIN MAIL "S 250 ok\n" RCPT "S 550 no\nC RSET\nE\n",
     "ready;sent failed 550 5.0.0 smtp;lost io unsent reused;", .parcels = 2},
    {"421 to the next MAIL: an old connection is over, the message unsent",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY
                    "S 250 taken\n" MAIL RCPT "C DATA\n"
                    "S 421 4.4.2 idle for too long\n",
     "ready;sent relayed 250 2.0.0 none;lost io unsent reused code 421;",
     .parcels = 2},
    {"421 to the first MAIL is an answer about the message",
     PLAIN MAIL "S 421 4.7.0 later\n",
     "ready;sent deferred 421 4.7.0 smtp;lost none;", .parcels = 2},
    {"HELO where EHLO is refused",
     HELLO "S 502 5.5.1 what\nC HELO gw.test\nS 250 mx.test\n" MAIL, "ready;",
     .parcels = 1},
    {"HELO does not do where TLS is needed: no TLS, not a refusal of the mail",
     HELLO "S 502 5.5.1 what\nC QUIT\n", "lost starttls-not-offered tls;",
     .floor = FLOOR_ENCRYPTED},
    {"put off at EHLO", HELLO "S 451 4.3.0 later\nC QUIT\n",
     "lost ehlo code 451;", .floor = FLOOR_ENCRYPTED},
    {"4xx greeting", "S 421 4.3.2 busy\nC QUIT\n", "lost greeting code 421;",
     .parcels = 1},
    {"5xx greeting", "S 554 go away\nC QUIT\n", "lost greeting code 554;",
     .parcels = 1},
    {"no greeting", "W 400000\nC QUIT\n", "lost greeting;", .parcels = 1},
    {"closed instead of a greeting", "E\nC QUIT\n", "lost greeting;",
     .parcels = 1},
    {"talks before EHLO", "S 220 mx.test\nS 250 ok\n", "lost protocol;",
     .whole_only = true},
    {"not SMTP", "S SSH-2.0-OpenSSH\n", "lost protocol;", .parcels = 1},
    {"codes differ in one reply", HELLO "S 250-mx.test\nS 550 no\n",
     "lost protocol;", .parcels = 1},
    {"3xx to MAIL", PLAIN MAIL "S 354 go\n",
     "ready;sent undecided protocol;lost protocol;", .parcels = 1},
    {"2xx to DATA", PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 250 ok\n",
     "ready;sent undecided protocol;lost protocol;", .parcels = 1},
    {"a second answer to the final dot must not answer the next MAIL",
     PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY
                    "S 250 taken\nS 250 and again\n",
     "ready;sent relayed 250 2.0.0 none;lost none;", .parcels = 2,
     .whole_only = true},
    {"two answers to MAIL", PLAIN MAIL "S 250 ok\nS 250 ok\n",
     "ready;sent undecided protocol;lost protocol;", .whole_only = true},

/* STARTTLS */
#define TLS_OFFER HELLO "S 250-mx.test\nS 250 STARTTLS\nC STARTTLS\n"
#define TLS_GO TLS_OFFER "S 220 go\n"
    {"TLS, then EHLO again and only the new extensions",
     HELLO "S 250-mx.test\nS 250-PIPELINING\nS 250 STARTTLS\nC STARTTLS\n"
           "S 220 go\nT\nC EHLO gw.test\nS 250 mx.test\n" MAIL,
     "ready;", .floor = OPPORTUNISTIC},
    {"not offered, opportunistic", PLAIN MAIL, "ready;",
     .floor = OPPORTUNISTIC},
    {"not offered, required", PLAIN "C QUIT\n",
     "lost starttls-not-offered tls;", .floor = FLOOR_ENCRYPTED},
    {"refused, before-220: clear on the same connection",
     TLS_OFFER "S 454 4.7.0 not now\n" MAIL, "ready;", .floor = OPPORTUNISTIC,
     .fallback = FALLBACK_BEFORE_220},
    {"refused, next-attempt: clear too", TLS_OFFER "S 554 no\n" MAIL, "ready;",
     .floor = OPPORTUNISTIC, .fallback = FALLBACK_NEXT_ATTEMPT},
    {"refused, never", TLS_OFFER "S 454 no\nC QUIT\n",
     "lost starttls-refused tls code 454;", .floor = OPPORTUNISTIC},
    {"refused, required", TLS_OFFER "S 454 no\nC QUIT\n",
     "lost starttls-refused tls code 454;", .floor = FLOOR_ENCRYPTED},
    {"other 2xx to STARTTLS", TLS_OFFER "S 250 ok\n", "lost protocol tls;",
     .floor = OPPORTUNISTIC, .fallback = FALLBACK_BEFORE_220},
    {"closed at STARTTLS: clear next time", TLS_OFFER "E\nC QUIT\n",
     "lost starttls-refused tls clear;", .floor = OPPORTUNISTIC,
     .fallback = FALLBACK_BEFORE_220},
    {"closed at STARTTLS, required", TLS_OFFER "E\nC QUIT\n",
     "lost starttls-refused tls;", .floor = FLOOR_ENCRYPTED},
    {"bytes behind the 220", TLS_OFFER "S 220 go\nS 250 mx.test\n",
     "lost starttls-injected tls;", .floor = OPPORTUNISTIC,
     .fallback = FALLBACK_BEFORE_220, .whole_only = true},
    {"handshake fails, before-220: no clear text, now or next", TLS_GO "E\n",
     "lost handshake tls;", .floor = OPPORTUNISTIC,
     .fallback = FALLBACK_BEFORE_220},
    {"handshake fails, next-attempt", TLS_GO "E\n", "lost handshake tls clear;",
     .floor = OPPORTUNISTIC, .fallback = FALLBACK_NEXT_ATTEMPT},
    {"handshake fails, required", TLS_GO "E\n", "lost handshake tls;",
     .floor = FLOOR_ENCRYPTED, .fallback = FALLBACK_NEVER},
    {"handshake takes for ever", TLS_GO "W 400000\n", "lost handshake tls;",
     .floor = FLOOR_ENCRYPTED},
    {"clear text because TLS failed lately",
     HELLO "S 250-mx.test\nS 250 STARTTLS\n" MAIL, "ready;",
     .floor = OPPORTUNISTIC, .fallback = FALLBACK_NEXT_ATTEMPT, .clear = true},
    {"verified", TLS_GO "T\nC EHLO gw.test\nS 250 mx.test\n" MAIL, "ready;",
     .floor = FLOOR_VERIFIED, .authentication = AUTH_REQUIRED},
    {"chain does not hold, required", TLS_GO "T bad\nC QUIT\n",
     "lost certificate-expired tls;", .floor = FLOOR_VERIFIED,
     .authentication = AUTH_REQUIRED},
    {"other name, required", TLS_GO "T other\nC QUIT\n",
     "lost certificate-name tls;", .floor = FLOOR_VERIFIED,
     .authentication = AUTH_REQUIRED},
    {"other name, preferred: delivered all the same",
     TLS_GO "T other\nC EHLO gw.test\nS 250 mx.test\n" MAIL, "ready;",
     .floor = OPPORTUNISTIC, .authentication = AUTH_PREFERRED},
    {"a rule demands a verified server, and any was decided",
     TLS_GO "T\nC EHLO gw.test\nS 250 mx.test\n",
     "ready;lacks 5 deferred 0 4.7.5 none;", .floor = FLOOR_ENCRYPTED,
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "x\r\n",
              .demands = ENVELOPE_TLS_VERIFIED}},
    {"a rule demands TLS, and it was",
     TLS_GO "T\nC EHLO gw.test\nS 250 mx.test\n" MAIL "S 550 5.7.1 no\n",
     "ready;sent failed 550 5.7.1 smtp;", .floor = FLOOR_ENCRYPTED,
     .mail = {.sender = "a@x.test",
              .to = {"b@y.test"},
              .content = "x\r\n",
              .demands = ENVELOPE_TLS_REQUIRED}},
    {"closed after the handshake", TLS_GO "T\nC EHLO gw.test\nE\n",
     "lost io tls;", .floor = FLOOR_ENCRYPTED},
};

struct stage {
    const struct row *row;
    struct loop *loop;
    struct client *client;
    struct conn *conn;
    struct buf events;
    unsigned sent;
    struct parcel *parcel;
};

static const struct fake_mail *
mail_of(const struct row *row)
{
    return row->mail.sender != NULL ? &row->mail : &simple;
}

static void
send_next(struct stage *t)
{
    unsigned parcels = t->row->parcels != 0 ? t->row->parcels : 1;
    enum client_lack lack;
    char outcome[256];

    if (t->sent == parcels)
        return;
    t->parcel = fake_parcel_new(mail_of(t->row), ++t->sent);
    assert_int_not_equal(client_screen(t->parcel), 0);
    lack = client_lacks(t->client, t->parcel);
    if (lack == CLIENT_LACKS_NOTHING) {
        client_send(t->client, t->parcel);
        return;
    }
    client_refuse(t->parcel, lack);
    fake_parcel_outcome(t->parcel, outcome, sizeof outcome);
    buf_printf(&t->events, "lacks %d %s %s;", (int)lack, outcome,
               tls_stage_name(t->parcel->facts.stage));
    fake_parcel_free(t->parcel);
    t->parcel = NULL;
}

static void
on_ready(void *owner)
{
    struct stage *t = owner;

    buf_add_str(&t->events, "ready;");
    send_next(t);
}

static void
on_sent(void *owner, struct parcel *parcel)
{
    struct stage *t = owner;
    char outcome[256];

    assert_false(t->client->fetching); /* it writes into the parcel */
    fake_parcel_outcome(parcel, outcome, sizeof outcome);
    buf_printf(&t->events, "sent %s %s;", outcome,
               tls_stage_name(parcel->facts.stage));
    fake_parcel_free(parcel);
    t->parcel = NULL;
    if (client_usable(t->client))
        send_next(t);
}

static void
on_lost(void *owner, const struct client_loss *loss)
{
    struct stage *t = owner;

    buf_printf(&t->events, "lost %s%s%s%s%s",
               tls_stage_name(loss->failure.stage), loss->tls ? " tls" : "",
               loss->clear_next ? " clear" : "",
               loss->unsent != NULL ? " unsent" : "",
               loss->unsent != NULL && loss->reused ? " reused" : "");
    if (loss->code != 0)
        buf_printf(&t->events, " code %u", loss->code);
    buf_add_char(&t->events, ';');
    client_free(t->client);
    t->client = NULL;
}

static void
set_up(struct stage *t, const struct row *row)
{
    struct client_plan plan = {
        .host = "mx.test",
        .helo = "gw.test",
        .delivery = "D1",
        .destination = "y.test",
        .decision = {.floor = row->floor,
                     .authentication = row->authentication,
                     .fallback = row->fallback,
                     .names = {"mx.test"},
                     .reason = "test"},
        .clear = row->clear,
        .timeouts = {30000, 300000, 300000, 60000, 300000, 300000, 120000,
                     180000, 600000, 60000, 3600000},
    };

    *t = (struct stage){.row = row, .loop = loop_new_manual(1000, 1000000)};
    assert_true(net_address_parse(SV("192.0.2.1"), 25, &plan.address));
    t->client = client_make(
        t->loop, &plan,
        &(const struct client_calls){on_ready, on_sent, on_lost}, t);
    t->conn = conn_fake(t->loop, &plan.address, client_on_event, t->client);
    client_attach(t->client, t->conn, true);
}

static void
tear_down(struct stage *t)
{
    if (t->client != NULL)
        client_free(t->client);
    if (t->parcel != NULL)
        fake_parcel_free(t->parcel);
    conn_fake_free(t->conn);
    buf_fini(&t->events);
    loop_free(t->loop);
}

static void
server_says(struct stage *t, struct sv bytes, bool bytewise)
{
    size_t step = bytewise ? 1 : bytes.n;

    for (; bytes.n > 0; bytes = sv_from(bytes, step))
        conn_fake_receive(t->conn, sv_slice(bytes, 0, step));
}

static void
handshake(struct stage *t, struct sv how)
{
    struct tls_facts facts = {.version = "TLSv1.3",
                              .cipher = "TLS_AES_256_GCM_SHA384",
                              .group = "X25519",
                              .bits = 256,
                              .verify = TLS_VERIFY_OK,
                              .has_peer_certificate = true,
                              .peer_subject = "mx.test"};

    if (sv_is(how, "bad")) {
        facts.verify = TLS_VERIFY_FAILED;
        facts.verdict = VERDICT_EXPIRED;
        facts.verify_reason = "certificate has expired";
    }
    if (sv_is(how, "other"))
        facts.peer_subject = "other.test";
    conn_fake_tls_ready(t->conn, &facts);
}

static void
expect_output(struct stage *t, struct buf *expected)
{
    struct buf got = {0};

    loop_advance(t->loop, 0);
    conn_fake_take(t->conn, &got);
    assert_string_equal(buf_cstr(&got), buf_cstr(expected));
    buf_fini(&got);
    buf_reset(expected);
}

/* Lines of one side that follow each other belong together. */
static void
flush_block(struct stage *t, char side, struct buf *block, bool bytewise)
{
    if (side == 'S')
        server_says(t, buf_view(block), bytewise);
    else if (side == 'C')
        expect_output(t, block);
    buf_reset(block);
}

static void
play(struct stage *t, bool bytewise)
{
    struct sv script = sv_of(t->row->script);
    struct buf block = {0};
    char side = ' ';

    while (script.n > 0) {
        struct sv line = sv_take_until(&script, '\n');
        struct sv text = sv_from(line, 2);
        uint32_t ms;

        if (line.p[0] != side)
            flush_block(t, side, &block, bytewise);
        side = line.p[0];
        if (line.n > 1 && line.p[1] == '-')
            continue; /* "C-": nothing */
        if (side == 'S' || side == 'C') {
            buf_add(&block, text);
            buf_add(&block, SV("\r\n"));
        } else if (side == 'T') {
            handshake(t, text);
        } else if (side == 'E') {
            conn_fake_eof(t->conn);
        } else if (side == 'W' && sv_to_u32(text, &ms)) {
            loop_advance(t->loop, ms);
        }
    }
    flush_block(t, side, &block, bytewise);
    buf_fini(&block);
}

static void
check_split(const struct row *row, bool bytewise)
{
    struct stage t;

    set_up(&t, row);
    play(&t, bytewise);
    loop_advance(t.loop, 0);
    assert_string_equal(buf_cstr(&t.events), row->events);
    tear_down(&t);
}

static void
check(void **state)
{
    const struct row *row = *state;

    check_split(row, false);
    if (!row->whole_only)
        check_split(row, true);
}

/* --- Servers that send without end --------------------------------------- */

static void
check_flood(const char *before, const char *piece, size_t times)
{
    static const struct row none = {.name = "flood"};
    struct stage t;

    set_up(&t, &none);
    conn_fake_receive(t.conn, sv_of(before));
    for (size_t i = 0; i < times && t.client != NULL; i++)
        conn_fake_receive(t.conn, sv_of(piece));
    assert_null(t.client);
    assert_non_null(strstr(buf_cstr(&t.events), "lost protocol"));
    tear_down(&t);
}

static void
test_floods(void **state)
{
    (void)state;
    check_flood("220 ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 100);
    check_flood("", "220-hello\r\n", 200);
    check_flood("220 hi\r\n", "250-X\r\n", 200);
    check_flood("220 hi\r\n", "250-XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", 100);
    check_flood("220 hi\r\n250 x\r\n", "250 x\r\n", 3);
}

/* A large message with a slow reader goes out in pieces. */
static void
test_large(void **state)
{
    static const struct row row = {
        .name = "large",
        .mail = {.sender = "a@x.test",
                 .to = {"b@y.test"},
                 .content = "0123456789012345678901234567890123456789\r\n",
                 .repeat = 50000,
                 .blocked = true}};
    struct buf out = {0};
    struct stage t;

    (void)state;
    set_up(&t, &row);
    conn_fake_receive(t.conn, SV("220 x\r\n"));
    conn_fake_receive(t.conn, SV("250-x\r\n250 CHUNKING\r\n"));
    conn_fake_receive(t.conn, SV("250 ok\r\n"));
    conn_fake_receive(t.conn, SV("250 ok\r\n"));
    loop_advance(t.loop, 0);
    conn_fake_take(t.conn, &out);
    assert_true(buf_length(&out) > 50000 * 42);
    assert_non_null(strstr(buf_cstr(&out), "BDAT 2100000 LAST\r\n0123"));
    conn_fake_receive(t.conn, SV("250 taken\r\n"));
    assert_non_null(strstr(buf_cstr(&t.events), "sent relayed 250"));
    buf_fini(&out);
    tear_down(&t);
}

/* The owner goes away while the content is being fetched. */
static void
test_free_while_fetching(void **state)
{
    static const struct row row = {.name = "free",
                                   .mail = {.sender = "a@x.test",
                                            .to = {"b@y.test"},
                                            .content = "x\r\n",
                                            .blocked = true}};
    struct stage t;

    (void)state;
    set_up(&t, &row);
    conn_fake_receive(t.conn, SV("220 x\r\n"));
    conn_fake_receive(t.conn, SV("250-x\r\n250 CHUNKING\r\n"));
    conn_fake_receive(t.conn, SV("250 ok\r\n"));
    t.client->state = CLIENT_CONTENT;
    t.client->tx.chunked = true;
    client_pump(t.client);
    assert_false(client_free(t.client));
    t.client = NULL;
    loop_advance(t.loop, 0);
    tear_down(&t);
}

/* The server refuses while the next piece is being fetched: the parcel may not
 * go back before the fetch, which writes into it, is over. */
static void
test_refused_while_fetching(void **state)
{
    static const struct row row = {.name = "refused",
                                   .mail = {.sender = "a@x.test",
                                            .to = {"b@y.test"},
                                            .content = "x\r\n",
                                            .blocked = true}};
    struct stage t;

    (void)state;
    set_up(&t, &row);
    conn_fake_receive(t.conn, SV("220 x\r\n"));
    conn_fake_receive(t.conn, SV("250-x\r\n250 CHUNKING\r\n"));
    conn_fake_receive(t.conn, SV("250 ok\r\n"));
    t.client->tx.accepted = 1;
    t.client->tx.chunked = true;
    client_enter(t.client, CLIENT_CONTENT);
    client_pump(t.client);
    assert_true(t.client->fetching);
    conn_fake_receive(t.conn, SV("552 5.3.4 big\r\n"));
    loop_advance(t.loop, 0);
    assert_string_equal(buf_cstr(&t.events),
                        "ready;sent failed 552 5.3.4 smtp;lost none;");
    tear_down(&t);
}

/* A message begun when the connection's time is nearly over has the time that
 * RFC 5321 gives each step, not what is left of the connection's. */
static void
test_late_message(void **state)
{
    static const struct row row = {.name = "late"};
    struct stage t;

    (void)state;
    set_up(&t, &row);
    t.sent = 1;
    conn_fake_receive(t.conn, SV("220 x\r\n"));
    conn_fake_receive(t.conn, SV("250 x\r\n"));
    client_keep(t.client, 3600000);
    loop_advance(t.loop, 3600000 - 1000);
    t.sent = 0;
    send_next(&t);
    loop_advance(t.loop, 2000);
    assert_string_equal(buf_cstr(&t.events), "ready;");
    conn_fake_receive(t.conn, SV("250 ok\r\n"));
    conn_fake_receive(t.conn, SV("550 no\r\n"));
    assert_string_equal(buf_cstr(&t.events),
                        "ready;sent failed 550 5.0.0 smtp;lost none;");
    tear_down(&t);
}

/* Kept without having carried anything, and closed by the server meanwhile. */
static void
test_kept_unused(void **state)
{
    static const struct row row = {.name = "kept"};
    struct stage t;

    (void)state;
    set_up(&t, &row);
    t.sent = 1;
    conn_fake_receive(t.conn, SV("220 x\r\n"));
    conn_fake_receive(t.conn, SV("250 x\r\n"));
    client_keep(t.client, 5000);
    t.sent = 0;
    send_next(&t);
    conn_fake_eof(t.conn);
    assert_string_equal(buf_cstr(&t.events), "ready;lost io unsent reused;");
    tear_down(&t);
}

static void
test_keep_and_quit(void **state)
{
    static const struct row row = {.name = "keep"};
    struct list closing;
    struct buf out = {0};
    struct stage t;

    (void)state;
    list_init(&closing);
    set_up(&t, &row);
    t.sent = 1; /* nothing to send */
    conn_fake_receive(t.conn, SV("220 x\r\n"));
    conn_fake_receive(t.conn, SV("250 x\r\n"));
    client_keep(t.client, 5000);
    conn_fake_take(t.conn, &out);
    buf_reset(&out);
    client_quit(t.client, &closing);
    t.client = NULL;
    assert_int_equal(closing.length, 1);
    loop_advance(t.loop, 0);
    conn_fake_take(t.conn, &out);
    assert_string_equal(buf_cstr(&out), "QUIT\r\n");
    conn_fake_receive(t.conn, SV("221 bye\r\n"));
    assert_int_equal(closing.length, 0);
    assert_true(conn_fake_closed(t.conn));
    buf_fini(&out);
    tear_down(&t);
}

static void
quiet(void *arg, struct sv line)
{
    (void)arg;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_free_while_fetching),
        cmocka_unit_test(test_refused_while_fetching),
        cmocka_unit_test(test_late_message),
        cmocka_unit_test(test_kept_unused),
        cmocka_unit_test(test_keep_and_quit),
    };

    log_capture(quiet, NULL);
    return RUN_ROWS("client", check, rows) +
           cmocka_run_group_tests_name("client_life", tests, NULL, NULL);
}
