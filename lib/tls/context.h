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

/* What strength means beside the ciphers: the smallest keys of our own
 * certificates and of the key exchange.  A peer's certificate with less is not
 * trusted; the connection stands.
 *   high            RSA and DH 2048 bits, elliptic curves 224
 *   medium and low  RSA and DH 1024 bits, elliptic curves 160
 * "@SECLEVEL=n" in a list can raise this, never lower it. */
struct tls_profile {
    unsigned versions; /* enum tls_version_bit; holes work */
    enum tls_strength strength;
    const char *ciphers; /* OpenSSL list; "" : by strength; names of TLS 1.3
                          * suites may stand in it too */
    const char *suites;  /* of TLS 1.3, in order; NULL, "": those of ciphers */
    const char *groups;  /* OpenSSL list; "": the library's */
    enum tls_preference preference;
};

struct tls_certificate_files {
    const char *name;  /* in error messages */
    const char *chain; /* PEM, leaf first */
    const char *key;   /* PEM; refused when others may read it */
    const char *ocsp;  /* DER, or NULL, "": a response of the authority that is
                        * stapled while it is fresh and good */
    bool keep; /* for contexts: where the pair cannot be used now, what this
                * process read before from the same two paths */
};

/* Checks one pair as the server would use it: readable, key private and
 * belonging to the leaf, chain in order; err says which and what would be
 * right. */
MUST_USE bool tls_certificate_check(const struct tls_certificate_files *files,
                                    struct err *err);

/* As a server would use it now; err says why the response would not be
 * stapled.  files->ocsp names one. */
MUST_USE bool tls_staple_check(const struct tls_certificate_files *files,
                               struct err *err);
/* The same; and the seconds since 1970 between which it may be stapled. */
struct tls_staple_period {
    int64_t from, until;
    bool revoked; /* why it may not: the authority says so */
};
MUST_USE bool tls_staple_period_of(const struct tls_certificate_files *files,
                                   struct tls_staple_period *period,
                                   struct err *err);

/* Whose certificates are believed.  NULL stands for {.system = true}. */
struct tls_trust {
    bool system;              /* the authorities that the machine trusts */
    const char *const *files; /* PEM: own authorities, or the very certificates
                               * that are meant */
    size_t file_count;
    const char *const *crls; /* PEM or DER: revocation lists.  Authorities for
                              * which none is given are not checked. */
    size_t crl_count;
};
/* How many authorities the machine trusts; 0: nothing can be verified. */
size_t tls_trust_system_size(void);
/* The authorities themselves, for a TLS that another library does: OpenSSL's
 * X509_STORE.  A reference for the caller; NULL: a file is missing or wrong. */
struct x509_store_st *tls_trust_store(const struct tls_trust *trust,
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

struct tls_server_options {
    const struct tls_profile *profile;
    const struct tls_certificate_files *certificates;
    size_t certificate_count;
    struct sv session_id;
    /* Clients are asked for a certificate.  None, and one that does not pass,
     * break no handshake: facts.verdict tells, and the policy decides. */
    bool request_certificate;
    const struct tls_trust *client_trust; /* NULL: the system's */
    bool accept_server_eku; /* a certificate made for servers will do */
};
MUST_USE struct tls_context *
tls_context_new_server_options(const struct tls_server_options *options,
                               struct err *err);

/* client: certificate may be NULL (none is offered). The chain of the peer is
 * checked against trust (a PEM file, or NULL for the system's) only to fill
 * facts.verify; whether that matters is the caller's decision. */
MUST_USE struct tls_context *
tls_context_new_client(const struct tls_profile *profile,
                       const struct tls_certificate_files *certificate,
                       const char *trust, struct err *err);

struct tls_client_options {
    const struct tls_profile *profile;
    const struct tls_certificate_files *certificate; /* NULL: none */
    const struct tls_trust *trust;                   /* NULL: the system's */
    bool no_tickets; /* for peers that stumble over session tickets */
};
MUST_USE struct tls_context *
tls_context_new_client_options(const struct tls_client_options *options,
                               struct err *err);

/* True when a file from which the context was made (chains, keys, OCSP
 * responses, trust, revocation lists) is another one than then, or gone: time
 * to make a new context.  Looks at the files; for a periodic check, not for
 * every connection. */
bool tls_context_files_changed(const struct tls_context *context);

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
 * obtained under one policy is never used under another.  Nor is it with
 * another context, which may have read other authorities from the same files,
 * nor when the peer's certificate was last checked more than a day ago. */
struct tls_session_key {
    uint8_t digest[32];
};
void tls_session_cache_limit(size_t sessions); /* 0: off; default 10,000 */
void tls_session_cache_clear(void);
/* The peer was refused: a session with it must not carry the old verdict over
 * to the next connection. */
void tls_session_cache_forget(const struct tls_session_key *key);
#endif
