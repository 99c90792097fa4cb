/* The words in which failures of TLS are told. */
#include "transmit/tls_sentence.h"
#include "unit.h"

enum { NOW = 1800000000 };

static char *mx2_names[] = {(char[]){"DNS:mail.example.org"}};
static char *many_names[] = {
    (char[]){"DNS:a.example"}, (char[]){"DNS:b.example"},
    (char[]){"IP:192.0.2.1"},  (char[]){"DNS:c.example"},
    (char[]){"DNS:d.example"}, (char[]){"DNS:e.example"}};
static char subject[] = "CN=old.example", issuer[] = "CN=Test CA";

static const struct tls_certificate_facts other = {.subject = subject,
                                                   .issuer = issuer,
                                                   .names = mx2_names,
                                                   .name_count = 1,
                                                   .not_before = NOW - 86400,
                                                   .not_after = NOW + 86400,
                                                   .spki_sha256 = "0123abcd"};
static const struct tls_certificate_facts many = {.subject = subject,
                                                  .issuer = issuer,
                                                  .names = many_names,
                                                  .name_count = 6,
                                                  .not_after = NOW + 1};
static const struct tls_certificate_facts nameless = {
    .subject = subject, .issuer = issuer, .not_after = NOW + 1};
static const struct tls_certificate_facts expired = {.subject = subject,
                                                     .issuer = issuer,
                                                     .names = mx2_names,
                                                     .name_count = 1,
                                                     .not_after = NOW - 86400};
static const struct tls_certificate_facts early = {.subject = subject,
                                                   .issuer = issuer,
                                                   .names = mx2_names,
                                                   .name_count = 1,
                                                   .not_before = NOW + 86400,
                                                   .not_after =
                                                       NOW + 2 * 86400};
static const struct tls_certificate_facts self = {.subject = subject,
                                                  .issuer = subject,
                                                  .self_signed = true,
                                                  .not_after = NOW + 1};

static const char *const patterns[] = {"mx1.example.net", "*.mx.example.net"};
static struct sts_policy enforce = {.mode = STS_MODE_ENFORCE,
                                    .max_age = 604800,
                                    .pattern_count = 2,
                                    .patterns = patterns};
static const struct sts_evidence policy = {.state = STS_POLICY,
                                           .policy = &enforce,
                                           .id = "20260101",
                                           .fetched = NOW - 3 * 3600 - 1};
static const struct sts_evidence fresh = {
    .state = STS_POLICY, .policy = &enforce, .id = "20260101", .fetched = NOW};
static const struct tls_tlsa record = {3, 1, 1, 0, NULL};
static const struct dane_evidence usable = {.state = DANE_USABLE,
                                            .base = "mx2.example.net",
                                            .tlsa = &record,
                                            .tlsa_count = 1};
static const struct dane_evidence unusable = {.state = DANE_UNUSABLE,
                                              .host = "mx2.example.net",
                                              .tlsa = &record,
                                              .tlsa_count = 1};

static const struct row {
    const char *name;
    enum tls_stage stage;
    const char *reason;
    const struct tls_certificate_facts *peer;
    enum tls_verdict verdict;
    const struct sts_evidence *sts;
    const struct dane_evidence *dane;
    const char *demand, *expected;
} rows[] = {
    {"the name, MTA-STS", STAGE_NAME, "", &other, VERDICT_OK, &policy, NULL, "",
     "mx2.example.net presented a certificate for mail.example.org only; the "
     "MTA-STS policy of example.net (enforce, id 20260101, fetched 3 h ago) "
     "demands mx2.example.net"},
    {"the name, as the stage of the policy", STAGE_STS_CERTIFICATE,
     "the certificate does not name it", &other, VERDICT_OK, &policy, NULL, "",
     "mx2.example.net presented a certificate for mail.example.org only; the "
     "MTA-STS policy of example.net (enforce, id 20260101, fetched 3 h ago) "
     "demands mx2.example.net"},
    {"the chain, as the stage of the policy", STAGE_STS_CERTIFICATE,
     "unable to get local issuer certificate", &other, VERDICT_UNTRUSTED,
     &fresh, NULL, "",
     "mx2.example.net presented a certificate that is not trusted, issued by "
     "CN=Test CA (unable to get local issuer certificate); the MTA-STS policy "
     "of example.net (enforce, id 20260101, fetched just now) demands a valid "
     "certificate of a trusted authority"},
    {"the date, as the stage of the policy", STAGE_STS_CERTIFICATE,
     "certificate has expired", &expired, VERDICT_EXPIRED, &fresh, NULL, "",
     "mx2.example.net presented a certificate that expired on 2027-01-14; the "
     "MTA-STS policy of example.net (enforce, id 20260101, fetched just now) "
     "demands a valid certificate of a trusted authority"},
    {"not listed", STAGE_STS_MX, "", NULL, VERDICT_NONE, &policy, NULL, "",
     "mx2.example.net: the MTA-STS policy does not list the host; the MTA-STS "
     "policy of example.net (enforce, id 20260101, fetched 3 h ago) lists only "
     "mx1.example.net and *.mx.example.net"},
    {"STARTTLS not offered, MTA-STS", STAGE_NOT_OFFERED, "", NULL, VERDICT_NONE,
     &policy, NULL, "",
     "mx2.example.net does not offer STARTTLS; the MTA-STS policy of "
     "example.net (enforce, id 20260101, fetched 3 h ago) demands TLS"},
    {"STARTTLS refused, destination control", STAGE_REFUSED,
     "454 4.7.0 not now", NULL, VERDICT_NONE, NULL, NULL,
     "destination control: required",
     "mx2.example.net refused STARTTLS (454 4.7.0 not now); destination "
     "control: required"},
    {"the name, destination control", STAGE_NAME, "", &many, VERDICT_OK, NULL,
     NULL, "destination control: required-verify",
     "mx2.example.net presented a certificate for a.example, b.example, "
     "c.example and 2 more only; destination control: required-verify demands "
     "mx2.example.net"},
    {"no names at all", STAGE_NAME, "", &nameless, VERDICT_OK, NULL, NULL, "",
     "mx2.example.net presented a certificate without host names "
     "(CN=old.example)"},
    {"not yet valid", STAGE_EXPIRED, "", &early, VERDICT_NOT_YET_VALID, NULL,
     NULL, "",
     "mx2.example.net presented a certificate that is not valid before "
     "2027-01-16"},
    {"signed by itself", STAGE_CHAIN, "self-signed certificate", &self,
     VERDICT_SELF_SIGNED, NULL, NULL, "",
     "mx2.example.net presented a certificate that is not trusted, signed by "
     "itself (self-signed certificate)"},
    {"TLSA mismatch", STAGE_DANE, "no matching DANE TLSA records", &other,
     VERDICT_OK, NULL, &usable, "",
     "mx2.example.net presented a certificate that matches no TLSA record "
     "(SHA-256 of its key: 0123abcd); the TLSA record of mx2.example.net "
     "demands another"},
    {"TLSA records without a usable one", STAGE_NOT_OFFERED, "", NULL,
     VERDICT_NONE, NULL, &unusable, "",
     "mx2.example.net does not offer STARTTLS; the TLSA record of "
     "mx2.example.net demands TLS"},
    {"handshake", STAGE_HANDSHAKE, "alert handshake failure", NULL,
     VERDICT_NONE, NULL, NULL, "",
     "the TLS handshake with mx2.example.net failed (alert handshake "
     "failure)"},
    {"client certificate", STAGE_CLIENT_CERTIFICATE, "", NULL, VERDICT_NONE,
     NULL, NULL, "",
     "mx2.example.net asked for a client certificate and we had none"},
    {"a peer's control characters", STAGE_REFUSED, "454 \x1b[2J\xff", NULL,
     VERDICT_NONE, NULL, NULL, "",
     "mx2.example.net refused STARTTLS (454 ?[2J?)"},
};

static void
check(void **state)
{
    static const char *const names[] = {"mx2.example.net"};
    const struct row *row = *state;
    struct tls_failure failure = {.stage = row->stage};
    struct tls_sentence facts = {.failure = &failure,
                                 .host = "mx2.example.net",
                                 .domain = "example.net",
                                 .peer = row->peer,
                                 .verdict = row->verdict,
                                 .names = names,
                                 .name_count = 1,
                                 .dane = row->dane,
                                 .sts = row->sts,
                                 .demand = row->demand,
                                 .now_s = NOW};
    char text[TLS_SENTENCE_TEXT], small[24];

    snprintf(failure.reason, sizeof failure.reason, "%s", row->reason);
    assert_string_equal(tls_explain_sentence(&facts, text, sizeof text),
                        row->expected);
    tls_explain_sentence(&facts, small, sizeof small);
    assert_int_equal(strlen(small), sizeof small - 1);
    assert_string_equal(small + sizeof small - 4, "...");
}

int
main(void)
{
    return RUN_ROWS("tls_sentence", check, rows);
}
