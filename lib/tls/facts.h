/* tls/facts.h - what was negotiated, and what went wrong, as values.
 * The same facts stand in the log, the Received field, the ledger, the queue
 * view and the reports; the same failure feeds log, DSN and counters. */
#ifndef TLS_FACTS_H
#define TLS_FACTS_H
#include "base/base.h"
#include "tls/describe.h"

/* Stage of a delivery or session at which TLS (or what leads to it) failed.
 * One list: enum, name in logs and JSON, sentence for people. */
#define TLS_STAGES(X)                                                          \
    X(STAGE_NONE, "none", "no failure")                                        \
    X(STAGE_DNS, "dns", "the address of the host could not be looked up")      \
    X(STAGE_CONNECT, "connect", "the connection could not be made")            \
    X(STAGE_GREETING, "greeting", "the server did not greet us properly")      \
    X(STAGE_EHLO, "ehlo", "the server refused EHLO")                           \
    X(STAGE_NOT_OFFERED, "starttls-not-offered",                               \
      "the server does not offer STARTTLS")                                    \
    X(STAGE_REFUSED, "starttls-refused", "the server refused STARTTLS")        \
    X(STAGE_INJECTED, "starttls-injected",                                     \
      "clear-text bytes followed the STARTTLS exchange")                       \
    X(STAGE_HANDSHAKE, "handshake", "the TLS handshake failed")                \
    X(STAGE_VERSION, "version", "no common TLS version")                       \
    X(STAGE_CIPHER, "cipher", "no common cipher suite")                        \
    X(STAGE_CHAIN, "certificate-chain", "the certificate is not trusted")      \
    X(STAGE_NAME, "certificate-name", "the certificate is for another name")   \
    X(STAGE_EXPIRED, "certificate-expired",                                    \
      "the certificate is expired or not yet valid")                           \
    X(STAGE_DANE, "dane", "no TLSA record matches the certificate")            \
    X(STAGE_STS_MX, "sts-mx", "the MTA-STS policy does not list the host")     \
    X(STAGE_STS_CERTIFICATE, "sts-certificate",                                \
      "the certificate does not satisfy the MTA-STS policy")                   \
    X(STAGE_CLIENT_CERTIFICATE, "client-certificate-requested",                \
      "the server asked for a client certificate and we had none")             \
    X(STAGE_TIMEOUT, "timeout", "the peer did not answer in time")             \
    X(STAGE_IO, "io", "the connection broke")                                  \
    X(STAGE_PROTOCOL, "protocol", "the peer did not speak proper SMTP")        \
    X(STAGE_SMTP, "smtp", "the server refused by SMTP reply")

#define AS_STAGE_ENUM(name, text, sentence) name,
enum tls_stage { TLS_STAGES(AS_STAGE_ENUM) TLS_STAGE_COUNT };
#undef AS_STAGE_ENUM

const char *tls_stage_name(enum tls_stage stage);     /* "handshake" */
const char *tls_stage_sentence(enum tls_stage stage); /* for people */

struct tls_failure {
    enum tls_stage stage;
    char reason[400]; /* the library's or system's own words, or a sentence that
                       * says it all; printable */
};
/* Fills both; bytes outside printable ASCII are replaced. */
void tls_failure_set(struct tls_failure *failure, enum tls_stage stage,
                     const char *fmt, ...) PRINTF_LIKE(3, 4);

enum tls_verify {
    TLS_VERIFY_NONE,   /* no certificate, or nobody asked */
    TLS_VERIFY_OK,     /* chain and what else was demanded */
    TLS_VERIFY_FAILED, /* there was one and it did not pass */
};
const char *tls_verify_name(enum tls_verify verify); /* none, ok, failed */

/* What the check of a certificate found; the first reason when there were
 * several.  VERDICT_NAME comes from those who compare names. One list: enum,
 * name in logs and rules, sentence for people. */
#define TLS_VERDICTS(X)                                                        \
    X(VERDICT_NONE, "none", "no certificate was shown")                        \
    X(VERDICT_OK, "ok", "the certificate is valid")                            \
    X(VERDICT_EXPIRED, "expired", "the certificate has expired")               \
    X(VERDICT_NOT_YET_VALID, "not-yet-valid",                                  \
      "the certificate is not valid yet")                                      \
    X(VERDICT_UNTRUSTED, "untrusted",                                          \
      "the certificate comes from nobody whom we trust")                       \
    X(VERDICT_SELF_SIGNED, "self-signed", "the certificate is self-signed")    \
    X(VERDICT_REVOKED, "revoked", "the certificate was revoked")               \
    X(VERDICT_PURPOSE, "wrong-purpose",                                        \
      "the certificate is not made for this purpose")                          \
    X(VERDICT_NAME, "wrong-name", "the certificate is for another name")       \
    X(VERDICT_WEAK, "weak", "a key or signature of the chain is too weak")     \
    X(VERDICT_CRL, "crl-unusable",                                             \
      "the revocation list is out of date or not genuine")                     \
    X(VERDICT_INVALID, "invalid", "the certificate chain is not valid")

#define AS_VERDICT_ENUM(name, text, sentence) name,
enum tls_verdict { TLS_VERDICTS(AS_VERDICT_ENUM) TLS_VERDICT_COUNT };
#undef AS_VERDICT_ENUM
const char *tls_verdict_name(enum tls_verdict verdict);     /* "expired" */
const char *tls_verdict_sentence(enum tls_verdict verdict); /* for people */

/* How the check against TLSA records went (tls/dane.h). */
struct tls_dane_facts {
    bool asked; /* the connection was made with records to match */
    bool matched;
    uint8_t usage, selector, matching; /* of the record that matched */
    int depth;        /* of the certificate that matched; 0: the leaf */
    char name[256];   /* that matched, with DANE-TA; "" */
    char reason[200]; /* why none did; "" */
};

/* All texts are printable and live as long as the connection; none is NULL. */
struct tls_facts {
    const char *version; /* "TLSv1.3" as OpenSSL spells it */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    int bits;            /* secret bits of the cipher */
    const char *group;   /* "X25519", "" when unknown */
    bool resumed;
    enum tls_verify verify;    /* of the peer's certificate */
    enum tls_verdict verdict;  /* the same in detail */
    const char *verify_reason; /* the library's words for it, "" when ok */
    const char *server_name;   /* SNI sent or received, "" without */
    bool has_peer_certificate;
    bool certificate_requested; /* client: the server asked for one */
    /* Of the peer's certificate: everything, or NULL; and what is needed most,
     * "" without one. */
    const struct tls_certificate_facts *peer;
    const char *peer_subject;
    const char *peer_issuer;
    const char *peer_sha256; /* hex of the certificate's digest */
    /* Never NULL.  Where it was asked, verify and verdict tell its result too:
     * what the public authorities would say of the chain does not count. */
    const struct tls_dane_facts *dane;
};
/* Puts "" where a text is NULL, for facts that are made by hand in tests. */
void tls_facts_complete(struct tls_facts *facts);
#endif
