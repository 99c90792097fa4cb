/* tls/context.h - certificates and TLS settings made ready for handshakes.
 * A context is immutable once made, reference-counted and safe to use from all
 * loops at once, so a session keeps the settings with which it began while a
 * reload builds new ones. */
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H
#include "base/err.h"
#include "base/sv.h"
#include "tls/facts.h"

struct tls_context;
struct ssl_st;

/* Bits of tls_profile.versions. */
enum tls_version_bit {
    TLS_BIT_SSL2 = 1,
    TLS_BIT_SSL3 = 2,
    TLS_BIT_TLS10 = 4,
    TLS_BIT_TLS11 = 8,
    TLS_BIT_TLS12 = 16,
    TLS_BIT_TLS13 = 32,
};
enum tls_strength { TLS_HIGH, TLS_MEDIUM, TLS_LOW };
enum tls_preference { TLS_PREFER_SERVER, TLS_PREFER_CLIENT };

struct tls_profile {
    unsigned versions; /* enum tls_version_bit; holes work */
    enum tls_strength strength;
    const char *ciphers; /* OpenSSL list; "" : by strength */
    const char *groups;  /* OpenSSL list; "": the library's */
    enum tls_preference preference;
};

struct tls_certificate_files {
    const char *name;  /* in error messages */
    const char *chain; /* PEM, leaf first */
    const char *key;   /* PEM; refused when others may read it */
};

/* Checks one pair as the server would use it: readable, key private and
 * belonging to the leaf, chain in order; err says which and what would be
 * right. */
MUST_USE bool tls_certificate_check(const struct tls_certificate_files *files,
                                    struct err *err);

/* server: certificates[0] is used without a matching SNI.  session_id names
 * the listener and policy, so that tickets of one are not accepted by another
 * (RFC 8446 section 8).  Tickets use keys shared by all contexts of the process
 * and rotated (tls_ticket_keys_rotate()).  No 0-RTT, no renegotiation, no
 * compression.  NULL on failure. */
MUST_USE struct tls_context *
tls_context_new_server(const struct tls_profile *profile,
                       const struct tls_certificate_files *certificates,
                       size_t certificate_count, struct sv session_id,
                       struct err *err);

/* client: certificate may be NULL (none is offered). The chain of the peer is
 * checked against trust (a PEM file, or NULL for the system's) only to fill
 * facts.verify; whether that matters is the caller's decision. */
MUST_USE struct tls_context *
tls_context_new_client(const struct tls_profile *profile,
                       const struct tls_certificate_files *certificate,
                       const char *trust, struct err *err);

struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is fine */

/* Called about hourly by one thread: new tickets use a fresh key, tickets under
 * the two keys before are still accepted. */
void tls_ticket_keys_rotate(void);

/* Loads what OpenSSL loads lazily and refuses to go on with a library whose
 * digests or ciphers only look available.  Call once at start. */
MUST_USE bool tls_init(struct err *err);

/* Sessions for resumption, kept per process with a bound, for clients.  The
 * digest is that of the whole TLS decision plus host and port, so a session
 * obtained under one policy is never used under another. */
struct tls_session_key {
    uint8_t digest[32];
};
void tls_session_cache_limit(size_t sessions); /* 0: off; default 10,000 */
void tls_session_cache_clear(void);
#endif
