/* The Received field and the dates in it. */
#include "mail/date.h"
#include "mail/header.h"
#include "mail/received.h"
#include "unit.h"
#include <time.h>

#define DATE "Sun, 22 Nov 2026 00:44:12 +0000"
#define X100                                                                   \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                       \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

#define COMMON                                                                 \
    .by = SV_INIT("gw.test"), .id = SV_INIT("B1"), .wall_s = 1795308252

static const struct row {
    const char *name;
    struct received in;
    const char *out;
} rows[] = {
    {"everything",
     {COMMON, .helo = SV_INIT("client.test"),
      .client_name = SV_INIT("mx.client.test"),
      .client_ip = SV_INIT("192.0.2.1"), .product = SV_INIT("Waxgate"),
      .protocol = SV_INIT("ESMTPS"), .recipient = SV_INIT("a@b"),
      .tls_version = SV_INIT("TLSv1.3"),
      .tls_cipher = SV_INIT("TLS_AES_256_GCM_SHA384"), .tls_bits = 256,
      .tls_verify = SV_INIT("no client certificate")},
     "Received: from client.test (mx.client.test [192.0.2.1])\r\n"
     " by gw.test with ESMTPS (Waxgate)"
     " (using TLS: TLSv1.3, TLS_AES_256_GCM_SHA384)\r\n"
     " (256 bits, no client certificate)\r\n"
     " id B1 for <a@b>; " DATE "\r\n"},
    {"clear text",
     {COMMON, .helo = SV_INIT("client.test"), .client_ip = SV_INIT("::1"),
      .protocol = SV_INIT("SMTP"), .tls_bits = 256},
     "Received: from client.test ([IPv6:::1])\r\n by gw.test with SMTP\r\n"
     " id B1; " DATE "\r\n"},
    {"hostile helo",
     {COMMON, .helo = SV_INIT("a) (b\r\nX: y;\"\\<>\xff\xc3\xbc"),
      .client_ip = SV_INIT("192.0.2.1"), .protocol = SV_INIT("ESMTP")},
     "Received: from a???b??X:?y??????? ([192.0.2.1])\r\n"
     " by gw.test with ESMTP\r\n id B1; " DATE "\r\n"},
    {"no helo",
     {COMMON, .client_ip = SV_INIT("192.0.2.1"), .protocol = SV_INIT("SMTP")},
     "Received: from [192.0.2.1] ([192.0.2.1])\r\n by gw.test with SMTP\r\n"
     " id B1; " DATE "\r\n"},
    {"our own message",
     {COMMON, .protocol = SV_INIT("SMTP")},
     "Received: from localhost\r\n by gw.test with SMTP\r\n"
     " id B1; " DATE "\r\n"},
    {"quoted recipient",
     {COMMON, .protocol = SV_INIT("SMTP"),
      .recipient = SV_INIT("\"a>\r\nb\"@c")},
     "Received: from localhost\r\n by gw.test with SMTP\r\n"
     " id B1 for <\"a>??b\"@c>; " DATE "\r\n"},
    {"utf-8 recipient, ascii transaction",
     {COMMON, .protocol = SV_INIT("ESMTP"), .recipient = SV_INIT("\xc3\xbc@c")},
     "Received: from localhost\r\n by gw.test with ESMTP\r\n"
     " id B1 for <?@c>; " DATE "\r\n"},
    {"utf-8 recipient",
     {COMMON, .protocol = SV_INIT("UTF8SMTPS"),
      .recipient = SV_INIT("\xc3\xbc@c")},
     "Received: from localhost\r\n by gw.test with UTF8SMTPS\r\n"
     " id B1 for <\xc3\xbc@c>; " DATE "\r\n"},
    {"version only",
     {COMMON, .protocol = SV_INIT("ESMTPS"), .tls_version = SV_INIT("TLSv1.2")},
     "Received: from localhost\r\n by gw.test with ESMTPS"
     " (using TLS: TLSv1.2)\r\n id B1; " DATE "\r\n"},
    {"long recipient on a line of its own date",
     {COMMON, .protocol = SV_INIT("SMTP"),
      .recipient = SV_INIT("a.long.local.part@example.org")},
     "Received: from localhost\r\n by gw.test with SMTP\r\n"
     " id B1 for <a.long.local.part@example.org>;\r\n " DATE "\r\n"},
};

static void
check(void **state)
{
    const struct row *r = *state;
    struct buf out = {0};

    received_write(&out, &r->in);
    assert_sv(buf_view(&out), r->out);
    buf_fini(&out);
}

/* Parts of any length leave one field with lines below the limit. */
static void
test_bounds(void **state UNUSED)
{
    struct sv huge = SV(X100 X100 X100 X100 X100 X100 X100 X100 X100 X100 X100);
    struct received in = {.helo = huge,
                          .client_name = huge,
                          .client_ip = huge,
                          .by = huge,
                          .product = huge,
                          .protocol = huge,
                          .id = huge,
                          .recipient = huge,
                          .tls_version = huge,
                          .tls_cipher = huge,
                          .tls_bits = 1,
                          .tls_verify = huge};
    struct mail_field field;
    struct buf out = {0};
    struct sv rest;

    received_write(&out, &in);
    rest = buf_view(&out);
    assert_true(mail_field_next(&rest, &field));
    assert_sv(field.name, "Received");
    assert_int_equal(rest.n, 0);
    for (rest = buf_view(&out); rest.n > 0;)
        assert_true(sv_take_until(&rest, '\n').n <= 998);
    buf_fini(&out);
}

static const struct date_row {
    const char *name, *zone;
    int64_t when;
    const char *text, *iso;
} date_rows[] = {
    {"UTC", "UTC0", 1795308252, DATE, "2026-11-22T00:44:12Z"},
    {"epoch", "UTC0", 0, "Thu, 01 Jan 1970 00:00:00 +0000",
     "1970-01-01T00:00:00Z"},
    {"east", "XXX-5:45", 1795308252, "Sun, 22 Nov 2026 06:29:12 +0545",
     "2026-11-22T00:44:12Z"},
    {"west", "XXX3:30", 1795308252, "Sat, 21 Nov 2026 21:14:12 -0330",
     "2026-11-22T00:44:12Z"},
    {"leap day", "UTC0", 1709164800, "Thu, 29 Feb 2024 00:00:00 +0000",
     "2024-02-29T00:00:00Z"},
    {"before the epoch", "UTC0", -1, "Wed, 31 Dec 1969 23:59:59 +0000",
     "1969-12-31T23:59:59Z"},
    {"no such year", "UTC0", INT64_MAX, "Thu, 01 Jan 1970 00:00:00 +0000",
     "1970-01-01T00:00:00Z"},
};

static void
check_date(void **state)
{
    const struct date_row *r = *state;
    char text[MAIL_DATE_TEXT];

    setenv("TZ", r->zone, 1);
    tzset();
    assert_string_equal(mail_date_text(r->when, text), r->text);
    assert_string_equal(mail_date_iso(r->when, text), r->iso);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds)};

    setenv("TZ", "UTC0", 1);
    return RUN_ROWS("received_write", check, rows) +
           RUN_ROWS("mail_date", check_date, date_rows) +
           cmocka_run_group_tests_name("received", tests, NULL, NULL);
}
