/* The ledger: what is written down, and messages that are moved into it. */
#include "base/arena.h"
#include "spool/ledger.h"
#include "spool/test_support.h"
#include <errno.h>
#include <fcntl.h>

/* --- Attempts ----------------------------------------------------------- */

static struct ledger_result two_results[] = {
    {0, OUTCOME_DELIVERED, 250, {2, 1, 5}, {"ok", 2}},
    {7, OUTCOME_DEFERRED, 451, {4, 7, 1}, {NULL, 0}},
};

static const struct attempt_row {
    const char *name;
    struct ledger_attempt attempt;
} attempts[] = {
    {"bare", {.id = 1}},
    {"failed in the handshake",
     {.id = UINT64_C(1) << 63 | 5,
      .queue_id = {"B4d3dcb910000", 13},
      .attempt = 3,
      .started_us = 1700000000000000,
      .ended_us = 1700000001000000,
      .next_retry_us = 1700000060000000,
      .destination = {"example.org", 11},
      .host = {"mx.example.org", 14},
      .ip = {"192.0.2.1", 9},
      .port = 25,
      .delivery = {"d17", 3},
      .stage = STAGE_HANDSHAKE,
      .reason = {"wrong version number", 20}}},
    {"under a policy",
     {.id = 11,
      .stage = STAGE_STS_CERTIFICATE,
      .tls = {.authority = {"mta-sts", 7},
              .floor = {"verified", 8},
              .reasons = {"control-preferred sts-enforce", 29},
              .dane = {"absent", 6},
              .sts = {"enforce 7", 9},
              .noted = {"noted", 5},
              .group = {"X25519", 6},
              .server_name = {"mx.example.org", 14},
              .subject = {"CN=mx", 5},
              .issuer = {"CN=ca", 5},
              .serial = {"0a", 2},
              .sha256 = {"00", 2},
              .spki_sha256 = {"ff", 2},
              .names = {"DNS:mx.example.org", 18},
              .not_after = 1800000000}}},
    {"delivered in part",
     {.id = 9,
      .tls_version = {"TLSv1.3", 7},
      .tls_cipher = {"TLS_AES_256_GCM_SHA384", 22},
      .tls_bits = 256,
      .tls_resumed = true,
      .tls_verify = {"ok", 2},
      .message_final = true,
      .results = two_results,
      .result_count = 2}},
};

static void
assert_same_tls(const struct ledger_tls *a, const struct ledger_tls *b)
{
    assert_true(sv_eq(a->authority, b->authority));
    assert_true(sv_eq(a->floor, b->floor));
    assert_true(sv_eq(a->reasons, b->reasons));
    assert_true(sv_eq(a->dane, b->dane) && sv_eq(a->sts, b->sts));
    assert_true(sv_eq(a->noted, b->noted) && sv_eq(a->group, b->group));
    assert_true(sv_eq(a->server_name, b->server_name));
    assert_true(sv_eq(a->subject, b->subject));
    assert_true(sv_eq(a->issuer, b->issuer) && sv_eq(a->serial, b->serial));
    assert_true(sv_eq(a->sha256, b->sha256));
    assert_true(sv_eq(a->spki_sha256, b->spki_sha256));
    assert_true(sv_eq(a->names, b->names));
    assert_int_equal(a->not_after, b->not_after);
}

static void
assert_same(const struct ledger_attempt *a, const struct ledger_attempt *b)
{
    assert_int_equal(a->id, b->id);
    assert_true(sv_eq(a->queue_id, b->queue_id));
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->started_us, b->started_us);
    assert_int_equal(a->ended_us, b->ended_us);
    assert_int_equal(a->next_retry_us, b->next_retry_us);
    assert_true(sv_eq(a->destination, b->destination));
    assert_true(sv_eq(a->host, b->host) && sv_eq(a->ip, b->ip));
    assert_int_equal(a->port, b->port);
    assert_true(sv_eq(a->delivery, b->delivery));
    assert_int_equal(a->stage, b->stage);
    assert_true(sv_eq(a->reason, b->reason));
    assert_true(sv_eq(a->tls_version, b->tls_version));
    assert_true(sv_eq(a->tls_cipher, b->tls_cipher));
    assert_int_equal(a->tls_bits, b->tls_bits);
    assert_int_equal(a->tls_resumed, b->tls_resumed);
    assert_true(sv_eq(a->tls_verify, b->tls_verify));
    assert_same_tls(&a->tls, &b->tls);
    assert_int_equal(a->message_final, b->message_final);
    assert_int_equal(a->result_count, b->result_count);
    for (size_t i = 0; i < a->result_count; i++) {
        const struct ledger_result *x = &a->results[i];
        const struct ledger_result *y = &b->results[i];

        assert_int_equal(x->recipient, y->recipient);
        assert_int_equal(x->outcome, y->outcome);
        assert_int_equal(x->code, y->code);
        assert_memory_equal(&x->status, &y->status, sizeof x->status);
        assert_true(sv_eq(x->text, y->text));
    }
}

static void
check_attempt(void **state)
{
    const struct attempt_row *row = *state;
    struct ledger_attempt back;
    struct arena arena;
    struct err err = {0};
    struct buf bytes = {0};

    arena_init(&arena, 1024);
    ledger_attempt_encode(&row->attempt, &bytes);
    assert_true(ledger_attempt_decode(buf_view(&bytes), &arena, &back, &err));
    assert_same(&row->attempt, &back);
    /* Items that a later version may write are passed over. */
    buf_add(&bytes, (struct sv){"\xf0\0\x02\0hi", 6});
    assert_true(ledger_attempt_decode(buf_view(&bytes), &arena, &back, &err));
    assert_same(&row->attempt, &back);
    for (size_t n = buf_length(&bytes) - 5; n < buf_length(&bytes); n++)
        assert_false(ledger_attempt_decode((struct sv){buf_view(&bytes).p, n},
                                           &arena, &back, &err));
    buf_fini(&bytes);
    arena_fini(&arena);
}

/* --- With a spool ------------------------------------------------------- */

static struct loop *loop;
static struct spool *spool; /* the ledger's */

static void
open_ledger(void)
{
    struct err err = {0};

    spool = spool_open_ledger(test_dir, &small_limits, &err);
    assert_non_null(spool);
}

/* --- Sessions ------------------------------------------------------------ */

static const struct session_row {
    const char *name;
    struct ledger_session session;
    bool malformed;
} sessions[] = {
    {"success without a policy",
     {.ended_us = 1700000000000000, .domain = SV_INIT("example.org")},
     false},
    {"everything",
     {.ended_us = 1700000000000001,
      .domain = SV_INIT("example.org"),
      .policy = LEDGER_POLICY_STS,
      .policy_id = SV_INIT("20261122"),
      .policy_text = SV_INIT("version: STSv1\nmode: enforce\n"),
      .result = TLS_RESULT_HOST_MISMATCH,
      .enforced = true,
      .stage = STAGE_HANDSHAKE,
      .reason = SV_INIT("names another"),
      .host = SV_INIT("mx.example.org"),
      .ip = SV_INIT("192.0.2.1"),
      .helo = SV_INIT("mx"),
      .local_ip = SV_INIT("192.0.2.9"),
      .tls_version = SV_INIT("TLSv1.3"),
      .tls_cipher = SV_INIT("TLS_AES_256_GCM_SHA384"),
      .delivery = SV_INIT("d17")},
     false},
    {"no domain", {.ended_us = 1700000000000000}, true},
    {"no time", {.domain = SV_INIT("example.org")}, true},
};

static void
assert_same_session(const struct ledger_session *a,
                    const struct ledger_session *b)
{
    assert_true(a->ended_us == b->ended_us && a->policy == b->policy);
    assert_true(a->result == b->result && a->enforced == b->enforced);
    assert_int_equal(a->stage, b->stage);
    assert_true(sv_eq(a->domain, b->domain));
    assert_true(sv_eq(a->policy_id, b->policy_id));
    assert_true(sv_eq(a->policy_text, b->policy_text));
    assert_true(sv_eq(a->reason, b->reason));
    assert_true(sv_eq(a->host, b->host) && sv_eq(a->ip, b->ip));
    assert_true(sv_eq(a->helo, b->helo) && sv_eq(a->local_ip, b->local_ip));
    assert_true(sv_eq(a->tls_version, b->tls_version));
    assert_true(sv_eq(a->tls_cipher, b->tls_cipher));
    assert_true(sv_eq(a->delivery, b->delivery));
}

static void
check_session(void **state)
{
    const struct session_row *row = *state;
    struct ledger_session again;
    struct buf out = {0};
    struct err err = {0};
    struct sv bytes;

    ledger_session_encode(&row->session, &out);
    bytes = buf_view(&out);
    assert_int_equal(ledger_session_decode(bytes, &again, &err),
                     !row->malformed);
    if (!row->malformed)
        assert_same_session(&row->session, &again);
    bytes.n--;
    assert_false(ledger_session_decode(bytes, &again, &err));
    buf_fini(&out);
}

static void
session_names(void)
{
    assert_string_equal(ledger_tls_result_name(TLS_RESULT_OK), "ok");
    assert_string_equal(ledger_tls_result_name(TLS_RESULT_STS_WEBPKI),
                        "sts-webpki-invalid");
    assert_string_equal(ledger_tls_result_name(TLS_RESULT_COUNT), "unknown");
}

static void
actions(void)
{
    struct err err = {0};
    struct buf bytes = {0};
    struct ledger_action back;

    for (int kind = ACTION_HOLD; kind <= ACTION_MOVED; kind++) {
        struct ledger_action action = {5, (enum ledger_action_kind)kind,
                                       SV("admin")};

        buf_reset(&bytes);
        ledger_action_encode(&action, &bytes);
        assert_true(ledger_action_decode(buf_view(&bytes), &back, &err));
        assert_int_equal(back.kind, kind);
        assert_int_equal(back.id, 5);
        assert_true(sv_eq(back.by, action.by));
        assert_string_not_equal(ledger_action_name(action.kind), "unknown");
    }
    assert_false(ledger_action_decode(SV(""), &back, &err));
    buf_fini(&bytes);
}

static const struct envelope_recipient recipient = {
    .address = {"bob@example.org", 15}, .domain = {"example.org", 11}};

static struct spool_place
move(struct spool_content *content, struct sv text, spool_message_id *id)
{
    struct err err = {0};
    struct spool_place place = {0};
    struct envelope_recipient to = recipient;
    struct envelope envelope = {
        .queue_id = SV("Q7"), .recipients = &to, .recipient_count = 1};

    assert_true(spool_ledger_message(spool, &envelope, content, text, id,
                                     &place, &err));
    assert_int_equal(spool_place_journal(place), SPOOL_LEDGER);
    return place;
}

static void
own_messages(void)
{
    static char text[200000];
    const size_t lengths[] = {0, 100, sizeof text};

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = pattern(7, i);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        spool_message_id id = 0;
        struct spool_place place =
            move(NULL, (struct sv){text, lengths[i]}, &id);

        assert_true(id >> 63 == 1);
        assert_int_equal(check_content(spool, loop, place, 7), 0);
    }
}

/* Out of the intake, which is then reclaimed; and again within the ledger. */
static void
copy_forward(void)
{
    const uint64_t lengths[] = {0, 5000, 300000};
    struct spool *intake = open_intake(&small_limits);
    struct err err = {0};
    struct found found;

    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        store(intake, loop, 7, lengths[i]);
    read_all(spool, SPOOL_INTAKE, 0, &found);
    assert_int_equal(found.records, COUNT_OF(lengths));
    spool_close(intake);
    intake = open_intake(&small_limits); /* a new segment */
    struct spool_place places[COUNT_OF(lengths)];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(lengths); i++) {
            struct spool_place from = round == 0 ? found.places[i] : places[i];
            struct spool_content *content =
                spool_content_open(spool, from, &err);
            spool_message_id id = 40 + i;

            assert_non_null(content);
            places[i] = move(content, (struct sv){0}, &id);
            assert_int_equal(id, 40 + i);
            spool_content_close(content);
        }
        enum spool_journal journal = round == 0 ? SPOOL_INTAKE : SPOOL_LEDGER;
        if (round == 0) {
            assert_true(spool_reclaim(spool, journal, UINT32_MAX, NULL, 0) > 0);
            assert_null(spool_content_open(spool, found.places[0], &err));
        }
    }
    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        assert_int_equal(check_content(spool, loop, places[i], 7), 0);
    assert_int_equal(spool_verify(test_dir, stderr, &err), 0);
    spool_close(intake);
}

static void
flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    char byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (char)(byte ^ 0x10);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void
assert_checkpoint(const char *text)
{
    struct err err = {0};
    struct buf out = {0};
    uint64_t intake = 0;
    uint64_t ledger = 0;
    bool ok = spool_checkpoint_read(spool, &out, &intake, &ledger, &err);

    assert_int_equal(ok, text != NULL);
    if (ok) {
        assert_sv(buf_view(&out), text);
        assert_true(intake == 30 && ledger == 40);
    } else {
        assert_int_equal(err.code, ENOENT);
        assert_int_equal(buf_length(&out), 0);
    }
    buf_fini(&out);
}

static void
checkpoints(void)
{
    struct err err = {0};
    char path[128];
    char copy[128];

    snprintf(path, sizeof path, "%s/spool/ledger/checkpoint", test_dir);
    snprintf(copy, sizeof copy, "%s/spool/ledger/checkpoint.copy", test_dir);
    assert_checkpoint(NULL);
    assert_true(spool_checkpoint_write(spool, SV("first"), 1, 2, &err));
    assert_true(spool_checkpoint_write(spool, SV("second"), 30, 40, &err));
    assert_checkpoint("second");
    for (off_t at = 0; at < 54; at++) {
        flip(path, at);
        assert_checkpoint("second"); /* by the copy */
        assert_int_equal(access(path, F_OK), -1);
        assert_checkpoint("second"); /* also at the start after that */
        flip(copy, at);
        assert_checkpoint(NULL);
        assert_int_equal(access(copy, F_OK), -1);
        assert_true(spool_checkpoint_write(spool, SV("second"), 30, 40, &err));
    }
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(truncate(copy, 20), 0);
    assert_checkpoint(NULL);
}

/* A crash between the two files: what the newer one frees is not there for the
 * older one any more. */
static void
checkpoint_copy_is_older(void)
{
    struct err err = {0};
    char path[128];
    char copy[128];
    char kept[128];

    snprintf(path, sizeof path, "%s/spool/ledger/checkpoint", test_dir);
    snprintf(copy, sizeof copy, "%s/spool/ledger/checkpoint.copy", test_dir);
    snprintf(kept, sizeof kept, "%s/spool/ledger/kept", test_dir);
    assert_true(spool_checkpoint_write(spool, SV("older"), 1, 2, &err));
    assert_int_equal(rename(copy, kept), 0);
    assert_true(spool_checkpoint_write(spool, SV("newer"), 30, 40, &err));
    assert_int_equal(rename(kept, copy), 0);
    assert_checkpoint("newer");
    assert_int_equal(access(copy, F_OK), -1);
}

static const struct named {
    const char *name;
    void (*run)(void);
} named[] = {
    {"actions", actions},
    {"names of results", session_names},
    {"messages made here", own_messages},
    {"copied forward, twice", copy_forward},
    {"checkpoints", checkpoints},
    {"a copy of an older checkpoint", checkpoint_copy_is_older},
};

static void
check_named(void **state)
{
    const struct named *row = *state;

    make_dir();
    loop = loop_new_manual(1000, 1700000000);
    open_ledger();
    row->run();
    spool_close(spool);
    loop_advance(loop, 0); /* what was on its way */
    loop_free(loop);
    remove_dir();
}

int
main(void)
{
    return RUN_ROWS("attempts", check_attempt, attempts) +
           RUN_ROWS("sessions", check_session, sessions) +
           RUN_ROWS("ledger", check_named, named);
}
