/* tls/facts.h - what was negotiated, and what went wrong, as values.
 * The same facts stand in the log, the Received field, the ledger, the queue
 * view and the reports; the same failure feeds log, DSN and counters. */
#ifndef TLS_FACTS_H
#define TLS_FACTS_H
#include "base/base.h"

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
    char reason[200]; /* the library's or system's own words; printable */
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

/* Names point to storage of the TLS library or into this struct and live as
 * long as the connection. */
struct tls_facts {
    const char *version; /* "TLSv1.3" as OpenSSL spells it */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    int bits;            /* secret bits of the cipher */
    const char *group;   /* "X25519", "" when unknown */
    bool resumed;
    enum tls_verify verify; /* of the peer's certificate */
    char verify_reason[80]; /* "certificate has expired", "" when ok */
    char server_name[256];  /* SNI sent or received, "" without */
    bool has_peer_certificate;
    bool certificate_requested; /* client: the server asked for one */
    /* Of the peer's certificate; "" without one. */
    char peer_subject[128];
    char peer_issuer[128];
    char peer_sha256[65]; /* hex of the certificate's digest */
};
#endif
