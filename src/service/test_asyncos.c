/* Events in, lines of AsyncOS out. */
#include "base/buf.h"
#include "base/clock.h"
#include "service/asyncos_log.h"
#include "unit.h"
#include <fcntl.h>
#include <unistd.h>

enum { FIELDS = 10 };

/* Constants, unlike LOG_STR() and LOG_U64(). */
#define TEXT(k, v)                                                             \
    {                                                                          \
        .key = (k), .type = LOG_TYPE_SV, .value.text = SV_INIT(v)              \
    }
#define NUMBER(k, v)                                                           \
    {                                                                          \
        .key = (k), .type = LOG_TYPE_U64, .value.u64 = (v)                     \
    }

static const struct row {
    const char *name, *event;
    struct log_field fields[FIELDS];
    const char *lines; /* each with its newline */
} rows[] = {
    {"connect",
     "smtpd.connect",
     {TEXT("session", "S6b0252f600000"), TEXT("listener", "Inbound"),
      TEXT("peer", "192.0.2.9:4000"), TEXT("local", "192.0.2.25:25"),
      TEXT("name", "mx.example.org"), TEXT("group", "ACCEPTLIST"),
      TEXT("behavior", "accept"), TEXT("matched", "192.0.2.0/24")},
     "New SMTP ICID 1882523615363072 interface Inbound (192.0.2.25) address "
     "192.0.2.9 reverse dns host mx.example.org verified yes\n"
     "ICID 1882523615363072 ACCEPT SG ACCEPTLIST match 192.0.2.0/24 SBRS "
     "None\n"},
    {"connect by IPv6, without a name",
     "smtpd.connect",
     {TEXT("session", "S1f"), TEXT("listener", "L"),
      TEXT("peer", "[2001:db8::9]:4000"), TEXT("local", "[::1]:25"),
      TEXT("group", "BAD"), TEXT("behavior", "reject"), TEXT("matched", "ALL")},
     "New SMTP ICID 31 interface L (::1) address 2001:db8::9 reverse dns host "
     "unknown verified no\nICID 31 REJECT SG BAD match ALL SBRS None\n"},
    {"TLS in",
     "smtpd.tls",
     {TEXT("session", "S1"), TEXT("result", "ok"), TEXT("version", "TLSv1.2"),
      TEXT("cipher", "AES128-SHA")},
     "ICID 1 TLS success protocol TLSv1.2 cipher AES128-SHA\n"},
    {"TLS in failed",
     "smtpd.tls",
     {TEXT("session", "S1"), TEXT("result", "failed"),
      TEXT("reason", "Connection reset by peer")},
     "ICID 1 TLS failed: Connection reset by peer\n"},
    {"TLS was required",
     "smtpd.refuse",
     {TEXT("session", "S1"), NUMBER("code", 530)},
     "ICID 1 TLS was required but remote host did not initiate it\n"},
    {"another refusal",
     "smtpd.refuse",
     {TEXT("session", "S1"), NUMBER("code", 550)},
     ""},
    {"first recipient",
     "smtpd.rcpt",
     {TEXT("session", "S2"), TEXT("queue", "Bff"), TEXT("from", ""),
      NUMBER("rcpt", 0), TEXT("to", "b@example.org")},
     "Start MID 255 ICID 2\nMID 255 ICID 2 From: <>\n"
     "MID 255 ICID 2 RID 0 To: <b@example.org>\n"},
    {"second recipient",
     "smtpd.rcpt",
     {TEXT("session", "S2"), TEXT("queue", "Bff"), TEXT("from", ""),
      NUMBER("rcpt", 1), TEXT("to", "c@example.org")},
     "MID 255 ICID 2 RID 1 To: <c@example.org>\n"},
    {"message",
     "smtpd.message",
     {TEXT("session", "S2"), TEXT("queue", "Bff"),
      TEXT("from", "a@example.net"), NUMBER("size", 1234)},
     "MID 255 ready 1234 bytes from <a@example.net>\n"
     "MID 255 queued for delivery\n"},
    {"close",
     "smtpd.close",
     {TEXT("session", "S2"), TEXT("reason", "quit")},
     "ICID 2 close\n"},
    {"lost",
     "smtpd.close",
     {TEXT("session", "S2"), TEXT("reason", "connection-lost")},
     "ICID 2 lost\nICID 2 close\n"},
    {"connect out",
     "delivery.connect",
     {TEXT("delivery", "D1e"), TEXT("result", "ok"),
      TEXT("local", "2001:db8::1"), TEXT("ip", "2001:db8::25"),
      NUMBER("port", 25)},
     "New SMTP DCID 30 interface 2001:db8::1 address 2001:db8::25 port 25\n"},
    {"connect out failed",
     "delivery.connect",
     {TEXT("delivery", "D3f"), TEXT("result", "failed"),
      TEXT("destination", "example.org"), TEXT("ip", "192.0.2.1"),
      NUMBER("port", 25), TEXT("reason", "connection refused")},
     "Connection Error: DCID 63 domain: example.org IP: 192.0.2.1 port: 25 "
     "details: [Errno 0] connection refused interface:  reason: network "
     "error\n"},
    {"TLS out",
     "delivery.tls",
     {TEXT("delivery", "D1"), TEXT("result", "ok"), TEXT("version", "TLSv1.3"),
      TEXT("cipher", "X"), TEXT("destination", "example.org")},
     "DCID 1 TLS success protocol TLSv1.3 cipher X for example.org\n"},
    {"TLS out failed, demanded",
     "delivery.tls",
     {TEXT("delivery", "D1"), TEXT("result", "failed"),
      TEXT("floor", "verified"), TEXT("ip", "192.0.2.1"),
      TEXT("reason", "STARTTLS unexpected response")},
     "DCID 1 TLS failed: STARTTLS unexpected response\n"
     "DCID 1 IP 192.0.2.1 TLS was required but could not be successfully "
     "negotiated\n"},
    {"TLS out failed, not demanded",
     "delivery.tls",
     {TEXT("delivery", "D1"), TEXT("result", "failed"),
      TEXT("floor", "opportunistic"), TEXT("reason", "x")},
     "DCID 1 TLS failed: x\n"},
    {"clear text",
     "delivery.tls",
     {TEXT("delivery", "D1"), TEXT("result", "clear")},
     ""},
    {"delivered",
     "queue.result",
     {TEXT("delivery", "D1"), TEXT("queue", "B2"), NUMBER("recipient", 3),
      TEXT("outcome", "delivered"), TEXT("text", "it's queued\nas 17")},
     "Delivery start DCID 1 MID 2 to RID [3]\n"
     "Message done DCID 1 MID 2 to RID [3]\n"
     "MID 2 RID [3] Response 'it\\'s queued as 17'\n"},
    {"bounced",
     "queue.result",
     {TEXT("delivery", "D1"), TEXT("queue", "B2"), NUMBER("recipient", 0),
      TEXT("outcome", "failed"), NUMBER("code", 550), TEXT("status", "5.1.1"),
      TEXT("text", "no\r\nsuch \x1b[1muser")},
     "Bounced: DCID 1 MID 2 to RID 0 - 5.1.1 - Unknown address error ('550', "
     "['no  such ?[1muser']) []\n"},
    {"expired without a reply",
     "queue.result",
     {TEXT("queue", "B2"), NUMBER("recipient", 0), TEXT("outcome", "expired"),
      TEXT("status", "4.4.7"), TEXT("reason", "connection refused")},
     "Bounced: DCID 0 MID 2 to RID 0 - 4.4.7 - Delivery expired (message too "
     "old) ('000', ['connection refused']) []\n"},
    {"deferred",
     "queue.result",
     {TEXT("delivery", "D1"), TEXT("queue", "B2"), NUMBER("recipient", 0),
      TEXT("outcome", "deferred"), NUMBER("code", 451), TEXT("status", "4.7.0"),
      TEXT("text", "later"), NUMBER("next_s", 100)},
     "Delayed: DCID 1 MID 2 to RID 0 - 4.7.0 - Other mail system problem "
     "('451', ['later']) []\n"
     "Message 2 to RID [0] pending till Fri Jan 15 08:01:40 2027\n"},
    {"done",
     "queue.done",
     {TEXT("queue", "B2")},
     "Message finished MID 2 done\n"},
    {"notice",
     "queue.notice",
     {TEXT("queue", "B2"), TEXT("notice", "B3"), TEXT("to", "a@example.net")},
     "MID 3 was generated for bounce of MID 2\nStart MID 3 ICID 0\n"
     "MID 3 ICID 0 From: <>\nMID 3 ICID 0 RID 0 To: <a@example.net>\n"
     "MID 3 queued for delivery\n"},
    {"report",
     "queue.submit",
     {TEXT("queue", "B3"), TEXT("from", ""), TEXT("to", "a@example.net"),
      NUMBER("size", 10)},
     "Start MID 3 ICID 0\nMID 3 ICID 0 From: <>\n"
     "MID 3 ICID 0 RID 0 To: <a@example.net>\n"
     "MID 3 ready 10 bytes from <>\nMID 3 queued for delivery\n"},
    {"connection closed",
     "delivery.close",
     {TEXT("delivery", "D1")},
     "DCID 1 close\n"},
    {"another event", "queue.open", {NUMBER("messages", 1)}, ""},
    {"strange ids",
     "queue.done",
     {TEXT("queue", "Bxyz")},
     "Message finished MID 0 done\n"},
    {"forged line",
     "smtpd.rcpt",
     {TEXT("session", "S2"), TEXT("queue", "Bff"), NUMBER("rcpt", 1),
      TEXT("to", "\"a\n b\"@example.org")},
     "MID 255 ICID 2 RID 1 To: <\"a  b\"@example.org>\n"},
};

static void
on_line(void *arg, struct sv line)
{
    struct buf *out = arg;

    buf_add(out, line);
    buf_add_char(out, '\n');
}

static void
check(void **state)
{
    const struct row *r = *state;
    const struct log_record record = {r->event, LOG_INFO, NULL, r->fields,
                                      FIELDS};
    struct buf out = {0};

    clock_freeze(1000000, 1800000000);
    asyncos_log_lines(&record, on_line, &out);
    assert_string_equal(buf_cstr(&out), r->lines);
    buf_fini(&out);
}

/* A text of a peer that is too long for a line. */
static void
test_long(void **state UNUSED)
{
    char text[5000];
    struct log_field fields[] = {TEXT("session", "S1"),
                                 TEXT("result", "failed"),
                                 LOG_SV("reason", ((struct sv){0}))};
    const struct log_record record = {"smtpd.tls", LOG_INFO, NULL, fields, 3};
    struct buf out = {0};

    memset(text, '\'', sizeof text);
    fields[2].value.text = (struct sv){text, sizeof text};
    asyncos_log_lines(&record, on_line, &out);
    assert_in_range(buf_length(&out), 400, 600);
    buf_fini(&out);
}

static void
test_file(void **state UNUSED)
{
    char path[] = "/tmp/waxgate-asyncos.XXXXXX", text[256];
    int fd = mkstemp(path);
    struct err err;
    ssize_t got;

    assert_true(fd >= 0);
    clock_freeze(1000000, 1800000000);
    assert_true(asyncos_log_try("", &err));
    assert_false(asyncos_log_try("/nonexistent/x", &err));
    assert_false(asyncos_log_open("/nonexistent/x", &err));
    assert_true(asyncos_log_open("", &err));
    assert_false(log_observed());
    assert_true(asyncos_log_open(path, &err));
    assert_true(asyncos_log_open(path, &err));
    log_event(NULL, LOG_DEBUG, "queue.done", LOG_STR("queue", "B2"));
    assert_true(asyncos_log_open("", &err));
    log_event(NULL, LOG_DEBUG, "queue.done", LOG_STR("queue", "B3"));
    got = read(fd, text, sizeof text - 1);
    assert_true(got > 0);
    text[got] = '\0';
    assert_string_equal(
        text, "Fri Jan 15 08:00:00 2027 Info: Message finished MID 2 done\n");
    close(fd);
    unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_file),
    };

    return RUN_ROWS("asyncos", check, rows) +
           cmocka_run_group_tests_name("asyncos_log", tests, NULL, NULL);
}
