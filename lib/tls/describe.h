/* tls/describe.h - one certificate as plain values.
 * What logs, rules, listings and reports say of a certificate, ours or a
 * peer's.  Every text is printable ASCII: what a stranger wrote into a
 * certificate can neither break a log line nor move a terminal's cursor. */
#ifndef TLS_DESCRIBE_H
#define TLS_DESCRIBE_H
#include "base/base.h"

struct x509_st;

enum {
    TLS_NAME_TEXT = 256,  /* bytes of a subject or issuer that are kept */
    TLS_NAMES_KEPT = 256, /* alternative names that are kept */
};

struct tls_certificate_facts {
    char *subject; /* owned; "CN=mx.example.org,O=Example" (RFC 4514 order) */
    char *issuer;  /* owned */
    char *serial;  /* owned; lower-case hex */
    char **names;  /* owned, each too; "DNS:mx.example.org", "IP:192.0.2.1",
                    * "email:a@example.org", "URI:…"; at most TLS_NAMES_KEPT */
    size_t name_count;
    int64_t not_before; /* seconds since 1970 */
    int64_t not_after;
    char sha256[65];      /* hex; of the whole certificate */
    char spki_sha256[65]; /* hex; of the public key: "3 1 1" of TLSA */
    char key_type[16];    /* "RSA", "EC P-256", "ED25519" */
    int key_bits;         /* of the key itself: 2048 of RSA, 256 of P-256 */
    char signature[32];   /* "RSA-SHA256" */
    bool is_ca;
    bool self_signed; /* issued by itself */
    bool for_servers; /* its purposes allow the server's side of TLS */
    bool for_clients; /* … and the client's */
};

/* Never fails; what cannot be read stays empty.  The caller frees. */
struct tls_certificate_facts *tls_describe(struct x509_st *certificate);
void tls_certificate_facts_free(struct tls_certificate_facts *facts);

/* The first names of a certificate with commas between, for the log: as many
 * whole ones as fit.  Returns out. */
#define TLS_NAMES_TEXT 512
const char *tls_names_text(const struct tls_certificate_facts *facts,
                           char out[TLS_NAMES_TEXT]);

/* Whole days until then; negative when it is past: -1 during the first day
 * after. */
int64_t tls_days_left(int64_t not_after, int64_t now);
#endif
